// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include "st.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STATUS_FAILED = 1, STATUS_SKIPPED = 4 };

const char *st_errno(int error)
{
    const char *name = strerrorname_np(error);

    return NULL != name ? name : "?";
}

void st_fail(const char *file, int line, const char *format, ...)
{
    const char *slash = strrchr(file, '/');
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    printf("# %s:%d: %s\n", NULL != slash ? slash + 1 : file, line, text);
    fflush(stdout);
    _exit(STATUS_FAILED);
}

void st_skip(const char *format, ...)
{
    va_list args;

    printf("# SKIP ");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
    _exit(STATUS_SKIPPED);
}

/* ---------------------------------------------------------------- the kernel's log */

static int kmsg = -1;

static void kmsg_open(void)
{
    kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (0 <= kmsg) {
        lseek(kmsg, 0, SEEK_END);
    }
}

static bool is_trouble(const char *line)
{
    static const char *const words[] = {
        "WARNING", "BUG", "Oops", "general protection", "RIP:", "blocked for more than", "lockdep",
        "possible circular locking", "refcount_t", "Bad page", "bad page", "bad p4d",
        "bad pgd", "bad pud", "bad pmd", "bad pte", "Bad rss", "Call Trace",
        "list_add", "list_del", "use-after-free", "detected stall", "scheduling while atomic",
        "kernel NULL pointer", "unable to handle",
    };

    for (size_t i = 0; i < sizeof words / sizeof words[0]; ++i) {
        if (NULL != strstr(line, words[i])) {
            return true;
        }
    }
    return false;
}

/* Read the new messages; true if there is one that must not appear. */
static bool kmsg_trouble(void)
{
    bool trouble = false;
    char line[8192];
    ssize_t n;

    while (0 < (n = read(kmsg, line, sizeof line - 1)) || (n < 0 && EPIPE == errno)) {
        const char *text;

        if (n < 0) {
            continue;
        }
        line[n] = '\0';
        line[strcspn(line, "\n")] = '\0';
        text = strchr(line, ';');
        text = NULL != text ? text + 1 : line;
        if (trouble || is_trouble(text)) {
            trouble = true;
            printf("# kernel: %s\n", text);
        }
    }
    return trouble;
}

/* Bits that a sound kernel with a module from outside does not have: it had a warning, an oops, a bad
 * page, a soft lockup. */
static unsigned long taint(void)
{
    unsigned long bits = 0;
    FILE *f = fopen("/proc/sys/kernel/tainted", "r");

    if (NULL == f || 1 != fscanf(f, "%lu", &bits)) {
        bits = 0;
    }
    if (NULL != f) {
        fclose(f);
    }
    return bits & (1UL << 5 | 1UL << 7 | 1UL << 9 | 1UL << 14);
}

/* ---------------------------------------------------------------- running tests */

static int run_one(const struct st_test *test, unsigned seconds)
{
    const unsigned long before = taint();
    int status;
    pid_t pid;

    fflush(stdout);
    pid = fork();
    if (0 == pid) {
        setpgid(0, 0);
        alarm(seconds * st_patience());
        test->run();
        fflush(stdout);
        _exit(0);
    }
    setpgid(pid, pid);
    while (waitpid(pid, &status, 0) < 0 && EINTR == errno) {
    }
    /* children that the test left behind because it died */
    kill(-pid, SIGKILL);
    if (WIFSIGNALED(status)) {
        if (SIGALRM == WTERMSIG(status)) {
            printf("# not done after %u s\n", seconds);
        } else {
            printf("# died of signal %d\n", WTERMSIG(status));
        }
        status = STATUS_FAILED;
    } else {
        status = WEXITSTATUS(status);
    }
    if (kmsg_trouble() || before != taint()) {
        printf("# the kernel is in trouble: tainted %#lx, before %#lx\n", taint(), before);
        status = STATUS_FAILED;
    }
    return status;
}

static bool is_wanted(int argc, char **argv, const char *name)
{
    for (int i = 1; i < argc; ++i) {
        if (0 == strncmp(argv[i], name, strlen(argv[i]))) {
            return true;
        }
    }
    return argc < 2;
}

