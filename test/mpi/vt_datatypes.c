/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Derived datatypes with gaps. Each layout is also described by hand as a list of blocks, so that the
 * check does not rest on MPI's own packing: the payload goes through the blocks in order, the gaps hold a
 * canary that must survive. Every layout is sent to every layout.
 */
#include "vt.h"

#define GAP_CANARY 0x5c

struct block {
    size_t off;
    size_t len;
};

struct layout {
    const char *name;
    MPI_Datatype type;
    int count;
    struct block *b;
    size_t nb;
    size_t span; /* bytes of memory from the buffer's start to the end of the last element */
};

static void layout_block(struct layout *l, size_t off, size_t len)
{
    if (0 == (l->nb & (l->nb - 1))) {
        l->b = realloc(l->b, sizeof(*l->b) * (l->nb ? 2 * l->nb : 1));
        CHECK(NULL != l->b, "out of memory");
    }
    l->b[l->nb].off = off;
    l->b[l->nb].len = len;
    ++l->nb;
    if (l->span < off + len) {
        l->span = off + len;
    }
}

/* All layouts carry 12 * n ints; n >= 0. */
enum { L_CONTIG, L_VECTOR, L_HVECTOR, L_INDEXED, L_HINDEXED, L_STRUCT, L_RESIZED, L_SUBARRAY, L_NESTED,
       L_BLOCKS, L_COUNT };
#define I sizeof(int)

static struct layout layout_make(int kind, int n)
{
    struct layout l = {.name = "?", .count = 1};
    MPI_Datatype t = MPI_INT, u;

