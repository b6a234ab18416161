/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where a process finds the segment, and how many bytes the kernel says are there.
 *
 * Who was not told a path looks into each device that may be one, and takes the first that holds a
 * segment. Devices of the same kind serve others, too (Looking Glass has an ivshmem device): what is not
 * a segment is left as it was found.
 */
#ifndef VMSHM_PROVIDER_H
#define VMSHM_PROVIDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmshm_error.h"

/* Resolve `wanted` to the path to open: a path; a segment's UUID, or an ivshmem device's address on the
 * PCI bus ("0000:00:05.0"); NULL, "" or "auto": the first segment that is found.
 * *provider becomes "kmod", "file", "chardev" or "pci"; of a path
 * that was named "kmod" is for the caller to find out. Errors: ABSENT, PERMISSION, FIELD (neither file
 * nor device), SYSTEM. */
int vmshm_provider_find(const char *wanted, char *path, size_t path_bytes, const char **provider,
                        struct vmshm_error *e);
/* The same with other directories than /dev and /sys/bus/pci/devices. */
int vmshm_provider_find_in(const char *dev, const char *sysfs, const char *wanted, char *path,
                           size_t path_bytes, const char **provider, struct vmshm_error *e);

/* Does `wanted` name something else than a path? */
bool vmshm_provider_is_name(const char *wanted);

/* Bytes behind fd; UINT64_MAX for a device that does not tell. */
int vmshm_provider_size(int fd, const char *path, uint64_t *bytes, struct vmshm_error *e);

enum vmshm_look {
    VMSHM_LOOK_SEGMENT,      /* the magic is there; whether the rest is right is not looked at */
    VMSHM_LOOK_OTHER,        /* somebody else's content, or nothing that could be mapped */
    VMSHM_LOOK_ZERO,
    VMSHM_LOOK_DARK,         /* all ones: a device that does not decode addresses */
    VMSHM_LOOK_REFUSED       /* this user may not open it */
};

/* Look into a file or device, which stays as it is. uuid: NULL, or the segment's goes there. */
enum vmshm_look vmshm_provider_look(const char *path, uint8_t uuid[16]);

/* The kernel module's device (dir/vmshmN) of the lowest number that holds a segment, that of this UUID if
 * one is given; without one, if none does, that of the lowest number: the module says why. False: there is
 * none. */
bool vmshm_provider_find_kmod(const char *dir, const uint8_t *uuid, char *path, size_t path_bytes);

/* BAR 2 of the first ivshmem device below `sysfs` that holds a segment, that of this UUID if one is given.
 * A device that is not switched on is switched on for the look, and off again if it is not that one;
 * one with a driver is not touched. Errors: ABSENT. A device that this user may not open is found if no
 * other is. */
int vmshm_provider_find_pci(const char *sysfs, const uint8_t *uuid, char *path, size_t path_bytes,
                            struct vmshm_error *e);

/* BAR 2 of the ivshmem device at `address` ("0000:00:05.0" or "00:05.0"), or of its kernel module's the
 * node dev/vmshmN. *provider becomes "kmod" or "pci". Errors: ABSENT, FIELD (another device). */
int vmshm_provider_name_pci(const char *dev, const char *sysfs, const char *address, char *path,
                            size_t path_bytes, const char **provider, struct vmshm_error *e);

#endif
