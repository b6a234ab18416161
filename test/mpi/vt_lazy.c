/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * First contact. Open MPI adds remote processes when they are first used, so a message can come from a
 * process that the receiver never heard of. Nothing here may be preceded by a collective: the order of
 * the phases is the test.
 */
#include "vt.h"

static size_t max_size;
static unsigned char *out;
static struct vt_buf in;

static size_t first_size(int src, int phase)
{
    static const size_t base[] = {8, 40000, 0, 5000, 150000, 300};
    size_t s = base[(src + phase) % 6] + (size_t) src;

    return s < max_size ? s : max_size;
}

int main(int argc, char **argv)
{
    MPI_Status st;
    size_t size;
    int next, prev;

    vt_init(&argc, &argv, "lazy");
    max_size = VT_Q(200000, 20000);
    vt_args_done();
    if (2 > vt.size) {
        return vt_skip("needs 2 ranks");
    }
    out = vt_malloc(max_size);
    vt_buf_init(&in, max_size);

    /* 1. Everybody writes to rank 0, which never sent anything; the others have sent nothing before. */
    if (0 == vt.rank) {
        bool *seen = calloc((size_t) vt.size, sizeof(*seen));

        CHECK(NULL != seen, "out of memory");
        for (int i = 1; i < vt.size; ++i) {
            vt_at("first messages, %d of %d", i, vt.size - 1);
            vt_guard_set(&in, (size_t) i, max_size);
            MPI(MPI_Recv(in.data, (int) max_size, MPI_BYTE, MPI_ANY_SOURCE, 1, MPI_COMM_WORLD, &st));
            CHECK(0 < st.MPI_SOURCE && st.MPI_SOURCE < vt.size && !seen[st.MPI_SOURCE],
                  "a first message from rank %d", st.MPI_SOURCE);
            seen[st.MPI_SOURCE] = true;
            vt_check(in.data, &st, VT_KEY(st.MPI_SOURCE, 0, 1, first_size(st.MPI_SOURCE, 0), 0));
            vt_guard_check(&in);
        }
        free(seen);
    } else {
        /* The later ranks come later, so that contact is made while rank 0 is already waiting. */
        vt_sleep_ms(3 * (vt.rank % 8));
        size = first_size(vt.rank, 0);
        vt_at("first message of %zu bytes to 0", size);
        vt_fill(out, VT_KEY(vt.rank, 0, 1, size, 0));
        MPI(MPI_Send(out, (int) size, MPI_BYTE, 0, 1, MPI_COMM_WORLD));
    }

    /* 2. A token around the ring, once in each direction: each link is first used by its receiver. */
    next = (vt.rank + 1) % vt.size;
    prev = (vt.rank - 1 + vt.size) % vt.size;
    for (int dir = 0; dir < 2; ++dir) {
        int to = dir ? prev : next, from = dir ? next : prev;

        for (int lap = 0; lap < 3; ++lap) {
            vt_at("ring, direction %d, lap %d", dir, lap);
            size = first_size(lap, 1);
            if (0 == vt.rank) {
                vt_fill(out, VT_KEY(0, to, 2, size, (uint64_t) lap));
                MPI(MPI_Send(out, (int) size, MPI_BYTE, to, 2, MPI_COMM_WORLD));
            }
            vt_guard_set(&in, 3, size);
            MPI(MPI_Recv(in.data, (int) size, MPI_BYTE, from, 2, MPI_COMM_WORLD, &st));
            vt_check(in.data, &st, VT_KEY(from, vt.rank, 2, size, (uint64_t) lap));
            vt_guard_check(&in);
            if (0 != vt.rank) {
                vt_fill(out, VT_KEY(vt.rank, to, 2, size, (uint64_t) lap));
                MPI(MPI_Send(out, (int) size, MPI_BYTE, to, 2, MPI_COMM_WORLD));
            }
        }
    }

    /* 3. Both ends of a link use it for the first time at the same moment: all pairs, all at once. */
    {
        int n = vt.size;
        MPI_Request *req = vt_malloc(sizeof(*req) * 2 * (size_t) n);
        unsigned char *outs = vt_malloc(max_size * (size_t) n);
        struct vt_buf *ins = vt_malloc(sizeof(*ins) * (size_t) n);
        MPI_Status *sts = vt_malloc(sizeof(*sts) * 2 * (size_t) n);

        vt_at("all to all");
        for (int i = 0; i < n; ++i) {
            int peer = (vt.rank + i) % n;

            size = first_size(vt.rank + peer, 2);
            vt_fill(outs + max_size * (size_t) i, VT_KEY(vt.rank, peer, 3, size, 0));
            MPI(MPI_Isend(outs + max_size * (size_t) i, (int) size, MPI_BYTE, peer, 3, MPI_COMM_WORLD,
                          &req[n + i]));
        }
        for (int i = 0; i < n; ++i) {
            int peer = (vt.rank + i) % n;

            vt_buf_init(&ins[i], max_size);
            vt_guard_set(&ins[i], (size_t) i, max_size);
            MPI(MPI_Irecv(ins[i].data, (int) max_size, MPI_BYTE, peer, 3, MPI_COMM_WORLD, &req[i]));
        }
        MPI(MPI_Waitall(2 * n, req, sts));
        for (int i = 0; i < n; ++i) {
            int peer = (vt.rank + i) % n;

            vt_check(ins[i].data, &sts[i],
                     VT_KEY(peer, vt.rank, 3, first_size(vt.rank + peer, 2), 0));
            vt_guard_check(&ins[i]);
            vt_buf_free(&ins[i]);
        }
        free(sts);
        free(ins);
        free(outs);
        free(req);
    }
    free(out);
    vt_buf_free(&in);
    return vt_report("largest=%zu", max_size);
}
