/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The VM's id on its host, and the epoch of its present boot.
 *
 * The VM id comes from the SMBIOS OEM string "vmshm.vm-id=N" (only root can read the table), else from vmshm.vm_id=N
 * on the kernel's command line, else from the caller (the MCA parameter common_vmshm_vm_id). The epoch is a hash of
 * the kernel's boot id, so all processes of one boot compute the same one.
 */
#ifndef VMSHM_IDENTITY_H
#define VMSHM_IDENTITY_H

#include <stdint.h>

#include "vmshm_error.h"

#define VMSHM_VM_ID_UNSET (-1)
#define VMSHM_VM_ID_BAD   (-2)   /* set, but not to a number */

struct vmshm_identity {
    uint32_t vm;
    uint64_t epoch;          /* never 0 */
    const char *source;      /* "SMBIOS", "kernel command line", "parameter"; with the kernel
                              * module "device", "SMBIOS", "module parameter" */
};

/* Parse the MCA parameter for the id: VMSHM_VM_ID_UNSET ("", "-1", NULL), a number, or VMSHM_VM_ID_BAD. */
int vmshm_identity_parse(const char *text);

/* root: prefix of the files read ("" normally, a directory in tests). param: the id to use if the system gives none,
 * or VMSHM_VM_ID_UNSET or VMSHM_VM_ID_BAD. Errors: NO_VM_ID, VM_ID_RANGE (not a number below `vms`), SYSTEM. */
int vmshm_identity_get(const char *root, int param, uint32_t vms, struct vmshm_identity *id,
                       struct vmshm_error *e);

/* 64 random bits, never 0. */
uint64_t vmshm_random64(void);

#endif
