/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Proves that the content checks can fail: a library to preload under the test programs, which damages
 * one message and says so. Not a test itself.
 *
 *     mpicc -shared -fPIC -o vt_corrupt.so vt_corrupt.c -ldl
 *     mpirun -x LD_PRELOAD=.../vt_corrupt.so -x VT_CORRUPT=flip -x VT_CORRUPT_AT=20 ...
 *
 * VT_CORRUPT=flip     one bit of the VT_CORRUPT_AT-th piece of data that Open MPI unpacks from a transport
 *                     after MPI_Init (single-copy transfers do not come this way);
 *            swap     the VT_CORRUPT_AT-th MPI_Isend goes out after the next one to the same place;
 *            overrun  a byte behind the buffer of the VT_CORRUPT_AT-th MPI_Recv or MPI_Irecv changes;
 *            lose     the VT_CORRUPT_AT-th MPI_Isend never goes out (the watchdog must speak)
 * in the rank VT_CORRUPT_RANK (default 1).
 */
#define _GNU_SOURCE
#include <mpi.h>

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

static enum { OFF, FLIP, SWAP, OVERRUN, LOSE } what;
static atomic_long countdown;
/*
 * Zero while MPI does something of its own (start, spawn, making communicators): damage there ends in
 * MPI's internals and proves nothing about the tests.
 */
static atomic_int armed;

static void setup(void)
{
    const char *mode = getenv("VT_CORRUPT"), *at = getenv("VT_CORRUPT_AT");
    const char *rank = getenv("VT_CORRUPT_RANK"), *me = getenv("OMPI_COMM_WORLD_RANK");

    if (NULL == mode || NULL == me || atoi(me) != (NULL == rank ? 1 : atoi(rank))) {
        return;
    }
    atomic_store(&countdown, NULL == at ? 20 : atol(at));
    what = 0 == strcmp(mode, "flip") ? FLIP
           : 0 == strcmp(mode, "swap") ? SWAP
           : 0 == strcmp(mode, "overrun") ? OVERRUN
           : 0 == strcmp(mode, "lose") ? LOSE
                                          : OFF;
    if (OFF == what) {
        fprintf(stderr, "vt_corrupt: VT_CORRUPT=%s is unknown\n", mode);
        abort();
    }
    atomic_store(&armed, 1);
}

static bool now(int mode)
{
    return (int) what == mode && 0 < atomic_load(&armed) && 1 == atomic_fetch_sub(&countdown, 1);
}

/* ---- flip: below MPI, where the data of all transports comes in (a symbol of libopen-pal) ---- */

int32_t opal_convertor_unpack(void *conv, struct iovec *iov, uint32_t *n, size_t *max);
int32_t opal_convertor_unpack(void *conv, struct iovec *iov, uint32_t *n, size_t *max)
{
    static int32_t (*_Atomic real)(void *, struct iovec *, uint32_t *, size_t *);
    int32_t rc;
    char *copy;

    if (NULL == real) {
        real = (int32_t(*)(void *, struct iovec *, uint32_t *, size_t *))
            dlsym(RTLD_NEXT, "opal_convertor_unpack");
    }
    if (FLIP != what || 1 > *n || 0 == iov[0].iov_len || NULL == iov[0].iov_base || !now(FLIP)) {
        return real(conv, iov, n, max);
    }
    /* A copy, because the transport's memory may be read-only. */
    copy = malloc(iov[0].iov_len);
    if (NULL == copy) {
        abort();
    }
    memcpy(copy, iov[0].iov_base, iov[0].iov_len);
    copy[iov[0].iov_len / 3] ^= 0x10;
    fprintf(stderr, "vt_corrupt: flip of byte %zu in a piece of %zu\n", iov[0].iov_len / 3,
            iov[0].iov_len);
    iov[0].iov_base = copy;
    rc = real(conv, iov, n, max);
    free(copy);
    return rc;
}

/* ---- swap and lose: a held send is a persistent request that is not started yet ---- */

static struct {
    bool active;
    int dst, tag;
    MPI_Comm comm;
    MPI_Request req;
} held;

static void release(void)
{
    if (held.active) {
        held.active = false;
        PMPI_Start(&held.req);
    }
}

