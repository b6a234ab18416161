/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MPI measurements on demand, so that several of these programs, each over another transport, can
 * stay up and be measured in turn, a fraction of a second each: what the machine does meanwhile
 * then meets all of them alike. It is plain MPI: the same source is measured with other libraries.
 *
 * Rank 0 reads orders from its standard input, one per line:
 *     latency BYTES MS                        bench_latency.c
 *     stream BYTES MS WINDOW BOTH PAIRS       bench_stream.c
 *     overlap BYTES MS                        bench_overlap.c
 *     flood BYTES MS COUNT                    bench_flood.c
 *     connect     ranks 0 and 1 exchange a message with each other rank
 *     chain       each rank exchanges a message with its successor
 *     quit        or the end of the input
 * and answers each with one line of JSON.
 *
 * Waiting costs nothing: orders reach the other ranks over sockets in which they block, only those
 * that are concerned. No rank ever talks MPI to another unless an order or the chain of ranks, along
 * which they learn rank 0's address, makes it.
 */
#define _GNU_SOURCE
#include "bench_mpi.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { OP_QUIT, OP_LATENCY, OP_STREAM, OP_OVERLAP, OP_FLOOD, OP_CONNECT, OP_CHAIN };

/* Where rank 0 listens. */
struct place {
    char host[256];
    uint32_t address;   /* as other hosts see it */
    uint16_t port;
};

int bench_rank, bench_size;
static int *line_to;    /* rank 0: the sockets by rank; others: line_to[0] */

_Noreturn void bench_die(const char *what)
{
    fprintf(stderr, "bench_mpi: rank %d: %s\n", bench_rank, what);
    MPI_Abort(MPI_COMM_WORLD, 1);
    abort();
}

/* The first address of this host that others can reach. */
static uint32_t own_address(void)
{
    uint32_t address = htonl(INADDR_LOOPBACK);
    struct ifaddrs *all;

    if (0 != getifaddrs(&all)) {
        bench_die("getifaddrs failed");
    }
    for (const struct ifaddrs *i = all; NULL != i; i = i->ifa_next) {
        if (NULL != i->ifa_addr && AF_INET == i->ifa_addr->sa_family
            && 0 == (i->ifa_flags & IFF_LOOPBACK)) {
            address = ((const struct sockaddr_in *) i->ifa_addr)->sin_addr.s_addr;
            break;
        }
    }
    freeifaddrs(all);
    return address;
}

static void put(int fd, const void *data, size_t bytes)
{
    if ((ssize_t) bytes != send(fd, data, bytes, MSG_NOSIGNAL)) {
        bench_die("another rank is gone");
    }
}

static bool get(int fd, void *data, size_t bytes)
{
    return (ssize_t) bytes == recv(fd, data, bytes, MSG_WAITALL);
}

static int open_socket(struct place *place)
{
    struct sockaddr_in a = { .sin_family = AF_INET };
    socklen_t length = sizeof a;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || 0 != bind(fd, (struct sockaddr *) &a, sizeof a) || 0 != listen(fd, bench_size)
        || 0 != getsockname(fd, (struct sockaddr *) &a, &length)) {
        bench_die("cannot open a socket for the orders");
    }
    place->address = own_address();
    place->port = a.sin_port;
    return fd;
}

static void call_rank_0(const struct place *place)
{
    char host[sizeof place->host] = "";
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = place->port };

    gethostname(host, sizeof host - 1);
    a.sin_addr.s_addr = 0 == strcmp(host, place->host) ? htonl(INADDR_LOOPBACK) : place->address;
    line_to[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (line_to[0] < 0 || 0 != connect(line_to[0], (struct sockaddr *) &a, sizeof a)) {
        bench_die("cannot reach rank 0 to take orders");
    }
    put(line_to[0], &bench_rank, sizeof bench_rank);
}

static void meet(void)
{
    struct place place = { .host = "" };
    int fd = -1;

    line_to = calloc((size_t) bench_size, sizeof *line_to);
    if (NULL == line_to) {
        bench_die("out of memory");
    }
    if (0 == bench_rank) {
        fd = open_socket(&place);
        gethostname(place.host, sizeof place.host - 1);
    } else {
        MPI_Recv(&place, sizeof place, MPI_BYTE, bench_rank - 1, BENCH_TAG_MEET, MPI_COMM_WORLD,
                 MPI_STATUS_IGNORE);
    }
    if (bench_rank + 1 < bench_size) {
        MPI_Send(&place, sizeof place, MPI_BYTE, bench_rank + 1, BENCH_TAG_MEET, MPI_COMM_WORLD);
    }
    if (0 < bench_rank) {
        call_rank_0(&place);
        return;
    }
    for (int n = 1; n < bench_size; ++n) {
        const int line = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        int rank;

        if (line < 0 || !get(line, &rank, sizeof rank) || rank < 1 || rank >= bench_size) {
            bench_die("a stranger called at the socket for the orders");
        }
        line_to[rank] = line;
    }
    close(fd);
}

