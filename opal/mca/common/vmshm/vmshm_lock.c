/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "vmshm_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmshm_identity.h"
#include "vmshm_pause.h"

#define ALL_USERS   01777u              /* mode of a directory where everybody may create files */
#define SHORT_MS    100u                /* how long to wait for the mutex after a wait that timed out */
#define PID_BYTES   16

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

const char *vmshm_lock_dir(const char *root)
{
    char path[512];
    struct stat st;

    snprintf(path, sizeof path, "%s/run/vmshm", root);
    if (0 == stat(path, &st) && S_ISDIR(st.st_mode)) {
        return "/run/vmshm";
    }
    /* All users must choose the same directory. So check the mode and not access(2): root may write anywhere, and
     * would choose /run/lock even where other users cannot. */
    snprintf(path, sizeof path, "%s/run/lock", root);
    return 0 == stat(path, &st) && S_ISDIR(st.st_mode) && ALL_USERS == (st.st_mode & ALL_USERS)
           ? "/run/lock" : "/tmp";
}

/* Set owner, group and mode to those of the segment, as far as this user may. If the group cannot be set, the file
 * gives its group no access. */
static void settle_access(int fd, const struct stat *segment)
{
    mode_t mode = segment->st_mode & 0666;
    struct stat st;

    (void) !fchown(fd, 0 == geteuid() ? segment->st_uid : (uid_t) -1, (gid_t) -1);
    (void) !fchown(fd, (uid_t) -1, segment->st_gid);
    if (0 != fstat(fd, &st) || st.st_gid != segment->st_gid) {
        mode &= ~(mode_t) 0060;
    }
    (void) fchmod(fd, mode | 0600);
}

/* Is the file's group the segment's, and may that group write to the segment? Only a member of a group can give it to
 * a file. */
static bool is_of_group(const struct stat *file, const struct stat *segment)
{
    return file->st_gid == segment->st_gid && 0 != (segment->st_mode & 0020);
}

/* Was the file created by a user who may not open the segment? That user may still have it open, and locked, even if
 * its owner and mode are changed now. */
static bool is_strangers(const struct stat *file, const struct stat *segment)
{
    return file->st_uid != 0 && file->st_uid != geteuid() && file->st_uid != segment->st_uid
           && 0 == (segment->st_mode & 0002) && !is_of_group(file, segment);
}

/* Can users open the file who may not open the segment? */
static bool is_open_to_others(const struct stat *file, const struct stat *segment)
{
    return 0 == (segment->st_mode & 0002)
           && (0 != (file->st_mode & 0002)
               || (0 != (file->st_mode & 0020) && !is_of_group(file, segment)));
}

/* Fails with EEXIST if another process was first. Some file systems have no hard links (vfat, some of FUSE), others no
 * RENAME_NOREPLACE (9p, NFS). */
static int give_name(const char *fresh, const char *path)
{
    const int rc = link(fresh, path);

    return 0 == rc || EEXIST == errno ? rc : renameat2(AT_FDCWD, fresh, AT_FDCWD, path, RENAME_NOREPLACE);
}

/* In a directory with the sticky bit the kernel refuses O_CREAT on an existing file of another user
 * (fs.protected_regular), so open first, and create only if there is no file. A new file gets its final name only
 * after its mode is set; otherwise a process of another user could fail to open it in between. */
static int open_shared(const char *path, const struct stat *segment)
{
    char fresh[320];

    for (int attempt = 0; attempt < 3; ++attempt) {
        int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW), rc, err;

        if (fd >= 0 || ENOENT != errno) {
            return fd;
        }
        snprintf(fresh, sizeof fresh, "%s.%016llx", path, (unsigned long long) vmshm_random64());
        fd = open(fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0) {
            return -1;
        }
        settle_access(fd, segment);
        rc = give_name(fresh, path);
        err = errno;
        unlink(fresh);
        if (0 == rc) {
            return fd;
        }
        close(fd);
        if (EEXIST != err) {
            errno = err;
            return -1;
        }
    }
    return -1;
}

static int check_access(struct vmshm_lock *lock, int segment_fd, struct vmshm_error *e)
{
    struct stat st, segment;
    bool refused;

    if (0 != fstat(lock->fd, &st) || 0 != fstat(segment_fd, &segment)) {
        return vmshm_fail_errno(e, lock->path, "common_vmshm_lock_dir", "fstat");
    }
    refused = is_strangers(&st, &segment);
    if (!refused && (0 == geteuid() || st.st_uid == geteuid())) {
        settle_access(lock->fd, &segment);
        (void) fstat(lock->fd, &st);
    }
    if (refused || is_open_to_others(&st, &segment)) {
        return vmshm_fail(e, VMSHM_ERR_PERMISSION, lock->path, "common_vmshm_lock_dir",
                          "the lock file (user %u, group %u, mode %04o) is of, or open to, users who may not "
                          "open the segment (user %u, group %u, mode %04o): remove it while no job "
                          "runs, or name a directory that only users of the segment may write to",
                          (unsigned) st.st_uid, (unsigned) st.st_gid, (unsigned) st.st_mode & 0777,
                          (unsigned) segment.st_uid, (unsigned) segment.st_gid,
                          (unsigned) segment.st_mode & 0777);
    }
    lock->device = (uint64_t) st.st_dev;
    lock->inode = (uint64_t) st.st_ino;
    return VMSHM_OK;
}

