#define _GNU_SOURCE
#include "vmshm_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int set_lock(int fd, int command, short type, uint64_t byte)
{
    struct flock fl = { .l_type = type, .l_whence = SEEK_SET, .l_start = (off_t) byte,
                        .l_len = 1 };
    int rc;

    do {
        rc = fcntl(fd, command, &fl);
    } while (0 != rc && EINTR == errno);
    return rc;
}

/* In a directory with the sticky bit the kernel refuses O_CREAT on a file of another user
 * (fs.protected_regular): open first, create only if there is none. */
static int open_shared(const char *path)
{
    for (int attempt = 0; attempt < 3; ++attempt) {
        int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

        if (fd >= 0 || ENOENT != errno) {
            return fd;
        }
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (fd >= 0) {
            /* Against the umask: every user of the segment takes part. */
            (void) fchmod(fd, 0666);
            return fd;
        }
        if (EEXIST != errno) {
            return -1;
        }
    }
    return -1;
}

int vmshm_lock_open(struct vmshm_lock *lock, const char *dir, const uint8_t uuid[16], uint32_t vm,
                    struct vmshm_error *e)
{
    char hex[33];
    struct stat st;

    memset(lock, 0, sizeof *lock);
    lock->fd = -1;
    for (int i = 0; i < 16; ++i) {
        snprintf(hex + 2 * i, 3, "%02x", uuid[i]);
    }
    if ((size_t) snprintf(lock->path, sizeof lock->path, "%s/vmshm-%s-%u.lock", dir, hex, vm)
        >= sizeof lock->path) {
        return vmshm_fail(e, VMSHM_ERR_ABSENT, dir, "common_vmshm_lock_dir", "path too long");
    }
    lock->fd = open_shared(lock->path);
    if (lock->fd < 0) {
        return vmshm_fail_errno(e, lock->path, "common_vmshm_lock_dir", "open of the lock file");
    }
    if (0 != fstat(lock->fd, &st)) {
        vmshm_fail_errno(e, lock->path, "common_vmshm_lock_dir", "fstat of the lock file");
        close(lock->fd);
        lock->fd = -1;
        return e->code;
    }
    lock->device = (uint64_t) st.st_dev;
    lock->inode = (uint64_t) st.st_ino;
    pthread_mutex_init(&lock->mutex, NULL);
    return VMSHM_OK;
}

void vmshm_lock_close(struct vmshm_lock *lock)
{
    if (lock->fd > 0) {
        close(lock->fd);
        pthread_mutex_destroy(&lock->mutex);
    }
    lock->fd = -1;
}

int vmshm_lock_enter(struct vmshm_lock *lock, struct vmshm_error *e)
{
    pthread_mutex_lock(&lock->mutex);
    if (0 != set_lock(lock->fd, F_OFD_SETLKW, F_WRLCK, 0)) {
        pthread_mutex_unlock(&lock->mutex);
        return vmshm_fail_errno(e, lock->path, "mutex", "fcntl(F_OFD_SETLKW)");
    }
    return VMSHM_OK;
}

void vmshm_lock_leave(struct vmshm_lock *lock)
{
    (void) set_lock(lock->fd, F_OFD_SETLK, F_UNLCK, 0);
    pthread_mutex_unlock(&lock->mutex);
}

bool vmshm_lock_claim(struct vmshm_lock *lock, uint32_t slot)
{
    return 0 == set_lock(lock->fd, F_OFD_SETLK, F_WRLCK, 1 + (uint64_t) slot);
}

void vmshm_lock_unclaim(struct vmshm_lock *lock, uint32_t slot)
{
    (void) set_lock(lock->fd, F_OFD_SETLK, F_UNLCK, 1 + (uint64_t) slot);
}

bool vmshm_lock_is_claimed(struct vmshm_lock *lock, uint32_t slot)
{
    struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 1 + (off_t) slot,
                        .l_len = 1 };

    /* If the kernel does not answer, calling the process dead would be the worse mistake. */
    return 0 != fcntl(lock->fd, F_OFD_GETLK, &fl) || F_UNLCK != fl.l_type;
}
