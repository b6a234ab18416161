/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Large messages that a transport may have begun to send before the receiver knew where they belong, and
 * that are then received into a type with gaps, so that they go another way: what was sent ahead for
 * nobody must never be taken for a part of a later message. Several are under way at a time, and numbers
 * that a transport gives to messages, their tables and their objects are used again and again.
 */
#include "vt.h"

enum { BYTES = 256 << 10, RUN = 1024, MESSAGES = 5, END = 9 };

static MPI_Datatype with_gaps;
static unsigned char *buffer[MESSAGES];
static struct vt_buf in;

static struct vt_key key_of(int round, int message)
{
    return VT_KEY(vt.rank & ~1, vt.rank | 1, message, BYTES, (uint64_t) round);
}

static MPI_Request start(int round, int message, int to)
{
    MPI_Request request;

    vt_fill(buffer[message], key_of(round, message));
    MPI(MPI_Isend(buffer[message], BYTES, MPI_BYTE, to, message, MPI_COMM_WORLD, &request));
    return request;
}

/* Let the transport work. */
static void make_progress(int to, double seconds)
{
    const double since = vt_now();
    int flag;

    while (vt_now() - since < seconds) {
        MPI(MPI_Iprobe(to, 77, MPI_COMM_WORLD, &flag, MPI_STATUS_IGNORE));
    }
}

static void send_round(int round, int to)
{
    MPI_Request request[2];

    request[0] = start(round, 0, to);
    MPI(MPI_Wait(&request[0], MPI_STATUS_IGNORE));
    request[0] = start(round, 1, to);
    make_progress(to, 0.002);
    MPI(MPI_Send(NULL, 0, MPI_BYTE, to, END, MPI_COMM_WORLD));
    MPI(MPI_Wait(&request[0], MPI_STATUS_IGNORE));
    request[0] = start(round, 2, to);
    request[1] = start(round, 3, to);
    make_progress(to, 0.001);
    MPI(MPI_Waitall(2, request, MPI_STATUSES_IGNORE));
    request[0] = start(round, 4, to);
    MPI(MPI_Wait(&request[0], MPI_STATUS_IGNORE));
}

static void receive(int round, int message, bool gaps, int from)
{
    const size_t extent = gaps ? 2 * BYTES - RUN : BYTES;
    unsigned char *data = vt_guard_set(&in, 0, extent);

    memset(data, 0xdb, extent);
    MPI(MPI_Recv(data, gaps ? 1 : BYTES, gaps ? with_gaps : MPI_BYTE, from, message, MPI_COMM_WORLD,
                 MPI_STATUS_IGNORE));
    for (size_t at = 0; at < BYTES; at += RUN) {
        unsigned char *run = data + (gaps ? 2 * at : at);

        vt_verify_at(run, key_of(round, message), at, RUN);
        for (int i = 0; gaps && at + RUN < BYTES && i < RUN; ++i) {
            CHECK(0xdb == run[RUN + i], "byte %d behind run %zu was overwritten", i, at / RUN);
        }
    }
    vt_guard_check(&in);
}

static void receive_round(int round, int from)
{
    const int first = 0 == round % 2 ? 2 : 3;

    receive(round, 0, false, from);
    MPI(MPI_Recv(NULL, 0, MPI_BYTE, from, END, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
    receive(round, 1, true, from);
    receive(round, first, true, from);
    receive(round, 5 - first, true, from);
    receive(round, 4, false, from);
}

int main(int argc, char **argv)
{
    int rounds, peer;

    vt_init(&argc, &argv, "ahead");
    rounds = (int) vt_arg_num("--rounds", VT_Q(200, 40));
    vt_args_done();
    if (2 > vt.size) {
        return vt_skip("needs 2 ranks");
    }
    MPI(MPI_Type_vector(BYTES / RUN, RUN, 2 * RUN, MPI_BYTE, &with_gaps));
    MPI(MPI_Type_commit(&with_gaps));
    vt_buf_init(&in, 2 * BYTES);
    for (int i = 0; i < MESSAGES; ++i) {
        buffer[i] = vt_malloc(BYTES);
    }
    /* Pairs; a rank without a partner only reports. */
    peer = vt.rank ^ 1;
    for (int round = 0; round < rounds && peer < vt.size; ++round) {
        vt_watchdog_restart(0);
        vt_at("round %d", round);
        if (0 == vt.rank % 2) {
            send_round(round, peer);
        } else {
            receive_round(round, peer);
        }
    }
    for (int i = 0; i < MESSAGES; ++i) {
        free(buffer[i]);
    }
    vt_buf_free(&in);
    MPI(MPI_Type_free(&with_gaps));
    return vt_report("rounds=%d", rounds);
}
