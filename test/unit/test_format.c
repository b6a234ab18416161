/* SPDX-License-Identifier: BSD-3-Clause */
/* The layout's arithmetic, the checksum, and every way in which a header can be wrong. */
#include "unit.h"

#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmshm_provider.h"

static struct vmshm_header shape(uint32_t vms, uint32_t procs, uint32_t windows)
{
    const struct vmshm_header h = { .vms = vms, .procs = procs, .windows = windows };

    return h;
}

static void check_layout(uint32_t vms, uint32_t procs, uint32_t windows)
{
    const struct vmshm_header h = shape(vms, procs, windows);
    const uint64_t slots = (uint64_t) vms * procs;

    /* Each table begins where, or after, the one before ends. */
    assert_int_equal(vmshm_procs_offset(), 4096);
    assert_int_equal(vmshm_windows_offset(&h), vmshm_procs_offset() + procs * 128ul);
    assert_int_equal(vmshm_bells_offset(&h), vmshm_windows_offset(&h) + windows * 64ul);
    assert_true(vmshm_readers_offset(&h) >= vmshm_bells_offset(&h) + slots * 4);
    assert_int_equal(vmshm_readers_offset(&h) % 64, 0);
    assert_int_equal(vmshm_reader_row_bytes(&h) * 8, (uint64_t) vms * windows);
    /* Rows are arrays of u64. */
    assert_int_equal(vmshm_reader_row_bytes(&h) % 8, 0);
    assert_true(vmshm_heap_offset(&h)
                >= vmshm_readers_offset(&h) + procs * vmshm_reader_row_bytes(&h));
    assert_int_equal(vmshm_heap_offset(&h) % VMSHM_ALIGN_BYTES, 0);
    /* The header of a control window and two tables of u64. */
    assert_true(vmshm_control_bytes(&h) >= 64 + 16 * slots);
    assert_int_equal(vmshm_control_bytes(&h) % 4096, 0);
    assert_int_equal(vmshm_proc_index(&h, vms - 1, procs - 1), slots - 1);
}

static void layout(void **state)
{
    (void) state;
    check_layout(1, 1, 64);
    check_layout(2, 8, 64);
    check_layout(3, 255, 192);
    check_layout(2, 256, 1024);
    check_layout(VMSHM_MAX_VMS, VMSHM_MAX_PROCS, VMSHM_MAX_WINDOWS);
    assert_int_equal(vmshm_ring_bytes(8), 64 + 8 * 32);
}

static void ranges_do_not_overflow(void **state)
{
    (void) state;
    assert_true(vmshm_range_inside(10, 5, 10, 5));
    assert_true(vmshm_range_inside(15, 0, 10, 5));
    assert_false(vmshm_range_inside(9, 1, 10, 5));
    assert_false(vmshm_range_inside(16, 0, 10, 5));
    assert_false(vmshm_range_inside(14, 2, 10, 5));
    assert_false(vmshm_range_inside(12, UINT64_MAX, 10, 5));
    assert_false(vmshm_range_inside(12, UINT64_MAX - 11, 10, 5));
    assert_false(vmshm_range_inside(UINT64_MAX, 1, 10, 5));
    assert_false(vmshm_range_inside(UINT64_MAX - 2, 4, 10, 5));
    assert_true(vmshm_range_inside(0, UINT64_MAX, 0, UINT64_MAX));
    assert_int_equal(vmshm_align_up(0, 64), 0);
    assert_int_equal(vmshm_align_up(1, 64), 64);
    assert_int_equal(vmshm_align_up(64, 64), 64);
}

