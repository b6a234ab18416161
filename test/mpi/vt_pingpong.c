/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Latency and bandwidth between ranks 0 and np-1. The median over blocks of iterations, so that a moment
 * in which the machine did something else does not count.
 *
 * The whole send buffer is rewritten and the whole receive buffer read between iterations, as a program
 * would do; below 4 KiB this is part of the time (a few ns), from 4 KiB on each round trip is timed by
 * itself and the rewriting, which both sides do at the same time, is not in it.
 *
 * Arguments: --sizes 8,4K,1M  --iters N (0: by size, and about a second for each at most)  --blocks N
 * --verify (every byte)  --json
 */
#include "vt.h"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

enum { TAG = 3, TIMED_SINGLY = 4096 };

static bool verify;
static volatile uint64_t sink;

/* A new content for the send buffer; the receive buffer is read through. */
static void touch(unsigned char *out, const unsigned char *in, size_t size, int peer, uint64_t iter)
{
    if (verify) {
        vt_fill(out, VT_KEY(vt.rank, peer, TAG, size, iter));
        if (0 < iter) {
            vt_verify(in, VT_KEY(peer, vt.rank, TAG, size, iter - 1));
        }
    } else {
        uint64_t sum = 0;

        memset(out, (int) iter, size);
        for (size_t i = 0; i + 8 <= size; i += 8) {
            uint64_t w;

            memcpy(&w, in + i, 8);
            sum += w;
        }
        sink = sum;
    }
}

static int cmp_double(const void *a, const void *b)
{
    double x = *(const double *) a, y = *(const double *) b;

    return (x > y) - (x < y);
}

static int auto_iters(size_t size)
{
    size_t budget = VT_Q(400u << 20, 8u << 20), n = budget / (size + 4000);
    size_t most = VT_Q(40000, 1000);

    return (int) (n < 20 ? 20 : n > most ? most : n);
}

/* Each exchange of a large message is timed by itself. Where a clock is a system call (User-Mode Linux:
 * several us) it would spoil that: count in the processor's own ticks, whatever they are worth. */
static inline uint64_t ticks(void)
{
#if defined(__x86_64__)
    return __rdtsc();
#else
    return (uint64_t) (1e9 * vt_now());
#endif
}

