/* SPDX-License-Identifier: BSD-3-Clause */
/* vmshmctl create: what it makes, and what it refuses. */
#include "ctl.h"

static void create_defaults(void **state)
{
    const char *path = unit_path(*state, "segment");
    struct stat st;
    cJSON *json;
    DIR *dir;
    int files = 0;

    must(*state, "create", "--sparse", path);
    assert_string_equal(out, "");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 1024 * UNIT_MIB);
    assert_int_equal(st.st_mode & 0777, 0660);
    assert_true(st.st_blocks * 512 < (blkcnt_t) UNIT_MIB);
    json = show_json(*state, path);
    assert_string_equal(string(json, "path"), path);
    assert_int_equal(number(json, "format"), VMSHM_FORMAT_VERSION);
    assert_int_equal(number(json, "total_bytes"), 1024 * UNIT_MIB);
    assert_int_equal(number(json, "page_bytes"), 4096);
    assert_int_equal(strlen(string(json, "segment_uuid")), 36);
    assert_int_equal(strlen(string(json, "node_uuid")), 36);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(json, "vms")), 2);
    for (int i = 0; i < 2; ++i) {
        const cJSON *vm = vm_of(json, i);

        assert_int_equal(number(vm, "vm"), i);
        assert_int_equal(number(vm, "offset"), 2 * UNIT_MIB + (uint64_t) i * 510 * UNIT_MIB);
        assert_int_equal(number(vm, "length"), 510 * UNIT_MIB);
        assert_int_equal(number(vm, "open_offset"), 510 * UNIT_MIB);
        assert_string_equal(string(vm, "state"), "never");
        assert_string_equal(string(vm, "mark"), "unknown");
        assert_int_equal(number(vm, "used_bytes"), 0);
        assert_true(cJSON_IsNull(cJSON_GetObjectItem(vm, "numa_node")));
    }
    cJSON_Delete(json);
    /* The temporary file has become the segment. */
    dir = opendir(*state);
    for (struct dirent *entry; NULL != (entry = readdir(dir));) {
        files += '.' != entry->d_name[0];
    }
    closedir(dir);
    assert_int_equal(files, 1);
}

static void create_options(void **state)
{
    const char *path = unit_path(*state, "segment");
    struct stat st;
    cJSON *json;

    must(*state, "create", "--sparse", "--size", "128M", "--vms", "3", "--section", "1:64M",
         "--open", "25%", "--procs", "16", "--windows", "128", "--mode", "0600", "--numa", "1:0",
         path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    json = show_json(*state, path);
    assert_int_equal(number(json, "procs"), 16);
    assert_int_equal(number(json, "windows"), 128);
    assert_int_equal(number(vm_of(json, 0), "length"), 30 * UNIT_MIB);
    assert_int_equal(number(vm_of(json, 1), "length"), 64 * UNIT_MIB);
    assert_int_equal(number(vm_of(json, 2), "length"), 30 * UNIT_MIB);
    assert_int_equal(number(vm_of(json, 2), "offset"), 96 * UNIT_MIB);
    /* A quarter of the 28 MiB behind the tables. */
    assert_int_equal(number(vm_of(json, 0), "open_offset"), 23 * UNIT_MIB);
    assert_int_equal(number(vm_of(json, 1), "numa_node"), 0);
    assert_true(cJSON_IsNull(cJSON_GetObjectItem(vm_of(json, 0), "numa_node")));
    cJSON_Delete(json);
    must(*state, "check", path);
}

static void create_sizes_from_sections(void **state)
{
    const char *path = unit_path(*state, "segment");
    struct stat st;

    must(*state, "create", "--sparse", "--section-size", "20M", "--vms", "3", path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 64 * UNIT_MIB);
    unlink(path);
    must(*state, "create", "--sparse", "--section-size", "20M", "--vms", "3", "--any-size", path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 62 * UNIT_MIB);
    expect_status(run(*state, "qemu-args", "--vm", "0", path), 1);
    assert_contains(err, "power of two");
}

static void create_allocates(void **state)
{
    const char *path = unit_path(*state, "segment");
    struct stat st;

    must(*state, "create", "--size", "16M", path);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_blocks * 512 >= (blkcnt_t) (16 * UNIT_MIB));
}

