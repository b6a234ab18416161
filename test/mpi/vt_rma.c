/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One-sided communication, over whichever osc component is there: put and get with fence, with
 * post/start/complete/wait and with locks, accumulate, fetch-and-op and compare-and-swap; windows from
 * MPI_Win_create and MPI_Win_allocate.
 *
 * Open MPI 4.1.4: over tcp no component but osc/pt2pt works (--mca osc pt2pt), and osc/rdma over vader
 * crashes in MPI_Compare_and_swap; --no-cas leaves that call out.
 */
#include "vt.h"

static unsigned char *mem;
static size_t win_bytes;
static MPI_Win win;
static uint64_t iter;
static bool cas;

/* Slot of the writer `origin` in a window: the first half of the window is split among the ranks. */
static size_t slot(void)
{
    return win_bytes / 2 / (size_t) vt.size / 64 * 64;
}

static struct vt_key put_key(int origin, int target, size_t size)
{
    return VT_KEY(origin, target, 95, size, iter);
}

static void wipe(void)
{
    MPI(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, vt.rank, 0, win));
    memset(mem, 0xee, win_bytes);
    MPI(MPI_Win_unlock(vt.rank, win));
    MPI(MPI_Barrier(MPI_COMM_WORLD));
}

/* After everybody put into everybody's slots: each slot is right and the rest of it untouched. */
static void check_slots(size_t size)
{
    MPI(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, vt.rank, 0, win));
    for (int o = 0; o < vt.size; ++o) {
        const unsigned char *p = mem + (size_t) o * slot();

        vt_verify(p, put_key(o, vt.rank, size));
        for (size_t i = size; i < slot(); ++i) {
            CHECK(0xee == p[i], "byte %zu of rank %d's slot was overwritten", i, o);
        }
    }
    for (size_t i = win_bytes / 2; i < win_bytes; ++i) {
        CHECK(0xee == mem[i], "byte %zu of the window was overwritten", i);
    }
    MPI(MPI_Win_unlock(vt.rank, win));
    MPI(MPI_Barrier(MPI_COMM_WORLD));
}

/* Everybody reads its own slot back from everybody. */
static void get_back(size_t size)
{
    for (int t = 0; t < vt.size; ++t) {
        struct vt_buf b;

        vt_buf_init(&b, size);
        vt_guard_set(&b, (size_t) t, size);
        vt_at("get of %zu bytes from %d", size, t);
        MPI(MPI_Win_lock(MPI_LOCK_SHARED, t, 0, win));
        MPI(MPI_Get(b.data, (int) size, MPI_BYTE, t, (MPI_Aint) ((size_t) vt.rank * slot()), (int) size,
                    MPI_BYTE, win));
        MPI(MPI_Win_unlock(t, win));
        vt_verify(b.data, put_key(vt.rank, t, size));
        vt_guard_check(&b);
        vt_buf_free(&b);
    }
    MPI(MPI_Barrier(MPI_COMM_WORLD));
}

static void puts_and_gets(size_t size)
{
    unsigned char *out = vt_malloc(size * (size_t) vt.size);
    MPI_Group world, others;

    MPI(MPI_Comm_group(MPI_COMM_WORLD, &world));
    MPI(MPI_Group_excl(world, 1, &vt.rank, &others));
    for (int way = 0; way < 4; ++way) {
        ++iter;
        wipe();
        for (int t = 0; t < vt.size; ++t) {
            vt_fill(out + (size_t) t * size, put_key(vt.rank, t, size));
        }
        vt_at("put of %zu bytes, way %d", size, way);
        if (0 == way) {
            MPI(MPI_Win_fence(MPI_MODE_NOPRECEDE, win));
        } else if (1 == way) {
            MPI(MPI_Win_post(others, 0, win));
            MPI(MPI_Win_start(others, 0, win));
        } else if (3 == way) {
            MPI(MPI_Win_lock_all(0, win));
        }
        for (int i = 0; i < vt.size; ++i) {
            int t = (vt.rank + i) % vt.size;

            if (1 == way && t == vt.rank) {
                continue;
            }
            if (2 == way) {
                MPI(MPI_Win_lock(i % 2 ? MPI_LOCK_EXCLUSIVE : MPI_LOCK_SHARED, t, 0, win));
            }
            MPI(MPI_Put(out + (size_t) t * size, (int) size, MPI_BYTE, t,
                        (MPI_Aint) ((size_t) vt.rank * slot()), (int) size, MPI_BYTE, win));
            if (2 == way) {
                MPI(MPI_Win_unlock(t, win));
            }
        }
        if (0 == way) {
            MPI(MPI_Win_fence(MPI_MODE_NOSUCCEED, win));
        } else if (1 == way) {
            MPI(MPI_Win_complete(win));
            MPI(MPI_Win_wait(win));
            MPI(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, vt.rank, 0, win));
            MPI(MPI_Put(out + (size_t) vt.rank * size, (int) size, MPI_BYTE, vt.rank,
                        (MPI_Aint) ((size_t) vt.rank * slot()), (int) size, MPI_BYTE, win));
            MPI(MPI_Win_unlock(vt.rank, win));
        } else if (3 == way) {
            MPI(MPI_Win_flush_all(win));
            MPI(MPI_Win_unlock_all(win));
        }
        MPI(MPI_Barrier(MPI_COMM_WORLD));
        check_slots(size);
        get_back(size);
    }
    MPI(MPI_Group_free(&others));
    MPI(MPI_Group_free(&world));
    free(out);
}

