/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What messages cost that wait: the memory of sender and receiver while all is unexpected.
 *
 *     vmshm_unexpected BYTES COUNT send|isend
 *
 * Each rank but 0 sends COUNT messages of BYTES to rank 0, which receives them only after a last one of
 * another tag has come from each: all others lie in its unexpected queue then. With `send` rank 0 is in
 * MPI meanwhile, and takes what comes; with `isend` it sleeps until all others have handed over all.
 *
 * Rank 0 prints one line of JSON for each moment: `idle` before the first message, `posted` when a
 * sender has handed over all (isend only), `held` when all have come and none has been received, `done`
 * when all have. KiB, as the kernel and the C library see the process: `anon` its own pages, `shmem`
 * pages of shared files, `pss_anon` and `pss_shmem` its share of them, `heap_used` what malloc has handed
 * out, `heap_free` what it keeps, `peak` the high water of all resident pages since `idle`. Of senders
 * the mean, and the greatest `peak`.
 */
#define _GNU_SOURCE
#include <mpi.h>

#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { TAG_DATA = 1, TAG_LAST = 2 };
/* Different messages of a sender: their buffers must not count much. */
enum { KINDS = 16 };
enum { ANON, SHMEM, PSS_ANON, PSS_SHMEM, HEAP_USED, HEAP_FREE, PEAK, FIELDS };
static const char *const names[FIELDS] = { "anon",      "shmem",     "pss_anon", "pss_shmem",
                                           "heap_used", "heap_free", "peak" };

static int rank, size;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "vmshm_unexpected: rank %d: %s\n", rank, what);
    MPI_Abort(MPI_COMM_WORLD, 1);
    abort();
}

static double field_of(const char *path, const char *field)
{
    FILE *f = fopen(path, "r");
    char line[256];
    double kib = -1;

    while (NULL != f && kib < 0 && NULL != fgets(line, sizeof line, f)) {
        if (0 == strncmp(line, field, strlen(field))) {
            kib = strtod(line + strlen(field), NULL);
        }
    }
    if (NULL != f) {
        fclose(f);
    }
    if (kib < 0) {
        die("the kernel does not say how much memory is used");
    }
    return kib;
}

/* How many have handed over all; in a file of its own, as whoever waits must not be in MPI. */
static atomic_int *gate;

static void gate_make(void)
{
    char name[64] = { 0 };
    int fd = -1;

    if (0 == rank) {
        snprintf(name, sizeof name, "/vmshm-unexpected-%ld", (long) getpid());
        fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
        if (fd < 0 || 0 != ftruncate(fd, sizeof *gate)) {
            die("cannot make the gate");
        }
    }
    MPI_Bcast(name, sizeof name, MPI_CHAR, 0, MPI_COMM_WORLD);
    if (0 != rank) {
        fd = shm_open(name, O_RDWR, 0);
    }
    gate = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *gate, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (MAP_FAILED == gate) {
        die("cannot map the gate");
    }
    close(fd);
    MPI_Barrier(MPI_COMM_WORLD);
    if (0 == rank) {
        shm_unlink(name);
    }
}

/* Not in MPI: whoever looks must not make progress. */
static void look(double m[FIELDS])
{
    const struct mallinfo2 heap = mallinfo2();

    m[ANON] = field_of("/proc/self/status", "RssAnon:");
    m[SHMEM] = field_of("/proc/self/status", "RssShmem:");
    m[PSS_ANON] = field_of("/proc/self/smaps_rollup", "Pss_Anon:");
    m[PSS_SHMEM] = field_of("/proc/self/smaps_rollup", "Pss_Shmem:");
    m[HEAP_USED] = (double) (heap.uordblks + heap.hblkhd) / 1024;
    m[HEAP_FREE] = (double) heap.fordblks / 1024;
    m[PEAK] = field_of("/proc/self/status", "VmHWM:");
}

static void forget_peak(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "w");

    if (NULL == f || EOF == fputs("5\n", f) || 0 != fclose(f)) {
        die("the high water of resident pages cannot be set back");
    }
}

static void print(const char *moment, const char *who, const double m[FIELDS])
{
    printf("{\"moment\": \"%s\", \"who\": \"%s\"", moment, who);
    for (int i = 0; i < FIELDS; ++i) {
        printf(", \"%s\": %.0f", names[i], m[i]);
    }
    printf("}\n");
}

