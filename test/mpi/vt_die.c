/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For the fault tests: all ranks exchange checked messages without end, and after a time one of them goes
 * wrong. The test looks at how the others end.
 *
 * --mode none|kill|exit|abort|segv|stop|hang|loop   what rank R does: raise(SIGKILL), _exit(3), MPI_Abort,
 *                     a wild write, raise(SIGSTOP), sleeping or computing for ever without calling MPI
 * --rank R --after MS who and when (default: the last rank after 500 ms)
 * --pattern ring|pairs|wait   wait: all others sit in MPI_Recv from R, which sends now and then
 * --max BYTES         message sizes 0..BYTES (default 100000)
 * --seconds S         with mode none (or a victim that was not reached): end with PASS after S seconds
 * --pids              each rank says "die: rank R pid P host H" first
 */
#include "vt.h"

#include <signal.h>
#include <unistd.h>

static const char *mode;
static int victim;
static double when;
static int *volatile wild = (int *) 8;

static void go_wrong(void)
{
    if (0 == strcmp(mode, "none")) {
        return;
    }
    fprintf(stderr, "die: rank %d does %s now\n", vt.rank, mode);
    fflush(stderr);
    vt_at("%s on purpose", mode);
    if (0 == strcmp(mode, "kill")) {
        raise(SIGKILL);
    } else if (0 == strcmp(mode, "exit")) {
        _exit(3);
    } else if (0 == strcmp(mode, "abort")) {
        MPI_Abort(MPI_COMM_WORLD, 3);
    } else if (0 == strcmp(mode, "segv")) {
        *wild = 1;
    } else if (0 == strcmp(mode, "stop")) {
        raise(SIGSTOP);
    } else if (0 == strcmp(mode, "hang")) {
        for (;;) {
            pause();
        }
    } else {
        for (volatile unsigned long i = 0;; ++i) {
        }
    }
}

static void check_mode(void)
{
    static const char *const modes[] = {"none", "kill", "exit", "abort", "segv", "stop", "hang", "loop"};

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); ++i) {
        if (0 == strcmp(mode, modes[i])) {
            return;
        }
    }
    VT_FAIL("--mode %s is unknown (none, kill, exit, abort, segv, stop, hang or loop)", mode);
}

int main(int argc, char **argv)
{
    const char *pattern;
    double start, seconds;
    size_t max;
    unsigned char *out;
    struct vt_buf in;
    uint64_t iter = 0;
    bool ring, wait;
    int go_on = 1;

    vt_init(&argc, &argv, "die");
    mode = vt_arg("--mode");
    mode = NULL == mode ? "none" : mode;
    check_mode();
    victim = (int) vt_arg_num("--rank", vt.size - 1);
    when = 1e-3 * (double) vt_arg_num("--after", 500);
    seconds = (double) vt_arg_num("--seconds", VT_Q(3, 2));
    pattern = vt_arg("--pattern");
    pattern = NULL == pattern ? "ring" : pattern;
    ring = 0 == strcmp(pattern, "ring");
    wait = 0 == strcmp(pattern, "wait");
    max = (size_t) vt_arg_num("--max", 100000);
    CHECK(ring || wait || 0 == strcmp(pattern, "pairs"), "--pattern %s is unknown", pattern);
    CHECK(0 <= victim && victim < vt.size, "--rank %d: there are ranks 0..%d", victim, vt.size - 1);
    if (vt_flag("--pids")) {
        char host[256] = "?";

        gethostname(host, sizeof(host) - 1);
        printf("die: rank %d pid %d host %s\n", vt.rank, (int) getpid(), host);
        fflush(stdout);
    }
    vt_args_done();
    if (2 > vt.size) {
        return vt_skip("needs 2 ranks");
    }
    vt_watchdog_restart((unsigned) seconds);
    out = vt_malloc(max);
    vt_buf_init(&in, max);
    MPI(MPI_Barrier(MPI_COMM_WORLD));
    start = vt_now();
    while (go_on) {
        size_t size = (size_t) (vt_mix(iter, 5) % (0 == iter % 4 ? max + 1 : 300 < max ? 300 : max + 1));
        int to = (vt.rank + 1) % vt.size, from = (vt.rank - 1 + vt.size) % vt.size;
        MPI_Status st;

        if (vt.rank == victim && vt_now() - start > when) {
            go_wrong();
        }
        if (!ring && !wait) {
            to = from = (vt.rank ^ 1) < vt.size ? vt.rank ^ 1 : MPI_PROC_NULL;
        }
        vt_at("%s, message %llu", pattern, (unsigned long long) iter);
        if (wait && vt.rank == victim) {
            vt_sleep_ms(20);
            for (int r = 0; r < vt.size; ++r) {
                if (r != vt.rank) {
                    vt_fill(out, VT_KEY(vt.rank, r, 4, size, iter));
                    MPI(MPI_Send(out, (int) size, MPI_BYTE, r, 4, MPI_COMM_WORLD));
                }
            }
        } else if (wait) {
            vt_guard_set(&in, (size_t) iter, max);
            MPI(MPI_Recv(in.data, (int) max, MPI_BYTE, victim, 4, MPI_COMM_WORLD, &st));
            vt_check(in.data, &st, VT_KEY(victim, vt.rank, 4, size, iter));
        } else {
            vt_fill(out, VT_KEY(vt.rank, to, 4, size, iter));
            vt_guard_set(&in, (size_t) iter, max);
            MPI(MPI_Sendrecv(out, (int) size, MPI_BYTE, to, 4, in.data, (int) max, MPI_BYTE, from, 4,
                             MPI_COMM_WORLD, &st));
            if (MPI_PROC_NULL != from) {
                vt_check(in.data, &st, VT_KEY(from, vt.rank, 4, size, iter));
                vt_guard_check(&in);
            }
        }
        /* Now and then all agree on whether the time is over. */
        if (0 == ++iter % (wait ? 8 : 64)) {
            go_on = vt_now() - start < seconds || 0 != strcmp(mode, "none");
            MPI(MPI_Bcast(&go_on, 1, MPI_INT, 0, MPI_COMM_WORLD));
        }
    }
    free(out);
    vt_buf_free(&in);
    return vt_report("mode=%s pattern=%s rounds=%llu", mode, pattern, (unsigned long long) iter);
}
