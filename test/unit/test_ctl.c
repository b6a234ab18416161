/*
 * vmshmctl, through its binary: what it makes, what it tells, what it refuses, and that `check`
 * finds every kind of damage. The binary is $VMSHMCTL, else ./vmshmctl of the build directory.
 */
#define _GNU_SOURCE
#include "unit.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECTION (16 * UNIT_MIB)
#define GRANULE VMSHM_GRANULE_BYTES

static char out[1 << 20], err[1 << 14];         /* what the last run printed */

static void slurp(const char *path, char *buf, size_t bytes)
{
    FILE *f = fopen(path, "re");
    size_t got;

    assert_non_null(f);
    got = fread(buf, 1, bytes - 1, f);
    buf[got] = '\0';
    fclose(f);
}

/* Run vmshmctl with these arguments; returns its exit status. */
static int run_argv(const char *dir, const char *const *argv)
{
    const char *tool = getenv("VMSHMCTL");
    char out_path[512], err_path[512];
    int status;
    pid_t pid;

    snprintf(out_path, sizeof out_path, "%s/.out", dir);
    snprintf(err_path, sizeof err_path, "%s/.err", dir);
    pid = fork();
    assert_true(pid >= 0);
    if (0 == pid) {
        if (NULL == freopen(out_path, "w", stdout) || NULL == freopen(err_path, "w", stderr)) {
            _exit(126);
        }
        unsetenv("OMPI_MCA_common_vmshm_segment");
        unsetenv("OMPI_MCA_common_vmshm_vm_id");
        execv(NULL != tool ? tool : "./vmshmctl", (char *const *) argv);
        _exit(127);
    }
    status = unit_wait(pid);
    if (status >= 126) {
        fail_msg("%s cannot be run, or died: status %d", NULL != tool ? tool : "./vmshmctl",
                 status);
    }
    slurp(out_path, out, sizeof out);
    slurp(err_path, err, sizeof err);
    unlink(out_path);
    unlink(err_path);
    return status;
}
#define run(dir, ...) run_argv(dir, (const char *const[]) { "vmshmctl", __VA_ARGS__, NULL })

static void expect_status(int got, int wanted)
{
    if (got != wanted) {
        fail_msg("exit status %d, not %d\n%s%s", got, wanted, out, err);
    }
}
#define must(dir, ...) expect_status(run(dir, __VA_ARGS__), 0)

static void assert_contains(const char *text, const char *part)
{
    if (NULL == strstr(text, part)) {
        fail_msg("'%s' is not in:\n%s", part, text);
    }
}

/* --- JSON of `show --json` */

static cJSON *show_json(const char *dir, const char *path)
{
    cJSON *json;

    must(dir, "show", "--json", path);
    json = cJSON_Parse(out);
    if (NULL == json) {
        fail_msg("not JSON: %s", out);
    }
    return json;
}

static const cJSON *vm_of(const cJSON *json, int vm)
{
    return cJSON_GetArrayItem(cJSON_GetObjectItem(json, "vms"), vm);
}

static uint64_t number(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItem(object, name);

    if (!cJSON_IsNumber(item)) {
        fail_msg("%s is no number", name);
    }
    return (uint64_t) item->valuedouble;
}

static const char *string(const cJSON *object, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(object, name));

    if (NULL == text) {
        fail_msg("%s is no string", name);
    }
    return text;
}

static void poke(const char *path, uint64_t at, uint64_t value, size_t bytes)
{
    const int fd = open(path, O_WRONLY | O_CLOEXEC);

    assert_int_equal(pwrite(fd, &value, bytes, (off_t) at), (ssize_t) bytes);
    close(fd);
}

static uint64_t peek(const char *path, uint64_t at, size_t bytes)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t value = 0;

    assert_int_equal(pread(fd, &value, bytes, (off_t) at), (ssize_t) bytes);
    close(fd);
    return value;
}

/* --- a process of a VM that runs */

static int beat(void *dir)
{
    struct vmshm_member m;
    struct vmshm_error e;

    if (VMSHM_OK != unit_try_join(dir, 1, "boot", &m, &e)) {
        return 1;
    }
    /* Not for ever: a test that fails must not leave this process behind. */
    for (int i = 0; i < 200; ++i) {
        const struct timespec tick = { 0, 100000000 };

        vmshm_heartbeat(&m);
        nanosleep(&tick, NULL);
    }
    return 2;
}

