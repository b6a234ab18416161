// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VM's section and the slots of its processes: taken, given back, found dead.
 *
 * The order of the stores is that of the user-space library (vmshm_member.c), which
 * test/model/join.pml models.
 */
#include <linux/cred.h>
#include <linux/delay.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/timekeeping.h>
#include <linux/uidgid.h>
#include <asm/sync_bitops.h>

#include "vmshm.h"
#include "vmshm_registers.h"

#define WATCH_MS	1500
#define WATCH_STEP_MS	50

/* Tells one set of live processes from another; 0: none is alive. */
static u64 section_live_print(struct vmshm_dev *dev)
{
	u64 print = 0;
	u32 slot;

	for (slot = 0; slot < dev->header.procs; slot++) {
		struct vmshm_proc *proc = vmshm_proc_of(dev, dev->vm, slot);

		if (shared_load(&proc->state) == VMSHM_PROC_LIVE)
			print += READ_ONCE(proc->nonce) | 1;
	}
	return print;
}

/* What stood in the section when it was watched: for as long as it does, nobody lives there. */
struct watch {
	u64 epoch;			/* that this boot is to have, 0: nobody watched */
	u64 arbiter;
	u64 live;
	u64 heartbeat;
};

/* Lock not held: all that want to map, and all that fault, would wait. 0: nothing moved. */
static int section_watch(struct vmshm_dev *dev, const struct watch *watch)
{
	const unsigned long end = jiffies + msecs_to_jiffies(WATCH_MS);
	int rc = 0;

	while (time_before(jiffies, end) && !rc) {
		/* A program with a timer's signals would begin anew with each. */
		schedule_timeout_killable(msecs_to_jiffies(WATCH_STEP_MS));
		if (fatal_signal_pending(current))
			return -EINTR;
		down_read(&dev->lock);
		if (vmshm_is_away(dev) || !dev->usable)
			rc = -ENODEV;
		/* another process of this VM was quicker: it is our own heart that beats */
		else if (!dev->taken && dev->epoch == watch->epoch &&
			 READ_ONCE(vmshm_section_of(dev, dev->vm)->heartbeat) != watch->heartbeat)
			rc = -EADDRINUSE;
		up_read(&dev->lock);
	}
	return rc;
}

void vmshm_changed(struct vmshm_dev *dev)
{
	struct vmshm_section *own = vmshm_section_of(dev, dev->vm);
	u32 vm, doorbell;

	lockdep_assert_held_write(&dev->lock);
	shared_store(&own->changes, READ_ONCE(own->changes) + 1);
	if (!dev->msix)
		return;
	for (vm = 0; vm < dev->header.vms; vm++) {
		doorbell = READ_ONCE(vmshm_section_of(dev, vm)->doorbell);
		if (vm != dev->vm && doorbell && doorbell <= 0x10000)
			vmshm_reg_set(dev, VMSHM_REG_DOORBELL, (doorbell - 1) << 16);
	}
}

/* What others see of a slot that is nobody's any more. The state comes last. */
static void slot_bury(struct vmshm_dev *dev, u32 slot, u32 state)
{
	struct vmshm_section *own = vmshm_section_of(dev, dev->vm);
	struct vmshm_proc *proc = vmshm_proc_of(dev, dev->vm, slot);

	memset(vmshm_row_of(dev, dev->vm, slot), 0, vmshm_reader_row_bytes(&dev->header));
	WRITE_ONCE(own->messages, READ_ONCE(own->messages) + READ_ONCE(proc->messages));
	WRITE_ONCE(own->bytes, READ_ONCE(own->bytes) + READ_ONCE(proc->bytes));
	WRITE_ONCE(proc->messages, 0);
	WRITE_ONCE(proc->bytes, 0);
	shared_store(&proc->state, state);
	vmshm_changed(dev);
}

static int section_in_use(struct vmshm_dev *dev)
{
	vmshm_complain(dev, "in use",
		       "VM id %u is in use by another running VM, or by processes that do not use this module\n",
		       dev->vm);
	return -EADDRINUSE;
}

/* Make the section this boot's. Two VMs of one id may come here at one time: one of them at most
 * replaces the arbiter that both found, and of two that replace each other's at least one finds the
 * other, here or in slot_take(). -EAGAIN: it looks as if somebody lived there, watch.
 */
