/* SPDX-License-Identifier: BSD-3-Clause */
/* vmshmctl create: lay out a segment and create its file. */
#include "vmshmctl.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* The remedy for a new file that could not be made; NULL: the error code's own. */
static const char *remedy_for_new(const struct vmshm_error *e)
{
    switch (e->code) {
    case VMSHM_ERR_FULL:
        return "Make the segment smaller, free or add memory (enlarge a tmpfs with "
               "`mount -o remount,size=...`, hugetlbfs with vm.nr_hugepages), or give "
               "--sparse: processes are then killed by SIGBUS if the file system is full later.";
    case VMSHM_ERR_SYSTEM:
        return "Nothing was created.";
    default:
        return NULL;
    }
}

/* A new file, or one that exists, filled in place. */
static int make_file(struct ctl_plan *p)
{
    struct vmshm_error e;
    const int fd = open(p->path, O_RDWR | O_CLOEXEC);

    if (fd >= 0) {
        const int status = ctl_create_in_place(p, fd);

        close(fd);
        return status;
    }
    if (ENOENT != errno) {
        vmshm_fail_errno(&e, p->path, "PATH", "open");
        return ctl_fail(&e, NULL);
    }
    if (VMSHM_OK != ctl_create_new(p, &e)) {
        return ctl_fail(&e, remedy_for_new(&e));
    }
    return CTL_OK;
}

static int create(const struct ctl_command *self, int argc, char **argv)
{
    struct ctl_plan p = { 0 };
    struct vmshm_error e;
    int status = ctl_create_options(self, argc, argv, &p);

    if (CTL_OK != status || NULL == p.path) {
        return status;
    }
    if (VMSHM_OK != ctl_create_find_page(&p, &e)) {
        return ctl_fail(&e, VMSHM_ERR_ABSENT == e.code
                        ? "Make the directory first, in /dev/shm or on a hugetlbfs mount."
                        : NULL);
    }
    status = ctl_create_sections(self, &p);
    if (CTL_OK != status) {
        return status;
    }
    if (VMSHM_OK != ctl_create_header(&p, &e)) {
        return ctl_fail(&e, NULL);
    }
    return make_file(&p);
}

const struct ctl_command ctl_create = {
    "create", "create a segment",
    "create [OPTIONS] PATH\n"
    "Create a segment: a file on tmpfs (/dev/shm) or hugetlbfs that is attached to VMs.\n\n"
    "  --vms N              number of sections; VM ids are 0 .. N-1 (2)\n"
    "  --size SIZE          total size, a power of two (1G)\n"
    "  --section-size SIZE  size of every section; without --size it determines the total\n"
    "  --section VM:SIZE    size of one section; the others share the rest equally\n"
    "  --open PERCENT%|SIZE part of each section that peers may write to (none)\n"
    "  --procs N            processes per VM (256)\n"
    "  --windows N          windows per VM, a multiple of 64 (1024)\n"
    "  --numa VM:NODE       bind a section's memory to a host NUMA node; may be repeated\n"
    "  --numa auto          spread the sections over the host's NUMA nodes in order\n"
    "  --mode MODE          permissions of the file (0660)\n"
    "  --group GROUP        group of the file (vmshm, if it exists)\n"
    "  --sparse             do not allocate the memory now\n"
    "  --any-size           allow other sizes: for containers and User-Mode Linux only\n"
    "  --force              create an existing segment again, in place and of the same size\n"
    "SIZE is in bytes, or has a suffix K, M, G or T (powers of 1024).\n",
    create
};
