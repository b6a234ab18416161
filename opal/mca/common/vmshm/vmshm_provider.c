/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmshm_provider.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int compare(const void *a, const void *b)
{
    const unsigned long x = *(const unsigned long *) a, y = *(const unsigned long *) b;

    return x < y ? -1 : x > y;
}

/* Collect the numbers N of all dir/vmshmN, in ascending order. Returns how many there are. */
static int list_nodes(const char *dir, unsigned long *numbers, int room)
{
    DIR *devices_dir = opendir(dir);
    struct dirent *entry;
    int count = 0;

    while (NULL != devices_dir && count < room && NULL != (entry = readdir(devices_dir))) {
        char *end;

        if (0 != strncmp(entry->d_name, "vmshm", 5) || !isdigit((unsigned char) entry->d_name[5])) {
            continue;
        }
        numbers[count] = strtoul(entry->d_name + 5, &end, 10);
        count += '\0' == *end;
    }
    if (NULL != devices_dir) {
        closedir(devices_dir);
    }
    qsort(numbers, (size_t) count, sizeof *numbers, compare);
    return count;
}

bool vmshm_provider_find_kmod(const char *dir, const uint8_t *uuid, char *path, size_t path_bytes)
{
    unsigned long numbers[64];
    const int count = list_nodes(dir, numbers, 64);

    for (int i = 0; i < count; ++i) {
        uint8_t its[16];

        if ((size_t) snprintf(path, path_bytes, "%s/vmshm%lu", dir, numbers[i]) < path_bytes
            && VMSHM_LOOK_SEGMENT == vmshm_provider_look(path, its)
            && (NULL == uuid || 0 == memcmp(its, uuid, sizeof its))) {
            return true;
        }
    }
    return count > 0 && NULL == uuid
           && (size_t) snprintf(path, path_bytes, "%s/vmshm%lu", dir, numbers[0]) < path_bytes;
}

/* User-Mode Linux has this device if it was configured on its command line. */
static bool find_mmapper(const char *dev, char *path, size_t path_bytes)
{
    struct stat st;

    return (size_t) snprintf(path, path_bytes, "%s/mmapper", dev) < path_bytes
           && 0 == stat(path, &st) && S_ISCHR(st.st_mode);
}

static bool holds_segment(const char *path, const uint8_t *uuid)
{
    uint8_t its[16];

    return VMSHM_LOOK_SEGMENT == vmshm_provider_look(path, its)
           && (NULL == uuid || 0 == memcmp(its, uuid, sizeof its));
}

/* 32 hexadecimal digits, with or without dashes between them. */
static bool is_uuid(const char *text, uint8_t uuid[16])
{
    int digits = 0;

    for (; '\0' != *text; ++text) {
        const unsigned char c = (unsigned char) *text;

        if ('-' == c && digits > 0) {
            continue;
        }
        if (!isxdigit(c) || 32 == digits) {
            return false;
        }
        uuid[digits / 2] = (uint8_t) (uuid[digits / 2] << 4
                                      | (isdigit(c) ? c - '0' : tolower(c) - 'a' + 10));
        ++digits;
    }
    return 32 == digits;
}

/* "00:05.0" or "0000:00:05.0" */
static bool is_pci_address(const char *text)
{
    unsigned domain, bus, device, function;
    int end = -1;

    (void) sscanf(text, "%4x:%2x:%2x.%1x%n", &domain, &bus, &device, &function, &end);
    if (end < 0) {
        (void) sscanf(text, "%2x:%2x.%1x%n", &bus, &device, &function, &end);
    }
    return end > 0 && '\0' == text[end];
}

static int find_device(const char *dev, const char *sysfs, const uint8_t *uuid, char *path,
                       size_t path_bytes, const char **provider, struct vmshm_error *e)
{
    if (vmshm_provider_find_kmod(dev, uuid, path, path_bytes)) {
        *provider = "kmod";
        return VMSHM_OK;
    }
    *provider = "chardev";
    if (find_mmapper(dev, path, path_bytes) && holds_segment(path, uuid)) {
        return VMSHM_OK;
    }
    *provider = "pci";
    if (VMSHM_OK == vmshm_provider_find_pci(sysfs, uuid, path, path_bytes, e)) {
        return VMSHM_OK;
    }
    /* mmapper holds no segment. Choose it nevertheless, since opening it reports what is wrong. */
    if (NULL == uuid && find_mmapper(dev, path, path_bytes)) {
        *provider = "chardev";
        return VMSHM_OK;
    }
    return e->code;
}

bool vmshm_provider_is_name(const char *wanted)
{
    uint8_t uuid[16];

    return '\0' == wanted[0] || 0 == strcmp(wanted, "auto") || is_uuid(wanted, uuid) || is_pci_address(wanted);
}

int vmshm_provider_find_in(const char *dev, const char *sysfs, const char *wanted, char *path,
                           size_t path_bytes, const char **provider, struct vmshm_error *e)
{
    uint8_t uuid[16];
    struct stat st;

    if (NULL == wanted || '\0' == wanted[0] || 0 == strcmp(wanted, "auto")) {
        return find_device(dev, sysfs, NULL, path, path_bytes, provider, e);
    }
    if (is_uuid(wanted, uuid)) {
        return find_device(dev, sysfs, uuid, path, path_bytes, provider, e);
    }
    if (is_pci_address(wanted)) {
        return vmshm_provider_name_pci(dev, sysfs, wanted, path, path_bytes, provider, e);
    }
    if (strlen(wanted) >= path_bytes) {
        return vmshm_fail(e, VMSHM_ERR_ABSENT, wanted, "common_vmshm_segment",
                          "the path is longer than %zu bytes", path_bytes - 1);
    }
    snprintf(path, path_bytes, "%s", wanted);
    if (0 != stat(path, &st)) {
        return vmshm_fail_errno(e, path, "common_vmshm_segment", "stat");
    }
    if (S_ISCHR(st.st_mode)) {
        *provider = "chardev";
    } else if (S_ISREG(st.st_mode)) {
        /* BAR files of sysfs are regular files, too. */
        const char *slash = strrchr(path, '/');
        *provider = 0 == strncmp(path, "/sys/", 5) && slash && 0 == strncmp(slash, "/resource", 9)
                    ? "pci" : "file";
    } else {
        return vmshm_fail(e, VMSHM_ERR_FIELD, path, "common_vmshm_segment",
                          "it is neither a file nor a character device");
    }
    return VMSHM_OK;
}

int vmshm_provider_find(const char *wanted, char *path, size_t path_bytes, const char **provider,
                        struct vmshm_error *e)
{
    return vmshm_provider_find_in("/dev", "/sys/bus/pci/devices", wanted, path, path_bytes, provider,
                                  e);
}
