/* SPDX-License-Identifier: BSD-3-Clause */
/* Finding the segment: forms of a path, devices, and the PCI bus as sysfs shows it. */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vmshm_provider.h"

static void put_device(const char *bus, const char *address, const char *vendor,
                       const char *device)
{
    const char *dir = unit_path(bus, address);

    unit_write_text(unit_path(dir, "vendor"), vendor);
    unit_write_text(unit_path(dir, "device"), device);
    unit_write_text(unit_path(dir, "enable"), "0\n");
}

enum content { SEGMENT, ZEROS, ONES, OTHER };

static const uint8_t first_uuid[16] = { 0xab, 0xcd, 1 };

static void put_content(const char *path, enum content content, const uint8_t uuid[16])
{
    uint8_t image[2 * VMSHM_CHECKED_BYTES];

    memset(image, ONES == content ? 0xff : 0, sizeof image);
    if (SEGMENT == content) {
        struct vmshm_header h;

        unit_image(image, 2, 8, 64, 16 * UNIT_MIB, 0);
        memcpy(&h, image, sizeof h);
        memcpy(h.segment_uuid, uuid, sizeof h.segment_uuid);
        memcpy(image, &h, sizeof h);
        unit_image_seal(image);
    } else if (OTHER == content) {
        memcpy(image, "KVMFR---", 8);
    }
    unit_write(path, image, sizeof image);
}

static void put_ivshmem(const char *bus, const char *address, enum content content,
                        const uint8_t uuid[16])
{
    put_device(bus, address, "0x1af4\n", "0x1110\n");
    put_content(unit_path(unit_path(bus, address), "resource2"), content, uuid);
}

static char enable_of(const char *bus, const char *address)
{
    FILE *f = fopen(unit_path(unit_path(bus, address), "enable"), "re");
    char text[4] = "";

    assert_non_null(f);
    assert_non_null(fgets(text, sizeof text, f));
    fclose(f);
    return text[0];
}

#define LONG_AGO 1000

/* Files that nobody writes keep this time. */
static void make_old(const char *bus, const char *address)
{
    const struct timespec times[2] = { { .tv_sec = LONG_AGO }, { .tv_sec = LONG_AGO } };

    assert_int_equal(utimensat(AT_FDCWD, unit_path(unit_path(bus, address), "enable"), times, 0), 0);
}

static bool is_old(const char *bus, const char *address)
{
    struct stat st;

    assert_int_equal(stat(unit_path(unit_path(bus, address), "enable"), &st), 0);
    return LONG_AGO == st.st_mtime;
}

static void no_bus(void **state)
{
    struct vmshm_error e = { 0 };
    char path[256];

    assert_int_equal(vmshm_provider_find_pci(unit_path(*state, "none"), NULL, path, sizeof path, &e),
                     VMSHM_ERR_ABSENT);
    assert_string_equal(e.field, "common_vmshm_segment");
}

static void other_devices_only(void **state)
{
    struct vmshm_error e;
    char path[256];

    put_device(*state, "0000:00:01.0", "0x8086\n", "0x1110\n");
    put_device(*state, "0000:00:02.0", "0x1af4\n", "0x1000\n");
    put_device(*state, "0000:00:03.0", "", "");
    unit_mkdirs(unit_path(*state, "0000:00:04.0"));
    assert_int_equal(vmshm_provider_find_pci(*state, NULL, path, sizeof path, &e), VMSHM_ERR_ABSENT);
}

