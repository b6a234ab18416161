/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Far more messages to a rank that does not receive than any queue has room for.
 *
 * First: a large message into a type with gaps, then some 2^16 small ones, while the receiver is outside MPI.
 * All arrive in their order: sequence numbers of 16 bits leave no room for one that is overtaken.
 *
 * Then (3 ranks): rank 1 is outside MPI until ranks 0 and 2 have exchanged messages. Many long ones wait for
 * rank 1 meanwhile; the two must not need what these hold. Rank 1 learns of it by a file, so ranks on
 * several machines only sleep there.
 */
#define _GNU_SOURCE
#include "vt.h"

#include <fcntl.h>
#include <unistd.h>

enum { BIG = 1 << 20, RUN = 64, LONG = 20000, EXCHANGES = 100, EXCHANGED = 4000 };

static MPI_Datatype with_gaps;

static void send_in_order(int count)
{
    struct vt_key key = VT_KEY(0, 1, 1, BIG, 0);
    unsigned char *packed = vt_malloc(BIG), *big = vt_malloc(2 * BIG);
    MPI_Request *request = vt_malloc((size_t) (count + 1) * sizeof *request);
    int *value = vt_malloc((size_t) count * sizeof *value), flag;

    vt_fill(packed, key);
    for (int at = 0; at < BIG; at += RUN) {
        memcpy(big + 2 * at, packed + at, RUN);
    }
    MPI(MPI_Recv(NULL, 0, MPI_BYTE, 1, 5, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
    MPI(MPI_Isend(big, 1, with_gaps, 1, 1, MPI_COMM_WORLD, &request[count]));
    vt_sleep_ms(500);                   /* the receiver has answered, and has left MPI */
    for (int i = 0; i < count; ++i) {
        value[i] = i;
        if (count / 2 == i) {
            MPI(MPI_Test(&request[count], &flag, MPI_STATUS_IGNORE));
        }
        MPI(MPI_Isend(&value[i], 1, MPI_INT, 1, 2, MPI_COMM_WORLD, &request[i]));
    }
    MPI(MPI_Waitall(count + 1, request, MPI_STATUSES_IGNORE));
    free(value);
    free(request);
    free(big);
    free(packed);
}

static void receive_in_order(int count)
{
    unsigned char *big = vt_malloc(BIG);
    MPI_Request request;
    double since;
    int flag;

    MPI(MPI_Irecv(big, BIG, MPI_BYTE, 0, 1, MPI_COMM_WORLD, &request));
    MPI(MPI_Send(NULL, 0, MPI_BYTE, 0, 5, MPI_COMM_WORLD));
    for (since = vt_now(); vt_now() - since < 0.3; ) {
        MPI(MPI_Iprobe(0, 99, MPI_COMM_WORLD, &flag, MPI_STATUS_IGNORE));
    }
    vt_sleep_ms(2500);
    for (int i = 0; i < count; ++i) {
        int value = -1;

        MPI(MPI_Recv(&value, 1, MPI_INT, 0, 2, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
        CHECK(value == i, "receive %d got message %d", i, value);
    }
    vt_count((uint64_t) count, (uint64_t) count * sizeof(int));
    MPI(MPI_Wait(&request, MPI_STATUS_IGNORE));
    vt_verify(big, VT_KEY(0, 1, 1, BIG, 0));
    free(big);
}

static void exchange(int peer)
{
    unsigned char out[EXCHANGED], in[EXCHANGED];

    for (int i = 0; i < EXCHANGES; ++i) {
        vt_fill(out, VT_KEY(vt.rank, peer, 3, EXCHANGED, (uint64_t) i));
        MPI(MPI_Sendrecv(out, EXCHANGED, MPI_BYTE, peer, 3, in, EXCHANGED, MPI_BYTE, peer, 3,
                         MPI_COMM_WORLD, MPI_STATUS_IGNORE));
        vt_verify(in, VT_KEY(peer, vt.rank, 3, EXCHANGED, (uint64_t) i));
    }
}

static void flood_and_exchange(int messages)
{
    MPI_Request *request = vt_malloc((size_t) messages * sizeof *request);
    unsigned char *data = vt_malloc(LONG);
    char *buffer = vt_malloc((size_t) messages * (LONG + MPI_BSEND_OVERHEAD));
    void *detached;
    int bytes;

    MPI(MPI_Buffer_attach(buffer, messages * (LONG + MPI_BSEND_OVERHEAD)));
    for (int i = 0; i < messages; ++i) {
        vt_fill(data, VT_KEY(0, 1, 4, LONG, (uint64_t) i));
        MPI(MPI_Ibsend(data, LONG, MPI_BYTE, 1, 4, MPI_COMM_WORLD, &request[i]));
    }
    exchange(2);
    MPI(MPI_Waitall(messages, request, MPI_STATUSES_IGNORE));
    MPI(MPI_Buffer_detach(&detached, &bytes));
    free(buffer);
    free(request);
    free(data);
}

/* Outside MPI, as a library of another kind would be. */
static void wait_for_file(const char *path, bool is_shared)
{
    while (is_shared && 0 != access(path, F_OK)) {
        vt_sleep_ms(20);
    }
    if (!is_shared) {
        vt_sleep_ms(3000);
    }
}

static void away(int messages, const char *path, bool is_shared)
{
    unsigned char *data = vt_malloc(LONG);

    vt_at("away until ranks 0 and 2 are done");
    wait_for_file(path, is_shared);
    for (int i = 0; i < messages; ++i) {
        MPI(MPI_Recv(data, LONG, MPI_BYTE, 0, 4, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
        vt_verify(data, VT_KEY(0, 1, 4, LONG, (uint64_t) i));
    }
    free(data);
}

/* A path that no other job has; is it on one machine for ranks 1 and 2? */
static bool agree_on_path(char *path, size_t bytes)
{
    char host[MPI_MAX_PROCESSOR_NAME] = "", first[MPI_MAX_PROCESSOR_NAME];
    int length, same;

    MPI(MPI_Get_processor_name(host, &length));
    memcpy(first, host, sizeof first);
    snprintf(path, bytes, "%s/vt_flood-%ld", NULL != getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp",
             (long) getpid());
    MPI(MPI_Bcast(first, sizeof first, MPI_CHAR, 0, MPI_COMM_WORLD));
    MPI(MPI_Bcast(path, (int) bytes, MPI_CHAR, 0, MPI_COMM_WORLD));
    same = 0 == strcmp(first, host);
    MPI(MPI_Allreduce(MPI_IN_PLACE, &same, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD));
    return same;
}

int main(int argc, char **argv)
{
    int small, messages;
    char path[256];
    bool is_shared;

    vt_init(&argc, &argv, "flood");
    small = (int) vt_arg_num("--small", VT_Q(100000, 80000));
    messages = (int) vt_arg_num("--long", VT_Q(6000, 3000));
    vt_args_done();
    if (2 > vt.size) {
        return vt_skip("needs 2 ranks");
    }
    is_shared = agree_on_path(path, sizeof path);
    MPI(MPI_Type_vector(BIG / RUN, RUN, 2 * RUN, MPI_BYTE, &with_gaps));
    MPI(MPI_Type_commit(&with_gaps));
    if (0 == vt.rank) {
        send_in_order(small);
    } else if (1 == vt.rank) {
        receive_in_order(small);
    }
    MPI(MPI_Barrier(MPI_COMM_WORLD));
    vt_watchdog_restart(0);
    if (3 <= vt.size) {
        if (0 == vt.rank) {
            flood_and_exchange(messages);
        } else if (1 == vt.rank) {
            away(messages, path, is_shared);
        } else if (2 == vt.rank) {
            exchange(0);
            close(open(path, O_CREAT | O_WRONLY, 0600));
        }
        MPI(MPI_Barrier(MPI_COMM_WORLD));
        if (2 == vt.rank) {
            unlink(path);
        }
    }
    MPI(MPI_Type_free(&with_gaps));
    return vt_report("small=%d long=%d", small, 3 <= vt.size ? messages : 0);
}