int st_main(int argc, char **argv, const struct st_test *tests, unsigned seconds)
{
    int n = 0, failed = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    kmsg_open();
    printf("TAP version 13\n");
    if (kmsg < 0) {
        printf("Bail out! /dev/kmsg: %s; set kernel.dmesg_restrict=0\n", st_errno(errno));
        return 1;
    }
    for (; NULL != tests->name; ++tests) {
        int status;

        if (!is_wanted(argc, argv, tests->name)) {
            continue;
        }
        status = run_one(tests, seconds);
        ++n;
        failed += 0 != status && STATUS_SKIPPED != status;
        printf("%s %d - %s%s\n", 0 == status || STATUS_SKIPPED == status ? "ok" : "not ok", n,
               tests->name, STATUS_SKIPPED == status ? " # SKIP see above" : "");
    }
    printf("1..%d\n", n);
    return 0 != failed;
}

pid_t st_fork(void (*run)(void *), void *arg)
{
    pid_t pid;

    fflush(stdout);
    pid = fork();
    CHECK(0 <= pid);
    if (0 == pid) {
        run(arg);
        fflush(stdout);
        _exit(0);
    }
    return pid;
}

int st_wait(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0) {
        CHECK(EINTR == errno);
    }
    return status;
}

void st_join(pid_t pid)
{
    const int status = st_wait(pid);

    if (WIFEXITED(status) && STATUS_SKIPPED == WEXITSTATUS(status)) {
        _exit(STATUS_SKIPPED);
    }
    if (0 != status) {
        st_fail(__FILE__, __LINE__, "a child ended with status %#x", (unsigned) status);
    }
}

void st_turn_make(struct st_turn *t)
{
    CHECK(0 == pipe2(t->to, O_CLOEXEC) && 0 == pipe2(t->from, O_CLOEXEC));
}

void st_turn_tell(int fd[2])
{
    CHECK(1 == write(fd[1], "", 1));
}

void st_turn_await(int fd[2])
{
    struct pollfd p = { .fd = fd[0], .events = POLLIN };
    char byte;

    /* The writer may have died; there is no end of file, since this process has the other end open, too. */
    if (1 != poll(&p, 1, 20000) || 1 != read(fd[0], &byte, 1)) {
        st_fail(__FILE__, __LINE__, "the other process does not answer");
    }
}

void st_sleep_ms(unsigned ms)
{
    struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };

    while (0 != nanosleep(&t, &t)) {
    }
}

uint64_t st_now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000 + (uint64_t) t.tv_nsec / 1000000;
}

unsigned st_patience(void)
{
    const char *times = getenv("VMSHM_PATIENCE");

    return NULL != times && 0 < atoi(times) ? (unsigned) atoi(times) : 1;
}

bool st_until(bool (*condition)(void *), void *arg, unsigned ms)
{
    const uint64_t end = st_now_ms() + (uint64_t) ms * st_patience();

    while (!condition(arg)) {
        if (st_now_ms() > end) {
            return false;
        }
        st_sleep_ms(5);
    }
    return true;
}

/* splitmix64 works with any seed */
uint64_t st_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

int st_advice(uint64_t n)
{
    const int advice = (int) (n % 26);

    /* MADV_COLD, MADV_PAGEOUT: 6.1 takes a large entry of device memory for a bad one, and says so in
     * its log, whoever the memory is of (device-dax, too). */
    return 20 == advice || 21 == advice ? 0 : advice;
}

/* ---------------------------------------------------------------- memory */

static __thread sigjmp_buf caught;
static __thread volatile sig_atomic_t armed;

static void on_fault(int signo)
{
    if (armed) {
        armed = 0;
        siglongjmp(caught, signo);
    }
    /* Not expected here: let the signal end the process, as without a handler. */
    signal(signo, SIG_DFL);
    raise(signo);
}

static void arm(void)
{
    static volatile sig_atomic_t installed;

    if (!installed) {
        struct sigaction act = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };

        sigaction(SIGBUS, &act, NULL);
        sigaction(SIGSEGV, &act, NULL);
        installed = 1;
    }
    armed = 1;
}

