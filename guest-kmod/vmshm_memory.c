// SPDX-License-Identifier: GPL-2.0-only
/*
 * The segment's memory in the kernel: mapping it, with or without struct pages, and keeping it while pages are pinned.
 */
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/wait_bit.h>
#include <linux/workqueue.h>

#include "vmshm.h"
#include "vmshm_compat.h"

static bool pages = true;
module_param(pages, bool, 0444);
MODULE_PARM_DESC(pages,
		 "create struct pages for the segment, so that its memory can be pinned for RDMA, GPUs and single copies; uses memory of the VM, 1/64 of the segment's size (default: yes)");

/* Both branches reserve the memory type of the whole range, which user mappings then inherit. */
static int memory_map_whole(struct vmshm_dev *dev)
{
	void *mem;

	if (VMSHM_HAS_PAGES && pages) {
		dev->pages.type = MEMORY_DEVICE_GENERIC;
		dev->pages.nr_range = 1;
		dev->pages.range.start = dev->phys;
		dev->pages.range.end = dev->phys + dev->bytes - 1;
		mem = vmshm_pages_map(&dev->pages, dev_to_node(&dev->pdev->dev));
		if (!IS_ERR(mem)) {
			dev->mem = mem;
			dev->features |= VMSHM_FEATURE_PAGES;
			return 0;
		}
		dev_warn(&dev->pdev->dev,
			 "no struct pages for the segment (%ld): its memory cannot be pinned for RDMA\n",
			 PTR_ERR(mem));
	}
	dev->mem = memremap(dev->phys, dev->bytes, MEMREMAP_WB);
	return dev->mem ? 0 : -ENOMEM;
}

/* Only to be called when none of its pages is pinned. */
void vmshm_memory_unmap(struct vmshm_dev *dev)
{
	if (!dev->mem)
		return;
	if (dev->features & VMSHM_FEATURE_PAGES)
		vmshm_pages_unmap(&dev->pages);
	else
		memunmap(dev->mem);
	dev->mem = NULL;
}

/* Nobody maps the memory any more. Pinned pages may be released in a moment, or never, so wait only for a while. */
bool vmshm_memory_is_let_go(struct vmshm_dev *dev)
{
	const unsigned long end = jiffies + VMSHM_GRACE_JIFFIES;

	dev->old_pins_at = 0;
	while (vmshm_still_pinned(dev)) {
		if (time_after(jiffies, end))
			return false;
		msleep(20);
	}
	return true;
}

/* ------------------------------------------------------------------ pages that outlive their device
 *
 * They stay until they are unpinned, and so does the reservation of their address range: otherwise another device
 * could get the range, and the holder of the pins would access that device.
 */
static struct workqueue_struct *lingering;
static atomic_t lingerers = ATOMIC_INIT(0);

static void memory_linger(struct work_struct *work)
{
	struct vmshm_dev *dev = container_of(to_delayed_work(work), struct vmshm_dev, linger);
	struct pci_dev *pdev = dev->pdev;

	/* If the device was unplugged, its BAR, and with it the reservation, is gone. Reserve the range in the bus's
	 * resource, from which other devices would get it.
	 */
	pci_lock_rescan_remove();
	if (!pdev->resource[2].parent && dev->range.parent) {
		dev->range.parent = NULL;
		dev->region = request_mem_region(dev->phys, dev->bytes, dev->range.name);
		if (!dev->region)
			dev_warn(&pdev->dev, "the addresses of pinned pages of the segment are in use by another device\n");
	}
	pci_unlock_rescan_remove();
	if (vmshm_still_pinned(dev)) {
		queue_delayed_work(lingering, &dev->linger, HZ / 4);
		return;
	}
	dev_info(&pdev->dev, "the last pinned page of the segment was released\n");
	vmshm_memory_unmap(dev);
	if (dev->region)
		release_mem_region(dev->phys, dev->bytes);
	if (dev->range.parent)
		release_resource(&dev->range);
	pci_dev_put(pdev);
	if (dev->holds_module)
		module_put(THIS_MODULE);
	vmshm_dev_put(dev);
	if (atomic_dec_and_test(&lingerers))
		wake_up_var(&lingerers);
}

void vmshm_memory_linger(struct vmshm_dev *dev)
{
	dev_warn(&dev->pdev->dev,
		 "memory of the segment is pinned (by RDMA, a pipe, a GPU): the memory and its address range stay reserved until it is unpinned\n");
	dev->range = (struct resource) {
		.start = dev->phys, .end = dev->phys + dev->bytes - 1, .name = "vmshm, pinned",
		.flags = IORESOURCE_MEM | IORESOURCE_BUSY,
	};
	pci_release_regions(dev->pdev);
	request_resource(&dev->pdev->resource[2], &dev->range);
	atomic_inc(&lingerers);
	vmshm_dev_get(dev);
	pci_dev_get(dev->pdev);
	/* Fails while the module is being unloaded; unloading waits instead. */
	dev->holds_module = try_module_get(THIS_MODULE);
	INIT_DELAYED_WORK(&dev->linger, memory_linger);
	queue_delayed_work(lingering, &dev->linger, 0);
}

/* Firmware can make the range uncached by an MTRR, which takes precedence over the page tables. */
static void memory_warn_if_uncached(struct vmshm_dev *dev)
{
#ifdef VMSHM_HAS_LOOKUP_ADDRESS
	unsigned int level;
	pte_t *pte = lookup_address((unsigned long)dev->mem, &level);

	if (pte && (pte_flags(*pte) & (_PAGE_PCD | _PAGE_PWT)))
		dev_warn(&dev->pdev->dev,
			 "the firmware covers the segment with an uncached MTRR, and the kernel maps it uncached: if the hypervisor honors that, copies run at a hundredth of their normal speed. Boot the VM with SeaBIOS and a segment of 4 GiB or more, which it places above 4 GiB\n");
#endif
}

int vmshm_memory_map(struct vmshm_dev *dev)
{
	const int rc = memory_map_whole(dev);

	if (!rc)
		memory_warn_if_uncached(dev);
	return rc;
}

int __init vmshm_memory_init(void)
{
	lingering = alloc_workqueue("vmshm", 0, 0);
	return lingering ? 0 : -ENOMEM;
}

void vmshm_memory_exit(void)
{
	wait_var_event(&lingerers, !atomic_read(&lingerers));
	destroy_workqueue(lingering);
}