/* Looking Glass, somebody's zeros, and a device that does not answer lie before it. */
static void segment_behind_others(void **state)
{
    char path[256];
    struct vmshm_error e;

    put_ivshmem(*state, "0000:00:05.0", OTHER, NULL);
    put_ivshmem(*state, "0000:00:06.0", ZEROS, NULL);
    put_ivshmem(*state, "0000:00:07.0", ONES, NULL);
    put_ivshmem(*state, "0000:00:08.0", SEGMENT, first_uuid);
    put_ivshmem(*state, "0000:00:09.0", OTHER, NULL);
    put_device(*state, "0000:00:02.0", "0x1af4\n", "0x1000\n");
    put_device(*state, "0000:00:03.0", "0x1af4\n", "0x1110\n");     /* without a BAR 2 */
    make_old(*state, "0000:00:05.0");
    make_old(*state, "0000:00:06.0");
    make_old(*state, "0000:00:09.0");
    assert_int_equal(vmshm_provider_find_pci(*state, NULL, path, sizeof path, &e), VMSHM_OK);
    assert_string_equal(path, unit_path(*state, "0000:00:08.0/resource2"));
    /* What could be seen as it is was not written to at all. */
    assert_true(is_old(*state, "0000:00:05.0") && is_old(*state, "0000:00:06.0")
                && is_old(*state, "0000:00:09.0"));
    /* The kernel need not keep decoding what nobody switched on; the others are as they were. */
    assert_int_equal(enable_of(*state, "0000:00:08.0"), '1');
    for (int i = 3; i < 10; ++i) {
        char address[16];

        snprintf(address, sizeof address, "0000:00:0%d.0", i);
        if (8 != i && 4 != i) {
            assert_int_equal(enable_of(*state, address), '0');
        }
    }
}

static void none_holds_a_segment(void **state)
{
    struct vmshm_error e = { 0 };
    char path[256];

    put_ivshmem(*state, "0000:00:05.0", OTHER, NULL);
    put_ivshmem(*state, "0000:00:06.0", ZEROS, NULL);
    put_ivshmem(*state, "0000:00:07.0", ONES, NULL);
    assert_int_equal(vmshm_provider_find_pci(*state, NULL, path, sizeof path, &e), VMSHM_ERR_ABSENT);
    assert_non_null(strstr(e.detail, "0000:00:05.0 (something else), 0000:00:06.0 (zeros), "
                                     "0000:00:07.0 (switched off)"));
    for (int i = 5; i < 8; ++i) {
        char address[16];

        snprintf(address, sizeof address, "0000:00:0%d.0", i);
        assert_int_equal(enable_of(*state, address), '0');
    }
}

/* A device with a driver, or switched on by somebody, is left as it is. */
static void used_devices_are_not_switched(void **state)
{
    struct vmshm_error e;
    char path[256];

    put_ivshmem(*state, "0000:00:05.0", ONES, NULL);
    unit_mkdirs(unit_path(*state, "0000:00:05.0/driver"));
    put_ivshmem(*state, "0000:00:06.0", ONES, NULL);
    unit_write_text(unit_path(*state, "0000:00:06.0/enable"), "3\n");
    put_ivshmem(*state, "0000:00:07.0", SEGMENT, first_uuid);
    unit_write_text(unit_path(*state, "0000:00:07.0/enable"), "2\n");
    assert_int_equal(vmshm_provider_find_pci(*state, NULL, path, sizeof path, &e), VMSHM_OK);
    assert_string_equal(path, unit_path(*state, "0000:00:07.0/resource2"));
    assert_int_equal(enable_of(*state, "0000:00:05.0"), '0');
    assert_int_equal(enable_of(*state, "0000:00:06.0"), '3');
    assert_int_equal(enable_of(*state, "0000:00:07.0"), '2');
}

#define FIRST_UUID  "abcd0100-0000-0000-0000-000000000000"
#define SECOND_UUID "ABCD0200000000000000000000000000"

static void expect_in(const char *dir, const char *wanted, const char *provider, const char *found)
{
    const char *its = "none";
    struct vmshm_error e = { 0 };
    char path[256];
    int rc = vmshm_provider_find_in(dir, dir, wanted, path, sizeof path, &its, &e);

    if (NULL == found) {
        assert_int_equal(rc, VMSHM_ERR_ABSENT);
        assert_string_equal(e.field, "common_vmshm_segment");
        return;
    }
    if (VMSHM_OK != rc) {
        fail_msg("%s: %s", wanted, e.detail);
    }
    assert_string_equal(its, provider);
    assert_string_equal(path, unit_path(dir, found));
}

