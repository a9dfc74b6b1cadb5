/* Loaded before the C library: every sync of a file takes AO_SLOW_SYNC_MS milliseconds longer. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void slow(void) {
    const char *text = getenv("AO_SLOW_SYNC_MS");
    long ms = text ? atol(text) : 0;
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

int fsync(int file) {
    slow();
    return (int)syscall(SYS_fsync, file);
}

int fdatasync(int file) {
    slow();
    return (int)syscall(SYS_fdatasync, file);
}
