/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Errors of the vmshm library: the file, the field, what is wrong with it, and the remedy.
 *
 * Functions that can fail take a struct vmshm_error * (never NULL), fill it and return its code;
 * they print nothing. The caller that handles the error logs it, once.
 */
#ifndef VMSHM_ERROR_H
#define VMSHM_ERROR_H

enum vmshm_code {
    VMSHM_OK = 0,
    VMSHM_ERR_ABSENT,        /* no segment at the path, or none found */
    VMSHM_ERR_PERMISSION,
    VMSHM_ERR_SHORT,         /* the file is shorter than its header says */
    VMSHM_ERR_ZERO,          /* zero-filled: never created, or other memory than the segment's */
    VMSHM_ERR_MAGIC,
    VMSHM_ERR_VERSION,
    VMSHM_ERR_CHECKSUM,
    VMSHM_ERR_FIELD,         /* a field has an invalid value */
    VMSHM_ERR_NO_VM_ID,
    VMSHM_ERR_VM_ID_RANGE,
    VMSHM_ERR_VM_ID_TWICE,
    VMSHM_ERR_MARKED,        /* the host has marked this VM as gone */
    VMSHM_ERR_FULL,          /* no process slot, window slot or memory left in the section */
    VMSHM_ERR_HELD,          /* another process holds the lock file's mutex and does not release it */
    VMSHM_ERR_USER,          /* the peer runs as another user */
    VMSHM_ERR_PEER,          /* a peer's window, nonce or epoch is not what it published */
    VMSHM_ERR_MAP,           /* a limit of this process or system on mappings or memory: detail names it */
    VMSHM_ERR_SYSTEM,        /* a system call failed: detail has errno's text */
    VMSHM_ERR_COUNT
};

struct vmshm_error {
    enum vmshm_code code;
    char file[256];          /* the file or device */
    char field[64];          /* the field, MCA parameter or table entry */
    char detail[320];        /* what was found and what was expected */
};

/* Fill *e and return code. */
int vmshm_fail(struct vmshm_error *e, enum vmshm_code code, const char *file, const char *field,
               const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Like vmshm_fail() with VMSHM_ERR_SYSTEM (EACCES and EPERM: VMSHM_ERR_PERMISSION; ENOENT, ENODEV and ENXIO:
 * VMSHM_ERR_ABSENT). The detail is `what` followed by errno's text. */
int vmshm_fail_errno(struct vmshm_error *e, const char *file, const char *field,
                     const char *what);

/* A sentence that tells the administrator or user what to do about the error. */
const char *vmshm_error_remedy(enum vmshm_code code);

/* The topic in help-btl-vmshm.txt for this code. */
const char *vmshm_error_topic(enum vmshm_code code);

#endif