/* Half round trip in seconds: the median of the blocks and the best one. iters 0: as many as fit. */
static double measure(size_t size, int blocks, int iters, int peer, double *best)
{
    unsigned char *out = vt_malloc(size), *in = calloc(1, size + 8);
    double *t = vt_malloc(sizeof(*t) * (size_t) blocks), result;
    int wanted = 0 < iters ? iters : auto_iters(size), per_block = wanted / blocks + 1;
    uint64_t iter = 0;

    CHECK(NULL != in, "out of memory");
    for (int b = -1; b < blocks; ++b) { /* block -1 warms up and tells how long an iteration takes */
        int n = 0 > b && per_block > 10 ? 10 : per_block;
        uint64_t first, sum = 0, mark = 0;
        double start, scale;

        vt_at("%zu bytes, block %d of %d", size, b, blocks);
        if (0 == vt.rank) {
            MPI(MPI_Send(&n, 1, MPI_INT, peer, TAG + 1, MPI_COMM_WORLD));
        } else {
            MPI(MPI_Recv(&n, 1, MPI_INT, peer, TAG + 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
        }
        start = vt_now();
        first = ticks();
        for (int i = 0; i < n; ++i, ++iter) {
            touch(out, in, size, peer, iter);
            if (0 == vt.rank) {
                if (TIMED_SINGLY <= size) {
                    mark = ticks();
                }
                MPI(MPI_Send(out, (int) size, MPI_BYTE, peer, TAG, MPI_COMM_WORLD));
                MPI(MPI_Recv(in, (int) size, MPI_BYTE, peer, TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
                if (TIMED_SINGLY <= size) {
                    sum += ticks() - mark;
                }
            } else {
                MPI(MPI_Recv(in, (int) size, MPI_BYTE, peer, TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
                MPI(MPI_Send(out, (int) size, MPI_BYTE, peer, TAG, MPI_COMM_WORLD));
            }
        }
        first = ticks() - first;
        start = vt_now() - start;
        scale = start / (double) first;
        if (0 <= b) {
            t[b] = (TIMED_SINGLY <= size ? (double) sum * scale : start) / n / 2;
        }
        /* The wall time of what was done so far says what fits into the rest (rank 0 decides). */
        if (0 == iters && start / n * per_block * blocks > VT_Q(1.0, 0.15)) {
            per_block = (int) (VT_Q(1.0, 0.15) / blocks / (start / n));
            per_block = per_block < 1 ? 1 : per_block;
        }
    }
    touch(out, in, size, peer, iter);
    if (!verify) {
        /* The last message at least: what memset wrote there. */
        for (size_t i = 0; i < size; ++i) {
            CHECK(in[i] == (unsigned char) (iter - 1), "%zu bytes: byte %zu is 0x%02x, expected 0x%02x",
                  size, i, in[i], (unsigned) (unsigned char) (iter - 1));
        }
        vt_count(1, size);
    }
    qsort(t, (size_t) blocks, sizeof(*t), cmp_double);
    result = t[blocks / 2];
    *best = t[0];
    free(t);
    free(in);
    free(out);
    return result;
}

int main(int argc, char **argv)
{
    static const char *const full = "0,1,8,64,256,1K,4K,8K,16K,32K,64K,128K,256K,512K,1M,2M,4M";
    const char *list;
    char *copy, *save = NULL;
    bool json, first = true;
    int iters, blocks, peer;
    MPI_Request idle;

    vt_init(&argc, &argv, "pingpong");
    list = vt_arg("--sizes");
    iters = (int) vt_arg_num("--iters", 0);
    blocks = (int) vt_arg_num("--blocks", VT_Q(15, 5));
    verify = vt_flag("--verify");
    json = vt_flag("--json");
    vt_args_done();
    if (2 > vt.size) {
        return vt_skip("needs 2 ranks");
    }
    CHECK(1 <= blocks && 0 <= iters, "--blocks and --iters must be positive");
    peer = 0 == vt.rank ? vt.size - 1 : 0;
    if (0 == vt.rank || vt.size - 1 == vt.rank) {
        copy = strdup(NULL != list ? list : VT_Q(full, "8,1K,16K,256K"));
        CHECK(NULL != copy, "out of memory");
        if (0 == vt.rank) {
            fputs(json ? "[" : "#    bytes      half-rtt-us       best-us        MB/s\n", stdout);
        }
        for (char *s = strtok_r(copy, ",", &save); NULL != s; s = strtok_r(NULL, ",", &save)) {
            size_t size = (size_t) vt_parse_num(s, "--sizes");
            double best, half;

            vt_watchdog_restart(0);
            half = measure(size, blocks, iters, peer, &best);
            if (0 == vt.rank && json) {
                printf("%s\n {\"bytes\": %zu, \"half_rtt_us\": %.3f, \"best_us\": %.3f, \"MBps\": %.1f}",
                       first ? "" : ",", size, half * 1e6, best * 1e6, (double) size / half / 1e6);
            } else if (0 == vt.rank) {
                printf("%10zu %16.3f %13.3f %11.1f\n", size, half * 1e6, best * 1e6,
                       (double) size / half / 1e6);
                fflush(stdout);
            }
            first = false;
        }
        if (0 == vt.rank && json) {
            printf("\n]\n");
            fflush(stdout);
        }
        free(copy);
    }
    /* The other ranks must not take the cores from the two: they sleep and look now and then. */
    MPI(MPI_Ibarrier(MPI_COMM_WORLD, &idle));
    for (int done = 0; !done;) {
        vt_at("end of the measurement");
        MPI(MPI_Test(&idle, &done, MPI_STATUS_IGNORE));
        if (!done) {
            vt_sleep_ms(0 == vt.rank || vt.size - 1 == vt.rank ? 0 : 10);
            if (0 != vt.rank && vt.size - 1 != vt.rank) {
                vt_watchdog_restart(0);
            }
        }
    }
    if (json) {
        vt_quiet_end();
        return 0;
    }
    return vt_report("verify=%s", verify ? "all" : "last");
}