static void one_of_several(void **state)
{
    const uint8_t second[16] = { 0xab, 0xcd, 2 };
    struct vmshm_error e = { 0 };
    const char *provider;
    char path[256];

    put_ivshmem(*state, "0000:00:05.0", OTHER, NULL);
    put_ivshmem(*state, "0000:00:07.0", SEGMENT, second);
    put_ivshmem(*state, "0000:00:06.0", SEGMENT, first_uuid);
    expect_in(*state, "auto", "pci", "0000:00:06.0/resource2");
    expect_in(*state, FIRST_UUID, "pci", "0000:00:06.0/resource2");
    assert_int_equal(enable_of(*state, "0000:00:07.0"), '0');
    expect_in(*state, SECOND_UUID, "pci", "0000:00:07.0/resource2");
    expect_in(*state, "abcd0300-0000-0000-0000-000000000000", "pci", NULL);
    expect_in(*state, "0000:00:07.0", "pci", "0000:00:07.0/resource2");
    expect_in(*state, "00:06.0", "pci", "0000:00:06.0/resource2");
    expect_in(*state, "00:08.0", "pci", NULL);
    put_device(*state, "0000:00:09.0", "0x1af4\n", "0x1000\n");
    assert_int_equal(vmshm_provider_find_in(*state, *state, "00:09.0", path, sizeof path, &provider,
                                            &e), VMSHM_ERR_FIELD);
    assert_int_equal(enable_of(*state, "0000:00:09.0"), '0');
    /* Where the module is, its node. */
    unit_mkdirs(unit_path(*state, "0000:00:07.0/misc/vmshm1"));
    expect_in(*state, "0000:00:07.0", "kmod", "vmshm1");
}

static void no_room_for_path(void **state)
{
    struct vmshm_error e;
    char path[16];

    put_ivshmem(*state, "0000:00:05.0", SEGMENT, first_uuid);
    assert_int_equal(vmshm_provider_find_pci(*state, NULL, path, sizeof path, &e), VMSHM_ERR_ABSENT);
}

static void module_of_lowest_number(void **state)
{
    const uint8_t second[16] = { 0xab, 0xcd, 2 };
    char path[256], small[8];

    assert_false(vmshm_provider_find_kmod(unit_path(*state, "none"), NULL, path, sizeof path));
    unit_write_text(unit_path(*state, "vmshm"), "");
    unit_write_text(unit_path(*state, "vmshm1x"), "");
    unit_write_text(unit_path(*state, "vmshm-node"), "");
    assert_false(vmshm_provider_find_kmod(*state, NULL, path, sizeof path));
    unit_write_text(unit_path(*state, "vmshm10"), "");
    unit_write_text(unit_path(*state, "vmshm2"), "");
    assert_true(vmshm_provider_find_kmod(*state, NULL, path, sizeof path));
    assert_string_equal(path, unit_path(*state, "vmshm2"));
    assert_false(vmshm_provider_find_kmod(*state, NULL, small, sizeof small));
    assert_false(vmshm_provider_find_kmod(*state, first_uuid, path, sizeof path));
    /* The first one that holds a segment. */
    put_content(unit_path(*state, "vmshm11"), SEGMENT, second);
    put_content(unit_path(*state, "vmshm10"), SEGMENT, first_uuid);
    expect_in(*state, "auto", "kmod", "vmshm10");
    expect_in(*state, FIRST_UUID, "kmod", "vmshm10");
    expect_in(*state, SECOND_UUID, "kmod", "vmshm11");
}

static void expect_find(const char *wanted, enum vmshm_code code, const char *provider)
{
    struct vmshm_error e = { 0 };
    const char *found = "none";
    char path[256];

    assert_int_equal(vmshm_provider_find(wanted, path, sizeof path, &found, &e), code);
    if (VMSHM_OK == code) {
        assert_string_equal(found, provider);
        assert_string_equal(path, wanted);
    } else {
        assert_string_equal(e.field, "common_vmshm_segment");
    }
}

