/* SPDX-License-Identifier: BSD-3-Clause */
/* Who am I: SMBIOS before command line before parameter, and no bad number slips through. */
#include "unit.h"

#include <string.h>
#include <unistd.h>

#define BOOT_ID "0f6a9f5e-3c1b-4e0a-9d39-6f8f6bf1f1d2\n"

/* A raw SMBIOS record of type 11 with the given strings, each closed by a zero. */
static void put_smbios(const char *root, const char *strings, size_t bytes)
{
    uint8_t raw[512] = { 11, 5, 0, 14, 1 };

    memcpy(raw + 5, strings, bytes);
    unit_write(unit_path(root, "sys/firmware/dmi/entries/11-0/raw"), raw, 5 + bytes + 1);
}
#define PUT_SMBIOS(root, strings) put_smbios(root, strings, sizeof(strings))

static void put_command_line(const char *root, const char *line)
{
    unit_write_text(unit_path(root, "proc/cmdline"), line);
}

static void expect_id(const char *root, int param, uint32_t vm, const char *source)
{
    struct vmshm_identity id = { 0 };
    struct vmshm_error e = { 0 };

    if (VMSHM_OK != vmshm_identity_get(root, param, 64, &id, &e)) {
        fail_msg("%s: %s: %s", e.file, e.field, e.detail);
    }
    assert_int_equal(id.vm, vm);
    assert_string_equal(id.source, source);
    assert_true(0 != id.epoch);
}

static void expect_error(const char *root, int param, uint32_t vms, enum vmshm_code code,
                         const char *file)
{
    struct vmshm_identity id;
    struct vmshm_error e = { 0 };

    assert_int_equal(vmshm_identity_get(root, param, vms, &id, &e), code);
    assert_string_equal(e.file, file);
}

#define SMBIOS_FILE  "SMBIOS OEM string vmshm.vm-id"
#define CMDLINE_FILE "/proc/cmdline, vmshm.vm_id"
#define PARAM_FILE   "MCA parameter common_vmshm_vm_id"

static void smbios_single_string(void **state)
{
    const char *root = unit_root(*state, "root", BOOT_ID);

    PUT_SMBIOS(root, "vmshm.vm-id=5");
    expect_id(root, VMSHM_VM_ID_UNSET, 5, "SMBIOS");
}

static void smbios_among_others(void **state)
{
    const char *root = unit_root(*state, "root", BOOT_ID);

    PUT_SMBIOS(root, "vendor:x\0not-vmshm.vm-id=9\0vmshm.vm-id=12\0vmshm.vm-id=13");
    expect_id(root, VMSHM_VM_ID_UNSET, 12, "SMBIOS");
}

static void smbios_without_our_string(void **state)
{
    const char *root = unit_root(*state, "root", BOOT_ID);

    PUT_SMBIOS(root, "vendor:x\0vmshm.vm-idx=9");
    expect_id(root, 3, 3, "parameter");
}

static void smbios_bad_numbers(void **state)
{
    const char *root = unit_root(*state, "root", BOOT_ID);

    /* A wrong SMBIOS string is an error: falling through would give two VMs one id unnoticed. */
    PUT_SMBIOS(root, "vmshm.vm-id=");
    expect_error(root, 1, 64, VMSHM_ERR_VM_ID_RANGE, SMBIOS_FILE);
    PUT_SMBIOS(root, "vmshm.vm-id=-1");
    expect_error(root, 1, 64, VMSHM_ERR_VM_ID_RANGE, SMBIOS_FILE);
    PUT_SMBIOS(root, "vmshm.vm-id=1x");
    expect_error(root, 1, 64, VMSHM_ERR_VM_ID_RANGE, SMBIOS_FILE);
    PUT_SMBIOS(root, "vmshm.vm-id=0x1");
    expect_error(root, 1, 64, VMSHM_ERR_VM_ID_RANGE, SMBIOS_FILE);
    PUT_SMBIOS(root, "vmshm.vm-id= 1");
    expect_error(root, 1, 64, VMSHM_ERR_VM_ID_RANGE, SMBIOS_FILE);
    PUT_SMBIOS(root, "vmshm.vm-id=99999999999999999999999");
    expect_error(root, 1, 64, VMSHM_ERR_VM_ID_RANGE, SMBIOS_FILE);
    PUT_SMBIOS(root, "vmshm.vm-id=4294967296");
    expect_error(root, 1, 64, VMSHM_ERR_VM_ID_RANGE, SMBIOS_FILE);
}

static void smbios_truncated_record(void **state)
{
    const char *root = unit_root(*state, "root", BOOT_ID);
    const char *file = unit_path(root, "sys/firmware/dmi/entries/11-0/raw");

    for (size_t bytes = 0; bytes <= 5; ++bytes) {
        unit_write(file, "\013\005\0\0\001", bytes);
        expect_id(root, 2, 2, "parameter");
    }
    /* The last string lacks its zero. */
    unit_write(file, "\013\005\0\0\001vmshm.vm-id=7", 5 + 13);
    expect_id(root, 2, 7, "SMBIOS");
}

