// SPDX-License-Identifier: GPL-2.0-only
/*
 * Windows of other processes: found, checked, reserved in the reader table.
 *
 * The bit in the own row is set before the window's state is loaded; see vmshm_states.h.
 */
#include <linux/slab.h>

#include "vmshm.h"

static void row_set(struct vmshm_dev *dev, u32 slot, u32 vm, u32 index)
{
	vmshm_row_set(vmshm_row_of(dev, dev->vm, slot), vmshm_reader_bit(&dev->header, vm, index));
}

static void row_clear(struct vmshm_dev *dev, u32 slot, u32 vm, u32 index)
{
	vmshm_row_clear(vmshm_row_of(dev, dev->vm, slot), vmshm_reader_bit(&dev->header, vm, index));
}

/* For windows of this VM use the module's private state, since another VM may have overwritten the table. */
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

static void window_copy(struct vmshm_dev *dev, u32 vm, u32 index, struct vmshm_window *copy)
{
	if (vm == dev->vm)
		window_copy_own(dev, index, copy);
	else
		vmshm_window_copy(copy, vmshm_window_of(dev, vm, index));
}

/* Is the entry valid according to the format? */
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

/* Sort key of vmshm_dev.pinned. */
static u64 pin_number(const struct rb_node *node)
{
	const struct vmshm_found *f = rb_entry(node, struct vmshm_found, pinned);

	return (u64)f->vm << 32 | f->index;
}

static int pin_compare(const void *number, const struct rb_node *node)
{
	const u64 wanted = *(const u64 *)number, has = pin_number(node);

	return wanted < has ? -1 : wanted > has;
}

static bool pin_is_before(struct rb_node *a, const struct rb_node *b)
{
	return pin_number(a) < pin_number(b);
}

static struct vmshm_found *pin_of(const struct vmshm_dev *dev, u32 vm, u32 index)
{
	const u64 number = (u64)vm << 32 | index;

	return rb_entry_safe(rb_find(&number, &dev->pinned, pin_compare), struct vmshm_found, pinned);
}

/* A device, a pipe or another process may still read the window through pinned pages, so its owner must
 * not reuse it, even after this process has ended. Therefore the module lists the window in its own row before
 * the process's bit is cleared; also if not all pages could be checked yet. Windows of this VM are checked
 * before they are reused, instead.
 */
static bool found_keep_pinned(struct vmshm_dev *dev, struct vmshm_found *f, u32 *looks)
{
	enum vmshm_look look;
	struct vmshm_found *pin;

	if (f->vm == dev->vm || !(dev->features & VMSHM_FEATURE_PAGES))
		return false;
	look = vmshm_look_pages(dev, f->offset, f->length, &f->bytes_seen, looks);
	if (look == VMSHM_LOOK_FREE)
		return false;
	pin = pin_of(dev, f->vm, f->index);
	if (pin) {
		/* Pages that were checked before may have been pinned since. */
		pin->bytes_seen = f->bytes_seen;
		list_move_tail(&pin->list, &dev->pins_to_look);
		return false;
	}
	if (dev->pin_slot == VMSHM_NO_SLOT)
		dev->pin_slot = vmshm_slot_hold(dev);
	if (dev->pin_slot == VMSHM_NO_SLOT) {
		if (vmshm_is_pinned(dev, f->offset, f->length))
			dev_warn_ratelimited(&dev->pdev->dev,
					     "no process slot left: a window is given back although its pages are pinned\n");
		return false;
	}
	row_set(dev, dev->pin_slot, f->vm, f->index);
	rb_add(&f->pinned, &dev->pinned, pin_is_before);
	list_add_tail(&f->list, &dev->pins_to_look);
	return true;
}

static void found_forget(struct vmshm_file *file, struct vmshm_found *f, u32 *looks)
{
	struct vmshm_dev *dev = file->dev;
	bool kept;

	lockdep_assert_held_write(&dev->lock);
	list_del(&f->list);
	file->found_count--;
	vmshm_zap(dev, f->offset, f->length);
	kept = found_keep_pinned(dev, f, looks);
	row_clear(dev, file->slot, f->vm, f->index);
	if (f->vm == dev->vm)
		vmshm_window_unread(dev, f->index);
	if (!kept)
		kfree(f);
}

