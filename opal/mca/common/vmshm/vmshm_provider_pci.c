/* The BAR of an ivshmem device, through sysfs: needs root and no driver; for diagnosis and for
 * guests without the kernel module. */
#include "vmshm_provider.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IVSHMEM_VENDOR 0x1af4
#define IVSHMEM_DEVICE 0x1110

static long read_hex(const char *dir, const char *name, const char *file)
{
    char path[512];
    long value = -1;
    FILE *f;

    snprintf(path, sizeof path, "%s/%s/%s", dir, name, file);
    f = fopen(path, "re");
    if (NULL != f) {
        if (1 != fscanf(f, "%lx", (unsigned long *) &value)) {
            value = -1;
        }
        fclose(f);
    }
    return value;
}

int vmshm_provider_find_pci(const char *sysfs, char *path, size_t path_bytes,
                            struct vmshm_error *e)
{
    DIR *dir = opendir(sysfs);
    struct dirent *entry;
    char best[256] = "";

    while (NULL != dir && NULL != (entry = readdir(dir))) {
        if (IVSHMEM_VENDOR == read_hex(sysfs, entry->d_name, "vendor")
            && IVSHMEM_DEVICE == read_hex(sysfs, entry->d_name, "device")
            && ('\0' == best[0] || strcmp(entry->d_name, best) < 0)) {
            snprintf(best, sizeof best, "%s", entry->d_name);
        }
    }
    if (NULL != dir) {
        closedir(dir);
    }
    if ('\0' == best[0]) {
        return vmshm_fail(e, VMSHM_ERR_ABSENT, sysfs, "common_vmshm_segment",
                          "no segment was named, there is no /dev/mmapper, and no ivshmem device "
                          "(1af4:1110) on the PCI bus");
    }
    if ((size_t) snprintf(path, path_bytes, "%s/%s/resource2", sysfs, best) >= path_bytes) {
        return vmshm_fail(e, VMSHM_ERR_ABSENT, sysfs, "common_vmshm_segment", "path too long");
    }
    /* The kernel switches memory decoding on only for a driver or on request. */
    char enable[300];
    snprintf(enable, sizeof enable, "%s/%s/enable", sysfs, best);
    FILE *f = fopen(enable, "we");
    if (NULL != f) {
        fputs("1", f);
        fclose(f);
    }
    return VMSHM_OK;
}