    switch (kind) {
    case L_CONTIG:
        l.name = "contiguous";
        MPI(MPI_Type_contiguous(4, MPI_INT, &t));
        l.count = 3 * n;
        layout_block(&l, 0, 12 * (size_t) n * I);
        break;
    case L_VECTOR: /* blocks of 3 ints every 5 */
        l.name = "vector";
        MPI(MPI_Type_vector(4 * n, 3, 5, MPI_INT, &t));
        for (size_t i = 0; i < 4 * (size_t) n; ++i) {
            layout_block(&l, 5 * I * i, 3 * I);
        }
        break;
    case L_HVECTOR: /* one int every 7 bytes: misaligned */
        l.name = "hvector";
        MPI(MPI_Type_create_hvector(12 * n, 1, 7, MPI_INT, &t));
        for (size_t i = 0; i < 12 * (size_t) n; ++i) {
            layout_block(&l, 7 * i, I);
        }
        break;
    case L_INDEXED: { /* 12 ints in blocks of 1, 7, 4 and the last one first */
        int len[3] = {4, 1, 7}, dis[3] = {20, 0, 3};

        l.name = "indexed";
        l.count = n;
        MPI(MPI_Type_indexed(3, len, dis, MPI_INT, &u));
        MPI(MPI_Type_create_resized(u, 0, 26 * I, &t));
        MPI(MPI_Type_free(&u));
        for (size_t i = 0; i < (size_t) n; ++i) {
            for (int j = 0; j < 3; ++j) {
                layout_block(&l, (26 * i + (size_t) dis[j]) * I, (size_t) len[j] * I);
            }
        }
        break;
    }
    case L_HINDEXED: {
        int len[3] = {5, 2, 5};
        MPI_Aint dis[3] = {1, 30, 41};

        l.name = "hindexed";
        l.count = n;
        MPI(MPI_Type_create_hindexed(3, len, dis, MPI_INT, &u));
        MPI(MPI_Type_create_resized(u, 0, 67, &t));
        MPI(MPI_Type_free(&u));
        for (size_t i = 0; i < (size_t) n; ++i) {
            for (int j = 0; j < 3; ++j) {
                layout_block(&l, 67 * i + (size_t) dis[j], (size_t) len[j] * I);
            }
        }
        break;
    }
    case L_STRUCT: { /* members with different types of the same signature */
        int len[3] = {2, 3, 1};
        MPI_Aint dis[3] = {4, 24, 60};
        MPI_Datatype pair, types[3];

        l.name = "struct";
        l.count = n;
        MPI(MPI_Type_contiguous(2, MPI_INT, &pair));
        types[0] = MPI_INT;
        types[1] = pair;
        types[2] = MPI_INT;
        /* 2 + 6 + 1 ints, and 3 more from a second struct around it */
        MPI(MPI_Type_create_struct(3, len, dis, types, &u));
        {
            int olen[2] = {1, 3};
            MPI_Aint odis[2] = {0, 72};
            MPI_Datatype ot[2] = {u, MPI_INT};
            MPI_Datatype v;

            MPI(MPI_Type_create_struct(2, olen, odis, ot, &v));
            MPI(MPI_Type_create_resized(v, 0, 96, &t));
            MPI(MPI_Type_free(&v));
        }
        MPI(MPI_Type_free(&u));
        MPI(MPI_Type_free(&pair));
        for (size_t i = 0; i < (size_t) n; ++i) {
            layout_block(&l, 96 * i + 4, 2 * I);
            layout_block(&l, 96 * i + 24, 6 * I);
            layout_block(&l, 96 * i + 60, I);
            layout_block(&l, 96 * i + 72, 3 * I);
        }
        break;
    }
    case L_RESIZED: /* single ints far apart */
        l.name = "resized";
        l.count = 12 * n;
        MPI(MPI_Type_create_resized(MPI_INT, 0, 24, &t));
        for (size_t i = 0; i < 12 * (size_t) n; ++i) {
            layout_block(&l, 24 * i, I);
        }
        break;
    case L_SUBARRAY: { /* [n] x 3 x 4 out of [n+1] x 5 x 7 */
        int sizes[3] = {n + 1, 5, 7}, sub[3] = {n, 3, 4}, start[3] = {1, 1, 2};

        if (0 == n) {
            MPI(MPI_Type_contiguous(0, MPI_INT, &t));
            l.name = "subarray";
            break;
        }
        l.name = "subarray";
        MPI(MPI_Type_create_subarray(3, sizes, sub, start, MPI_ORDER_C, MPI_INT, &t));
        for (size_t i = 0; i < (size_t) n; ++i) {
            for (size_t j = 0; j < 3; ++j) {
                layout_block(&l, ((i + 1) * 35 + (j + 1) * 7 + 2) * I, 4 * I);
            }
        }
        break;
    }
    case L_NESTED: { /* a vector of vectors of a resized pair */
        MPI_Datatype a, b;

        l.name = "nested";
        l.count = n;
        MPI(MPI_Type_contiguous(2, MPI_INT, &u));
        MPI(MPI_Type_create_resized(u, 0, 3 * I, &a));
        MPI(MPI_Type_vector(3, 1, 2, a, &b));
        MPI(MPI_Type_free(&u));
        MPI(MPI_Type_create_hvector(2, 1, 100, b, &u));
        MPI(MPI_Type_create_resized(u, 0, 200, &t));
        for (size_t i = 0; i < (size_t) n; ++i) {
            for (size_t j = 0; j < 2; ++j) {
                for (size_t k = 0; k < 3; ++k) {
                    layout_block(&l, 200 * i + 100 * j + 6 * I * k, 2 * I);
                }
            }
        }
        MPI(MPI_Type_free(&a));
        MPI(MPI_Type_free(&b));
        MPI(MPI_Type_free(&u));
        break;
    }
    default: { /* indexed_block: pairs, backwards */
        int *dis = vt_malloc(sizeof(*dis) * 6 * (size_t) n);

        l.name = "indexed_block";
        for (int i = 0; i < 6 * n; ++i) {
            dis[i] = 3 * (6 * n - 1 - i);
            layout_block(&l, (size_t) dis[i] * I, 2 * I);
        }
        MPI(MPI_Type_create_indexed_block(6 * n, 2, dis, MPI_INT, &t));
        free(dis);
        break;
    }
    }
    MPI(MPI_Type_commit(&t));
    l.type = t;
    l.span += 64;
    return l;
}

static void layout_free(struct layout *l)
{
    MPI(MPI_Type_free(&l->type));
    free(l->b);
}

/* Puts the message's pattern into the blocks, something else into the gaps. */
static void layout_fill(const struct layout *l, unsigned char *buf, struct vt_key k)
{
    unsigned char *flat = vt_malloc(k.size);
    size_t at = 0;

    vt_fill(flat, k);
    memset(buf, 0x77, l->span);
    for (size_t i = 0; i < l->nb; ++i) {
        memcpy(buf + l->b[i].off, flat + at, l->b[i].len);
        at += l->b[i].len;
    }
    CHECK(at == k.size, "test bug: layout %s carries %zu bytes, not %zu", l->name, at, k.size);
    free(flat);
}

