// SPDX-License-Identifier: GPL-2.0-only
/*
 * Windows of the own section: handing out, quarantine, collection.
 *
 * A released window stays in quarantine until no reader table lists it and nobody has its pages
 * pinned. Its state against the readers' bits is a store-then-load on both sides with a full
 * barrier between (Dekker), as in the user-space library (vmshm_window.c there;
 * test/model/windows.pml).
 */
#include <linux/list_sort.h>
#include <linux/lockdep.h>
#include <linux/sched/signal.h>

#include "vmshm.h"

#define ZERO_BYTES	(2UL << 20)

static void window_publish_state(struct vmshm_dev *dev, u32 index, u32 state)
{
	shared_store(&vmshm_window_of(dev, dev->vm, index)->state, state);
}

/* Held windows that each allocation looks at anew. */
#define LOOK_AGAIN	64

/* Does this process read it? Of this VM the module knows that without the table. */
static bool window_is_read_by(struct vmshm_dev *dev, u32 index, u32 vm, u32 slot)
{
	const u64 bit = (u64)dev->vm * dev->header.windows + index;
	const u64 *row = vmshm_row_of(dev, vm, slot);

	return shared_load(&vmshm_proc_of(dev, vm, slot)->state) == VMSHM_PROC_LIVE &&
	       (shared_load(&row[bit / 64]) >> bit % 64 & 1);
}

/* May a process of that VM still run and read? */
static bool vm_is_reader(struct vmshm_dev *dev, u32 vm)
{
	return vm != dev->vm &&
	       shared_load(&vmshm_section_of(dev, vm)->magic) == VMSHM_SECTION_MAGIC &&
	       shared_load(&vmshm_mark_of(dev, vm)->mark) != VMSHM_MARK_GONE;
}

/* Who holds a window in quarantine? Nobody finds it any more, and when no file of this VM has it, nobody
 * maps it here: a process that was seen not to read it will not, a page that was seen free stays so. So each
 * look goes on where the last one ended, and a window that is held costs one.
 * Only a module may list its own slot later, for pages that stay pinned, and before it takes the process from
 * the list. So there are two rounds: when the first one ends, no process reads it, and what is listed late is
 * listed.
 */
static enum vmshm_look window_look(struct vmshm_dev *dev, struct vmshm_own_window *w, u32 *looks)
{
	const u32 index = w - dev->windows, procs = dev->header.procs;
	const u32 all = dev->header.vms * 2 * procs;

	while (*looks) {
		const u32 vm = w->readers_seen / (2 * procs);

		--*looks;
		if (w->readers)
			return VMSHM_LOOK_HELD;
		if (w->readers_seen == all)
			break;
		if (!vm_is_reader(dev, vm)) {
			w->readers_seen = (vm + 1) * 2 * procs;
			continue;
		}
		if (window_is_read_by(dev, index, vm, w->readers_seen % procs))
			return VMSHM_LOOK_HELD;
		w->readers_seen++;
	}
	return vmshm_look_pages(dev, w->offset, w->length, &w->bytes_seen, looks);
}

static void window_set_free(struct vmshm_dev *dev, struct vmshm_own_window *w)
{
	list_del(&w->quarantined);
	list_del(&w->taken);
	vmshm_limits_give(dev, w);
	w->state = VMSHM_OWN_EMPTY;
	window_publish_state(dev, w - dev->windows, VMSHM_WINDOW_EMPTY);
}

bool vmshm_window_collect(struct vmshm_dev *dev)
{
	u32 looks = VMSHM_LOOKS_MAX;
	struct vmshm_own_window *w, *next;
	enum vmshm_look look = VMSHM_LOOK_FREE;

	lockdep_assert_held_write(&dev->lock);
	if (list_empty(&dev->to_look))
		return false;
	virt_mb();	/* our QUARANTINE before the loads of readers' bits */
	list_for_each_entry_safe(w, next, &dev->to_look, quarantined) {
		look = window_look(dev, w, &looks);
		if (look == VMSHM_LOOK_UNFINISHED)
			break;
		if (look == VMSHM_LOOK_FREE)
			window_set_free(dev, w);
		else
			list_move_tail(&w->quarantined, &dev->held);
	}
	vmshm_looked(dev, VMSHM_LOOKS_MAX - looks);
	return look == VMSHM_LOOK_UNFINISHED;
}

void vmshm_window_look_again(struct vmshm_dev *dev, u32 windows)
{
	lockdep_assert_held_write(&dev->lock);
	while (windows-- && !list_empty(&dev->held))
		list_move_tail(dev->held.next, &dev->to_look);
}