/* Collective; the senders' figures travel after everybody's have been taken. */
static void report(const char *moment, const double mine[FIELDS])
{
    double all[FIELDS], zero[FIELDS] = { 0 }, peak = 0;

    MPI_Reduce(0 == rank ? zero : mine, all, FIELDS, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
    MPI_Reduce(0 == rank ? &zero[PEAK] : &mine[PEAK], &peak, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
    if (0 == rank) {
        for (int i = 0; i < FIELDS; ++i) {
            all[i] /= size - 1;
        }
        all[PEAK] = peak;
        print(moment, "receiver", mine);
        print(moment, "sender", all);
    }
}

static void fill(unsigned char *p, int bytes, int from, int n)
{
    for (int i = 0; i < bytes; ++i) {
        p[i] = (unsigned char) (31 * from + 7 * n + i);
    }
}

static void send_all(int bytes, int count, int with_isend, double posted[FIELDS], double held[FIELDS])
{
    unsigned char *out = malloc((size_t) bytes * KINDS + 1);
    MPI_Request *requests = malloc((size_t) count * sizeof *requests);
    char last = 0;

    if (NULL == out || NULL == requests) {
        die("out of memory");
    }
    for (int kind = 0; kind < KINDS; ++kind) {
        fill(out + (size_t) kind * (size_t) bytes, bytes, rank, kind);
    }
    for (int i = 0; i < count; ++i) {
        const unsigned char *from = out + (size_t) (i % KINDS) * (size_t) bytes;

        if (with_isend) {
            MPI_Isend(from, bytes, MPI_BYTE, 0, TAG_DATA, MPI_COMM_WORLD, &requests[i]);
        } else {
            MPI_Send(from, bytes, MPI_BYTE, 0, TAG_DATA, MPI_COMM_WORLD);
        }
    }
    look(posted);
    atomic_fetch_add(gate, 1);
    MPI_Send(&last, 1, MPI_CHAR, 0, TAG_LAST, MPI_COMM_WORLD);
    look(held);
    if (with_isend) {
        MPI_Waitall(count, requests, MPI_STATUSES_IGNORE);
    }
    free(requests);
    free(out);
}

static void receive_all(int bytes, int count, int with_isend, double posted[FIELDS], double held[FIELDS])
{
    unsigned char *in = malloc((size_t) bytes + 1), *want = malloc((size_t) bytes + 1);
    char nothing[1];

    if (NULL == in || NULL == want) {
        die("out of memory");
    }
    while (with_isend && atomic_load(gate) < size - 1) {
        usleep(1000);
    }
    look(posted);
    for (int peer = 1; peer < size; ++peer) {
        MPI_Recv(nothing, 1, MPI_CHAR, peer, TAG_LAST, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    }
    look(held);
    for (int i = 0; i < count; ++i) {
        for (int peer = 1; peer < size; ++peer) {
            MPI_Recv(in, bytes, MPI_BYTE, peer, TAG_DATA, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            fill(want, bytes, peer, i % KINDS);
            if (0 != memcmp(in, want, (size_t) bytes)) {
                die("received what was not sent");
            }
        }
    }
    free(want);
    free(in);
}

int main(int argc, char **argv)
{
    double idle[FIELDS], posted[FIELDS], held[FIELDS], done[FIELDS];
    int bytes, count, with_isend;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    bytes = argc > 3 ? atoi(argv[1]) : -1;
    count = argc > 3 ? atoi(argv[2]) : -1;
    with_isend = 4 == argc && 0 == strcmp(argv[3], "isend");
    if (size < 2 || bytes < 0 || count < 1 || 4 != argc
        || (!with_isend && 0 != strcmp(argv[3], "send"))) {
        die("usage: vmshm_unexpected BYTES COUNT send|isend, with 2 ranks or more");
    }
    gate_make();
    MPI_Barrier(MPI_COMM_WORLD);
    forget_peak();
    look(idle);
    MPI_Barrier(MPI_COMM_WORLD);
    if (0 == rank) {
        receive_all(bytes, count, with_isend, posted, held);
    } else {
        send_all(bytes, count, with_isend, posted, held);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    look(done);
    report("idle", idle);
    if (with_isend) {
        report("posted", posted);
    }
    report("held", held);
    report("done", done);
    MPI_Finalize();
    return 0;
}
