/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * BAR 0 of the ivshmem device. Registers up to 0x0c are QEMU's (docs/specs/ivshmem-spec); those from 0x10
 * on are the patched device's (ivshmem-patch/README.md), and read as zero on a stock one. Accesses are 32 bits
 * wide; the low half of a 64-bit value comes first.
 */
#ifndef VMSHM_REGISTERS_H
#define VMSHM_REGISTERS_H

#include <linux/bits.h>

#define VMSHM_REG_INTR_MASK	0x00
#define VMSHM_REG_INTR_STATUS	0x04	/* a read clears it and the interrupt */
#define VMSHM_REG_IV_POSITION	0x08
#define VMSHM_REG_DOORBELL	0x0c	/* peer's position << 16 | vector */

#define VMSHM_REG_MAGIC		0x10
#define VMSHM_REG_VERSION	0x14
#define VMSHM_REG_FEATURES	0x18
#define VMSHM_REG_VM_ID		0x1c	/* VMSHM_NO_VM_ID: not configured */
#define VMSHM_REG_SIZE		0x20	/* u64, bytes of BAR 2 */
#define VMSHM_REG_WINDOW_OFFSET	0x28	/* u64: where this VM may write */
#define VMSHM_REG_WINDOW_SIZE	0x30	/* u64 */
#define VMSHM_REG_GENERATION	0x38	/* grows with each detach, attach and migration */
#define VMSHM_REG_STATE		0x3c
#define VMSHM_REG_DETACH_ACK	0x80	/* write the generation: we do not use the memory any more */
					/* without a request: we give up the claim */
#define VMSHM_REG_REATTACH	0x84	/* write the generation: we claim the memory */
#define VMSHM_REG_WAITS_PROCESSES 0x88	/* write how many processes DETACH_ACK waits for */
#define VMSHM_REG_WAITS_PAGES	0x8c	/* and how many pinned pages */
#define VMSHM_REG_BYTES		0x100	/* of BAR 0 */

#define VMSHM_MAGIC_VALUE	0x4d485356	/* "VSHM" */
#define VMSHM_NO_VM_ID		0xffffffffU
#define VMSHM_REG_VERSION_MAX	1

#define VMSHM_REGF_WRITE_WINDOWS	BIT(0)
#define VMSHM_REGF_DETACH		BIT(1)
#define VMSHM_REGF_INTERRUPT		BIT(2)

#define VMSHM_STATE_ATTACHED		BIT(0)
#define VMSHM_STATE_DETACH_WANTED	BIT(1)
#define VMSHM_STATE_IN_USE		BIT(2)	/* the VM cannot be migrated */

#endif
