/*
 * A cache line between two processes of this machine, without MPI: what the hardware gives, and so
 * the name of the regime in which something beside it is measured. The virtual CPUs of a rented
 * machine move; sometimes two of them share a core, sometimes not, and everything moves with that.
 *
 * Usage: cacheline [MILLISECONDS]; prints the median one-way time in nanoseconds.
 * The two processes are bound to the first two CPUs they may use: it is those CPUs that are asked.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, MAX_BATCHES = 100000 };

/* One writer per line, as in the segment. */
struct lines {
    _Alignas(128) atomic_uint_fast32_t ping;
    _Alignas(128) atomic_uint_fast32_t pong;
    _Alignas(128) atomic_int end;
};

static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double) t.tv_sec + (double) t.tv_nsec;
}

static void bind_to(int nth)
{
    cpu_set_t all, one;

    if (0 != sched_getaffinity(0, sizeof all, &all)) {
        return;
    }
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(cpu, &all) && 0 == nth--) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            (void) sched_setaffinity(0, sizeof one, &one);
            return;
        }
    }
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *) a, y = *(const double *) b;

    return (x > y) - (x < y);
}

static _Noreturn void answer(struct lines *l)
{
    uint_fast32_t seen = 0;

    bind_to(1);
    for (;;) {
        const uint_fast32_t next = atomic_load_explicit(&l->ping, memory_order_acquire);

        if (next != seen) {
            seen = next;
            atomic_store_explicit(&l->pong, seen, memory_order_release);
        } else if (0 != atomic_load_explicit(&l->end, memory_order_relaxed)) {
            _exit(0);
        }
    }
}

int main(int argc, char **argv)
{
    const double limit = 1e6 * (argc > 1 ? atof(argv[1]) : 50);
    static double samples[MAX_BATCHES];
    struct lines *l;
    uint_fast32_t n = 0;
    double start, mark;
    int count = 0;
    pid_t child;

    l = mmap(NULL, sizeof *l, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (MAP_FAILED == l) {
        perror("cacheline: mmap");
        return 1;
    }
    child = fork();
    if (child < 0) {
        perror("cacheline: fork");
        return 1;
    }
    if (0 == child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        answer(l);
    }
    bind_to(0);
    start = now_ns();
    for (mark = start; (mark - start < limit || 0 == count) && count < MAX_BATCHES; ++count) {
        const double before = mark;

        for (int i = 0; i < BATCH; ++i) {
            atomic_store_explicit(&l->ping, ++n, memory_order_release);
            while (atomic_load_explicit(&l->pong, memory_order_acquire) != n) {
            }
        }
        mark = now_ns();
        samples[count] = (mark - before) / BATCH / 2;
    }
    atomic_store_explicit(&l->end, 1, memory_order_relaxed);
    waitpid(child, NULL, 0);
    qsort(samples, (size_t) count, sizeof samples[0], by_value);
    printf("%.1f\n", samples[count / 2]);
    return 0;
}
