/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages between two ranks do not overtake each other: windows of 1..256 messages of random sizes
 * and tags in flight, received by tag or with MPI_ANY_TAG; then floods that arrive before the first
 * receive is posted and are received in another order of tags.
 *
 * Sender and receiver compute sizes and tags of a series from the same random numbers.
 */
#include "vt.h"

#define TAGS 5

struct plan {
    int tag;
    size_t size;
    size_t off; /* place in the buffer of the series */
};

static size_t size_max;

static size_t plan_size(uint64_t *rnd)
{
    switch (vt_rand_below(rnd, 16)) {
    case 0:
        return vt_rand_below(rnd, 3);
    case 1:
        return 1 + vt_rand_below(rnd, size_max);
    case 2:
    case 3:
        return 3900 + vt_rand_below(rnd, 300);
    case 4:
    case 5:
        return vt_rand_below(rnd, 2000);
    default:
        return 8 + vt_rand_below(rnd, 200);
    }
}

static size_t plan_make(struct plan *p, int n, int src, int dst, uint64_t series)
{
    uint64_t rnd = vt_mix(vt_mix(vt.seed, series), (uint64_t) src << 32 | (uint64_t) dst);
    size_t off = 0;

    for (int k = 0; k < n; ++k) {
        p[k].tag = (int) vt_rand_below(&rnd, TAGS);
        p[k].size = plan_size(&rnd);
        p[k].off = off;
        off += p[k].size;
    }
    return off;
}

static struct vt_key plan_key(const struct plan *p, int k, int src, int dst, uint64_t series)
{
    return VT_KEY(src, dst, p[k].tag, p[k].size, series << 32 | (uint64_t) k);
}

/* Posts the sends of a series; returns their number. The buffer must live until they are complete. */
static unsigned char *series_send(const struct plan *p, int n, size_t total, int dst, uint64_t series,
                                  MPI_Request *req)
{
    unsigned char *buf = vt_malloc(total);

    for (int k = 0; k < n; ++k) {
        vt_fill(buf + p[k].off, plan_key(p, k, vt.rank, dst, series));
        MPI(MPI_Isend(buf + p[k].off, (int) p[k].size, MPI_BYTE, dst, p[k].tag, MPI_COMM_WORLD,
                      &req[k]));
    }
    return buf;
}

/*
 * Receives posted at once, in the order "by tag" or all with MPI_ANY_TAG. Each buffer is larger than
 * its message may be, so that a message in the wrong place shows as a wrong one and not as truncation.
 */
static void series_recv(const struct plan *p, int n, int src, uint64_t series, bool any_tag,
                        struct vt_buf *bufs, MPI_Request *req, MPI_Status *st)
{
    int *order = vt_malloc(sizeof(*order) * (size_t) n);
    int filled = 0;

    if (any_tag) {
        for (int k = 0; k < n; ++k) {
            order[filled++] = k;
        }
    } else {
        for (int t = TAGS - 1; t >= 0; --t) {
            for (int k = 0; k < n; ++k) {
                if (p[k].tag == t) {
                    order[filled++] = k;
                }
            }
        }
    }
    for (int i = 0; i < n; ++i) {
        unsigned char *d = vt_guard_set(&bufs[i], (size_t) i, bufs[i].cap);

        MPI(MPI_Irecv(d, (int) bufs[i].cap, MPI_BYTE, src, any_tag ? MPI_ANY_TAG : p[order[i]].tag,
                      MPI_COMM_WORLD, &req[i]));
    }
    MPI(MPI_Waitall(n, req, st));
    for (int i = 0; i < n; ++i) {
        vt_check(bufs[i].data, &st[i], plan_key(p, order[i], src, vt.rank, series));
        vt_guard_check(&bufs[i]);
    }
    free(order);
}

static void windows(int wmax)
{
    struct plan *ps = vt_malloc(sizeof(*ps) * (size_t) wmax);
    struct plan *pr = vt_malloc(sizeof(*pr) * (size_t) wmax);
    MPI_Request *rs = vt_malloc(sizeof(*rs) * (size_t) wmax);
    MPI_Request *rr = vt_malloc(sizeof(*rr) * (size_t) wmax);
    MPI_Status *st = vt_malloc(sizeof(*st) * (size_t) wmax);
    struct vt_buf *bufs = vt_malloc(sizeof(*bufs) * (size_t) wmax);
    uint64_t series = 0;

    for (int i = 0; i < wmax; ++i) {
        vt_buf_init(&bufs[i], size_max + 4200);
    }
    for (int w = 1; w <= wmax; w *= 2) {
        for (int rep = 0; rep < VT_Q(4, 2); ++rep) {
            for (int d = 1; d < vt.size; ++d) {
                int dst = (vt.rank + d) % vt.size, src = (vt.rank - d + vt.size) % vt.size;
                size_t total = plan_make(ps, w, vt.rank, dst, ++series);
                unsigned char *buf;

                plan_make(pr, w, src, vt.rank, series);
                vt_at("window %d to %d from %d", w, dst, src);
                buf = series_send(ps, w, total, dst, series, rs);
                series_recv(pr, w, src, series, rep % 2, bufs, rr, st);
                MPI(MPI_Waitall(w, rs, MPI_STATUSES_IGNORE));
                free(buf);
            }
        }
    }
    for (int i = 0; i < wmax; ++i) {
        vt_buf_free(&bufs[i]);
    }
    free(bufs);
    free(st);
    free(rr);
    free(rs);
    free(pr);
    free(ps);
}