static void slot_word(void **state)
{
    const uint64_t word = VMSHM_SLOT_WORD(UINT64_C(0x1fffffffe), 62, 0xabcd, 3, 0xfe);

    (void) state;
    assert_int_equal(VMSHM_SLOT_SEQ(word), 0xffffffff);
    assert_int_equal(VMSHM_SLOT_LEN(word), 0xabcd);
    assert_int_equal(VMSHM_SLOT_KIND(word), 3);
    assert_int_equal(VMSHM_SLOT_TAG(word), 0xfe);
    /* Position 2^32 - 1 has sequence 0: a zeroed slot must not look published at position 0. */
    assert_int_equal(VMSHM_SLOT_SEQ(VMSHM_SLOT_WORD(0, 0, 0, 0, 0)), 1);
}

static void checksum(void **state)
{
    uint8_t image[VMSHM_CHECKED_BYTES];
    uint64_t sum;

    (void) state;
    /* Test vectors of FNV-1a, 64 bit. */
    assert_true(UINT64_C(0xcbf29ce484222325) == vmshm_fnv1a(VMSHM_FNV_START, "", 0));
    assert_true(UINT64_C(0xaf63dc4c8601ec8c) == vmshm_fnv1a(VMSHM_FNV_START, "a", 1));
    assert_true(UINT64_C(0x85944171f73967e8) == vmshm_fnv1a(VMSHM_FNV_START, "foobar", 6));

    /* The field itself is read as zero. */
    unit_image(image, 2, 8, 64, 16 * UNIT_MIB, 0);
    sum = vmshm_header_checksum(image);
    memset(image + 16, 0, 8);
    assert_true(sum == vmshm_fnv1a(VMSHM_FNV_START, image, sizeof image));
    for (size_t i = 0; i < sizeof image; ++i) {
        const bool own_field = i >= 16 && i < 24;

        image[i] ^= 0x40;
        if (own_field != (sum == vmshm_header_checksum(image))) {
            fail_msg("byte %zu is %s the checksum", i, own_field ? "under" : "not under");
        }
        image[i] ^= 0x40;
    }
}

/* ------------------------------------------------------------------------- wrong header images */

static struct vmshm_header *header_in(uint8_t *image)
{
    return (struct vmshm_header *) image;
}

static struct vmshm_section_entry *entry_in(uint8_t *image, uint32_t vm)
{
    return (struct vmshm_section_entry *) (image + VMSHM_TABLE_OFFSET) + vm;
}

#define AVAILABLE (VMSHM_HEADER_BYTES + 3 * 16 * UNIT_MIB)

/* Three VMs; change() spoils the image, which is sealed again unless it is the seal that is
 * broken. */
static void expect(void (*change)(uint8_t *), bool seal, enum vmshm_code code, const char *field)
{
    _Alignas(8) uint8_t image[VMSHM_CHECKED_BYTES];
    struct vmshm_error e = { 0 };

    unit_image(image, 3, 8, 64, 16 * UNIT_MIB, 4 * UNIT_MIB);
    assert_int_equal(vmshm_header_check(image, AVAILABLE, "path", &e), VMSHM_OK);
    change(image);
    if (seal) {
        unit_image_seal(image);
    }
    assert_int_equal(vmshm_header_check(image, AVAILABLE, "path", &e), code);
    assert_int_equal(e.code, code);
    assert_string_equal(e.file, "path");
    assert_string_equal(e.field, field);
    assert_true(strlen(e.detail) > 0);
    assert_true(strlen(vmshm_error_remedy(e.code)) > 0);
}

/* A function that makes one change, and the test that it is noticed. */
#define BAD(name, statement, seal, code, field)                                                   \
    static void change_##name(uint8_t *image) { statement; }                                      \
    static void bad_##name(void **state) { (void) state; expect(change_##name, seal, code, field); }