static void read_order(struct bench_order *o)
{
    char line[256], op[16] = "";
    long long bytes = 0, window = 1, both = 0, pairs = 1;
    double ms = 0;
    static const char *const names[] = {
        [OP_QUIT] = "quit", [OP_LATENCY] = "latency", [OP_STREAM] = "stream",
        [OP_OVERLAP] = "overlap", [OP_FLOOD] = "flood", [OP_CONNECT] = "connect",
        [OP_CHAIN] = "chain"
    };

    *o = (struct bench_order) { .op = OP_QUIT };
    if (NULL == fgets(line, sizeof line, stdin)) {
        return;
    }
    (void) sscanf(line, "%15s %lld %lf %lld %lld %lld", op, &bytes, &ms, &window, &both, &pairs);
    for (int i = 0; i < (int) (sizeof names / sizeof names[0]); ++i) {
        const bool measures = OP_LATENCY <= i && i <= OP_FLOOD;

        if (0 == strcmp(op, names[i])
            && (!measures || (1 <= bytes && bytes <= 1 << 30 && 0 < ms && 1 <= window
                              && window <= 1 << 16 && 1 <= pairs && 2 * pairs <= bench_size))) {
            *o = (struct bench_order) {
                .op = i, .bytes = bytes, .ms = ms, .window = window, .both = both, .pairs = pairs
            };
            return;
        }
    }
    bench_die("an order cannot be understood, or not with so few ranks");
}

static int ranks_concerned(const struct bench_order *o)
{
    return OP_LATENCY <= o->op && o->op <= OP_FLOOD ? 2 * (int) o->pairs : bench_size;
}

/* A byte to the rank and one back; the lower rank begins. */
static void exchange(int rank)
{
    char byte = 0;

    if (bench_rank < rank) {
        MPI_Send(&byte, 1, MPI_BYTE, rank, BENCH_TAG_DATA, MPI_COMM_WORLD);
    }
    MPI_Recv(&byte, 1, MPI_BYTE, rank, BENCH_TAG_DATA, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    if (bench_rank > rank) {
        MPI_Send(&byte, 1, MPI_BYTE, rank, BENCH_TAG_DATA, MPI_COMM_WORLD);
    }
}

static void connect_all(void)
{
    for (int active = 0; active < 2; ++active) {
        if (bench_rank == active) {
            for (int rank = 2; rank < bench_size; ++rank) {
                exchange(rank);
            }
        } else if (2 <= bench_rank) {
            exchange(active);
        }
    }
}

static void chain(void)
{
    if (0 < bench_rank) {
        exchange(bench_rank - 1);
    }
    if (bench_rank + 1 < bench_size) {
        exchange(bench_rank + 1);
    }
}

/* What it returns is summed up over the ranks. */
static double obey(const struct bench_order *o)
{
    switch (o->op) {
    case OP_LATENCY: bench_latency(o); break;
    case OP_STREAM: return bench_stream(o);
    case OP_OVERLAP: bench_overlap(o); break;
    case OP_FLOOD: bench_flood(o); break;
    case OP_CONNECT: connect_all(); break;
    case OP_CHAIN: chain(); break;
    }
    return 0;
}

static void lead(struct bench_order *o)
{
    int ranks;
    double sum, part = 0;

    read_order(o);
    ranks = ranks_concerned(o);
    for (int rank = 1; rank < ranks; ++rank) {
        put(line_to[rank], o, sizeof *o);
    }
    sum = obey(o);
    for (int rank = 1; rank < ranks; ++rank) {
        if (!get(line_to[rank], &part, sizeof part)) {
            bench_die("another rank is gone");
        }
        sum += part;
    }
    if (OP_STREAM == o->op) {
        bench_stream_print(sum);
    } else if (OP_CONNECT == o->op || OP_CHAIN == o->op) {
        printf("{\"ranks\": %d}\n", bench_size);
    }
    fflush(stdout);
}

static void follow(struct bench_order *o)
{
    double part;

    if (!get(line_to[0], o, sizeof *o)) {
        bench_die("rank 0 is gone");
    }
    part = obey(o);
    put(line_to[0], &part, sizeof part);
}

int main(int argc, char **argv)
{
    struct bench_order o;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &bench_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &bench_size);
    bench_clock_init();
    meet();
    if (0 == bench_rank) {
        printf("{\"ranks\": %d}\n", bench_size);
        fflush(stdout);
    }
    do {
        if (0 == bench_rank) {
            lead(&o);
        } else {
            follow(&o);
        }
    } while (OP_QUIT != o.op);
    MPI_Finalize();
    return 0;
}
