/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MPI_ANY_SOURCE and MPI_ANY_TAG: a master that hands out work and takes results as they come; each
 * status (source, tag, count) is checked, and from each source the messages come in order. Messages on a
 * second communicator are in flight all the time and must not match.
 */
#include "vt.h"

enum { TAG_WORK = 1, TAG_RESULT = 10, RESULT_TAGS = 4, TAG_STOP = 99 };

static size_t max_size;

static size_t job_size(int src, int dst, uint64_t iter)
{
    uint64_t rnd = vt_mix(vt_mix(77, iter), (uint64_t) src << 20 | (uint64_t) dst);

    return 0 == iter % 5 ? vt_rand_below(&rnd, max_size) : vt_rand_below(&rnd, 600);
}

static void master(int jobs, MPI_Comm comm)
{
    int workers = vt.size - 1, running = 0, next = 0;
    uint64_t *given = calloc((size_t) vt.size, sizeof(*given));
    uint64_t *taken = calloc((size_t) vt.size, sizeof(*taken));
    unsigned char *out = vt_malloc(max_size);
    struct vt_buf in;

    CHECK(NULL != given && NULL != taken, "out of memory");
    vt_buf_init(&in, max_size);
    /* Two jobs for each worker in advance: several results of one worker may be on the way. */
    for (int round = 0; round < 2; ++round) {
        for (int w = 0; w < vt.size; ++w) {
            if (w != vt.rank && next < jobs) {
                struct vt_key k = VT_KEY(vt.rank, w, TAG_WORK, job_size(vt.rank, w, given[w]), given[w]);

                vt_fill(out, k);
                MPI(MPI_Send(out, (int) k.size, MPI_BYTE, w, TAG_WORK, comm));
                ++given[w];
                ++running;
                ++next;
            }
        }
    }
    while (0 < running) {
        MPI_Status st;
        int w;

        vt_at("master, %d results to come", running);
        vt_guard_set(&in, (size_t) running, max_size);
        MPI(MPI_Recv(in.data, (int) max_size, MPI_BYTE, MPI_ANY_SOURCE, MPI_ANY_TAG, comm, &st));
        w = st.MPI_SOURCE;
        CHECK(0 <= w && w < vt.size && w != vt.rank, "result from rank %d of %d", w, workers);
        vt_check(in.data, &st,
                 VT_KEY(w, vt.rank, TAG_RESULT + (int) (taken[w] % RESULT_TAGS),
                        job_size(w, vt.rank, taken[w]), taken[w]));
        vt_guard_check(&in);
        ++taken[w];
        --running;
        if (next < jobs) {
            struct vt_key k = VT_KEY(vt.rank, w, TAG_WORK, job_size(vt.rank, w, given[w]), given[w]);

            vt_fill(out, k);
            MPI(MPI_Send(out, (int) k.size, MPI_BYTE, w, TAG_WORK, comm));
            ++given[w];
            ++running;
            ++next;
        }
    }
    for (int w = 0; w < vt.size; ++w) {
        if (w != vt.rank) {
            CHECK(taken[w] == given[w], "worker %d: %llu results for %llu jobs", w,
                  (unsigned long long) taken[w], (unsigned long long) given[w]);
            MPI(MPI_Send(NULL, 0, MPI_BYTE, w, TAG_STOP, comm));
        }
    }
    vt_buf_free(&in);
    free(out);
    free(given);
    free(taken);
}

static void worker(int boss, MPI_Comm comm)
{
    unsigned char *out = vt_malloc(max_size);
    struct vt_buf in;

    vt_buf_init(&in, max_size);
    for (uint64_t done = 0;; ++done) {
        struct vt_key k = VT_KEY(vt.rank, boss, TAG_RESULT + (int) (done % RESULT_TAGS),
                                 job_size(vt.rank, boss, done), done);
        MPI_Status st;

        vt_at("worker, job %llu", (unsigned long long) done);
        vt_guard_set(&in, (size_t) done, max_size);
        MPI(MPI_Recv(in.data, (int) max_size, MPI_BYTE, boss, MPI_ANY_TAG, comm, &st));
        if (TAG_STOP == st.MPI_TAG) {
            vt_check(in.data, &st, VT_KEY(boss, vt.rank, TAG_STOP, 0, 0));
            break;
        }
        vt_check(in.data, &st, VT_KEY(boss, vt.rank, TAG_WORK, job_size(boss, vt.rank, done), done));
        vt_guard_check(&in);
        vt_fill(out, k);
        MPI(MPI_Send(out, (int) k.size, MPI_BYTE, boss, k.tag, comm));
    }
    vt_buf_free(&in);
    free(out);
}

