/* SPDX-License-Identifier: BSD-3-Clause */
/* Windows of a process's own section: handing them out. */
#include "unit.h"

#include <string.h>
#include <unistd.h>

#define HEAP     UNIT_HEAP
#define GRANULE  VMSHM_GRANULE_BYTES

static int setup_open(void **state)
{
    unit_setup(state);
    unit_segment(unit_path(*state, "segment"), UNIT_SECTION, 4 * UNIT_MIB);
    return 0;
}

static void must_not_alloc(struct vmshm_member *m, uint64_t bytes, uint32_t kind,
                           const char *field)
{
    struct vmshm_error e = { 0 };
    uint32_t index;
    uint64_t offset;

    assert_int_equal(vmshm_window_alloc(m, bytes, kind, &index, &offset, &e), VMSHM_ERR_FULL);
    assert_string_equal(e.field, field);
}

static void entry_is_complete(void **state)
{
    struct vmshm_member m;
    struct vmshm_window *w;
    uint64_t offset;
    uint32_t index;

    unit_join(*state, 1, "boot", &m);
    index = unit_alloc(&m, 1, &offset);
    w = vmshm_window_of(&m.segment, 1, index);
    assert_int_equal(w->state, VMSHM_WINDOW_LIVE);
    assert_int_equal(w->generation, 1);
    assert_int_equal(w->offset, offset);
    assert_int_equal(w->length, GRANULE);
    assert_int_equal(w->proc, m.slot);
    assert_int_equal(w->uid, getuid());
    assert_int_equal(w->kind, VMSHM_KIND_PRIVATE);
    assert_memory_equal(w->job, m.job, sizeof m.job);
    assert_int_equal(offset, m.segment.sections[1].offset + vmshm_heap_offset(&m.segment.header));
    vmshm_leave(&m);
}

static void lengths_are_rounded_up(void **state)
{
    static const uint64_t bytes[] = { 0, 1, 65535, 65536, 65537, 131072 };
    static const uint64_t units[] = { 1, 1, 1, 1, 2, 2 };
    struct vmshm_member m;
    uint64_t offset;

    unit_join(*state, 0, "boot", &m);
    for (int i = 0; i < 6; ++i) {
        const uint32_t index = unit_alloc(&m, bytes[i], &offset);

        assert_int_equal(vmshm_window_of(&m.segment, 0, index)->length, units[i] * GRANULE);
    }
    vmshm_leave(&m);
}

static void first_fit(void **state)
{
    struct vmshm_member m;
    uint64_t at[4], again;
    uint32_t index[4];

    unit_join(*state, 0, "boot", &m);
    for (int i = 0; i < 4; ++i) {
        index[i] = unit_alloc(&m, 2 * GRANULE, &at[i]);
        assert_int_equal(at[i], at[0] + (uint64_t) i * 2 * GRANULE);
    }
    vmshm_window_release(&m, index[1]);
    vmshm_window_release(&m, index[3]);
    /* Too large for the first gap: goes behind the last window. */
    unit_alloc(&m, 3 * GRANULE, &again);
    assert_int_equal(again, at[3]);
    /* Fits the first gap, twice. */
    unit_alloc(&m, GRANULE, &again);
    assert_int_equal(again, at[1]);
    unit_alloc(&m, GRANULE, &again);
    assert_int_equal(again, at[1] + GRANULE);
    unit_alloc(&m, GRANULE, &again);
    assert_int_equal(again, at[3] + 3 * GRANULE);
    vmshm_leave(&m);
}

/* Windows whose table order is not their order in memory. */
static void gap_search_with_unsorted_table(void **state)
{
    struct vmshm_member m;
    uint64_t at[6], again;
    uint32_t index[6];

    unit_join(*state, 0, "boot", &m);
    for (int i = 0; i < 6; ++i) {
        index[i] = unit_alloc(&m, GRANULE, &at[i]);
    }
    /* Swap the ranges of the entries: 5 4 3 2 1 0. */
    for (int i = 0; i < 3; ++i) {
        struct vmshm_window *a = vmshm_window_of(&m.segment, 0, index[i]);
        struct vmshm_window *b = vmshm_window_of(&m.segment, 0, index[5 - i]);
        const uint64_t offset = a->offset;

        a->offset = b->offset;
        b->offset = offset;
    }
    unit_alloc(&m, GRANULE, &again);
    assert_int_equal(again, at[5] + GRANULE);
    vmshm_leave(&m);
}

static void memory_is_zeroed_before_reuse(void **state)
{
    struct vmshm_member m;
    struct vmshm_section *section;
    uint64_t a, b;
    uint32_t index;
    uint8_t *p;

    unit_join(*state, 0, "boot", &m);
    section = vmshm_section_of(&m.segment, 0);
    index = unit_alloc(&m, 3 * GRANULE, &a);
    assert_int_equal(section->dirty_end, a + 3 * GRANULE - m.segment.sections[0].offset);
    memset(vmshm_at(&m, a), 0xa5, 3 * GRANULE);
    vmshm_window_release(&m, index);
    /* Partly old memory, partly never used. */
    unit_alloc(&m, 5 * GRANULE, &b);
    assert_int_equal(a, b);
    p = vmshm_at(&m, b);
    for (uint64_t i = 0; i < 5 * GRANULE; ++i) {
        if (0 != p[i]) {
            fail_msg("byte %lu still holds the former owner's data", (unsigned long) i);
        }
    }
    assert_int_equal(section->dirty_end, b + 5 * GRANULE - m.segment.sections[0].offset);
    vmshm_leave(&m);
}