/* After found_forget(): the remaining checks are done by vmshm_beat(), which is scheduled at once. */
static void pins_look_soon(struct vmshm_dev *dev, u32 looks)
{
	vmshm_looked(dev, VMSHM_LOOKS_MAX - looks);
	if (!looks)
		mod_delayed_work(system_wq, &dev->beat, 0);
}

void vmshm_pins_look_again(struct vmshm_dev *dev)
{
	lockdep_assert_held_write(&dev->lock);
	list_splice_tail_init(&dev->pins_held, &dev->pins_to_look);
}

bool vmshm_pins_look(struct vmshm_dev *dev)
{
	u32 looks = VMSHM_LOOKS_MAX;
	struct vmshm_found *f, *next;
	enum vmshm_look look = VMSHM_LOOK_FREE;

	lockdep_assert_held_write(&dev->lock);
	list_for_each_entry_safe(f, next, &dev->pins_to_look, list) {
		look = vmshm_look_pages(dev, f->offset, f->length, &f->bytes_seen, &looks);
		if (look == VMSHM_LOOK_UNFINISHED)
			break;
		if (look == VMSHM_LOOK_HELD) {
			list_move_tail(&f->list, &dev->pins_held);
			continue;
		}
		row_clear(dev, dev->pin_slot, f->vm, f->index);
		list_del(&f->list);
		rb_erase(&f->pinned, &dev->pinned);
		kfree(f);
	}
	vmshm_looked(dev, VMSHM_LOOKS_MAX - looks);
	if (dev->pin_slot != VMSHM_NO_SLOT && RB_EMPTY_ROOT(&dev->pinned)) {
		vmshm_slot_drop(dev, dev->pin_slot);
		dev->pin_slot = VMSHM_NO_SLOT;
	}
	return look == VMSHM_LOOK_UNFINISHED;
}

void vmshm_pins_forget(struct vmshm_dev *dev)
{
	struct vmshm_found *f, *next;

	vmshm_pins_look_again(dev);
	list_for_each_entry_safe(f, next, &dev->pins_to_look, list)
		kfree(f);
	INIT_LIST_HEAD(&dev->pins_to_look);
	dev->pinned = RB_ROOT;
	dev->pin_slot = VMSHM_NO_SLOT;
}

static int found_enter(struct vmshm_file *file, struct vmshm_find *find, u32 index)
{
	struct vmshm_dev *dev = file->dev;
	struct vmshm_found *f = found_of(file, find->vm, index);
	const bool known = f;
	const struct vmshm_found *before = known ? f : pin_of(dev, find->vm, index);
	struct vmshm_window w;
	int rc;

	row_set(dev, file->slot, find->vm, index);
	window_copy(dev, find->vm, index, &w);
	rc = found_check(file, find, index, &w);
	/* While a bit of this VM is set, an owner that follows the rules does not change the window. */
	if (!rc && before &&
	    (before->offset != w.offset || before->length != w.length || before->kind != w.kind))
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
			.length = w.length, .serial = ++dev->serials,
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
	u32 looks = VMSHM_LOOKS_MAX;

	if (!f)
		return -ENOENT;
	r->offset = f->offset;
	r->length = f->length;
	found_forget(file, f, &looks);
	pins_look_soon(file->dev, looks);
	return 0;
}

void vmshm_found_release_all(struct vmshm_file *file)
{
	struct vmshm_found *f, *next;
	u32 looks = VMSHM_LOOKS_MAX;

	list_for_each_entry_safe(f, next, &file->found, list)
		found_forget(file, f, &looks);
	pins_look_soon(file->dev, looks);
}

void vmshm_found_forget_all(struct vmshm_file *file)
{
	struct vmshm_found *f, *next;

	list_for_each_entry_safe(f, next, &file->found, list)
		kfree(f);
	INIT_LIST_HEAD(&file->found);
	file->found_count = 0;
}
