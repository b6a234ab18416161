/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lets User-Mode Linux 6.1 run on processors with AMX: preloaded into it.
 *
 * UML keeps a process's vector registers while another one runs. Its buffer ends before the registers
 * of AMX, and ptrace takes the whole state of the processor or none ("ptrace set fp regs failed, errno =
 * 14"). What is missing at the end is added here, as registers nobody touched: no process of the guest
 * has leave to use them.
 */
#include <cpuid.h>
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

#define FEATURES_AT 512     /* XSTATE_BV: Intel SDM volume 1, 13.4.2 */

typedef long (*ptrace_function)(enum __ptrace_request request, pid_t pid, void *address, void *data);

/* Not on the stack, which is a UML kernel's and small. One thread: UML is not preemptible. */
static uint8_t whole[32768];

/* The components of the state that lie within the first `bytes` of it. */
static uint64_t components_within(size_t bytes)
{
    uint64_t mask = 3;      /* x87 and SSE: the legacy area */

    for (unsigned int i = 2; i < 63; ++i) {
        unsigned int size, offset, c, d;

        if (__get_cpuid_count(0xd, i, &size, &offset, &c, &d) && 0 != size
            && (size_t) offset + size <= bytes) {
            mask |= UINT64_C(1) << i;
        }
    }
    return mask;
}

static long set_xstate(ptrace_function real, pid_t pid, const struct iovec *given)
{
    static size_t size;
    static uint64_t kept;
    struct iovec v = { .iov_base = whole, .iov_len = sizeof whole };
    uint64_t features;

    if (0 == size) {
        if (0 != real(PTRACE_GETREGSET, pid, (void *) NT_X86_XSTATE, &v)) {
            return -1;
        }
        size = v.iov_len;
        kept = components_within(given->iov_len);
    }
    if (given->iov_len >= size) {
        v = *given;
        return real(PTRACE_SETREGSET, pid, (void *) NT_X86_XSTATE, &v);
    }
    memcpy(whole, given->iov_base, given->iov_len);
    memset(whole + given->iov_len, 0, size - given->iov_len);
    memcpy(&features, whole + FEATURES_AT, sizeof features);
    features &= kept;
    memcpy(whole + FEATURES_AT, &features, sizeof features);
    v.iov_len = size;
    return real(PTRACE_SETREGSET, pid, (void *) NT_X86_XSTATE, &v);
}

long ptrace(enum __ptrace_request request, ...)
{
    static ptrace_function real;
    va_list args;
    pid_t pid;
    void *address, *data;

    va_start(args, request);
    pid = va_arg(args, pid_t);
    address = va_arg(args, void *);
    data = va_arg(args, void *);
    va_end(args);
    if (NULL == real) {
        real = (ptrace_function) dlsym(RTLD_NEXT, "ptrace");
    }
    if (PTRACE_SETREGSET == request && NT_X86_XSTATE == (uintptr_t) address) {
        return set_xstate(real, pid, data);
    }
    return real(request, pid, address, data);
}