/* The first k.size bytes of payload are the message; all else is the canary still. Destroys buf. */
static void layout_verify(const struct layout *l, unsigned char *buf, struct vt_key k)
{
    unsigned char *flat = vt_malloc(k.size);
    size_t at = 0;

    for (size_t i = 0; i < l->nb && at < k.size; ++i) {
        size_t len = l->b[i].len < k.size - at ? l->b[i].len : k.size - at;

        memcpy(flat + at, buf + l->b[i].off, len);
        memset(buf + l->b[i].off, GAP_CANARY, len);
        at += len;
    }
    vt_verify(flat, k);
    free(flat);
    /* All bytes alike: each equals its neighbour. */
    if (GAP_CANARY != buf[0] || 0 != memcmp(buf, buf + 1, l->span - 1)) {
        size_t i = 0;

        while (GAP_CANARY == buf[i]) {
            ++i;
        }
        VT_FAIL("layout %s, %zu bytes: gap byte %zu of %zu was overwritten with 0x%02x", l->name,
                k.size, i, l->span, buf[i]);
    }
}

/* This rank's part in one transfer: from layout ls here to layout lr there and the other way round. */
static void transfer(int peer, const struct layout *ls, const struct layout *lr, size_t bytes,
                     int packed)
{
    struct vt_key to = VT_KEY(vt.rank, peer, 30 + packed, bytes, 0);
    struct vt_key from = VT_KEY(peer, vt.rank, 30 + packed, bytes, 0);
    unsigned char *out = vt_malloc(ls->span), *in = vt_malloc(lr->span), *pack = NULL;
    MPI_Request req[2];
    MPI_Status st[2];
    int psize = 0, pos = 0, count = -1, elements = -1;

    vt_at("%s -> %s, %zu bytes, packed %d, with %d", ls->name, lr->name, bytes, packed, peer);
    layout_fill(ls, out, to);
    memset(in, GAP_CANARY, lr->span);
    if (0 != packed) {
        MPI(MPI_Pack_size(ls->count, ls->type, MPI_COMM_WORLD, &psize));
        pack = vt_malloc((size_t) psize);
    }
    if (1 == packed) { /* pack, send MPI_PACKED, receive as a type */
        MPI(MPI_Irecv(in, lr->count, lr->type, peer, from.tag, MPI_COMM_WORLD, &req[0]));
        MPI(MPI_Pack(out, ls->count, ls->type, pack, psize, &pos, MPI_COMM_WORLD));
        MPI(MPI_Isend(pack, pos, MPI_PACKED, peer, to.tag, MPI_COMM_WORLD, &req[1]));
        MPI(MPI_Waitall(2, req, st));
    } else if (2 == packed) { /* send a type, receive MPI_PACKED, unpack */
        MPI(MPI_Irecv(pack, psize, MPI_PACKED, peer, from.tag, MPI_COMM_WORLD, &req[0]));
        MPI(MPI_Isend(out, ls->count, ls->type, peer, to.tag, MPI_COMM_WORLD, &req[1]));
        MPI(MPI_Waitall(2, req, st));
        MPI(MPI_Unpack(pack, psize, &pos, in, lr->count, lr->type, MPI_COMM_WORLD));
    } else {
        MPI(MPI_Irecv(in, lr->count, lr->type, peer, from.tag, MPI_COMM_WORLD, &req[0]));
        MPI(MPI_Isend(out, ls->count, ls->type, peer, to.tag, MPI_COMM_WORLD, &req[1]));
        MPI(MPI_Waitall(2, req, st));
        MPI(MPI_Get_count(&st[0], lr->type, &count));
        MPI(MPI_Get_elements(&st[0], lr->type, &elements));
        CHECK(0 == bytes || count == lr->count, "count %d, expected %d", count, lr->count);
        CHECK((size_t) elements * I == bytes, "%d elements, expected %zu", elements, bytes / I);
    }
    layout_verify(lr, in, from);
    free(pack);
    free(in);
    free(out);
}

