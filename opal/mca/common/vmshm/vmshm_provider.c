#include "vmshm_provider.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Devices that are looked for by themselves, best first. */
static const char *const devices[] = { "/dev/mmapper" };

bool vmshm_provider_find_kmod(const char *dir, char *path, size_t path_bytes)
{
    DIR *devices_dir = opendir(dir);
    struct dirent *entry;
    unsigned long best = ULONG_MAX;

    while (NULL != devices_dir && NULL != (entry = readdir(devices_dir))) {
        char *end;
        unsigned long number;

        if (0 != strncmp(entry->d_name, "vmshm", 5) || !isdigit((unsigned char) entry->d_name[5])) {
            continue;
        }
        number = strtoul(entry->d_name + 5, &end, 10);
        if ('\0' == *end && number < best) {
            best = number;
        }
    }
    if (NULL != devices_dir) {
        closedir(devices_dir);
    }
    if (ULONG_MAX == best) {
        return false;
    }
    return (size_t) snprintf(path, path_bytes, "%s/vmshm%lu", dir, best) < path_bytes;
}

int vmshm_provider_find(const char *wanted, char *path, size_t path_bytes, const char **provider,
                        struct vmshm_error *e)
{
    struct stat st;

    if (NULL == wanted || '\0' == wanted[0] || 0 == strcmp(wanted, "auto")) {
        if (vmshm_provider_find_kmod("/dev", path, path_bytes)) {
            *provider = "kmod";
            return VMSHM_OK;
        }
        for (size_t i = 0; i < sizeof devices / sizeof devices[0]; ++i) {
            if (0 == stat(devices[i], &st) && S_ISCHR(st.st_mode)) {
                snprintf(path, path_bytes, "%s", devices[i]);
                *provider = "chardev";
                return VMSHM_OK;
            }
        }
        *provider = "pci";
        return vmshm_provider_find_pci("/sys/bus/pci/devices", path, path_bytes, e);
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

int vmshm_provider_size(int fd, const char *path, uint64_t *bytes, struct vmshm_error *e)
{
    struct stat st;

    if (0 != fstat(fd, &st)) {
        return vmshm_fail_errno(e, path, "size", "fstat");
    }
    /* Devices such as /dev/mmapper say 0: the header tells, and mmap refuses what is not there. */
    *bytes = S_ISCHR(st.st_mode) ? UINT64_MAX : (uint64_t) st.st_size;
    return VMSHM_OK;
}
