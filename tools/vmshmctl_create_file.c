/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file of a new segment.
 *
 * A new file is filled under a temporary name in the same directory and renamed when it is complete, so that a VM
 * never attaches half a segment. An existing file is filled in place and keeps its size: VMs have that very inode
 * mapped. A new file of the same name would be different memory, and truncating the file would kill them with SIGBUS.
 */
#define _GNU_SOURCE
#include "vmshmctl.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int set_access(const struct ctl_plan *p, int fd, struct vmshm_error *e)
{
    const char *name = NULL != p->group ? p->group : "vmshm";
    const struct group *group = getgrnam(name);

    if (NULL == group && NULL != p->group) {
        return vmshm_fail(e, VMSHM_ERR_SYSTEM, p->path, "--group", "there is no group '%s'", name);
    }
    /* The default group is a convenience: if it does not exist, or the caller may not give files to it, the file
     * keeps the caller's group. */
    if (NULL != group && 0 != fchown(fd, (uid_t) -1, group->gr_gid) && NULL != p->group) {
        return vmshm_fail_errno(e, p->path, "--group", "changing the group of the file");
    }
    if (0 != fchmod(fd, p->mode)) {
        return vmshm_fail_errno(e, p->path, "--mode", "chmod");
    }
    return VMSHM_OK;
}

/* The file is empty or one hole; its size is set. */
static int fill(struct ctl_plan *p, int fd, struct vmshm_error *e)
{
    uint8_t *base = mmap(NULL, p->total, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    int rc;

    if (MAP_FAILED == base) {
        return vmshm_fail_errno(e, p->path, "--size", "mmap of the segment");
    }
    rc = ctl_create_bind(p, base, e);
    if (VMSHM_OK == rc) {
        rc = ctl_create_allocate(p, fd, e);
    }
    if (VMSHM_OK == rc) {
        ctl_create_write_header(p, base);
    }
    munmap(base, p->total);
    return rc;
}

int ctl_create_new(struct ctl_plan *p, struct vmshm_error *e)
{
    char temporary[512];
    int fd, rc;

    if ((size_t) snprintf(temporary, sizeof temporary, "%s.new-XXXXXX", p->path)
        >= sizeof temporary) {
        return vmshm_fail(e, VMSHM_ERR_ABSENT, p->path, "PATH", "the path is too long");
    }
    fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0) {
        return vmshm_fail_errno(e, p->path, "PATH", "creating a file in its directory");
    }
    if (0 != ftruncate(fd, (off_t) p->total)) {
        rc = vmshm_fail_errno(e, p->path, "--size", "ftruncate");
    } else {
        rc = fill(p, fd, e);
    }
    if (VMSHM_OK == rc) {
        rc = set_access(p, fd, e);
    }
    if (VMSHM_OK == rc
        && 0 != renameat2(AT_FDCWD, temporary, AT_FDCWD, p->path, RENAME_NOREPLACE)) {
        rc = vmshm_fail_errno(e, p->path, "PATH", "renaming the finished file");
    }
    if (VMSHM_OK != rc) {
        unlink(temporary);
    }
    close(fd);
    return rc;
}

/* What an existing file begins with: zeros, a segment, or anything else. */
enum content { CONTENT_ZERO, CONTENT_SEGMENT, CONTENT_FOREIGN };

static enum content content_of(int fd)
{
    uint8_t image[VMSHM_CHECKED_BYTES] = { 0 };
    static const uint8_t zero[sizeof image];
    uint64_t magic;

    if (pread(fd, image, sizeof image, 0) < 0) {
        return CONTENT_FOREIGN;
    }
    memcpy(&magic, image, sizeof magic);
    return 0 == memcmp(image, zero, sizeof image) ? CONTENT_ZERO
           : VMSHM_MAGIC == magic ? CONTENT_SEGMENT : CONTENT_FOREIGN;
}

static uint32_t beating_vm(const char *path)
{
    struct vmshm_segment s;
    struct vmshm_error ignored;
    uint32_t vm = CTL_VM_UNSET;

    if (VMSHM_OK == vmshm_segment_open(path, &s, &ignored)) {
        vm = ctl_watch(&s, CTL_VM_UNSET);
        vmshm_segment_close(&s);
    }
    return vm;
}

/* Without --force an existing file is refused. `vm` runs jobs in it, CTL_VM_UNSET: none does. */
static int refuse(const struct ctl_plan *p, enum content content, uint32_t vm)
{
    struct vmshm_error e;

    if (CTL_VM_UNSET != vm) {
        vmshm_fail(&e, VMSHM_ERR_FIELD, p->path, "PATH", "it is a segment, and VM %u runs "
                   "jobs in it", vm);
        ctl_fail(&e, "Wait until the jobs have ended; --force makes them fail.");
        return CTL_IN_USE;
    }
    vmshm_fail(&e, VMSHM_ERR_FIELD, p->path, "PATH", "%s", CONTENT_SEGMENT == content
               ? "a segment is there already; no VM runs jobs in it"
               : "a file is there already");
    ctl_fail(&e, "Use --force to create it again in place (VMs that have it attached keep it), "
             "or run `vmshmctl destroy` first.");
    return CTL_IN_USE;
}

/* Clear the header, the tables and everything that jobs left behind; the inode stays the same. */
static int refill(struct ctl_plan *p, int fd, off_t bytes)
{
    struct vmshm_error e;

    if (0 != fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, bytes)) {
        vmshm_fail_errno(&e, p->path, "PATH", "clearing the file (fallocate, punch hole)");
        return ctl_fail(&e, "Use a file on tmpfs or hugetlbfs.");
    }
    if (VMSHM_OK != fill(p, fd, &e) || VMSHM_OK != set_access(p, fd, &e)) {
        return ctl_fail(&e, NULL);
    }
    return CTL_OK;
}

int ctl_create_in_place(struct ctl_plan *p, int fd)
{
    struct vmshm_error e;
    const enum content content = content_of(fd);
    struct stat st;
    uint32_t vm;

    if (0 != fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        vmshm_fail(&e, VMSHM_ERR_FIELD, p->path, "PATH", "it is not a regular file");
        return ctl_fail(&e, "Give the path of a file on tmpfs or hugetlbfs. Segments are created on the host, "
                        "not in a guest.");
    }
    if (CONTENT_FOREIGN == content) {
        vmshm_fail(&e, VMSHM_ERR_MAGIC, p->path, "PATH", "the file holds something that is not a "
                   "vmshm segment");
        return ctl_fail(&e, "Nothing was changed. Choose another path, or remove the file yourself "
                        "if it is not needed.");
    }
    vm = CONTENT_SEGMENT == content ? beating_vm(p->path) : CTL_VM_UNSET;
    /* QEMU creates a missing file itself, full of zeros: that one may be filled. */
    if (!p->force && (CONTENT_SEGMENT == content || !p->in_memory)) {
        return refuse(p, content, vm);
    }
    if ((uint64_t) st.st_size != p->total) {
        vmshm_fail(&e, VMSHM_ERR_SHORT, p->path, "--size", "the file has %" PRIu64 " bytes, the "
                   "new segment %" PRIu64 ": a VM that has the file attached cannot change its size",
                   (uint64_t) st.st_size, p->total);
        return ctl_fail(&e, "Give the same --size; or switch off the VMs, `vmshmctl destroy` it, "
                        "create it, and attach it again.");
    }
    if (CTL_VM_UNSET != vm) {
        fprintf(stderr, "vmshmctl: %s: VM %u is running jobs in it; they fail now (--force)\n",
                p->path, vm);
    }
    return refill(p, fd, st.st_size);
}
