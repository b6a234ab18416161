/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MPI_Open_port, MPI_Comm_accept and MPI_Comm_connect: two groups meet, talk over the intercommunicator
 * and the merged one and part, several times. The groups are the halves of MPI_COMM_WORLD with the
 * roles exchanged each time, or with --spawn two jobs spawned one after the other, which know each other
 * by the port's name alone.
 */
#include "vt.h"
#include "vt_traffic.h"

#define KIDS 2

static void meet(MPI_Comm group, bool server, const char *port, uint64_t iter)
{
    MPI_Comm inter, merged;

    vt_at("%s, round %d", server ? "accept" : "connect", (int) iter);
    if (server) {
        MPI(MPI_Comm_accept(port, MPI_INFO_NULL, 0, group, &inter));
    } else {
        MPI(MPI_Comm_connect(port, MPI_INFO_NULL, 0, group, &inter));
    }
    vt_traffic_inter(inter, server ? 0 : 1, iter);
    MPI(MPI_Intercomm_merge(inter, server ? 0 : 1, &merged));
    vt_traffic_intra(merged, iter);
    vt_at("disconnect, round %d", (int) iter);
    MPI(MPI_Comm_free(&merged));
    MPI(MPI_Comm_disconnect(&inter));
}

static void halves(int rounds)
{
    for (int r = 0; r < rounds; ++r) {
        bool server = (vt.rank < vt.size / 2) == (0 == r % 2);
        int server_root = r % 2 ? vt.size / 2 : 0, client_root = r % 2 ? 0 : vt.size / 2;
        char port[MPI_MAX_PORT_NAME] = "";
        MPI_Comm half;

        MPI(MPI_Comm_split(MPI_COMM_WORLD, server, vt.rank, &half));
        if (vt.rank == server_root) {
            vt_at("open port, round %d", r);
            MPI(MPI_Open_port(MPI_INFO_NULL, port));
            MPI(MPI_Send(port, sizeof(port), MPI_CHAR, client_root, 1, MPI_COMM_WORLD));
        } else if (vt.rank == client_root) {
            MPI(MPI_Recv(port, sizeof(port), MPI_CHAR, server_root, 1, MPI_COMM_WORLD,
                         MPI_STATUS_IGNORE));
        }
        meet(half, server, port, (uint64_t) r);
        if (vt.rank == server_root) {
            MPI(MPI_Close_port(port));
        }
        MPI(MPI_Comm_free(&half));
        vt_traffic_intra(MPI_COMM_WORLD, 1000 + (uint64_t) r);
    }
}

static void spawned(int rounds)
{
    char num[16], port[MPI_MAX_PORT_NAME] = "";
    char *server_args[] = {(char *) "--child", (char *) "server", (char *) "--rounds", num,
                           vt.quick ? (char *) "--quick" : NULL, NULL};
    char *client_args[] = {(char *) "--child", (char *) "client", (char *) "--rounds", num,
                           vt.quick ? (char *) "--quick" : NULL, NULL};
    MPI_Comm servers, clients;

    snprintf(num, sizeof(num), "%d", rounds);
    vt_at("spawn the servers");
    servers = vt_spawn_self(server_args, KIDS);
    vt_at("spawn the clients");
    clients = vt_spawn_self(client_args, KIDS);
    /* The port's name goes from one job to the other through their parent. */
    if (0 == vt.rank) {
        vt_at("pass the port's name on");
        MPI(MPI_Recv(port, sizeof(port), MPI_CHAR, 0, 1, servers, MPI_STATUS_IGNORE));
        MPI(MPI_Send(port, sizeof(port), MPI_CHAR, 0, 1, clients));
    }
    vt_at("wait for the servers");
    vt_traffic_inter(servers, 0, 2000);
    vt_at("wait for the clients");
    vt_traffic_inter(clients, 0, 3000);
    MPI(MPI_Comm_disconnect(&servers));
    MPI(MPI_Comm_disconnect(&clients));
}

static void child(MPI_Comm parent, const char *role, int rounds)
{
    bool server = 0 == strcmp(role, "server");
    char port[MPI_MAX_PORT_NAME] = "";

    vt.name = server ? "connect-server" : "connect-client";
    if (0 == vt.rank && server) {
        MPI(MPI_Open_port(MPI_INFO_NULL, port));
        MPI(MPI_Send(port, sizeof(port), MPI_CHAR, 0, 1, parent));
    } else if (0 == vt.rank) {
        vt_at("wait for the port's name");
        MPI(MPI_Recv(port, sizeof(port), MPI_CHAR, 0, 1, parent, MPI_STATUS_IGNORE));
    }
    for (int r = 0; r < rounds; ++r) {
        meet(MPI_COMM_WORLD, server, port, (uint64_t) r);
    }
    if (0 == vt.rank && server) {
        MPI(MPI_Close_port(port));
    }
    vt_traffic_inter(parent, 1, server ? 2000 : 3000);
    vt_at("disconnect from the parent");
    MPI(MPI_Comm_disconnect(&parent));
    vt_quiet_end();
}

int main(int argc, char **argv)
{
    MPI_Comm parent;
    const char *role;
    bool spawn;
    int rounds;

    vt_init(&argc, &argv, "connect");
    spawn = vt_flag("--spawn");
    role = vt_arg("--child");
    rounds = (int) vt_arg_num("--rounds", VT_Q(4, 2));
    vt_args_done();
    MPI(MPI_Comm_get_parent(&parent));
    CHECK((NULL != role) == (MPI_COMM_NULL != parent), "--child is for spawned processes only");
    if (NULL != role) {
        child(parent, role, rounds);
        return 0;
    }
    if (spawn) {
        spawned(rounds);
    } else if (2 > vt.size) {
        return vt_skip("needs 2 ranks");
    } else {
        halves(rounds);
    }
    return vt_report("rounds=%d groups=%s", rounds, spawn ? "spawned" : "halves");
}
