// SPDX-License-Identifier: GPL-2.0-only
/*
 * Windows of other processes: found, checked, reserved in the reader table.
 *
 * The bit in the own row comes before the look at the window's state; see vmshm_window.c.
 */
#include <linux/slab.h>

#include "vmshm.h"

static u64 *row_word(struct vmshm_dev *dev, u32 slot, u32 vm, u32 index, u64 *mask)
{
	const u64 bit = (u64)vm * dev->header.windows + index;

	*mask = 1ULL << bit % 64;
	return vmshm_row_of(dev, dev->vm, slot) + bit / 64;
}

static void row_set(struct vmshm_dev *dev, u32 slot, u32 vm, u32 index)
{
	u64 mask, *word = row_word(dev, slot, vm, index, &mask);

	WRITE_ONCE(*word, READ_ONCE(*word) | mask);
	virt_mb();	/* the bit before the load of the state */
}

static void row_clear(struct vmshm_dev *dev, u32 slot, u32 vm, u32 index)
{
	u64 mask, *word = row_word(dev, slot, vm, index, &mask);

	/* Our last loads from the window come before its owner sees it free. */
	shared_store(word, READ_ONCE(*word) & ~mask);
}

/* Of this VM the module knows itself: what stands in the segment another VM may have written. */
static void window_copy_own(struct vmshm_dev *dev, u32 index, struct vmshm_window *copy)
{
	const struct vmshm_own_window *w = &dev->windows[index];
	const struct vmshm_file *owner = dev->procs[w->slot].file;

	*copy = (struct vmshm_window) { .state = VMSHM_WINDOW_EMPTY };
	if (w->state != VMSHM_OWN_LIVE || !owner)
		return;
	*copy = (struct vmshm_window) {
		.state = VMSHM_WINDOW_LIVE, .generation = w->generation, .offset = w->offset,
		.length = w->length, .proc = w->slot, .kind = w->kind,
		.uid = from_kuid(&init_user_ns, owner->uid),
	};
	memcpy(copy->job, owner->job, sizeof(copy->job));
}

/* A private copy. State first: live under our bit, the entry stays as it is. */
static void window_copy(struct vmshm_dev *dev, u32 vm, u32 index, struct vmshm_window *copy)
{
	const struct vmshm_window *shared = vmshm_window_of(dev, vm, index);
	u32 state;

	if (vm == dev->vm) {
		window_copy_own(dev, index, copy);
		return;
	}
	state = shared_load(&shared->state);
	memcpy(copy, shared, sizeof(*copy));
	barrier();
	copy->state = state;
}

/* Is what stands there a window as the format has it? */
static bool window_is_sound(struct vmshm_dev *dev, u32 vm, const struct vmshm_window *w)
{
	const struct vmshm_section_entry *section = &dev->sections[vm];
	const u64 heap = section->offset + vmshm_heap_offset(&dev->header);
	const u64 open = section->offset + section->open_offset;
	const u64 end = section->offset + section->length;

	if (!w->length || w->length % VMSHM_GRANULE_BYTES || w->offset % VMSHM_GRANULE_BYTES)
		return false;
	if (w->kind == VMSHM_KIND_PRIVATE)
		return vmshm_range_inside(w->offset, w->length, heap, open - heap);
	return w->kind == VMSHM_KIND_OPEN &&
	       vmshm_range_inside(w->offset, w->length, open, end - open);
}

static int found_check(struct vmshm_file *file, const struct vmshm_find *find, u32 index,
		       const struct vmshm_window *w)
{
	if (w->state != VMSHM_WINDOW_LIVE || w->proc != find->slot)
		return -ENOENT;
	if (!window_is_sound(file->dev, find->vm, w))
		return -EPROTO;
	if (memcmp(w->job, find->job, sizeof(w->job)) ||
	    w->uid != from_kuid(&init_user_ns, file->uid))
		return -EACCES;
	if (find->index == VMSHM_ANY_WINDOW &&
	    !vmshm_range_inside(find->offset, find->length, w->offset, w->length))
		return -ENOENT;
	return 0;
}

static struct vmshm_found *found_of(struct vmshm_file *file, u32 vm, u32 index)
{
	struct vmshm_found *f;

	list_for_each_entry(f, &file->found, list)
		if (f->vm == vm && f->index == index)
			return f;
	return NULL;
}

/* A device, a pipe or another process may still read it through pages that it pinned: the owner may
 * not hand it out again, whatever becomes of this process. The module lists it before the process
 * does no more.
 */
static bool found_keep_pinned(struct vmshm_dev *dev, struct vmshm_found *f)
{
	if (!vmshm_is_pinned(dev, f->offset, f->length))
		return false;
	if (dev->pin_slot == VMSHM_NO_SLOT)
		dev->pin_slot = vmshm_slot_hold(dev);
	if (dev->pin_slot == VMSHM_NO_SLOT) {
		dev_warn_ratelimited(&dev->pdev->dev,
				     "no process slot left: a window is given back although its pages are pinned\n");
		return false;
	}
	row_set(dev, dev->pin_slot, f->vm, f->index);
	list_add(&f->list, &dev->pinned);
	return true;
}

