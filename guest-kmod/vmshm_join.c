// SPDX-License-Identifier: GPL-2.0-only
/*
 * Joining: the first process takes over the section for this boot, and each process gets a slot.
 *
 * The order of the stores is that of the user-space library (vmshm_member.c and, shared with it,
 * vmshm_states.h), which test/model/join.pml models.
 */
#include <linux/cred.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>

#include "vmshm.h"
#include "vmshm_registers.h"

#define WATCH_MS	1500
#define WATCH_STEP_MS	50

static u64 section_live_print(struct vmshm_dev *dev)
{
	return vmshm_procs_print(vmshm_proc_of(dev, dev->vm, 0), dev->header.procs);
}

/* The section's content when it was watched. While it is unchanged, no other VM uses the section. */
struct watch {
	u64 epoch;			/* dev->epoch at that time; 0: not watched yet */
	u64 arbiter;
	u64 live;
	u64 heartbeat;
};

/* Lock not held, since mmap() and page faults would wait. Adds up its own sleeps instead of reading a clock: while the
 * host is stopped, other VMs' heartbeats are, too. Returns 0 if nothing changed.
 */
static int section_watch(struct vmshm_dev *dev, const struct watch *watch)
{
	int rc = 0, ms;

	for (ms = 0; ms < WATCH_MS && !rc; ms += WATCH_STEP_MS) {
		/* Killable only, since other signals, as from a timer, would shorten the sleep. */
		schedule_timeout_killable(msecs_to_jiffies(WATCH_STEP_MS));
		if (fatal_signal_pending(current))
			return -EINTR;
		down_read(&dev->lock);
		if (vmshm_is_away(dev) || !vmshm_is_known(dev))
			rc = -ENODEV;
		/* Another process of this VM has taken the section meanwhile: the heartbeat is our own. */
		else if (dev->phase == VMSHM_PHASE_KNOWN && dev->epoch == watch->epoch &&
			 READ_ONCE(vmshm_section_of(dev, dev->vm)->heartbeat) != watch->heartbeat)
			rc = -EADDRINUSE;
		up_read(&dev->lock);
	}
	return rc;
}

static int section_in_use(struct vmshm_dev *dev)
{
	vmshm_complain(dev, "in use",
		       "VM id %u is in use by another running VM, or by processes that do not use this module\n",
		       dev->vm);
	return -EADDRINUSE;
}

/* Take over the section for this boot. Two VMs with the same id may be here at the same time. If both found the same
 * arbiter, only one can replace it; if one replaces the other's, at least one notices, here or in slot_take().
 * Returns -EAGAIN if another VM may be using the section, so that it has to be watched.
 */
static int section_take(struct vmshm_dev *dev, struct watch *watch)
{
	struct vmshm_section *own = vmshm_section_of(dev, dev->vm);
	u64 arbiter, live, length = dev->sections[dev->vm].length;
	u32 slot;

	/* Load the count before the mark; `vmshmctl mark-vm` stores them in the opposite order. */
	dev->marked_gone = vmshm_load_acquire(&vmshm_mark_of(dev, dev->vm)->gone);
	if (vmshm_mark_is_gone(vmshm_mark_of(dev, dev->vm)))
		return -EHOSTDOWN;
	arbiter = READ_ONCE(own->arbiter);
	live = section_live_print(dev);
	if (READ_ONCE(own->state) == VMSHM_SECTION_UP && live) {
		const struct watch now = {
			dev->epoch, arbiter, live, READ_ONCE(own->heartbeat),
		};

		if (watch->epoch != dev->epoch) {
			*watch = now;
			return -EAGAIN;
		}
		if (memcmp(watch, &now, sizeof(now)))
			return section_in_use(dev);
	}
	if (!vmshm_section_claim(own, arbiter, dev->epoch))
		return section_in_use(dev);
	if (section_live_print(dev) != live) {
		vmshm_section_unclaim(own, arbiter, dev->epoch);
		return section_in_use(dev);
	}
	/* Clear all windows: the dirty_end found there may be wrong if other VMs can write to the section. */
	dev->dirty_end = length;
	if (dev->features & VMSHM_FEATURE_WRITE_WINDOWS)
		dev->dirty_end = min(READ_ONCE(own->dirty_end), length);
	/* The next user of the section, perhaps without this module, relies on it. */
	WRITE_ONCE(own->dirty_end, dev->dirty_end);
	vmshm_window_inherit(dev);
	for (slot = 0; slot < dev->header.procs; slot++) {
		const struct vmshm_proc *proc = vmshm_proc_of(dev, dev->vm, slot);

		dev->procs[slot].generation = READ_ONCE(proc->generation);
		if (READ_ONCE(proc->state) == VMSHM_PROC_LIVE)
			vmshm_slot_bury(dev, slot, VMSHM_PROC_DEAD);
	}
	WRITE_ONCE(own->doorbell,
		   dev->msix ? (vmshm_reg(dev, VMSHM_REG_IV_POSITION) & 0xffff) + 1 : 0);
	vmshm_section_set_up(own, dev->vm, dev->epoch);
	dev->complaint = NULL;
	dev->phase = VMSHM_PHASE_TAKEN;
	return 0;
}

