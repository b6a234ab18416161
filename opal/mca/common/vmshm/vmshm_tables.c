/* SPDX-License-Identifier: BSD-3-Clause */
/* Addresses of table entries in this process. */
#include "vmshm_segment.h"

#include "vmshm_layout.h"

struct vmshm_proc *vmshm_proc_of(const struct vmshm_segment *s, uint32_t vm, uint32_t slot)
{
    return (struct vmshm_proc *) (s->base + s->sections[vm].offset + vmshm_procs_offset()) + slot;
}

struct vmshm_window *vmshm_window_of(const struct vmshm_segment *s, uint32_t vm, uint32_t index)
{
    return (struct vmshm_window *) (s->base + s->sections[vm].offset
                                    + vmshm_windows_offset(&s->header)) + index;
}

uint32_t *vmshm_bell_of(const struct vmshm_segment *s, uint32_t ringing_vm, uint32_t to_vm,
                        uint32_t to_slot)
{
    return (uint32_t *) (s->base + s->sections[ringing_vm].offset + vmshm_bells_offset(&s->header))
           + vmshm_proc_index(&s->header, to_vm, to_slot);
}

uint64_t *vmshm_reader_row_of(const struct vmshm_segment *s, uint32_t vm, uint32_t slot)
{
    return (uint64_t *) (s->base + s->sections[vm].offset + vmshm_readers_offset(&s->header)
                         + slot * vmshm_reader_row_bytes(&s->header));
}

const struct vmshm_vm_mark *vmshm_mark_of(const struct vmshm_segment *s, uint32_t vm)
{
    return (const struct vmshm_vm_mark *) (s->base + VMSHM_MARK_OFFSET) + vm;
}
