// SPDX-License-Identifier: GPL-2.0-only
/* What other parts of the kernel may do with a mapping, and pages that they keep pinned. */
#define _GNU_SOURCE
#include "st.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEY 10
#define RW (PROT_READ | PROT_WRITE)

static void futexes(void)
{
    struct vmshm_alloc w;
    struct st_member m;

    st_member(&m, KEY);
    for (int huge = 0; huge < 2; ++huge) {
        uint8_t *p = st_touched(&m, huge, &w);
        uint32_t *word = (uint32_t *) p;
        struct timespec t = { .tv_nsec = 20000000 };

        /* within the process they work */
        FAILS(ETIMEDOUT, syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, *word, &t, NULL, 0));
        FAILS(EAGAIN, syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, *word + 1, &t, NULL, 0));
        CHECK(0 == syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
        /* between processes they need a page of a file, which these are not */
        static const int ops[] = { FUTEX_WAIT, FUTEX_WAKE, FUTEX_LOCK_PI, FUTEX_TRYLOCK_PI,
                                   FUTEX_WAIT_BITSET, FUTEX_WAKE_BITSET };

        for (size_t i = 0; i < sizeof ops / sizeof ops[0]; ++i) {
            const long rc = syscall(SYS_futex, word, ops[i], *word, &t, word + 1, -1);

            if (!(0 <= rc || EFAULT == errno || ETIMEDOUT == errno || EAGAIN == errno
                  || EINVAL == errno || ESRCH == errno || ENOSYS == errno)) {
                st_fail(__FILE__, __LINE__, "futex %d: %s", ops[i], st_errno(errno));
            }
        }
        (void) syscall(SYS_futex, word, FUTEX_WAKE_OP, 1, 1L, word + 1, FUTEX_OP(FUTEX_OP_SET, 1,
                       FUTEX_OP_CMP_EQ, 0));
        (void) syscall(SYS_futex, word, FUTEX_REQUEUE, 1, 1L, word + 1, 0);
        SAME(0x66, p[64]);
    }
}

static void other_processes_hands(void)
{
    struct vmshm_alloc w;
    struct st_member m;

    st_member(&m, KEY);
    for (int huge = 0; huge < 2; ++huge) {
        uint8_t *p = st_touched(&m, huge, &w), bytes[64];
        struct iovec here = { bytes, sizeof bytes }, there = { p, sizeof bytes };
        const int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

        CHECK(0 <= fd);
        memset(bytes, 0, sizeof bytes);
        if (st_has_pages(&m)) {
            SAME(sizeof bytes, process_vm_readv(getpid(), &here, 1, &there, 1, 0));
            SAME((uint64_t) -1, st_differs(bytes, sizeof bytes, 0x66));
            SAME(sizeof bytes, pread(fd, bytes, sizeof bytes, (off_t) (uintptr_t) p));
            memset(bytes, 0x68, sizeof bytes);
            SAME(sizeof bytes, process_vm_writev(getpid(), &here, 1, &there, 1, 0));
            SAME((uint64_t) -1, st_differs(p, sizeof bytes, 0x68));
            memset(bytes, 0x66, sizeof bytes);
            SAME(sizeof bytes, pwrite(fd, bytes, sizeof bytes, (off_t) (uintptr_t) p));
        } else {
            FAILS(EFAULT, process_vm_readv(getpid(), &here, 1, &there, 1, 0));
            SAME((uint64_t) -1, st_differs(bytes, sizeof bytes, 0));
            FAILS(EFAULT, process_vm_writev(getpid(), &here, 1, &there, 1, 0));
            FAILS(EIO, pread(fd, bytes, sizeof bytes, (off_t) (uintptr_t) p));
            FAILS(EIO, pwrite(fd, bytes, sizeof bytes, (off_t) (uintptr_t) p));
        }
        close(fd);
        SAME((uint64_t) -1, st_differs(p, VMSHM_GRANULE_BYTES, 0x66));
    }
}

