// SPDX-License-Identifier: GPL-2.0-only
/*
 * The inode whose mapping all open files of a device share, so that zapping finds every mapping: of a
 * file system of the module's own. The device node's would not do: there may be several nodes of a device,
 * and that of a container goes with the container's file system.
 */
#include <linux/fs.h>
#include <linux/mount.h>
#include <linux/pseudo_fs.h>

#include "vmshm.h"

#define VMSHM_FS_MAGIC	0x4d485356	/* "VSHM" */

static struct vfsmount *vmshm_mount;
static int vmshm_mounted;

static int vmshm_fs_init(struct fs_context *fc)
{
	return init_pseudo(fc, VMSHM_FS_MAGIC) ? 0 : -ENOMEM;
}

/* Without an owner: the mount lives as long as there is a device, and would keep the module from being
 * unloaded. Open files keep it, and their inode.
 */
static struct file_system_type vmshm_fs = {
	.name = "vmshm",
	.init_fs_context = vmshm_fs_init,
	.kill_sb = kill_anon_super,
};

int vmshm_inode_make(struct vmshm_dev *dev)
{
	struct inode *inode;
	int rc = simple_pin_fs(&vmshm_fs, &vmshm_mount, &vmshm_mounted);

	if (rc)
		return rc;
	inode = alloc_anon_inode(vmshm_mount->mnt_sb);
	if (IS_ERR(inode)) {
		simple_release_fs(&vmshm_mount, &vmshm_mounted);
		return PTR_ERR(inode);
	}
	dev->inode = inode;
	return 0;
}

void vmshm_inode_drop(struct vmshm_dev *dev)
{
	if (!dev->inode)
		return;
	iput(dev->inode);
	simple_release_fs(&vmshm_mount, &vmshm_mounted);
}
