/* SPDX-License-Identifier: BSD-3-Clause */
/* How a message lies in memory: MPI datatypes, the same as a list of blocks, buffers with guard zones. */
#include "storm.h"

#define POISON 0xdb
#define GUARD  256              /* bytes before and behind, beyond the layout's own gaps */
#define MOST_BLOCKS 40000u

static void add_block(struct storm_layout *l, ptrdiff_t at, size_t bytes)
{
    if (0 == bytes) {
        return;
    }
    l->block[l->blocks++] = (struct storm_block) {.at = at, .bytes = bytes};
    l->bytes += bytes;
    l->low = at < l->low ? at : l->low;
    l->high = at + (ptrdiff_t) bytes > l->high ? at + (ptrdiff_t) bytes : l->high;
}

static void room_for(struct storm_layout *l, size_t blocks)
{
    l->block = vt_malloc((blocks + 1) * sizeof(*l->block));
}

/* A length of which the number divides into blocks that are not too many; 0: none was found. */
static size_t draw_divisor(size_t n, size_t least_blocks, uint64_t *random)
{
    static const size_t some[] = {1, 2, 3, 5, 7, 8, 16, 31, 64, 100, 127, 128, 256, 500, 512, 1000, 1024,
                                  4096};
    const size_t count = sizeof(some) / sizeof(some[0]), from = vt_rand_below(random, count);

    for (size_t i = 0; i < count; ++i) {
        const size_t d = some[(from + i) % count];

        if (0 == n % d && n / d <= MOST_BLOCKS && n / d >= least_blocks) {
            return d;
        }
    }
    return 0;
}

static void contiguous(struct storm_layout *l, MPI_Datatype element, size_t e, size_t n)
{
    room_for(l, 1);
    add_block(l, 0, n * e);
    l->type = element;
    l->count = (int) n;
}

static void take(struct storm_layout *l, MPI_Datatype type)
{
    MPI(MPI_Type_commit(&type));
    l->type = type;
    l->count = 1;
    l->made = true;
}

static void vector(struct storm_layout *l, MPI_Datatype element, size_t e, size_t n, bool types,
                   uint64_t *random)
{
    size_t row = 1 + vt_rand_below(random, 1u << vt_rand_below(random, 13)), rows, rest;
    ptrdiff_t stride;

    if (n / row > MOST_BLOCKS) {
        row = n / MOST_BLOCKS + 1;
    }
    rows = n / row;
    rest = n % row;
    stride = (ptrdiff_t) (row + vt_rand_below(random, row + 3));
    if (0 == vt_rand_below(random, 4)) {
        /* Blocks that touch, in descending order, Open MPI 4.1 takes for contiguous. */
        stride = -stride - 1;
    }
    room_for(l, rows + 1);
    for (size_t i = 0; i < rows; ++i) {
        add_block(l, (ptrdiff_t) i * stride * (ptrdiff_t) e, row * e);
    }
    ptrdiff_t behind = l->high + (ptrdiff_t) (8 * vt_rand_below(random, 5));
    add_block(l, behind, rest * e);
    if (types) {
        MPI_Datatype v, both;

        MPI(MPI_Type_vector((int) rows, (int) row, (int) stride, element, &v));
        MPI(MPI_Type_create_struct(2, (int[]) {1, (int) rest}, (MPI_Aint[]) {0, (MPI_Aint) behind},
                                   (MPI_Datatype[]) {v, element}, &both));
        MPI(MPI_Type_free(&v));
        take(l, both);
    }
}

/* Blocks that are `at` apart from each other at random; first: where the layout begins. */
static void indexed(struct storm_layout *l, MPI_Datatype element, size_t e, size_t n, bool types,
                    size_t most, ptrdiff_t first, bool overlapping, bool as_struct, uint64_t *random)
{
    size_t blocks = 1 + vt_rand_below(random, most), done = 0, k = 0;
    int *lengths = vt_malloc(blocks * sizeof(*lengths));
    MPI_Aint *at = vt_malloc(blocks * sizeof(*at));
    ptrdiff_t place = first;

    room_for(l, blocks);
    for (; k < blocks && done < n; ++k) {
        size_t left = n - done;
        size_t length = k + 1 == blocks ? left : 1 + vt_rand_below(random, 2 * (left / (blocks - k)) + 1);

        length = length > left ? left : length;
        lengths[k] = (int) length;
        at[k] = place;
        place += (ptrdiff_t) (length * e);
        if (overlapping) {
            place -= (ptrdiff_t) (vt_rand_below(random, length + 1) * e);
        } else {
            place += (ptrdiff_t) (e * vt_rand_below(random, 1u << vt_rand_below(random, 9)));
        }
        done += length;
    }
    if (!overlapping && 0 != vt_rand_below(random, 2)) {
        for (size_t i = k; i > 1; --i) {
            size_t j = vt_rand_below(random, i);
            int length = lengths[i - 1];
            MPI_Aint where = at[i - 1];

            lengths[i - 1] = lengths[j];
            at[i - 1] = at[j];
            lengths[j] = length;
            at[j] = where;
        }
    }
    for (size_t i = 0; i < k; ++i) {
        add_block(l, at[i], (size_t) lengths[i] * e);
    }
    if (types) {
        MPI_Datatype type, *all;

        if (as_struct) {
            all = vt_malloc((k + 1) * sizeof(*all));
            for (size_t i = 0; i < k; ++i) {
                all[i] = element;
            }
            MPI(MPI_Type_create_struct((int) k, lengths, at, all, &type));
            free(all);
        } else {
            MPI(MPI_Type_create_hindexed((int) k, lengths, at, element, &type));
        }
        take(l, type);
    }
    free(lengths);
    free(at);
}

