/* SPDX-License-Identifier: BSD-3-Clause */
/* vmshmctl check finds every kind of damage; nothing that stands in a segment misleads it or show. */
#include "ctl.h"

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

    /* What stands there may be random, as the UUID. */
    poke(path, d->at, before == d->value ? ~d->value : d->value, d->bytes);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        SMALL(hostile_section),
        SMALL(check_finds_header_damage),
        SMALL(check_finds_section_damage),
        SMALL(check_files),
    };

    return cmocka_run_group_tests_name("vmshmctl check", tests, NULL, NULL);
}