static pid_t start_vm(const char *dir)
{
    const pid_t pid = unit_fork(beat, (void *) dir);
    const uint64_t at = VMSHM_HEADER_BYTES + SECTION + offsetof(struct vmshm_section, heartbeat);

    for (int i = 0; i < 500 && 0 == peek(unit_path(dir, "segment"), at, 8); ++i) {
        const struct timespec tick = { 0, 10000000 };

        nanosleep(&tick, NULL);
    }
    return pid;
}

static void stop_vm(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(unit_wait(pid), 128 + SIGKILL);
}

/* --------------------------------------------------------------------------------------- create */

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

/* --------------------------------------------------------------- a segment with processes in it */

static int setup(void **state)
{
    unit_setup(state);
    unit_segment(unit_path(*state, "segment"), SECTION, 4 * UNIT_MIB);
    return 0;
}

static void in_use(void **state)
{
    const char *path = unit_path(*state, "segment");
    const pid_t pid = start_vm(*state);

    expect_status(run(*state, "create", "--sparse", "--any-size", "--section-size", "16M", path),
                  3);
    assert_contains(err, "VM 1 runs jobs");
    expect_status(run(*state, "reset-vm", "--vm", "1", path), 3);
    assert_contains(err, "its heartbeat moves");
    expect_status(run(*state, "destroy", path), 3);
    assert_contains(err, "VM 1 runs jobs");
    /* VM 0 is off all the same. */
    must(*state, "reset-vm", "--vm", "0", path);
    assert_int_equal(access(path, F_OK), 0);
    must(*state, "create", "--force", "--sparse", "--any-size", "--section-size", "16M", path);
    assert_contains(err, "they break now");
    stop_vm(pid);
}

static void show_live(void **state)
{
    const char *path = unit_path(*state, "segment");
    struct vmshm_member a, b;
    struct vmshm_window w;
    struct vmshm_error e;
    const cJSON *item;
    uint64_t offset;
    uint32_t index;
    cJSON *json;
    char text[64];

    unit_join(*state, 0, "zero", &a);
    unit_join(*state, 1, "one", &b);
    unit_publish(&a);
    unit_publish(&b);
    assert_int_equal(vmshm_window_alloc(&b, 3 * GRANULE, VMSHM_KIND_OPEN, &index, &offset, &e),
                     VMSHM_OK);
    assert_true(vmshm_reader_enter(&a, 1, b.slot, index, &w, &e));
    vmshm_proc_of(&b.segment, 1, b.slot)->messages = 11;
    vmshm_proc_of(&b.segment, 1, b.slot)->bytes = UINT64_C(5000000000);
    vmshm_section_of(&b.segment, 1)->messages = 100;
    vmshm_window_release(&b, index);

    json = show_json(*state, path);
    assert_string_equal(string(vm_of(json, 1), "state"), "up");
    snprintf(text, sizeof text, "0x%016" PRIx64, b.id.epoch);
    assert_string_equal(string(vm_of(json, 1), "epoch"), text);
    assert_int_equal(number(vm_of(json, 1), "heartbeat"), 1);
    assert_int_equal(number(vm_of(json, 1), "messages"), 111);
    assert_true(UINT64_C(5000000000) == number(vm_of(json, 1), "bytes"));
    assert_int_equal(number(vm_of(json, 1), "heap_bytes"), 14 * UNIT_MIB);
    assert_int_equal(number(vm_of(json, 1), "used_bytes"), GRANULE);
    assert_int_equal(number(vm_of(json, 1), "quarantined_bytes"), 3 * GRANULE);
    assert_int_equal(number(vm_of(json, 1), "dirty_bytes"), 10 * UNIT_MIB + 3 * GRANULE);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(vm_of(json, 1), "processes")), 1);
    item = cJSON_GetArrayItem(cJSON_GetObjectItem(vm_of(json, 1), "processes"), 0);
    assert_int_equal(number(item, "slot"), b.slot);
    assert_string_equal(string(item, "state"), "live");
    assert_int_equal(number(item, "pid"), getpid());
    assert_int_equal(number(item, "uid"), getuid());
    assert_string_equal(string(item, "name"), "0/1");
    assert_string_equal(string(item, "job"), "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a");
    assert_int_equal(number(item, "messages"), 11);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(vm_of(json, 1), "windows")), 2);
    item = cJSON_GetArrayItem(cJSON_GetObjectItem(vm_of(json, 1), "windows"), 1);
    assert_int_equal(number(item, "index"), index);
    assert_string_equal(string(item, "state"), "quarantine");
    assert_string_equal(string(item, "kind"), "open");
    assert_int_equal(number(item, "offset"), offset);
    assert_int_equal(number(item, "length"), 3 * GRANULE);
    assert_int_equal(number(item, "owner"), b.slot);
    item = cJSON_GetArrayItem(cJSON_GetObjectItem(item, "read_by"), 0);
    assert_int_equal(number(item, "vm"), 0);
    assert_int_equal(number(item, "slot"), a.slot);
    cJSON_Delete(json);

    must(*state, "show", path);
    assert_contains(out, "VM 1: up");
    assert_contains(out, "5a5a5a5a");
    assert_contains(out, "quarantine");
    must(*state, "check", path);
    assert_string_equal(out, "");
    vmshm_leave(&a);
    vmshm_leave(&b);
    must(*state, "check", path);
}