/* What is left over the next beat does, which comes at once. */
static void windows_collect_soon(struct vmshm_dev *dev)
{
	if (vmshm_window_collect(dev))
		mod_delayed_work(system_wq, &dev->beat, 0);
}

void vmshm_window_read(struct vmshm_dev *dev, u32 index)
{
	dev->windows[index].readers++;
}

void vmshm_window_unread(struct vmshm_dev *dev, u32 index)
{
	struct vmshm_own_window *w = &dev->windows[index];

	if (!--w->readers && w->state == VMSHM_OWN_QUARANTINE)
		list_move(&w->quarantined, &dev->to_look);
}

static void window_quarantine(struct vmshm_dev *dev, struct vmshm_own_window *w)
{
	w->state = VMSHM_OWN_QUARANTINE;
	w->readers_seen = 0;
	w->bytes_seen = dev->features & VMSHM_FEATURE_PAGES ? 0 : w->length;
	list_add(&w->quarantined, &dev->to_look);
	window_publish_state(dev, w - dev->windows, VMSHM_WINDOW_QUARANTINE);
}

/* Where it stands in the order of the offsets, or the list's end. */
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

/* What an earlier boot of this VM handed out may still be read by others. */
void vmshm_window_inherit(struct vmshm_dev *dev)
{
	u32 i;

	for (i = 0; i < dev->header.windows; i++) {
		struct vmshm_own_window *w = &dev->windows[i];
		struct vmshm_window copy;
		u64 start;

		memcpy(&copy, vmshm_window_of(dev, dev->vm, i), sizeof(copy));
		barrier();
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
			window_quarantine(dev, w);
		} else {
			window_publish_state(dev, i, VMSHM_WINDOW_EMPTY);
		}
	}
	/* In whatever order another VM may have left them. */
	list_sort(NULL, &dev->taken_windows, window_is_behind);
	windows_collect_soon(dev);
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

/* Where a window of this file is to lie, within the limits. */
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

/* The window is taken, but nobody sees it yet. */
static int window_reserve(struct vmshm_file *file, struct vmshm_alloc *alloc)
{
	struct vmshm_dev *dev = file->dev;
	struct vmshm_own_window *w;
	u64 bytes, at;
	int rc;
	u32 i;

	lockdep_assert_held_write(&dev->lock);
	/* Beyond the section's length rounding up could wrap around to nothing. */
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

/* Without success the lock is not held afterwards, else it is for writing. Some that were held are looked at
 * anew, all of them only when there is nothing else; others get the lock in between.
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

/* What window_reserve() took. In the memory that comes after a detachment the numbers begin anew. */
struct reserved {
	u64 epoch;
	u32 index;
	u32 generation;
};

/* Is it still the same window? Another thread may have left the segment, the host may have
 * taken it back.
 */
static bool window_is_reserved(struct vmshm_dev *dev, const struct reserved *r)
{
	lockdep_assert_held(&dev->lock);
	return !dev->gone && !dev->detached && dev->usable && dev->epoch == r->epoch &&
	       r->index < dev->header.windows &&
	       dev->windows[r->index].state == VMSHM_OWN_ZEROING &&
	       dev->windows[r->index].generation == r->generation;
}

/* In pieces, so that others need not wait for the whole. */
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
	struct vmshm_window *shared = vmshm_window_of(dev, dev->vm, index);

	lockdep_assert_held_write(&dev->lock);
	WRITE_ONCE(shared->generation, w->generation);
	WRITE_ONCE(shared->offset, w->offset);
	WRITE_ONCE(shared->length, w->length);
	WRITE_ONCE(shared->proc, w->slot);
	WRITE_ONCE(shared->uid, from_kuid(&init_user_ns, file->uid));
	WRITE_ONCE(shared->kind, w->kind);
	memcpy(shared->job, file->job, sizeof(shared->job));
	w->state = VMSHM_OWN_LIVE;
	shared_store(&shared->state, VMSHM_WINDOW_LIVE);
}

static void window_release(struct vmshm_dev *dev, struct vmshm_own_window *w)
{
	list_del_init(&w->of_file);
	window_quarantine(dev, w);
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
	/* Only what was handed out before can hold somebody's data. */
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
	windows_collect_soon(file->dev);
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
	shared_store(&vmshm_proc_of(dev, dev->vm, file->slot)->window, index);
	return 0;
}
