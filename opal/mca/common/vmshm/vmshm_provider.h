/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a process finds the segment, and its size according to the kernel.
 *
 * Without a path, each candidate device is inspected, and the first that holds a segment is used. Other software uses
 * devices of the same kind, too (Looking Glass has an ivshmem device), so a device that holds no segment is left as it
 * was found.
 */
#ifndef VMSHM_PROVIDER_H
#define VMSHM_PROVIDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmshm_error.h"

/* Resolve `wanted` to the path to open: a path; a segment's UUID, or an ivshmem device's address on the
 * PCI bus ("0000:00:05.0"); NULL, "" or "auto": the first segment that is found. *provider becomes "kmod", "file",
 * "chardev" or "pci"; if `wanted` is a path, a device of the kernel module is reported as "chardev", and the caller
 * has to find out. Errors: ABSENT, PERMISSION, FIELD (neither file nor device), SYSTEM. */
int vmshm_provider_find(const char *wanted, char *path, size_t path_bytes, const char **provider,
                        struct vmshm_error *e);
/* The same with other directories than /dev and /sys/bus/pci/devices. */
int vmshm_provider_find_in(const char *dev, const char *sysfs, const char *wanted, char *path,
                           size_t path_bytes, const char **provider, struct vmshm_error *e);

/* Is `wanted` something other than a path? */
bool vmshm_provider_is_name(const char *wanted);

/* The size of what fd refers to; UINT64_MAX for a device that does not report it. */
int vmshm_provider_size(int fd, const char *path, uint64_t *bytes, struct vmshm_error *e);

enum vmshm_look {
    VMSHM_LOOK_SEGMENT,      /* it has the magic; nothing else was checked */
    VMSHM_LOOK_OTHER,        /* other content, or it cannot be mapped */
    VMSHM_LOOK_ZERO,
    VMSHM_LOOK_DARK,         /* all ones: the device's memory decoding is off */
    VMSHM_LOOK_REFUSED       /* this user may not open it */
};

/* Inspect a file or device without changing it. uuid: NULL, or receives the segment's UUID. */
enum vmshm_look vmshm_provider_look(const char *path, uint8_t uuid[16]);

/* Find the kernel module's device (dir/vmshmN) with the lowest number that holds a segment, with this UUID if one is
 * given. If none holds a segment and no UUID is given, the device with the lowest number is returned, since the
 * module then reports the reason. Returns false if there is none. */
bool vmshm_provider_find_kmod(const char *dir, const uint8_t *uuid, char *path, size_t path_bytes);

/* Find BAR 2 of the first ivshmem device below `sysfs` that holds a segment, with this UUID if one is given. A disabled
 * device is enabled for this, and disabled again if it is not the right one; one with a driver is not touched. If no
 * device matches, one that this user may not open is returned. Errors: ABSENT. */
int vmshm_provider_find_pci(const char *sysfs, const uint8_t *uuid, char *path, size_t path_bytes,
                            struct vmshm_error *e);

/* Resolve the PCI address of an ivshmem device ("0000:00:05.0" or "00:05.0") to the kernel module's node dev/vmshmN, or
 * without the module to BAR 2. *provider becomes "kmod" or "pci". Errors: ABSENT, FIELD (another device). */
int vmshm_provider_name_pci(const char *dev, const char *sysfs, const char *address, char *path,
                            size_t path_bytes, const char **provider, struct vmshm_error *e);

#endif
