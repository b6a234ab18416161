/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The windows that a process has mapped.
 */
#ifndef VMSHM_MAPPED_H
#define VMSHM_MAPPED_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmshm_segment.h"

struct vmshm_mapping {
    uint64_t offset, length;
    uint32_t vm, index;
    uint32_t readers;          /* how often this process entered it */
    bool own;                  /* and may write there */
};

struct vmshm_mapped {
    pthread_mutex_t lock;
    struct vmshm_mapping *list;
    uint32_t count, room;
    bool gone;                 /* zeros stand in place of the segment */
};

void vmshm_mapped_init(struct vmshm_mapped *mapped);
void vmshm_mapped_fini(struct vmshm_mapped *mapped);

/* What follows: lock held. */

struct vmshm_mapping *vmshm_mapped_find(struct vmshm_mapped *mapped, uint32_t vm, uint32_t index);
/* Map it. NULL and *e: it overlaps another one (PEER), the segment is gone (ABSENT), or this process may not
 * map it (MAP, SYSTEM). Pointers from before are void. */
struct vmshm_mapping *vmshm_mapped_add(struct vmshm_mapped *mapped, struct vmshm_segment *s,
                                       const struct vmshm_mapping *mapping, struct vmshm_error *e);
void vmshm_mapped_remove(struct vmshm_mapped *mapped, struct vmshm_segment *s,
                         struct vmshm_mapping *mapping);

#endif
