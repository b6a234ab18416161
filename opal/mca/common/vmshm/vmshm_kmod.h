/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The segment through /dev/vmshmN: the kernel module owns the section's tables, this process asks
 * (guest-kmod/vmshm_uapi.h).
 *
 * Mapped in pieces (vmshm_map.h). Called by vmshm_segment.c, vmshm_provider_look.c, vmshm_member.c, vmshm_window.c and vmshm_check.c
 * only, where vmshm_segment.managed is set.
 */
#ifndef VMSHM_KMOD_H
#define VMSHM_KMOD_H

#include "vmshm_member.h"

/* Is the module behind s->fd? Sets s->managed and s->id; the segment's size goes to *bytes. *e is filled, and its code
 * returned, if the module is there but has no usable segment. VMSHM_ERR_ABSENT with *e untouched: it
 * is another device. */
int vmshm_kmod_probe(struct vmshm_segment *s, uint64_t *bytes, struct vmshm_error *e);

/* As their namesakes in vmshm_member.h. */
int vmshm_kmod_join(const struct vmshm_join_options *o, struct vmshm_member *m,
                    struct vmshm_error *e);
void vmshm_kmod_leave(struct vmshm_member *m);
int vmshm_kmod_window_alloc(struct vmshm_member *m, uint64_t bytes, uint32_t kind,
                            uint32_t *index, uint64_t *offset, struct vmshm_error *e);
void vmshm_kmod_window_release(struct vmshm_member *m, uint32_t index);
void vmshm_kmod_window_publish(struct vmshm_member *m, uint32_t index);
void vmshm_kmod_ring_bell(struct vmshm_member *m, uint32_t vm, uint32_t slot);
void vmshm_kmod_count(struct vmshm_member *m, uint64_t messages, uint64_t bytes);

/* Find the window `index` of (vm, slot), or with VMSHM_NO_WINDOW the one that holds the range, and map
 * it. Returns its index, or VMSHM_NO_WINDOW and *e, as vmshm_reader_find(). To be left as often as found. */
uint32_t vmshm_kmod_find(struct vmshm_member *m, uint32_t vm, uint32_t slot, uint32_t index,
                         uint64_t offset, uint64_t length, struct vmshm_window *w,
                         struct vmshm_error *e);
void vmshm_kmod_window_leave(struct vmshm_member *m, uint32_t vm, uint32_t index);

const char *vmshm_kmod_lost(struct vmshm_member *m);

#endif
