/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MPI_THREAD_MULTIPLE: T threads per rank exchange with all peers at once, each under its own tag or on
 * its own communicator; then all threads of a rank send to one peer under the same tag, where order
 * between threads is open but nothing may be lost, doubled or mixed.
 */
#include "vt.h"

#include <pthread.h>

enum { MAX_THREADS = 16, SHARED_TAG = 500, SHARED_MAX = 20000 };

static int nthreads, iters;
static MPI_Comm comms[MAX_THREADS];
static size_t max_size;
static pthread_mutex_t seen_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned char *seen; /* [rank][thread][iteration] of the shared-tag messages */

static void *exchange(void *arg)
{
    int t = (int) (intptr_t) arg;
    unsigned char *out = vt_malloc(max_size);
    struct vt_buf in;
    MPI_Request req[2];
    MPI_Status st[2];

    vt_buf_init(&in, max_size);
    for (int i = 0; i < iters; ++i) {
        for (int d = 1; d < vt.size; ++d) {
            int dst = (vt.rank + d) % vt.size, src = (vt.rank - d + vt.size) % vt.size;
            uint64_t rnd = vt_mix((uint64_t) i, (uint64_t) (t * 64 + d));
            size_t size = 0 == vt_rand_below(&rnd, 6) ? vt_rand_below(&rnd, max_size)
                                                      : vt_rand_below(&rnd, 1000);
            /* Even threads share MPI_COMM_WORLD and have a tag each, odd ones have a communicator. */
            MPI_Comm comm = t % 2 ? comms[t] : MPI_COMM_WORLD;
            int tag = t % 2 ? 7 : 100 + t;
            struct vt_key to = VT_KEY(vt.rank, dst, tag, size, (uint64_t) i * 64 + (uint64_t) t);
            struct vt_key from = VT_KEY(src, vt.rank, tag, size, (uint64_t) i * 64 + (uint64_t) t);

            vt_at("thread %d, iteration %d, %zu bytes to %d from %d", t, i, size, dst, src);
            vt_fill(out, to);
            vt_guard_set(&in, (size_t) i, size);
            MPI(MPI_Irecv(in.data, (int) size, MPI_BYTE, src, tag, comm, &req[0]));
            MPI(MPI_Isend(out, (int) size, MPI_BYTE, dst, tag, comm, &req[1]));
            if (i % 2) {
                MPI(MPI_Waitall(2, req, st));
            } else {
                MPI(MPI_Wait(&req[0], &st[0]));
                MPI(MPI_Wait(&req[1], &st[1]));
            }
            vt_check(in.data, &st[0], from);
            vt_guard_check(&in);
        }
    }
    vt_buf_free(&in);
    free(out);
    return NULL;
}

/* Message: thread and iteration of the sender (8 bytes), then its pattern. */
static void *shared_send(void *arg)
{
    int t = (int) (intptr_t) arg;
    unsigned char *out = vt_malloc(8 + SHARED_MAX);

    for (int i = 0; i < iters; ++i) {
        int32_t id[2] = {t, i};
        size_t size = (size_t) (vt_mix((uint64_t) t, (uint64_t) i) % (0 == i % 8 ? SHARED_MAX : 300));
        int dst = (vt.rank + 1) % vt.size;

        vt_at("thread %d sends %d under the shared tag", t, i);
        memcpy(out, id, 8);
        vt_fill(out + 8, VT_KEY(vt.rank, dst, t, size, (uint64_t) i));
        MPI(MPI_Send(out, (int) size + 8, MPI_BYTE, dst, SHARED_TAG, MPI_COMM_WORLD));
    }
    free(out);
    return NULL;
}

