// SPDX-License-Identifier: GPL-2.0-only
/*
 * Released windows of the own section: quarantine and collection.
 *
 * A released window stays in quarantine until no reader table lists it and none of its pages is
 * pinned. State and reader bits follow Dekker's pattern, store then load with a full barrier in between
 * on both sides: vmshm_states.h, as in the user-space library.
 */
#include <linux/lockdep.h>

#include "vmshm.h"

/* Does this process, of another VM, read the window? For this VM the module counts the readers itself. */
static bool window_is_read_by(struct vmshm_dev *dev, u32 index, u32 vm, u32 slot)
{
	return vmshm_proc_reads(vmshm_proc_of(dev, vm, slot), vmshm_row_of(dev, vm, slot),
				vmshm_reader_bit(&dev->header, dev->vm, index));
}

/* May a process of that VM still run and read? */
static bool vm_is_reader(struct vmshm_dev *dev, u32 vm)
{
	return vm != dev->vm &&
	       vmshm_vm_may_read(vmshm_section_of(dev, vm), vmshm_mark_of(dev, vm));
}

/* Does anybody hold this window in quarantine? Nobody can find it any more, and when no file of this VM has it
 * nobody maps it here, so a process that does not read it never will, and a page that is not pinned stays so.
 * Therefore each check continues where the last one ended, and a window that is still held costs one check.
 * The exception: another VM's module may list the window in its own slot's row later, for pinned pages, before it
 * clears the process's bit. So all entries are checked twice: after the first round no process reads the window, and
 * a late entry of a module is set and found in the second.
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
	vmshm_window_set_empty(vmshm_window_of(dev, dev->vm, w - dev->windows));
}

bool vmshm_window_collect(struct vmshm_dev *dev)
{
	u32 looks = VMSHM_LOOKS_MAX;
	struct vmshm_own_window *w, *next;
	enum vmshm_look look = VMSHM_LOOK_FREE;

	lockdep_assert_held_write(&dev->lock);
	if (list_empty(&dev->to_look))
		return false;
	vmshm_fence_store_load();	/* QUARANTINE before the readers' bits; partner: vmshm_row_set(), vmshm_states.h */
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

/* Any remaining work is done by vmshm_beat(), which is scheduled at once. */
void vmshm_window_collect_soon(struct vmshm_dev *dev)
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

void vmshm_window_quarantine(struct vmshm_dev *dev, struct vmshm_own_window *w)
{
	w->state = VMSHM_OWN_QUARANTINE;
	w->readers_seen = 0;
	w->bytes_seen = dev->features & VMSHM_FEATURE_PAGES ? 0 : w->length;
	list_add(&w->quarantined, &dev->to_look);
	vmshm_window_set_quarantine(vmshm_window_of(dev, dev->vm, w - dev->windows));
}
