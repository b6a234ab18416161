/*
 * A ping-pong that waits for orders, so that several of them, each over another transport, can stay
 * up and be measured in turn, a fraction of a second each: what the machine does meanwhile then
 * meets all of them alike. While it waits, a rank sleeps.
 *
 * Rank 0 reads orders from its standard input, one per line:
 *     pingpong BYTES MILLISECONDS BATCH   between ranks 0 and 1; BYTES: 2 or more
 *     chain                               a message from each rank to its successor and back
 *     quit                                (or the end of the input)
 * and answers each with one line of JSON. An order and its acknowledgement run along the chain of
 * ranks, so that no rank ever talks to another than its neighbours.
 *
 * BATCH round trips are one sample: more than one for what takes less than the clock. From 4 KiB on
 * both sides rewrite what they send and read what they got between the round trips; with BATCH 1
 * that is not in the time. Samples are short, so their median is hardly touched by moments in which
 * one of the two ranks did not run.
 */
#define _GNU_SOURCE
#include <mpi.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

enum { TAG_ORDER = 1, TAG_ACK = 2, TAG_PING = 3, TIMED_SINGLY = 4096, MAX_SAMPLES = 1 << 18 };
enum { OP_QUIT = 0, OP_PINGPONG = 1, OP_CHAIN = 2 };

struct order {
    int64_t op;
    int64_t bytes;
    int64_t ms;
    int64_t batch;
};

static int rank, size;
static volatile uint64_t sink;

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double) t.tv_sec + (double) t.tv_nsec;
}

/* Where a clock is a system call (User-Mode Linux: several us) it would spoil what it measures. */
static inline uint64_t ticks(void)
{
#if defined(__x86_64__)
    return __rdtsc();
#else
    return (uint64_t) now_ns();
#endif
}

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "vmshm_pingpong: rank %d: %s\n", rank, what);
    MPI_Abort(MPI_COMM_WORLD, 1);
    abort();
}

static void *buffer(size_t bytes)
{
    void *p = NULL;

    if (0 != posix_memalign(&p, 4096, bytes)) {
        die("out of memory");
    }
    memset(p, 0, bytes);
    return p;
}

/* Each message is new to the caches of both, as in a program that computes what it sends. Its first
 * byte is 1 in the last message; its last byte counts. */
static void prepare(uint8_t *out, size_t bytes, uint64_t n)
{
    if (TIMED_SINGLY <= bytes) {
        memset(out, (int) (n & 0xff), bytes);
    }
    out[bytes - 1] = (uint8_t) n;
    out[0] = 0;
}

static void consume(const uint8_t *in, size_t bytes, uint64_t n)
{
    uint64_t sum = 0;

    if (TIMED_SINGLY <= bytes) {
        for (size_t i = 0; i + 8 <= bytes; i += 8) {
            uint64_t word;

            memcpy(&word, in + i, 8);
            sum += word;
        }
        sink = sum;
    }
    if (in[bytes - 1] != (uint8_t) n) {
        die("a message has the wrong content");
    }
}

