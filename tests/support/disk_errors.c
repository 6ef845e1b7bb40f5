/* A disk that fails: while the file that DISK_ERRORS names is there, writing and syncing end with EIO. For LD_PRELOAD. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static int fails(void)
{
    static const char *flag;
    int before = errno;
    if (flag == NULL)
        flag = getenv("DISK_ERRORS");
    if (flag != NULL && access(flag, F_OK) == 0) {
        errno = EIO;
        return 1;
    }
    errno = before;
    return 0;
}

#define WRITING(name, offset)                                                              \
    ssize_t name(int file, const void *data, size_t size, offset position)                 \
    {                                                                                      \
        static ssize_t (*real)(int, const void *, size_t, offset);                         \
        if (real == NULL)                                                                  \
            real = (ssize_t (*)(int, const void *, size_t, offset))dlsym(RTLD_NEXT, #name); \
        return fails() ? -1 : real(file, data, size, position);                            \
    }

#define SYNCING(name)                                         \
    int name(int file)                                        \
    {                                                         \
        static int (*real)(int);                              \
        if (real == NULL)                                     \
            real = (int (*)(int))dlsym(RTLD_NEXT, #name);     \
        return fails() ? -1 : real(file);                     \
    }

WRITING(pwrite, off_t)
WRITING(pwrite64, off64_t)
SYNCING(fsync)
SYNCING(fdatasync)
