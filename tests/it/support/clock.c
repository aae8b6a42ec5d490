/* A wall clock that a test sets: the file that KEYWARD_TEST_CLOCK names holds seconds that are added to
 * CLOCK_REALTIME. Other clocks are as they are. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(clock, time);
    char *path = getenv("KEYWARD_TEST_CLOCK");
    if (done || clock != CLOCK_REALTIME || !path) return done;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return done;
    char text[32] = {0};
    if (read(file, text, sizeof text - 1) > 0) time->tv_sec += atol(text);
    close(file);
    return done;
}
