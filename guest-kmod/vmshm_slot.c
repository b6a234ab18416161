// SPDX-License-Identifier: GPL-2.0-only
/*
 * The process slots of this VM: publishing and ending them.
 *
 * The order of the stores is that of the user-space library: vmshm_states.h, which
 * test/model/join.pml models.
 */
#include <linux/cred.h>
#include <linux/random.h>
#include <linux/sched/mm.h>
#include <linux/timekeeping.h>
#include <linux/uidgid.h>

#include "vmshm.h"
#include "vmshm_registers.h"

/* Make other VMs look at this one's section. */
static void doorbells_ring(struct vmshm_dev *dev)
{
	u32 vm, doorbell;

	if (!dev->msix)
		return;
	for (vm = 0; vm < dev->header.vms; vm++) {
		doorbell = READ_ONCE(vmshm_section_of(dev, vm)->doorbell);
		if (vm != dev->vm && doorbell && doorbell <= 0x10000)
			vmshm_reg_set(dev, VMSHM_REG_DOORBELL, (doorbell - 1) << 16);
	}
}

void vmshm_changed(struct vmshm_dev *dev)
{
	lockdep_assert_held_write(&dev->lock);
	vmshm_section_changed(vmshm_section_of(dev, dev->vm));
	doorbells_ring(dev);
}

/* Publish the end of a slot. */
void vmshm_slot_bury(struct vmshm_dev *dev, u32 slot, u32 state)
{
	lockdep_assert_held_write(&dev->lock);
	vmshm_row_zero(vmshm_row_of(dev, dev->vm, slot), vmshm_reader_row_bytes(&dev->header));
	vmshm_proc_set_ended(vmshm_proc_of(dev, dev->vm, slot), vmshm_section_of(dev, dev->vm), state);
	doorbells_ring(dev);
}

/* Find a slot that was never used, else the one that was taken longest ago, so that peers, which poll, still see how
 * its last owner ended before the slot is reused. The last `spare` free slots are reserved for the module.
 */
u32 vmshm_slot_find_free(struct vmshm_dev *dev, u32 spare)
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

u64 vmshm_slot_publish(struct vmshm_dev *dev, u32 slot, u32 pid, kuid_t uid, u64 name,
		       const u8 *job)
{
	struct vmshm_proc as = {
		.generation = ++dev->procs[slot].generation, .pid = pid, .name = name,
		.uid = from_kuid(&init_user_ns, uid), .joined_sec = ktime_get_real_seconds(),
	};

	do {
		as.nonce = get_random_u64();
	} while (!as.nonce);
	memcpy(as.job, job, sizeof(as.job));
	vmshm_proc_set_live(vmshm_proc_of(dev, dev->vm, slot), &as);
	dev->procs[slot].joined = ++dev->joins;
	return as.nonce;
}

void vmshm_slot_free(struct vmshm_file *file)
{
	file->dev->procs[file->slot].file = NULL;
	vmshm_limits_leave(file);
	file->dev->members--;
	file->slot = VMSHM_NO_SLOT;
	mmdrop(file->mm);
	file->mm = NULL;
}

u32 vmshm_slot_hold(struct vmshm_dev *dev)
{
	static const u8 no_job[16];
	const u32 slot = vmshm_slot_find_free(dev, 0);

	lockdep_assert_held_write(&dev->lock);
	if (slot != VMSHM_NO_SLOT)
		vmshm_slot_publish(dev, slot, 0, GLOBAL_ROOT_UID, 0, no_job);
	return slot;
}

void vmshm_slot_drop(struct vmshm_dev *dev, u32 slot)
{
	vmshm_slot_bury(dev, slot, VMSHM_PROC_LEFT);
}
