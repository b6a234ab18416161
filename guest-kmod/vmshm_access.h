/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Loads and stores of words that other VMs see: vmshm_states.h and this module name them as user space does
 * (vmshm_atomic.h).
 *
 * Other VMs are other kernels: barriers and atomics towards them are the virt_ and sync_ ones, which a kernel
 * booted with one CPU does not patch away. What only this VM writes has one writer here, who holds
 * vmshm_dev.lock: adding to a counter and setting bits need no atomic read-modify-write.
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

/* *at was *expected and is `value` now, or else *expected is what was found. */
static inline bool vmshm_compare_exchange(u64 *at, u64 *expected, u64 value)
{
	const u64 before = *expected;

	*expected = sync_cmpxchg(at, before, value);
	return *expected == before;
}

/* Where a store must be seen before a later load: see vmshm_states.h. */
static inline void vmshm_fence_store_load(void)
{
	virt_mb();
}

/* Copy what another VM may be changing meanwhile: checks and uses that follow see this copy. */
static inline void vmshm_copy_in(void *to, const void *from, size_t bytes)
{
	memcpy(to, from, bytes);
	barrier();
}

#endif
