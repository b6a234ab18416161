/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses of the segment in this process: all of it in one range, whole or in pieces.
 *
 * In pieces the range is reserved, and what is needed can be accessed at its place in it; elsewhere an
 * access ends the process. So a program that locks its memory (mlockall) locks what it uses, not what the
 * VMs of the host share. The caller sees to it that pieces do not overlap.
 *
 * A file is mapped at once, without access, and a piece is given access: a further mapping would be refused
 * to a program that locks what it maps (MCL_FUTURE) and may lock no more (RLIMIT_MEMLOCK). The kernel module
 * maps windows only, each by itself.
 */
#ifndef VMSHM_MAP_H
#define VMSHM_MAP_H

#include "vmshm_segment.h"

/* Of what size are the pages in which the kernel maps this file? hugetlbfs takes no others back. */
uint64_t vmshm_map_unit(int fd);

/* Can windows be mapped one by one? Not devices that map at offset 0 only, nor pages larger than a
 * window's unit: neither of them is locked by mlockall. */
bool vmshm_map_has_pieces(const struct vmshm_segment *s);

/* Sets s->base. NULL == s->base and errno on failure. */
void vmshm_map_whole(struct vmshm_segment *s);
void vmshm_map_reserve(struct vmshm_segment *s);

/* Where a file's pieces are too many for the kernel (vm.max_map_count) the whole of it is given access,
 * and s->pieces is false from then on. False and errno: not to be had. */
bool vmshm_map_piece(struct vmshm_segment *s, uint64_t offset, uint64_t length, int prot);
/* Back to a range that is only reserved. */
void vmshm_map_remove(struct vmshm_segment *s, uint64_t offset, uint64_t length);

/* As vmshm_fail_errno() after a mapping that failed, with VMSHM_ERR_MAP and the limit's name where a limit
 * of this process or system is the cause. */
int vmshm_map_fail(struct vmshm_error *e, const char *file, const char *field, const char *what);

/* Zeros in place of all that was mapped; those of the section of VM `own` can be written. Where the system
 * has not so much memory to give they cannot, and who writes there ends. What was shared is gone in any
 * case. */
void vmshm_map_zeros(struct vmshm_segment *s, uint32_t own);

#endif
