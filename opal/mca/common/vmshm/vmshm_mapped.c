/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * List of the windows that this process has mapped: its own, and those that it is registered to read.
 *
 * The ranges are kept here, in private memory, because a faulty peer can change its window table at any time. A window
 * is mapped once, however often it is entered, and never if it overlaps another one, since unmapping one would unmap
 * part of the other.
 */
#include "vmshm_mapped.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "vmshm_map.h"

void vmshm_mapped_init(struct vmshm_mapped *mapped)
{
    *mapped = (struct vmshm_mapped) { .list = NULL };
    pthread_mutex_init(&mapped->lock, NULL);
}

void vmshm_mapped_fini(struct vmshm_mapped *mapped)
{
    free(mapped->list);
    mapped->list = NULL;
    mapped->count = mapped->room = 0;
    pthread_mutex_destroy(&mapped->lock);
}

struct vmshm_mapping *vmshm_mapped_find(struct vmshm_mapped *mapped, uint32_t vm, uint32_t index)
{
    for (uint32_t i = 0; i < mapped->count; ++i) {
        if (vm == mapped->list[i].vm && index == mapped->list[i].index) {
            return &mapped->list[i];
        }
    }
    return NULL;
}

static bool overlaps(const struct vmshm_mapped *mapped, uint64_t offset, uint64_t length)
{
    for (uint32_t i = 0; i < mapped->count; ++i) {
        const struct vmshm_mapping *other = &mapped->list[i];

        if (offset < other->offset + other->length && other->offset < offset + length) {
            return true;
        }
    }
    return false;
}

struct vmshm_mapping *vmshm_mapped_add(struct vmshm_mapped *mapped, struct vmshm_segment *s,
                                       const struct vmshm_mapping *mapping, struct vmshm_error *e)
{
    if (mapped->gone) {
        (void) vmshm_fail(e, VMSHM_ERR_ABSENT, s->path, "window", "this process no longer has the segment");
        return NULL;
    }
    if (overlaps(mapped, mapping->offset, mapping->length)) {
        (void) vmshm_fail(e, VMSHM_ERR_PEER, s->path, "window", "VM %u: window %u overlaps another window",
                          mapping->vm, mapping->index);
        return NULL;
    }
    if (mapped->count == mapped->room) {
        const uint32_t room = 0 == mapped->room ? 16 : 2 * mapped->room;
        struct vmshm_mapping *list = realloc(mapped->list, room * sizeof *list);

        if (NULL == list) {
            (void) vmshm_map_fail(e, s->path, "window", "the list of what is mapped");
            return NULL;
        }
        mapped->list = list;
        mapped->room = room;
    }
    if (s->pieces && !vmshm_map_piece(s, mapping->offset, mapping->length,
                                      PROT_READ | (mapping->own ? PROT_WRITE : 0))) {
        (void) vmshm_map_fail(e, s->path, "window",
                              mapping->own ? "mapping an own window" : "mapping a window of a peer");
        return NULL;
    }
    mapped->list[mapped->count] = *mapping;
    return &mapped->list[mapped->count++];
}

void vmshm_mapped_remove(struct vmshm_mapped *mapped, struct vmshm_segment *s,
                         struct vmshm_mapping *mapping)
{
    if (s->pieces && !mapped->gone) {
        vmshm_map_remove(s, mapping->offset, mapping->length);
    }
    *mapping = mapped->list[--mapped->count];
}
