/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Mapping the segment into this process: one range of addresses, mapped whole or in pieces.
 *
 * With pieces, the whole range is reserved, and only the parts in use are accessible; an access elsewhere ends the
 * process. So a program that locks its memory (mlockall) locks only what it uses, not what all VMs of the host
 * share. The caller makes sure that pieces do not overlap.
 *
 * A file is mapped at once with PROT_NONE, and pieces get access by mprotect(), since a further mmap() would fail in
 * a program that locks future mappings (MCL_FUTURE) and has reached RLIMIT_MEMLOCK. With the kernel module each
 * window is mapped separately.
 */
#ifndef VMSHM_MAP_H
#define VMSHM_MAP_H

#include "vmshm_segment.h"

/* Page size with which the kernel maps this file. On hugetlbfs munmap() needs multiples of it. */
uint64_t vmshm_map_unit(int fd);

/* Can windows be mapped separately? Not on devices that map at offset 0 only, nor with pages larger than
 * VMSHM_GRANULE_BYTES; mlockall() locks neither. */
bool vmshm_map_has_pieces(const struct vmshm_segment *s);

/* Set s->base; on failure it is NULL, and errno is set. */
void vmshm_map_whole(struct vmshm_segment *s);
void vmshm_map_reserve(struct vmshm_segment *s);

/* Make a piece accessible. If a file gets too many mappings (vm.max_map_count) all of it becomes accessible, and
 * s->pieces is false from then on. Returns false with errno set on failure. */
bool vmshm_map_piece(struct vmshm_segment *s, uint64_t offset, uint64_t length, int prot);
/* Make the range inaccessible again; it stays reserved. */
void vmshm_map_remove(struct vmshm_segment *s, uint64_t offset, uint64_t length);

/* Like vmshm_fail_errno(), for a mapping that failed: VMSHM_ERR_MAP with the limit's name if a limit of this process
 * or the system is the cause. */
int vmshm_map_fail(struct vmshm_error *e, const char *file, const char *field, const char *what);

/* Replace all mappings by private zeros, writable in the section of VM `own`. If there is not enough memory they are
 * read-only, and a write ends the process. The shared memory is unmapped in any case. */
void vmshm_map_zeros(struct vmshm_segment *s, uint32_t own);

#endif