static void *shared_recv(void *arg)
{
    int src = (vt.rank - 1 + vt.size) % vt.size;
    struct vt_buf in;
    int last[MAX_THREADS];

    (void) arg;
    for (int t = 0; t < MAX_THREADS; ++t) {
        last[t] = -1;
    }
    vt_buf_init(&in, 8 + SHARED_MAX);
    for (int n = 0; n < iters; ++n) {
        MPI_Status st;
        int32_t id[2];
        int count;
        bool again;

        vt_at("receiver, message %d under the shared tag", n);
        vt_guard_set(&in, 0, in.cap);
        MPI(MPI_Recv(in.data, (int) in.cap, MPI_BYTE, src, SHARED_TAG, MPI_COMM_WORLD, &st));
        vt_handed_back(in.data);
        MPI(MPI_Get_count(&st, MPI_BYTE, &count));
        CHECK(8 <= count, "a message of %d bytes", count);
        memcpy(id, in.data, 8);
        CHECK(0 <= id[0] && id[0] < nthreads && 0 <= id[1] && id[1] < iters,
              "a message of thread %d, iteration %d", id[0], id[1]);
        /* What one thread sends in order, one receiving thread may not see out of order. */
        CHECK(last[id[0]] < id[1], "thread %d: message %d came after %d", id[0], id[1], last[id[0]]);
        last[id[0]] = id[1];
        vt_verify(in.data + 8, VT_KEY(src, vt.rank, id[0], (size_t) count - 8, (uint64_t) id[1]));
        vt_guard_check(&in);
        CHECK((size_t) count - 8
                  == vt_mix((uint64_t) id[0], (uint64_t) id[1]) % (0 == id[1] % 8 ? SHARED_MAX : 300),
              "message %d of thread %d has %d bytes", id[1], id[0], count);
        pthread_mutex_lock(&seen_lock);
        again = seen[id[0] * iters + id[1]];
        seen[id[0] * iters + id[1]] = 1;
        pthread_mutex_unlock(&seen_lock);
        CHECK(!again, "message %d of thread %d came twice", id[1], id[0]);
    }
    vt_buf_free(&in);
    return NULL;
}

static void run_threads(void *(*f)(void *), void *(*g)(void *))
{
    pthread_t id[2 * MAX_THREADS];
    int n = 0;

    for (intptr_t t = 0; t < nthreads; ++t) {
        CHECK(0 == pthread_create(&id[n++], NULL, f, (void *) t), "pthread_create failed");
        if (NULL != g) {
            CHECK(0 == pthread_create(&id[n++], NULL, g, (void *) t), "pthread_create failed");
        }
    }
    while (0 < n) {
        pthread_join(id[--n], NULL);
    }
}

int main(int argc, char **argv)
{
    vt_init_thread(&argc, &argv, "threads", MPI_THREAD_MULTIPLE);
    nthreads = (int) vt_arg_num("--threads", VT_Q(4, 3));
    max_size = VT_Q(200000, 40000);
    iters = (int) vt_arg_num("--iters", VT_Q(4 < vt.size ? 40 : 120, 20));
    vt_args_done();
    if (MPI_THREAD_MULTIPLE > vt.thread_level) {
        return vt_skip("this MPI provides thread level %d, not MPI_THREAD_MULTIPLE", vt.thread_level);
    }
    if (2 > vt.size) {
        return vt_skip("needs 2 ranks");
    }
    CHECK(1 <= nthreads && nthreads <= MAX_THREADS, "--threads must be 1..%d", MAX_THREADS);
    for (int t = 0; t < nthreads; ++t) {
        MPI(MPI_Comm_dup(MPI_COMM_WORLD, &comms[t]));
    }
    run_threads(exchange, NULL);
    MPI(MPI_Barrier(MPI_COMM_WORLD));
    seen = calloc((size_t) nthreads, (size_t) iters);
    CHECK(NULL != seen, "out of memory");
    run_threads(shared_send, shared_recv);
    for (int i = 0; i < nthreads * iters; ++i) {
        CHECK(seen[i], "message %d of thread %d never came", i % iters, i / iters);
    }
    free(seen);
    for (int t = 0; t < nthreads; ++t) {
        MPI(MPI_Comm_free(&comms[t]));
    }
    return vt_report("threads=%d iterations=%d", nthreads, iters);
}
