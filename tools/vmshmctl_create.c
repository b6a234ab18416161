/* SPDX-License-Identifier: BSD-3-Clause */
/* vmshmctl create: lay out a segment and make its file. */
#include "vmshmctl.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* The remedy for a new file that could not be made; NULL: the error code's own. */
static const char *remedy_for_new(const struct vmshm_error *e)
{
    switch (e->code) {
    case VMSHM_ERR_FULL:
        return "Make the segment smaller, free or add memory (a tmpfs grows with "
               "`mount -o remount,size=...`, hugetlbfs with vm.nr_hugepages), or give "
               "--sparse: then a full file system later kills processes with SIGBUS.";
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
                        ? "Make the directory first; /dev/shm or a hugetlbfs mount is the place."
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
    "create", "make a segment",
    "create [OPTIONS] PATH\n"
    "Make a segment: a file on tmpfs (/dev/shm) or hugetlbfs that VMs attach.\n\n"
    "  --vms N              sections, VM ids 0 .. N-1 (2)\n"
    "  --size SIZE          of the whole, a power of two (1G)\n"
    "  --section-size SIZE  of every section; without --size the whole follows from it\n"
    "  --section VM:SIZE    of one section; the others share the rest equally\n"
    "  --open PERCENT%|SIZE part of each section that peers may write (none)\n"
    "  --procs N            processes per VM (256)\n"
    "  --windows N          windows per VM, a multiple of 64 (1024)\n"
    "  --numa VM:NODE       bind a section's memory to a host NUMA node; repeat per VM\n"
    "  --numa auto          spread the sections over the host's NUMA nodes in order\n"
    "  --mode MODE          permissions of the file (0660)\n"
    "  --group GROUP        group of the file (vmshm, if there is one)\n"
    "  --sparse             do not take the memory now\n"
    "  --any-size           not a power of two: containers and User-Mode Linux only\n"
    "  --force              make an existing segment anew, in place and of the same size\n"
    "SIZE is in bytes or with K, M, G, T (binary).\n",
    create
};
