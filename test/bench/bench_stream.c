/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Windows of messages, in one direction or in both. Each window is one sample: from the moment in
 * which both sides have posted their receives to the receiver's word that all have come. Each
 * message has a buffer of its own; they are rewritten and read between windows.
 */
#include "bench_mpi.h"

#include <stdio.h>
#include <stdlib.h>

struct stream {
    size_t bytes;
    int window;
    int peer;
    bool both;
    bool leads;         /* the lower rank of the pair: it sends, times and ends */
    uint8_t *out, *in;
    MPI_Request *receives, *sends;
};

static struct bench_samples samples;    /* of rank 0, until they are printed */
static int per_sample;

static void post_receives(struct stream *t)
{
    for (int i = 0; i < t->window; ++i) {
        MPI_Irecv(t->in + (size_t) i * t->bytes, (int) t->bytes, MPI_BYTE, t->peer, BENCH_TAG_DATA,
                  MPI_COMM_WORLD, &t->receives[i]);
    }
}

static void send_all(struct stream *t)
{
    for (int i = 0; i < t->window; ++i) {
        MPI_Isend(t->out + (size_t) i * t->bytes, (int) t->bytes, MPI_BYTE, t->peer,
                  BENCH_TAG_DATA, MPI_COMM_WORLD, &t->sends[i]);
    }
    MPI_Waitall(t->window, t->sends, MPI_STATUSES_IGNORE);
}

static void receive_all(struct stream *t)
{
    MPI_Waitall(t->window, t->receives, MPI_STATUSES_IGNORE);
}

static void fill_all(struct stream *t, uint64_t n, bool last)
{
    for (int i = 0; i < t->window; ++i) {
        bench_fill(t->out + (size_t) i * t->bytes, t->bytes, n + (uint64_t) i, last);
    }
}

static bool check_all(struct stream *t, uint64_t n)
{
    bool last = false;

    for (int i = 0; i < t->window; ++i) {
        last = bench_check(t->in + (size_t) i * t->bytes, t->bytes, n + (uint64_t) i);
    }
    return last;
}

/* The ticks of window n, on the side that leads. */
static uint64_t lead_window(struct stream *t, uint64_t n, bool last)
{
    uint64_t start;

    fill_all(t, n, last);
    if (t->both) {
        post_receives(t);
        bench_token(t->peer, BENCH_TAG_READY);
    }
    bench_await(t->peer, BENCH_TAG_READY);
    start = bench_ticks();
    send_all(t);
    if (t->both) {
        receive_all(t);
    }
    bench_await(t->peer, BENCH_TAG_ACK);
    start = bench_ticks() - start;
    if (t->both) {
        (void) check_all(t, n);
    }
    return start;
}

static void follow_windows(struct stream *t)
{
    bool last = false;

    for (uint64_t n = 1; !last; ++n) {
        post_receives(t);
        if (t->both) {
            fill_all(t, n, false);
            bench_await(t->peer, BENCH_TAG_READY);
        }
        bench_token(t->peer, BENCH_TAG_READY);
        if (t->both) {
            send_all(t);
        }
        receive_all(t);
        bench_token(t->peer, BENCH_TAG_ACK);
        last = check_all(t, n);
    }
}

static double lead_windows(struct stream *t, double ms)
{
    uint64_t n = 0, first;
    double seconds;

    bench_samples_begin(&samples, ms);
    per_sample = t->window * (t->both ? 2 : 1);
    first = bench_ticks();
    while (bench_samples_more(&samples)) {
        ++n;
        bench_samples_add(&samples, (double) lead_window(t, n, false) / per_sample);
    }
    seconds = 1e-9 * bench_ns_per_tick() * (double) (bench_ticks() - first);
    (void) lead_window(t, ++n, true);
    return (double) (n - 1) * per_sample / seconds;
}

double bench_stream(const struct bench_order *o)
{
    const size_t all = (size_t) o->bytes * (size_t) o->window;
    struct stream t = {
        .bytes = (size_t) o->bytes, .window = (int) o->window, .both = 0 != o->both,
        .leads = 0 == bench_rank % 2, .peer = bench_rank ^ 1,
        .out = bench_buffer(all), .in = bench_buffer(all),
        .receives = bench_buffer((size_t) o->window * sizeof(MPI_Request)),
        .sends = bench_buffer((size_t) o->window * sizeof(MPI_Request))
    };
    double messages_per_second = 0;

    if (t.leads) {
        messages_per_second = lead_windows(&t, o->ms);
        if (0 != bench_rank) {
            bench_samples_free(&samples);
        }
    } else {
        follow_windows(&t);
    }
    free(t.out);
    free(t.in);
    free(t.receives);
    free(t.sends);
    return messages_per_second;
}

void bench_stream_print(double messages_per_second)
{
    char more[64];

    snprintf(more, sizeof more, ", \"all_pairs\": %.6g", 1e9 / messages_per_second);
    bench_samples_print(&samples, bench_ns_per_tick(), more);
    bench_samples_free(&samples);
}
