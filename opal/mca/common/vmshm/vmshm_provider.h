/*
 * Where a process finds the segment, and how many bytes the kernel says are there.
 */
#ifndef VMSHM_PROVIDER_H
#define VMSHM_PROVIDER_H

#include <stddef.h>
#include <stdint.h>

#include "vmshm_error.h"

/* Resolve `wanted` (a path; NULL, "" or "auto": look for a device) to the path to open.
 * *provider becomes "file", "chardev" or "pci". Errors: ABSENT, PERMISSION, FIELD (neither file
 * nor device), SYSTEM. */
int vmshm_provider_find(const char *wanted, char *path, size_t path_bytes, const char **provider,
                        struct vmshm_error *e);

/* Bytes behind fd; UINT64_MAX for a device that does not tell. */
int vmshm_provider_size(int fd, const char *path, uint64_t *bytes, struct vmshm_error *e);

/* The first ivshmem device's BAR 2 below `sysfs` (normally /sys/bus/pci/devices). */
int vmshm_provider_find_pci(const char *sysfs, char *path, size_t path_bytes,
                            struct vmshm_error *e);

#endif
