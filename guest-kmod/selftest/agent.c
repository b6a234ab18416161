// SPDX-License-Identifier: GPL-2.0-only
/*
 * A guest process controlled by a script: it reads a command per line and answers with a line. So a shell script makes
 * processes of several guests act in turn, and looks at what they see when a device, a module or a whole
 * guest goes away.
 *
 * Answers: "ok [NAME=VALUE...]", "E<errno>", "SIGBUS" or "SIGSEGV", "bad ..." (not understood).
 *   open [ro|/PATH] | close | describe | join KEY | leave
 *   alloc BYTES private|open         find VM SLOT INDEX KEY      release VM INDEX
 *   publish INDEX | ring VM SLOT | count MESSAGES BYTES
 *   map NAME OFFSET BYTES r|w        unmap NAME                  (NAME: one letter)
 *   fill NAME BYTE | check NAME BYTE (the whole mapping) | read NAME | write NAME BYTE (its first byte)
 *   pin NAME [PATH] (a page of it, in a pipe, or in the FIFO at PATH) | hold PATH (that FIFO, too)
 *   unpin (takes the page out; says its bytes' value)
 *   wait MS | poll MS | drain MS (until it is quiet for so long)
 *   section VM | proc VM SLOT | window VM INDEX | reads VM SLOT OF INDEX | bell OF VM SLOT
 *   ticks MS (a signal that often, 0: no more)
 *   uid N | pid | fork (whether a child may use the file) | exit
 * All numbers are C's.
 */
#define _GNU_SOURCE
#include "st.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

struct named {
    uint8_t *at;
    uint64_t bytes;
};

static struct st_member m = { .fd = -1 };
static struct named maps[26];
static char *words[8];
static unsigned n_words;

static uint64_t number(unsigned i)
{
    return i < n_words ? strtoull(words[i], NULL, 0) : 0;
}

static const char *word(unsigned i)
{
    return i < n_words ? words[i] : "";
}

static bool is(const char *command)
{
    return 0 == strcmp(command, word(0));
}

