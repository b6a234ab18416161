// SPDX-License-Identifier: GPL-2.0-only
/*
 * Windows of the own section: handing out, quarantine, collection.
 *
 * A released window stays in quarantine until no reader table lists it and nobody has its pages
 * pinned. Its state against the readers' bits is a store-then-load on both sides with a full
 * barrier between (Dekker), as in the user-space library (vmshm_window.c there;
 * test/model/windows.pml).
 */
#include <linux/sched/signal.h>

#include "vmshm.h"

#define ZERO_BYTES	(2UL << 20)

static void publish_state(struct vmshm_dev *dev, u32 index, u32 state)
{
	shared_store(&vmshm_window_of(dev, dev->vm, index)->state, state);
}

/* By a process of this VM? */
static bool is_read_here(const struct vmshm_dev *dev, u32 index)
{
	const struct vmshm_file *file;
	const struct vmshm_found *f;

	list_for_each_entry(file, &dev->files, list)
		list_for_each_entry(f, &file->found, list)
			if (f->vm == dev->vm && f->index == index)
				return true;
	return false;
}

/* Does a process of this VM, or by its table a live one of a VM that may still run, read it? Windows
 * of this VM that are pinned need no look here: see vmshm_is_pinned().
 */
static bool is_read(struct vmshm_dev *dev, u32 index)
{
	const struct vmshm_header *h = &dev->header;
	const u64 bit = (u64)dev->vm * h->windows + index;
	u32 vm, slot;

	if (is_read_here(dev, index))
		return true;
	for (vm = 0; vm < h->vms; vm++) {
		if (vm == dev->vm ||
		    shared_load(&vmshm_section_of(dev, vm)->magic) != VMSHM_SECTION_MAGIC ||
		    shared_load(&vmshm_mark_of(dev, vm)->mark) == VMSHM_MARK_GONE)
			continue;
		for (slot = 0; slot < h->procs; slot++) {
			const u64 *row = vmshm_row_of(dev, vm, slot);

			if (shared_load(&vmshm_proc_of(dev, vm, slot)->state) ==
			    VMSHM_PROC_LIVE &&
			    (shared_load(&row[bit / 64]) >> bit % 64 & 1))
				return true;
		}
	}
	return false;
}

void vmshm_window_collect(struct vmshm_dev *dev)
{
	u32 i;

	virt_mb();	/* our QUARANTINE before the loads of readers' bits */
	for (i = 0; i < dev->header.windows; i++) {
		struct vmshm_own_window *w = &dev->windows[i];

		if (w->state == VMSHM_OWN_QUARANTINE && !is_read(dev, i) &&
		    !vmshm_is_pinned(dev, w->offset, w->length)) {
			w->state = VMSHM_OWN_EMPTY;
			publish_state(dev, i, VMSHM_WINDOW_EMPTY);
		}
	}
}

static u64 heap_start(const struct vmshm_dev *dev, u32 kind)
{
	const struct vmshm_section_entry *own = &dev->sections[dev->vm];

	return own->offset + (kind == VMSHM_KIND_OPEN ? own->open_offset :
			      vmshm_heap_offset(&dev->header));
}

static u64 heap_end(const struct vmshm_dev *dev, u32 kind)
{
	const struct vmshm_section_entry *own = &dev->sections[dev->vm];

	return own->offset + (kind == VMSHM_KIND_OPEN ? own->length : own->open_offset);
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
		start = heap_start(dev, VMSHM_KIND_PRIVATE);
		if (copy.state != VMSHM_WINDOW_EMPTY && copy.length &&
		    !(copy.length % VMSHM_GRANULE_BYTES) && !(copy.offset % VMSHM_GRANULE_BYTES) &&
		    vmshm_range_inside(copy.offset, copy.length, start,
				       heap_end(dev, VMSHM_KIND_OPEN) - start)) {
			w->state = VMSHM_OWN_QUARANTINE;
			w->offset = copy.offset;
			w->length = copy.length;
			publish_state(dev, i, VMSHM_WINDOW_QUARANTINE);
		} else {
			publish_state(dev, i, VMSHM_WINDOW_EMPTY);
		}
	}
	vmshm_window_collect(dev);
}

/* First gap of `bytes` in the half of that kind, 0 if there is none. */
static u64 find_gap(const struct vmshm_dev *dev, u64 bytes, u32 kind)
{
	const u64 heap = heap_start(dev, kind), end = heap_end(dev, kind);
	u64 at = heap;
	bool moved;
	u32 i;

	/* Push the candidate behind every window it overlaps, until none does. */
	do {
		moved = false;
		if (!vmshm_range_inside(at, bytes, heap, end - heap))
			return 0;
		for (i = 0; i < dev->header.windows; i++) {
			const struct vmshm_own_window *w = &dev->windows[i];

			if (w->state != VMSHM_OWN_EMPTY && at < w->offset + w->length &&
			    w->offset < at + bytes) {
				at = w->offset + w->length;
				moved = true;
			}
		}
	} while (moved);
	return at;
}

