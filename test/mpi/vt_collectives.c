/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The collectives with content checked, over sizes, on MPI_COMM_WORLD, a duplicate, halves of it and
 * one with the ranks reversed. Integers are used, so every result has one right value.
 */
#include "vt.h"

static int me, np;
static MPI_Comm comm;
static uint64_t iter;

static struct vt_key key(int src, int dst, int tag, size_t size)
{
    return VT_KEY(src, dst, tag, size, iter);
}

/* What rank r contributes at place i. */
static int64_t value(int r, size_t i)
{
    return (int64_t) (vt_mix(vt_mix((uint64_t) r, i), iter) >> 16);
}

static void bcast(size_t size)
{
    struct vt_buf b;

    vt_buf_init(&b, size);
    for (int root = 0; root < np; root += 1 + np / 3) {
        vt_at("bcast of %zu bytes from %d of %d", size, root, np);
        vt_guard_set(&b, (size_t) root, size);
        if (me == root) {
            vt_fill(b.data, key(root, -1, 1, size));
        }
        MPI(MPI_Bcast(b.data, (int) size, MPI_BYTE, root, comm));
        vt_verify(b.data, key(root, -1, 1, size));
        vt_guard_check(&b);
    }
    vt_buf_free(&b);
}

static void reductions(size_t n)
{
    size_t bytes = n * sizeof(int64_t);
    int64_t *in = vt_malloc(bytes * (size_t) np);
    struct vt_buf b;
    int64_t *out;
    int root = (int) (n % (size_t) np);

    vt_buf_init(&b, bytes);
    for (size_t i = 0; i < n; ++i) {
        in[i] = value(me, i);
    }
    for (int kind = 0; kind < 4; ++kind) {
        static const char *const name[] = {"reduce", "allreduce", "allreduce max", "scan"};
        int upto = 3 == kind ? me + 1 : np;

        vt_at("%s of %zu int64, %d ranks", name[kind], n, np);
        out = (int64_t *) (void *) vt_guard_set(&b, 0, bytes);
        switch (kind) {
        case 0:
            MPI(MPI_Reduce(in, out, (int) n, MPI_INT64_T, MPI_SUM, root, comm));
            break;
        case 1:
            MPI(MPI_Allreduce(in, out, (int) n, MPI_INT64_T, MPI_SUM, comm));
            break;
        case 2:
            MPI(MPI_Allreduce(in, out, (int) n, MPI_INT64_T, MPI_MAX, comm));
            break;
        default:
            MPI(MPI_Scan(in, out, (int) n, MPI_INT64_T, MPI_SUM, comm));
            break;
        }
        vt_guard_check(&b);
        for (size_t i = 0; i < n && (0 != kind || me == root); ++i) {
            int64_t want = value(0, i);

            for (int r = 1; r < upto; ++r) {
                int64_t v = value(r, i);

                want = 2 == kind ? (v > want ? v : want) : want + v;
            }
            CHECK(out[i] == want, "%s: element %zu of %zu is %lld, expected %lld", name[kind], i, n,
                  (long long) out[i], (long long) want);
        }
        vt_count(1, bytes);
    }
    vt_at("reduce_scatter of %zu int64 each, %d ranks", n, np);
    {
        int *counts = vt_malloc(sizeof(*counts) * (size_t) np);

        for (int r = 0; r < np; ++r) {
            counts[r] = (int) n;
        }
        for (size_t i = 0; i < n * (size_t) np; ++i) {
            in[i] = value(me, i);
        }
        out = (int64_t *) (void *) vt_guard_set(&b, 0, bytes);
        MPI(MPI_Reduce_scatter(in, out, counts, MPI_INT64_T, MPI_SUM, comm));
        vt_guard_check(&b);
        for (size_t i = 0; i < n; ++i) {
            int64_t want = 0;

            for (int r = 0; r < np; ++r) {
                want += value(r, (size_t) me * n + i);
            }
            CHECK(out[i] == want, "reduce_scatter: element %zu of %zu is %lld, expected %lld", i, n,
                  (long long) out[i], (long long) want);
        }
        vt_count(1, bytes);
        free(counts);
    }
    vt_buf_free(&b);
    free(in);
}

/* Same size from all (vary = 0) or by rank (the v variants). */
static size_t part(size_t size, int r, int vary)
{
    return vary ? size * (size_t) (r % 3) / 2 + (size_t) r : size;
}

