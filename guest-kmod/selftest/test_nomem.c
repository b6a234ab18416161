// SPDX-License-Identifier: GPL-2.0-only
/* The kernel refuses the module memory: the first allocation of a call, the second, and so on until the
 * call needs no more. Whatever failed must leave nothing behind, and work when it is asked again. For
 * root, and kernels with fault injection (test/lab/kernel debug). */
#define _GNU_SOURCE
#include "st.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define KEY 3
#define KNOB "/proc/thread-self/fail-nth"
#define DRIVER "/sys/bus/pci/drivers/vmshm"
#define LONGEST 2000

static int knob = -1;
static unsigned nth;
static char slot[64];           /* of the PCI device */

static void set(const char *path, const char *value)
{
    const int fd = open(path, O_WRONLY | O_CLOEXEC);

    CHECK(0 <= fd && (ssize_t) strlen(value) == write(fd, value, strlen(value)));
    close(fd);
}

/* Fail without a log message, and for allocations that may sleep, too. */
static void prepare(void)
{
    static const char *const on[] = { "ignore-gfp-wait", "ignore-gfp-highmem", "verbose", "min-order" };
    static const char *const kinds[] = { "failslab", "fail_page_alloc" };
    char path[128];

    if (0 != access(KNOB, W_OK) || 0 != access("/sys/kernel/debug/failslab", X_OK)) {
        st_skip("this kernel injects no faults, or we are not root, or debugfs is not mounted");
    }
    for (size_t k = 0; k < 2; ++k) {
        for (size_t i = 0; i < sizeof on / sizeof on[0]; ++i) {
            snprintf(path, sizeof path, "/sys/kernel/debug/%s/%s", kinds[k], on[i]);
            if (0 == access(path, W_OK)) {
                set(path, 'i' == on[i][0] ? "N" : "0");
            }
        }
    }
    knob = open(KNOB, O_RDWR | O_CLOEXEC);
    CHECK(0 <= knob);
    nth = 0;
}

/* The next allocation that fails is one later than last time. */
static void inject(void)
{
    char number[16];
    const int length = snprintf(number, sizeof number, "%u", ++nth);

    CHECK(length == pwrite(knob, number, (size_t) length, 0));
}

/* Keeps errno. True when there was such an allocation, so that it failed. */
static bool injected(void)
{
    const int error = errno;
    char left[16] = "";

    CHECK(0 < pread(knob, left, sizeof left - 1, 0));
    CHECK(1 == pwrite(knob, "0", 1, 0));
    CHECK(LONGEST > nth);
    errno = error;
    return 0 == atoi(left);
}

/* At least one allocation must have failed, or the test has tested nothing. */
static void done(unsigned least)
{
    CHECK(nth > least);
}

static void opening(void)
{
    bool more = true;

    prepare();
    while (more) {
        int fd;

        inject();
        fd = open(st_path(), O_RDWR | O_CLOEXEC);
        more = injected();
        CHECK(0 <= fd || (more && ENOMEM == errno));
        if (0 <= fd) {
            close(fd);
        }
        close(st_open(O_RDWR));
    }
    done(1);
}

static void finding(void)
{
    struct st_member a, b;
    struct vmshm_alloc w;
    struct vmshm_find f;
    bool more = true;

    prepare();
    st_member(&a, KEY);
    st_member(&b, KEY);
    w = st_alloc(&a, VMSHM_GRANULE_BYTES, VMSHM_KIND_PRIVATE);
    while (more) {
        int rc;

        inject();
        rc = st_try_find(&b, a.about.vm, a.joined.slot, w.index, KEY, &f);
        more = injected();
        CHECK(0 == rc || (more && ENOMEM == errno));
        CHECK((0 == rc) == st_reads(&a, a.about.vm, b.joined.slot, a.about.vm, w.index));
        f = st_find(&b, a.about.vm, a.joined.slot, w.index, KEY);
        CHECK(0 == st_try_release(&b, a.about.vm, w.index));
        CHECK(!st_reads(&a, a.about.vm, b.joined.slot, a.about.vm, w.index));
    }
    done(1);
}