/* All ranks add to the same numbers at once; no addition may be lost. */
static void sums(size_t n, int rounds)
{
    int64_t *add = vt_malloc(sizeof(*add) * n), *sum = (int64_t *) (void *) mem;

    MPI(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, vt.rank, 0, win));
    memset(mem, 0, win_bytes);
    MPI(MPI_Win_unlock(vt.rank, win));
    MPI(MPI_Barrier(MPI_COMM_WORLD));
    for (size_t i = 0; i < n; ++i) {
        add[i] = (int64_t) (i + 1) * (vt.rank + 1);
    }
    for (int r = 0; r < rounds; ++r) {
        for (int t = 0; t < vt.size; ++t) {
            vt_at("accumulate of %zu, round %d, to %d", n, r, t);
            MPI(MPI_Win_lock(MPI_LOCK_SHARED, t, 0, win));
            MPI(MPI_Accumulate(add, (int) n, MPI_INT64_T, t, 0, (int) n, MPI_INT64_T, MPI_SUM, win));
            MPI(MPI_Win_unlock(t, win));
        }
    }
    MPI(MPI_Barrier(MPI_COMM_WORLD));
    MPI(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, vt.rank, 0, win));
    for (size_t i = 0; i < n; ++i) {
        int64_t want = (int64_t) (i + 1) * vt.size * (vt.size + 1) / 2 * rounds;

        CHECK(sum[i] == want, "accumulate: element %zu of %zu is %lld, expected %lld", i, n,
              (long long) sum[i], (long long) want);
    }
    MPI(MPI_Win_unlock(vt.rank, win));
    vt_count((uint64_t) rounds, n * sizeof(*sum));
    MPI(MPI_Barrier(MPI_COMM_WORLD));
    free(add);
}

/* Tickets from a counter at rank 0: each number goes to exactly one. Then an adder with CAS. */
static void tickets(int each)
{
    int64_t one = 1, got, *mine = vt_malloc(sizeof(*mine) * (size_t) each);
    int64_t *every = vt_malloc(sizeof(*every) * (size_t) (each * vt.size)), cas_total = 0;
    bool *seen = calloc((size_t) (each * vt.size), sizeof(*seen));

    CHECK(NULL != seen, "out of memory");
    MPI(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, vt.rank, 0, win));
    memset(mem, 0, win_bytes);
    MPI(MPI_Win_unlock(vt.rank, win));
    MPI(MPI_Barrier(MPI_COMM_WORLD));
    MPI(MPI_Win_lock_all(0, win));
    for (int i = 0; i < each; ++i) {
        vt_at("ticket %d", i);
        MPI(MPI_Fetch_and_op(&one, &mine[i], MPI_INT64_T, 0, 0, MPI_SUM, win));
        MPI(MPI_Win_flush(0, win));
        CHECK(0 == i || mine[i] > mine[i - 1], "ticket %lld came after %lld", (long long) mine[i],
              (long long) mine[i - 1]);
    }
    for (int i = 0; i < each && cas; ++i) {
        int64_t seen_value = 0, next;

        vt_at("compare and swap %d", i);
        for (;;) {
            next = seen_value + vt.rank + 1;
            MPI(MPI_Compare_and_swap(&next, &seen_value, &got, MPI_INT64_T, vt.size - 1, 64, win));
            MPI(MPI_Win_flush(vt.size - 1, win));
            if (got == seen_value) {
                break;
            }
            seen_value = got;
        }
    }
    MPI(MPI_Win_unlock_all(win));
    MPI(MPI_Barrier(MPI_COMM_WORLD));
    MPI(MPI_Allgather(mine, each, MPI_INT64_T, every, each, MPI_INT64_T, MPI_COMM_WORLD));
    for (int i = 0; i < each * vt.size; ++i) {
        CHECK(0 <= every[i] && every[i] < each * vt.size && !seen[every[i]],
              "ticket %lld was given twice or never existed", (long long) every[i]);
        seen[every[i]] = true;
    }
    if (cas && vt.size - 1 == vt.rank) {
        MPI(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, vt.rank, 0, win));
        memcpy(&cas_total, mem + 64, sizeof(cas_total));
        MPI(MPI_Win_unlock(vt.rank, win));
        CHECK(cas_total == (int64_t) each * vt.size * (vt.size + 1) / 2,
              "compare-and-swap added up to %lld, expected %lld", (long long) cas_total,
              (long long) each * vt.size * (vt.size + 1) / 2);
    }
    vt_count((uint64_t) each * 2, (uint64_t) each * 16);
    MPI(MPI_Barrier(MPI_COMM_WORLD));
    free(seen);
    free(every);
    free(mine);
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {1, 8, 100, 4096, 5000, 32768, 70001};
    size_t nsizes, max;

    vt_init(&argc, &argv, "rma");
    cas = !vt_flag("--no-cas");
    vt_args_done();
    nsizes = VT_Q(7, 5);
    max = sizes[nsizes - 1];
    win_bytes = 2 * (max + 200) * (size_t) vt.size;
    for (int kind = 0; kind < 2; ++kind) {
        vt_at("window of %zu bytes, kind %d", win_bytes, kind);
        if (0 == kind) {
            MPI(MPI_Alloc_mem((MPI_Aint) win_bytes, MPI_INFO_NULL, &mem));
            MPI(MPI_Win_create(mem, (MPI_Aint) win_bytes, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &win));
        } else {
            MPI(MPI_Win_allocate((MPI_Aint) win_bytes, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &mem, &win));
        }
        for (size_t i = 0; i < nsizes; ++i) {
            puts_and_gets(sizes[i]);
        }
        sums(1, VT_Q(20, 5));
        sums(500, VT_Q(5, 2));
        sums(5000 / (VT_Q(1, 5)), 2);
        tickets(VT_Q(60, 15));
        MPI(MPI_Win_free(&win));
        if (0 == kind) {
            MPI(MPI_Free_mem(mem));
        }
    }
    return vt_report("windows=2 sizes=%zu", nsizes);
}
