// SPDX-License-Identifier: GPL-2.0-only
/*
 * Attaching and detaching the segment at the host's request, if the device supports it.
 *
 * The module claims the memory (STATE: in use) before it reads the header, and as long as anybody may access it. The
 * VM cannot be migrated then. Without a claim BAR 2 may read as all ones.
 *
 * The host is told that the memory is free (DETACH_ACK) only when no process maps it and no page is pinned; otherwise
 * the holder of a pinned page could read or write other content after the migration.
 */
#include <linux/jiffies.h>
#include <linux/moduleparam.h>

#include "vmshm.h"
#include "vmshm_registers.h"

static unsigned int detach_seconds = 10;
module_param(detach_seconds, uint, 0644);
MODULE_PARM_DESC(detach_seconds,
		 "seconds that processes have to leave the segment when the host wants it back; then their mappings are removed (default: 10)");

bool vmshm_claim(struct vmshm_dev *dev)
{
	const u32 wanted = VMSHM_STATE_ATTACHED | VMSHM_STATE_IN_USE;
	u32 state;

	lockdep_assert_held_write(&dev->lock);
	if (!dev->generation)
		return true;
	state = vmshm_reg(dev, VMSHM_REG_STATE);
	if (!(state & VMSHM_STATE_IN_USE)) {
		vmshm_reg_set(dev, VMSHM_REG_REATTACH, dev->generation);
		state = vmshm_reg(dev, VMSHM_REG_STATE);
	}
	return (state & (wanted | VMSHM_STATE_DETACH_WANTED)) == wanted &&
	       vmshm_reg(dev, VMSHM_REG_GENERATION) == dev->generation;
}

int vmshm_take_up(struct vmshm_dev *dev)
{
	int rc;

	if (vmshm_is_known(dev))
		return 0;
	if (vmshm_is_held(dev))
		return -EBUSY;
	if (!vmshm_claim(dev))
		return -ENODEV;
	rc = vmshm_header_read(dev);
	if (rc)
		vmshm_unclaim(dev);
	return rc;
}

bool vmshm_is_idle(const struct vmshm_dev *dev)
{
	return dev->generation && dev->phase == VMSHM_PHASE_KNOWN && list_empty(&dev->files);
}

void vmshm_unclaim(struct vmshm_dev *dev)
{
	if (!dev->generation || dev->phase == VMSHM_PHASE_TAKEN || vmshm_is_away(dev) ||
	    (dev->phase == VMSHM_PHASE_KNOWN && !list_empty(&dev->files)))
		return;
	/* Some process may still have pinned the header or the tables. Then keep the claim: only the host has to
	 * wait, and the next process that opens the device can use the memory.
	 */
	if (dev->phase == VMSHM_PHASE_KNOWN) {
		vmshm_zap(dev, 0, dev->bytes);
		if (vmshm_pins(dev))
			return;
	}
	vmshm_section_lost(dev);
	if (!vmshm_is_held(dev))
		vmshm_reg_set(dev, VMSHM_REG_DETACH_ACK, dev->generation);
}

bool vmshm_is_held(struct vmshm_dev *dev)
{
	if (!dev->old_pins)
		return false;
	dev->old_pins = vmshm_still_pinned(dev);
	return dev->old_pins;
}

/* Report to the host what DETACH_ACK waits for. */
static void host_tell(struct vmshm_dev *dev, u32 processes, u32 pages)
{
	/* Write them every time, since the device resets them when a request is withdrawn, which may go unnoticed. */
	vmshm_reg_set(dev, VMSHM_REG_WAITS_PROCESSES, processes);
	vmshm_reg_set(dev, VMSHM_REG_WAITS_PAGES, pages);
	if (pages && !dev->told_pages)
		dev_warn(&dev->pdev->dev,
			 "the host wants the memory back, but %u pages of it are pinned (by RDMA, a pipe or a GPU): it gets the memory when they are released\n",
			 pages);
	dev->told_pages = pages;
}

/* After this nobody can map anything, so the number of pinned pages can only decrease. The section still belongs to
 * this boot, and windows of other VMs that are pinned stay listed as read.
 */
static void attach_let_go(struct vmshm_dev *dev)
{
	struct vmshm_file *file;

	if (dev->members)
		dev_warn(&dev->pdev->dev,
			 "%u processes did not leave within %u s: their mappings are removed\n",
			 dev->members, detach_seconds);
	dev->letting_go = true;
	list_for_each_entry(file, &dev->files, list)
		vmshm_leave(file, VMSHM_PROC_DEAD);
	vmshm_zap(dev, 0, dev->bytes);
}

static void attach_changed(struct vmshm_dev *dev, u32 generation, u32 state)
{
	/* It is other memory than before, or none, so everything known about it is invalid. */
	vmshm_section_lost(dev);
	dev->generation = generation;
	dev->detach_by = 0;
	dev->letting_go = false;
	dev->told_pages = 0;
	dev->phase = state & VMSHM_STATE_ATTACHED ? VMSHM_PHASE_UNKNOWN : VMSHM_PHASE_DETACHED;
	/* DETACHED here means that the device was reset while the VM was suspended, without DETACH_ACK. */
	vmshm_notify(dev, dev->phase == VMSHM_PHASE_DETACHED ? VMSHM_EVENT_DETACH : VMSHM_EVENT_ATTACH);
}

/* The host has withdrawn its request, so processes that left may join again. */
static void detach_withdrawn(struct vmshm_dev *dev)
{
	if (!dev->detach_by)
		return;
	dev->detach_by = 0;
	dev->letting_go = false;
	dev->told_pages = 0;
	vmshm_notify_outside(dev, VMSHM_EVENT_ATTACH);
}

void vmshm_attach_look(struct vmshm_dev *dev)
{
	const u32 state = vmshm_reg(dev, VMSHM_REG_STATE);
	const u32 generation = vmshm_reg(dev, VMSHM_REG_GENERATION);
	u32 pages;

	lockdep_assert_held_write(&dev->lock);
	if (generation != dev->generation)
		attach_changed(dev, generation, state);
	if (dev->phase == VMSHM_PHASE_DETACHED)
		return;
	if (!(state & VMSHM_STATE_DETACH_WANTED)) {
		detach_withdrawn(dev);
		return;
	}
	if (!dev->detach_by) {
		dev->detach_by = (jiffies + (unsigned long)READ_ONCE(detach_seconds) * HZ) | 1;
		vmshm_notify(dev, VMSHM_EVENT_DETACH);
	}
	if (dev->members && time_before(jiffies, dev->detach_by)) {
		host_tell(dev, dev->members, 0);
		return;
	}
	if (!dev->letting_go)
		attach_let_go(dev);
	pages = vmshm_pins(dev) + vmshm_is_held(dev);
	host_tell(dev, 0, pages);
	if (pages)
		return;
	vmshm_section_shut(dev);
	vmshm_reg_set(dev, VMSHM_REG_DETACH_ACK, generation);
	dev->generation = vmshm_reg(dev, VMSHM_REG_GENERATION);
	dev->phase = VMSHM_PHASE_DETACHED;
	dev->detach_by = 0;
	dev->letting_go = false;
}