/* MPI_ANY_SOURCE with one tag at a time, although the messages of all tags are already there. */
static void by_tag(MPI_Comm comm, int ntags)
{
    unsigned char buf[4096];
    MPI_Request *req = vt_malloc(sizeof(*req) * (size_t) (ntags * vt.size));
    unsigned char *out = vt_malloc((size_t) (ntags * vt.size) * 512);
    bool *seen = vt_malloc((size_t) vt.size);
    int n = 0;

    for (int t = 0; t < ntags; ++t) {
        for (int dst = 0; dst < vt.size; ++dst) {
            struct vt_key k = VT_KEY(vt.rank, dst, t, (size_t) (7 * t + 13 * vt.rank) % 512, 5);

            vt_fill(out + 512 * n, k);
            MPI(MPI_Isend(out + 512 * n, (int) k.size, MPI_BYTE, dst, t, comm, &req[n]));
            ++n;
        }
    }
    for (int t = ntags - 1; t >= 0; --t) {
        memset(seen, 0, (size_t) vt.size);
        for (int i = 0; i < vt.size; ++i) {
            MPI_Status st;

            vt_at("any source, tag %d", t);
            MPI(MPI_Recv(buf, sizeof(buf), MPI_BYTE, MPI_ANY_SOURCE, t, comm, &st));
            CHECK(0 <= st.MPI_SOURCE && st.MPI_SOURCE < vt.size, "source %d", st.MPI_SOURCE);
            CHECK(!seen[st.MPI_SOURCE], "rank %d came twice with tag %d", st.MPI_SOURCE, t);
            seen[st.MPI_SOURCE] = true;
            vt_check(buf, &st,
                     VT_KEY(st.MPI_SOURCE, vt.rank, t, (size_t) (7 * t + 13 * st.MPI_SOURCE) % 512, 5));
        }
    }
    MPI(MPI_Waitall(n, req, MPI_STATUSES_IGNORE));
    free(seen);
    free(out);
    free(req);
}

int main(int argc, char **argv)
{
    MPI_Comm side;
    MPI_Request *side_req;
    unsigned char side_out[200], side_in[200];
    int bosses, jobs;

    vt_init(&argc, &argv, "wildcard");
    max_size = VT_Q(150000, 10000);
    jobs = (int) vt_arg_num("--jobs", VT_Q(1500, 200));
    vt_args_done();
    if (2 > vt.size) {
        return vt_skip("needs 2 ranks");
    }
    MPI(MPI_Comm_dup(MPI_COMM_WORLD, &side));
    side_req = vt_malloc(sizeof(*side_req) * (size_t) vt.size);
    bosses = VT_Q(vt.size, 1);
    for (int boss = 0; boss < bosses; ++boss) {
        /* Unreceived until the end of the round, under a tag that the master would take for a result. */
        vt_fill(side_out, VT_KEY(vt.rank, 0, TAG_RESULT, sizeof(side_out), (uint64_t) boss));
        for (int dst = 0; dst < vt.size; ++dst) {
            MPI(MPI_Isend(side_out, sizeof(side_out), MPI_BYTE, dst, TAG_RESULT, side, &side_req[dst]));
        }
        if (vt.rank == boss) {
            master(jobs / bosses, MPI_COMM_WORLD);
        } else {
            worker(boss, MPI_COMM_WORLD);
        }
        for (int i = 0; i < vt.size; ++i) {
            MPI_Status st;

            MPI(MPI_Recv(side_in, sizeof(side_in), MPI_BYTE, MPI_ANY_SOURCE, MPI_ANY_TAG, side, &st));
            vt_check(side_in, &st,
                     VT_KEY(st.MPI_SOURCE, 0, TAG_RESULT, sizeof(side_in), (uint64_t) boss));
        }
        MPI(MPI_Waitall(vt.size, side_req, MPI_STATUSES_IGNORE));
        MPI(MPI_Barrier(MPI_COMM_WORLD));
    }
    by_tag(MPI_COMM_WORLD, VT_Q(40, 10));
    MPI(MPI_Comm_free(&side));
    free(side_req);
    return vt_report("masters=%d jobs=%d", bosses, jobs);
}