/* A message that ends in the middle of an element of the receive type. */
static void partial(int peer, int n)
{
    for (int kind = 0; kind < L_COUNT; ++kind) {
        struct layout l = layout_make(kind, n);
        int ints = 12 * n - 5;
        struct vt_key to = VT_KEY(vt.rank, peer, 40, (size_t) ints * I, (uint64_t) kind);
        struct vt_key from = VT_KEY(peer, vt.rank, 40, (size_t) ints * I, (uint64_t) kind);
        unsigned char *out = vt_malloc(to.size), *in = vt_malloc(l.span);
        MPI_Status st;
        int elements, count, tsize;

        vt_at("partial %s, %d ints", l.name, ints);
        vt_fill(out, to);
        memset(in, GAP_CANARY, l.span);
        MPI(MPI_Sendrecv(out, ints, MPI_INT, peer, 40, in, l.count, l.type, peer, 40, MPI_COMM_WORLD,
                         &st));
        layout_verify(&l, in, from);
        MPI(MPI_Get_elements(&st, l.type, &elements));
        CHECK(elements == ints, "MPI_Get_elements says %d of %d ints", elements, ints);
        MPI(MPI_Get_count(&st, l.type, &count));
        MPI(MPI_Type_size(l.type, &tsize));
        if (0 == from.size % (size_t) tsize) {
            CHECK(count == (int) (from.size / (size_t) tsize), "MPI_Get_count says %d", count);
        } else {
            CHECK(MPI_UNDEFINED == count, "MPI_Get_count says %d for a broken element", count);
        }
        free(out);
        free(in);
        layout_free(&l);
    }
}