int st_try_read(const volatile void *p)
{
    const int signo = sigsetjmp(caught, 1);

    if (0 == signo) {
        arm();
        (void) *(const volatile uint8_t *) p;
        armed = 0;
    }
    return signo;
}

int st_try_write(volatile void *p, uint8_t value)
{
    const int signo = sigsetjmp(caught, 1);

    if (0 == signo) {
        arm();
        *(volatile uint8_t *) p = value;
        armed = 0;
    }
    return signo;
}

int64_t st_differs(const volatile uint8_t *p, size_t bytes, uint8_t value)
{
    const uint64_t word = UINT64_C(0x0101010101010101) * value;
    size_t i = 0;

    if (0 == (uintptr_t) p % 8) {
        while (i + 8 <= bytes && word == *(const volatile uint64_t *) (p + i)) {
            i += 8;
        }
    }
    for (; i < bytes; ++i) {
        if (value != p[i]) {
            return (int64_t) i;
        }
    }
    return -1;
}

/* ---------------------------------------------------------------- the device */

const char *st_path(void)
{
    const char *path = getenv("VMSHM_DEVICE");

    return NULL != path ? path : "/dev/vmshm0";
}

int st_open(int flags)
{
    const int fd = open(st_path(), flags | O_CLOEXEC);

    if (fd < 0) {
        st_fail(__FILE__, __LINE__, "%s: %s", st_path(), st_errno(errno));
    }
    return fd;
}

int st_ioctl(int fd, unsigned long request, void *arg)
{
    return ioctl(fd, request, arg);
}

void st_key(uint8_t key[16], uint8_t n)
{
    memset(key, 0xa0, 15);
    key[15] = n;
}

void st_visitor(struct st_member *m)
{
    memset(m, 0, sizeof *m);
    m->fd = st_open(O_RDWR);
    CHECK(0 == st_ioctl(m->fd, VMSHM_IOC_DESCRIBE, &m->about));
    m->head = st_map(m, 0, VMSHM_HEADER_BYTES, PROT_READ);
    memcpy(&m->header, m->head, sizeof m->header);
    for (uint32_t vm = 0; vm < m->header.vms; ++vm) {
        m->tables[vm] = st_map(m, st_entry(m, vm)->offset, vmshm_heap_offset(&m->header),
                               PROT_READ);
    }
}

void st_join_job(struct st_member *m, uint8_t key)
{
    st_key(m->key, key);
    m->joined = (struct vmshm_join) { .name = 0x1234500000000ULL + key };
    memcpy(m->joined.job, m->key, sizeof m->joined.job);
    CHECK(0 == st_ioctl(m->fd, VMSHM_IOC_JOIN, &m->joined));
}

void st_member(struct st_member *m, uint8_t key)
{
    st_visitor(m);
    st_join_job(m, key);
}

void st_leave(struct st_member *m)
{
    CHECK(0 == st_ioctl(m->fd, VMSHM_IOC_LEAVE, NULL));
}

const struct vmshm_section_entry *st_entry(const struct st_member *m, uint32_t vm)
{
    return (const struct vmshm_section_entry *) (m->head + VMSHM_TABLE_OFFSET) + vm;
}

const struct vmshm_section *st_section(const struct st_member *m, uint32_t vm)
{
    return (const struct vmshm_section *) m->tables[vm];
}

const struct vmshm_proc *st_proc(const struct st_member *m, uint32_t vm, uint32_t slot)
{
    return (const struct vmshm_proc *) (m->tables[vm] + vmshm_procs_offset()) + slot;
}

const struct vmshm_window *st_window(const struct st_member *m, uint32_t vm, uint32_t index)
{
    return (const struct vmshm_window *) (m->tables[vm] + vmshm_windows_offset(&m->header)) + index;
}

uint32_t st_bell(const struct st_member *m, uint32_t of, uint32_t vm, uint32_t slot)
{
    const uint32_t *bells = (const uint32_t *) (m->tables[of] + vmshm_bells_offset(&m->header));

    return __atomic_load_n(bells + vmshm_proc_index(&m->header, vm, slot), __ATOMIC_ACQUIRE);
}

