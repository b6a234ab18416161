/* Finding the segment: forms of a path, devices, and the PCI bus as sysfs shows it. */
#include "unit.h"

#include <stdio.h>
#include <string.h>
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

static void no_bus(void **state)
{
    struct vmshm_error e = { 0 };
    char path[256];

    assert_int_equal(vmshm_provider_find_pci(unit_path(*state, "none"), path, sizeof path, &e),
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
    assert_int_equal(vmshm_provider_find_pci(*state, path, sizeof path, &e), VMSHM_ERR_ABSENT);
}

static void first_of_two(void **state)
{
    char path[256], enabled[4] = "";
    struct vmshm_error e;
    FILE *f;

    put_device(*state, "0000:00:07.0", "0x1af4\n", "0x1110\n");
    put_device(*state, "0000:00:05.0", "0x1af4\n", "0x1110\n");
    put_device(*state, "0000:00:02.0", "0x1af4\n", "0x1000\n");
    assert_int_equal(vmshm_provider_find_pci(*state, path, sizeof path, &e), VMSHM_OK);
    assert_string_equal(path, unit_path(*state, "0000:00:05.0/resource2"));
    /* Without memory decoding the mapping would read all ones. */
    f = fopen(unit_path(*state, "0000:00:05.0/enable"), "re");
    assert_non_null(f);
    assert_non_null(fgets(enabled, sizeof enabled, f));
    fclose(f);
    assert_int_equal(enabled[0], '1');
    f = fopen(unit_path(*state, "0000:00:07.0/enable"), "re");
    assert_non_null(f);
    assert_non_null(fgets(enabled, sizeof enabled, f));
    fclose(f);
    assert_int_equal(enabled[0], '0');
}

static void no_room_for_path(void **state)
{
    struct vmshm_error e;
    char path[16];

    put_device(*state, "0000:00:05.0", "0x1af4\n", "0x1110\n");
    assert_int_equal(vmshm_provider_find_pci(*state, path, sizeof path, &e), VMSHM_ERR_ABSENT);
}

static void module_of_lowest_number(void **state)
{
    char path[256], small[8];

    assert_false(vmshm_provider_find_kmod(unit_path(*state, "none"), path, sizeof path));
    unit_write_text(unit_path(*state, "vmshm"), "");
    unit_write_text(unit_path(*state, "vmshm1x"), "");
    unit_write_text(unit_path(*state, "vmshm-node"), "");
    assert_false(vmshm_provider_find_kmod(*state, path, sizeof path));
    unit_write_text(unit_path(*state, "vmshm10"), "");
    unit_write_text(unit_path(*state, "vmshm2"), "");
    assert_true(vmshm_provider_find_kmod(*state, path, sizeof path));
    assert_string_equal(path, unit_path(*state, "vmshm2"));
    assert_false(vmshm_provider_find_kmod(*state, small, sizeof small));
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

        if (vmshm_provider_find_kmod("/dev", path, sizeof path)) {
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
        IN_DIR(no_bus), IN_DIR(other_devices_only), IN_DIR(first_of_two), IN_DIR(no_room_for_path),
        IN_DIR(module_of_lowest_number),
        IN_DIR(named_paths), cmocka_unit_test(no_name_means_a_device), IN_DIR(sizes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
