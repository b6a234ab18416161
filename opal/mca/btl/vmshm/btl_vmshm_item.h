/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Annotations for ThreadSanitizer where Open MPI synchronizes threads in a way that it cannot see.
 *
 * Items of free lists: the lists' compare-and-swap of 16 bytes is inline assembly. Users' buffers: a
 * request is completed by an atomic exchange in a library that is not compiled with the sanitizer. Without
 * annotations the sanitizer reports a data race when one thread uses an item or buffer after another one.
 * Test programs annotate their own buffers: vt.h.
 */
#ifndef MCA_BTL_VMSHM_ITEM_H
#define MCA_BTL_VMSHM_ITEM_H

#include "opal/class/opal_free_list.h"

#if defined(__SANITIZE_THREAD__)
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#else
#define __tsan_acquire(address) ((void) 0)
#define __tsan_release(address) ((void) 0)
#endif

/* Call these before the first access to a user's buffer, and before telling the upper layer that it is done. */
static inline void mca_btl_vmshm_buffer_begin(const void *buffer)
{
    __tsan_acquire((void *) (uintptr_t) buffer);
    (void) buffer;
}

static inline void mca_btl_vmshm_buffer_end(const void *buffer)
{
    __tsan_release((void *) (uintptr_t) buffer);
    (void) buffer;
}

static inline opal_free_list_item_t *mca_btl_vmshm_item_take(opal_free_list_t *list)
{
    opal_free_list_item_t *item = opal_free_list_get(list);

    if (OPAL_LIKELY(NULL != item)) {
        __tsan_acquire(item);
    }
    return item;
}

static inline void mca_btl_vmshm_item_give(opal_free_list_t *list, opal_free_list_item_t *item)
{
    __tsan_release(item);
    opal_free_list_return(list, item);
}

#endif