/* n / d times d elements, each with a gap behind it, or before it. */
static bool resized(struct storm_layout *l, MPI_Datatype element, size_t e, size_t n, bool types,
                    bool negative, uint64_t *random)
{
    size_t d = draw_divisor(n, 1, random), extent;
    ptrdiff_t lower = 0;

    if (0 == d) {
        return false;
    }
    extent = d * e + 8 * vt_rand_below(random, 40);
    if (negative) {
        lower = -(ptrdiff_t) (8 * (1 + vt_rand_below(random, 20)));
    }
    room_for(l, n / d);
    for (size_t i = 0; i < n / d; ++i) {
        add_block(l, (ptrdiff_t) (i * extent) + lower, d * e);
    }
    if (types) {
        MPI_Datatype moved, type;
        int length = (int) d;
        MPI_Aint at = lower;

        MPI(MPI_Type_create_hindexed(1, &length, &at, element, &moved));
        MPI(MPI_Type_create_resized(moved, lower, (MPI_Aint) extent, &type));
        MPI(MPI_Type_free(&moved));
        take(l, type);
        l->count = (int) (n / d);
    }
    return true;
}

static bool nested(struct storm_layout *l, MPI_Datatype element, size_t e, size_t n, bool types,
                   uint64_t *random)
{
    size_t row = draw_divisor(n, 2, random), inner, outer, step, far;

    if (0 == row) {
        return false;
    }
    inner = draw_divisor(n / row, 1, random);
    if (0 == inner) {
        return false;
    }
    outer = n / row / inner;
    step = row + vt_rand_below(random, row + 3);
    far = inner * step * e + 8 * vt_rand_below(random, 20);
    room_for(l, inner * outer);
    for (size_t i = 0; i < outer; ++i) {
        for (size_t j = 0; j < inner; ++j) {
            add_block(l, (ptrdiff_t) (i * far + j * step * e), row * e);
        }
    }
    if (types) {
        MPI_Datatype v, type;

        MPI(MPI_Type_vector((int) inner, (int) row, (int) step, element, &v));
        MPI(MPI_Type_create_hvector((int) outer, 1, (MPI_Aint) far, v, &type));
        MPI(MPI_Type_free(&v));
        take(l, type);
    }
    return true;
}

static bool subarray(struct storm_layout *l, MPI_Datatype element, size_t e, size_t n, bool types,
                     uint64_t *random)
{
    size_t row = draw_divisor(n, 2, random), rows, wide, high, x, y;

    if (0 == row) {
        return false;
    }
    rows = n / row;
    wide = row + vt_rand_below(random, row + 5);
    high = rows + vt_rand_below(random, 4);
    x = vt_rand_below(random, wide - row + 1);
    y = vt_rand_below(random, high - rows + 1);
    room_for(l, rows);
    for (size_t i = 0; i < rows; ++i) {
        add_block(l, (ptrdiff_t) (((y + i) * wide + x) * e), row * e);
    }
    if (types) {
        MPI_Datatype type;

        MPI(MPI_Type_create_subarray(2, (int[]) {(int) high, (int) wide},
                                     (int[]) {(int) rows, (int) row}, (int[]) {(int) y, (int) x},
                                     MPI_ORDER_C, element, &type));
        take(l, type);
    }
    return true;
}

void storm_layout_make(struct storm_layout *l, enum storm_shape shape, uint64_t detail,
                       enum storm_element element, size_t n, bool types)
{
    MPI_Datatype base = storm_element_type(element);
    const size_t e = storm_element_bytes(element);
    uint64_t random = detail;

