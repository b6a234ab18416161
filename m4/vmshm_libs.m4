dnl SPDX-License-Identifier: BSD-3-Clause
# Libraries and toolkits beside Open MPI.

# VMSHM_OPTIONAL_LIB(NAME, pkg-config module, Debian package)
# Sets have_NAME (yes or no), found_NAME (for the summary), NAME_CFLAGS, NAME_LIBS and HAVE_NAME.
AC_DEFUN([VMSHM_OPTIONAL_LIB], [
    PKG_CHECK_MODULES([$1], [$2],
        [have_$1=yes
         found_$1=`$PKG_CONFIG --modversion $2`
         AC_DEFINE([HAVE_$1], [1], [Define to 1 if $2 was found])],
        [have_$1=no
         found_$1="not found (Debian: $3)"])
])

# VMSHM_DEFINE_DIR(NAME, directory, comment): the directory with its ${prefix} and so on expanded.
AC_DEFUN([VMSHM_DEFINE_DIR], [
    vmshm_save_prefix=$prefix
    vmshm_save_exec_prefix=$exec_prefix
    test "$prefix" = NONE && prefix=$ac_default_prefix
    test "$exec_prefix" = NONE && exec_prefix=$prefix
    vmshm_dir=$2
    while :; do
        eval vmshm_next=\"$vmshm_dir\"
        test "$vmshm_next" = "$vmshm_dir" && break
        vmshm_dir=$vmshm_next
    done
    prefix=$vmshm_save_prefix
    exec_prefix=$vmshm_save_exec_prefix
    AC_DEFINE_UNQUOTED([$1], ["$vmshm_dir"], [$3])
])

# VMSHM_FIND_CUDA: reported only; nothing is built with it yet.
AC_DEFUN([VMSHM_FIND_CUDA], [
    AC_ARG_WITH([cuda],
        [AS_HELP_STRING([--with-cuda=DIR], [the CUDA toolkit @<:@/usr/local/cuda@:>@])],
        [], [with_cuda=auto])
    AC_MSG_CHECKING([for the CUDA toolkit])
    AS_CASE([$with_cuda],
        [no], [CUDA_DIR=], [yes|auto], [CUDA_DIR=/usr/local/cuda], [CUDA_DIR=$with_cuda])
    found_CUDA="not found"
    AS_IF([test -n "$CUDA_DIR" && test -f "$CUDA_DIR/include/cuda.h"],
        [vmshm_v=`sed -n 's/^#define  *CUDA_VERSION  *//p' "$CUDA_DIR/include/cuda.h"`
         found_CUDA="$((vmshm_v / 1000)).$((vmshm_v % 1000 / 10)) in $CUDA_DIR"],
        [test "$with_cuda" != auto && test "$with_cuda" != no],
        [AC_MSG_ERROR([--with-cuda: $CUDA_DIR/include/cuda.h does not exist.
    Give the toolkit's directory, or drop the switch.])])
    AC_MSG_RESULT([$found_CUDA])
])

# VMSHM_FIND_KERNEL: the headers a guest kernel module is built against. Reported only.
AC_DEFUN([VMSHM_FIND_KERNEL], [
    AC_ARG_WITH([kernel],
        [AS_HELP_STRING([--with-kernel=DIR],
            [kernel build directory @<:@that of the running kernel, else the newest installed@:>@])],
        [], [with_kernel=auto])
    AC_MSG_CHECKING([for kernel headers])
    found_KERNEL="not found (Debian: linux-headers-amd64)"
    AS_CASE([$with_kernel],
        [no], [vmshm_dirs=],
        [yes|auto], [vmshm_dirs="/lib/modules/`uname -r`/build `ls -d /lib/modules/*/build 2>/dev/null | sort -rV`"],
        [vmshm_dirs=$with_kernel])
    KERNEL_DIR=
    for vmshm_dir in $vmshm_dirs; do
        AS_IF([test -f "$vmshm_dir/Makefile"], [KERNEL_DIR=$vmshm_dir; break])
    done
    AS_IF([test -n "$KERNEL_DIR"], [found_KERNEL=$KERNEL_DIR],
        [AS_CASE([$with_kernel], [/*],
            [AC_MSG_ERROR([--with-kernel: $with_kernel/Makefile does not exist.
    Give a kernel's build directory (Debian: linux-headers-amd64), or drop the switch.])])])
    AC_MSG_RESULT([$found_KERNEL])
])
