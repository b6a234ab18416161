/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Loads and stores of words in shared memory, with the same names as in user space (vmshm_atomic.h), for
 * vmshm_states.h and this module.
 *
 * Other VMs run other kernels, so this uses the virt_ barriers and sync_ atomics, which are not patched away on a
 * kernel that runs on one CPU. Data of this VM's section is written only under vmshm_dev.lock, so adding to a counter
 * and setting bits need no atomic read-modify-write.
 */
#ifndef VMSHM_ACCESS_H
#define VMSHM_ACCESS_H

#include <linux/compiler.h>
#include <linux/string.h>
#include <linux/types.h>
#include <asm/barrier.h>
#include <asm/sync_bitops.h>

#define vmshm_load_relaxed(p)		READ_ONCE(*(p))
#define vmshm_load_acquire(p)		virt_load_acquire(p)
#define vmshm_store_relaxed(p, value)	WRITE_ONCE(*(p), value)
#define vmshm_store_release(p, value)	virt_store_release(p, value)
#define vmshm_add(p, value)						\
do {									\
	typeof(p) at_ = (p);						\
									\
	virt_store_release(at_, READ_ONCE(*at_) + (value));		\
} while (0)

static inline void vmshm_set_bits(u64 *at, u64 bits)
{
	WRITE_ONCE(*at, READ_ONCE(*at) | bits);
}

static inline void vmshm_clear_bits(u64 *at, u64 bits)
{
	virt_store_release(at, READ_ONCE(*at) & ~bits);
}

/* True if *at was *expected and is `value` now; otherwise *expected becomes the value that was found. */
static inline bool vmshm_compare_exchange(u64 *at, u64 *expected, u64 value)
{
	const u64 before = *expected;

	*expected = sync_cmpxchg(at, before, value);
	return *expected == before;
}

/* Full fence between a store and a later load: see vmshm_states.h. */
static inline void vmshm_fence_store_load(void)
{
	virt_mb();
}

/* Copy data that another VM may be changing meanwhile, so that it is checked and used from the same copy. */
static inline void vmshm_copy_in(void *to, const void *from, size_t bytes)
{
	memcpy(to, from, bytes);
	barrier();
}

#endif
