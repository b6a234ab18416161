/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmshm_error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *topic;
    const char *remedy;
} texts[VMSHM_ERR_COUNT] = {
    [VMSHM_OK] = { "none", "Nothing to do." },
    [VMSHM_ERR_ABSENT] = { "segment absent",
        "Create it with `vmshmctl create`, attach it to the VM (`vmshmctl qemu-args`), or name it "
        "with the MCA parameter common_vmshm_segment." },
    [VMSHM_ERR_PERMISSION] = { "no permission",
        "Give the user read and write access to the file (group vmshm), or run as a user who has it." },
    [VMSHM_ERR_SHORT] = { "segment short",
        "The file was truncated, or the device is not as large as the segment: create the segment "
        "again with `vmshmctl create --force` while no VM uses it." },
    [VMSHM_ERR_ZERO] = { "segment zero",
        "Run `vmshmctl create` on the host for this file, and check that it is the file that the "
        "VM is attached to." },
    [VMSHM_ERR_MAGIC] = { "segment foreign",
        "This is not a vmshm segment: check the path, or create one with `vmshmctl create`." },
    [VMSHM_ERR_VERSION] = { "segment version",
        "Use the same version of vmshm on the host and in all its VMs, and create the segment "
        "with it." },
    [VMSHM_ERR_CHECKSUM] = { "segment checksum",
        "The header was overwritten: create the segment again with `vmshmctl create --force` "
        "while no VM uses it." },
    [VMSHM_ERR_FIELD] = { "segment field",
        "`vmshmctl check` lists every invalid field; `vmshmctl reset-vm` clears the section of a VM "
        "that is switched off." },
    [VMSHM_ERR_NO_VM_ID] = { "vm id missing",
        "Start the VM with the arguments that `vmshmctl qemu-args --vm N` prints, put vmshm.vm_id=N "
        "on the guest's kernel command line, or set the MCA parameter common_vmshm_vm_id." },
    [VMSHM_ERR_VM_ID_RANGE] = { "vm id range",
        "Give the VM an id that is in the segment's table, or create the segment for more VMs "
        "(`vmshmctl create --vms`)." },
    [VMSHM_ERR_VM_ID_TWICE] = { "vm id twice",
        "Give each VM (and each container with its own lock directory) an id of its own." },
    [VMSHM_ERR_MARKED] = { "vm marked gone",
        "If the VM is running, mark it as up on the host: `vmshmctl mark-vm --vm N up`. A libvirt "
        "hook that marks a VM as gone when it stops must also mark it as up when it starts." },
    [VMSHM_ERR_FULL] = { "section full",
        "`vmshmctl show` lists the processes and their windows: end stale jobs, mark VMs that are "
        "switched off (`vmshmctl mark-vm --vm N gone`), or create a larger segment." },
    [VMSHM_ERR_HELD] = { "lock held",
        "Let the process that holds the lock continue (kill -CONT, or in its debugger) or end it; "
        "`fuser -v FILE` shows which processes have the file open." },
    [VMSHM_ERR_USER] = { "peer of another user",
        "Give the user the same ID in all VMs (one account database), or run the containers of a job "
        "in one user namespace." },
    [VMSHM_ERR_PEER] = { "peer unproven",
        "Expected for a VM on another host, after a migration, or after a snapshot was restored; on "
        "one host, check that both VMs are attached to the same file." },
    [VMSHM_ERR_MAP] = { "not mapped",
        "Raise the limit that is named above (ulimit -l, ulimit -v, sysctl vm.max_map_count)." },
    [VMSHM_ERR_SYSTEM] = { "system error", "The system's error text names the cause." },
};

int vmshm_fail(struct vmshm_error *e, enum vmshm_code code, const char *file, const char *field,
               const char *fmt, ...)
{
    va_list args;

    e->code = code;
    snprintf(e->file, sizeof e->file, "%s", file ? file : "(none)");
    snprintf(e->field, sizeof e->field, "%s", field ? field : "(none)");
    va_start(args, fmt);
    vsnprintf(e->detail, sizeof e->detail, fmt, args);
    va_end(args);
    return code;
}

int vmshm_fail_errno(struct vmshm_error *e, const char *file, const char *field, const char *what)
{
    const int err = errno;
    enum vmshm_code code = VMSHM_ERR_SYSTEM;

    if (EACCES == err || EPERM == err) {
        code = VMSHM_ERR_PERMISSION;
    } else if (ENOENT == err || ENODEV == err || ENXIO == err) {
        code = VMSHM_ERR_ABSENT;
    }
    return vmshm_fail(e, code, file, field, "%s: %s", what, strerror(err));
}

const char *vmshm_error_remedy(enum vmshm_code code)
{
    return code < VMSHM_ERR_COUNT ? texts[code].remedy : "";
}

const char *vmshm_error_topic(enum vmshm_code code)
{
    return code < VMSHM_ERR_COUNT ? texts[code].topic : texts[VMSHM_ERR_SYSTEM].topic;
}
