/* SPDX-License-Identifier: BSD-3-Clause */
#include "child.h"

#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int live_until_killed(void *arg)
{
    struct child *c = arg;
    struct vmshm_member m;
    struct vmshm_window w;
    struct vmshm_error e;
    uint64_t offset;
    uint32_t index;

    if (VMSHM_OK != unit_try_join(c->dir, 0, c->boot, &m, &e)
        || VMSHM_OK != vmshm_window_alloc(&m, 3 * VMSHM_GRANULE_BYTES, VMSHM_KIND_PRIVATE, &index, &offset,
                                          &e)) {
        return 1;
    }
    memset(vmshm_at(&m, offset), 0x5c, 3 * VMSHM_GRANULE_BYTES);
    vmshm_proc_of(&m.segment, 0, m.slot)->messages = 7;
    if (c->read_peer && !vmshm_reader_enter(&m, 1, 0, 0, &w, &e)) {
        return 2;
    }
    if (c->hold_mutex && VMSHM_OK != vmshm_lock_enter(&m.lock, &e)) {
        return 3;
    }
    if (sizeof m.slot != write(c->ready[1], &m.slot, sizeof m.slot)) {
        return 4;
    }
    /* Not for ever: a test that fails must not leave this process behind. */
    for (long ms = 0, step = 0 == c->beat_ms ? 50 : c->beat_ms; ms < 10000; ms += step) {
        const struct timespec tick = { 0, step * 1000000 };

        if (c->beat) {
            vmshm_heartbeat(&m);
        }
        nanosleep(&tick, NULL);
    }
    return 5;
}

pid_t start_child(struct child *c, uint32_t *slot)
{
    pid_t pid;

    assert_int_equal(pipe(c->ready), 0);
    pid = unit_fork(live_until_killed, c);
    assert_int_equal(read(c->ready[0], slot, sizeof *slot), sizeof *slot);
    close(c->ready[0]);
    close(c->ready[1]);
    return pid;
}

void kill_child(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(unit_wait(pid), 128 + SIGKILL);
}

uint32_t proc_state(const struct vmshm_member *m, uint32_t slot)
{
    return vmshm_proc_of(&m->segment, m->id.vm, slot)->state;
}

uint32_t used_windows(const struct vmshm_member *m)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < m->segment.header.windows; ++i) {
        n += VMSHM_WINDOW_EMPTY != unit_window_state(m, i);
    }
    return n;
}