bool st_reads(const struct st_member *m, uint32_t vm, uint32_t slot, uint32_t of, uint32_t index)
{
    const uint64_t *row = (const uint64_t *) (m->tables[vm] + vmshm_readers_offset(&m->header)
                                              + slot * vmshm_reader_row_bytes(&m->header));
    const uint64_t bit = (uint64_t) of * m->header.windows + index;

    return __atomic_load_n(row + bit / 64, __ATOMIC_ACQUIRE) >> bit % 64 & 1;
}

uint64_t st_used(const struct st_member *m)
{
    uint64_t used = 0;

    for (uint32_t i = 0; i < m->header.windows; ++i) {
        const struct vmshm_window *w = st_window(m, m->about.vm, i);

        if (VMSHM_WINDOW_EMPTY != __atomic_load_n(&w->state, __ATOMIC_ACQUIRE)) {
            used += w->length;
        }
    }
    return used;
}

int st_try_alloc(const struct st_member *m, uint64_t bytes, uint32_t kind, struct vmshm_alloc *a)
{
    *a = (struct vmshm_alloc) { .bytes = bytes, .kind = kind };
    return st_ioctl(m->fd, VMSHM_IOC_ALLOC, a);
}

static bool is_all_free(void *m)
{
    return 0 == st_used(m);
}

void st_all_free(const struct st_member *m)
{
    CHECK(st_until(is_all_free, (void *) m, 2000));
}

struct vmshm_alloc st_alloc(const struct st_member *m, uint64_t bytes, uint32_t kind)
{
    struct vmshm_alloc a;

    CHECK(0 == st_try_alloc(m, bytes, kind, &a));
    return a;
}

int st_try_find(const struct st_member *m, uint32_t vm, uint32_t slot, uint32_t index, uint8_t key,
                struct vmshm_find *f)
{
    *f = (struct vmshm_find) { .vm = vm, .slot = slot, .index = index };
    st_key(f->job, key);
    return st_ioctl(m->fd, VMSHM_IOC_FIND, f);
}

struct vmshm_find st_find(const struct st_member *m, uint32_t vm, uint32_t slot, uint32_t index,
                          uint8_t key)
{
    struct vmshm_find f;

    CHECK(0 == st_try_find(m, vm, slot, index, key, &f));
    return f;
}

int st_try_release(const struct st_member *m, uint32_t vm, uint32_t index)
{
    struct vmshm_release r = { .vm = vm, .index = index };

    return st_ioctl(m->fd, VMSHM_IOC_RELEASE, &r);
}

void st_release(const struct st_member *m, uint32_t vm, uint32_t index)
{
    CHECK(0 == st_try_release(m, vm, index));
}

uint8_t *st_try_map(const struct st_member *m, uint64_t offset, uint64_t bytes, int prot)
{
    void *p = mmap(NULL, bytes, prot, MAP_SHARED, m->fd, (off_t) offset);

    return MAP_FAILED == p ? NULL : p;
}

uint8_t *st_map(const struct st_member *m, uint64_t offset, uint64_t bytes, int prot)
{
    uint8_t *p = st_try_map(m, offset, bytes, prot);

    CHECK(NULL != p);
    return p;
}

uint8_t *st_aligned(const struct st_member *m, uint64_t count, struct vmshm_alloc *w, int prot)
{
    uint64_t offset;

    *w = st_alloc(m, (count + 1) * ST_HUGE, VMSHM_KIND_PRIVATE);
    offset = (w->offset + ST_HUGE - 1) & ~(ST_HUGE - 1);
    return st_map(m, offset, count * ST_HUGE, prot);
}

uint8_t *st_touched(const struct st_member *m, int huge, struct vmshm_alloc *w)
{
    uint8_t *p;

    if (huge) {
        p = st_aligned(m, 1, w, PROT_READ | PROT_WRITE);
        memset(p, 0x66, ST_HUGE);
        return p;
    }
    *w = st_alloc(m, 2 * VMSHM_GRANULE_BYTES, VMSHM_KIND_PRIVATE);
    p = st_map(m, w->offset, w->length, PROT_READ | PROT_WRITE);
    memset(p, 0x66, w->length);
    return p;
}