static void answer(uint8_t *out, uint8_t *in, size_t bytes)
{
    for (uint64_t n = 1; ; ++n) {
        int last;

        prepare(out, bytes, n);
        MPI_Recv(in, (int) bytes, MPI_BYTE, 0, TAG_PING, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        last = in[0];
        MPI_Send(out, (int) bytes, MPI_BYTE, 0, TAG_PING, MPI_COMM_WORLD);
        consume(in, bytes, n);
        if (last) {
            return;
        }
    }
}

static uint64_t sent;

/* One round trip; its ticks. */
static inline uint64_t round_trip(uint8_t *out, uint8_t *in, size_t bytes, int last)
{
    uint64_t start;

    prepare(out, bytes, ++sent);
    out[0] = (uint8_t) last;
    start = ticks();
    MPI_Send(out, (int) bytes, MPI_BYTE, 1, TAG_PING, MPI_COMM_WORLD);
    MPI_Recv(in, (int) bytes, MPI_BYTE, 1, TAG_PING, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    start = ticks() - start;
    consume(in, bytes, sent);
    return start;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *) a, y = *(const double *) b;

    return (x > y) - (x < y);
}

static void ask(uint8_t *out, uint8_t *in, size_t bytes, int64_t ms, int64_t batch)
{
    static double samples[MAX_SAMPLES];
    const double limit = 1e6 * (double) ms;
    uint64_t first, end;
    double start, ns_per_tick;
    int count = 0;

    sent = 0;
    /* Warm: connections, pages, caches. */
    start = now_ns();
    first = ticks();
    do {
        for (int i = 0; i < 4; ++i) {
            (void) round_trip(out, in, bytes, 0);
        }
    } while (now_ns() - start < limit / 10);
    ns_per_tick = (now_ns() - start) / (double) (ticks() - first);
    first = ticks();
    end = first + (uint64_t) (limit / ns_per_tick);
    start = now_ns();
    while (count < MAX_SAMPLES && (ticks() < end || 0 == count)) {
        uint64_t sum = 0;

        if (1 == batch) {
            sum = round_trip(out, in, bytes, 0);
        } else {
            /* As one: reading the ticks costs a tenth of the quickest round trip. */
            sum = ticks();
            for (int64_t i = 0; i < batch; ++i) {
                (void) round_trip(out, in, bytes, 0);
            }
            sum = ticks() - sum;
        }
        samples[count++] = (double) sum / (double) batch;
    }
    ns_per_tick = (now_ns() - start) / (double) (ticks() - first);
    (void) round_trip(out, in, bytes, 1);
    qsort(samples, (size_t) count, sizeof samples[0], by_value);
#define US(i) (samples[(i)] * ns_per_tick / 2e3)
    printf("{\"bytes\": %zu, \"samples\": %d, \"min_us\": %.4f, \"q1_us\": %.4f, "
           "\"median_us\": %.4f, \"q3_us\": %.4f, \"p99_us\": %.4f}\n", bytes, count,
           US(0), US(count / 4), US(count / 2), US(3 * (count / 4)), US(count - 1 - count / 100));
#undef US
}

static void pingpong(const struct order *o)
{
    const size_t bytes = (size_t) o->bytes;
    uint8_t *in = buffer(bytes), *out = buffer(bytes);

    if (0 == rank) {
        ask(out, in, bytes, o->ms, o->batch);
    } else {
        answer(out, in, bytes);
    }
    free(in);
    free(out);
}

static void read_order(struct order *o)
{
    char line[256];
    long long bytes = 0, ms = 0, batch = 0;

    *o = (struct order) { .op = OP_QUIT };
    if (NULL == fgets(line, sizeof line, stdin) || 0 == strncmp(line, "quit", 4)) {
        return;
    }
    if (3 == sscanf(line, "pingpong %lld %lld %lld", &bytes, &ms, &batch) && 2 <= bytes
        && bytes <= 1 << 30 && 1 <= ms && 1 <= batch && 2 <= size) {
        *o = (struct order) { .op = OP_PINGPONG, .bytes = bytes, .ms = ms, .batch = batch };
    } else if (0 == strncmp(line, "chain", 5)) {
        o->op = OP_CHAIN;
    } else {
        die("unknown order; use: pingpong BYTES MILLISECONDS BATCH, chain, quit");
    }
}

/* Asleep while nothing is asked: another ping-pong may be at work on the same CPU. */
static void receive_asleep(void *data, int bytes, int from, int tag)
{
    for (int arrived = 0; ; usleep(2000)) {
        MPI_Iprobe(from, tag, MPI_COMM_WORLD, &arrived, MPI_STATUS_IGNORE);
        if (arrived) {
            break;
        }
    }
    MPI_Recv(data, bytes, MPI_BYTE, from, tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

int main(int argc, char **argv)
{
    struct order o;
    char ack = 0;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    do {
        if (0 == rank) {
            read_order(&o);
        } else {
            receive_asleep(&o, sizeof o, rank - 1, TAG_ORDER);
        }
        if (rank + 1 < size) {
            MPI_Send(&o, sizeof o, MPI_BYTE, rank + 1, TAG_ORDER, MPI_COMM_WORLD);
        }
        if (OP_PINGPONG == o.op && rank < 2) {
            pingpong(&o);
        }
        if (rank + 1 < size) {
            receive_asleep(&ack, 1, rank + 1, TAG_ACK);
        }
        if (0 < rank) {
            MPI_Send(&ack, 1, MPI_BYTE, rank - 1, TAG_ACK, MPI_COMM_WORLD);
        } else if (OP_CHAIN == o.op) {
            printf("{\"ranks\": %d}\n", size);
        }
        fflush(stdout);
    } while (OP_QUIT != o.op);
    MPI_Finalize();
    return 0;
}
