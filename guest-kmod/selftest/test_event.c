// SPDX-License-Identifier: GPL-2.0-only
/* Waiting for events. No other process, in any VM, may use the segment meanwhile. */
#define _GNU_SOURCE
#include "st.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#define KEY 8

static uint32_t events(const struct st_member *m, uint64_t timeout_ms)
{
    struct vmshm_wait w = { .timeout_ns = timeout_ms * 1000000 };

    if (0 == st_ioctl(m->fd, VMSHM_IOC_WAIT, &w)) {
        CHECK(0 != w.events);
        return w.events;
    }
    SAME(ETIMEDOUT, errno);
    return 0;
}

static void be_quiet(const struct st_member *m)
{
    const uint64_t end = st_now_ms() + 5000 * st_patience();

    while (0 != events(m, 700)) {
        CHECK(st_now_ms() < end);
    }
}

static void wait_takes_its_time(void)
{
    struct st_member m;
    uint64_t start;

    st_visitor(&m);
    be_quiet(&m);
    start = st_now_ms();
    SAME(0, events(&m, 0));
    CHECK(st_now_ms() - start < 100 * st_patience());
    start = st_now_ms();
    SAME(0, events(&m, 300));
    CHECK(st_now_ms() - start >= 290 && st_now_ms() - start < 2000 * st_patience());
}

static void on_alarm(int signo)
{
    (void) signo;
}

static void wait_is_interrupted(void)
{
    struct sigaction act = { .sa_handler = on_alarm };
    struct vmshm_wait w = { .timeout_ns = UINT64_MAX };
    struct st_member m;

    st_visitor(&m);
    be_quiet(&m);
    sigaction(SIGALRM, &act, NULL);
    ualarm(200000, 0);
    FAILS(EINTR, st_ioctl(m.fd, VMSHM_IOC_WAIT, &w));
    w = (struct vmshm_wait) { .timeout_ns = UINT64_C(3000000000) };
    ualarm(200000, 0);
    FAILS(EINTR, st_ioctl(m.fd, VMSHM_IOC_WAIT, &w));
}

static void joins_and_is_killed(void *arg)
{
    struct st_turn *t = arg;
    struct st_member m;

    st_turn_await(t->to);
    st_member(&m, KEY);
    st_turn_await(t->to);
    raise(SIGKILL);
}

static void member_of_the_vm_is_an_event(void)
{
    struct pollfd p = { .events = POLLIN };
    struct st_member m, quiet;
    struct st_turn t;
    pid_t pid;

    st_visitor(&m);
    st_visitor(&quiet);
    st_turn_make(&t);
    pid = st_fork(joins_and_is_killed, &t);
    be_quiet(&m);
    p.fd = m.fd;
    SAME(0, poll(&p, 1, 0));
    st_turn_tell(t.to);
    SAME(1, poll(&p, 1, 2000));
    SAME(POLLIN, p.revents);
    SAME(VMSHM_EVENT_PEER, events(&m, 0));
    be_quiet(&m);
    st_turn_tell(t.to);
    SAME(VMSHM_EVENT_PEER, events(&m, 2000));
    st_wait(pid);
    /* each file has its own events */
    SAME(VMSHM_EVENT_PEER, events(&quiet, 0));
}

static const struct st_test tests[] = {
    { "wait-takes-its-time", wait_takes_its_time },
    { "wait-is-interrupted", wait_is_interrupted },
    { "member-of-the-vm-is-an-event", member_of_the_vm_is_an_event },
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    return st_main(argc, argv, tests, 30);
}