/* Whatever a guest writes: show and check end in order, and show --json prints JSON. */
static void hostile_section(void **state)
{
    const char *path = unit_path(*state, "segment");
    const uint64_t tables = 4096 + 8 * 128 + 64 * 64 + 64 + 8 * 16;
    uint8_t garbage[16384];
    uint32_t seed = 1;

    for (int round = 0; round < 6; ++round) {
        int fd = open(path, O_WRONLY | O_CLOEXEC);

        for (uint64_t i = 0; i < tables; ++i) {
            seed = seed * 1664525u + 1013904223u;
            /* All ones, small numbers and anything. */
            garbage[i] = round < 2 ? 0xff : round < 4 ? (i % 4 ? 0 : seed >> 30)
                         : (uint8_t) (seed >> 24);
        }
        assert_int_equal(pwrite(fd, garbage, tables, VMSHM_HEADER_BYTES + SECTION), tables);
        close(fd);
        must(*state, "show", path);
        cJSON_Delete(show_json(*state, path));
        expect_status(run(*state, "check", path), 1);
        assert_contains(out, "section[1].");
        assert_null(strstr(out, "section[0]."));
    }
    /* And a reset makes it usable again. */
    must(*state, "reset-vm", "--vm", "1", "--force", path);
    must(*state, "check", path);
    {
        struct vmshm_member m;
        struct vmshm_error e;
        uint64_t offset;
        uint32_t index;

        unit_join(*state, 1, "boot", &m);
        assert_int_equal(vmshm_window_alloc(&m, 10 * UNIT_MIB, VMSHM_KIND_PRIVATE, &index, &offset,
                                            &e), VMSHM_OK);
        vmshm_leave(&m);
    }
}

/* ---------------------------------------------------------------------------------------- check */

#define HEADER(member)     offsetof(struct vmshm_header, member)
#define ENTRY(vm, member)  (VMSHM_TABLE_OFFSET + (vm) * 64 \
                            + offsetof(struct vmshm_section_entry, member))
#define SECTION_AT(vm)     (VMSHM_HEADER_BYTES + (vm) * SECTION)
#define FIELD(vm, member)  (SECTION_AT(vm) + offsetof(struct vmshm_section, member))
#define PROC(vm, slot, member) (SECTION_AT(vm) + 4096 + (slot) * 128 \
                                + offsetof(struct vmshm_proc, member))
#define WINDOW(vm, i, member)  (SECTION_AT(vm) + 4096 + 8 * 128 + (i) * 64 \
                                + offsetof(struct vmshm_window, member))
#define READER(vm, slot)   (SECTION_AT(vm) + 4096 + 8 * 128 + 64 * 64 + 64 + (slot) * 16)

struct damage {
    uint64_t at, value;
    size_t bytes;
    const char *finds;
    bool seal;              /* the header's checksum is put right: the field itself is judged */
};

static void reseal(const char *path)
{
    uint8_t image[VMSHM_CHECKED_BYTES];
    const int fd = open(path, O_RDWR | O_CLOEXEC);

    assert_int_equal(pread(fd, image, sizeof image, 0), sizeof image);
    unit_image_seal(image);
    assert_int_equal(pwrite(fd, image, sizeof image, 0), sizeof image);
    close(fd);
}

