/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many ranks: what it costs to start them, what memory they hold, how fast they talk.
 *
 *     vmshm_crowd start    MPI_Init to the end of the first barrier, and the memory of each rank;
 *                          then one pair's latency while all others sleep, who have been silent so
 *                          far; then the same after each rank has sent to each other, and the memory
 *     vmshm_crowd talk MS  barrier, ping-pong in pairs, alltoall of 8 bytes and of 64 KiB, MS
 *                          milliseconds each, with all ranks in MPI all the time
 *
 * Rank 0 prints one line of JSON. Memory is what the kernel says of this process: `shared` is its
 * share of the pages of shared files (each page divided by the number of processes that have it
 * mapped, so that the sum over all ranks is what the job occupies), `private` its own pages,
 * `tables` its page tables.
 */
#define _GNU_SOURCE
#include <mpi.h>

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { PAIR_SAMPLES = 2000, PAIR_WARM = 200, CHUNK = 4, MAX_CHUNKS = 1 << 16, LARGE = 65536 };

static int rank, size;

/* One kernel: its clock is the same for all ranks. */
static double now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e6 * (double) t.tv_sec + 1e-3 * (double) t.tv_nsec;
}

static double cpu_us(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return 1e6 * (double) (u.ru_utime.tv_sec + u.ru_stime.tv_sec)
           + (double) (u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "vmshm_crowd: rank %d: %s\n", rank, what);
    MPI_Abort(MPI_COMM_WORLD, 1);
    abort();
}

/* -- ranks that sleep, while others are measured ------------------------------------------------ */

static pthread_barrier_t *gate;

