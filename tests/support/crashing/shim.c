/* Loaded before the C library: counts the calls of a process that change files below one directory, or that write to one
 * descriptor (what leaves the process), ends the process at the k-th of them, and keeps a record of all.
 *
 * Modes: 'a' the k-th call is done and the process ends; 's' the k-th, if it writes, writes half and the process ends.
 * The record's entries: operation, position, lengths of path and data (8 bytes each, native), path, data.
 * Operations: a armed (calls count from here), w write, s sync, t truncate, c create, u unlink, r rename (data: the new
 * path), m message sent.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int watching, armed, sent_fd = -1, record_fd = -1;
static char mode, root[PATH_MAX];
static long target, calls;

static void end(void) {
    for (;;) syscall(SYS_exit_group, 137);
}

static void note(char operation, const char *path, int64_t position, const void *data, int64_t length) {
    if (record_fd < 0) return;
    int64_t head[4] = {operation, position, (int64_t)strlen(path), length};
    syscall(SYS_write, record_fd, head, sizeof head);
    syscall(SYS_write, record_fd, path, strlen(path));
    if (length) syscall(SYS_write, record_fd, data, length);
}

/* From here on calls are recorded. */
void crash_watch(const char *directory, int sent, const char *record) {
    snprintf(root, sizeof root, "%s", directory);
    sent_fd = sent;
    record_fd = *record ? (int)syscall(SYS_openat, AT_FDCWD, record, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    watching = 1;
}

/* From here on they are counted. */
void crash_arm(long k, int how) {
    pthread_mutex_lock(&lock);
    target = k, mode = (char)how, armed = 1;
    note('a', "", 0, "", 0);
    if (k == 0) end();
    pthread_mutex_unlock(&lock);
}

static int below(const char *path) {
    return watching && strncmp(path, root, strlen(root)) == 0;
}

static int named(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    path[size < 0 ? 0 : size] = 0;
    return size > 0 && below(path);
}

static void absolute(int directory, const char *name, char *path) {
    char base[PATH_MAX] = "";
    if (name[0] != '/') {
        char link[64];
        snprintf(link, sizeof link, directory == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", directory);
        ssize_t size = syscall(SYS_readlinkat, AT_FDCWD, link, base, PATH_MAX - 2);
        if (size > 0) base[size] = '/', base[size + 1] = 0;
    }
    if (snprintf(path, PATH_MAX, "%s%s", base, name) >= PATH_MAX) path[0] = 0;
}

/* Around every counted call. The lock makes "the k-th" one order for all threads. */
static int due(void) {
    pthread_mutex_lock(&lock);
    return armed && ++calls == target;
}

static void done(int last) {
    if (last) end();
    pthread_mutex_unlock(&lock);
}


static ssize_t counted_write(int fd, const void *data, size_t size, off64_t position, int positioned) {
    char path[PATH_MAX];
    int sent = watching && fd == sent_fd;
    if (!sent && !named(fd, path))
        return positioned ? syscall(SYS_pwrite64, fd, data, size, position) : syscall(SYS_write, fd, data, size);
    int last = due();
    size_t some = last && mode == 's' ? size / 2 : size;
    off64_t place = sent ? 0 : positioned ? position : syscall(SYS_lseek, fd, 0, SEEK_CUR);
    ssize_t result = positioned ? syscall(SYS_pwrite64, fd, data, some, position) : syscall(SYS_write, fd, data, some);
    int saved = errno;
    if (result >= 0) note(sent ? 'm' : 'w', sent ? "" : path, place, data, result);
    done(last);
    errno = saved;
    return result;
}

ssize_t write(int fd, const void *data, size_t size) { return counted_write(fd, data, size, 0, 0); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return counted_write(fd, data, size, at, 1); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { return counted_write(fd, data, size, at, 1); }

static int counted_sync(int fd, int number) {
    char path[PATH_MAX];
    if (!named(fd, path)) return (int)syscall(number, fd);
    int last = due();
    int result = (int)syscall(number, fd);
    if (result == 0) note('s', path, 0, "", 0);
    done(last);
    return result;
}

int fsync(int fd) { return counted_sync(fd, SYS_fsync); }
int fdatasync(int fd) { return counted_sync(fd, SYS_fdatasync); }

static int counted_truncate(int fd, off64_t size) {
    char path[PATH_MAX];
    if (!named(fd, path)) return (int)syscall(SYS_ftruncate, fd, size);
    int last = due();
    int result = (int)syscall(SYS_ftruncate, fd, size);
    if (result == 0) note('t', path, size, "", 0);
    done(last);
    return result;
}

int ftruncate(int fd, off_t size) { return counted_truncate(fd, size); }
int ftruncate64(int fd, off64_t size) { return counted_truncate(fd, size); }

static int counted_open(int directory, const char *name, int flags, mode_t bits) {
    char path[PATH_MAX];
    struct stat status;
    absolute(directory, name, path);
    if (!(flags & (O_CREAT | O_TRUNC)) || !below(path) || (!(flags & O_TRUNC) && stat(path, &status) == 0))
        return (int)syscall(SYS_openat, directory, name, flags, bits);
    int last = due();
    int result = (int)syscall(SYS_openat, directory, name, flags, bits);
    if (result >= 0) note('c', path, 0, "", 0);
    done(last);
    return result;
}

#define OPENER(function, parameters, directory) \
    int function parameters { \
        mode_t bits = 0; \
        if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) { \
            va_list rest; \
            va_start(rest, flags); \
            bits = va_arg(rest, mode_t); \
            va_end(rest); \
        } \
        return counted_open(directory, name, flags, bits); \
    }

OPENER(open, (const char *name, int flags, ...), AT_FDCWD)
OPENER(open64, (const char *name, int flags, ...), AT_FDCWD)
OPENER(openat, (int at, const char *name, int flags, ...), at)
OPENER(openat64, (int at, const char *name, int flags, ...), at)

static int counted_unlink(int directory, const char *name, int flags) {
    char path[PATH_MAX];
    absolute(directory, name, path);
    if (!below(path)) return (int)syscall(SYS_unlinkat, directory, name, flags);
    int last = due();
    int result = (int)syscall(SYS_unlinkat, directory, name, flags);
    if (result == 0) note('u', path, 0, "", 0);
    done(last);
    return result;
}

int unlink(const char *name) { return counted_unlink(AT_FDCWD, name, 0); }
int unlinkat(int directory, const char *name, int flags) { return counted_unlink(directory, name, flags); }

static int counted_rename(int from_directory, const char *from, int to_directory, const char *to) {
    char old[PATH_MAX], fresh[PATH_MAX];
    absolute(from_directory, from, old);
    absolute(to_directory, to, fresh);
    if (!below(old) && !below(fresh)) return (int)syscall(SYS_renameat, from_directory, from, to_directory, to);
    int last = due();
    int result = (int)syscall(SYS_renameat, from_directory, from, to_directory, to);
    if (result == 0) note('r', old, 0, fresh, (int64_t)strlen(fresh));
    done(last);
    return result;
}

int rename(const char *from, const char *to) { return counted_rename(AT_FDCWD, from, AT_FDCWD, to); }
int renameat(int at, const char *from, int there, const char *to) { return counted_rename(at, from, there, to); }