static int section_take(struct vmshm_dev *dev, struct watch *watch)
{
	struct vmshm_section *own = vmshm_section_of(dev, dev->vm);
	u64 arbiter, live, length = dev->sections[dev->vm].length;
	u32 slot;

	dev->marked_gone = shared_load(&vmshm_mark_of(dev, dev->vm)->gone);
	if (shared_load(&vmshm_mark_of(dev, dev->vm)->mark) == VMSHM_MARK_GONE)
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
	if (sync_cmpxchg(&own->arbiter, arbiter, dev->epoch) != arbiter)
		return section_in_use(dev);
	virt_mb();	/* the arbiter before the second look at the slots */
	if (section_live_print(dev) != live) {
		sync_cmpxchg(&own->arbiter, dev->epoch, arbiter);
		return section_in_use(dev);
	}
	/* Where any VM can write, what stands there may hide what was handed out before. */
	dev->dirty_end = length;
	if (dev->features & VMSHM_FEATURE_WRITE_WINDOWS)
		dev->dirty_end = min(READ_ONCE(own->dirty_end), length);
	/* Who has the section next, perhaps without this module, goes by it. */
	WRITE_ONCE(own->dirty_end, dev->dirty_end);
	vmshm_window_inherit(dev);
	for (slot = 0; slot < dev->header.procs; slot++) {
		const struct vmshm_proc *proc = vmshm_proc_of(dev, dev->vm, slot);

		dev->procs[slot].generation = READ_ONCE(proc->generation);
		if (READ_ONCE(proc->state) == VMSHM_PROC_LIVE)
			slot_bury(dev, slot, VMSHM_PROC_DEAD);
	}
	WRITE_ONCE(own->vm_id, dev->vm);
	WRITE_ONCE(own->doorbell,
		   dev->msix ? (vmshm_reg(dev, VMSHM_REG_IV_POSITION) & 0xffff) + 1 : 0);
	shared_store(&own->epoch, dev->epoch);
	shared_store(&own->state, VMSHM_SECTION_UP);
	shared_store(&own->magic, VMSHM_SECTION_MAGIC);
	dev->complaint = NULL;
	dev->taken = true;
	return 0;
}

/* No process has the memory any more: is there anybody who has pages of it? */
static void section_take_mappings(struct vmshm_dev *dev)
{
	vmshm_zap(dev, 0, dev->bytes);
	if (!vmshm_pins(dev))
		return;
	dev->old_pins = true;
	dev->old_pins_at = 0;
}

/* What the module knows of the memory ends. */
static void section_drop(struct vmshm_dev *dev)
{
	vmshm_pins_forget(dev);
	vmshm_header_drop(dev);
	dev->expelled_by = 0;
}

void vmshm_section_shut(struct vmshm_dev *dev)
{
	struct vmshm_file *file;

	lockdep_assert_held_write(&dev->lock);
	if (!dev->usable)
		return;
	list_for_each_entry(file, &dev->files, list)
		vmshm_leave(file, VMSHM_PROC_DEAD);
	section_take_mappings(dev);
	vmshm_pins_look_again(dev);
	while (vmshm_pins_look(dev))
		cond_resched();
	/* Where others' windows are pinned yet the slot stays, and lists them, until the VM is gone or has
	 * its section anew.
	 */
	if (dev->taken)
		shared_store(&vmshm_section_of(dev, dev->vm)->state, VMSHM_SECTION_LEAVING);
	section_drop(dev);
}

/* A slot that never was taken, else the one that was taken longest ago: a peer that looks now and
 * then should find the fate of its last owner, not its successor. The last one that is free is the
 * module's, which must not fail to get one.
 */
static u32 slot_find_free(struct vmshm_dev *dev, u32 spare)
{
	u32 slot, free = 0, best = VMSHM_NO_SLOT;

	for (slot = 0; slot < dev->header.procs; slot++) {
		const struct vmshm_own_proc *p = &dev->procs[slot];

		if (p->file || slot == dev->pin_slot)
			continue;
		free++;
		if (best == VMSHM_NO_SLOT || p->joined < dev->procs[best].joined)
			best = slot;
	}
	return free > spare ? best : VMSHM_NO_SLOT;
}

static u64 slot_publish(struct vmshm_dev *dev, u32 slot, u32 pid, kuid_t uid, u64 name,
			const u8 *job)
{
	struct vmshm_proc *proc = vmshm_proc_of(dev, dev->vm, slot);
	u64 nonce;

	do {
		nonce = get_random_u64();
	} while (!nonce);
	WRITE_ONCE(proc->generation, ++dev->procs[slot].generation);
	WRITE_ONCE(proc->pid, pid);
	WRITE_ONCE(proc->uid, from_kuid(&init_user_ns, uid));
	WRITE_ONCE(proc->nonce, nonce);
	WRITE_ONCE(proc->name, name);
	memcpy(proc->job, job, sizeof(proc->job));
	WRITE_ONCE(proc->window, UINT32_MAX);
	WRITE_ONCE(proc->joined_sec, ktime_get_real_seconds());
	WRITE_ONCE(proc->messages, 0);
	WRITE_ONCE(proc->bytes, 0);
	shared_store(&proc->state, VMSHM_PROC_LIVE);
	virt_mb();	/* the slot before the second look at the arbiter */
	dev->procs[slot].joined = ++dev->joins;
	return nonce;
}

