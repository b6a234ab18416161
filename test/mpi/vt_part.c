/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two jobs meet, exchange messages between all of their processes, and part. Then the client's processes
 * die. The server's are not connected to them any more and go on, until a file says that it is enough.
 * With --stay they do not part: then the server's are to end, too. With --first only the first processes
 * meet, and the other ones never have a communicator with the other job.
 *
 *     vt_part --role server|client --port FILE --until FILE [--stay] [--first]
 */
#include "vt.h"
#include "vt_traffic.h"

#include <signal.h>
#include <unistd.h>

static void write_port(const char *path, const char *port)
{
    char other[4096];
    FILE *f;

    snprintf(other, sizeof other, "%s.new", path);
    f = fopen(other, "w");
    CHECK(NULL != f && 0 < fputs(port, f) && 0 == fclose(f) && 0 == rename(other, path), "cannot write %s", path);
}

static void read_port(const char *path, char *port)
{
    FILE *f;

    while (NULL == (f = fopen(path, "r"))) {
        usleep(10000);
    }
    CHECK(NULL != fgets(port, MPI_MAX_PORT_NAME, f), "cannot read %s", path);
    fclose(f);
}

int main(int argc, char **argv)
{
    const char *role, *port_file, *until;
    char port[MPI_MAX_PORT_NAME] = "";
    bool server, stay, first, meets;
    MPI_Comm inter = MPI_COMM_NULL, side;
    int flag;

    vt_init(&argc, &argv, "part");
    role = vt_arg("--role");
    port_file = vt_arg("--port");
    until = vt_arg("--until");
    stay = vt_flag("--stay");
    first = vt_flag("--first");
    vt_args_done();
    CHECK(NULL != role && NULL != port_file && NULL != until, "--role, --port and --until are needed");
    server = 0 == strcmp(role, "server");
    meets = !first || 0 == vt.rank;
    side = first ? MPI_COMM_SELF : MPI_COMM_WORLD;
    if (server && meets) {
        if (0 == vt.rank) {
            MPI(MPI_Open_port(MPI_INFO_NULL, port));
            write_port(port_file, port);
        }
        vt_at("accept");
        MPI(MPI_Comm_accept(port, MPI_INFO_NULL, 0, side, &inter));
    } else if (meets) {
        if (0 == vt.rank) {
            read_port(port_file, port);
        }
        vt_at("connect");
        MPI(MPI_Comm_connect(port, MPI_INFO_NULL, 0, side, &inter));
    }
    if (meets) {
        vt_traffic_inter(inter, server ? 0 : 1, 1);
    }
    if (meets && !stay) {
        vt_at("disconnect");
        MPI(MPI_Comm_disconnect(&inter));
    }
    if (!server) {
        MPI(MPI_Barrier(MPI_COMM_WORLD));
        raise(SIGKILL);
    }
    vt_at("go on");
    while (0 != access(until, F_OK)) {
        MPI(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &flag, MPI_STATUS_IGNORE));
        usleep(1000);
    }
    vt_traffic_intra(MPI_COMM_WORLD, 2);
    return vt_report("role=%s", role);
}
