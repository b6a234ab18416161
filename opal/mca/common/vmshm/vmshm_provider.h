/*
 * Where a process finds the segment, and how many bytes the kernel says are there.
 */
#ifndef VMSHM_PROVIDER_H
#define VMSHM_PROVIDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmshm_error.h"

/* Resolve `wanted` (a path; NULL, "" or "auto": look for a device) to the path to open.
 * *provider becomes "kmod", "file", "chardev" or "pci"; of a path
 * that was named "kmod" is for the caller to find out. Errors: ABSENT, PERMISSION, FIELD (neither file
 * nor device), SYSTEM. */
int vmshm_provider_find(const char *wanted, char *path, size_t path_bytes, const char **provider,
                        struct vmshm_error *e);

/* Bytes behind fd; UINT64_MAX for a device that does not tell. */
int vmshm_provider_size(int fd, const char *path, uint64_t *bytes, struct vmshm_error *e);

/* The kernel module's device of the lowest number in `dir` (normally /dev). False: there is none. */
bool vmshm_provider_find_kmod(const char *dir, char *path, size_t path_bytes);

/* The first ivshmem device's BAR 2 below `sysfs` (normally /sys/bus/pci/devices). */
int vmshm_provider_find_pci(const char *sysfs, char *path, size_t path_bytes,
                            struct vmshm_error *e);

#endif