static void expect_found(const char *dir, const struct damage *d)
{
    const char *path = unit_path(dir, "segment");
    uint64_t before = peek(path, d->at, d->bytes), sum = peek(path, HEADER(checksum), 8);

    poke(path, d->at, d->value, d->bytes);
    if (d->seal) {
        reseal(path);
    }
    expect_status(run(dir, "check", path), 1);
    /* At the start of a line: the field is named exactly. */
    if (0 != strncmp(out, d->finds, strlen(d->finds))) {
        char line[128];

        snprintf(line, sizeof line, "\n%s", d->finds);
        assert_contains(out, line);
    }
    assert_contains(out, " ; ");
    poke(path, d->at, before, d->bytes);
    poke(path, HEADER(checksum), sum, 8);
}

static void check_finds_header_damage(void **state)
{
    static const struct damage cases[] = {
        { HEADER(magic), 0x1234, 8, "header.magic: ", false },
        { HEADER(version), 99, 4, "header.version: ", true },
        { HEADER(checked_bytes), 4096, 4, "header.version: ", true },
        { HEADER(segment_uuid), 0x77, 1, "header.checksum: ", false },
        { HEADER(checksum), 0, 8, "header.checksum: ", false },
        { HEADER(total_bytes), UINT64_C(1) << 40, 8, "header.total_bytes: ", true },
        { HEADER(total_bytes), 33 * UNIT_MIB, 8, "header.section[1].length: ", true },
        { HEADER(page_bytes), 5000, 8, "header.page_bytes: ", true },
        { HEADER(vms), 0, 4, "header.vms: ", true },
        { HEADER(vms), 3, 4, "header.section[2].", true },
        { HEADER(procs), 5000, 4, "header.procs: ", true },
        { HEADER(windows), 63, 4, "header.windows: ", true },
        { HEADER(reserved), 1, 4, "header.reserved: ", true },
        { ENTRY(1, vm_id), 0, 4, "header.section[1].vm_id: ", true },
        { ENTRY(1, offset), VMSHM_HEADER_BYTES, 8, "header.section[1].offset: ", true },
        { ENTRY(1, offset), UINT64_MAX - 4095, 8, "header.section[1].length: ", true },
        { ENTRY(0, offset), 4096, 8, "header.section[0].offset: ", true },
        { ENTRY(0, length), SECTION + VMSHM_ALIGN_BYTES, 8, "header.section[1].offset: ", true },
        { ENTRY(1, length), 4096, 8, "header.section[1].length: ", true },
        { ENTRY(0, open_offset), 4096, 8, "header.section[0].open_offset: ", true },
        { ENTRY(0, open_offset), SECTION * 2, 8, "header.section[0].open_offset: ", true },
        { ENTRY(0, reserved), 1, 1, "header.section[0].reserved: ", true },
        { VMSHM_MARK_OFFSET + 64, 9, 4, "mark[1].mark: ", false },
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
        expect_found(*state, &cases[i]);
    }
    must(*state, "check", unit_path(*state, "segment"));
}

