// SPDX-License-Identifier: GPL-2.0-only
/*
 * Notifying the open files of a device.
 */
#include "vmshm.h"

void vmshm_notify(struct vmshm_dev *dev, u32 events)
{
	struct vmshm_file *file;

	lockdep_assert_held_write(&dev->lock);
	list_for_each_entry(file, &dev->files, list)
		WRITE_ONCE(file->events, file->events | events);
	wake_up_interruptible_all(&dev->wait);
}

void vmshm_notify_outside(struct vmshm_dev *dev, u32 events)
{
	struct vmshm_file *file;

	list_for_each_entry(file, &dev->files, list)
		if (file->slot == VMSHM_NO_SLOT)
			WRITE_ONCE(file->events, file->events | events);
	wake_up_interruptible_all(&dev->wait);
}