static void slot_free(struct vmshm_file *file)
{
	file->dev->procs[file->slot].file = NULL;
	vmshm_limits_leave(file);
	file->dev->members--;
	file->slot = VMSHM_NO_SLOT;
	mmdrop(file->mm);
	file->mm = NULL;
}

void vmshm_section_lost(struct vmshm_dev *dev)
{
	struct vmshm_file *file;

	lockdep_assert_held_write(&dev->lock);
	if (!dev->usable)
		return;
	section_take_mappings(dev);
	list_for_each_entry(file, &dev->files, list) {
		if (file->slot == VMSHM_NO_SLOT)
			continue;
		vmshm_found_forget_all(file);
		INIT_LIST_HEAD(&file->windows);
		slot_free(file);
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

	if (!dev->usable || !dev->taken)
		return false;
	mark = vmshm_mark_of(dev, dev->vm);
	return dev->expelled_by || !vmshm_is_arbiter(dev) ||
	       shared_load(&mark->mark) == VMSHM_MARK_GONE ||
	       READ_ONCE(mark->gone) != dev->marked_gone;
}

void vmshm_expel(struct vmshm_dev *dev)
{
	lockdep_assert_held_write(&dev->lock);
	if (vmshm_is_arbiter(dev))
		vmshm_section_shut(dev);
	else
		vmshm_section_lost(dev);
}

u32 vmshm_slot_hold(struct vmshm_dev *dev)
{
	static const u8 no_job[16];
	const u32 slot = slot_find_free(dev, 0);

	lockdep_assert_held_write(&dev->lock);
	if (slot != VMSHM_NO_SLOT)
		slot_publish(dev, slot, 0, GLOBAL_ROOT_UID, 0, no_job);
	return slot;
}

void vmshm_slot_drop(struct vmshm_dev *dev, u32 slot)
{
	slot_bury(dev, slot, VMSHM_PROC_LEFT);
}

static int slot_take(struct vmshm_file *file, struct vmshm_join *join)
{
	struct vmshm_dev *dev = file->dev;
	struct vmshm_section *own = vmshm_section_of(dev, dev->vm);
	const u32 spare = dev->pin_slot == VMSHM_NO_SLOT ? vmshm_spare_slots(dev) : 0;
	const u32 slot = slot_find_free(dev, spare);
	struct vmshm_proc *proc;
	u64 nonce;
	int rc;

	if (slot == VMSHM_NO_SLOT)
		return -ENOSPC;
	rc = vmshm_limits_join(file);
	if (rc)
		return rc;
	proc = vmshm_proc_of(dev, dev->vm, slot);
	nonce = slot_publish(dev, slot, task_tgid_nr(current), current_uid(), join->name,
			     join->job);
	if (READ_ONCE(own->arbiter) != dev->epoch) {
		/* The other one may have taken the very slot by now. */
		if (READ_ONCE(proc->nonce) == nonce)
			slot_bury(dev, slot, VMSHM_PROC_LEFT);
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
	/* A member has the memory: that it was taken, or came back, before is no news. */
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
	/* While nobody used the module, somebody without it may have taken the section. */
	if (vmshm_is_expelled(dev)) {
		if (dev->members)
			return -EHOSTDOWN;
		vmshm_expel(dev);
	}
	rc = vmshm_take_up(dev);
	if (rc)
		return rc;
	/* Known already: but does the host leave it to us? Is there anybody who has pages from before? */
	if (vmshm_is_held(dev))
		return -EBUSY;
	if (!vmshm_claim(dev))
		return -ENODEV;
	if (!dev->taken)
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

void vmshm_leave(struct vmshm_file *file, u32 state)
{
	struct vmshm_dev *dev = file->dev;

	lockdep_assert_held_write(&dev->lock);
	if (file->slot == VMSHM_NO_SLOT)
		return;
	vmshm_found_release_all(file);
	vmshm_window_release_all(file);
	slot_bury(dev, file->slot, state);
	slot_free(file);
	if (vmshm_window_collect(dev))
		mod_delayed_work(system_wq, &dev->beat, 0);
	/* The host, or the end of the device, may wait for the last one. */
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
