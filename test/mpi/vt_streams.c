/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many large messages under way at once, received in an order that is not the order of sending. A
 * transport that starts to move a message before it is awaited must drop what it sent ahead of time
 * and begin again, without loss and without mixing one message into another. Among them some that are
 * truncated, some received into memory with gaps, and some that are waited for in pieces.
 */
#include "vt.h"

enum { MOST = 24, TAG = 7 };
enum how { IN_ORDER, REVERSED, SHUFFLED, EVEN_FIRST, HOWS };

static uint64_t state;
static bool allow_overrun; /* see vt_truncate */

static size_t draw(size_t below)
{
    return vt_rand_below(&state, below);
}

static size_t draw_size(void)
{
    static const size_t around[] = {4096, 8178, 8192, 16384, 57344, 65536, 131072, 300000};
    const size_t size = around[draw(sizeof(around) / sizeof(around[0]))];

    return size - 64 + draw(129);
}

static void make_order(enum how how, int n, int *order)
{
    for (int i = 0; i < n; ++i) {
        order[i] = REVERSED == how ? n - 1 - i
                   : EVEN_FIRST == how ? (2 * i < n ? 2 * i : 2 * (i - (n + 1) / 2) + 1) : i;
    }
    for (int i = n - 1; SHUFFLED == how && i > 0; --i) {
        const int j = (int) draw((size_t) i + 1), t = order[i];

        order[i] = order[j];
        order[j] = t;
    }
}

/* Every second byte of the buffer: the receiver has nowhere to have it moved to as a whole. */
static void receive_with_gaps(int peer, int tag, size_t size, struct vt_key key)
{
    unsigned char *sparse = vt_malloc(2 * size + 2), *dense = vt_malloc(size);
    MPI_Datatype every_second;

    memset(sparse, 0x5a, 2 * size + 2);
    MPI(MPI_Type_vector((int) size, 1, 2, MPI_BYTE, &every_second));
    MPI(MPI_Type_commit(&every_second));
    MPI(MPI_Recv(sparse, 1, every_second, peer, tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
    MPI(MPI_Type_free(&every_second));
    for (size_t i = 0; i < size; ++i) {
        dense[i] = sparse[2 * i];
        CHECK(0x5a == sparse[2 * i + 1], "byte %zu between the elements was overwritten", 2 * i + 1);
    }
    vt_verify(dense, key);
    free(dense);
    free(sparse);
}

static void receive_short(int peer, int tag, size_t size)
{
    const size_t space = size / 2;
    unsigned char *in = vt_malloc(size);
    int rc, class = MPI_SUCCESS;

    memset(in, 0xe7, size);
    MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    rc = MPI_Recv(in, (int) space, MPI_BYTE, peer, tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_ARE_FATAL));
    if (MPI_SUCCESS != rc) {
        MPI(MPI_Error_class(rc, &class));
    }
    CHECK(MPI_ERR_TRUNCATE == class, "a receive of %zu of %zu bytes gave error class %d", space, size,
          class);
    for (size_t i = space; i < size; ++i) {
        CHECK(0xe7 == in[i], "byte %zu behind a buffer of %zu bytes was overwritten", i - space, space);
    }
    vt_count(1, 0);
    free(in);
}

static void receive_one(int peer, int i, size_t size, struct vt_key key, unsigned kind)
{
    unsigned char *in;

    if (1 == kind) {
        receive_with_gaps(peer, TAG + i, size, key);
        return;
    }
    if (2 == kind && !allow_overrun) {
        receive_short(peer, TAG + i, size);
        return;
    }
    in = vt_malloc(size);
    MPI(MPI_Recv(in, (int) size, MPI_BYTE, peer, TAG + i, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
    vt_verify(in, key);
    free(in);
}

/* Both send all they have, then receive in the given order: what comes meanwhile is unexpected. */
static void round_of(enum how how, int n, int peer, uint64_t iter)
{
    size_t size[MOST];
    unsigned kind[MOST];
    unsigned char *out[MOST];
    MPI_Request req[MOST];
    int order[MOST];

    state = vt.seed * 1000003 + iter;               /* both sides draw the same */
    for (int i = 0; i < n; ++i) {
        size[i] = draw_size();
        kind[i] = (unsigned) draw(8);
    }
    make_order(how, n, order);
    for (int i = 0; i < n; ++i) {
        const struct vt_key key = VT_KEY(vt.rank, peer, TAG + i, size[i], iter);

        out[i] = vt_malloc(size[i]);
        vt_fill(out[i], key);
        MPI(MPI_Isend(out[i], (int) size[i], MPI_BYTE, peer, TAG + i, MPI_COMM_WORLD, &req[i]));
    }
    if (0 == iter % 3) {
        /* Let the other side's first chunks come before anything is awaited. */
        for (int k = 0; k < 200; ++k) {
            int flag;

            MPI(MPI_Iprobe(peer, TAG + MOST, MPI_COMM_WORLD, &flag, MPI_STATUS_IGNORE));
        }
    }
    for (int k = 0; k < n; ++k) {
        const int i = order[k];

        vt_at("message %d of %d, %zu bytes, order %d", i, n, size[i], (int) how);
        receive_one(peer, i, size[i], VT_KEY(peer, vt.rank, TAG + i, size[i], iter), kind[i]);
    }
    MPI(MPI_Waitall(n, req, MPI_STATUSES_IGNORE));
    for (int i = 0; i < n; ++i) {
        free(out[i]);
    }
}

/* All receives are posted first, in that order: they complete as they come. */
static void posted_round(enum how how, int n, int peer, uint64_t iter)
{
    unsigned char *in[MOST], *out[MOST];
    MPI_Request req[2 * MOST];
    size_t size[MOST];
    int order[MOST];

    state = vt.seed * 999983 + iter;
    for (int i = 0; i < n; ++i) {
        size[i] = draw_size();
    }
    make_order(how, n, order);
    for (int k = 0; k < n; ++k) {
        const int i = order[k];

        in[i] = vt_malloc(size[i]);
        MPI(MPI_Irecv(in[i], (int) size[i], MPI_BYTE, peer, TAG + i, MPI_COMM_WORLD, &req[k]));
    }
    for (int i = 0; i < n; ++i) {
        out[i] = vt_malloc(size[i]);
        vt_fill(out[i], VT_KEY(vt.rank, peer, TAG + i, size[i], iter));
        MPI(MPI_Isend(out[i], (int) size[i], MPI_BYTE, peer, TAG + i, MPI_COMM_WORLD, &req[n + i]));
    }
    vt_at("%d posted receives", n);
    MPI(MPI_Waitall(2 * n, req, MPI_STATUSES_IGNORE));
    for (int i = 0; i < n; ++i) {
        vt_verify(in[i], VT_KEY(peer, vt.rank, TAG + i, size[i], iter));
        free(in[i]);
        free(out[i]);
    }
}

int main(int argc, char **argv)
{
    int rounds, peer;

    vt_init(&argc, &argv, "streams");
    rounds = VT_Q(60, 12);
    allow_overrun = vt_flag("--allow-ob1-overrun");
    vt_args_done();
    if (2 > vt.size) {
        return vt_skip("needs 2 ranks");
    }
    /* Pairs; a rank without a partner only reports. */
    peer = vt.rank ^ 1;
    for (int r = 0; r < rounds && peer < vt.size; ++r) {
        const int n = 1 + r % MOST;

        vt_watchdog_restart(0);
        round_of((enum how) (r % HOWS), n, peer, (uint64_t) r);
        posted_round((enum how) (r / 2 % HOWS), n, peer, (uint64_t) r);
    }
    return vt_report("rounds=%d", rounds);
}