int vmshm_lock_open(struct vmshm_lock *lock, const char *dir, const uint8_t uuid[16], uint32_t vm,
                    int segment_fd, struct vmshm_error *e)
{
    struct stat segment;
    char hex[33];

    memset(lock, 0, sizeof *lock);
    lock->fd = -1;
    lock->patience_ms = VMSHM_LOCK_PATIENCE_MS;
    for (int i = 0; i < 16; ++i) {
        snprintf(hex + 2 * i, 3, "%02x", uuid[i]);
    }
    if ((size_t) snprintf(lock->path, sizeof lock->path, "%s/vmshm-%s-%u.lock", dir, hex, vm)
        >= sizeof lock->path) {
        return vmshm_fail(e, VMSHM_ERR_ABSENT, dir, "common_vmshm_lock_dir", "path too long");
    }
    if (0 != fstat(segment_fd, &segment)) {
        return vmshm_fail_errno(e, lock->path, "common_vmshm_lock_dir", "fstat of the segment");
    }
    lock->fd = open_shared(lock->path, &segment);
    if (lock->fd < 0 && (ENOENT == errno || ENOTDIR == errno)) {
        /* Not ABSENT, which would let the job use another BTL without a message although the segment is there. */
        return vmshm_fail(e, VMSHM_ERR_SYSTEM, lock->path, "common_vmshm_lock_dir", "there is no such "
                          "directory: make it, or name one that is there, by its full path");
    }
    if (lock->fd < 0) {
        return vmshm_fail_errno(e, lock->path, "common_vmshm_lock_dir", "open of the lock file");
    }
    if (VMSHM_OK != check_access(lock, segment_fd, e)) {
        close(lock->fd);
        lock->fd = -1;
        return e->code;
    }
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

/* pid 0 clears the file's content. */
static void write_pid(struct vmshm_lock *lock, long pid)
{
    char text[PID_BYTES + 1] = "";

    if (0 != pid) {
        snprintf(text, sizeof text, "%-*ld", PID_BYTES, pid);
    }
    (void) !pwrite(lock->fd, text, PID_BYTES, 0);
}

/* " (NAME)" or " (NAME, stopped)" if /proc shows the process, else "". */
static void describe(long pid, char *text, size_t bytes)
{
    char path[64], line[256] = "", *name, *end;
    FILE *f;

    text[0] = '\0';
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    f = fopen(path, "re");
    if (NULL == f) {
        return;
    }
    if (NULL != fgets(line, sizeof line, f) && NULL != (name = strchr(line, '('))
        && NULL != (end = strrchr(line, ')')) && ' ' == end[1]) {
        snprintf(text, bytes, " (%.*s%s)", (int) (end - name - 1), name + 1,
                 'T' == end[2] || 't' == end[2] ? ", stopped" : "");
    }
    fclose(f);
}

static int is_held(struct vmshm_lock *lock, uint32_t waited_ms, struct vmshm_error *e)
{
    struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1 };
    char text[PID_BYTES + 1] = "", what[64];
    long pid = 0;

    /* The kernel tells the owner's pid only for traditional POSIX locks, not for open file description locks. */
    if (0 == fcntl(lock->fd, F_OFD_GETLK, &fl) && F_UNLCK != fl.l_type && fl.l_pid > 0) {
        pid = (long) fl.l_pid;
    } else if (pread(lock->fd, text, PID_BYTES, 0) > 0) {
        pid = strtol(text, NULL, 10);
    }
    if (pid <= 0) {
        return vmshm_fail(e, VMSHM_ERR_HELD, lock->path, "mutex", "byte 0 of the lock file has been "
                          "locked for %u ms, by a process that does not say which", waited_ms);
    }
    describe(pid, what, sizeof what);
    return vmshm_fail(e, VMSHM_ERR_HELD, lock->path, "mutex", "byte 0 of the lock file has been locked "
                      "for %u ms, by process %ld%s", waited_ms, pid, what);
}

/* Open file description locks have no timeout, so this polls. It adds up its own sleeps instead of reading a clock:
 * after a pause of the whole VM, a clock would make the holder seem too slow. */
int vmshm_lock_enter(struct vmshm_lock *lock, struct vmshm_error *e)
{
    uint32_t patience_us, waited_us = 0, step_us = 50;
    int rc;

    pthread_mutex_lock(&lock->mutex);
    patience_us = 1000 * (lock->was_held && lock->patience_ms > SHORT_MS ? SHORT_MS
                          : lock->patience_ms);
    while (0 != (rc = set_lock(lock->fd, F_OFD_SETLK, F_WRLCK, 0))
           && (EAGAIN == errno || EACCES == errno) && waited_us < patience_us) {
        vmshm_pause_us(step_us);
        waited_us += step_us;
        step_us = step_us < 3200 ? 2 * step_us : step_us;
    }
    if (0 == rc) {
        lock->was_held = false;
        write_pid(lock, (long) getpid());
        return VMSHM_OK;
    }
    if (EAGAIN == errno || EACCES == errno) {
        lock->was_held = true;
        rc = is_held(lock, waited_us / 1000, e);
    } else {
        rc = vmshm_fail_errno(e, lock->path, "mutex", "fcntl(F_OFD_SETLK)");
    }
    pthread_mutex_unlock(&lock->mutex);
    return rc;
}

bool vmshm_lock_try(struct vmshm_lock *lock)
{
    if (0 != pthread_mutex_trylock(&lock->mutex)) {
        return false;
    }
    if (0 != set_lock(lock->fd, F_OFD_SETLK, F_WRLCK, 0)) {
        pthread_mutex_unlock(&lock->mutex);
        return false;
    }
    lock->was_held = false;
    write_pid(lock, (long) getpid());
    return true;
}

void vmshm_lock_leave(struct vmshm_lock *lock)
{
    write_pid(lock, 0);
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

    /* If fcntl() fails, assume that the slot is claimed: taking a live process for dead would be worse. */
    return 0 != fcntl(lock->fd, F_OFD_GETLK, &fl) || F_UNLCK != fl.l_type;
}