/* Lock held for writing. The window is taken, but nobody sees it yet. */
static int reserve(struct vmshm_file *file, struct vmshm_alloc *alloc)
{
	struct vmshm_dev *dev = file->dev;
	struct vmshm_own_window *w;
	u64 bytes, at;
	u32 i;

	/* Beyond the section's length rounding up could wrap around to nothing. */
	if (alloc->bytes > dev->sections[dev->vm].length)
		return -ENOSPC;
	bytes = vmshm_align_up(alloc->bytes, VMSHM_GRANULE_BYTES);
	vmshm_window_collect(dev);
	for (i = 0; i < dev->header.windows; i++)
		if (dev->windows[i].state == VMSHM_OWN_EMPTY)
			break;
	at = i < dev->header.windows ? find_gap(dev, bytes, alloc->kind) : 0;
	if (!at)
		return -ENOSPC;
	w = &dev->windows[i];
	w->state = VMSHM_OWN_ZEROING;
	w->generation++;
	w->slot = file->slot;
	w->kind = alloc->kind;
	w->offset = at;
	w->length = bytes;
	list_add(&w->of_file, &file->windows);
	alloc->offset = at;
	alloc->length = bytes;
	alloc->index = i;
	return 0;
}

/* What reserve() took. In the memory that comes after a detachment the numbers begin anew. */
struct reserved {
	u64 epoch;
	u32 index;
	u32 generation;
};

/* Lock held. Is it still the same window? Another thread may have left the segment, the host may have
 * taken it back.
 */
static bool is_reserved(struct vmshm_dev *dev, const struct reserved *r)
{
	return !dev->gone && !dev->detached && dev->usable && dev->epoch == r->epoch &&
	       r->index < dev->header.windows &&
	       dev->windows[r->index].state == VMSHM_OWN_ZEROING &&
	       dev->windows[r->index].generation == r->generation;
}

/* In pieces, so that others need not wait for the whole. */
static int zero(struct vmshm_dev *dev, const struct reserved *r, u64 offset, u64 bytes)
{
	u64 done = 0;
	int rc = 0;

	while (!rc && done < bytes) {
		const u64 piece = min_t(u64, bytes - done, ZERO_BYTES);

		down_read(&dev->lock);
		if (is_reserved(dev, r))
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

/* Lock held for writing. */
static void show(struct vmshm_file *file, u32 index)
{
	struct vmshm_dev *dev = file->dev;
	struct vmshm_own_window *w = &dev->windows[index];
	struct vmshm_window *shared = vmshm_window_of(dev, dev->vm, index);

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

static void release(struct vmshm_dev *dev, struct vmshm_own_window *w)
{
	list_del_init(&w->of_file);
	w->state = VMSHM_OWN_QUARANTINE;
	publish_state(dev, w - dev->windows, VMSHM_WINDOW_QUARANTINE);
	vmshm_zap(dev, w->offset, w->length);
}

int vmshm_window_alloc(struct vmshm_file *file, struct vmshm_alloc *alloc)
{
	struct vmshm_dev *dev = file->dev;
	struct reserved r;
	u64 own, dirty;
	int rc;

	down_write(&dev->lock);
	rc = dev->gone || dev->detached ? -ENODEV :
	     file->slot == VMSHM_NO_SLOT ? -ENOTCONN : reserve(file, alloc);
	if (rc) {
		up_write(&dev->lock);
		return rc;
	}
	r = (struct reserved) { dev->epoch, alloc->index, dev->windows[alloc->index].generation };
	own = dev->sections[dev->vm].offset;
	/* Only what was handed out before can hold somebody's data. */
	dirty = own + dev->dirty_end > alloc->offset ? own + dev->dirty_end - alloc->offset : 0;
	if (alloc->offset + alloc->length - own > dev->dirty_end) {
		dev->dirty_end = alloc->offset + alloc->length - own;
		WRITE_ONCE(vmshm_section_of(dev, dev->vm)->dirty_end, dev->dirty_end);
	}
	up_write(&dev->lock);

	rc = zero(dev, &r, alloc->offset, min(dirty, alloc->length));

	down_write(&dev->lock);
	if (!is_reserved(dev, &r))
		rc = -ENODEV;
	else if (rc)
		release(dev, &dev->windows[alloc->index]);
	else
		show(file, alloc->index);
	up_write(&dev->lock);
	return rc;
}

static struct vmshm_own_window *own_window(struct vmshm_file *file, u32 index)
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
	struct vmshm_own_window *w = own_window(file, r->index);

	if (!w)
		return -ENOENT;
	r->offset = w->offset;
	r->length = w->length;
	release(file->dev, w);
	vmshm_window_collect(file->dev);
	return 0;
}

void vmshm_window_release_all(struct vmshm_file *file)
{
	struct vmshm_own_window *w, *next;

	list_for_each_entry_safe(w, next, &file->windows, of_file)
		release(file->dev, w);
}

int vmshm_window_publish(struct vmshm_file *file, u32 index)
{
	struct vmshm_dev *dev = file->dev;

	if (!own_window(file, index) || dev->windows[index].state != VMSHM_OWN_LIVE)
		return -ENOENT;
	shared_store(&vmshm_proc_of(dev, dev->vm, file->slot)->window, index);
	return 0;
}