static void found_forget(struct vmshm_file *file, struct vmshm_found *f)
{
	struct vmshm_dev *dev = file->dev;
	bool kept;

	lockdep_assert_held_write(&dev->lock);
	list_del(&f->list);
	file->found_count--;
	vmshm_zap(dev, f->offset, f->length);
	kept = found_keep_pinned(dev, f);
	row_clear(dev, file->slot, f->vm, f->index);
	if (f->vm == dev->vm)
		vmshm_window_unread(dev, f->index);
	if (!kept)
		kfree(f);
}

void vmshm_pins_look(struct vmshm_dev *dev)
{
	struct vmshm_found *f, *next, *other;
	bool twice;

	lockdep_assert_held_write(&dev->lock);
	list_for_each_entry_safe(f, next, &dev->pinned, list) {
		if (vmshm_is_pinned(dev, f->offset, f->length))
			continue;
		list_del(&f->list);
		twice = false;
		list_for_each_entry(other, &dev->pinned, list)
			twice |= other->vm == f->vm && other->index == f->index;
		if (!twice)
			row_clear(dev, dev->pin_slot, f->vm, f->index);
		kfree(f);
	}
	if (dev->pin_slot != VMSHM_NO_SLOT && list_empty(&dev->pinned)) {
		vmshm_slot_drop(dev, dev->pin_slot);
		dev->pin_slot = VMSHM_NO_SLOT;
	}
}

void vmshm_pins_forget(struct vmshm_dev *dev)
{
	struct vmshm_found *f, *next;

	list_for_each_entry_safe(f, next, &dev->pinned, list) {
		list_del(&f->list);
		kfree(f);
	}
	dev->pin_slot = VMSHM_NO_SLOT;
}

static int found_enter(struct vmshm_file *file, struct vmshm_find *find, u32 index)
{
	struct vmshm_dev *dev = file->dev;
	struct vmshm_found *f = found_of(file, find->vm, index);
	const bool known = f;
	struct vmshm_window w;
	int rc;

	row_set(dev, file->slot, find->vm, index);
	window_copy(dev, find->vm, index, &w);
	rc = found_check(file, find, index, &w);
	/* Under our bit an honest owner keeps it as it was. */
	if (!rc && known && (f->offset != w.offset || f->length != w.length || f->kind != w.kind))
		rc = -EPROTO;
	if (!rc && !known && file->found_count == VMSHM_FOUND_MAX)
		rc = -ENOSPC;
	if (!rc && !known) {
		f = kmalloc(sizeof(*f), GFP_KERNEL_ACCOUNT);
		rc = f ? 0 : -ENOMEM;
	}
	if (rc) {
		if (!known)
			row_clear(dev, file->slot, find->vm, index);
		return rc;
	}
	if (!known) {
		*f = (struct vmshm_found) {
			.vm = find->vm, .index = index, .slot = w.proc,
			.generation = w.generation, .kind = w.kind, .offset = w.offset,
			.length = w.length,
		};
		list_add(&f->list, &file->found);
		file->found_count++;
		if (f->vm == dev->vm)
			vmshm_window_read(dev, index);
	}
	find->index = index;
	find->window_offset = f->offset;
	find->window_length = f->length;
	find->generation = f->generation;
	find->kind = f->kind;
	return 0;
}

int vmshm_find(struct vmshm_file *file, struct vmshm_find *find)
{
	struct vmshm_dev *dev = file->dev;
	struct vmshm_window w;
	int rc = -ENOENT;
	u32 i;

	lockdep_assert_held_write(&dev->lock);
	if (find->vm >= dev->header.vms || find->slot >= dev->header.procs)
		return -EINVAL;
	if (find->index != VMSHM_ANY_WINDOW)
		return find->index < dev->header.windows ? found_enter(file, find, find->index) : -EINVAL;
	for (i = 0; i < dev->header.windows; i++) {
		window_copy(dev, find->vm, i, &w);
		if (w.state == VMSHM_WINDOW_LIVE && w.proc == find->slot &&
		    vmshm_range_inside(find->offset, find->length, w.offset, w.length)) {
			rc = found_enter(file, find, i);
			if (rc != -ENOENT)
				return rc;
		}
	}
	return rc;
}

int vmshm_found_release(struct vmshm_file *file, struct vmshm_release *r)
{
	struct vmshm_found *f = found_of(file, r->vm, r->index);

	if (!f)
		return -ENOENT;
	r->offset = f->offset;
	r->length = f->length;
	found_forget(file, f);
	return 0;
}

void vmshm_found_release_all(struct vmshm_file *file)
{
	struct vmshm_found *f, *next;

	list_for_each_entry_safe(f, next, &file->found, list)
		found_forget(file, f);
}

void vmshm_found_forget_all(struct vmshm_file *file)
{
	struct vmshm_found *f, *next;

	list_for_each_entry_safe(f, next, &file->found, list)
		kfree(f);
	INIT_LIST_HEAD(&file->found);
	file->found_count = 0;
}