/*
 * Everybody floods everybody with n messages; the barrier that follows pulls them all in as unexpected
 * ones; only then are they received, tag by tag from the highest.
 */
static void flood(int n, uint64_t series)
{
    int others = vt.size - 1;
    struct plan *p = vt_malloc(sizeof(*p) * (size_t) n);
    MPI_Request *req = vt_malloc(sizeof(*req) * (size_t) (n * others));
    unsigned char **bufs = vt_malloc(sizeof(*bufs) * (size_t) others);
    struct vt_buf in;
    MPI_Status st;

    for (int d = 1; d < vt.size; ++d) {
        int dst = (vt.rank + d) % vt.size;
        size_t total = plan_make(p, n, vt.rank, dst, series);

        vt_at("flood of %d to %d", n, dst);
        bufs[d - 1] = series_send(p, n, total, dst, series, req + n * (d - 1));
    }
    vt_at("barrier after flood of %d", n);
    MPI(MPI_Barrier(MPI_COMM_WORLD));
    vt_buf_init(&in, size_max + 4200);
    for (int d = others; d >= 1; --d) {
        int src = (vt.rank - d + vt.size) % vt.size;

        plan_make(p, n, src, vt.rank, series);
        for (int t = TAGS - 1; t >= 0; --t) {
            for (int k = 0; k < n; ++k) {
                if (p[k].tag != t) {
                    continue;
                }
                vt_at("flood, message %d of %d", k, src);
                vt_guard_set(&in, (size_t) k, in.cap);
                MPI(MPI_Recv(in.data, (int) in.cap, MPI_BYTE, src, t, MPI_COMM_WORLD, &st));
                vt_check(in.data, &st, plan_key(p, k, src, vt.rank, series));
                vt_guard_check(&in);
            }
        }
    }
    MPI(MPI_Waitall(n * others, req, MPI_STATUSES_IGNORE));
    for (int d = 0; d < others; ++d) {
        free(bufs[d]);
    }
    vt_buf_free(&in);
    free(bufs);
    free(req);
    free(p);
}

/*
 * Blocking sends of small messages to a rank that sleeps: the sender runs into the full queue inside
 * MPI_Send and must neither lose a message nor stay there.
 */
static void sleeper(int n, long ms)
{
    enum { SMALL = 512 };
    unsigned char buf[SMALL];

    for (int victim = 0; victim < vt.size && victim < 2; ++victim) {
        MPI(MPI_Barrier(MPI_COMM_WORLD));
        if (vt.rank != victim) {
            for (int k = 0; k < n; ++k) {
                struct vt_key key = VT_KEY(vt.rank, victim, 3, (size_t) k % (SMALL + 1), (uint64_t) k);

                vt_at("blocking send %d to the sleeping rank %d", k, victim);
                vt_fill(buf, key);
                MPI(MPI_Send(buf, (int) key.size, MPI_BYTE, victim, 3, MPI_COMM_WORLD));
            }
            continue;
        }
        vt_sleep_ms(ms);
        for (int k = 0; k < n; ++k) {
            for (int src = 0; src < vt.size; ++src) {
                struct vt_key key = VT_KEY(src, victim, 3, (size_t) k % (SMALL + 1), (uint64_t) k);
                MPI_Status st;

                if (src == victim) {
                    continue;
                }
                vt_at("message %d of %d after the sleep", k, src);
                MPI(MPI_Recv(buf, SMALL, MPI_BYTE, src, 3, MPI_COMM_WORLD, &st));
                vt_check(buf, &st, key);
            }
        }
    }
}

int main(int argc, char **argv)
{
    int nflood;

    vt_init(&argc, &argv, "order");
    /* Per receiver: about 1.9 KiB a message from each of the others; 48 MiB at most in all. */
    nflood = (int) vt_arg_num("--flood", VT_Q(6000, 600)) / (1 < vt.size ? vt.size - 1 : 1);
    vt_args_done();
    if (2 > vt.size) {
        return vt_skip("needs 2 ranks");
    }
    size_max = VT_Q(40000, 6000);
    windows(VT_Q(256, 64));
    flood(nflood, 1000001);
    flood(nflood / 3, 1000002);
    sleeper(VT_Q(4000, 1000), VT_Q(200, 100));
    return vt_report("flood=%d per pair", nflood);
}