static void check_finds_section_damage(void **state)
{
    const uint64_t heap = SECTION_AT(1) + 2 * UNIT_MIB;
    struct vmshm_member m, other;
    struct vmshm_error e;
    uint64_t offset;
    uint32_t index;

    unit_join(*state, 1, "boot", &m);
    unit_join(*state, 0, "zero", &other);
    unit_publish(&other);
    assert_int_equal(unit_publish(&m), 0);
    assert_int_equal(vmshm_window_alloc(&m, 2 * GRANULE, VMSHM_KIND_PRIVATE, &index, &offset, &e),
                     VMSHM_OK);
    assert_int_equal(index, 1);
    must(*state, "check", unit_path(*state, "segment"));
    {
        const struct damage cases[] = {
            { FIELD(1, magic), 5, 8, "section[1].magic: ", false },
            { FIELD(1, vm_id), 0, 4, "section[1].vm_id: ", false },
            { FIELD(1, state), 3, 4, "section[1].state: ", false },
            { FIELD(1, state), 0, 4, "section[1].state: ", false },
            { FIELD(1, epoch), 0, 8, "section[1].epoch: ", false },
            { FIELD(1, arbiter), 0, 8, "section[1].arbiter: ", false },
            { FIELD(1, dirty_end), 4096, 8, "section[1].dirty_end: ", false },
            { FIELD(1, dirty_end), SECTION * 2, 8, "section[1].dirty_end: ", false },
            { FIELD(1, dirty_end), 2 * UNIT_MIB, 8, "section[1].window[1].length: ", false },
            { PROC(1, 3, state), 4, 4, "section[1].process[3].state: ", false },
            { PROC(1, 0, nonce), 0, 8, "section[1].process[0].nonce: ", false },
            { PROC(1, 0, window), UINT32_MAX, 4, "section[1].process[0].window: ", false },
            { PROC(1, 0, window), 64, 4, "section[1].process[0].window: ", false },
            { PROC(1, 0, window), 5, 4, "section[1].process[0].window: ", false },
            { PROC(1, 0, state), VMSHM_PROC_FREE, 4, "section[1].window[0].proc: ", false },
            { PROC(1, 0, state), VMSHM_PROC_DEAD, 4, "section[1].window[1].proc: ", false },
            { PROC(0, 5, state), VMSHM_PROC_LIVE, 4, "section[0].process[5].nonce: ", false },
            { WINDOW(1, 1, state), 3, 4, "section[1].window[1].state: ", false },
            { WINDOW(1, 1, offset), heap + 2 * GRANULE + 1, 8, "section[1].window[1].offset: ",
              false },
            { WINDOW(1, 1, offset), SECTION_AT(1), 8, "section[1].window[1].offset: ", false },
            { WINDOW(1, 1, offset), SECTION_AT(0), 8, "section[1].window[1].offset: ", false },
            { WINDOW(1, 1, offset), UINT64_MAX, 8, "section[1].window[1].offset: ", false },
            { WINDOW(1, 1, offset), heap, 8, "section[1].window[1].offset: ", false },
            { WINDOW(1, 1, length), 0, 8, "section[1].window[1].length: ", false },
            { WINDOW(1, 1, length), 1, 8, "section[1].window[1].length: ", false },
            { WINDOW(1, 1, length), SECTION, 8, "section[1].window[1].length: ", false },
            { WINDOW(1, 1, length), UINT64_MAX & ~(GRANULE - 1), 8,
              "section[1].window[1].length: ", false },
            { WINDOW(1, 0, length), 4 * GRANULE, 8, "section[1].window[1].offset: ", false },
            { WINDOW(1, 1, kind), 2, 4, "section[1].window[1].kind: ", false },
            { WINDOW(1, 1, kind), VMSHM_KIND_OPEN, 4, "section[1].window[1].kind: ", false },
            { WINDOW(1, 1, proc), 8, 4, "section[1].window[1].proc: ", false },
            { WINDOW(1, 1, proc), 2, 4, "section[1].window[1].proc: ", false },
            { WINDOW(1, 1, uid), 4711, 4, "section[1].window[1].uid: ", false },
            { READER(1, 6), 1, 8, "section[1].reader[6]: ", false },
            { READER(0, 0) + 8, UINT64_C(1) << 9, 8, "section[0].reader[0]: ", false },
        };

        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; ++i) {
            expect_found(*state, &cases[i]);
        }
    }
    must(*state, "check", unit_path(*state, "segment"));
    vmshm_leave(&m);
    vmshm_leave(&other);
}

static void check_files(void **state)
{
    const char *path = unit_path(*state, "file");

    expect_status(run(*state, "check", path), 2);
    assert_contains(err, "No such file");
    expect_status(run(*state, "check", *state), 2);
    expect_status(run(*state, "check"), 2);
    unit_write_text(path, "short");
    expect_status(run(*state, "check", path), 1);
    assert_contains(out, "header: the file has 5 bytes");
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(truncate(path, 1 << 20), 0);
    expect_status(run(*state, "check", path), 1);
    assert_contains(out, "filled with zeros");
    /* A segment that lost its end, and one that grew. */
    path = unit_path(*state, "segment");
    assert_int_equal(truncate(path, 20 * UNIT_MIB), 0);
    expect_status(run(*state, "check", path), 1);
    assert_contains(out, "header.total_bytes: ");
    expect_status(run(*state, "show", path), 1);
    assert_contains(err, "total_bytes");
    assert_int_equal(truncate(path, 200 * UNIT_MIB), 0);
    expect_status(run(*state, "check", path), 1);
    assert_contains(out, "header.total_bytes: ");
}