BAD(zero, memset(image, 0, VMSHM_CHECKED_BYTES), false, VMSHM_ERR_ZERO, "header")
BAD(magic, header_in(image)->magic ^= 1, true, VMSHM_ERR_MAGIC, "magic")
BAD(magic_zero, header_in(image)->magic = 0, true, VMSHM_ERR_MAGIC, "magic")
BAD(version, header_in(image)->version += 1, true, VMSHM_ERR_VERSION, "version")
BAD(version_zero, header_in(image)->version = 0, true, VMSHM_ERR_VERSION, "version")
BAD(checked_bytes, header_in(image)->checked_bytes = 4096, true, VMSHM_ERR_VERSION, "version")
BAD(checksum, header_in(image)->checksum ^= 1, false, VMSHM_ERR_CHECKSUM, "checksum")
BAD(uuid_changed, header_in(image)->segment_uuid[3] ^= 1, false, VMSHM_ERR_CHECKSUM, "checksum")
BAD(table_changed, entry_in(image, 63)->reserved[31] ^= 1, false, VMSHM_ERR_CHECKSUM, "checksum")
BAD(total_beyond, header_in(image)->total_bytes = AVAILABLE + 1, true, VMSHM_ERR_SHORT,
    "total_bytes")
BAD(total_huge, header_in(image)->total_bytes = UINT64_MAX, true, VMSHM_ERR_SHORT, "total_bytes")
BAD(total_small, header_in(image)->total_bytes = 4096, true, VMSHM_ERR_FIELD, "section[0]")
BAD(no_vms, header_in(image)->vms = 0, true, VMSHM_ERR_FIELD, "vms")
BAD(many_vms, header_in(image)->vms = 65, true, VMSHM_ERR_FIELD, "vms")
BAD(one_vm_more, header_in(image)->vms = 4, true, VMSHM_ERR_FIELD, "section[3]")
BAD(no_procs, header_in(image)->procs = 0, true, VMSHM_ERR_FIELD, "procs")
BAD(many_procs, header_in(image)->procs = 1025, true, VMSHM_ERR_FIELD, "procs")
BAD(few_windows, header_in(image)->windows = 0, true, VMSHM_ERR_FIELD, "windows")
BAD(odd_windows, header_in(image)->windows = 65, true, VMSHM_ERR_FIELD, "windows")
BAD(many_windows, header_in(image)->windows = 4160, true, VMSHM_ERR_FIELD, "windows")
BAD(no_page, header_in(image)->page_bytes = 0, true, VMSHM_ERR_FIELD, "page_bytes")
BAD(odd_page, header_in(image)->page_bytes = 12288, true, VMSHM_ERR_FIELD, "page_bytes")
BAD(wrong_id, entry_in(image, 2)->vm_id = 1, true, VMSHM_ERR_FIELD, "section[2]")
BAD(in_header, entry_in(image, 0)->offset = 0, true, VMSHM_ERR_FIELD, "section[0]")
BAD(overlap, entry_in(image, 1)->offset -= VMSHM_ALIGN_BYTES, true, VMSHM_ERR_FIELD, "section[1]")
BAD(overlap_length, entry_in(image, 1)->length += VMSHM_ALIGN_BYTES, true, VMSHM_ERR_FIELD,
    "section[2]")
BAD(same_place, entry_in(image, 2)->offset = entry_in(image, 1)->offset, true, VMSHM_ERR_FIELD,
    "section[2]")
BAD(misaligned, entry_in(image, 1)->offset += 4096, true, VMSHM_ERR_FIELD, "section[1]")
BAD(odd_length, entry_in(image, 2)->length -= 4096, true, VMSHM_ERR_FIELD, "section[2]")
BAD(no_length, entry_in(image, 1)->length = 0, true, VMSHM_ERR_FIELD, "section[1]")
BAD(only_tables, entry_in(image, 1)->length = VMSHM_ALIGN_BYTES, true, VMSHM_ERR_FIELD,
    "section[1]")
BAD(beyond_end, entry_in(image, 2)->length += VMSHM_ALIGN_BYTES, true, VMSHM_ERR_FIELD,
    "section[2]")
BAD(wraps, entry_in(image, 2)->length = UINT64_MAX - VMSHM_ALIGN_BYTES + 1, true, VMSHM_ERR_FIELD,
    "section[2]")
BAD(offset_wraps, entry_in(image, 2)->offset = UINT64_MAX - VMSHM_ALIGN_BYTES + 1, true,
    VMSHM_ERR_FIELD, "section[2]")