static void answer(int rc, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void answer(int rc, const char *format, ...)
{
    const int error = errno;
    va_list args;

    if (0 != rc) {
        printf("%s\n", st_errno(error));
        return;
    }
    printf("ok");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

static void answer_signal(int signo, const char *good)
{
    printf("%s\n", SIGBUS == signo ? "SIGBUS" : SIGSEGV == signo ? "SIGSEGV" : good);
}

static struct named *mapping(unsigned i)
{
    const char c = word(i)[0];

    return 'a' <= c && c <= 'z' ? &maps[c - 'a'] : &maps[25];
}

/* Map the tables as soon as there is a segment. */
static int look(void)
{
    if (NULL != m.head) {
        return 0;
    }
    if (0 != st_ioctl(m.fd, VMSHM_IOC_DESCRIBE, &m.about)) {
        return -1;
    }
    m.head = st_try_map(&m, 0, VMSHM_HEADER_BYTES, PROT_READ);
    if (NULL == m.head) {
        return -1;
    }
    memcpy(&m.header, m.head, sizeof m.header);
    for (uint32_t vm = 0; vm < m.header.vms; ++vm) {
        m.tables[vm] = st_try_map(&m, st_entry(&m, vm)->offset, vmshm_heap_offset(&m.header),
                                  PROT_READ);
        if (NULL == m.tables[vm]) {
            return -1;
        }
    }
    return 0;
}

static void forget(void)
{
    for (uint32_t vm = 0; NULL != m.head && vm < m.header.vms; ++vm) {
        munmap((void *) m.tables[vm], vmshm_heap_offset(&m.header));
    }
    if (NULL != m.head) {
        munmap((void *) m.head, VMSHM_HEADER_BYTES);
    }
    m.head = NULL;
}

static void do_open(void)
{
    const char *path = '/' == word(1)[0] ? word(1) : st_path();

    forget();
    if (0 <= m.fd) {
        close(m.fd);
    }
    m.fd = open(path, (0 == strcmp("ro", word(1)) ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    answer(m.fd < 0 ? -1 : 0, " path=%s", path);
}

static void do_join(void)
{
    int rc;

    m.joined = (struct vmshm_join) { .name = (uint64_t) getpid() };
    st_key(m.joined.job, (uint8_t) number(1));
    rc = st_ioctl(m.fd, VMSHM_IOC_JOIN, &m.joined);
    answer(rc, " vm=%u slot=%u generation=%u nonce=%#llx",
           m.joined.vm, m.joined.slot, m.joined.generation, (unsigned long long) m.joined.nonce);
}

static void do_describe(void)
{
    struct vmshm_describe d = { 0 };
    const int rc = st_ioctl(m.fd, VMSHM_IOC_DESCRIBE, &d);

    answer(rc, " vm=%u source=%u total=%llu epoch=%#llx features=%#x generation=%u", d.vm,
           d.vm_source, (unsigned long long) d.total_bytes, (unsigned long long) d.epoch,
           d.features, d.generation);
}

static void do_alloc(void)
{
    struct vmshm_alloc a;
    const int rc = st_try_alloc(&m, number(1), 0 == strcmp("open", word(2)) ? VMSHM_KIND_OPEN
                                                                            : VMSHM_KIND_PRIVATE, &a);

    answer(rc, " index=%u offset=%#llx length=%llu", a.index, (unsigned long long) a.offset,
           (unsigned long long) a.length);
}

static void do_find(void)
{
    struct vmshm_find f;
    const int rc = st_try_find(&m, (uint32_t) number(1), (uint32_t) number(2), (uint32_t) number(3),
                               (uint8_t) number(4), &f);

    answer(rc, " index=%u offset=%#llx length=%llu kind=%u generation=%u", f.index,
           (unsigned long long) f.window_offset, (unsigned long long) f.window_length, f.kind,
           f.generation);
}

/* "again N VM SLOT INDEX KEY": find a window and release it, N times. */
static void do_again(void)
{
    struct vmshm_find f;
    int rc = 0;

    for (uint64_t i = 0; i < number(1) && 0 == rc; ++i) {
        rc = st_try_find(&m, (uint32_t) number(2), (uint32_t) number(3), (uint32_t) number(4),
                         (uint8_t) number(5), &f);
        if (0 == rc) {
            rc = st_try_release(&m, (uint32_t) number(2), (uint32_t) number(4));
        }
    }
    answer(rc, "%s", "");
}

static void do_map(void)
{
    struct named *at = mapping(1);

    if (NULL != at->at) {
        munmap(at->at, at->bytes);
    }
    at->bytes = number(3);
    at->at = st_try_map(&m, number(2), at->bytes,
                        0 == strcmp("w", word(4)) ? PROT_READ | PROT_WRITE : PROT_READ);
    answer(NULL == at->at ? -1 : 0, "%s", "");
}

static void do_fill(void)
{
    const struct named *at = mapping(1);

    for (uint64_t i = 0; i < at->bytes; i += ST_PAGE) {
        const int signo = st_try_write(at->at + i, 0);

        if (0 != signo) {
            answer_signal(signo, "");
            return;
        }
    }
    memset(at->at, (int) number(2), at->bytes);
    printf("ok\n");
}

static void do_check(void)
{
    const struct named *at = mapping(1);
    int64_t where = -1;

    for (uint64_t i = 0; i < at->bytes && where < 0; i += ST_PAGE) {
        const int signo = st_try_read(at->at + i);

        if (0 != signo) {
            answer_signal(signo, "");
            return;
        }
        where = st_differs(at->at + i, ST_PAGE, (uint8_t) number(2));
        where += where < 0 ? 0 : (int64_t) i;
    }
    if (0 <= where) {
        printf("differs at=%lld value=%#x\n", (long long) where, at->at[where]);
    } else {
        printf("ok\n");
    }
}

static int tube[2] = { -1, -1 };

static int tube_open(const char *path)
{
    if ('/' != path[0]) {
        return pipe2(tube, O_CLOEXEC);
    }
    tube[0] = open(path, O_RDWR | O_CLOEXEC);
    tube[1] = dup(tube[0]);
    return tube[0] < 0 || tube[1] < 0 ? -1 : 0;
}

static void do_pin(void)
{
    struct iovec page = { mapping(1)->at, ST_PAGE };

    answer(0 == tube_open(word(2)) && ST_PAGE == vmsplice(tube[1], &page, 1, 0) ? 0 : -1, "%s", "");
}

static void do_unpin(void)
{
    uint8_t bytes[ST_PAGE] = { 0 };
    const ssize_t n = read(tube[0], bytes, sizeof bytes);

    close(tube[0]);
    close(tube[1]);
    if (0 < n && 0 <= st_differs(bytes, (size_t) n, bytes[0])) {
        printf("differs\n");
    } else {
        answer(0 < n ? 0 : -1, " value=%#x", bytes[0]);
    }
}

static uint32_t take(uint64_t ms, int *error)
{
    struct vmshm_wait w = { .timeout_ns = ms * 1000000 };

    *error = 0 == st_ioctl(m.fd, VMSHM_IOC_WAIT, &w) ? 0 : errno;
    return 0 == *error ? w.events : 0;
}

static void do_wait(void)
{
    int error;
    const uint64_t start = st_now_ms();
    const uint32_t events = take(number(1), &error);

    errno = error;
    answer(0 == error ? 0 : -1, " events=%u after=%llu", events,
           (unsigned long long) (st_now_ms() - start));
}

static void do_drain(void)
{
    int error = 0;

    for (int i = 0; i < 50 && 0 == error; ++i) {
        take(number(1), &error);
    }
    printf("%s\n", ETIMEDOUT == error ? "ok" : st_errno(error));
}

static void do_poll(void)
{
    struct pollfd p = { .fd = m.fd, .events = POLLIN };
    const int rc = poll(&p, 1, (int) number(1));

    answer(rc < 0 ? -1 : 0, " ready=%d in=%d hup=%d", rc, 0 != (p.revents & POLLIN),
           0 != (p.revents & POLLHUP));
}

static void do_tables(void)
{
    const uint32_t vm = (uint32_t) number(1), i = (uint32_t) number(2);

    if (0 != look()) {
        answer(-1, "%s", "");
    } else if (vm >= m.header.vms) {
        printf("bad vm\n");
    } else if (is("section")) {
        const struct vmshm_section *s = st_section(&m, vm);

        answer(0, " state=%u epoch=%#llx heartbeat=%llu changes=%llu arbiter=%#llx", s->state,
               (unsigned long long) s->epoch, (unsigned long long) s->heartbeat,
               (unsigned long long) s->changes, (unsigned long long) s->arbiter);
    } else if (is("proc")) {
        const struct vmshm_proc *p = st_proc(&m, vm, i % m.header.procs);

        answer(0, " state=%u generation=%u pid=%u uid=%u nonce=%#llx window=%u messages=%llu",
               p->state, p->generation, p->pid, p->uid, (unsigned long long) p->nonce, p->window,
               (unsigned long long) p->messages);
    } else if (is("window")) {
        const struct vmshm_window *w = st_window(&m, vm, i % m.header.windows);

        answer(0, " state=%u generation=%u offset=%#llx length=%llu proc=%u uid=%u kind=%u",
               w->state, w->generation, (unsigned long long) w->offset,
               (unsigned long long) w->length, w->proc, w->uid, w->kind);
    } else if (is("reads")) {
        answer(0, " reads=%d", st_reads(&m, vm, i % m.header.procs, (uint32_t) number(3),
                                        (uint32_t) number(4)));
    } else {
        answer(0, " rung=%u", st_bell(&m, vm, (uint32_t) number(2), (uint32_t) number(3)));
    }
}

static void on_tick(int signal)
{
    (void) signal;
}

/* A timer as profilers use it; interrupted system calls are restarted (SA_RESTART) where the kernel can. */
static void do_ticks(void)
{
    const struct sigaction action = { .sa_handler = on_tick, .sa_flags = SA_RESTART };
    const struct timeval every = { .tv_sec = (time_t) (number(1) / 1000),
                                   .tv_usec = (suseconds_t) (number(1) % 1000 * 1000) };
    const struct itimerval timer = { every, every };

    answer(0 != sigaction(SIGALRM, &action, NULL) || 0 != setitimer(ITIMER_REAL, &timer, NULL), "%s", "");
}

static void do_uid(void)
{
    const gid_t group = (gid_t) (NULL != getenv("VMSHM_GROUP") ? atoi(getenv("VMSHM_GROUP")) : 1000);
    const uid_t uid = (uid_t) number(1);

    answer(0 != setgroups(0, NULL) || 0 != setresgid(group, group, group)
           || 0 != setresuid(uid, uid, uid), "%s", "");
}

static void do_fork(void)
{
    struct vmshm_alloc a;
    const pid_t pid = fork();
    int status;

    if (0 == pid) {
        _exit(0 == st_try_alloc(&m, 1, VMSHM_KIND_PRIVATE, &a) ? 0 : errno);
    }
    status = st_wait(pid);
    errno = status >> 8;
    answer(0 == status ? 0 : -1, "%s", "");
}

static void obey(void)
{
    struct vmshm_publish publish = { .index = (uint32_t) number(1) };
    struct vmshm_ring_bell ring = { (uint32_t) number(1), (uint32_t) number(2) };
    struct vmshm_count count = { number(1), number(2) };
    struct named *at = mapping(1);

    if (is("open")) {
        do_open();
    } else if (is("close")) {
        forget();
        answer(close(m.fd), "%s", "");
        m.fd = -1;
    } else if (is("describe")) {
        do_describe();
    } else if (is("join")) {
        do_join();
    } else if (is("leave")) {
        answer(st_ioctl(m.fd, VMSHM_IOC_LEAVE, NULL), "%s", "");
    } else if (is("alloc")) {
        do_alloc();
    } else if (is("find")) {
        do_find();
    } else if (is("again")) {
        do_again();
    } else if (is("release")) {
        answer(st_try_release(&m, (uint32_t) number(1), (uint32_t) number(2)), "%s", "");
    } else if (is("publish")) {
        answer(st_ioctl(m.fd, VMSHM_IOC_PUBLISH, &publish), "%s", "");
    } else if (is("ring")) {
        answer(st_ioctl(m.fd, VMSHM_IOC_RING, &ring), "%s", "");
    } else if (is("count")) {
        answer(st_ioctl(m.fd, VMSHM_IOC_COUNT, &count), "%s", "");
    } else if (is("map")) {
        do_map();
    } else if (is("unmap")) {
        answer(munmap(at->at, at->bytes), "%s", "");
        at->at = NULL;
    } else if (is("fill")) {
        do_fill();
    } else if (is("check")) {
        do_check();
    } else if (is("read")) {
        const int signo = st_try_read(at->at);

        if (0 == signo) {
            printf("ok value=%#x\n", *at->at);
        } else {
            answer_signal(signo, "");
        }
    } else if (is("write")) {
        answer_signal(st_try_write(at->at, (uint8_t) number(2)), "ok");
    } else if (is("pin")) {
        do_pin();
    } else if (is("hold")) {
        answer(tube_open(word(1)), "%s", "");
    } else if (is("unpin")) {
        do_unpin();
    } else if (is("wait")) {
        do_wait();
    } else if (is("drain")) {
        do_drain();
    } else if (is("poll")) {
        do_poll();
    } else if (is("section") || is("proc") || is("window") || is("reads") || is("bell")) {
        do_tables();
    } else if (is("ticks")) {
        do_ticks();
    } else if (is("uid")) {
        do_uid();
    } else if (is("pid")) {
        answer(0, " pid=%d", (int) getpid());
    } else if (is("fork")) {
        do_fork();
    } else {
        printf("bad command\n");
    }
}

int main(void)
{
    char line[512];

    setvbuf(stdout, NULL, _IOLBF, 0);
    while (NULL != fgets(line, sizeof line, stdin)) {
        char *rest = line;

        for (n_words = 0; n_words < 8; ++n_words) {
            words[n_words] = strtok_r(rest, " \n", &rest);
            if (NULL == words[n_words]) {
                break;
            }
        }
        if (is("exit")) {
            return 0;
        }
        obey();
    }
    return 0;
}
