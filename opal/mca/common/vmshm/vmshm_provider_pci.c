/* SPDX-License-Identifier: BSD-3-Clause */
/* Access to the BAR of an ivshmem device through sysfs, for diagnosis and for guests without the kernel module. Needs
 * root, and a device without a driver. */
#include "vmshm_provider.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IVSHMEM_VENDOR 0x1af4
#define IVSHMEM_DEVICE 0x1110
#define MAX_DEVICES    64

struct devices {
    char names[MAX_DEVICES][32];
    int count;
};

static long read_number(const char *sysfs, const char *name, const char *file)
{
    char path[512], text[32] = "";
    long value = -1;
    FILE *f;

    snprintf(path, sizeof path, "%s/%s/%s", sysfs, name, file);
    f = fopen(path, "re");
    if (NULL != f) {
        if (NULL != fgets(text, sizeof text, f) && '\0' != text[0] && '\n' != text[0]) {
            value = strtol(text, NULL, 0);
        }
        fclose(f);
    }
    return value;
}

static bool is_ivshmem(const char *sysfs, const char *name)
{
    return IVSHMEM_VENDOR == read_number(sysfs, name, "vendor")
           && IVSHMEM_DEVICE == read_number(sysfs, name, "device");
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void list_devices(const char *sysfs, struct devices *d)
{
    DIR *dir = opendir(sysfs);
    struct dirent *entry;

    d->count = 0;
    while (NULL != dir && d->count < MAX_DEVICES && NULL != (entry = readdir(dir))) {
        if (strlen(entry->d_name) < sizeof d->names[0] && is_ivshmem(sysfs, entry->d_name)) {
            strcpy(d->names[d->count++], entry->d_name);
        }
    }
    if (NULL != dir) {
        closedir(dir);
    }
    qsort(d->names, (size_t) d->count, sizeof d->names[0], compare);
}

static bool bar_path(const char *sysfs, const char *name, char *path, size_t path_bytes)
{
    return (size_t) snprintf(path, path_bytes, "%s/%s/resource2", sysfs, name) < path_bytes;
}

/* Is the device disabled, with no driver that would enable it? */
static bool is_off(const char *sysfs, const char *name)
{
    char driver[512];

    snprintf(driver, sizeof driver, "%s/%s/driver", sysfs, name);
    return 0 != access(driver, F_OK) && 0 == read_number(sysfs, name, "enable");
}

static void switch_to(const char *sysfs, const char *name, const char *value)
{
    char enable[512];
    FILE *f;

    snprintf(enable, sizeof enable, "%s/%s/enable", sysfs, name);
    f = fopen(enable, "we");
    if (NULL != f) {
        fputs(value, f);
        fclose(f);
    }
}

/* Firmware leaves memory decoding on for most devices, so most can be inspected without enabling them. */
static enum vmshm_look look(const char *sysfs, const char *name, const uint8_t *uuid)
{
    enum vmshm_look found;
    uint8_t its[16];
    bool ours, off;
    char path[512];

    (void) bar_path(sysfs, name, path, sizeof path);
    off = is_off(sysfs, name);
    found = vmshm_provider_look(path, its);
    if (VMSHM_LOOK_DARK == found && off) {
        switch_to(sysfs, name, "1");
        found = vmshm_provider_look(path, its);
    }
    ours = VMSHM_LOOK_SEGMENT == found && (NULL == uuid || 0 == memcmp(its, uuid, sizeof its));
    /* Enable the right device explicitly, so that the kernel keeps it enabled; disable any other again. */
    if (ours && is_off(sysfs, name)) {
        switch_to(sysfs, name, "1");
    } else if (!ours && off && !is_off(sysfs, name)) {
        switch_to(sysfs, name, "0");
    }
    return ours || VMSHM_LOOK_SEGMENT != found ? found : VMSHM_LOOK_OTHER;
}

static const char *tell(enum vmshm_look found)
{
    return VMSHM_LOOK_ZERO == found ? "zeros" : VMSHM_LOOK_DARK == found ? "switched off"
           : "something else";
}

int vmshm_provider_find_pci(const char *sysfs, const uint8_t *uuid, char *path, size_t path_bytes,
                            struct vmshm_error *e)
{
    const char *best = NULL, *refused = NULL;
    char list[160] = "";
    struct devices d;
    size_t used = 0;

    list_devices(sysfs, &d);
    for (int i = 0; i < d.count && NULL == best; ++i) {
        const enum vmshm_look found = look(sysfs, d.names[i], uuid);

        if (VMSHM_LOOK_SEGMENT == found) {
            best = d.names[i];
        } else if (VMSHM_LOOK_REFUSED == found) {
            refused = NULL == refused ? d.names[i] : refused;
        } else if (used < sizeof list) {
            used += (size_t) snprintf(list + used, sizeof list - used, "%s%s (%s)",
                                      0 == used ? "" : ", ", d.names[i], tell(found));
        }
    }
    best = NULL == best ? refused : best;
    if (0 == d.count) {
        return vmshm_fail(e, VMSHM_ERR_ABSENT, sysfs, "common_vmshm_segment",
                          "no segment was named, and there is neither /dev/mmapper nor an ivshmem "
                          "device (1af4:1110) on the PCI bus");
    }
    if (NULL == best) {
        return vmshm_fail(e, VMSHM_ERR_ABSENT, sysfs, "common_vmshm_segment", "no ivshmem device on the "
                          "PCI bus holds %s: %s", NULL == uuid ? "a segment" : "that segment", list);
    }
    if (!bar_path(sysfs, best, path, path_bytes)) {
        return vmshm_fail(e, VMSHM_ERR_ABSENT, sysfs, "common_vmshm_segment", "path too long");
    }
    return VMSHM_OK;
}

/* The kernel module's misc device is listed in the PCI device's directory. */
static bool find_node(const char *dev, const char *sysfs, const char *name, char *path,
                      size_t path_bytes)
{
    char misc[512];
    struct dirent *entry;
    bool found = false;
    DIR *dir;

    snprintf(misc, sizeof misc, "%s/%s/misc", sysfs, name);
    dir = opendir(misc);
    while (NULL != dir && !found && NULL != (entry = readdir(dir))) {
        found = 0 == strncmp(entry->d_name, "vmshm", 5)
                && (size_t) snprintf(path, path_bytes, "%s/%s", dev, entry->d_name) < path_bytes;
    }
    if (NULL != dir) {
        closedir(dir);
    }
    return found;
}

int vmshm_provider_name_pci(const char *dev, const char *sysfs, const char *address, char *path,
                            size_t path_bytes, const char **provider, struct vmshm_error *e)
{
    char name[32];

    /* lspci leaves the domain out where there is only one. */
    snprintf(name, sizeof name, "%s%.20s", NULL != strchr(address, ':')
             && strchr(address, ':') == strrchr(address, ':') ? "0000:" : "", address);
    if (read_number(sysfs, name, "vendor") < 0) {
        return vmshm_fail(e, VMSHM_ERR_ABSENT, address, "common_vmshm_segment", "there is no such "
                          "device on the PCI bus");
    }
    if (!is_ivshmem(sysfs, name)) {
        return vmshm_fail(e, VMSHM_ERR_FIELD, address, "common_vmshm_segment", "it is not an ivshmem "
                          "device (1af4:1110)");
    }
    if (find_node(dev, sysfs, name, path, path_bytes)) {
        *provider = "kmod";
        return VMSHM_OK;
    }
    if (!bar_path(sysfs, name, path, path_bytes)) {
        return vmshm_fail(e, VMSHM_ERR_ABSENT, address, "common_vmshm_segment", "path too long");
    }
    *provider = "pci";
    if (is_off(sysfs, name)) {
        switch_to(sysfs, name, "1");
    }
    return VMSHM_OK;
}
