// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VM's section: releasing it, losing it, and dead processes.
 */
#include "vmshm.h"

/* Remove all mappings of the memory and check whether pages are still pinned. */
static void section_take_mappings(struct vmshm_dev *dev)
{
	vmshm_zap(dev, 0, dev->bytes);
	if (!vmshm_pins(dev))
		return;
	dev->old_pins = true;
	dev->old_pins_at = 0;
}

/* Forget everything about the memory. */
static void section_drop(struct vmshm_dev *dev)
{
	vmshm_pins_forget(dev);
	vmshm_header_drop(dev);
	dev->phase = VMSHM_PHASE_UNKNOWN;
	dev->expelled_by = 0;
}

void vmshm_section_shut(struct vmshm_dev *dev)
{
	struct vmshm_file *file;

	lockdep_assert_held_write(&dev->lock);
	if (!vmshm_is_known(dev))
		return;
	list_for_each_entry(file, &dev->files, list)
		vmshm_leave(file, VMSHM_PROC_DEAD);
	section_take_mappings(dev);
	vmshm_pins_look_again(dev);
	while (vmshm_pins_look(dev))
		cond_resched();
	/* If windows of other VMs are still pinned, the module's slot stays and lists them, until the VM is gone
	 * or takes its section again.
	 */
	if (dev->phase == VMSHM_PHASE_TAKEN)
		vmshm_store_release(&vmshm_section_of(dev, dev->vm)->state, VMSHM_SECTION_LEAVING);
	section_drop(dev);
}

void vmshm_section_lost(struct vmshm_dev *dev)
{
	struct vmshm_file *file;

	lockdep_assert_held_write(&dev->lock);
	if (!vmshm_is_known(dev))
		return;
	section_take_mappings(dev);
	list_for_each_entry(file, &dev->files, list) {
		if (file->slot == VMSHM_NO_SLOT)
			continue;
		vmshm_found_forget_all(file);
		INIT_LIST_HEAD(&file->windows);
		vmshm_slot_free(file);
	}
	section_drop(dev);
}

bool vmshm_is_arbiter(const struct vmshm_dev *dev)
{
	return READ_ONCE(vmshm_section_of(dev, dev->vm)->arbiter) == dev->epoch;
}

bool vmshm_is_expelled(const struct vmshm_dev *dev)
{
	const struct vmshm_vm_mark *mark;

	if (dev->phase != VMSHM_PHASE_TAKEN)
		return false;
	mark = vmshm_mark_of(dev, dev->vm);
	return dev->expelled_by || !vmshm_is_arbiter(dev) ||
	       vmshm_mark_is_gone(mark) || READ_ONCE(mark->gone) != dev->marked_gone;
}

void vmshm_expel(struct vmshm_dev *dev)
{
	lockdep_assert_held_write(&dev->lock);
	if (vmshm_is_arbiter(dev))
		vmshm_section_shut(dev);
	else
		vmshm_section_lost(dev);
}

void vmshm_leave(struct vmshm_file *file, u32 state)
{
	struct vmshm_dev *dev = file->dev;

	lockdep_assert_held_write(&dev->lock);
	if (file->slot == VMSHM_NO_SLOT)
		return;
	vmshm_found_release_all(file);
	vmshm_window_release_all(file);
	vmshm_slot_bury(dev, file->slot, state);
	vmshm_slot_free(file);
	if (vmshm_window_collect(dev))
		mod_delayed_work(system_wq, &dev->beat, 0);
	/* The host, or the removal of the device, may be waiting for the last member. */
	if (!dev->members && (dev->leaving || dev->detach_by || dev->expelled_by)) {
		wake_up_all(&dev->wait);
		mod_delayed_work(system_wq, &dev->beat, 0);
	}
}

void vmshm_reap(struct vmshm_dev *dev)
{
	struct vmshm_file *file;

	lockdep_assert_held_write(&dev->lock);
	list_for_each_entry(file, &dev->files, list)
		if (file->slot != VMSHM_NO_SLOT && !atomic_read(&file->mm->mm_users))
			vmshm_leave(file, VMSHM_PROC_DEAD);
}