    memset(l, 0, sizeof(*l));
    l->type = base;
    switch (0 == n ? STORM_CONTIGUOUS : shape) {
    case STORM_CONTIGUOUS:
        contiguous(l, base, e, n);
        return;
    case STORM_VECTOR:
        vector(l, base, e, n, types, &random);
        return;
    case STORM_STRUCT:
        indexed(l, base, e, n, types, 6, 0, false, true, &random);
        return;
    case STORM_RESIZED:
        if (resized(l, base, e, n, types, false, &random)) {
            return;
        }
        break;
    case STORM_NEGATIVE:
        if (0 == vt_rand_below(&random, 2) && resized(l, base, e, n, types, true, &random)) {
            return;
        }
        indexed(l, base, e, n, types, 40, -(ptrdiff_t) (8 * (1 + vt_rand_below(&random, 100))), false,
                false, &random);
        return;
    case STORM_NESTED:
        if (nested(l, base, e, n, types, &random)) {
            return;
        }
        break;
    case STORM_SUBARRAY:
        if (subarray(l, base, e, n, types, &random)) {
            return;
        }
        break;
    case STORM_OVERLAPPING:
        indexed(l, base, e, n, types, 30, 0, true, false, &random);
        return;
    default:
        break;
    }
    indexed(l, base, e, n, types, 400, 0, false, false, &random);
}

void storm_layout_column(struct storm_layout *l, enum storm_element element, size_t rows, size_t row,
                         int columns)
{
    const size_t e = storm_element_bytes(element);
    MPI_Datatype v, type;

    memset(l, 0, sizeof(*l));
    room_for(l, rows);
    for (size_t i = 0; i < rows; ++i) {
        add_block(l, (ptrdiff_t) (i * row * (size_t) columns * e), row * e);
    }
    MPI(MPI_Type_vector((int) rows, (int) row, (int) row * columns, storm_element_type(element), &v));
    MPI(MPI_Type_create_resized(v, 0, (MPI_Aint) (row * e), &type));
    MPI(MPI_Type_free(&v));
    take(l, type);
}

void storm_layout_free(struct storm_layout *l)
{
    if (l->made) {
        MPI(MPI_Type_free(&l->type));
    }
    free(l->block);
    l->block = NULL;
    l->made = false;
}

/* ------------------------------------------------------------------------------------- buffers -- */

static void allocate(struct storm_buffer *b, ptrdiff_t low, size_t bytes, size_t skew)
{
    b->total = bytes + 2 * GUARD + skew;
    b->base = vt_malloc(b->total);
    b->origin = b->base + GUARD + skew - low;
    storm_buffer_poison(b);
}

void storm_buffer_make(struct storm_buffer *b, enum storm_shape shape, uint64_t detail,
                       enum storm_element element, size_t elements, size_t behind)
{
    storm_layout_make(&b->layout, shape, detail, element, elements, true);
    /* Elements are aligned as in any program; bytes may begin anywhere. */
    allocate(b, b->layout.low, (size_t) (b->layout.high - b->layout.low) + behind,
             STORM_BYTE == element ? detail % 64 : detail % 8 * 8);
}

void storm_buffer_around(struct storm_buffer *b, size_t bytes)
{
    allocate(b, 0, bytes, 0);
}

void storm_buffer_free(struct storm_buffer *b)
{
    vt_handed_back(b->origin + b->layout.low);
    storm_layout_free(&b->layout);
    free(b->base);
    b->base = NULL;
}

void storm_buffer_poison(struct storm_buffer *b)
{
    vt_handed_back(b->origin + b->layout.low);
    memset(b->base, POISON, b->total);
    vt_handed_over(b->origin + b->layout.low);
}

void storm_buffer_fill(struct storm_buffer *b, uint64_t stamp)
{
    size_t offset = 0;

    for (size_t i = 0; i < b->layout.blocks; ++i) {
        storm_fill(stamp, b->origin + b->layout.block[i].at, offset, b->layout.block[i].bytes);
        offset += b->layout.block[i].bytes;
    }
}

void storm_check_poison(const struct storm_plan *plan, const struct storm_op *op, int part,
                        const struct storm_buffer *b, const char *what)
{
    for (size_t i = 0; i < b->total; ++i) {
        size_t n = i, last = i;
        char whose[160] = "";

        if (i + 256 <= b->total && POISON == b->base[i]
            && 0 == memcmp(b->base + i, b->base + i + 1, 255)) {
            i += 255;
            continue;
        }
        if (POISON == b->base[i]) {
            continue;
        }
        for (; n < b->total; ++n) {
            last = POISON == b->base[n] ? last : n;
        }
        if (i + 8 <= b->total) {
            storm_whose(b->base + i, whose, sizeof(whose));
        }
        storm_fail(plan, op, part,
                   "%s: %zu bytes from %td on of a buffer of %zu (up to %td) were overwritten that do not "
                   "belong to the message: %s", what, last - i + 1, b->base + i - b->origin,
                   b->layout.bytes, b->layout.high, whose);
    }
}

