/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Exchanges numbers with its like in another VM through /dev/vmshm0, lets go of the segment when the host
 * asks for it, and takes it up again when there is memory: what a guest does that is migrated. It is
 * the only program of a small guest, static, and its output is the console.
 *
 *     mover [--stubborn]          --stubborn: it does not leave
 * prints "joined EPOCH", "heard N" for each number of the other VM that it sees for the first time,
 * "asked to leave", "left", and "there is memory again"; and "FAILED" when the pattern that stands behind
 * each number is not what it was.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "vmshm_atomic.h"
#include "vmshm_layout.h"
#include "vmshm_uapi.h"

#define BYTES VMSHM_GRANULE_BYTES

static const uint8_t job[16] = "mover";
static int fd;
static struct vmshm_header header;
static struct vmshm_section_entry sections[VMSHM_MAX_VMS];
static uint8_t *tables[VMSHM_MAX_VMS];
static uint32_t own_vm;
static uint64_t *own;               /* the number we show */
static const uint64_t *other;       /* the other VM's */
static struct vmshm_release found;

/* Behind the number: what must be there whatever happened to the device meanwhile. */
static uint64_t pattern(uint32_t vm, size_t i)
{
    return (vm + 1) * UINT64_C(0x9e3779b97f4a7c15) + i;
}

static void check_pattern(const uint64_t *at, uint32_t vm)
{
    for (size_t i = 1; i < BYTES / sizeof *at; ++i) {
        if (pattern(vm, i) != at[i]) {
            printf("FAILED: word %zu of VM %u is %#" PRIx64 "\n", i, vm, at[i]);
            return;
        }
    }
}

static void die(const char *what)
{
    printf("FAILED: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *map(uint64_t offset, uint64_t bytes, int prot)
{
    void *at = mmap(NULL, bytes, prot, MAP_SHARED, fd, (off_t) offset);

    if (MAP_FAILED == at) {
        die("mmap");
    }
    return at;
}

/* False: there is no memory (any more). */
static bool join(void)
{
    struct vmshm_join j = { .name = 1 };
    struct vmshm_alloc a = { .bytes = BYTES, .kind = VMSHM_KIND_PRIVATE };
    struct vmshm_publish p = { 0 };
    uint8_t *head;

    memcpy(j.job, job, sizeof j.job);
    if (0 != ioctl(fd, VMSHM_IOC_JOIN, &j)) {
        if (ENODEV != errno) {
            die("join");
        }
        return false;
    }
    own_vm = j.vm;
    head = map(0, VMSHM_CHECKED_BYTES, PROT_READ);
    memcpy(&header, head, sizeof header);
    memcpy(sections, head + VMSHM_TABLE_OFFSET, sizeof sections);
    munmap(head, VMSHM_CHECKED_BYTES);
    for (uint32_t vm = 0; vm < header.vms; ++vm) {
        tables[vm] = map(sections[vm].offset, vmshm_heap_offset(&header), PROT_READ);
    }
    if (0 != ioctl(fd, VMSHM_IOC_ALLOC, &a)) {
        die("alloc");
    }
    own = map(a.offset, BYTES, PROT_READ | PROT_WRITE);
    if (0 != *own) {
        die("a new window is not zero");
    }
    for (size_t i = 1; i < BYTES / sizeof *own; ++i) {
        own[i] = pattern(own_vm, i);
    }
    p.index = a.index;
    if (0 != ioctl(fd, VMSHM_IOC_PUBLISH, &p)) {
        die("publish");
    }
    printf("joined %016" PRIx64 "\n", (uint64_t) j.epoch);
    return true;
}

static void forget_other(void)
{
    if (NULL != other) {
        munmap((void *) (uintptr_t) other, BYTES);
        (void) ioctl(fd, VMSHM_IOC_RELEASE, &found);
        other = NULL;
    }
}

static void let_go(void)
{
    forget_other();
    munmap(own, BYTES);
    own = NULL;
    for (uint32_t vm = 0; vm < header.vms; ++vm) {
        munmap(tables[vm], vmshm_heap_offset(&header));
    }
    (void) ioctl(fd, VMSHM_IOC_LEAVE);
}

/* A process of our job in the other VM that has published a window. */
static void look_for_other(void)
{
    const uint32_t vm = 1 - own_vm;

    for (uint32_t slot = 0; slot < header.procs && NULL == other; ++slot) {
        const struct vmshm_proc *proc = (const struct vmshm_proc *)
            (tables[vm] + vmshm_procs_offset()) + slot;
        struct vmshm_find f = { .vm = vm, .slot = slot, .index = proc->window };

        memcpy(f.job, job, sizeof f.job);
        if (VMSHM_PROC_LIVE == vmshm_load_acquire(&proc->state)
            && 0 == memcmp(proc->job, job, sizeof job) && 0 == ioctl(fd, VMSHM_IOC_FIND, &f)) {
            found = (struct vmshm_release) { .vm = vm, .index = f.index };
            other = map(f.window_offset, BYTES, PROT_READ);
        }
    }
}

static bool other_lives(void)
{
    const uint32_t vm = 1 - own_vm;
    const struct vmshm_window *w = (const struct vmshm_window *)
        (tables[vm] + vmshm_windows_offset(&header)) + found.index;

    return VMSHM_WINDOW_LIVE == vmshm_load_acquire(&w->state);
}

static void exchange(void)
{
    static uint64_t heard;

    check_pattern(own, own_vm);
    vmshm_store_release(own, *own + 1);
    if (NULL != other && !other_lives()) {
        printf("the other one left\n");
        forget_other();
    }
    if (NULL == other) {
        look_for_other();
    }
    if (NULL != other) {
        check_pattern(other, 1 - own_vm);
    }
    if (NULL != other && heard != vmshm_load_acquire(other)) {
        heard = vmshm_load_acquire(other);
        printf("heard %" PRIu64 "\n", heard);
    }
}

static void taken(int signal)
{
    static const char text[] = "the mapping was taken\n";

    (void) signal;
    (void) !write(STDOUT_FILENO, text, sizeof text - 1);
    for (;;) {
        pause();
    }
}

int main(int argc, char **argv)
{
    const bool stubborn = argc > 1 && 0 == strcmp(argv[1], "--stubborn");
    bool joined = false;

    signal(SIGBUS, taken);
    setvbuf(stdout, NULL, _IOLBF, 0);
    fd = open("/dev/vmshm0", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        die("open");
    }
    for (;;) {
        struct vmshm_wait w = { .timeout_ns = joined ? 300000000 : 2000000000 };

        if (!joined) {
            joined = join();
        }
        if (joined) {
            exchange();
        }
        if (0 != ioctl(fd, VMSHM_IOC_WAIT, &w)) {
            continue;
        }
        if (0 != (w.events & VMSHM_EVENT_DETACH) && joined && !stubborn) {
            printf("asked to leave\n");
            let_go();
            joined = false;
            printf("left\n");
        }
        if (0 != (w.events & VMSHM_EVENT_ATTACH)) {
            printf("there is memory again\n");
            if (joined) {
                /* It came and went between two looks: what we had is taken. */
                let_go();
                joined = false;
            }
        }
    }
}
