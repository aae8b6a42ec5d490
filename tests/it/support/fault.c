/* Preloaded into a broker by tests.
 *
 * While the file in KEYWARD_TEST_FAULT is there, fdatasync fails; while that in KEYWARD_TEST_STALL is there, it
 * does not return, and the same name with `.reached` behind it is made once a file of the ledger hangs. While that
 * in KEYWARD_TEST_READ_ONLY is there, no file below the directory that it names can be opened for writing.
 *
 * The file in KEYWARD_TEST_FAULT_AT says `kill N` or `eio N`: from the moment that it is there, the points at
 * which something becomes durable or is said to or heard from the upstream at port
 * KEYWARD_TEST_UPSTREAM_PORT are counted, and at the N-th the process is killed, or from the N-th sync on each
 * one fails. The points so far, the syncs among them, and whether the fault has happened, stand in the same file
 * with `.count` behind its name.
 *
 * The file in KEYWARD_TEST_RESOLVER says a name and addresses: it stands for one of them at a time, each in its
 * turn. What was answered stands, line by line, in the same file with `.asked` behind its name.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long points = 0, syncs = 0;
static int struck = 0;
static struct timespec armed;

/* A reader of the count sees this one or the one before. */
static void tell_count(const char *path) {
  char name[4096], next[4096];
  snprintf(name, sizeof name, "%s.count", path);
  snprintf(next, sizeof next, "%s.next", path);
  FILE *count = fopen(next, "w");
  if (!count) return;
  fprintf(count, "%ld %ld %d", points, syncs, struck);
  fclose(count);
  rename(next, name);
}

/* The ledger's thread hangs: a file with `.reached` behind the name says so. That of the anchor says nothing of it. */
static void tell_stall(const char *stall, int fd) {
  char name[4096], link[64], file[4096] = "";
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  if (readlink(link, file, sizeof file - 1) < 0 || !strstr(file, "/ledger/")) return;
  snprintf(name, sizeof name, "%s.reached", stall);
  FILE *reached = fopen(name, "w");
  if (reached) fclose(reached);
}

/* One point. Whether the call is to fail instead. */
static int point(int is_sync) {
  const char *path = getenv("KEYWARD_TEST_FAULT_AT");
  if (!path) return 0;
  pthread_mutex_lock(&lock);
  int fails = 0;
  FILE *file = fopen(path, "r");
  struct stat now;
  if (file && fstat(fileno(file), &now) == 0) {
    /* Armed anew: counted anew. */
    if (now.st_mtim.tv_sec != armed.tv_sec || now.st_mtim.tv_nsec != armed.tv_nsec) points = syncs = struck = 0;
    armed = now.st_mtim;
    char what[8] = "";
    long at = 0;
    if (fscanf(file, "%7s %ld", what, &at) == 2) {
      points++;
      syncs += is_sync;
      int dies = strcmp(what, "kill") == 0 && points == at;
      fails = strcmp(what, "eio") == 0 && is_sync && syncs >= at;
      struck = struck || dies || fails;
      tell_count(path);
      if (dies) kill(getpid(), SIGKILL);
    }
  }
  if (file) fclose(file);
  pthread_mutex_unlock(&lock);
  return fails;
}

static int is_upstream(int fd) {
  const char *port = getenv("KEYWARD_TEST_UPSTREAM_PORT");
  struct sockaddr_in peer;
  socklen_t size = sizeof peer;
  if (!port || getpeername(fd, (struct sockaddr *)&peer, &size) != 0) return 0;
  return peer.sin_family == AF_INET && ntohs(peer.sin_port) == atoi(port);
}

static int is_read_only(const char *path, int flags) {
  const char *mark = getenv("KEYWARD_TEST_READ_ONLY");
  char below[4096] = "";
  FILE *file = mark && (flags & (O_WRONLY | O_RDWR | O_CREAT)) ? fopen(mark, "r") : NULL;
  if (!file) return 0;
  int named = fscanf(file, "%4095s", below) == 1;
  fclose(file);
  return named && strncmp(path, below, strlen(below)) == 0;
}

int open64(const char *path, int flags, ...) {
  static int (*real)(const char *, int, mode_t);
  va_list rest;
  va_start(rest, flags);
  mode_t mode = va_arg(rest, mode_t);
  va_end(rest);
  if (!real) real = (int (*)(const char *, int, mode_t))dlsym(RTLD_NEXT, "open64");
  if (is_read_only(path, flags)) {
    errno = EROFS;
    return -1;
  }
  return real(path, flags, mode);
}

int fdatasync(int fd) {
  static int (*real)(int);
  const char *fault = getenv("KEYWARD_TEST_FAULT");
  const char *stall = getenv("KEYWARD_TEST_STALL");
  int stalls = 0;
  while (stall && access(stall, F_OK) == 0) {
    if (!stalls++) tell_stall(stall, fd);
    usleep(1000);
  }
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  if ((fault && access(fault, F_OK) == 0) || point(1)) {
    errno = EIO;
    return -1;
  }
  int done = real(fd);
  point(0);
  return done;
}

int fsync(int fd) {
  static int (*real)(int);
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
  if (point(1)) {
    errno = EIO;
    return -1;
  }
  int done = real(fd);
  point(0);
  return done;
}

ssize_t send(int fd, const void *bytes, size_t size, int flags) {
  static ssize_t (*real)(int, const void *, size_t, int);
  if (!real) real = (ssize_t(*)(int, const void *, size_t, int))dlsym(RTLD_NEXT, "send");
  int upstream = is_upstream(fd);
  if (upstream) point(0);
  ssize_t sent = real(fd, bytes, size, flags);
  if (upstream && sent > 0) point(0);
  return sent;
}

ssize_t recv(int fd, void *bytes, size_t size, int flags) {
  static ssize_t (*real)(int, void *, size_t, int);
  if (!real) real = (ssize_t(*)(int, void *, size_t, int))dlsym(RTLD_NEXT, "recv");
  ssize_t got = real(fd, bytes, size, flags);
  if (got > 0 && is_upstream(fd)) point(0);
  return got;
}

/* The address that `name` stands for this time, if the file says so. */
static int answer(const char *path, const char *name, char address[64]) {
  static long asked = 0;
  char text[1024] = "", note[4096], *rest = NULL, *addresses[16];
  FILE *file = fopen(path, "r");
  if (file) {
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
  }
  char *known = strtok_r(text, " ", &rest);
  if (!known || strcmp(known, name) != 0) return 0;
  int count = 0;
  while (count < 16 && (addresses[count] = strtok_r(NULL, " ", &rest))) count++;
  if (count == 0) return 0;
  pthread_mutex_lock(&lock);
  snprintf(address, 64, "%s", addresses[asked++ % count]);
  snprintf(note, sizeof note, "%s.asked", path);
  FILE *told = fopen(note, "a");
  if (told) {
    fprintf(told, "%s\n", address);
    fclose(told);
  }
  pthread_mutex_unlock(&lock);
  return 1;
}

typedef int resolve(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
  static resolve *real;
  const char *path = getenv("KEYWARD_TEST_RESOLVER");
  char address[64];
  if (!real) real = (resolve *)dlsym(RTLD_NEXT, "getaddrinfo");
  return real(path && name && answer(path, name, address) ? address : name, service, hints, found);
}
