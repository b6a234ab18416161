/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * List of the windows that a process has mapped.
 */
#ifndef VMSHM_MAPPED_H
#define VMSHM_MAPPED_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmshm_segment.h"

struct vmshm_mapping {
    uint64_t offset, length;   /* bytes, in the segment */
    uint32_t vm, index;        /* of the window */
    uint32_t readers;          /* how often this process has entered it */
    bool own;                  /* a window of this process, mapped writable */
};

struct vmshm_mapped {
    pthread_mutex_t lock;      /* protects everything below */
    struct vmshm_mapping *list;
    uint32_t count, room;      /* entries of list in use and allocated */
    bool gone;                 /* the segment was replaced by zeros: vmshm_let_go() */
};

void vmshm_mapped_init(struct vmshm_mapped *mapped);
void vmshm_mapped_fini(struct vmshm_mapped *mapped);

/* The functions below are called with the lock held. */

struct vmshm_mapping *vmshm_mapped_find(struct vmshm_mapped *mapped, uint32_t vm, uint32_t index);
/* Map a window and add it to the list, which invalidates earlier pointers into it. Returns NULL and fills *e if it
 * overlaps another window (PEER), the segment is gone (ABSENT), or this process cannot map it (MAP, SYSTEM). */
struct vmshm_mapping *vmshm_mapped_add(struct vmshm_mapped *mapped, struct vmshm_segment *s,
                                       const struct vmshm_mapping *mapping, struct vmshm_error *e);
void vmshm_mapped_remove(struct vmshm_mapped *mapped, struct vmshm_segment *s,
                         struct vmshm_mapping *mapping);

#endif