static void mapping(void)
{
    const uint64_t bytes = 4 * ST_MIB;
    struct vmshm_alloc w;
    struct st_member m;
    bool more = true;

    prepare();
    st_member(&m, KEY);
    w = st_alloc(&m, bytes, VMSHM_KIND_PRIVATE);
    while (more) {
        uint8_t *p;

        inject();
        p = st_try_map(&m, w.offset, bytes, PROT_READ | PROT_WRITE);
        /* a fault that finds no memory is repeated by the kernel, and finds some */
        for (uint64_t at = 0; NULL != p && at < bytes; at += ST_MIB) {
            p[at] = (uint8_t) nth;
        }
        more = injected();
        CHECK(NULL != p || (more && ENOMEM == errno));
        for (uint64_t at = 0; NULL != p && at < bytes; at += ST_MIB) {
            SAME((uint8_t) nth, p[at]);
        }
        CHECK(NULL == p || 0 == munmap(p, bytes));
    }
    done(2);
}

/* Only what the kernel does for this write may fail. */
static bool bind_to(const char *what, bool with_injection)
{
    const int fd = open(what, O_WRONLY | O_CLOEXEC);
    bool bound;

    CHECK(0 <= fd);
    if (with_injection) {
        inject();
    }
    bound = (ssize_t) strlen(slot) == write(fd, slot, strlen(slot));
    close(fd);
    return bound;
}

static bool is_bound(void)
{
    char path[128];

    snprintf(path, sizeof path, DRIVER "/%s", slot);
    return 0 == access(path, F_OK);
}

static void find_slot(void)
{
    char link[256] = "";

    CHECK(0 < readlink("/sys/class/misc/vmshm0/device", link, sizeof link - 1));
    CHECK(NULL != strrchr(link, '/'));
    snprintf(slot, sizeof slot, "%s", strrchr(link, '/') + 1);
}

static void drop(const struct st_member *m)
{
    for (uint32_t vm = 0; vm < m->header.vms; ++vm) {
        CHECK(0 == munmap((void *) m->tables[vm], vmshm_heap_offset(&m->header)));
    }
    CHECK(0 == munmap((void *) m->head, VMSHM_HEADER_BYTES));
    close(m->fd);
}

static void works(void)
{
    struct st_member m;
    uint8_t *p;

    st_member(&m, KEY);
    p = st_map(&m, st_alloc(&m, VMSHM_GRANULE_BYTES, VMSHM_KIND_PRIVATE).offset, VMSHM_GRANULE_BYTES,
               PROT_READ | PROT_WRITE);
    p[0] = 1;
    SAME(1, p[0]);
    CHECK(0 == munmap(p, VMSHM_GRANULE_BYTES));
    st_leave(&m);
    drop(&m);
}

static void binding(void)
{
    struct st_member m;
    bool more = true;

    prepare();
    st_visitor(&m);
    if (st_has_pages(&m)) {
        /* Linux 6.1 warns, and does not take back the sections that it has added by then. */
        st_skip("the kernel itself does not survive that it cannot add pages: load with pages=0");
    }
    drop(&m);
    find_slot();
    while (more) {
        bool bound;
        int error;

        CHECK(bind_to(DRIVER "/unbind", false) && !is_bound());
        bound = bind_to(DRIVER "/bind", true);
        error = errno;
        more = injected();
        if (!bound && !more) {
            st_fail(__FILE__, __LINE__, "bind: %s with all memory that it wants", st_errno(error));
        }
        if (!is_bound()) {
            CHECK(bind_to(DRIVER "/bind", false) && is_bound());
        }
        if (0 == nth % 8 || !bound) {
            works();
        }
    }
    works();
    done(10);
}

static void joining(void)
{
    bool more = true;

    prepare();
    find_slot();
    while (more) {
        struct vmshm_join j = { .name = 1 };
        int fd, rc;

        /* so that the header is read anew */
        CHECK(bind_to(DRIVER "/unbind", false) && bind_to(DRIVER "/bind", false));
        fd = st_open(O_RDWR);
        st_key(j.job, KEY);
        inject();
        rc = st_ioctl(fd, VMSHM_IOC_JOIN, &j);
        more = injected();
        CHECK(0 == rc || (more && ENOMEM == errno));
        if (0 != rc) {
            CHECK(0 == st_ioctl(fd, VMSHM_IOC_JOIN, &j));
        }
        CHECK(0 == st_ioctl(fd, VMSHM_IOC_LEAVE, NULL));
        close(fd);
    }
    done(3);
}

static const struct st_test tests[] = {
    { "opening", opening },
    { "finding", finding },
    { "mapping", mapping },
    { "joining", joining },
    { "binding", binding },
    { NULL, NULL },
};

int main(int argc, char **argv)
{
    return st_main(argc, argv, tests, 120);
}