/* ------------------------------------------------------------------------- mark, reset, destroy */

static void mark_vm(void **state)
{
    static const char *const marks[] = { "up", "gone", "unknown" };
    const char *path = unit_path(*state, "segment");
    cJSON *json;

    for (int i = 0; i < 3; ++i) {
        must(*state, "mark-vm", "--vm", "1", marks[i], path);
        json = show_json(*state, path);
        assert_string_equal(string(vm_of(json, 1), "mark"), marks[i]);
        assert_string_equal(string(vm_of(json, 0), "mark"), "unknown");
        cJSON_Delete(json);
        assert_int_equal(peek(path, VMSHM_MARK_OFFSET + 64 + 4, 4), i + 1);
        assert_int_equal(peek(path, VMSHM_MARK_OFFSET + 64 + offsetof(struct vmshm_vm_mark, gone), 4),
                         0 == i ? 0 : 1);
    }
    must(*state, "check", path);
    expect_status(run(*state, "mark-vm", "--vm", "2", "up", path), 2);
    assert_contains(err, "VMs 0 to 1");
    expect_status(run(*state, "mark-vm", "--vm", "one", "up", path), 2);
    expect_status(run(*state, "mark-vm", "up", path), 2);
    expect_status(run(*state, "mark-vm", "--vm", "1", "dead", path), 2);
    expect_status(run(*state, "mark-vm", "--vm", "1", path), 2);
}

static void reset_vm(void **state)
{
    const char *path = unit_path(*state, "segment");
    struct vmshm_member reader, dead, next;
    struct vmshm_window w;
    struct vmshm_error e;
    uint64_t read_at, free_at, offset, dirty;
    uint32_t read_index, free_index, index;

    unit_join(*state, 0, "zero", &reader);
    unit_join(*state, 1, "boot", &dead);
    assert_int_equal(vmshm_window_alloc(&dead, GRANULE, VMSHM_KIND_PRIVATE, &read_index, &read_at,
                                        &e), VMSHM_OK);
    assert_int_equal(vmshm_window_alloc(&dead, GRANULE, VMSHM_KIND_PRIVATE, &free_index, &free_at,
                                        &e), VMSHM_OK);
    unit_publish(&reader);
    assert_true(vmshm_reader_enter(&reader, 1, dead.slot, read_index, &w, &e));
    assert_true(vmshm_reader_enter(&dead, 0, reader.slot, 0, &w, &e));
    memset(vmshm_at(&dead, free_at), 0x5a, GRANULE);
    vmshm_proc_of(&dead.segment, 1, dead.slot)->messages = 9;
    dirty = vmshm_section_of(&dead.segment, 1)->dirty_end;
    /* The VM stops without a word. */
    vmshm_mapped_fini(&dead.mapped);
    vmshm_lock_close(&dead.lock);
    vmshm_segment_close(&dead.segment);

    must(*state, "reset-vm", "--vm", "1", path);
    assert_contains(out, "1 windows stay in quarantine");
    assert_int_equal(peek(path, FIELD(1, magic), 8), 0);
    assert_int_equal(peek(path, FIELD(1, state), 4), VMSHM_SECTION_NEVER);
    assert_int_equal(peek(path, FIELD(1, epoch), 8), 0);
    assert_int_equal(peek(path, FIELD(1, messages), 8), 9);
    assert_int_equal(peek(path, FIELD(1, dirty_end), 8), dirty);
    assert_int_equal(peek(path, PROC(1, 0, state), 4), VMSHM_PROC_FREE);
    assert_int_equal(peek(path, PROC(1, 0, generation), 4), 1);
    assert_int_equal(peek(path, READER(1, 0), 8), 0);
    assert_int_equal(peek(path, WINDOW(1, read_index, state), 4), VMSHM_WINDOW_QUARANTINE);
    assert_int_equal(peek(path, WINDOW(1, read_index, offset), 8), read_at);
    assert_int_equal(peek(path, WINDOW(1, free_index, state), 4), VMSHM_WINDOW_EMPTY);
    assert_int_equal(peek(path, WINDOW(1, free_index, generation), 4), 1);
    must(*state, "check", path);

    /* The next boot starts at once, does not get what is read, and finds no old data. */
    unit_join_slot(*state, 1, "next", 0, &next);
    assert_int_equal(next.generation, 2);
    assert_int_equal(vmshm_window_alloc(&next, GRANULE, VMSHM_KIND_PRIVATE, &index, &offset, &e),
                     VMSHM_OK);
    assert_true(offset == free_at);
    assert_int_equal(*(uint8_t *) vmshm_at(&next, offset), 0);
    vmshm_reader_leave(&reader, 1, read_index);
    vmshm_leave(&next);
    must(*state, "reset-vm", "--vm", "1", path);
    assert_string_equal(out, "");
    assert_int_equal(peek(path, WINDOW(1, read_index, state), 4), VMSHM_WINDOW_EMPTY);
    vmshm_leave(&reader);

    expect_status(run(*state, "reset-vm", path), 2);
    expect_status(run(*state, "reset-vm", "--vm", "5", path), 2);
}

