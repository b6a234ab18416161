// SPDX-License-Identifier: GPL-2.0-only
/*
 * Allocating and releasing windows of the own section.
 */
#include <linux/list_sort.h>
#include <linux/lockdep.h>
#include <linux/sched/signal.h>

#include "vmshm.h"

#define ZERO_BYTES	(2UL << 20)

/* Number of held windows that each allocation checks again. */
#define LOOK_AGAIN	64

/* The first window behind the offset, in the sorted list, or the list's head. */
static struct list_head *window_behind(struct vmshm_dev *dev, u64 offset)
{
	struct vmshm_own_window *w;

	list_for_each_entry(w, &dev->taken_windows, taken)
		if (w->offset > offset)
			break;
	return &w->taken;
}

static int window_is_behind(void *unused, const struct list_head *a, const struct list_head *b)
{
	return list_entry(a, struct vmshm_own_window, taken)->offset >
	       list_entry(b, struct vmshm_own_window, taken)->offset;
}

/* Put windows of an earlier boot of this VM in quarantine, since others may still read them. */
void vmshm_window_inherit(struct vmshm_dev *dev)
{
	u32 i;

	for (i = 0; i < dev->header.windows; i++) {
		struct vmshm_own_window *w = &dev->windows[i];
		struct vmshm_window copy;
		u64 start;

		vmshm_copy_in(&copy, vmshm_window_of(dev, dev->vm, i), sizeof(copy));
		*w = (struct vmshm_own_window) { .generation = copy.generation };
		INIT_LIST_HEAD(&w->of_file);
		start = vmshm_half_start(dev, VMSHM_KIND_PRIVATE);
		if (copy.state != VMSHM_WINDOW_EMPTY && copy.length &&
		    !(copy.length % VMSHM_GRANULE_BYTES) && !(copy.offset % VMSHM_GRANULE_BYTES) &&
		    vmshm_range_inside(copy.offset, copy.length, start,
				       vmshm_half_end(dev, VMSHM_KIND_OPEN) - start)) {
			w->offset = copy.offset;
			w->length = copy.length;
			vmshm_limits_take(dev, w, NULL);
			list_add_tail(&w->taken, &dev->taken_windows);
			vmshm_window_quarantine(dev, w);
		} else {
			vmshm_window_set_empty(vmshm_window_of(dev, dev->vm, i));
		}
	}
	/* The table may list them in any order. */
	list_sort(NULL, &dev->taken_windows, window_is_behind);
	vmshm_window_collect_soon(dev);
}

/* First gap of `bytes` between these offsets, 0 if there is none. Windows of an earlier boot may overlap. */
static u64 heap_find_gap(const struct vmshm_dev *dev, u64 bytes, u64 start, u64 end)
{
	const struct vmshm_own_window *w;
	u64 at = start;

	list_for_each_entry(w, &dev->taken_windows, taken) {
		if (w->offset >= at && w->offset - at >= bytes)
			break;
		at = max(at, w->offset + w->length);
	}
	return vmshm_range_inside(at, bytes, start, end - start) ? at : 0;
}

/* Find a place for a window of this file, within the limits. */
static int heap_find_place(const struct vmshm_file *file, u64 bytes, u32 kind, u64 *at)
{
	const struct vmshm_dev *dev = file->dev;
	u64 start = vmshm_half_start(dev, kind), end = vmshm_half_end(dev, kind), within;
	int rc;

	*at = heap_find_gap(dev, bytes, start, end);
	if (!*at)
		return -ENOSPC;
	rc = vmshm_limits_check_window(file, bytes, kind);
	if (rc)
		return rc;
	vmshm_limits_reach(file, &start, &end);
	within = heap_find_gap(dev, bytes, start, end);
	if (within)
		*at = within;
	else if (!vmshm_limits_may_exceed())
		return -EDQUOT;
	return 0;
}

/* Reserve a window without publishing it. */
static int window_reserve(struct vmshm_file *file, struct vmshm_alloc *alloc)
{
	struct vmshm_dev *dev = file->dev;
	struct vmshm_own_window *w;
	u64 bytes, at;
	int rc;
	u32 i;

	lockdep_assert_held_write(&dev->lock);
	/* Refuse before rounding up, which could overflow. */
	if (alloc->bytes > dev->sections[dev->vm].length)
		return -ENOSPC;
	bytes = vmshm_align_up(alloc->bytes, VMSHM_GRANULE_BYTES);
	for (i = 0; i < dev->header.windows; i++)
		if (dev->windows[i].state == VMSHM_OWN_EMPTY)
			break;
	rc = i < dev->header.windows ? heap_find_place(file, bytes, alloc->kind, &at) : -ENOSPC;
	if (rc)
		return rc;
	w = &dev->windows[i];
	w->state = VMSHM_OWN_ZEROING;
	w->generation++;
	w->serial = ++dev->serials;
	w->slot = file->slot;
	w->kind = alloc->kind;
	w->offset = at;
	w->length = bytes;
	list_add(&w->of_file, &file->windows);
	list_add_tail(&w->taken, window_behind(dev, at));
	vmshm_limits_take(dev, w, file->user);
	alloc->offset = at;
	alloc->length = bytes;
	alloc->index = i;
	return 0;
}

/* On success the lock is held for writing afterwards, on failure it is not held. Checks some of the held windows again,
 * and all of them only if there is no other room; releases the lock in between.
 */