static void command_line(void **state)
{
    const char *root = unit_root(*state, "root", BOOT_ID);

    put_command_line(root, "root=/dev/vda ro vmshm.vm_id=4 quiet\n");
    expect_id(root, VMSHM_VM_ID_UNSET, 4, "kernel command line");
    put_command_line(root, "vmshm.vm_id=63\n");
    expect_id(root, VMSHM_VM_ID_UNSET, 63, "kernel command line");
    put_command_line(root, "ro vmshm.vm_id=8");
    expect_id(root, VMSHM_VM_ID_UNSET, 8, "kernel command line");
    /* Words that only contain the name. */
    put_command_line(root, "xvmshm.vm_id=8 vmshm.vm_idx=9\n");
    expect_error(root, VMSHM_VM_ID_UNSET, 64, VMSHM_ERR_NO_VM_ID, "(VM identity)");
}

static void command_line_bad_numbers(void **state)
{
    static const char *const lines[] = {
        "vmshm.vm_id=\n", "vmshm.vm_id=-1\n", "vmshm.vm_id=two\n", "vmshm.vm_id=1,2\n",
        "vmshm.vm_id=64\n", "vmshm.vm_id=9223372036854775808\n"
    };
    const char *root = unit_root(*state, "root", BOOT_ID);

    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; ++i) {
        put_command_line(root, lines[i]);
        expect_error(root, 1, 64, VMSHM_ERR_VM_ID_RANGE, CMDLINE_FILE);
    }
}

static void precedence(void **state)
{
    const char *root = unit_root(*state, "root", BOOT_ID);

    expect_id(root, 1, 1, "parameter");
    put_command_line(root, "vmshm.vm_id=2");
    expect_id(root, 1, 2, "kernel command line");
    PUT_SMBIOS(root, "vmshm.vm-id=3");
    expect_id(root, 1, 3, "SMBIOS");
}

static void range(void **state)
{
    const char *root = unit_root(*state, "root", BOOT_ID);

    expect_id(root, 0, 0, "parameter");
    expect_id(root, 63, 63, "parameter");
    expect_error(root, 64, 64, VMSHM_ERR_VM_ID_RANGE, PARAM_FILE);
    expect_error(root, 1, 1, VMSHM_ERR_VM_ID_RANGE, PARAM_FILE);
    expect_error(root, -5, 64, VMSHM_ERR_VM_ID_RANGE, PARAM_FILE);
    PUT_SMBIOS(root, "vmshm.vm-id=2");
    expect_error(root, 0, 2, VMSHM_ERR_VM_ID_RANGE, SMBIOS_FILE);
}

static void nobody(void **state)
{
    expect_error(unit_root(*state, "root", BOOT_ID), VMSHM_VM_ID_UNSET, 64, VMSHM_ERR_NO_VM_ID,
                 "(VM identity)");
}

static uint64_t epoch_of(const char *dir, const char *name, const char *boot_id)
{
    struct vmshm_identity id;
    struct vmshm_error e;

    assert_int_equal(vmshm_identity_get(unit_root(dir, name, boot_id), 0, 1, &id, &e), VMSHM_OK);
    return id.epoch;
}

static void epoch(void **state)
{
    const uint64_t a = epoch_of(*state, "a", BOOT_ID);

    assert_true(a == epoch_of(*state, "b", BOOT_ID));
    /* Either half of the boot id counts. */
    assert_true(a != epoch_of(*state, "c", "1f6a9f5e-3c1b-4e0a-9d39-6f8f6bf1f1d2\n"));
    assert_true(a != epoch_of(*state, "d", "0f6a9f5e-3c1b-4e0a-9d39-6f8f6bf1f1d3\n"));
    assert_true(0 != epoch_of(*state, "e", "00000000-0000-0000-0000-000000000000\n"));
}

static void no_boot_id(void **state)
{
    struct vmshm_identity id;
    struct vmshm_error e;

    assert_int_equal(vmshm_identity_get(unit_path(*state, "empty"), 0, 1, &id, &e),
                     VMSHM_ERR_ABSENT);
    assert_string_equal(e.field, "epoch");
}

static void random_words(void **state)
{
    uint64_t all = 0, seen = vmshm_random64();

    (void) state;
    for (int i = 0; i < 64; ++i) {
        const uint64_t word = vmshm_random64();

        assert_true(0 != word && word != seen);
        seen = word;
        all |= word;
    }
    assert_true(UINT64_MAX == all);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, unit_setup, unit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(smbios_single_string), IN_DIR(smbios_among_others),
        IN_DIR(smbios_without_our_string), IN_DIR(smbios_bad_numbers),
        IN_DIR(smbios_truncated_record), IN_DIR(command_line), IN_DIR(command_line_bad_numbers),
        IN_DIR(precedence), IN_DIR(range), IN_DIR(nobody), IN_DIR(epoch), IN_DIR(no_boot_id),
        cmocka_unit_test(random_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