static int slot_take(struct vmshm_file *file, struct vmshm_join *join)
{
	struct vmshm_dev *dev = file->dev;
	struct vmshm_section *own = vmshm_section_of(dev, dev->vm);
	const u32 spare = dev->pin_slot == VMSHM_NO_SLOT ? vmshm_spare_slots(dev) : 0;
	const u32 slot = vmshm_slot_find_free(dev, spare);
	struct vmshm_proc *proc;
	u64 nonce;
	int rc;

	if (slot == VMSHM_NO_SLOT)
		return -ENOSPC;
	rc = vmshm_limits_join(file);
	if (rc)
		return rc;
	proc = vmshm_proc_of(dev, dev->vm, slot);
	nonce = vmshm_slot_publish(dev, slot, task_tgid_nr(current), current_uid(), join->name,
				   join->job);
	if (READ_ONCE(own->arbiter) != dev->epoch) {
		/* The other VM may have taken the same slot by now. */
		if (READ_ONCE(proc->nonce) == nonce)
			vmshm_slot_bury(dev, slot, VMSHM_PROC_LEFT);
		vmshm_limits_leave(file);
		return section_in_use(dev);
	}
	dev->procs[slot].file = file;
	file->pid = task_tgid_nr(current);
	file->slot = slot;
	file->uid = current_uid();
	file->mm = current->mm;
	mmgrab(file->mm);
	memcpy(file->job, join->job, sizeof(file->job));
	/* The file has joined now, so earlier events about the memory do not matter any more. */
	file->events &= ~(VMSHM_EVENT_DETACH | VMSHM_EVENT_ATTACH | VMSHM_EVENT_EXPELLED);
	dev->members++;
	join->slot = slot;
	join->generation = dev->procs[slot].generation;
	join->vm = dev->vm;
	join->nonce = nonce;
	join->epoch = dev->epoch;
	vmshm_changed(dev);
	return 0;
}

static int join_try(struct vmshm_file *file, struct vmshm_join *join, struct watch *watch)
{
	struct vmshm_dev *dev = file->dev;
	int rc;

	if (vmshm_is_away(dev) || dev->leaving)
		return -ENODEV;
	if (file->slot != VMSHM_NO_SLOT)
		return -EISCONN;
	/* While no process used the module, one without it may have taken the section. */
	if (vmshm_is_expelled(dev)) {
		if (dev->members)
			return -EHOSTDOWN;
		vmshm_expel(dev);
	}
	rc = vmshm_take_up(dev);
	if (rc)
		return rc;
	/* The header is known, but the host may want the memory, or old pages may still be pinned. */
	if (vmshm_is_held(dev))
		return -EBUSY;
	if (!vmshm_claim(dev))
		return -ENODEV;
	if (dev->phase == VMSHM_PHASE_KNOWN)
		rc = section_take(dev, watch);
	if (rc)
		return rc;
	vmshm_reap(dev);
	rc = slot_take(file, join);
	if (!rc)
		mod_delayed_work(system_wq, &dev->beat, 0);
	return rc;
}

int vmshm_join(struct vmshm_file *file, struct vmshm_join *join)
{
	struct vmshm_dev *dev = file->dev;
	struct watch watch = {};
	int rc, seen = 0;

	do {
		down_write(&dev->lock);
		rc = seen == -EADDRINUSE ? section_in_use(dev) : seen ? seen : join_try(file, join, &watch);
		up_write(&dev->lock);
		seen = rc == -EAGAIN ? section_watch(dev, &watch) : 0;
	} while (rc == -EAGAIN);
	return rc;
}