static int window_reserve_collecting(struct vmshm_file *file, struct vmshm_alloc *alloc)
{
	struct vmshm_dev *dev = file->dev;
	bool again = true, all = false;
	int rc;

	for (;;) {
		down_write(&dev->lock);
		rc = vmshm_is_away(dev) ? -ENODEV :
		     file->slot == VMSHM_NO_SLOT ? -ENOTCONN : 0;
		if (rc)
			break;
		if (again)
			vmshm_window_look_again(dev, all ? dev->header.windows : LOOK_AGAIN);
		again = false;
		if (!vmshm_window_collect(dev)) {
			rc = window_reserve(file, alloc);
			if (!rc)
				return 0;
			if (all || (rc != -ENOSPC && rc != -EDQUOT))
				break;
			again = true;
			all = true;
		}
		up_write(&dev->lock);
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	up_write(&dev->lock);
	return rc;
}

/* The window that window_reserve() took. Has the epoch, too, since generations start again in other memory. */
struct reserved {
	u64 epoch;
	u32 index;
	u32 generation;
};

/* Is it still the same window? Another thread may have left the segment, or the host may have taken the memory. */
static bool window_is_reserved(struct vmshm_dev *dev, const struct reserved *r)
{
	lockdep_assert_held(&dev->lock);
	return vmshm_is_known(dev) && dev->epoch == r->epoch &&
	       r->index < dev->header.windows &&
	       dev->windows[r->index].state == VMSHM_OWN_ZEROING &&
	       dev->windows[r->index].generation == r->generation;
}

/* Clears the window in pieces, so that others need not wait for all of it. */
static int window_zero(struct vmshm_dev *dev, const struct reserved *r, u64 offset, u64 bytes)
{
	u64 done = 0;
	int rc = 0;

	while (!rc && done < bytes) {
		const u64 piece = min_t(u64, bytes - done, ZERO_BYTES);

		down_read(&dev->lock);
		if (window_is_reserved(dev, r))
			memset(dev->mem + offset + done, 0, piece);
		else
			rc = -ENODEV;
		up_read(&dev->lock);
		done += piece;
		if (fatal_signal_pending(current))
			rc = -EINTR;
		cond_resched();
	}
	return rc;
}

static void window_show(struct vmshm_file *file, u32 index)
{
	struct vmshm_dev *dev = file->dev;
	struct vmshm_own_window *w = &dev->windows[index];
	struct vmshm_window as = {
		.generation = w->generation, .offset = w->offset, .length = w->length,
		.proc = w->slot, .kind = w->kind, .uid = from_kuid(&init_user_ns, file->uid),
	};

	lockdep_assert_held_write(&dev->lock);
	memcpy(as.job, file->job, sizeof(as.job));
	w->state = VMSHM_OWN_LIVE;
	vmshm_window_set_live(vmshm_window_of(dev, dev->vm, index), &as);
}

static void window_release(struct vmshm_dev *dev, struct vmshm_own_window *w)
{
	list_del_init(&w->of_file);
	vmshm_window_quarantine(dev, w);
	vmshm_zap(dev, w->offset, w->length);
}

int vmshm_window_alloc(struct vmshm_file *file, struct vmshm_alloc *alloc)
{
	struct vmshm_dev *dev = file->dev;
	struct reserved r;
	u64 own, dirty;
	int rc;

	rc = window_reserve_collecting(file, alloc);
	if (rc)
		return rc;
	r = (struct reserved) { dev->epoch, alloc->index, dev->windows[alloc->index].generation };
	own = dev->sections[dev->vm].offset;
	/* Clear only memory that was handed out before; the rest is zero. */
	dirty = own + dev->dirty_end > alloc->offset ? own + dev->dirty_end - alloc->offset : 0;
	if (alloc->offset + alloc->length - own > dev->dirty_end) {
		dev->dirty_end = alloc->offset + alloc->length - own;
		WRITE_ONCE(vmshm_section_of(dev, dev->vm)->dirty_end, dev->dirty_end);
	}
	up_write(&dev->lock);

	rc = window_zero(dev, &r, alloc->offset, min(dirty, alloc->length));

	down_write(&dev->lock);
	if (!window_is_reserved(dev, &r))
		rc = -ENODEV;
	else if (rc)
		window_release(dev, &dev->windows[alloc->index]);
	else
		window_show(file, alloc->index);
	up_write(&dev->lock);
	return rc;
}

static struct vmshm_own_window *window_of_file(struct vmshm_file *file, u32 index)
{
	struct vmshm_dev *dev = file->dev;
	struct vmshm_own_window *w;

	if (index >= dev->header.windows)
		return NULL;
	w = &dev->windows[index];
	if (w->state != VMSHM_OWN_LIVE && w->state != VMSHM_OWN_ZEROING)
		return NULL;
	return w->slot == file->slot ? w : NULL;
}

int vmshm_window_release(struct vmshm_file *file, struct vmshm_release *r)
{
	struct vmshm_own_window *w = window_of_file(file, r->index);

	lockdep_assert_held_write(&file->dev->lock);
	if (!w)
		return -ENOENT;
	r->offset = w->offset;
	r->length = w->length;
	window_release(file->dev, w);
	vmshm_window_collect_soon(file->dev);
	return 0;
}

void vmshm_window_release_all(struct vmshm_file *file)
{
	struct vmshm_own_window *w, *next;

	list_for_each_entry_safe(w, next, &file->windows, of_file)
		window_release(file->dev, w);
}

int vmshm_window_publish(struct vmshm_file *file, u32 index)
{
	struct vmshm_dev *dev = file->dev;

	lockdep_assert_held_write(&dev->lock);
	if (!window_of_file(file, index) || dev->windows[index].state != VMSHM_OWN_LIVE)
		return -ENOENT;
	vmshm_proc_set_window(vmshm_proc_of(dev, dev->vm, file->slot), index);
	return 0;
}