BAD(open_in_tables, entry_in(image, 0)->open_offset = 0, true, VMSHM_ERR_FIELD, "section[0]")
BAD(open_beyond, entry_in(image, 0)->open_offset = 16 * UNIT_MIB + VMSHM_GRANULE_BYTES, true,
    VMSHM_ERR_FIELD, "section[0]")
BAD(open_odd, entry_in(image, 0)->open_offset -= 4096, true, VMSHM_ERR_FIELD, "section[0]")

/* ----------------------------------------------------------------------------- opening of files */

static void expect_open(const char *path, enum vmshm_code code, const char *field)
{
    struct vmshm_segment s;
    struct vmshm_error e = { 0 };

    assert_int_equal(vmshm_segment_open(path, &s, &e), code);
    assert_string_equal(e.field, field);
    assert_int_equal(s.fd, -1);
    assert_null(s.base);
}

static void open_absent(void **state)
{
    expect_open(unit_path(*state, "nothing"), VMSHM_ERR_ABSENT, "common_vmshm_segment");
}

static void open_directory(void **state)
{
    expect_open(*state, VMSHM_ERR_FIELD, "common_vmshm_segment");
}

static void open_shorter_than_header(void **state)
{
    const char *path = unit_path(*state, "short");

    unit_write_text(path, "");
    expect_open(path, VMSHM_ERR_SHORT, "header");
    assert_int_equal(truncate(path, VMSHM_CHECKED_BYTES - 1), 0);
    expect_open(path, VMSHM_ERR_SHORT, "header");
    assert_int_equal(truncate(path, VMSHM_CHECKED_BYTES), 0);
    expect_open(path, VMSHM_ERR_ZERO, "header");
}

static void open_cut(void **state)
{
    const char *path = unit_path(*state, "cut");

    unit_segment(path, 16 * UNIT_MIB, 0);
    assert_int_equal(truncate(path, 33 * UNIT_MIB), 0);
    expect_open(path, VMSHM_ERR_SHORT, "total_bytes");
}

static void open_device_without_segment(void **state)
{
    (void) state;
    expect_open("/dev/zero", VMSHM_ERR_ZERO, "header");
}

/* root is allowed everything: a stranger is asked instead. */
static int open_as_stranger(void *path)
{
    struct vmshm_segment s;
    struct vmshm_error e;

    if (0 == geteuid() && 0 != seteuid(65534)) {
        return 100;
    }
    return vmshm_segment_open(path, &s, &e);
}

static void open_forbidden(void **state)
{
    char *path = (char *) unit_path(*state, "forbidden");

    unit_segment(path, 16 * UNIT_MIB, 0);
    assert_int_equal(chmod(*state, 0755), 0);
    assert_int_equal(chmod(path, 0 == geteuid() ? 0600 : 0), 0);
    assert_int_equal(unit_wait(unit_fork(open_as_stranger, path)), VMSHM_ERR_PERMISSION);
}

static int write_to(void *address)
{
    /* A sanitizer would report the signal that is expected here. */
    signal(SIGSEGV, SIG_DFL);
    *(volatile uint8_t *) address = 1;
    return 0;
}

static void only_own_section_is_writable(void **state)
{
    const char *path = unit_path(*state, "segment");
    struct vmshm_segment s;
    struct vmshm_error e;

    unit_segment(path, 16 * UNIT_MIB, 0);
    assert_int_equal(vmshm_segment_open(path, &s, &e), VMSHM_OK);
    assert_string_equal(s.provider, "file");
    assert_int_equal(s.total_bytes, 34 * UNIT_MIB);
    assert_int_equal(unit_wait(unit_fork(write_to, s.base)), 128 + SIGSEGV);
    assert_int_equal(unit_wait(unit_fork(write_to, vmshm_section_of(&s, 1))), 128 + SIGSEGV);
    assert_int_equal(vmshm_segment_own(&s, 1, &e), VMSHM_OK);
    assert_int_equal(unit_wait(unit_fork(write_to, vmshm_section_of(&s, 1))), 0);
    assert_int_equal(unit_wait(unit_fork(write_to, (uint8_t *) vmshm_section_of(&s, 1) - 1)),
                     128 + SIGSEGV);
    assert_int_equal(unit_wait(unit_fork(write_to, s.base + s.total_bytes - 1)), 0);
    vmshm_segment_close(&s);
    vmshm_segment_close(&s);
}

