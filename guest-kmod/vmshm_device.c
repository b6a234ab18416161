// SPDX-License-Identifier: GPL-2.0-only
/*
 * There is one struct vmshm_dev per device; open files keep a reference after the device is gone.
 */
#include <linux/idr.h>
#include <linux/slab.h>

#include "vmshm.h"

static DEFINE_IDA(numbers);

struct vmshm_dev *vmshm_dev_make(struct pci_dev *pdev)
{
	struct vmshm_dev *dev = kzalloc(sizeof(*dev), GFP_KERNEL);
	int number;

	if (!dev)
		return ERR_PTR(-ENOMEM);
	number = ida_alloc(&numbers, GFP_KERNEL);
	if (number < 0) {
		kfree(dev);
		return ERR_PTR(number);
	}
	dev->number = number;
	dev->phase = VMSHM_PHASE_UNKNOWN;
	dev->sleep = VMSHM_AWAKE;
	kref_init(&dev->ref);
	init_rwsem(&dev->lock);
	INIT_LIST_HEAD(&dev->users);
	INIT_LIST_HEAD(&dev->files);
	dev->pinned = RB_ROOT;
	INIT_LIST_HEAD(&dev->pins_to_look);
	INIT_LIST_HEAD(&dev->pins_held);
	dev->pin_slot = VMSHM_NO_SLOT;
	init_waitqueue_head(&dev->wait);
	snprintf(dev->name, sizeof(dev->name), "vmshm%d", dev->number);
	dev->pdev = pdev;
	return dev;
}

static void dev_free(struct kref *ref)
{
	struct vmshm_dev *dev = container_of(ref, struct vmshm_dev, ref);

	vmshm_header_drop(dev);
	vmshm_inode_drop(dev);
	ida_free(&numbers, dev->number);
	kfree(dev);
}

void vmshm_dev_get(struct vmshm_dev *dev)
{
	kref_get(&dev->ref);
}

void vmshm_dev_put(struct vmshm_dev *dev)
{
	kref_put(&dev->ref, dev_free);
}
