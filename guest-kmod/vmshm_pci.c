// SPDX-License-Identifier: GPL-2.0-only
/*
 * The PCI driver for the ivshmem device: probing, interrupt, removal, power management.
 */
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/module.h>

#include "vmshm.h"
#include "vmshm_compat.h"
#include "vmshm_registers.h"

/* Minimum time between two checks caused by interrupts. */
#define LOOK_JIFFIES	DIV_ROUND_UP(HZ, 100)

static irqreturn_t dev_interrupt(int irq, void *data)
{
	struct vmshm_dev *dev = data;
	unsigned long next;

	/* Without MSI-X the line may be shared. Reading the status clears the interrupt. */
	if (!dev->msix && !vmshm_reg(dev, VMSHM_REG_INTR_STATUS))
		return IRQ_NONE;
	/* Other VMs can ring at any rate, and each check takes the lock and reads registers. */
	if (dev->msix && !test_and_set_bit(VMSHM_IRQ_HELD, &dev->irq_flags))
		disable_irq_nosync(irq);
	next = READ_ONCE(dev->looked) + LOOK_JIFFIES;
	mod_delayed_work(system_wq, &dev->beat,
			 time_before(jiffies, next) ? next - jiffies : 0);
	return IRQ_HANDLED;
}

static void interrupt_start(struct vmshm_dev *dev)
{
	struct pci_dev *pdev = dev->pdev;

	pci_set_master(pdev);	/* needed for MSI-X messages */
	if (pci_alloc_irq_vectors(pdev, 1, 1, PCI_IRQ_MSIX | PCI_IRQ_INTX) < 1)
		return;
	dev->msix = pdev->msix_enabled;
	/* A stock device without doorbell never interrupts. */
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
		/* After disable_irq() nothing schedules the beat; after the cancel nothing enables the interrupt. */
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
			 "the device's registers have version %u, this module supports versions up to %u: using it as a stock device\n",
			 vmshm_reg(dev, VMSHM_REG_VERSION), VMSHM_REG_VERSION_MAX);
		return;
	}
	features = vmshm_reg(dev, VMSHM_REG_FEATURES);
	dev->generation = vmshm_reg(dev, VMSHM_REG_GENERATION);
	if (!(vmshm_reg(dev, VMSHM_REG_STATE) & VMSHM_STATE_ATTACHED))
		dev->phase = VMSHM_PHASE_DETACHED;
	if (features & VMSHM_REGF_WRITE_WINDOWS)
		dev->features |= VMSHM_FEATURE_WRITE_WINDOWS;
	if (features & VMSHM_REGF_DETACH)
		dev->features |= VMSHM_FEATURE_DETACH;
}

/* Is it the patched device? Works even while the host has the memory; reading has no side effects. */
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

/* Other software uses ivshmem devices, too (Looking Glass, Zephyr). So the device is only read until it is known to be
 * ours; any other is left to its own driver.
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
	dev = vmshm_dev_make(pdev);
	rc = PTR_ERR_OR_ZERO(dev);
	if (rc)
		goto release;
	INIT_DELAYED_WORK(&dev->beat, vmshm_beat);
	dev->phys = pci_resource_start(pdev, 2);
	dev->bytes = pci_resource_len(pdev, 2);
	rc = vmshm_inode_make(dev);
	if (rc)
		goto put;
	rc = -ENODEV;
	dev->regs = pci_iomap(pdev, 0, 0);
	if (!dev->regs || vmshm_memory_map(dev)) {
		dev_err(&pdev->dev, "cannot map the device's memory (%llu bytes)\n", dev->bytes);
		goto unmap;
	}
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
	vmshm_memory_unmap(dev);
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

/* All processes lose the segment; if there is time, they can leave first. */
static void dev_end(struct vmshm_dev *dev)
{
	struct pci_dev *pdev = dev->pdev;

	interrupt_stop(dev);
	down_write(&dev->lock);
	dev->leaving = true;
	vmshm_notify(dev, VMSHM_EVENT_GONE);
	up_write(&dev->lock);
	/* The heartbeat continues until the processes have left. */
	mod_delayed_work(system_wq, &dev->beat, 0);
	/* Processes that watch for events can still leave, unless the device was removed physically. */
	if (pdev->error_state != pci_channel_io_perm_failure)
		wait_event_timeout(dev->wait, !READ_ONCE(dev->members), VMSHM_GRACE_JIFFIES);
	down_write(&dev->lock);
	vmshm_section_shut(dev);
	dev->phase = VMSHM_PHASE_GONE;
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
	if (vmshm_memory_is_let_go(dev)) {
		vmshm_memory_unmap(dev);
		pci_release_regions(pdev);
	} else {
		vmshm_memory_linger(dev);
	}
	vmshm_dev_put(dev);
	pci_disable_device(pdev);
}

/* Marks the section, so that other VMs need not wait for silence. Frees nothing, since pages may be pinned. */
static void vmshm_shutdown(struct pci_dev *pdev)
{
	dev_end(pci_get_drvdata(pdev));
}

/* Other VMs keep running, and see this one as silent, not as dead. A late interrupt must not start vmshm_beat() again,
 * since registers of a device without power read as if the host had the memory.
 */
static int __maybe_unused vmshm_suspend(struct device *d)
{
	struct vmshm_dev *dev = dev_get_drvdata(d);

	down_write(&dev->lock);
	dev->sleep = VMSHM_ASLEEP;
	up_write(&dev->lock);
	cancel_delayed_work_sync(&dev->beat);
	return 0;
}

/* Meanwhile the device may have been reset, or the host may have taken the memory or marked the VM as gone. */
static int __maybe_unused vmshm_resume(struct device *d)
{
	struct vmshm_dev *dev = dev_get_drvdata(d);

	down_write(&dev->lock);
	dev->sleep = VMSHM_WOKEN;
	up_write(&dev->lock);
	if (dev->vector)
		vmshm_reg_set(dev, VMSHM_REG_INTR_MASK, U32_MAX);
	/* Check the device before processes run again, and take away mappings to which they have lost the right. */
	mod_delayed_work(system_wq, &dev->beat, 0);
	flush_delayed_work(&dev->beat);
	return 0;
}

/* Hibernation: the VM may resume on another host, and others may have got the memory meanwhile. If no process uses the
 * segment, the next one that opens the device reads the header again.
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
	int rc = vmshm_memory_init();

	if (rc)
		return rc;
	vmshm_debugfs_init();
	rc = pci_register_driver(&vmshm_driver);
	if (rc) {
		vmshm_debugfs_exit();
		vmshm_memory_exit();
	}
	return rc;
}
module_init(vmshm_init);

static void __exit vmshm_exit(void)
{
	pci_unregister_driver(&vmshm_driver);
	vmshm_debugfs_exit();
	vmshm_memory_exit();
}
module_exit(vmshm_exit);

MODULE_DESCRIPTION("Shared memory between virtual machines of one host (ivshmem), for Open MPI's vmshm");
MODULE_AUTHOR("The vmshm developers");
MODULE_LICENSE("GPL");