/* Single bytes two apart: as many blocks as bytes. */
static void tiny_blocks(int peer, int n)
{
    MPI_Datatype t;
    struct vt_key to = VT_KEY(vt.rank, peer, 41, (size_t) n, 0);
    struct vt_key from = VT_KEY(peer, vt.rank, 41, (size_t) n, 0);
    unsigned char *flat = vt_malloc((size_t) n), *out = vt_malloc(2 * (size_t) n);
    unsigned char *in = vt_malloc(2 * (size_t) n);

    vt_at("%d blocks of a byte", n);
    MPI(MPI_Type_vector(n, 1, 2, MPI_BYTE, &t));
    MPI(MPI_Type_commit(&t));
    vt_fill(flat, to);
    memset(out, 0x77, 2 * (size_t) n);
    for (int i = 0; i < n; ++i) {
        out[2 * i] = flat[i];
    }
    memset(in, GAP_CANARY, 2 * (size_t) n);
    MPI(MPI_Sendrecv(out, 1, t, peer, 41, in, 1, t, peer, 41, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
    for (int i = 0; i < n; ++i) {
        flat[i] = in[2 * i];
        CHECK(GAP_CANARY == in[2 * i + 1], "gap byte %d was overwritten with 0x%02x", 2 * i + 1,
              in[2 * i + 1]);
    }
    vt_verify(flat, from);
    MPI(MPI_Type_free(&t));
    free(flat);
    free(in);
    free(out);
}

/* Members of different types with the compiler's own padding between them. */
struct mixed {
    char c;
    double d;
    short s[3];
    int64_t l;
};

static void mixed_struct(int peer, int n)
{
    int len[4] = {1, 1, 3, 1};
    MPI_Aint dis[4] = {offsetof(struct mixed, c), offsetof(struct mixed, d), offsetof(struct mixed, s),
                       offsetof(struct mixed, l)};
    MPI_Datatype types[4] = {MPI_CHAR, MPI_DOUBLE, MPI_SHORT, MPI_INT64_T}, u, t;
    struct mixed *out = vt_malloc(sizeof(*out) * (size_t) n), *in = vt_malloc(sizeof(*in) * (size_t) n);
    MPI_Status st;
    int count, elements;

    vt_at("%d mixed structs", n);
    MPI(MPI_Type_create_struct(4, len, dis, types, &u));
    MPI(MPI_Type_create_resized(u, 0, sizeof(*in), &t));
    MPI(MPI_Type_commit(&t));
    for (int i = 0; i < n; ++i) {
        int v = i + 1000 * vt.rank;

        out[i] = (struct mixed) {.c = (char) (v % 100), .d = 0.5 * v, .l = (int64_t) v << 33};
        for (int j = 0; j < 3; ++j) {
            out[i].s[j] = (short) (v % 9000 + j);
        }
    }
    memset(in, GAP_CANARY, sizeof(*in) * (size_t) n);
    MPI(MPI_Sendrecv(out, n, t, peer, 42, in, n, t, peer, 42, MPI_COMM_WORLD, &st));
    MPI(MPI_Get_count(&st, t, &count));
    MPI(MPI_Get_elements(&st, t, &elements));
    CHECK(count == n && elements == 6 * n, "count %d elements %d for %d structs", count, elements, n);
    for (int i = 0; i < n; ++i) {
        int v = i + 1000 * peer;
        const unsigned char *raw = (const unsigned char *) &in[i];

        CHECK(in[i].c == (char) (v % 100) && in[i].d == 0.5 * v && in[i].l == (int64_t) v << 33,
              "struct %d of %d: c=%d d=%g l=%lld, expected %d %g %lld", i, n, in[i].c, in[i].d,
              (long long) in[i].l, v % 100, 0.5 * v, (long long) v << 33);
        for (int j = 0; j < 3; ++j) {
            CHECK(in[i].s[j] == (short) (v % 9000 + j), "struct %d: s[%d] is %d, expected %d", i, j,
                  in[i].s[j], v % 9000 + j);
        }
        for (size_t b = 1; b < offsetof(struct mixed, d); ++b) {
            CHECK(GAP_CANARY == raw[b], "struct %d: padding byte %zu was overwritten", i, b);
        }
    }
    vt_count(1, (size_t) n * 24);
    MPI(MPI_Type_free(&u));
    MPI(MPI_Type_free(&t));
    free(in);
    free(out);
}

/* No bytes at all, with a count that is not zero, must neither hang nor write. */
static void empty(int peer)
{
    MPI_Datatype t;
    unsigned char in[64], out[64] = {0};
    MPI_Status st;
    int count = -1;

    vt_at("empty type");
    MPI(MPI_Type_vector(0, 1, 3, MPI_INT, &t));
    MPI(MPI_Type_commit(&t));
    memset(in, GAP_CANARY, sizeof(in));
    MPI(MPI_Sendrecv(out, 5, t, peer, 43, in, 7, t, peer, 43, MPI_COMM_WORLD, &st));
    MPI(MPI_Get_count(&st, MPI_BYTE, &count));
    CHECK(0 == count, "an empty message has %d bytes", count);
    for (size_t i = 0; i < sizeof(in); ++i) {
        CHECK(GAP_CANARY == in[i], "byte %zu was written by an empty message", i);
    }
    MPI(MPI_Type_free(&t));
}

int main(int argc, char **argv)
{
    size_t n, max, *sizes;

    vt_init(&argc, &argv, "datatypes");
    max = (size_t) vt_arg_num("--max", VT_Q(4 < vt.size ? 140000 : 300000, 34000));
    vt_args_done();
    if (2 > vt.size) {
        return vt_skip("needs 2 ranks");
    }
    sizes = vt_size_few(max, &n);
    for (int round = 0; round < vt.size; ++round) {
        int peer = (round - vt.rank + vt.size) % vt.size;

        for (size_t i = 0; i < n; ++i) {
            /* Rounded to 12 ints, the size falls at most 47 bytes below the threshold or on it. */
            int units = (int) (sizes[i] / (12 * I));
            struct layout l[L_COUNT];

            if (0 < i && units == (int) (sizes[i - 1] / (12 * I))) {
                continue;
            }
            for (int k = 0; k < L_COUNT; ++k) {
                l[k] = layout_make(k, units);
            }
            for (int a = 0; a < L_COUNT; ++a) {
                for (int b = 0; b < L_COUNT; ++b) {
                    /* All combinations with two ranks; with more each pair takes its share. */
                    if ((a + b + (int) i) % (vt.size - 1) != round % (vt.size - 1)) {
                        continue;
                    }
                    transfer(peer, &l[a], &l[b], 12 * I * (size_t) units, 0);
                }
                transfer(peer, &l[a], &l[L_COUNT - 1 - a], 12 * I * (size_t) units, 1);
                transfer(peer, &l[a], &l[(a + 3) % L_COUNT], 12 * I * (size_t) units, 2);
            }
            for (int k = 0; k < L_COUNT; ++k) {
                layout_free(&l[k]);
            }
        }
        partial(peer, 4);
        partial(peer, 200);
        partial(peer, VT_Q(3000, 800));
        tiny_blocks(peer, 1000);
        tiny_blocks(peer, VT_Q(1000003, 70001));
        mixed_struct(peer, 10);
        mixed_struct(peer, VT_Q(20000, 3000));
        empty(peer);
    }
    free(sizes);
    return vt_report("layouts=%d sizes=%zu", (int) L_COUNT, n);
}