static void accessors(void **state)
{
    const char *path = unit_path(*state, "segment");
    struct vmshm_segment s;
    struct vmshm_error e;
    uint8_t *section;

    unit_segment(path, 16 * UNIT_MIB, 0);
    assert_int_equal(vmshm_segment_open(path, &s, &e), VMSHM_OK);
    section = s.base + 18 * UNIT_MIB;
    assert_ptr_equal(vmshm_section_of(&s, 1), section);
    assert_ptr_equal(vmshm_proc_of(&s, 1, 7), section + 4096 + 7 * 128);
    assert_ptr_equal(vmshm_window_of(&s, 1, 63), section + 4096 + 8 * 128 + 63 * 64);
    assert_ptr_equal(vmshm_bell_of(&s, 1, 1, 2), section + 4096 + 8 * 128 + 64 * 64 + 10 * 4);
    assert_ptr_equal(vmshm_reader_row_of(&s, 1, 3), section + 4096 + 8 * 128 + 64 * 64 + 64
                                                    + 3 * 16);
    assert_ptr_equal(vmshm_mark_of(&s, 1), s.base + 0x2040);
    vmshm_segment_close(&s);
}

#define OPEN(test) cmocka_unit_test_setup_teardown(test, unit_setup, unit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout), cmocka_unit_test(ranges_do_not_overflow),
        cmocka_unit_test(slot_word), cmocka_unit_test(checksum),
        cmocka_unit_test(bad_zero), cmocka_unit_test(bad_magic), cmocka_unit_test(bad_magic_zero),
        cmocka_unit_test(bad_version), cmocka_unit_test(bad_version_zero),
        cmocka_unit_test(bad_checked_bytes), cmocka_unit_test(bad_checksum),
        cmocka_unit_test(bad_uuid_changed), cmocka_unit_test(bad_table_changed),
        cmocka_unit_test(bad_total_beyond), cmocka_unit_test(bad_total_huge),
        cmocka_unit_test(bad_total_small), cmocka_unit_test(bad_no_vms),
        cmocka_unit_test(bad_many_vms), cmocka_unit_test(bad_one_vm_more),
        cmocka_unit_test(bad_no_procs), cmocka_unit_test(bad_many_procs),
        cmocka_unit_test(bad_few_windows), cmocka_unit_test(bad_odd_windows),
        cmocka_unit_test(bad_many_windows), cmocka_unit_test(bad_no_page),
        cmocka_unit_test(bad_odd_page), cmocka_unit_test(bad_wrong_id),
        cmocka_unit_test(bad_in_header), cmocka_unit_test(bad_overlap),
        cmocka_unit_test(bad_overlap_length), cmocka_unit_test(bad_same_place),
        cmocka_unit_test(bad_misaligned), cmocka_unit_test(bad_odd_length),
        cmocka_unit_test(bad_no_length), cmocka_unit_test(bad_only_tables),
        cmocka_unit_test(bad_beyond_end), cmocka_unit_test(bad_wraps),
        cmocka_unit_test(bad_offset_wraps), cmocka_unit_test(bad_open_in_tables),
        cmocka_unit_test(bad_open_beyond), cmocka_unit_test(bad_open_odd),
        OPEN(open_absent), OPEN(open_directory), OPEN(open_shorter_than_header), OPEN(open_cut),
        cmocka_unit_test(open_device_without_segment), OPEN(open_forbidden),
        OPEN(only_own_section_is_writable), OPEN(accessors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