int MPI_Isend(const void *buf, int count, MPI_Datatype type, int dst, int tag, MPI_Comm comm,
              MPI_Request *req)
{
    int rc;

    if (held.active && held.dst == dst && held.tag == tag && held.comm == comm) {
        rc = PMPI_Isend(buf, count, type, dst, tag, comm, req);
        release();
        fprintf(stderr, "vt_corrupt: swap of two messages to %d with tag %d\n", dst, tag);
        return rc;
    }
    if (0 < count && now(LOSE)) {
        fprintf(stderr, "vt_corrupt: lose a message to %d with tag %d\n", dst, tag);
        return PMPI_Send_init(buf, count, type, dst, tag, comm, req);
    }
    if (!held.active && 0 < count && now(SWAP)) {
        held.active = true;
        held.dst = dst;
        held.tag = tag;
        held.comm = comm;
        rc = PMPI_Send_init(buf, count, type, dst, tag, comm, &held.req);
        *req = held.req;
        return rc;
    }
    return PMPI_Isend(buf, count, type, dst, tag, comm, req);
}

int MPI_Wait(MPI_Request *req, MPI_Status *st)
{
    release();
    return PMPI_Wait(req, st);
}

int MPI_Waitall(int n, MPI_Request *req, MPI_Status *st)
{
    release();
    return PMPI_Waitall(n, req, st);
}

/* ---- overrun ---- */

static void overrun(void *buf, int count, MPI_Datatype type)
{
    int size = 0;

    PMPI_Type_size(type, &size);
    if (NULL != buf && 0 < count && now(OVERRUN)) {
        ((unsigned char *) buf)[(size_t) count * (size_t) size] ^= 0xff;
        fprintf(stderr, "vt_corrupt: overrun behind %d bytes\n", count * size);
    }
}

int MPI_Recv(void *buf, int count, MPI_Datatype type, int src, int tag, MPI_Comm comm, MPI_Status *st)
{
    int rc;

    release();
    rc = PMPI_Recv(buf, count, type, src, tag, comm, st);
    overrun(buf, count, type);
    return rc;
}

int MPI_Irecv(void *buf, int count, MPI_Datatype type, int src, int tag, MPI_Comm comm,
              MPI_Request *req)
{
    overrun(buf, count, type);
    return PMPI_Irecv(buf, count, type, src, tag, comm, req);
}

/* ---- calls in which MPI talks to itself ---- */

int MPI_Init(int *argc, char ***argv)
{
    int rc = PMPI_Init(argc, argv);

    setup();
    return rc;
}

int MPI_Init_thread(int *argc, char ***argv, int required, int *provided)
{
    int rc = PMPI_Init_thread(argc, argv, required, provided);

    setup();
    return rc;
}

#define INTERNAL(name, params, args)      \
    int MPI_##name params                 \
    {                                     \
        int rc;                           \
        release();                        \
        atomic_fetch_sub(&armed, 1);      \
        rc = PMPI_##name args;            \
        atomic_fetch_add(&armed, 1);      \
        return rc;                        \
    }

INTERNAL(Finalize, (void), ())
INTERNAL(Barrier, (MPI_Comm c), (c))
INTERNAL(Comm_dup, (MPI_Comm c, MPI_Comm *n), (c, n))
INTERNAL(Comm_split, (MPI_Comm c, int color, int key, MPI_Comm *n), (c, color, key, n))
INTERNAL(Comm_free, (MPI_Comm *c), (c))
INTERNAL(Comm_disconnect, (MPI_Comm *c), (c))
INTERNAL(Intercomm_merge, (MPI_Comm c, int high, MPI_Comm *n), (c, high, n))
INTERNAL(Comm_accept, (const char *p, MPI_Info i, int r, MPI_Comm c, MPI_Comm *n), (p, i, r, c, n))
INTERNAL(Comm_connect, (const char *p, MPI_Info i, int r, MPI_Comm c, MPI_Comm *n), (p, i, r, c, n))
INTERNAL(Comm_spawn,
         (const char *cmd, char **argv, int n, MPI_Info i, int r, MPI_Comm c, MPI_Comm *o, int *codes),
         (cmd, argv, n, i, r, c, o, codes))
INTERNAL(Win_create, (void *b, MPI_Aint s, int d, MPI_Info i, MPI_Comm c, MPI_Win *w),
         (b, s, d, i, c, w))
INTERNAL(Win_allocate, (MPI_Aint s, int d, MPI_Info i, MPI_Comm c, void *b, MPI_Win *w),
         (s, d, i, c, b, w))