static void named_paths(void **state)
{
    const char *file = unit_path(*state, "file");
    const char *link = unit_path(*state, "link");
    char name[300];

    unit_write_text(file, "x");
    assert_int_equal(symlink(file, link), 0);
    expect_find(file, VMSHM_OK, "file");
    expect_find(link, VMSHM_OK, "file");
    expect_find("/dev/zero", VMSHM_OK, "chardev");
    expect_find(*state, VMSHM_ERR_FIELD, NULL);
    expect_find(unit_path(*state, "none"), VMSHM_ERR_ABSENT, NULL);
    expect_find(unit_path(*state, "file/below"), VMSHM_ERR_SYSTEM, NULL);
    memset(name, 'x', sizeof name);
    name[0] = '/';
    name[sizeof name - 1] = '\0';
    expect_find(name, VMSHM_ERR_ABSENT, NULL);
}

static void no_name_means_a_device(void **state)
{
    static const char *const wanted[] = { NULL, "", "auto" };

    (void) state;
    for (int i = 0; i < 3; ++i) {
        struct vmshm_error e = { 0 };
        const char *found = "none";
        char path[256];
        const int rc = vmshm_provider_find(wanted[i], path, sizeof path, &found, &e);

        if (vmshm_provider_find_kmod("/dev", NULL, path, sizeof path)) {
            assert_int_equal(rc, VMSHM_OK);
            assert_string_equal(found, "kmod");
        } else if (0 == access("/dev/mmapper", F_OK)) {
            assert_int_equal(rc, VMSHM_OK);
            assert_string_equal(found, "chardev");
        } else {
            /* A QEMU guest has the device, a host has none. */
            assert_string_equal(found, "pci");
            assert_true(VMSHM_OK == rc ? NULL != strstr(path, "/resource2")
                                       : VMSHM_ERR_ABSENT == rc);
        }
    }
}

/* User-Mode Linux's device counts if it holds a segment, or if nothing does. */
static void mmapper_without_a_segment(void **state)
{
    const char *const *dirs = (const char *const[]) { unit_path(*state, "dev"), unit_path(*state, "bus") };
    const char *provider = "none";
    char path[256];
    struct vmshm_error e;

    assert_int_equal(0, mkdir(dirs[0], 0700) | mkdir(dirs[1], 0700));
    assert_int_equal(0, symlink("/dev/null", unit_path(dirs[0], "mmapper")));
    assert_int_equal(VMSHM_OK, vmshm_provider_find_in(dirs[0], dirs[1], "auto", path, sizeof path, &provider, &e));
    assert_string_equal(provider, "chardev");
    put_ivshmem(dirs[1], "0000:00:05.0", SEGMENT, first_uuid);
    assert_int_equal(VMSHM_OK, vmshm_provider_find_in(dirs[0], dirs[1], "auto", path, sizeof path, &provider, &e));
    assert_string_equal(provider, "pci");
}

static void sizes(void **state)
{
    const char *file = unit_path(*state, "file");
    struct vmshm_error e;
    uint64_t bytes = 0;
    FILE *f;

    unit_write_text(file, "12345");
    f = fopen(file, "re");
    assert_non_null(f);
    assert_int_equal(vmshm_provider_size(fileno(f), file, &bytes, &e), VMSHM_OK);
    assert_int_equal(bytes, 5);
    fclose(f);
    f = fopen("/dev/zero", "re");
    assert_non_null(f);
    assert_int_equal(vmshm_provider_size(fileno(f), "/dev/zero", &bytes, &e), VMSHM_OK);
    assert_true(UINT64_MAX == bytes);
    fclose(f);
    assert_int_equal(vmshm_provider_size(-1, file, &bytes, &e), VMSHM_ERR_SYSTEM);
    assert_string_equal(e.field, "size");
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, unit_setup, unit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIR(no_bus), IN_DIR(other_devices_only), IN_DIR(segment_behind_others),
        IN_DIR(none_holds_a_segment), IN_DIR(used_devices_are_not_switched), IN_DIR(one_of_several),
        IN_DIR(no_room_for_path),
        IN_DIR(module_of_lowest_number),
        IN_DIR(named_paths), cmocka_unit_test(no_name_means_a_device), IN_DIR(mmapper_without_a_segment),
        IN_DIR(sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
