// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ivshmem device: found, mapped, its interrupt, its end.
 *
 * One struct vmshm_dev a device; open files keep it after the device is gone.
 */
#include <linux/idr.h>
#include <linux/delay.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

#include "vmshm.h"
#include "vmshm_compat.h"
#include "vmshm_registers.h"

static bool pages = true;
module_param(pages, bool, 0444);
MODULE_PARM_DESC(pages,
		 "give the segment struct pages, so that its memory can be pinned for RDMA, GPUs and single copies; takes 1/64 of its size of the VM's memory (default: yes)");

/* How long processes have to let go when the device is unplugged or the driver unbound. */
#define GRACE_JIFFIES	(2 * HZ)
/* Between two looks that interrupts cause. */
#define LOOK_JIFFIES	DIV_ROUND_UP(HZ, 100)

static DEFINE_IDA(numbers);

u32 vmshm_reg(struct vmshm_dev *dev, u32 offset)
{
	return ioread32(dev->regs + offset);
}

void vmshm_reg_set(struct vmshm_dev *dev, u32 offset, u32 value)
{
	iowrite32(value, dev->regs + offset);
}

u64 vmshm_reg64(struct vmshm_dev *dev, u32 offset)
{
	return vmshm_reg(dev, offset) | (u64)vmshm_reg(dev, offset + 4) << 32;
}

void vmshm_complain(struct vmshm_dev *dev, const char *key, const char *format, ...)
{
	struct va_format text = { .fmt = format };
	va_list args;

	if (dev->complaint == key)
		return;
	dev->complaint = key;
	va_start(args, format);
	text.va = &args;
	dev_err(&dev->pdev->dev, "%pV", &text);
	va_end(args);
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

static irqreturn_t dev_interrupt(int irq, void *data)
{
	struct vmshm_dev *dev = data;
	unsigned long next;

	/* Without MSI-X the line may be shared. Reading clears it. */
	if (!dev->msix && !vmshm_reg(dev, VMSHM_REG_INTR_STATUS))
		return IRQ_NONE;
	/* Any VM can ring as often as it likes, and a look takes the lock and asks the device. */
	if (dev->msix && !test_and_set_bit(VMSHM_IRQ_HELD, &dev->irq_flags))
		disable_irq_nosync(irq);
	next = READ_ONCE(dev->looked) + LOOK_JIFFIES;
	mod_delayed_work(system_wq, &dev->beat,
			 time_before(jiffies, next) ? next - jiffies : 0);
	return IRQ_HANDLED;
}

void vmshm_interrupt_again(struct vmshm_dev *dev)
{
	WRITE_ONCE(dev->looked, jiffies);
	if (test_and_clear_bit(VMSHM_IRQ_HELD, &dev->irq_flags))
		enable_irq(dev->irq);
}

static void interrupt_start(struct vmshm_dev *dev)
{
	struct pci_dev *pdev = dev->pdev;

	pci_set_master(pdev);	/* else a message is not delivered */
	if (pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_MSIX | PCI_IRQ_INTX) < 1)
		return;
	dev->msix = pdev->msix_enabled;
	/* A stock device without doorbell has nothing to interrupt for. */
	if (!dev->msix && !dev->generation)
		goto free_vectors;
	dev->irq = pci_irq_vector(pdev, 0);
	dev->looked = jiffies - LOOK_JIFFIES;
	if (request_irq(dev->irq, dev_interrupt, dev->msix ? 0 : IRQF_SHARED, dev->name, dev))
		goto free_vectors;
	dev->vector = true;
	dev->features |= VMSHM_FEATURE_INTERRUPT;
	vmshm_reg_set(dev, VMSHM_REG_INTR_MASK, U32_MAX);
	return;

free_vectors:
	dev->msix = false;
	pci_free_irq_vectors(pdev);
}

static void interrupt_stop(struct vmshm_dev *dev)
{
	if (!dev->vector)
		return;
	vmshm_reg_set(dev, VMSHM_REG_INTR_MASK, 0);
	if (dev->msix) {
		/* None comes after this, and none is enabled after that. */
		disable_irq(dev->irq);
		cancel_delayed_work_sync(&dev->beat);
		vmshm_interrupt_again(dev);
	}
	free_irq(dev->irq, dev);
	pci_free_irq_vectors(dev->pdev);
	dev->vector = false;
}