/* A barrier of the C library in a file of its own: whoever waits there sleeps outside of MPI. */
static void gate_make(void)
{
    char name[64] = { 0 };
    int fd = -1;

    if (0 == rank) {
        snprintf(name, sizeof name, "/vmshm-crowd-%ld", (long) getpid());
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
    if (0 == rank) {
        pthread_barrierattr_t attr;

        pthread_barrierattr_init(&attr);
        pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
        pthread_barrier_init(gate, &attr, (unsigned) size);
    }
    close(fd);
    MPI_Barrier(MPI_COMM_WORLD);
    if (0 == rank) {
        shm_unlink(name);
    }
}

/* -- memory ------------------------------------------------------------------------------------- */

struct memory {
    double shared;
    double private;
    double tables;
};

static double field_of(const char *path, const char *field)
{
    FILE *f = fopen(path, "r");
    char line[256];
    double kib = 0;

    while (NULL != f && NULL != fgets(line, sizeof line, f)) {
        if (0 == strncmp(line, field, strlen(field))) {
            kib += strtod(line + strlen(field), NULL);
        }
    }
    if (NULL != f) {
        fclose(f);
    }
    return kib;
}

/* Mean over the ranks, KiB. All have to be there: a page's share depends on who maps it. */
static struct memory memory_of_all(void)
{
    struct memory m, sum;

    pthread_barrier_wait(gate);
    m.shared = field_of("/proc/self/smaps_rollup", "Pss_Shmem:");
    m.private = field_of("/proc/self/smaps_rollup", "Pss_Anon:");
    m.tables = field_of("/proc/self/status", "VmPTE:");
    pthread_barrier_wait(gate);
    MPI_Reduce(&m, &sum, 3, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
    sum.shared /= size;
    sum.private /= size;
    sum.tables /= size;
    return sum;
}

/* -- start -------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *) a, y = *(const double *) b;

    return (x > y) - (x < y);
}

static double median(double *v, int n)
{
    qsort(v, (size_t) n, sizeof *v, by_value);
    return v[n / 2];
}

static double ping(int peer, char *buffer, int bytes)
{
    const double start = now_us();

    if (0 == rank % 2) {
        MPI_Send(buffer, bytes, MPI_CHAR, peer, 1, MPI_COMM_WORLD);
        MPI_Recv(buffer, bytes, MPI_CHAR, peer, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    } else {
        MPI_Recv(buffer, bytes, MPI_CHAR, peer, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        MPI_Send(buffer, bytes, MPI_CHAR, peer, 1, MPI_COMM_WORLD);
    }
    return (now_us() - start) / 2;
}

/* Keep the two ranks of the pair off each other's core, while they are measured. */
static void bind_to(int nth)
{
    cpu_set_t all, one;
    int cpu = 0;

    if (0 != sched_getaffinity(0, sizeof all, &all) || CPU_COUNT(&all) <= nth) {
        return;
    }
    for (; !CPU_ISSET(cpu, &all) || nth-- > 0; ++cpu) {
    }
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    (void) sched_setaffinity(0, sizeof one, &one);
}

/* One-way time between ranks 0 and 1, us. */
static double pair_latency(void)
{
    static double samples[PAIR_SAMPLES];
    char buffer[8] = { 0 };
    cpu_set_t before;

    (void) sched_getaffinity(0, sizeof before, &before);
    if (rank < 2) {
        bind_to(rank);
    }
    pthread_barrier_wait(gate);
    for (int i = -PAIR_WARM; rank < 2 && i < PAIR_SAMPLES; ++i) {
        const double one = ping(1 - rank, buffer, 8);

        if (i >= 0) {
            samples[i] = one;
        }
    }
    (void) sched_setaffinity(0, sizeof before, &before);
    pthread_barrier_wait(gate);
    return median(samples, PAIR_SAMPLES);
}

static void talk_once(void)
{
    for (int step = 1; step < size; ++step) {
        int out = rank, in = -1;

        MPI_Sendrecv(&out, 1, MPI_INT, (rank + step) % size, 2, &in, 1, MPI_INT,
                     (rank - step + size) % size, 2, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        if (in != (rank - step + size) % size) {
            die("received what was not sent");
        }
    }
}

static void measure_start(double begin, double inited)
{
    double first, last, init, cpu = cpu_us(), cpu_sum, silent, talked;
    const double barrier = now_us();
    struct memory at_start, at_end;

    MPI_Reduce(&begin, &first, 1, MPI_DOUBLE, MPI_MIN, 0, MPI_COMM_WORLD);
    MPI_Reduce(&barrier, &last, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
    MPI_Reduce(&inited, &init, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
    MPI_Reduce(&cpu, &cpu_sum, 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
    gate_make();
    at_start = memory_of_all();
    silent = pair_latency();
    talk_once();
    at_end = memory_of_all();
    talked = pair_latency();
    if (0 == rank) {
        printf("{\"ranks\": %d, \"init_ms\": %.3f, \"start_ms\": %.3f, \"cpu_ms\": %.3f, "
               "\"shared_kib\": %.1f, \"private_kib\": %.1f, \"tables_kib\": %.1f, "
               "\"silent_us\": %.4f, \"talked_shared_kib\": %.1f, \"talked_private_kib\": %.1f, "
               "\"talked_tables_kib\": %.1f, \"talked_us\": %.4f}\n", size, (init - first) / 1e3,
               (last - first) / 1e3, cpu_sum / size / 1e3, at_start.shared, at_start.private,
               at_start.tables, silent, at_end.shared, at_end.private, at_end.tables, talked);
    }
}

/* -- talk --------------------------------------------------------------------------------------- */

static char *sent, *received;

static void do_barrier(void)
{
    MPI_Barrier(MPI_COMM_WORLD);
}

static void do_pairs(void)
{
    if ((rank ^ 1) < size) {
        (void) ping(rank ^ 1, sent, 8);
    }
}

static void do_small(void)
{
    MPI_Alltoall(sent, 8, MPI_CHAR, received, 8, MPI_CHAR, MPI_COMM_WORLD);
}

static void do_large(void)
{
    MPI_Alltoall(sent, LARGE, MPI_CHAR, received, LARGE, MPI_CHAR, MPI_COMM_WORLD);
}

/* Mean time of one operation: chunk by chunk, until rank 0 finds the time is over. */
static double repeat(void (*operation)(void), double ms)
{
    double spent = 0;
    int more = 1;
    long count = 0;

    operation();
    while (more) {
        const double start = now_us();

        for (int i = 0; i < CHUNK; ++i) {
            operation();
        }
        MPI_Barrier(MPI_COMM_WORLD);
        spent += now_us() - start;
        count += CHUNK;
        more = spent < 1e3 * ms;
        MPI_Bcast(&more, 1, MPI_INT, 0, MPI_COMM_WORLD);
    }
    return spent / (double) count;
}

static void measure_talk(double ms)
{
    double barrier, pairs, small, large;

    sent = calloc((size_t) size, LARGE);
    received = calloc((size_t) size, LARGE);
    if (NULL == sent || NULL == received) {
        die("out of memory");
    }
    barrier = repeat(do_barrier, ms);
    pairs = repeat(do_pairs, ms);
    small = repeat(do_small, ms);
    large = repeat(do_large, ms);
    if (0 == rank) {
        printf("{\"ranks\": %d, \"barrier_us\": %.3f, \"pairs_us\": %.3f, \"alltoall_8_us\": %.3f, "
               "\"alltoall_64k_us\": %.3f}\n", size, barrier, pairs, small, large);
    }
    free(sent);
    free(received);
}

int main(int argc, char **argv)
{
    const double begin = now_us();
    double inited;

    MPI_Init(&argc, &argv);
    inited = now_us();
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Barrier(MPI_COMM_WORLD);
    if (2 == argc && 0 == strcmp(argv[1], "start") && size > 1) {
        measure_start(begin, inited);
    } else if (3 == argc && 0 == strcmp(argv[1], "talk")) {
        measure_talk(strtod(argv[2], NULL));
    } else {
        die("usage: vmshm_crowd start (2 ranks or more) | talk MILLISECONDS");
    }
    MPI_Finalize();
    return 0;
}
