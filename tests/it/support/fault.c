/* Preloaded into a broker by a test: while the file in KEYWARD_TEST_FAULT is there, fdatasync fails. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

int fdatasync(int fd) {
  static int (*real)(int);
  const char *fault = getenv("KEYWARD_TEST_FAULT");
  if (fault && access(fault, F_OK) == 0) {
    errno = EIO;
    return -1;
  }
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  return real(fd);
}