static void registers_read(struct vmshm_dev *dev)
{
	u32 features;

	if (vmshm_reg(dev, VMSHM_REG_MAGIC) != VMSHM_MAGIC_VALUE)
		return;
	if (vmshm_reg(dev, VMSHM_REG_VERSION) > VMSHM_REG_VERSION_MAX) {
		dev_warn(&dev->pdev->dev,
			 "the device has registers of version %u, this module knows up to %u: used as a stock device\n",
			 vmshm_reg(dev, VMSHM_REG_VERSION), VMSHM_REG_VERSION_MAX);
		return;
	}
	features = vmshm_reg(dev, VMSHM_REG_FEATURES);
	dev->generation = vmshm_reg(dev, VMSHM_REG_GENERATION);
	dev->detached = !(vmshm_reg(dev, VMSHM_REG_STATE) & VMSHM_STATE_ATTACHED);
	if (features & VMSHM_REGF_WRITE_WINDOWS)
		dev->features |= VMSHM_FEATURE_WRITE_WINDOWS;
	if (features & VMSHM_REGF_DETACH)
		dev->features |= VMSHM_FEATURE_DETACH;
}

/* Both ways reserve the memory type of the whole range, which mappings then get. */
static int memory_map(struct vmshm_dev *dev)
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

/* No page of it is pinned. */
static void memory_unmap(struct vmshm_dev *dev)
{
	if (!dev->mem)
		return;
	if (dev->features & VMSHM_FEATURE_PAGES)
		vmshm_pages_unmap(&dev->pages);
	else
		memunmap(dev->mem);
	dev->mem = NULL;
}