/* For debuggers the kernel writes even to read-only mappings; it must not do so here. */
static void no_hand_writes_what_was_found(void)
{
    struct vmshm_alloc w;
    struct st_member m, r;

    st_member(&m, KEY);
    st_member(&r, KEY);
    for (int huge = 0; huge < 2; ++huge) {
        uint8_t *own = st_touched(&m, huge, &w), *p, bytes[64];
        struct iovec here = { bytes, sizeof bytes }, there;
        const int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
        int tube[2];

        CHECK(0 <= fd && 0 == pipe2(tube, O_CLOEXEC));
        st_find(&r, m.about.vm, m.joined.slot, w.index, KEY);
        p = st_map(&r, w.offset, w.length, PROT_READ);
        there = (struct iovec) { p, sizeof bytes };
        for (int seen = 0; seen < 2; ++seen) {
            memset(bytes, 0, sizeof bytes);
            FAILS(EFAULT, process_vm_writev(getpid(), &here, 1, &there, 1, 0));
            FAILS(EIO, pwrite(fd, bytes, sizeof bytes, (off_t) (uintptr_t) p));
            SAME(ST_PAGE, write(tube[1], own, ST_PAGE));
            FAILS(EFAULT, read(tube[0], p, ST_PAGE));
            close(tube[0]);
            close(tube[1]);
            CHECK(0 == pipe2(tube, O_CLOEXEC));
            SAME(0, st_try_read(p));
        }
        close(fd);
        SAME((uint64_t) -1, st_differs(own, VMSHM_GRANULE_BYTES, 0x66));
    }
}

struct traced {
    struct st_turn turn;
    uint8_t *at;
};

static void traced(void *arg)
{
    struct traced *t = arg;
    struct vmshm_alloc w;
    struct st_member m;

    st_member(&m, KEY);
    t->at = st_touched(&m, 1, &w);
    CHECK(0 == ptrace(PTRACE_TRACEME, 0, NULL, NULL));
    CHECK((ssize_t) sizeof t->at == write(t->turn.from[1], &t->at, sizeof t->at));
    raise(SIGSTOP);
    SAME((uint64_t) -1, st_differs(t->at, ST_HUGE, 0x66));
}

static void a_debugger(void)
{
    struct st_member m;
    struct traced t;
    pid_t pid;

    st_visitor(&m);
    st_turn_make(&t.turn);
    pid = st_fork(traced, &t);
    CHECK((ssize_t) sizeof t.at == read(t.turn.from[0], &t.at, sizeof t.at));
    CHECK(WIFSTOPPED(st_wait(pid)));
    errno = 0;
    if (st_has_pages(&m)) {
        SAME(0x6666666666666666, ptrace(PTRACE_PEEKDATA, pid, t.at, NULL));
        CHECK(0 == ptrace(PTRACE_POKEDATA, pid, t.at, (void *) 0x6666666666666666));
    } else {
        CHECK(-1 == ptrace(PTRACE_PEEKDATA, pid, t.at, NULL) && EIO == errno);
        FAILS(EIO, ptrace(PTRACE_POKEDATA, pid, t.at, (void *) 1));
    }
    CHECK(0 == ptrace(PTRACE_CONT, pid, NULL, NULL));
    st_join(pid);
}

static void files_and_pipes(void)
{
    struct vmshm_alloc w;
    struct st_member m;

    st_member(&m, KEY);
    for (int huge = 0; huge < 2; ++huge) {
        uint8_t *p = st_touched(&m, huge, &w), bytes[ST_PAGE];
        struct iovec iov = { p, ST_PAGE };
        char name[] = "/tmp/st-direct-XXXXXX";
        int fd[2], file;

        /* system calls that copy must work */
        CHECK(0 == pipe2(fd, O_CLOEXEC));
        SAME(ST_PAGE, write(fd[1], p, ST_PAGE));
        SAME(ST_PAGE, read(fd[0], bytes, ST_PAGE));
        SAME((uint64_t) -1, st_differs(bytes, ST_PAGE, 0x66));
        memset(bytes, 0x67, sizeof bytes);
        SAME(ST_PAGE, write(fd[1], bytes, ST_PAGE));
        SAME(ST_PAGE, read(fd[0], p, ST_PAGE));
        SAME((uint64_t) -1, st_differs(p, ST_PAGE, 0x67));
        /* those that need the page itself must fail */
        if (!st_has_pages(&m)) {
            FAILS(EFAULT, vmsplice(fd[1], &iov, 1, 0));
            FAILS(EFAULT, vmsplice(fd[1], &iov, 1, SPLICE_F_GIFT));
        } else {
            SAME(ST_PAGE, vmsplice(fd[1], &iov, 1, 0));
            SAME(ST_PAGE, read(fd[0], bytes, ST_PAGE));
            SAME((uint64_t) -1, st_differs(bytes, ST_PAGE, 0x67));
        }
        file = mkstemp(name);
        CHECK(0 <= file && 0 == unlink(name));
        SAME(ST_PAGE, write(file, p, ST_PAGE));
        SAME(ST_PAGE, pread(file, p + ST_PAGE, ST_PAGE, 0));
        SAME((uint64_t) -1, st_differs(p + ST_PAGE, ST_PAGE, 0x67));
        /* tmpfs takes that from Linux 6.6 on, and copies all the same */
        if (0 == fcntl(file, F_SETFL, O_DIRECT)) {
            memset(p, 0x68, ST_PAGE);
            SAME(ST_PAGE, pwrite(file, p, ST_PAGE, 0));
            SAME(ST_PAGE, pread(file, p + ST_PAGE, ST_PAGE, 0));
            SAME((uint64_t) -1, st_differs(p + ST_PAGE, ST_PAGE, 0x68));
        }
        close(file);
        close(fd[0]);
        close(fd[1]);
    }
}

