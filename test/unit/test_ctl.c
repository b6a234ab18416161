/* SPDX-License-Identifier: BSD-3-Clause */
/* vmshmctl: usage, show, mark-vm, reset-vm and destroy. */
#include "ctl.h"

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
    assert_contains(err, "they fail now");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        SMALL(in_use), SMALL(show_live), SMALL(mark_vm), SMALL(reset_vm),
        SMALL(reset_does_not_trust_dirty_end), SMALL(destroy), SMALL(destroy_damaged), EMPTY(usage),
    };

    return cmocka_run_group_tests_name("vmshmctl", tests, NULL, NULL);
}