static void gathers(size_t size, int vary)
{
    int *count = vt_malloc(sizeof(int) * (size_t) np), *displ = vt_malloc(sizeof(int) * (size_t) np);
    size_t total = 0, mine = part(size, me, vary);
    unsigned char *out = vt_malloc(mine);
    struct vt_buf b;
    int root = np - 1;

    for (int r = 0; r < np; ++r) {
        count[r] = (int) part(size, r, vary);
        displ[r] = (int) total;
        total += (size_t) count[r];
    }
    vt_buf_init(&b, total);
    for (int kind = 0; kind < 2; ++kind) {
        vt_at("%sgather%s of %zu bytes, %d ranks", kind ? "all" : "", vary ? "v" : "", size, np);
        vt_fill(out, key(me, kind, 2, mine));
        vt_guard_set(&b, 5, total);
        if (0 == kind && vary) {
            MPI(MPI_Gatherv(out, (int) mine, MPI_BYTE, b.data, count, displ, MPI_BYTE, root, comm));
        } else if (0 == kind) {
            MPI(MPI_Gather(out, (int) mine, MPI_BYTE, b.data, (int) mine, MPI_BYTE, root, comm));
        } else if (vary) {
            MPI(MPI_Allgatherv(out, (int) mine, MPI_BYTE, b.data, count, displ, MPI_BYTE, comm));
        } else {
            MPI(MPI_Allgather(out, (int) mine, MPI_BYTE, b.data, (int) mine, MPI_BYTE, comm));
        }
        vt_guard_check(&b);
        for (int r = 0; r < np && (1 == kind || me == root); ++r) {
            vt_verify(b.data + displ[r], key(r, kind, 2, (size_t) count[r]));
        }
    }
    vt_at("scatter%s of %zu bytes, %d ranks", vary ? "v" : "", size, np);
    {
        unsigned char *all = vt_malloc(total);

        for (int r = 0; r < np; ++r) {
            vt_fill(all + displ[r], key(root, r, 3, (size_t) count[r]));
        }
        vt_guard_set(&b, 1, mine);
        if (vary) {
            MPI(MPI_Scatterv(all, count, displ, MPI_BYTE, b.data, (int) mine, MPI_BYTE, root, comm));
        } else {
            MPI(MPI_Scatter(all, (int) mine, MPI_BYTE, b.data, (int) mine, MPI_BYTE, root, comm));
        }
        vt_guard_check(&b);
        vt_verify(b.data, key(root, me, 3, mine));
        free(all);
    }
    vt_buf_free(&b);
    free(out);
    free(count);
    free(displ);
}

static void alltoall(size_t size, int vary)
{
    int *sc = vt_malloc(4 * sizeof(int) * (size_t) np), *sd = sc + np, *rc = sd + np, *rd = rc + np;
    size_t stotal = 0, rtotal = 0;
    unsigned char *out;
    struct vt_buf b;

    for (int r = 0; r < np; ++r) {
        sc[r] = (int) part(size, me + 2 * r, vary);
        rc[r] = (int) part(size, r + 2 * me, vary);
        sd[r] = (int) stotal;
        rd[r] = (int) rtotal;
        stotal += (size_t) sc[r];
        rtotal += (size_t) rc[r];
    }
    vt_at("alltoall%s of %zu bytes, %d ranks", vary ? "v" : "", size, np);
    out = vt_malloc(stotal);
    vt_buf_init(&b, rtotal);
    for (int r = 0; r < np; ++r) {
        vt_fill(out + sd[r], key(me, r, 4, (size_t) sc[r]));
    }
    vt_guard_set(&b, 2, rtotal);
    if (vary) {
        MPI(MPI_Alltoallv(out, sc, sd, MPI_BYTE, b.data, rc, rd, MPI_BYTE, comm));
    } else {
        MPI(MPI_Alltoall(out, (int) size, MPI_BYTE, b.data, (int) size, MPI_BYTE, comm));
    }
    vt_guard_check(&b);
    for (int r = 0; r < np; ++r) {
        vt_verify(b.data + rd[r], key(r, me, 4, (size_t) rc[r]));
    }
    vt_buf_free(&b);
    free(out);
    free(sc);
}

/* Nobody leaves before the last one came: rank 0 is late and says so before it enters. */
static void barrier(void)
{
    int late = (int) (iter % (uint64_t) np), word = 0;
    MPI_Request req;

    vt_at("barrier of %d", np);
    if (me != late) {
        int flag = 0;

        MPI(MPI_Irecv(&word, 1, MPI_INT, late, 77, comm, &req));
        MPI(MPI_Barrier(comm));
        /* The word was sent before the late one entered, so it arrives without another's help. */
        while (!flag) {
            MPI(MPI_Test(&req, &flag, MPI_STATUS_IGNORE));
        }
        CHECK(word == 4711 + (int) iter, "the word sent before the barrier is %d", word);
    } else {
        word = 4711 + (int) iter;
        vt_sleep_ms(5);
        for (int r = 0; r < np; ++r) {
            if (r != me) {
                MPI(MPI_Send(&word, 1, MPI_INT, r, 77, comm));
            }
        }
        MPI(MPI_Barrier(comm));
    }
    vt_count(1, sizeof(word));
}

static void all(MPI_Comm c, size_t max)
{
    size_t n, *sizes = vt_size_few(max, &n);

    comm = c;
    MPI(MPI_Comm_rank(comm, &me));
    MPI(MPI_Comm_size(comm, &np));
    for (size_t i = 0; i < n; ++i) {
        ++iter;
        bcast(sizes[i]);
        reductions(sizes[i] / sizeof(int64_t));
        for (int vary = 0; vary < 2; ++vary) {
            gathers(sizes[i], vary);
            alltoall(sizes[i], vary);
        }
        barrier();
    }
    free(sizes);
}

int main(int argc, char **argv)
{
    size_t max;
    MPI_Comm c;

    vt_init(&argc, &argv, "collectives");
    max = (size_t) vt_arg_num("--max", VT_Q(4 < vt.size ? 140000 : 300000, 34000));
    vt_args_done();
    all(MPI_COMM_WORLD, max);
    MPI(MPI_Comm_dup(MPI_COMM_WORLD, &c));
    all(c, max / 4);
    MPI(MPI_Comm_free(&c));
    MPI(MPI_Comm_split(MPI_COMM_WORLD, vt.rank % 2, vt.rank, &c));
    all(c, max / 4);
    MPI(MPI_Comm_free(&c));
    MPI(MPI_Comm_split(MPI_COMM_WORLD, 0, -vt.rank, &c));
    all(c, max / 8);
    MPI(MPI_Comm_free(&c));
    return vt_report("communicators=4 largest=%zu", max);
}
