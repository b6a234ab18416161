/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs generated MPI programs and checks every byte: see storm/storm.h, and run-storm.py, which runs
 * this over many seeds and launchers and shrinks what fails.
 *
 * --plans LIST      seeds, and operations of them: 17, 17..20, 17:3-9,12, joined by "+" (default 1)
 * --ops N           operations of a plan (default 150)
 * --max BYTES       size of the largest message (default 8M; with --quick 1M)
 * --threads T       T threads that call MPI (default 1)
 * --repeat N        all of it N times
 * --again SECONDS   all of it again and again for so long
 * --for SECONDS     go on with the seeds behind the last one for so long
 * --thresholds A,.. more sizes at which something changes (as VT_THRESHOLDS)
 * --allow-ob1-overrun  do not look behind buffers that are too short: see vt_truncate.c
 * --show            print the plans and do not run them
 * The watchdog (--watchdog SECONDS, default 120) is set anew for each plan.
 */
#include "storm/storm.h"

static int ops, threads;
static size_t max;
static bool show;
static unsigned long long plans_done, ops_done;

static bool threads_asked(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; ++i) {
        if (0 == strcmp(argv[i], "--threads") && 1 < atoi(argv[i + 1])) {
            return true;
        }
    }
    return false;
}

static void run(const struct storm_choice *choice)
{
    struct storm_plan *plan = storm_plan_make(choice->seed, vt.size, threads, ops, max);

    storm_select_ops(plan, choice);
    vt_watchdog_restart(0);
    if (show) {
        if (0 == vt.rank) {
            storm_plan_print(plan);
        }
    } else {
        ops_done += (unsigned long long) storm_run(plan);
        ++plans_done;
    }
    storm_plan_free(plan);
}

/* The same answer in all ranks. */
static bool time_left(double end)
{
    int left = vt_now() < end;

    MPI(MPI_Bcast(&left, 1, MPI_INT, 0, MPI_COMM_WORLD));
    return left;
}

int main(int argc, char **argv)
{
    struct storm_choice *choices;
    const char *text;
    double start, seconds, again;
    long long repeat;
    const size_t *thresholds;
    size_t n, more;

    vt_init_thread(&argc, &argv, "storm",
                   threads_asked(argc, argv) ? MPI_THREAD_MULTIPLE : MPI_THREAD_SINGLE);
    text = vt_arg("--plans");
    n = storm_select(NULL == text ? "1" : text, &choices);
    ops = (int) vt_arg_num("--ops", 150);
    max = (size_t) vt_arg_num("--max", VT_Q(8 << 20, 1 << 20));
    threads = (int) vt_arg_num("--threads", 1);
    repeat = vt_arg_num("--repeat", 1);
    again = (double) vt_arg_num("--again", 0);
    seconds = (double) vt_arg_num("--for", 0);
    storm_allow_overrun = vt_flag("--allow-ob1-overrun");
    show = vt_flag("--show");
    vt_args_done();
    CHECK(1 <= ops && ops <= STORM_MAX_OPS, "--ops must be 1 to %d", STORM_MAX_OPS);
    CHECK(1 <= threads && threads <= STORM_MAX_THREADS, "--threads must be 1 to %d", STORM_MAX_THREADS);
    CHECK(64 <= max && max <= 15 << 20, "--max must be 64 to 15M");
    if (1 < threads && MPI_THREAD_MULTIPLE > vt.thread_level) {
        return vt_skip("this MPI provides thread level %d, not MPI_THREAD_MULTIPLE", vt.thread_level);
    }
    if (STORM_MAX_RANKS < vt.size) {
        return vt_skip("at most %d ranks", STORM_MAX_RANKS);
    }
    thresholds = vt_threshold_list(&more);
    storm_mix_thresholds(thresholds, more);
    vt_on_timeout(storm_watch);
    MPI(MPI_Comm_dup(MPI_COMM_WORLD, &storm_tokens));
    MPI(MPI_Comm_dup(MPI_COMM_WORLD, &storm_wilds));
    /* Truncated receives are errors; MPI() in vt.h ends the job for all others. */
    MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    MPI(MPI_Comm_set_errhandler(storm_wilds, MPI_ERRORS_RETURN));
    start = vt_now();
    for (long long i = 0; i < repeat || (0 < again && time_left(start + again)); ++i) {
        for (size_t k = 0; k < n; ++k) {
            run(&choices[k]);
        }
    }
    if (0 < seconds) {
        struct storm_choice next = {.seed = choices[n - 1].seed};

        while (time_left(start + seconds)) {
            next.seed += 1;
            run(&next);
        }
    }
    seconds = vt_now() - start;
    MPI(MPI_Comm_free(&storm_tokens));
    MPI(MPI_Comm_free(&storm_wilds));
    free(choices);
    if (show) {
        vt_quiet_end();
        return 0;
    }
    return vt_report("plans=%llu operations=%llu seconds=%.1f plans/s=%.2f operations/s=%.0f", plans_done,
                     ops_done, seconds, (double) plans_done / seconds, (double) ops_done / seconds);
}
