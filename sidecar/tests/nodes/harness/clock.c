/* Moves the wall clock of one process: CLOCK_REALTIME is what the system says plus the seconds in the file CLOCK_OFFSET.
   The monotonic clock stays as it is, as it does when a machine's time is set. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

static volatile long *offset;

__attribute__((constructor)) static void begin(void) {
    int file = open(getenv("CLOCK_OFFSET"), O_RDONLY);
    offset = mmap(0, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
}

int clock_gettime(clockid_t id, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(id, time);
    if (!done && id == CLOCK_REALTIME && offset && offset != MAP_FAILED)
        time->tv_sec += *offset;
    return done;
}
