/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Preloaded: the user has another number, as far as libmca_common_vmshm.so is told. Everybody else, Open
 * MPI's launcher among them, gets the right one.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

uid_t getuid(void)
{
    const uid_t uid = (uid_t) syscall(SYS_getuid);
    Dl_info info;

    return 0 != dladdr(__builtin_return_address(0), &info) && NULL != info.dli_fname
           && NULL != strstr(info.dli_fname, "libmca_common_vmshm") ? uid + 1 : uid;
}
