/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vmshmctl reset-vm: clear the tables of a VM that is off.
 *
 * Generations are not reset, so that the address of an old process or window never matches a new one.
 * Windows that another VM still reads stay in quarantine. The heap is not touched: dirty_end still
 * says which part of it must be zeroed before it is handed out.
 */
#include "vmshmctl.h"

#include <string.h>

#include "vmshm_states.h"

/* Does the reader table of a section that is in use list window `index` of `vm`? Only the rows of other VMs count;
 * those of `vm` itself were cleared. */
static bool is_read(const struct vmshm_segment *s, uint32_t vm, uint32_t index)
{
    const uint64_t bit = vmshm_reader_bit(&s->header, vm, index);

    for (uint32_t by = 0; by < s->header.vms; ++by) {
        if (by == vm || !vmshm_vm_may_read(vmshm_section_of(s, by), vmshm_mark_of(s, by))) {
            continue;
        }
        for (uint32_t slot = 0; slot < s->header.procs; ++slot) {
            if (vmshm_row_has(vmshm_reader_row_of(s, by, slot), bit)) {
                return true;
            }
        }
    }
    return false;
}

static void reset_procs(const struct vmshm_segment *s, uint32_t vm, struct vmshm_section *section)
{
    for (uint32_t slot = 0; slot < s->header.procs; ++slot) {
        struct vmshm_proc *proc = vmshm_proc_of(s, vm, slot);
        const uint32_t generation = proc->generation;

        if (VMSHM_PROC_LIVE == proc->state) {
            section->messages += proc->messages;
            section->bytes += proc->bytes;
        }
        vmshm_store_release(&proc->state, VMSHM_PROC_FREE);
        memset(proc, 0, sizeof *proc);
        proc->generation = generation;
        vmshm_row_zero(vmshm_reader_row_of(s, vm, slot), vmshm_reader_row_bytes(&s->header));
    }
}

/* Returns the offset in the section up to which the heap was used at least. */
static uint64_t reset_windows(const struct vmshm_segment *s, uint32_t vm, uint32_t *kept)
{
    uint64_t used = 0;

    for (uint32_t i = 0; i < s->header.windows; ++i) {
        struct vmshm_window *shared = vmshm_window_of(s, vm, i);
        struct vmshm_window w;
        const bool nobody = VMSHM_WINDOW_EMPTY == shared->state;

        vmshm_window_set_quarantine(shared);
        vmshm_fence_store_load();   /* QUARANTINE before the readers' bits; partner: vmshm_row_set(), vmshm_states.h */
        memcpy(&w, shared, sizeof w);
        if (ctl_window_in_heap(s, vm, &w)) {
            const uint64_t end = w.offset + w.length - s->sections[vm].offset;

            used = end > used ? end : used;
            if (!nobody && 0 == w.offset % VMSHM_GRANULE_BYTES
                && 0 == w.length % VMSHM_GRANULE_BYTES && is_read(s, vm, i)) {
                ++*kept;
                continue;
            }
        }
        /* No reader can have entered a window that is not in the heap. */
        memset(&shared->offset, 0, sizeof w - offsetof(struct vmshm_window, offset));
        vmshm_window_set_empty(shared);
    }
    return used;
}

static void reset(struct vmshm_segment *s, uint32_t vm, uint32_t *kept)
{
    struct vmshm_section *section = vmshm_section_of(s, vm);
    uint64_t used;

    /* Peers give up connections when the epoch changes. */
    vmshm_store_release(&section->state, VMSHM_SECTION_NEVER);
    vmshm_store_release(&section->epoch, 0);
    reset_procs(s, vm, section);
    used = reset_windows(s, vm, kept);
    if (section->dirty_end > s->sections[vm].length || section->dirty_end < used
        || 0 != section->dirty_end % VMSHM_GRANULE_BYTES) {
        section->dirty_end = s->sections[vm].length;    /* invalid: zero all of it */
    }
    section->vm_id = vm;
    section->arbiter = 0;
    vmshm_store_release(&section->magic, 0);
}

static int reset_vm(const struct ctl_command *self, int argc, char **argv)
{
    static const struct option options[] = {
        { "vm", required_argument, NULL, 'v' }, { "force", no_argument, NULL, 'f' },
        { "help", no_argument, NULL, 'h' }, { 0 }
    };
    uint32_t vm = CTL_VM_UNSET, kept = 0;
    struct vmshm_segment s;
    struct vmshm_error e;
    const char *path;
    bool force = false;
    int status, c;

    while (-1 != (c = getopt_long(argc, argv, ":h", options, NULL))) {
        if ('f' == c) {
            force = true;
        } else if ('v' != c) {
            return ctl_option_end(self, c, argv);
        } else if (!ctl_parse_u32(optarg, &vm)) {
            return ctl_usage_error(self, "--vm", NULL, "'%s' is not a VM id", optarg);
        }
    }
    status = ctl_path_argument(self, argc, argv, &path);
    if (CTL_OK == status) {
        status = ctl_open_for_vm(self, path, vm, &s);
    }
    if (CTL_OK != status) {
        return status;
    }
    if (!force && vm == ctl_watch(&s, vm)) {
        vmshm_fail(&e, VMSHM_ERR_FIELD, path, "heartbeat", "VM %u is running: its heartbeat moves",
                   vm);
        ctl_fail(&e, "Switch it off or end its jobs first; --force makes them fail.");
        status = CTL_IN_USE;
    } else if (VMSHM_OK != vmshm_segment_own(&s, vm, &e)) {
        status = ctl_fail(&e, s.managed ? "Run it on the host, or unload the module first (rmmod "
                                          "vmshm)." : NULL);
    } else {
        reset(&s, vm, &kept);
        if (kept > 0) {
            printf("VM %u: %u windows stay in quarantine until the VMs that read them release them "
                   "(`vmshmctl show` lists the readers)\n", vm, kept);
        }
    }
    vmshm_segment_close(&s);
    return status;
}

const struct ctl_command ctl_reset_vm = {
    "reset-vm", "clear the section of a VM that is off",
    "reset-vm --vm N [--force] PATH\n"
    "Clear the tables of a VM that is off. Refuses while the VM's heartbeat advances. Windows that\n"
    "other VMs read stay in quarantine.\n\n"
    "  --vm N    the VM's id\n"
    "  --force   even if the VM is running: its jobs fail\n",
    reset_vm
};