/* Nobody maps it any more. Who has pages pinned may be done with them in a moment, or never. */
static bool dev_is_let_go(struct vmshm_dev *dev)
{
	const unsigned long end = jiffies + GRACE_JIFFIES;

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
 * They stay until who has them pinned lets go, and with them the range of addresses: else another device
 * could come to lie there, and be read or written in its stead.
 */
static struct workqueue_struct *lingering;
static atomic_t lingerers = ATOMIC_INIT(0);

static void dev_linger(struct work_struct *work)
{
	struct vmshm_dev *dev = container_of(to_delayed_work(work), struct vmshm_dev, linger);
	struct pci_dev *pdev = dev->pdev;

	/* Was it unplugged? Then the BAR is no more in which the range was reserved: now it is in what the
	 * bus gives to others.
	 */
	pci_lock_rescan_remove();
	if (!pdev->resource[2].parent && dev->range.parent) {
		dev->range.parent = NULL;
		dev->region = request_mem_region(dev->phys, dev->bytes, dev->range.name);
		if (!dev->region)
			dev_warn(&pdev->dev, "pinned pages of the segment lie where another device is\n");
	}
	pci_unlock_rescan_remove();
	if (vmshm_still_pinned(dev)) {
		queue_delayed_work(lingering, &dev->linger, HZ / 4);
		return;
	}
	dev_info(&pdev->dev, "the last pinned page of the segment was released\n");
	memory_unmap(dev);
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

static void dev_linger_start(struct vmshm_dev *dev)
{
	dev_warn(&dev->pdev->dev,
		 "memory of the segment is pinned (by RDMA, a pipe, a GPU): it stays, and so does its range of addresses, until it is released\n");
	dev->range = (struct resource) {
		.start = dev->phys, .end = dev->phys + dev->bytes - 1, .name = "vmshm, pinned",
		.flags = IORESOURCE_MEM | IORESOURCE_BUSY,
	};
	pci_release_regions(dev->pdev);
	request_resource(&dev->pdev->resource[2], &dev->range);
	atomic_inc(&lingerers);
	vmshm_dev_get(dev);
	pci_dev_get(dev->pdev);
	/* not where the module is being unloaded, which waits */
	dev->holds_module = try_module_get(THIS_MODULE);
	INIT_DELAYED_WORK(&dev->linger, dev_linger);
	queue_delayed_work(lingering, &dev->linger, 0);
}

/* Firmware can set the range to uncached by an MTRR, which wins over the page tables. */
static void warn_if_uncached(struct vmshm_dev *dev)
{
#ifdef VMSHM_HAS_LOOKUP_ADDRESS
	unsigned int level;
	pte_t *pte = lookup_address((unsigned long)dev->mem, &level);

	if (pte && (pte_flags(*pte) & (_PAGE_PCD | _PAGE_PWT)))
		dev_warn(&dev->pdev->dev,
			 "the firmware covers the segment with an uncached MTRR, and the kernel maps it uncached: where the hypervisor heeds that, copies run at a hundredth of their speed. Boot the VM with SeaBIOS and a segment of 4 GiB or more, which it places above 4 GiB\n");
#endif
}

/* The patched device says so, also while the host has the memory back. Reading changes nothing. */
static bool pdev_has_registers(struct pci_dev *pdev)
{
	void __iomem *regs;
	bool has;

	if (pci_resource_len(pdev, 0) < VMSHM_REG_BYTES)
		return false;
	regs = pci_iomap(pdev, 0, VMSHM_REG_BYTES);
	if (!regs)
		return false;
	has = ioread32(regs + VMSHM_REG_MAGIC) == VMSHM_MAGIC_VALUE;
	pci_iounmap(pdev, regs);
	return has;
}

static bool pdev_has_segment(struct pci_dev *pdev)
{
	const struct vmshm_header *header;
	bool has;

	header = memremap(pci_resource_start(pdev, 2), VMSHM_HEADER_BYTES, MEMREMAP_WB);
	if (!header)
		return false;
	has = READ_ONCE(header->magic) == VMSHM_MAGIC;
	memunmap((void *)header);
	return has;
}

/* Others use such devices, too: Looking Glass, Zephyr, one's own. Until it is known to be ours it is only
 * read, and then left to its driver.
 */
static bool pdev_is_ours(struct pci_dev *pdev)
{
	if (pci_resource_len(pdev, 2) >= VMSHM_HEADER_BYTES &&
	    (pdev_has_registers(pdev) || pdev_has_segment(pdev)))
		return true;
	dev_info(&pdev->dev,
		 "holds no vmshm segment: left alone. If one is made later: echo %s >/sys/bus/pci/drivers/vmshm/bind\n",
		 pci_name(pdev));
	return false;
}

static int vmshm_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct vmshm_dev *dev;
	int rc;

	rc = pci_enable_device_mem(pdev);
	if (rc)
		return rc;
	rc = pci_request_regions(pdev, "vmshm");
	if (rc) {
		dev_err(&pdev->dev, "another driver has the device\n");
		goto disable;
	}
	rc = -ENODEV;
	if (!pdev_is_ours(pdev))
		goto release;
	rc = -ENOMEM;
	dev = kzalloc(sizeof(*dev), GFP_KERNEL);
	if (!dev)
		goto release;
	dev->number = ida_alloc(&numbers, GFP_KERNEL);
	if (dev->number < 0) {
		rc = dev->number;
		kfree(dev);
		goto release;
	}
	kref_init(&dev->ref);
	init_rwsem(&dev->lock);
	INIT_LIST_HEAD(&dev->users);
	INIT_LIST_HEAD(&dev->files);
	dev->pinned = RB_ROOT;
	INIT_LIST_HEAD(&dev->pins_to_look);
	INIT_LIST_HEAD(&dev->pins_held);
	dev->pin_slot = VMSHM_NO_SLOT;
	INIT_DELAYED_WORK(&dev->beat, vmshm_beat);
	init_waitqueue_head(&dev->wait);
	snprintf(dev->name, sizeof(dev->name), "vmshm%d", dev->number);
	dev->pdev = pdev;
	dev->phys = pci_resource_start(pdev, 2);
	dev->bytes = pci_resource_len(pdev, 2);
	rc = vmshm_inode_make(dev);
	if (rc)
		goto put;
	rc = -ENODEV;
	dev->regs = pci_iomap(pdev, 0, 0);
	if (!dev->regs || memory_map(dev)) {
		dev_err(&pdev->dev, "cannot map the device's memory (%llu bytes)\n", dev->bytes);
		goto unmap;
	}
	warn_if_uncached(dev);
	registers_read(dev);
	interrupt_start(dev);
	pci_set_drvdata(pdev, dev);
	dev->misc = (struct miscdevice) {
		.minor = MISC_DYNAMIC_MINOR, .name = dev->name, .fops = &vmshm_fops,
		.parent = &pdev->dev, .mode = 0660,
	};
	rc = misc_register(&dev->misc);
	if (rc)
		goto stop;
	vmshm_debugfs_add(dev);
	mod_delayed_work(system_wq, &dev->beat, 0);
	dev_info(&pdev->dev, "%s: %llu MiB%s\n", dev->name, dev->bytes >> 20,
		 dev->features & VMSHM_FEATURE_WRITE_WINDOWS ? ", guarded by the hypervisor" : "");
	return 0;

stop:
	interrupt_stop(dev);
	cancel_delayed_work_sync(&dev->beat);
unmap:
	memory_unmap(dev);
	if (dev->regs)
		pci_iounmap(pdev, dev->regs);
put:
	vmshm_dev_put(dev);
release:
	pci_release_regions(pdev);
disable:
	pci_disable_device(pdev);
	return rc;
}

/* All lose the segment, in order where there is time. */
static void dev_end(struct vmshm_dev *dev)
{
	struct pci_dev *pdev = dev->pdev;

	interrupt_stop(dev);
	down_write(&dev->lock);
	dev->leaving = true;
	vmshm_notify(dev, VMSHM_EVENT_GONE);
	up_write(&dev->lock);
	/* until then its heart beats */
	mod_delayed_work(system_wq, &dev->beat, 0);
	/* Who listens can still go in order; what was pulled out is gone already. */
	if (pdev->error_state != pci_channel_io_perm_failure)
		wait_event_timeout(dev->wait, !READ_ONCE(dev->members), GRACE_JIFFIES);
	down_write(&dev->lock);
	vmshm_section_shut(dev);
	dev->gone = true;
	up_write(&dev->lock);
	cancel_delayed_work_sync(&dev->beat);
}

static void vmshm_remove(struct pci_dev *pdev)
{
	struct vmshm_dev *dev = pci_get_drvdata(pdev);

	misc_deregister(&dev->misc);
	vmshm_debugfs_remove(dev);
	dev_end(dev);
	pci_iounmap(pdev, dev->regs);
	if (dev_is_let_go(dev)) {
		memory_unmap(dev);
		pci_release_regions(pdev);
	} else {
		dev_linger_start(dev);
	}
	vmshm_dev_put(dev);
	pci_disable_device(pdev);
}

/* Switching off: others need not wait for a silence. Nothing is taken down, whoever has pages pinned. */
static void vmshm_shutdown(struct pci_dev *pdev)
{
	dev_end(pci_get_drvdata(pdev));
}

/* Other VMs run on: they see a VM that is silent, not one that is dead. An interrupt that comes yet
 * must not start the heart again: a register that is read when the device has lost its power says that
 * the host has the memory.
 */
static int __maybe_unused vmshm_suspend(struct device *d)
{
	struct vmshm_dev *dev = dev_get_drvdata(d);

	down_write(&dev->lock);
	dev->asleep = true;
	up_write(&dev->lock);
	cancel_delayed_work_sync(&dev->beat);
	return 0;
}

/* The device may have been reset, the host may have the memory, or have marked the VM as gone. */
static int __maybe_unused vmshm_resume(struct device *d)
{
	struct vmshm_dev *dev = dev_get_drvdata(d);

	down_write(&dev->lock);
	dev->asleep = false;
	dev->woke = true;
	up_write(&dev->lock);
	if (dev->vector)
		vmshm_reg_set(dev, VMSHM_REG_INTR_MASK, U32_MAX);
	/* Processes must not run before it was looked at, and what is not theirs any more is taken. */
	mod_delayed_work(system_wq, &dev->beat, 0);
	flush_delayed_work(&dev->beat);
	return 0;
}

/* Hibernation: what comes back may be on another host, and others may have got the memory meanwhile. What
 * nobody uses is looked at anew by the next one who opens the device.
 */
static int __maybe_unused vmshm_freeze(struct device *d)
{
	struct vmshm_dev *dev = dev_get_drvdata(d);
	bool used;

	down_read(&dev->lock);
	used = !list_empty(&dev->files) || !RB_EMPTY_ROOT(&dev->pinned);
	up_read(&dev->lock);
	if (used) {
		dev_err(d, "the VM cannot hibernate while a process has the segment open\n");
		return -EBUSY;
	}
	return vmshm_suspend(d);
}

static const struct dev_pm_ops __maybe_unused vmshm_pm = {
#ifdef CONFIG_PM_SLEEP
	.suspend = vmshm_suspend,
	.resume = vmshm_resume,
	.freeze = vmshm_freeze,
	.thaw = vmshm_resume,
	.poweroff = vmshm_suspend,
	.restore = vmshm_resume,
#endif
};

static const struct pci_device_id vmshm_ids[] = {
	{ PCI_DEVICE(PCI_VENDOR_ID_REDHAT_QUMRANET, 0x1110) },
	{}
};
MODULE_DEVICE_TABLE(pci, vmshm_ids);

static struct pci_driver vmshm_driver = {
	.name = "vmshm",
	.id_table = vmshm_ids,
	.probe = vmshm_probe,
	.remove = vmshm_remove,
	.shutdown = vmshm_shutdown,
	.driver.pm = &vmshm_pm,
};

static int __init vmshm_init(void)
{
	int rc;

	lingering = alloc_workqueue("vmshm", 0, 0);
	if (!lingering)
		return -ENOMEM;
	vmshm_debugfs_init();
	rc = pci_register_driver(&vmshm_driver);
	if (rc) {
		vmshm_debugfs_exit();
		destroy_workqueue(lingering);
	}
	return rc;
}
module_init(vmshm_init);

static void __exit vmshm_exit(void)
{
	pci_unregister_driver(&vmshm_driver);
	vmshm_debugfs_exit();
	wait_var_event(&lingerers, !atomic_read(&lingerers));
	destroy_workqueue(lingering);
}
module_exit(vmshm_exit);

MODULE_DESCRIPTION("Shared memory between virtual machines of one host (ivshmem), for Open MPI's vmshm");
MODULE_AUTHOR("The vmshm developers");
MODULE_LICENSE("GPL");
