/* SPDX-License-Identifier: BSD-3-Clause */
#include "vmshm_identity.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "vmshm_format.h"

/* Read up to bytes-1 bytes of a file and fill the rest of the buffer with zeros. Returns -1 if the file cannot be
 * opened. */
static long slurp(const char *root, const char *name, char *buf, size_t bytes)
{
    char path[512];
    size_t got;
    FILE *f;

    memset(buf, 0, bytes);
    snprintf(path, sizeof path, "%s%s", root, name);
    f = fopen(path, "re");
    if (NULL == f) {
        return -1;
    }
    got = fread(buf, 1, bytes - 1, f);
    fclose(f);
    return (long) got;
}

/* Returns 0 if text does not begin with key. Else *id is the number after it, or VMSHM_VM_ID_BAD if what follows is
 * not a number that ends at white space or at the end of the text. */
static int parse_id(const char *text, const char *key, long *id)
{
    const size_t key_bytes = strlen(key);
    char *end;

    if (0 != strncmp(text, key, key_bytes)) {
        return 0;
    }
    if (!isdigit((unsigned char) text[key_bytes])) {
        *id = VMSHM_VM_ID_BAD;
        return 1;
    }
    errno = 0;
    *id = strtol(text + key_bytes, &end, 10);
    if (0 != errno || ('\0' != *end && !isspace((unsigned char) *end))) {
        *id = VMSHM_VM_ID_BAD;
    }
    return 1;
}

int vmshm_identity_parse(const char *text)
{
    char *end;
    long id;

    if (NULL == text || '\0' == text[0] || 0 == strcmp(text, "-1")) {
        return VMSHM_VM_ID_UNSET;
    }
    id = strtol(text, &end, 10);
    return '\0' == *end && id >= 0 && id <= INT_MAX ? (int) id : VMSHM_VM_ID_BAD;
}

/* SMBIOS type 11: a header of four bytes, a count, then zero-terminated strings. */
static int from_smbios(const char *root, long *id)
{
    char raw[4096];
    long got = slurp(root, "/sys/firmware/dmi/entries/11-0/raw", raw, sizeof raw);

    for (long at = 5; at < got; at += (long) strlen(raw + at) + 1) {
        if (parse_id(raw + at, "vmshm.vm-id=", id)) {
            return 1;
        }
    }
    return 0;
}

static int from_command_line(const char *root, long *id)
{
    char line[4096];
    char *save = NULL;

    if (slurp(root, "/proc/cmdline", line, sizeof line) < 0) {
        return 0;
    }
    for (char *word = strtok_r(line, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
        if (parse_id(word, "vmshm.vm_id=", id)) {
            return 1;
        }
    }
    return 0;
}

static uint64_t boot_epoch(const char *root)
{
    char text[64];
    uint64_t epoch = 0;

    if (slurp(root, "/proc/sys/kernel/random/boot_id", text, sizeof text) <= 0) {
        return 0;
    }
    for (const char *p = text; '\0' != *p; ++p) {
        if (isxdigit((unsigned char) *p)) {
            const int digit = isdigit((unsigned char) *p) ? *p - '0' : tolower(*p) - 'a' + 10;
            /* Fold all 128 bits into 64. */
            epoch = (epoch << 4 | epoch >> 60) ^ (uint64_t) digit;
        }
    }
    return 0 == epoch ? 1 : epoch;
}

int vmshm_identity_get(const char *root, int param, uint32_t vms, struct vmshm_identity *id,
                       struct vmshm_error *e)
{
    const char *file = "(VM identity)";
    long vm = -1;

    if (from_smbios(root, &vm)) {
        id->source = "SMBIOS";
        file = "SMBIOS OEM string vmshm.vm-id";
    } else if (from_command_line(root, &vm)) {
        id->source = "kernel command line";
        file = "/proc/cmdline, vmshm.vm_id";
    } else if (VMSHM_VM_ID_UNSET != param) {
        id->source = "parameter";
        file = "MCA parameter common_vmshm_vm_id";
        vm = param;
    } else {
        return vmshm_fail(e, VMSHM_ERR_NO_VM_ID, file, "vm_id", "no SMBIOS OEM string "
                          "vmshm.vm-id=N that this user can read, no vmshm.vm_id=N on the kernel "
                          "command line, and common_vmshm_vm_id is not set");
    }
    if (VMSHM_VM_ID_BAD == vm) {
        return vmshm_fail(e, VMSHM_ERR_VM_ID_RANGE, file, "vm_id", "it is not a number");
    }
    if (vm < 0 || vm >= (long) vms) {
        return vmshm_fail(e, VMSHM_ERR_VM_ID_RANGE, file, "vm_id",
                          "%ld is not in the segment's table, which has VMs 0 to %u", vm, vms - 1);
    }
    id->vm = (uint32_t) vm;
    id->epoch = boot_epoch(root);
    if (0 == id->epoch) {
        return vmshm_fail_errno(e, "/proc/sys/kernel/random/boot_id", "epoch", "read");
    }
    return VMSHM_OK;
}

uint64_t vmshm_random64(void)
{
    uint64_t value = 0;

    while (0 == value) {
        if (sizeof value != getrandom(&value, sizeof value, 0)) {
            value = 0;
        }
    }
    return value;
}
