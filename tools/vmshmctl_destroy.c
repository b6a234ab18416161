/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vmshmctl destroy: remove a segment.
 *
 * The file is never truncated: a VM that still has it mapped would be killed by SIGBUS. Punching a hole zeroes its
 * header and frees its memory, so that a VM that still has it attached neither holds memory nor starts jobs in a
 * segment that no longer has a name.
 */
#define _GNU_SOURCE
#include "vmshmctl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* May the file be removed, given what its header says? */
static int check_removable(const char *path, bool force)
{
    struct vmshm_segment s;
    struct vmshm_error e;
    uint32_t vm;

    if (VMSHM_OK != vmshm_segment_open(path, &s, &e)) {
        switch (e.code) {
        case VMSHM_ERR_SHORT:
        case VMSHM_ERR_ZERO:
        case VMSHM_ERR_VERSION:
        case VMSHM_ERR_CHECKSUM:
        case VMSHM_ERR_FIELD:
            return force ? CTL_OK : ctl_fail(&e, "It looks like a damaged segment: use --force "
                                             "to remove it anyway.");
        case VMSHM_ERR_MAGIC:
            return ctl_fail(&e, "This is not a vmshm segment and was not removed; remove it "
                            "yourself if it is not needed.");
        default:
            return ctl_fail(&e, VMSHM_ERR_ABSENT == e.code ? "Nothing to destroy: check the path."
                                                           : NULL);
        }
    }
    if (0 != strcmp(s.provider, "file")) {
        vmshm_segment_close(&s);
        vmshm_fail(&e, VMSHM_ERR_FIELD, path, "PATH", "it is a device, not a file of the host");
        return ctl_fail(&e, "Destroy the segment on the host, where its file is.");
    }
    vm = force ? CTL_VM_UNSET : ctl_watch(&s, CTL_VM_UNSET);
    vmshm_segment_close(&s);
    if (CTL_VM_UNSET != vm) {
        vmshm_fail(&e, VMSHM_ERR_FIELD, path, "heartbeat", "VM %u runs jobs in the segment", vm);
        ctl_fail(&e, "Wait until the jobs have ended; --force makes them fail.");
        return CTL_IN_USE;
    }
    return CTL_OK;
}

static int destroy(const struct ctl_command *self, int argc, char **argv)
{
    static const struct option options[] = {
        { "force", no_argument, NULL, 'f' }, { "help", no_argument, NULL, 'h' }, { 0 }
    };
    const char *path = NULL;
    struct vmshm_error e;
    struct stat st;
    bool force = false;
    int status, fd, c;

    while (-1 != (c = getopt_long(argc, argv, ":h", options, NULL))) {
        if ('f' != c) {
            return ctl_option_end(self, c, argv);
        }
        force = true;
    }
    status = ctl_path_argument(self, argc, argv, &path);
    if (CTL_OK == status) {
        status = check_removable(path, force);
    }
    if (CTL_OK != status) {
        return status;
    }
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || 0 != fstat(fd, &st)) {
        vmshm_fail_errno(&e, path, "PATH", "open");
        status = ctl_fail(&e, NULL);
    } else if (!S_ISREG(st.st_mode)) {
        vmshm_fail(&e, VMSHM_ERR_FIELD, path, "PATH", "it is not a regular file");
        status = ctl_fail(&e, "Destroy the segment on the host, where its file is.");
    } else if (0 != unlink(path)) {
        vmshm_fail_errno(&e, path, "PATH", "removing the file");
        status = ctl_fail(&e, NULL);
    } else {
        /* Punching whole pages zeroes the header, too. Where the file system does not support holes, the memory is
         * freed when the last user closes the file. */
        (void) fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, st.st_size);
    }
    if (fd >= 0) {
        close(fd);
    }
    return status;
}

const struct ctl_command ctl_destroy = {
    "destroy", "remove a segment",
    "destroy [--force] PATH\n"
    "Remove a segment and free its memory. Refuses while a VM runs jobs in it.\n"
    "VMs that still have it attached see zeros until they are switched off.\n\n"
    "  --force   even if jobs run in it (they fail), even if its header is damaged\n",
    destroy
};
