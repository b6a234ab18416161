// SPDX-License-Identifier: GPL-2.0-only
/*
 * Access to the device's registers, enabling its interrupt, and messages that are not repeated.
 */
#include <linux/interrupt.h>
#include <linux/io.h>

#include "vmshm.h"

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

void vmshm_interrupt_again(struct vmshm_dev *dev)
{
	WRITE_ONCE(dev->looked, jiffies);
	if (test_and_clear_bit(VMSHM_IRQ_HELD, &dev->irq_flags))
		enable_irq(dev->irq);
}