static void direct_io(void)
{
    const char *dir = getenv("VMSHM_DIRECT_DIR");
    struct vmshm_alloc w;
    struct st_member m;
    char name[256];

    if (NULL == dir) {
        st_skip("VMSHM_DIRECT_DIR names no directory whose files can be opened with O_DIRECT");
    }
    snprintf(name, sizeof name, "%s/direct-%d", dir, (int) getpid());
    st_member(&m, KEY);
    for (int huge = 0; huge < 2; ++huge) {
        uint8_t *p = st_touched(&m, huge, &w);
        const int file = open(name, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0600);

        if (file < 0) {
            st_skip("%s: O_DIRECT: %s", dir, st_errno(errno));
        }
        unlink(name);
        /* refused, or done: never half */
        if (-1 == pwrite(file, p, ST_PAGE, 0)) {
            CHECK(!st_has_pages(&m) && (EFAULT == errno || EINVAL == errno || EIO == errno));
        }
        if (-1 == pread(file, p + ST_PAGE, ST_PAGE, 0)) {
            CHECK(!st_has_pages(&m) && (EFAULT == errno || EINVAL == errno || EIO == errno));
        }
        SAME((uint64_t) -1, st_differs(p, ST_PAGE, 0x66));
        SAME((uint64_t) -1, st_differs(p + ST_PAGE, ST_PAGE, 0x66));
        close(file);
    }
}

static void nothing_can_be_pinned(const struct st_member *m)
{
    for (int huge = 0; huge < 2; ++huge) {
        struct vmshm_alloc w;
        struct iovec iov = { st_touched(m, huge, &w), ST_PAGE };
        int fd[2];

        CHECK(0 == pipe2(fd, O_CLOEXEC));
        FAILS(EFAULT, vmsplice(fd[1], &iov, 1, 0));
    }
}

/* Pages in a pipe are pinned: nobody may get that memory before the pipe's reader has it. */
static void pinned_is_not_handed_out(void)
{
    struct st_member m, r;
    struct vmshm_alloc next;

    st_member(&m, KEY);
    st_member(&r, KEY);
    if (!st_has_pages(&m)) {
        nothing_can_be_pinned(&m);
        return;
    }
    for (int huge = 0; huge < 2; ++huge) {
        for (int by_reader = 0; by_reader < 2; ++by_reader) {
            struct vmshm_alloc w;
            uint8_t *own = st_touched(&m, huge, &w), *p = own, bytes[ST_PAGE];
            struct iovec iov;
            int fd[2];

            CHECK(0 == pipe2(fd, O_CLOEXEC));
            if (by_reader) {
                st_find(&r, m.about.vm, m.joined.slot, w.index, KEY);
                p = st_map(&r, w.offset, w.length, PROT_READ);
            }
            iov = (struct iovec) { p + ST_PAGE, ST_PAGE };
            SAME(ST_PAGE, vmsplice(fd[1], &iov, 1, 0));
            if (by_reader) {
                st_release(&r, m.about.vm, w.index);
            }
            st_release(&m, m.about.vm, w.index);
            SAME(SIGBUS, st_try_read(own));
            SAME(SIGBUS, st_try_read(p));
            for (int i = 0; i < 3; ++i) {
                next = st_alloc(&m, w.length, VMSHM_KIND_PRIVATE);
                CHECK(next.offset >= w.offset + w.length || next.offset + next.length <= w.offset);
                st_sleep_ms(300);
                st_release(&m, m.about.vm, next.index);
            }
            SAME(VMSHM_WINDOW_QUARANTINE, st_window(&m, m.about.vm, w.index)->state);
            SAME(ST_PAGE, read(fd[0], bytes, ST_PAGE));
            SAME((uint64_t) -1, st_differs(bytes, ST_PAGE, 0x66));
            close(fd[0]);
            close(fd[1]);
            st_sleep_ms(700);
            next = st_alloc(&m, w.length, VMSHM_KIND_PRIVATE);
            SAME(w.offset, next.offset);
            p = st_map(&m, next.offset, next.length, PROT_READ);
            SAME((uint64_t) -1, st_differs(p, next.length, 0));
            st_release(&m, m.about.vm, next.index);
        }
    }
}

