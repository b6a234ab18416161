/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Short, for many runs with other parameters each: two ranks exchange messages of every size that
 * matters, both ways at once, between contiguous memory and memory with gaps, awaited and not.
 * Rank 0 prints "begun" when MPI_Init is over.
 */
#include "vt.h"

enum { TAG = 5, MOST = 64, RUN = 96, STEP = 160 };

static size_t *sizes;
static size_t count;

/* A message's memory: contiguous, or runs of RUN bytes every STEP. */
static MPI_Datatype type_for(size_t size, bool gaps)
{
    MPI_Datatype runs, type;

    if (!gaps) {
        MPI(MPI_Type_contiguous((int) size, MPI_BYTE, &type));
    } else {
        int blocks[2] = {1, (int) (size % RUN)};
        MPI_Aint at[2] = {0, (MPI_Aint) (size / RUN * STEP)};
        MPI_Datatype types[2];

        MPI(MPI_Type_vector((int) (size / RUN), RUN, STEP, MPI_BYTE, &runs));
        types[0] = runs;
        types[1] = MPI_BYTE;
        MPI(MPI_Type_create_struct(2, blocks, at, types, &type));
        MPI(MPI_Type_free(&runs));
    }
    MPI(MPI_Type_commit(&type));
    return type;
}

static size_t extent_of(size_t size, bool gaps)
{
    return gaps ? size / RUN * STEP + size % RUN : size;
}

/* Packed bytes to or from memory with gaps. */
static void spread(unsigned char *sparse, unsigned char *dense, size_t size, bool gather)
{
    for (size_t at = 0; at < size; at += RUN) {
        const size_t n = size - at < RUN ? size - at : RUN;

        if (gather) {
            memcpy(dense + at, sparse + at / RUN * STEP, n);
        } else {
            memcpy(sparse + at / RUN * STEP, dense + at, n);
        }
    }
}

static unsigned char *dense;

static unsigned char *make_message(size_t size, bool gaps, struct vt_key key)
{
    unsigned char *memory = vt_malloc(extent_of(size, gaps) + 1);

    vt_fill(gaps ? dense : memory, key);
    if (gaps) {
        memset(memory, 0x5a, extent_of(size, gaps));
        spread(memory, dense, size, false);
    }
    return memory;
}

static void check_message(struct vt_buf *b, size_t size, bool gaps, const MPI_Status *status,
                          struct vt_key key)
{
    if (!gaps) {
        vt_check(b->data, status, key);
    } else {
        spread(b->data, dense, size, true);
        vt_check(dense, status, key);
        for (size_t at = 0; at < extent_of(size, true); ++at) {
            CHECK(at % STEP < RUN || 0xa5 == b->data[at], "gap byte %zu was overwritten", at);
        }
    }
    vt_guard_check(b);
}

/* Messages first to first + n - 1 of the list, both ways; late: none is awaited before all have been sent,
 * and the last is received first. */
static void exchange(size_t first, int n, bool out_gaps, bool in_gaps, bool late, uint64_t iter)
{
    const int peer = 1 - vt.rank;
    unsigned char *out[MOST];
    struct vt_buf in[MOST];
    MPI_Request sends[MOST], receives[MOST];
    MPI_Status status[MOST];
    MPI_Datatype type;

    vt_at("%d messages from %zu bytes, gaps %d to %d, late %d", n, sizes[first], out_gaps, in_gaps, late);
    for (int phase = late ? 0 : 1; phase < (late ? 2 : 3); ++phase) {
        for (int k = 0; k < n; ++k) {
            const int i = 1 == phase && late ? n - 1 - k : k;
            const size_t size = sizes[first + (size_t) i];

            if (1 == phase) {
                unsigned char *p;

                vt_buf_init(&in[i], extent_of(size, in_gaps) + 64);
                p = vt_guard_set(&in[i], (size_t) i % 8, extent_of(size, in_gaps));
                memset(p, 0xa5, extent_of(size, in_gaps));
                type = type_for(size, in_gaps);
                MPI(MPI_Irecv(p, 1, type, peer, TAG + i, MPI_COMM_WORLD, &receives[i]));
            } else {
                out[i] = make_message(size, out_gaps, VT_KEY(vt.rank, peer, TAG + i, size, iter));
                type = type_for(size, out_gaps);
                if (!late && 0 == i % 3) {
                    MPI(MPI_Issend(out[i], 1, type, peer, TAG + i, MPI_COMM_WORLD, &sends[i]));
                } else {
                    MPI(MPI_Isend(out[i], 1, type, peer, TAG + i, MPI_COMM_WORLD, &sends[i]));
                }
            }
            MPI(MPI_Type_free(&type));
        }
        if (0 == phase) {
            MPI(MPI_Barrier(MPI_COMM_WORLD));   /* what comes of itself has come */
        }
    }
    MPI(MPI_Waitall(n, receives, status));
    MPI(MPI_Waitall(n, sends, MPI_STATUSES_IGNORE));
    for (int i = 0; i < n; ++i) {
        const size_t size = sizes[first + (size_t) i];

        check_message(&in[i], size, in_gaps, &status[i], VT_KEY(peer, vt.rank, TAG + i, size, iter));
        vt_buf_free(&in[i]);
        free(out[i]);
    }
}

int main(int argc, char **argv)
{
    uint64_t iter = 0;

    vt_init(&argc, &argv, "parameters");
    vt_args_done();
    if (0 == vt.rank) {
        printf("begun\n");
        fflush(stdout);
    }
    if (2 != vt.size) {
        return vt_skip("needs two ranks");
    }
    sizes = vt_size_few(3 << 20, &count);
    dense = vt_malloc(sizes[count - 1] + 1);
    for (int late = 0; late < 2; ++late) {
        for (int gaps = 0; gaps < 4; ++gaps) {
            for (size_t i = 0; i < count; i += MOST) {
                const int n = (int) (count - i < MOST ? count - i : MOST);

                exchange(i, n, 0 != (gaps & 1), 0 != (gaps & 2), late, ++iter);
            }
        }
    }
    /* One at a time, too. */
    for (size_t i = 0; i < count; ++i) {
        exchange(i, 1, false, false, false, ++iter);
    }
    free(dense);
    free(sizes);
    return vt_report("sizes=%zu", count);
}
