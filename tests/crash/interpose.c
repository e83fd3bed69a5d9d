/* Counts what a process does to the files below a folder, and ends it at a chosen moment.
 *
 * Loaded by LD_PRELOAD. CRASH_FOLDER is the folder, with a slash at its end; CRASH_AT the number of
 * the event at which the process dies (from 1; 0 never); CRASH_LOG a file that grows by a byte with
 * every event. They are read at each event, for a fork of a process that has loaded this is told
 * later. An event is a write, a sync, a truncation, a renaming or a removal. A write that is hit is
 * torn: half of its bytes are written.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))

static atomic_long events;

static int inside(const char *path) {
    const char *folder = getenv("CRASH_FOLDER");
    return folder && path && strncmp(path, folder, strlen(folder)) == 0;
}

static int open_inside(int descriptor) {
    char link[64], path[PATH_MAX];
    if (!getenv("CRASH_FOLDER")) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return inside(path);
}

static void note(const char *log) {
    int descriptor = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    REAL(write)(descriptor, ".", 1);
    close(descriptor);
}

static int is_hit(void) {
    const char *at = getenv("CRASH_AT"), *log = getenv("CRASH_LOG");
    if (log) note(log);
    return atomic_fetch_add(&events, 1) + 1 == (at ? atol(at) : 0);
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

ssize_t write(int fd, const void *bytes, size_t count) {
    if (open_inside(fd) && is_hit()) {
        REAL(write)(fd, bytes, count / 2);
        die();
    }
    return REAL(write)(fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    if (open_inside(fd) && is_hit()) {
        REAL(pwrite)(fd, bytes, count / 2, offset);
        die();
    }
    return REAL(pwrite)(fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    if (open_inside(fd) && is_hit()) {
        REAL(pwrite64)(fd, bytes, count / 2, offset);
        die();
    }
    return REAL(pwrite64)(fd, bytes, count, offset);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (open_inside(fd) && is_hit()) {
        REAL(writev)(fd, parts, count / 2);
        die();
    }
    return REAL(writev)(fd, parts, count);
}

int fsync(int fd) {
    if (open_inside(fd) && is_hit()) die();
    return REAL(fsync)(fd);
}

int fdatasync(int fd) {
    if (open_inside(fd) && is_hit()) die();
    return REAL(fdatasync)(fd);
}

int ftruncate(int fd, off_t length) {
    if (open_inside(fd) && is_hit()) die();
    return REAL(ftruncate)(fd, length);
}

int ftruncate64(int fd, off64_t length) {
    if (open_inside(fd) && is_hit()) die();
    return REAL(ftruncate64)(fd, length);
}

int rename(const char *from, const char *to) {
    if (inside(to) && is_hit()) die();
    return REAL(rename)(from, to);
}

int unlink(const char *path) {
    if (inside(path) && is_hit()) die();
    return REAL(unlink)(path);
}
