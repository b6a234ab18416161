/*
 * Addresses of the segment in this process: all of it in one range, whole or in pieces.
 *
 * In pieces the range is reserved, and what is needed is mapped at its place in it; elsewhere an access
 * ends the process. So a program that locks its memory (mlockall) locks what it uses, not what the VMs of
 * the host share. The caller sees to it that pieces do not overlap.
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

/* False and errno: nothing has changed. */
bool vmshm_map_piece(struct vmshm_segment *s, uint64_t offset, uint64_t length, int prot);
/* Back to a range that is only reserved. */
void vmshm_map_remove(struct vmshm_segment *s, uint64_t offset, uint64_t length);

/* Zeros in place of all that was mapped; those of the section of VM `own` can be written. Where the system
 * has not so much memory to give they cannot, and who writes there ends. What was shared is gone in any
 * case. */
void vmshm_map_zeros(struct vmshm_segment *s, uint32_t own);

#endif