static void section_full(void **state)
{
    struct vmshm_member m;
    uint64_t offset;
    uint32_t index;

    unit_join(*state, 0, "boot", &m);
    must_not_alloc(&m, HEAP + 1, VMSHM_KIND_PRIVATE, "heap");
    must_not_alloc(&m, UNIT_SECTION, VMSHM_KIND_PRIVATE, "heap");
    must_not_alloc(&m, UINT64_C(1) << 62, VMSHM_KIND_PRIVATE, "heap");
    /* Rounding up must not wrap around to nothing. */
    must_not_alloc(&m, UINT64_MAX, VMSHM_KIND_PRIVATE, "heap");
    must_not_alloc(&m, UINT64_MAX - GRANULE + 2, VMSHM_KIND_PRIVATE, "heap");
    index = unit_alloc(&m, HEAP, &offset);
    must_not_alloc(&m, 1, VMSHM_KIND_PRIVATE, "heap");
    vmshm_window_release(&m, index);
    unit_alloc(&m, HEAP - GRANULE, &offset);
    unit_alloc(&m, GRANULE, &offset);
    must_not_alloc(&m, 1, VMSHM_KIND_PRIVATE, "heap");
    vmshm_leave(&m);
}

static void table_full(void **state)
{
    struct vmshm_member m;
    uint64_t offset;

    unit_join(*state, 0, "boot", &m);
    for (int i = 0; i < 64; ++i) {
        unit_alloc(&m, GRANULE, &offset);
    }
    must_not_alloc(&m, GRANULE, VMSHM_KIND_PRIVATE, "windows");
    vmshm_window_release(&m, 17);
    assert_int_equal(unit_alloc(&m, GRANULE, &offset), 17);
    vmshm_leave(&m);
}

static void generations_grow(void **state)
{
    struct vmshm_member m;
    uint64_t offset;

    unit_join(*state, 0, "boot", &m);
    for (uint32_t n = 1; n < 6; ++n) {
        const uint32_t index = unit_alloc(&m, GRANULE, &offset);

        assert_int_equal(index, 0);
        assert_int_equal(vmshm_window_of(&m.segment, 0, 0)->generation, n);
        vmshm_window_release(&m, index);
    }
    vmshm_leave(&m);
}

static void open_half(void **state)
{
    struct vmshm_member m;
    struct vmshm_error e;
    uint64_t border, offset;
    uint32_t index;

    unit_join(*state, 0, "boot", &m);
    border = m.segment.sections[0].offset + m.segment.sections[0].open_offset;
    must_not_alloc(&m, 4 * UNIT_MIB + 1, VMSHM_KIND_OPEN, "heap");
    assert_int_equal(vmshm_window_alloc(&m, 4 * UNIT_MIB, VMSHM_KIND_OPEN, &index, &offset, &e),
                     VMSHM_OK);
    assert_int_equal(offset, border);
    must_not_alloc(&m, 10 * UNIT_MIB + 1, VMSHM_KIND_PRIVATE, "heap");
    unit_alloc(&m, 10 * UNIT_MIB, &offset);
    assert_int_equal(offset + 10 * UNIT_MIB, border);
    vmshm_leave(&m);
}

static void no_open_half(void **state)
{
    struct vmshm_member m;

    unit_join(*state, 0, "boot", &m);
    must_not_alloc(&m, 1, VMSHM_KIND_OPEN, "heap");
    vmshm_leave(&m);
}

/* The own table may hold anything after a crash: it must not lead out of the heap, nor hang. */
static void garbage_in_own_table(void **state)
{
    struct vmshm_member m;
    struct vmshm_window *w;
    uint64_t offset, base;

    unit_join(*state, 0, "boot", &m);
    base = m.segment.sections[0].offset + vmshm_heap_offset(&m.segment.header);
    for (uint32_t i = 0; i < 6; ++i) {
        w = vmshm_window_of(&m.segment, 0, i);
        w->state = VMSHM_WINDOW_LIVE;
        w->proc = 77;
    }
    vmshm_window_of(&m.segment, 0, 0)->offset = UINT64_MAX;
    vmshm_window_of(&m.segment, 0, 0)->length = UINT64_MAX;
    vmshm_window_of(&m.segment, 0, 1)->offset = base;
    vmshm_window_of(&m.segment, 0, 1)->length = UINT64_MAX - base;
    vmshm_window_of(&m.segment, 0, 2)->offset = 0;
    vmshm_window_of(&m.segment, 0, 2)->length = 64 * UNIT_MIB;
    vmshm_window_of(&m.segment, 0, 3)->offset = base;
    vmshm_window_of(&m.segment, 0, 3)->length = 0;
    vmshm_window_of(&m.segment, 0, 4)->state = 99;
    vmshm_window_of(&m.segment, 0, 5)->offset = base + 4096;    /* overlaps and is odd */
    vmshm_window_of(&m.segment, 0, 5)->length = 4096;
    for (int i = 0; i < 8; ++i) {
        unit_alloc(&m, GRANULE, &offset);
        assert_true(vmshm_range_inside(offset, GRANULE, base, HEAP));
        assert_int_equal(offset % GRANULE, 0);
        assert_true(offset >= base + GRANULE);
    }
    vmshm_leave(&m);
}

#define SMALL(test) cmocka_unit_test_setup_teardown(test, unit_setup_segment, unit_teardown)
#define OPEN(test) cmocka_unit_test_setup_teardown(test, setup_open, unit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SMALL(entry_is_complete), SMALL(lengths_are_rounded_up), SMALL(first_fit),
        SMALL(gap_search_with_unsorted_table), SMALL(memory_is_zeroed_before_reuse), SMALL(section_full),
        SMALL(table_full), SMALL(generations_grow), OPEN(open_half), SMALL(no_open_half),
        SMALL(garbage_in_own_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
