// Holds a program up, now and then, before and after what it asks of the kernel: preloaded by `.ci/jitter`.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef ONE_IN
#define ONE_IN 50
#endif

#define REAL(name) ((__typeof__(&name))real(&real_##name, #name))

static void *real(void **found, const char *name) {
    if (!*found) *found = dlsym(RTLD_NEXT, name);
    return *found;
}

static void *real_clock_gettime, *real_close, *real_poll, *real_read, *real_recvmsg, *real_sendmsg, *real_syscall,
    *real_write;

// Before `main`, as a lookup is nothing for a signal's handler or a forked copy.
__attribute__((constructor)) static void find(void) {
    REAL(clock_gettime), REAL(close), REAL(poll), REAL(read), REAL(recvmsg), REAL(sendmsg), REAL(syscall), REAL(write);
}

// Mostly not at all; else for up to 3 ms, and of those once in eight for up to 20 ms.
static void jitter(void) {
    int error = errno;
    struct timespec now;
    REAL(clock_gettime)(CLOCK_MONOTONIC, &now);
    // MurmurHash3's finalizer: neighbouring moments give unlike numbers.
    uint64_t chance = (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    chance = (chance ^ chance >> 33) * 0xff51afd7ed558ccd;
    chance = (chance ^ chance >> 33) * 0xc4ceb9fe1a85ec53;
    chance ^= chance >> 33;
    if (chance % ONE_IN == 0) {
        chance /= ONE_IN;
        long most = chance % 8 ? 3000000 : 20000000;
        struct timespec pause = {.tv_nsec = chance / 8 % most};
        REAL(syscall)(SYS_nanosleep, &pause, NULL, 0, 0, 0, 0);
    }
    errno = error;
}

#define HELD_UP(type, name, parameters, ...)    \
    type name parameters {                      \
        jitter();                               \
        type result = REAL(name)(__VA_ARGS__);  \
        jitter();                               \
        return result;                          \
    }

HELD_UP(int, clock_gettime, (clockid_t clock, struct timespec *now), clock, now)
HELD_UP(int, close, (int fd), fd)
HELD_UP(int, poll, (struct pollfd *fds, nfds_t count, int timeout), fds, count, timeout)
HELD_UP(ssize_t, read, (int fd, void *to, size_t len), fd, to, len)
HELD_UP(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), fd, message, flags)
HELD_UP(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), fd, message, flags)
HELD_UP(ssize_t, write, (int fd, const void *from, size_t len), fd, from, len)

// Futexes, and what else the C library has no name for.
long syscall(long number, ...) {
    va_list list;
    va_start(list, number);
    long a = va_arg(list, long), b = va_arg(list, long), c = va_arg(list, long);
    long d = va_arg(list, long), e = va_arg(list, long), f = va_arg(list, long);
    va_end(list);
    jitter();
    long result = REAL(syscall)(number, a, b, c, d, e, f);
    jitter();
    return result;
}
