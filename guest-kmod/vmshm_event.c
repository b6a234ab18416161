// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VM's heartbeat, and detection of changes outside the VM: other VMs, the host's marks, the host's request for
 * the memory. Checked four times a second while any process has the device open, and at once after an interrupt.
 */
#include <linux/jiffies.h>
#include <linux/sched/signal.h>

#include "vmshm.h"

#define BEAT_JIFFIES	(HZ / 4)
/* Processes check for events twice a second, so this leaves them time to end. */
#define EXPELLED_JIFFIES	(2 * HZ)

/* A fingerprint of a VM's state, which differs whenever something has changed there. */
static u64 vm_look(struct vmshm_dev *dev, u32 vm)
{
	const struct vmshm_section *s = vmshm_section_of(dev, vm);
	const struct vmshm_vm_mark *mark = vmshm_mark_of(dev, vm);
	const u64 parts[] = {
		READ_ONCE(s->epoch), READ_ONCE(s->changes), READ_ONCE(s->state),
		READ_ONCE(mark->mark), READ_ONCE(mark->changes),
	};

	return vmshm_fnv1a(VMSHM_FNV_START, parts, sizeof(parts));
}

static void vms_look(struct vmshm_dev *dev)
{
	bool changed = false;
	u32 vm;

	for (vm = 0; vm < dev->header.vms; vm++) {
		const u64 now = vm_look(dev, vm);

		changed |= now != dev->seen[vm];
		dev->seen[vm] = now;
	}
	if (changed)
		vmshm_notify(dev, VMSHM_EVENT_PEER);
}

/* Processes get time to end with an error message, since a VM that is running was marked by mistake. But after a
 * suspend no process may run before this, and if another VM has the section none may write, so these lose the
 * segment at once.
 */
static void heed_expulsion(struct vmshm_dev *dev)
{
	if (!vmshm_is_expelled(dev))
		return;
	if (!dev->expelled_by) {
		dev_warn(&dev->pdev->dev, "%s: %u processes lose the segment\n",
			 vmshm_is_arbiter(dev) ? "the host marked this VM as gone" :
						 "the section of this VM was given to somebody else",
			 dev->members);
		dev->expelled_by = (jiffies + EXPELLED_JIFFIES) | 1;
		vmshm_notify(dev, VMSHM_EVENT_EXPELLED);
	}
	if (dev->members && dev->sleep != VMSHM_WOKEN && vmshm_is_arbiter(dev) &&
	    time_before(jiffies, dev->expelled_by))
		return;
	vmshm_expel(dev);
}

static void look_at_held(struct vmshm_dev *dev)
{
	bool more;

	do {
		cond_resched();
		down_write(&dev->lock);
		more = dev->phase == VMSHM_PHASE_TAKEN && dev->sleep != VMSHM_ASLEEP &&
		       (vmshm_pins_look(dev) || vmshm_window_collect(dev));
		up_write(&dev->lock);
	} while (more);
}

void vmshm_beat(struct work_struct *work)
{
	struct vmshm_dev *dev = container_of(to_delayed_work(work), struct vmshm_dev, beat);

	vmshm_interrupt_again(dev);
	down_write(&dev->lock);
	if (dev->phase != VMSHM_PHASE_GONE && dev->sleep != VMSHM_ASLEEP) {
		if (dev->generation)
			vmshm_attach_look(dev);
		heed_expulsion(dev);
		dev->sleep = VMSHM_AWAKE;
		if (dev->phase == VMSHM_PHASE_TAKEN) {
			struct vmshm_section *own = vmshm_section_of(dev, dev->vm);

			WRITE_ONCE(own->heartbeat, READ_ONCE(own->heartbeat) + 1);
			vmshm_reap(dev);
			/* Readers in other VMs and holders of pinned pages do not notify the module. */
			vmshm_pins_look_again(dev);
			vmshm_window_look_again(dev, dev->header.windows);
		}
		if (vmshm_is_known(dev))
			vms_look(dev);
		if (vmshm_is_idle(dev))
			vmshm_unclaim(dev);
		/* Even if nobody has the device open, requests of the host must be noticed, and so must the end of
		 * pins, which the windows' owners wait for.
		 */
		if (!list_empty(&dev->files) || !RB_EMPTY_ROOT(&dev->pinned) || dev->letting_go ||
		    vmshm_is_idle(dev) ||
		    (dev->generation && !dev->vector))
			queue_delayed_work(system_wq, &dev->beat, BEAT_JIFFIES);
	}
	up_write(&dev->lock);
	look_at_held(dev);
}

int vmshm_wait(struct vmshm_file *file, struct vmshm_wait *wait)
{
	struct vmshm_dev *dev = file->dev;
	long left = MAX_SCHEDULE_TIMEOUT;

	if (wait->timeout_ns) {
		/* Treat more than a year as no timeout; a year in jiffies does not overflow. */
		if (wait->timeout_ns < NSEC_PER_SEC * 86400ULL * 365)
			left = nsecs_to_jiffies(wait->timeout_ns + NSEC_PER_SEC / HZ - 1);
		left = wait_event_interruptible_timeout(dev->wait, READ_ONCE(file->events), left);
		if (left < 0)
			return -EINTR;
	}
	down_write(&dev->lock);
	wait->events = file->events;
	/* Only GONE stays pending. */
	file->events &= VMSHM_EVENT_GONE;
	up_write(&dev->lock);
	return wait->events ? 0 : -ETIMEDOUT;
}
