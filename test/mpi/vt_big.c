/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One message of more than 4 GiB (by default 4 GiB + 1 MiB + 12345 bytes): a struct of a contiguous type
 * of 1 MiB blocks and an odd tail, so that no count exceeds an int. Every byte is checked.
 *
 * Arguments: --bytes N. The sender and the receiver (ranks 0 and np-1) need N bytes of memory each.
 */
#define _GNU_SOURCE
#include "vt.h"

#include <sys/mman.h>

static long long mem_available(void)
{
    FILE *f = fopen("/proc/meminfo", "r");
    char line[128];
    long long kib = -1;

    while (NULL != f && NULL != fgets(line, sizeof(line), f)) {
        if (1 == sscanf(line, "MemAvailable: %lld kB", &kib)) {
            break;
        }
    }
    if (NULL != f) {
        fclose(f);
    }
    return 0 > kib ? -1 : 1024 * kib;
}

int main(int argc, char **argv)
{
    const size_t mib = 1 << 20;
    size_t bytes;
    int other, lens[2], enough;
    char host[2][MPI_MAX_PROCESSOR_NAME] = {"", ""};
    MPI_Aint dis[2];
    MPI_Datatype types[2], big;
    unsigned char *buf = NULL;
    struct vt_key key;
    double t;

    vt_init(&argc, &argv, "big");
    bytes = (size_t) vt_arg_num("--bytes", VT_Q((4ll << 30) + (1 << 20) + 12345, (32 << 20) + 12345));
    vt_args_done();
    if (2 > vt.size) {
        return vt_skip("needs 2 ranks");
    }
    other = vt.size - 1;
    if (0 == vt.rank || other == vt.rank) {
        int len;
        bool same_host;
        long long free_bytes = mem_available(), need;

        MPI(MPI_Get_processor_name(host[0], &len));
        MPI(MPI_Sendrecv(host[0], sizeof(host[0]), MPI_CHAR, other - vt.rank, 1, host[1],
                         sizeof(host[1]), MPI_CHAR, other - vt.rank, 1, MPI_COMM_WORLD,
                         MPI_STATUS_IGNORE));
        same_host = 0 == strcmp(host[0], host[1]);
        need = (long long) bytes * (same_host ? 2 : 1) + (256 << 20);
        enough = -1 == free_bytes || free_bytes > need;
        printf("big: rank %d on %s needs %.2f GiB%s, %.2f GiB are free\n", vt.rank, host[0],
               (double) need / (1 << 30), same_host ? " (both ranks)" : "",
               (double) free_bytes / (1 << 30));
        fflush(stdout);
    } else {
        enough = 1;
    }
    MPI(MPI_Allreduce(MPI_IN_PLACE, &enough, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD));
    if (!enough) {
        return vt_skip("not enough memory for %zu bytes on each side", bytes);
    }
    MPI(MPI_Type_contiguous((int) mib, MPI_BYTE, &types[0]));
    types[1] = MPI_BYTE;
    lens[0] = (int) (bytes / mib);
    lens[1] = (int) (bytes % mib);
    dis[0] = 0;
    dis[1] = (MPI_Aint) (bytes - bytes % mib);
    MPI(MPI_Type_create_struct(2, lens, dis, types, &big));
    MPI(MPI_Type_commit(&big));
    key = VT_KEY(0, other, 90, bytes, 1);
    t = vt_now();
    if (0 == vt.rank || other == vt.rank) {
        buf = mmap(NULL, bytes + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(MAP_FAILED != buf, "no memory for %zu bytes", bytes);
        madvise(buf, bytes, MADV_HUGEPAGE);
        if (0 == vt.rank) {
            vt_at("fill");
            vt_fill(buf, key);
        } else {
            /* Touched before, so that the time below is the transfer's. */
            vt_at("touch");
            memset(buf, 0xdb, bytes + 4096);
        }
    }
    vt_watchdog_restart(0);
    MPI(MPI_Barrier(MPI_COMM_WORLD));
    t = vt_now();
    vt_at("transfer of %zu bytes", bytes);
    if (0 == vt.rank) {
        char ack;

        MPI(MPI_Send(buf, 1, big, other, 90, MPI_COMM_WORLD));
        MPI(MPI_Recv(&ack, 1, MPI_CHAR, other, 91, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
    } else if (other == vt.rank) {
        MPI_Status st;
        MPI_Count count;
        char ack = 1;

        MPI(MPI_Recv(buf, 1, big, 0, 90, MPI_COMM_WORLD, &st));
        MPI(MPI_Send(&ack, 1, MPI_CHAR, 0, 91, MPI_COMM_WORLD));
        MPI(MPI_Get_elements_x(&st, big, &count));
        CHECK((size_t) count == bytes, "%lld bytes arrived, expected %zu", (long long) count, bytes);
    }
    t = vt_now() - t;
    vt_watchdog_restart(0);
    vt_at("check");
    if (other == vt.rank) {
        vt_verify(buf, key);
        for (size_t i = bytes; i < bytes + 4096; ++i) {
            CHECK(0xdb == buf[i], "byte %zu behind the message was overwritten", i - bytes);
        }
    } else if (0 == vt.rank) {
        vt_verify(buf, key); /* sending must not change the buffer */
    }
    if (0 == vt.rank || other == vt.rank) {
        munmap(buf, bytes + 4096);
    }
    MPI(MPI_Type_free(&types[0]));
    MPI(MPI_Type_free(&big));
    return vt_report("size=%zu seconds=%.2f MB/s=%.0f", bytes, t, (double) bytes / 1e6 / t);
}
