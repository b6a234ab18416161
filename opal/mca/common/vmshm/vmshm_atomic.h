/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loads and stores of words in shared memory, which other processes and other virtual machines access, too.
 *
 * The shared structures have plain fixed-size integers and not _Atomic ones, because user space and a kernel include
 * the same header; so each access names its memory order. The accesses that vmshm_states.h makes have the same
 * names in the kernel module (guest-kmod/vmshm_access.h).
 */
#ifndef VMSHM_ATOMIC_H
#define VMSHM_ATOMIC_H

#include <string.h>

#define vmshm_load_relaxed(p)       __atomic_load_n((p), __ATOMIC_RELAXED)
#define vmshm_load_acquire(p)       __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define vmshm_store_relaxed(p, v)   __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define vmshm_store_release(p, v)   __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define vmshm_fetch_add(p, v)       __atomic_fetch_add((p), (v), __ATOMIC_ACQ_REL)
#define vmshm_add(p, v)             ((void) vmshm_fetch_add((p), (v)))
#define vmshm_set_bits(p, bits)     ((void) __atomic_fetch_or((p), (bits), __ATOMIC_ACQ_REL))
#define vmshm_clear_bits(p, bits)   ((void) __atomic_fetch_and((p), ~(bits), __ATOMIC_ACQ_REL))
#define vmshm_exchange(p, v)        __atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL)
/* True if *p was *expected and is v now; otherwise *expected becomes the value that was found. */
#define vmshm_compare_exchange(p, expected, v) \
    __atomic_compare_exchange_n((p), (expected), (v), 0, __ATOMIC_SEQ_CST, __ATOMIC_ACQUIRE)

/* Full fence between a store and a later load: see vmshm_states.h. */
#define vmshm_fence_store_load()    __atomic_thread_fence(__ATOMIC_SEQ_CST)

/* Copy data that another VM may be changing meanwhile. The barrier keeps the compiler from reading the shared bytes a
 * second time, after the copy was checked. */
static inline void vmshm_copy_in(void *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
    __asm__ __volatile__("" ::: "memory");
}

#endif
