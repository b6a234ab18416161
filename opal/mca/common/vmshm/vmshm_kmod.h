/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Access to the segment through /dev/vmshmN. The kernel module alone writes the section's tables; this process asks it
 * by ioctl (guest-kmod/vmshm_uapi.h), and maps the segment in pieces (vmshm_map.h).
 *
 * Called only by vmshm_segment.c, vmshm_provider_look.c, vmshm_member.c, vmshm_window.c and vmshm_check.c, if
 * vmshm_segment.managed is set.
 */
#ifndef VMSHM_KMOD_H
#define VMSHM_KMOD_H

#include "vmshm_member.h"

/* Is s->fd a device of the module? If so, sets s->managed, s->id and *bytes, the segment's size. If the module has no
 * usable segment, fills *e and returns its code. Returns VMSHM_ERR_ABSENT and leaves *e alone if it is another
 * device. */
int vmshm_kmod_probe(struct vmshm_segment *s, uint64_t *bytes, struct vmshm_error *e);

/* Like the functions of the same names in vmshm_member.h. */
int vmshm_kmod_join(const struct vmshm_join_options *o, struct vmshm_member *m,
                    struct vmshm_error *e);
void vmshm_kmod_leave(struct vmshm_member *m);
int vmshm_kmod_window_alloc(struct vmshm_member *m, uint64_t bytes, uint32_t kind,
                            uint32_t *index, uint64_t *offset, struct vmshm_error *e);
void vmshm_kmod_window_release(struct vmshm_member *m, uint32_t index);
void vmshm_kmod_window_publish(struct vmshm_member *m, uint32_t index);
void vmshm_kmod_ring_bell(struct vmshm_member *m, uint32_t vm, uint32_t slot);
void vmshm_kmod_count(struct vmshm_member *m, uint64_t messages, uint64_t bytes);

/* Find and map the window `index` of (vm, slot), or with VMSHM_NO_WINDOW the one that contains the range. Returns its
 * index, or VMSHM_NO_WINDOW and *e, like vmshm_reader_find(). Each call that found one needs a
 * vmshm_kmod_window_leave(). */
uint32_t vmshm_kmod_find(struct vmshm_member *m, uint32_t vm, uint32_t slot, uint32_t index,
                         uint64_t offset, uint64_t length, struct vmshm_window *w,
                         struct vmshm_error *e);
void vmshm_kmod_window_leave(struct vmshm_member *m, uint32_t vm, uint32_t index);

const char *vmshm_kmod_lost(struct vmshm_member *m);

#endif