/* A dirty_end that cannot be true would hand out old data as if it were zero. */
static void reset_does_not_trust_dirty_end(void **state)
{
    const char *path = unit_path(*state, "segment");
    struct vmshm_member m;
    struct vmshm_error e;
    uint64_t offset;
    uint32_t index;

    unit_join(*state, 1, "boot", &m);
    assert_int_equal(vmshm_window_alloc(&m, GRANULE, VMSHM_KIND_PRIVATE, &index, &offset, &e),
                     VMSHM_OK);
    vmshm_leave(&m);
    poke(path, FIELD(1, dirty_end), 0, 8);
    must(*state, "reset-vm", "--vm", "1", path);
    assert_int_equal(peek(path, FIELD(1, dirty_end), 8), SECTION);
}

static void destroy(void **state)
{
    const char *path = unit_path(*state, "segment");
    struct vmshm_segment s;
    struct vmshm_error e;
    struct stat st;

    assert_int_equal(vmshm_segment_open(path, &s, &e), VMSHM_OK);
    must(*state, "destroy", path);
    assert_int_equal(access(path, F_OK), -1);
    /* Who has it mapped reads zeros, and is not killed. */
    assert_int_equal(*(uint64_t *) s.base, 0);
    assert_int_equal(s.base[s.total_bytes - 1], 0);
    assert_int_equal(fstat(s.fd, &st), 0);
    assert_true(st.st_blocks * 512 < (blkcnt_t) UNIT_MIB);
    vmshm_segment_close(&s);
    expect_status(run(*state, "destroy", path), 1);
    assert_contains(err, "Nothing to destroy");
}

static void destroy_damaged(void **state)
{
    const char *path = unit_path(*state, "segment");

    poke(path, HEADER(checksum), 1, 8);
    expect_status(run(*state, "destroy", path), 1);
    assert_contains(err, "--force");
    assert_int_equal(access(path, F_OK), 0);
    must(*state, "destroy", "--force", path);
    assert_int_equal(access(path, F_OK), -1);
    expect_status(run(*state, "destroy", "/dev/zero"), 1);
    assert_int_equal(access("/dev/zero", F_OK), 0);
}

/* ----------------------------------------------------------------------------- attach, identity */

static void qemu_args(void **state)
{
    const char *path = unit_path(*state, "a,b");
    char wanted[1024];

    must(*state, "create", "--sparse", "--size", "64M", path);
    must(*state, "qemu-args", "--vm", "1", path);
    snprintf(wanted, sizeof wanted, "-object memory-backend-file,id=vmshm,mem-path=%s/a,,b,"
             "size=67108864,share=on\n-device ivshmem-plain,memdev=vmshm\n"
             "-smbios type=11,value=vmshm.vm-id=1\n", (const char *) *state);
    assert_string_equal(out, wanted);
    must(*state, "create", "--force", "--sparse", "--size", "64M", path);
    must(*state, "qemu-args", "--vm", "1", "--patched", path);
    assert_contains(out, "\n-device ivshmem-plain,memdev=vmshm,id=vmshm-device,vmshm=on,vm-id=1,"
                    "window-offset=33554432,window-size=31457280,segment-uuid=");
    expect_status(run(*state, "qemu-args", path), 2);
    expect_status(run(*state, "qemu-args", "--vm", "2", path), 2);
    expect_status(run(*state, "qemu-args", "--vm", "0", unit_path(*state, "none")), 1);
}