struct lent {
    struct st_turn turn;
    struct vmshm_alloc w;
    uint32_t slot;
};

/* Pin a page of another process's window, release the window, and leave; the page stays in a pipe. */
static void pins_and_leaves(void *arg)
{
    struct lent *l = arg;
    struct vmshm_find f = { .index = l->w.index, .slot = l->slot };
    struct st_member m;
    struct iovec iov;
    uint8_t *p;

    st_member(&m, KEY);
    f.vm = m.about.vm;
    st_key(f.job, KEY);
    CHECK(0 == st_ioctl(m.fd, VMSHM_IOC_FIND, &f));
    p = st_map(&m, f.window_offset, f.window_length, PROT_READ);
    iov = (struct iovec) { p, ST_PAGE };
    if (ST_PAGE != vmsplice(l->turn.from[1], &iov, 1, 0)) {
        st_fail(__FILE__, __LINE__, "vmsplice: %s", st_errno(errno));
    }
    CHECK(0 == st_try_release(&m, f.vm, f.index));
}

static void pinned_by_another_is_not_handed_out(void)
{
    struct vmshm_alloc next;
    uint8_t bytes[ST_PAGE], *p;
    struct st_member m;
    struct lent l;

    st_member(&m, KEY);
    if (!st_has_pages(&m)) {
        nothing_can_be_pinned(&m);
        return;
    }
    st_turn_make(&l.turn);
    l.w = st_alloc(&m, VMSHM_GRANULE_BYTES, VMSHM_KIND_PRIVATE);
    l.slot = m.joined.slot;
    p = st_map(&m, l.w.offset, l.w.length, RW);
    memset(p, 0x66, l.w.length);
    st_join(st_fork(pins_and_leaves, &l));
    CHECK(0 == st_try_release(&m, m.about.vm, l.w.index));
    munmap(p, l.w.length);
    SAME(VMSHM_WINDOW_QUARANTINE, st_window(&m, m.about.vm, l.w.index)->state);
    next = st_alloc(&m, l.w.length, VMSHM_KIND_PRIVATE);
    CHECK(next.offset != l.w.offset);
    SAME(ST_PAGE, read(l.turn.from[0], bytes, ST_PAGE));
    SAME((uint64_t) -1, st_differs(bytes, ST_PAGE, 0x66));
    /* the module looks four times a second */
    for (int i = 0; i < 40 && VMSHM_WINDOW_EMPTY != st_window(&m, m.about.vm, l.w.index)->state;
         ++i) {
        usleep(100000);
        (void) st_alloc(&m, 1, VMSHM_KIND_PRIVATE);
    }
    CHECK(VMSHM_WINDOW_QUARANTINE != st_window(&m, m.about.vm, l.w.index)->state);
}

static const struct st_test tests[] = {
    { "futexes", futexes },
    { "other-processes-hands", other_processes_hands },
    { "no-hand-writes-what-was-found", no_hand_writes_what_was_found },
    { "a-debugger", a_debugger },
    { "files-and-pipes", files_and_pipes },
    { "direct-io", direct_io },
    { "pinned-is-not-handed-out", pinned_is_not_handed_out },
    { "pinned-by-another-is-not-handed-out", pinned_by_another_is_not_handed_out },
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    return st_main(argc, argv, tests, 30);
}