/* Where the wrong bytes belong: any of the next 8 places may be a word's first. */
static void wrong(const struct storm_plan *plan, const struct storm_op *op, int part,
                  const unsigned char *at, uint64_t stamp, size_t offset, size_t n, size_t first)
{
    size_t bad = 0, last = first, aligned = first + (8 - (offset + first) % 8) % 8;
    char whose[160] = "too few to tell where they belong";

    for (size_t i = first; i < n; ++i) {
        size_t none;

        if (!storm_same(stamp, at + i, offset + i, 1, &none)) {
            ++bad;
            last = i;
        }
    }
    for (size_t i = 0; i < 8 && aligned + i + 8 <= n; ++i) {
        storm_whose(at + aligned + i, whose, sizeof(whose));
        if (NULL == strstr(whose, "of no message")) {
            break;
        }
        if (7 == i) {
            storm_whose(at + aligned, whose, sizeof(whose));
        }
    }
    storm_fail(plan, op, part, "byte %zu of the message is wrong, and %zu of the %zu behind it up to byte "
                               "%zu; there are %s", offset + first, bad - 1, n - first - 1, offset + last,
               whose);
}

void storm_check_piece(const struct storm_plan *plan, const struct storm_op *op, int part,
                       unsigned char *at, uint64_t stamp, size_t offset, size_t n)
{
    size_t first;

    if (!storm_same(stamp, at, offset, n, &first)) {
        wrong(plan, op, part, at, stamp, offset, n, first);
    }
    memset(at, POISON, n);
    vt_count(0, n);
}

/* What an overlapping send really sends, packed. */
static unsigned char *packed(const struct storm_buffer *sender, uint64_t stamp)
{
    const struct storm_layout *l = &sender->layout;
    unsigned char *memory = vt_malloc((size_t) (l->high - l->low)), *all = vt_malloc(l->bytes);
    size_t offset = 0;

    for (size_t i = 0; i < l->blocks; ++i) {
        storm_fill(stamp, memory + (l->block[i].at - l->low), offset, l->block[i].bytes);
        offset += l->block[i].bytes;
    }
    offset = 0;
    for (size_t i = 0; i < l->blocks; ++i) {
        memcpy(all + offset, memory + (l->block[i].at - l->low), l->block[i].bytes);
        offset += l->block[i].bytes;
    }
    free(memory);
    return all;
}

void storm_buffer_check(const struct storm_plan *plan, const struct storm_op *op, int part,
                        struct storm_buffer *b, uint64_t stamp, size_t bytes,
                        const struct storm_buffer *sender)
{
    unsigned char *expected = NULL == sender ? NULL : packed(sender, stamp);
    size_t offset = 0;

    for (size_t i = 0; i < b->layout.blocks && offset < bytes; ++i) {
        size_t n = b->layout.block[i].bytes, k;
        unsigned char *at = b->origin + b->layout.block[i].at;

        n = n > bytes - offset ? bytes - offset : n;
        if (NULL == expected) {
            storm_check_piece(plan, op, part, at, stamp, offset, n);
        } else {
            for (k = 0; k < n && expected[offset + k] == at[k]; ++k) {
            }
            if (k < n) {
                char whose[160] = "too few to tell";

                if (k + 8 <= n) {
                    storm_whose(at + k, whose, sizeof(whose));
                }
                storm_fail(plan, op, part, "byte %zu of a message from an overlapping type is 0x%02x, not "
                                           "0x%02x; there are %s", offset + k, at[k],
                           expected[offset + k], whose);
            }
            memset(at, POISON, n);
            vt_count(0, n);
        }
        offset += n;
    }
    free(expected);
    storm_check_poison(plan, op, part, b, "receive buffer");
}

void storm_check_sent(const struct storm_plan *plan, const struct storm_op *op, int part,
                      const struct storm_buffer *b, uint64_t stamp)
{
    size_t offset = 0, first;

    /* Of overlapping blocks only the last is as it was filled. */
    for (size_t i = 0; i < b->layout.blocks; ++i) {
        const struct storm_block *block = &b->layout.block[i];
        bool last = i + 1 == b->layout.blocks;

        if ((STORM_OVERLAPPING != op->m[part].send.shape || last)
            && !storm_same(stamp, b->origin + block->at, offset, block->bytes, &first)) {
            storm_fail(plan, op, part, "the send buffer was changed at byte %zu", offset + first);
        }
        offset += block->bytes;
    }
}