static void create_uuids_differ(void **state)
{
    char first[40];
    cJSON *json;

    must(*state, "create", "--sparse", "--size", "16M", unit_path(*state, "a"));
    must(*state, "create", "--sparse", "--size", "16M", unit_path(*state, "b"));
    json = show_json(*state, unit_path(*state, "a"));
    strcpy(first, string(json, "segment_uuid"));
    cJSON_Delete(json);
    json = show_json(*state, unit_path(*state, "b"));
    assert_string_not_equal(first, string(json, "segment_uuid"));
    cJSON_Delete(json);
}

static void create_refuses(void **state)
{
    static const struct {
        const char *arguments[6];
        int status;
        const char *says;
    } cases[] = {
        { { "--size", "3G" }, 2, "--size 2G or --size 4G; or --any-size" },
        { { "--size", "3Q" }, 2, "is not a size" },
        { { "--size", "0" }, 2, "is not a size" },
        { { "--size", "-1G" }, 2, "is not a size" },
        { { "--size", "99999999999T" }, 2, "is not a size" },
        { { "--size" }, 2, "it needs a value" },
        { { "--size", "2M" }, 2, "tables" },
        { { "--size", "16M", "--vms", "64" }, 2, "tables" },
        { { "--size", "5001K", "--any-size" }, 2, "not a multiple of the file system's page" },
        { { "--vms", "0" }, 2, "1 .. 64" },
        { { "--vms", "65" }, 2, "1 .. 64" },
        { { "--procs", "1025" }, 2, "1 .. 1024" },
        { { "--windows", "100" }, 2, "multiple of 64" },
        { { "--section", "1" }, 2, "--section 1:512M" },
        { { "--section", "2:16M" }, 2, "only VMs 0 to 1" },
        { { "--section", "1:3M" }, 2, "not a multiple of 2M" },
        { { "--section", "1:2G" }, 2, "tables" },
        { { "--open", "101%" }, 2, "0% .. 100%" },
        { { "--size", "64M", "--open", "100%" }, 2, "leaves less than 2M" },
        { { "--open", "2G" }, 2, "not a part" },
        { { "--numa", "0" }, 2, "--numa auto" },
        { { "--numa", "0:777", "--sparse" }, 1, "no NUMA node 777" },
        { { "--mode", "888" }, 2, "not a mode" },
        { { "--group", "no-such-group-here", "--sparse" }, 1, "no group" },
        { { "--size", "8T" }, 1, "--size" },
        { { "--colour", "red" }, 2, "no such option" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        const char *argv[10] = { "vmshmctl", "create" };
        int n = 2;

        for (int k = 0; k < 6 && NULL != cases[i].arguments[k]; ++k) {
            argv[n++] = cases[i].arguments[k];
        }
        argv[n] = 3 == n && 0 == strcmp(argv[2], "--size") ? NULL : unit_path(*state, "segment");
        expect_status(run_argv(*state, argv), cases[i].status);
        assert_contains(err, cases[i].says);
        /* Nothing half-made stays, under no name. */
        assert_int_equal(rmdir(*state), 0);
        assert_int_equal(mkdir(*state, 0700), 0);
    }
    expect_status(run(*state, "create"), 2);
    expect_status(run(*state, "create", "a", "b"), 2);
    expect_status(run(*state, "create", "--sparse", unit_path(*state, "no/such/dir")), 1);
    assert_contains(err, "Make the directory first");
}

static void create_over_existing(void **state)
{
    const char *path = unit_path(*state, "segment");
    struct stat before, after;
    const char word[] = "precious";

    must(*state, "create", "--sparse", "--size", "64M", path);
    assert_int_equal(stat(path, &before), 0);
    poke(path, 40 * UNIT_MIB, 0x1234, 8);
    poke(path, VMSHM_MARK_OFFSET, VMSHM_MARK_GONE, 4);
    expect_status(run(*state, "create", "--sparse", "--size", "64M", path), 3);
    assert_contains(err, "--force");
    assert_true(0x1234 == peek(path, 40 * UNIT_MIB, 8));

    /* Another size cannot be had by VMs that have the file attached. */
    expect_status(run(*state, "create", "--force", "--sparse", "--size", "32M", path), 1);
    assert_contains(err, "67108864");

    must(*state, "create", "--force", "--sparse", "--size", "64M", path);
    assert_int_equal(stat(path, &after), 0);
    assert_true(before.st_ino == after.st_ino);
    assert_int_equal(peek(path, 40 * UNIT_MIB, 8), 0);
    assert_int_equal(peek(path, VMSHM_MARK_OFFSET, 4), 0);
    must(*state, "check", path);

    unit_write(unit_path(*state, "other"), word, sizeof word);
    assert_int_equal(truncate(unit_path(*state, "other"), 64 * (off_t) UNIT_MIB), 0);
    expect_status(run(*state, "create", "--force", "--sparse", "--size", "64M",
                      unit_path(*state, "other")), 1);
    assert_contains(err, "Nothing was changed");
    expect_status(run(*state, "destroy", "--force", unit_path(*state, "other")), 1);
    slurp(unit_path(*state, "other"), out, sizeof word);
    assert_memory_equal(out, word, sizeof word - 1);

    expect_status(run(*state, "create", "--force", "--sparse", *state), 1);
    expect_status(run(*state, "create", "--force", "--sparse", "/dev/null"), 1);
}

/* QEMU that is started too early makes a file of zeros: there is nothing to lose in it. On a disk
 * such a beginning means nothing. */
static void create_fills_file_of_zeros(void **state)
{
    const char *file = unit_path(*state, "zeros");
    char shm[64];
    struct stat before, after = { 0 };
    int status;

    unit_write_text(file, "");
    assert_int_equal(truncate(file, 64 * (off_t) UNIT_MIB), 0);
    status = run(*state, "create", "--sparse", "--size", "64M", file);
    /* The temporary directory may itself be a tmpfs. */
    expect_status(status, NULL == strstr(err, "a file is there already") ? 0 : 3);

    snprintf(shm, sizeof shm, "/dev/shm/vmshm-unit-zeros-%d", (int) getpid());
    unit_write_text(shm, "");
    assert_int_equal(truncate(shm, 64 * (off_t) UNIT_MIB), 0);
    assert_int_equal(stat(shm, &before), 0);
    status = run(*state, "create", "--sparse", "--size", "64M", shm);
    if (0 == status) {
        status = 10 * run(*state, "check", shm);
    }
    (void) stat(shm, &after);
    unlink(shm);
    expect_status(status, 0);
    assert_true(before.st_ino == after.st_ino);
}

/* Where nobody could open it, or somebody would look for something else. */
static void create_refuses_paths(void **state)
{
    static const char *const names[] = { "auto", "00:05.0", "0000:00:05.0", "0123456789abcdef0123456789abcdef" };
    char path[400];

    for (int i = 0; i < 4; ++i) {
        expect_status(run(*state, "create", names[i]), 2);
        assert_contains(err, "./NAME");
        assert_int_not_equal(0, access(names[i], F_OK));
    }
    snprintf(path, sizeof path, "%s/", (const char *) *state);
    memset(path + strlen(path), 'a', 300 - strlen(path));
    path[300] = '\0';
    expect_status(run(*state, "create", path), 2);
    assert_contains(err, "longer than 255 bytes");
    expect_status(run(*state, "reset-vm", "--vm", "0", ""), 2);
    assert_contains(err, "it is empty");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EMPTY(create_defaults),
        EMPTY(create_options),
        EMPTY(create_sizes_from_sections),
        EMPTY(create_allocates),
        EMPTY(create_uuids_differ),
        EMPTY(create_refuses),
        EMPTY(create_over_existing),
        EMPTY(create_fills_file_of_zeros),
        EMPTY(create_refuses_paths),
    };

    return cmocka_run_group_tests_name("vmshmctl create", tests, NULL, NULL);
}
