/* Preloaded into a client by tests: writes down, line by line in the file KEYWARD_TEST_NAMES, which paths are
 * renamed to, which are synced, and each connection over TCP, in their order. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void note(const char *what, const char *path) {
  const char *to = getenv("KEYWARD_TEST_NAMES");
  char line[8192];
  if (!to) return;
  int length = snprintf(line, sizeof line, "%s %s\n", what, path);
  int file = open(to, O_WRONLY | O_APPEND | O_CREAT, 0600);
  if (file < 0) return;
  if (write(file, line, length) != length) abort();
  close(file);
}

int rename(const char *from, const char *to) {
  int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
  int done = real(from, to);
  if (done == 0) note("rename", to);
  return done;
}

int fsync(int fd) {
  int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
  char link[64], path[4096];
  int done = real(fd);
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (done == 0 && length > 0) {
    path[length] = 0;
    note("fsync", path);
  }
  return done;
}

int connect(int fd, const struct sockaddr *address, socklen_t length) {
  int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
  if (address->sa_family == AF_INET || address->sa_family == AF_INET6) note("connect", "");
  return real(fd, address, length);
}