static void libvirt_xml(void **state)
{
    const char *path = unit_path(*state, "a&b");
    char shm[64];
    int status;

    must(*state, "create", "--sparse", "--size", "64M", path);
    must(*state, "libvirt-xml", "--vm", "1", path);
    assert_contains(out, "<entry>vmshm.vm-id=1</entry>");
    assert_contains(out, "<smbios mode='sysinfo'/>");
    assert_contains(out, "/a&amp;b,size=67108864,share=on'/>");
    assert_contains(out, "<qemu:arg value='ivshmem-plain,memdev=vmshm'/>");

    snprintf(shm, sizeof shm, "/dev/shm/vmshm-unit-%d", (int) getpid());
    must(*state, "create", "--sparse", "--size", "64M", shm);
    status = run(*state, "libvirt-xml", "--vm", "0", shm);
    unlink(shm);
    expect_status(status, 0);
    assert_contains(out, "<shmem name='vmshm-unit-");
    assert_contains(out, "<size unit='M'>64</size>");
    assert_null(strstr(out, "qemu:commandline"));

    must(*state, "create", "--sparse", "--size", "64M", shm);
    status = run(*state, "libvirt-xml", "--vm", "1", "--patched", shm);
    unlink(shm);
    expect_status(status, 0);
    assert_contains(out, "vmshm=on,vm-id=1,window-offset=33554432,window-size=31457280,");
    assert_null(strstr(out, "<shmem name"));
}

static void identity(void **state)
{
    const char *path = unit_path(*state, "segment");
    char line[600];

    must(*state, "identity", "--vm-id", "1", path);
    snprintf(line, sizeof line, "segment: %s\nprovider: file\n", path);
    assert_contains(out, line);
    assert_contains(out, "vm-id: 1\n");
    assert_contains(out, "vm-id-from: parameter\n");
    expect_status(run(*state, "identity", "--vm-id", "7", path), 1);
    assert_contains(err, "VMs 0 to 1");
    expect_status(run(*state, "identity", "--vm-id", "x", path), 2);
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

static void usage(void **state)
{
    static const char *const commands[] = {
        "create", "show", "check", "reset-vm", "mark-vm", "destroy", "qemu-args", "libvirt-xml",
        "identity"
    };

    must(*state, "--help");
    for (int i = 0; i < 9; ++i) {
        assert_contains(out, commands[i]);
    }
    for (int i = 0; i < 9; ++i) {
        char wanted[64];

        must(*state, commands[i], "--help");
        snprintf(wanted, sizeof wanted, "usage: vmshmctl %s ", commands[i]);
        assert_contains(out, wanted);
        assert_string_equal(err, "");
        expect_status(run(*state, commands[i], "--no-such-option"), 2);
        expect_status(run(*state, commands[i], "one", "path", "too", "many"), 2);
    }
    expect_status(run_argv(*state, (const char *const[]) { "vmshmctl", NULL }), 2);
    expect_status(run(*state, "explode"), 2);
    assert_contains(err, "no such command");
    expect_status(run(*state, "show", unit_path(*state, "none")), 1);
    assert_contains(err, "\n  ");       /* the remedy */
}

#define EMPTY(test) cmocka_unit_test_setup_teardown(test, unit_setup, unit_teardown)
#define SMALL(test) cmocka_unit_test_setup_teardown(test, setup, unit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EMPTY(create_defaults), EMPTY(create_options), EMPTY(create_sizes_from_sections),
        EMPTY(create_allocates), EMPTY(create_uuids_differ), EMPTY(create_refuses),
        EMPTY(create_over_existing), EMPTY(create_fills_file_of_zeros), SMALL(in_use),
        SMALL(show_live), SMALL(hostile_section),
        SMALL(check_finds_header_damage), SMALL(check_finds_section_damage), SMALL(check_files),
        SMALL(mark_vm), SMALL(reset_vm), SMALL(reset_does_not_trust_dirty_end), SMALL(destroy),
        SMALL(destroy_damaged), EMPTY(qemu_args), EMPTY(libvirt_xml), SMALL(identity),
        EMPTY(create_refuses_paths), EMPTY(usage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
