/* SPDX-License-Identifier: BSD-3-Clause */
#include "peer_process.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

struct vmshm_attach_options attach_options(const char *dir, uint32_t vm)
{
    return (struct vmshm_attach_options) {
        .join = { .segment = unit_path(dir, "segment"), .lock_dir = dir, .vm_id = (int) vm },
        .arena = {
            .first_bytes = 64 * 1024, .vital_bytes = 4096, .window_bytes = 4 * VMSHM_GRANULE_BYTES,
            .max_windows = 3,
        },
    };
}

/* A window of so many bytes; 0: there is none. */
static uint64_t window_of(struct vmshm_member *m, uint64_t bytes, uint32_t *index)
{
    struct vmshm_error e;
    uint64_t offset;

    return VMSHM_OK == vmshm_window_alloc(m, bytes, VMSHM_KIND_PRIVATE, index, &offset, &e) ? offset : 0;
}

/* Does what the socket says: 'l' leave, 'b' overwrite its own nonce. Ends after 30 s. It does not attach: what
 * its parent has attached is not its own. */
static int be_a_peer(void *arg)
{
    struct peer_process *p = arg;
    const struct vmshm_attach_options o = attach_options(p->dir, 1);
    const uint64_t control_bytes = 64 * 1024;
    struct vmshm_window_header *control;
    struct vmshm_member m;
    struct vmshm_error e;
    uint32_t index;
    char command;

    alarm(30);
    if (VMSHM_OK != vmshm_join(&o.join, &m, &e)) {
        return 1;
    }
    vmshm_member_address(&m, &p->address);
    p->far_place = window_of(&m, control_bytes, &index);
    p->place = window_of(&m, control_bytes, &index);
    if (0 == p->place || 0 == p->far_place) {
        return 2;
    }
    control = vmshm_at(&m, p->place);
    control->nonce = m.nonce;
    control->magic = VMSHM_WINDOW_MAGIC;
    vmshm_window_publish(&m, index);
    p->place += control_bytes - sizeof(uint64_t);
    *(uint64_t *) vmshm_at(&m, p->place) = WORD;
    *(uint64_t *) vmshm_at(&m, p->far_place) = ~WORD;
    if (sizeof *p != write(p->sockets[1], p, sizeof *p)) {
        return 3;
    }
    while (1 == read(p->sockets[1], &command, 1)) {
        if ('l' == command) {
            vmshm_leave(&m);
            return 0;
        }
        vmshm_proc_of(&m.segment, 1, m.slot)->nonce ^= 1;
    }
    return 4;
}

void peer_start(struct peer_process *p, const char *dir)
{
    struct peer_process said;

    p->dir = dir;
    assert_int_equal(0, socketpair(AF_UNIX, SOCK_STREAM, 0, p->sockets));
    p->pid = unit_fork(be_a_peer, p);
    assert_int_equal(sizeof said, recv(p->sockets[0], &said, sizeof said, MSG_WAITALL));
    p->address = said.address;
    p->place = said.place;
    p->far_place = said.far_place;
}

void peer_end(struct peer_process *p, int status)
{
    assert_int_equal(status, unit_wait(p->pid));
    close(p->sockets[0]);
    close(p->sockets[1]);
}

void peer_kill(struct peer_process *p)
{
    kill(p->pid, SIGKILL);
    peer_end(p, 128 + SIGKILL);
}

void peer_reap(const char *dir)
{
    const struct vmshm_attach_options o = attach_options(dir, 1);
    struct vmshm_member sibling;
    struct vmshm_error e;

    assert_int_equal(VMSHM_OK, vmshm_join(&o.join, &sibling, &e));
    vmshm_leave(&sibling);
}

struct vmshm_attached *attach(const char *dir, uint32_t vm, vmshm_tick_fn tick)
{
    const struct vmshm_attach_options o = attach_options(dir, vm);
    struct vmshm_attached *a;
    struct vmshm_error e;

    if (VMSHM_OK != vmshm_attach(&o, tick, &a, &e)) {
        fail_msg("%s: %s: %s", e.file, e.field, e.detail);
    }
    return a;
}
