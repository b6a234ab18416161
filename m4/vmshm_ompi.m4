dnl SPDX-License-Identifier: BSD-3-Clause
# Open MPI: where it is, whether its MCA headers are there, and whether headers and library are of
# one version and one configuration. The run-time loader checks none of that for a BTL: a component
# built with other headers than the library's would call through a table of another shape.

# VMSHM_FIND_OMPI
# Sets OMPI_FOUND_BY, OMPI_INCDIRS, OMPI_LIBDIRS, MPI_CFLAGS, MPI_LIBS, OMPI_INFO, MPIRUN.
AC_DEFUN([VMSHM_FIND_OMPI], [
    AC_ARG_WITH([ompi],
        [AS_HELP_STRING([--with-ompi=PREFIX],
            [the Open MPI to build for @<:@that of mpicc.openmpi or mpicc, else of pkg-config@:>@])],
        [], [with_ompi=auto])
    AC_ARG_WITH([ompi-includedir],
        [AS_HELP_STRING([--with-ompi-includedir=DIR],
            [directory with mpi.h and openmpi/opal/, if it is not where the Open MPI found has it])],
        [], [with_ompi_includedir=auto])

    AC_MSG_CHECKING([for Open MPI])
    vmshm_wrapper=
    AS_CASE([$with_ompi],
        [yes|auto], [
            for vmshm_w in mpicc.openmpi mpicc; do
                vmshm_w=`command -v $vmshm_w` || continue
                # MPICH's mpicc does not know the option.
                AS_CASE([`"$vmshm_w" --showme:version 2>/dev/null`],
                    [*"Open MPI"*], [vmshm_wrapper=$vmshm_w; break])
            done],
        [no], [AC_MSG_ERROR([vmshm is a part of Open MPI and cannot be built without it. Drop --without-ompi.])],
        [
            for vmshm_w in mpicc mpicc.openmpi; do
                AS_IF([test -x "$with_ompi/bin/$vmshm_w"], [vmshm_wrapper=$with_ompi/bin/$vmshm_w; break])
            done
            AS_IF([test -z "$vmshm_wrapper"], [AC_MSG_ERROR([--with-ompi=$with_ompi: $with_ompi/bin/mpicc does not exist.
    Give the prefix that Open MPI was installed with, so that PREFIX/bin/mpicc exists.])])
            AS_CASE([`"$vmshm_wrapper" --showme:version 2>/dev/null`],
                [*"Open MPI"*], [],
                [AC_MSG_ERROR([--with-ompi=$with_ompi: $vmshm_wrapper is not Open MPI's: "$vmshm_wrapper --showme:version" fails.
    Give the prefix of an Open MPI.])])])

    AS_IF([test -n "$vmshm_wrapper"], [
        OMPI_FOUND_BY=$vmshm_wrapper
        OMPI_INCDIRS=`"$vmshm_wrapper" --showme:incdirs`
        OMPI_LIBDIRS=`"$vmshm_wrapper" --showme:libdirs`
        vmshm_compile=`"$vmshm_wrapper" --showme:compile`
        MPI_LIBS=`"$vmshm_wrapper" --showme:link`
        vmshm_bindir=`AS_DIRNAME(["$vmshm_wrapper"])`
    ], [test -n "$PKG_CONFIG" && "$PKG_CONFIG" --exists ompi-c], [
        OMPI_FOUND_BY="pkg-config ompi-c"
        OMPI_INCDIRS=`$PKG_CONFIG --cflags-only-I --keep-system-cflags ompi-c | sed 's/-I *//g'`
        OMPI_LIBDIRS=`$PKG_CONFIG --variable=libdir ompi-c`
        vmshm_compile=`$PKG_CONFIG --cflags ompi-c`
        MPI_LIBS=`$PKG_CONFIG --libs ompi-c`
        vmshm_bindir=`$PKG_CONFIG --variable=prefix ompi-c`/bin
    ], [AC_MSG_ERROR([Open MPI was not found: neither mpicc.openmpi nor an mpicc of Open MPI is in PATH, and pkg-config does not know ompi-c.
    On Debian run: sudo tools/install-deps build
    If it is elsewhere, give its prefix: --with-ompi=PREFIX.])])
    AC_MSG_RESULT([$OMPI_FOUND_BY])

    AS_IF([test "$with_ompi_includedir" != auto], [OMPI_INCDIRS=$with_ompi_includedir])

    # -I flags are left out here: the headers come in by -isystem, see below.
    MPI_CFLAGS=
    for vmshm_f in $vmshm_compile; do
        AS_CASE([$vmshm_f], [-I*], [], [MPI_CFLAGS="$MPI_CFLAGS $vmshm_f"])
    done

    OMPI_INFO=
    MPIRUN=
    for vmshm_s in "" .openmpi; do
        AS_IF([test -z "$OMPI_INFO" && test -x "$vmshm_bindir/ompi_info$vmshm_s"],
            [OMPI_INFO=$vmshm_bindir/ompi_info$vmshm_s])
    done
    for vmshm_s in .openmpi ""; do
        AS_IF([test -z "$MPIRUN" && test -x "$vmshm_bindir/mpirun$vmshm_s"],
            [MPIRUN=$vmshm_bindir/mpirun$vmshm_s])
    done
    AS_IF([test -z "$OMPI_INFO"], [AC_MSG_ERROR([$vmshm_bindir/ompi_info does not exist, so the configuration of the Open MPI found through $OMPI_FOUND_BY is unknown.
    On Debian run: sudo tools/install-deps build
    Else install all of Open MPI, or give the prefix of a whole one: --with-ompi=PREFIX.])])
    vmshm_dir=`$OMPI_INFO --parsable --path sysconfdir 2>/dev/null | sed -n 's/^path:sysconfdir://p'`
    AC_DEFINE_UNQUOTED([VMSHM_OMPI_SYSCONFDIR], ["${vmshm_dir:-/etc/openmpi}"],
        [Where openmpi-mca-params.conf lies])
    AC_SUBST([OMPI_INFO])
    AC_SUBST([MPIRUN])
    AC_SUBST([MPI_CFLAGS])
    AC_SUBST([MPI_LIBS])
])

# vmshm_header_value(VARIABLE, FILE, MACRO): the number that "#define MACRO" has in FILE
m4_define([vmshm_header_value],
    [$1=`sed -n 's/^@%:@define  *$3  *\(@<:@0-9@:>@@<:@0-9@:>@*\).*/\1/p' "$2" | sed 1q`])

# VMSHM_CHECK_OMPI_HEADERS
# Sets OMPI_INCDIR, OMPI_MCA_INCDIR, OMPI_VERSION, BTL_MAJOR, BTL_MINOR, OMPI_CPPFLAGS.
AC_DEFUN([VMSHM_CHECK_OMPI_HEADERS], [
    OMPI_INCDIR=
    for vmshm_dir in $OMPI_INCDIRS; do
        AS_IF([test -z "$OMPI_INCDIR" && test -f "$vmshm_dir/mpi.h"], [OMPI_INCDIR=$vmshm_dir])
    done
    AS_IF([test -z "$OMPI_INCDIR"], [AC_MSG_ERROR([mpi.h was not found in: $OMPI_INCDIRS (from $OMPI_FOUND_BY).
    On Debian run: sudo tools/install-deps build
    Else install Open MPI's development files, or name their directory: --with-ompi-includedir=DIR.])])

    AC_MSG_CHECKING([for Open MPI's MCA headers])
    OMPI_MCA_INCDIR=
    vmshm_dirs="$OMPI_INCDIR/openmpi $OMPI_INCDIR"
    for vmshm_dir in $vmshm_dirs; do
        AS_IF([test -z "$OMPI_MCA_INCDIR" && test -f "$vmshm_dir/opal/mca/btl/btl.h"],
            [OMPI_MCA_INCDIR=$vmshm_dir])
    done
    vmshm_remedy="On Debian run: sudo tools/install-deps build (libopenmpi-dev has them).
    An Open MPI built from source installs them if it was configured with --with-devel-headers.
    If they are elsewhere: --with-ompi-includedir=DIR, where DIR/openmpi/opal/mca/btl/btl.h exists."
    AS_IF([test -z "$OMPI_MCA_INCDIR"], [
        AC_MSG_RESULT([no])
        AC_MSG_ERROR([$OMPI_INCDIR/openmpi/opal/mca/btl/btl.h does not exist: Open MPI's MCA headers are missing, and a component cannot be built without them.
    $vmshm_remedy])])
    AS_IF([test ! -f "$OMPI_MCA_INCDIR/opal_config.h"], [
        AC_MSG_RESULT([incomplete])
        AC_MSG_ERROR([$OMPI_MCA_INCDIR/opal_config.h does not exist, although opal/mca/btl/btl.h does: these are the headers of a source tree or of a broken installation, and they do not tell how Open MPI was configured.
    $vmshm_remedy])])
    AC_MSG_RESULT([$OMPI_MCA_INCDIR])

    AC_MSG_CHECKING([for the version of the headers])
    vmshm_header_value([vmshm_mpi_major], [$OMPI_INCDIR/mpi.h], [OMPI_MAJOR_VERSION])
    vmshm_header_value([vmshm_mpi_minor], [$OMPI_INCDIR/mpi.h], [OMPI_MINOR_VERSION])
    vmshm_header_value([vmshm_mpi_release], [$OMPI_INCDIR/mpi.h], [OMPI_RELEASE_VERSION])
    vmshm_header_value([vmshm_opal_major], [$OMPI_MCA_INCDIR/opal_config.h], [OPAL_MAJOR_VERSION])
    vmshm_header_value([vmshm_opal_minor], [$OMPI_MCA_INCDIR/opal_config.h], [OPAL_MINOR_VERSION])
    vmshm_header_value([vmshm_opal_release], [$OMPI_MCA_INCDIR/opal_config.h], [OPAL_RELEASE_VERSION])
    OMPI_VERSION=$vmshm_mpi_major.$vmshm_mpi_minor.$vmshm_mpi_release
    vmshm_opal_version=$vmshm_opal_major.$vmshm_opal_minor.$vmshm_opal_release
    AC_MSG_RESULT([$OMPI_VERSION])
    AS_IF([test "$OMPI_VERSION" = ..], [AC_MSG_ERROR([$OMPI_INCDIR/mpi.h does not define OMPI_MAJOR_VERSION: it is not Open MPI's.
    Give the prefix of an Open MPI: --with-ompi=PREFIX.])])
    AS_IF([test "$OMPI_VERSION" != "$vmshm_opal_version"], [AC_MSG_ERROR([the headers are of two versions of Open MPI: $OMPI_INCDIR/mpi.h says $OMPI_VERSION, $OMPI_MCA_INCDIR/opal_config.h says $vmshm_opal_version.
    Remove the one that does not belong to the installed Open MPI, or name a directory where both are of one version: --with-ompi-includedir=DIR.])])
    AS_CASE([$OMPI_VERSION], [4.1.*], [],
        [AC_MSG_ERROR([$OMPI_INCDIR/mpi.h is of Open MPI $OMPI_VERSION: 4.1 is supported; 5.0 is planned.
    Give the prefix of an Open MPI 4.1: --with-ompi=PREFIX.])])

    AC_MSG_CHECKING([for the version of the BTL interface])
    vmshm_btl_h=$OMPI_MCA_INCDIR/opal/mca/btl/btl.h
    set dummy `sed -n ['s/.*_VERSION_[0-9_]*("btl", *\([0-9]*\), *\([0-9]*\), *[0-9]*).*/\1 \2/p'] "$vmshm_btl_h"`
    BTL_MAJOR=${2-none}
    BTL_MINOR=${3-none}
    AC_MSG_RESULT([$BTL_MAJOR.$BTL_MINOR])
    AS_IF([test "$BTL_MAJOR.$BTL_MINOR" != 3.1], [AC_MSG_ERROR([$vmshm_btl_h declares BTL interface $BTL_MAJOR.$BTL_MINOR; Open MPI 4.1 has 3.1.
    The file is not that of Open MPI $OMPI_VERSION: reinstall Open MPI's development files (Debian: libopenmpi-dev).])])

    vmshm_header_value([vmshm_cuda], [$OMPI_MCA_INCDIR/opal_config.h], [OPAL_CUDA_SUPPORT])
    vmshm_header_value([vmshm_debug], [$OMPI_MCA_INCDIR/opal_config.h], [OPAL_ENABLE_DEBUG])

    # -isystem: warnings in Open MPI's headers are not ours to mend. Never for /usr/include,
    # which is searched anyway, and which -isystem would put in front of the compiler's own.
    OMPI_CPPFLAGS=
    for vmshm_dir in "$OMPI_INCDIR" "$OMPI_MCA_INCDIR"; do
        AS_CASE([" $OMPI_CPPFLAGS /usr/include "], [*" $vmshm_dir "*], [],
            [OMPI_CPPFLAGS="$OMPI_CPPFLAGS -isystem $vmshm_dir"])
    done
    AC_SUBST([OMPI_CPPFLAGS])
    AC_SUBST([OMPI_VERSION])
    AC_DEFINE_UNQUOTED([VMSHM_OMPI_VERSION], ["$OMPI_VERSION"], [The Open MPI this was built for])
    AC_DEFINE_UNQUOTED([VMSHM_BTL_MAJOR], [$BTL_MAJOR], [BTL interface, major version])
    AC_DEFINE_UNQUOTED([VMSHM_BTL_MINOR], [$BTL_MINOR], [BTL interface, minor version])
])

# VMSHM_CHECK_OMPI_LIBRARY: the installed library against the headers. Sets OPAL_LIBS, OMPI_DEBUG, OMPI_CUDA.
AC_DEFUN([VMSHM_CHECK_OMPI_LIBRARY], [
    OPAL_LIBS=
    vmshm_libpath=
    for vmshm_dir in $OMPI_LIBDIRS; do
        OPAL_LIBS="$OPAL_LIBS -L$vmshm_dir"
        vmshm_libpath=$vmshm_libpath${vmshm_libpath:+:}$vmshm_dir
    done
    OPAL_LIBS="$OPAL_LIBS -lopen-pal"
    AC_SUBST([OPAL_LIBS])

    vmshm_save_CPPFLAGS=$CPPFLAGS
    vmshm_save_LIBS=$LIBS
    CPPFLAGS="$CPPFLAGS $OMPI_CPPFLAGS $MPI_CFLAGS"

    AC_MSG_CHECKING([whether a component compiles and links])
    LIBS="$LIBS $OPAL_LIBS"
    AC_LINK_IFELSE([AC_LANG_PROGRAM([[
#include "opal_config.h"
#include "opal/mca/btl/btl.h"
#include "opal/runtime/opal_progress.h"
static mca_btl_base_component_t component = { .btl_version = { MCA_BTL_DEFAULT_VERSION("probe") } };
]], [[opal_progress(); return NULL == component.btl_init;]])],
        [AC_MSG_RESULT([yes])],
        [AC_MSG_RESULT([no])
         AC_MSG_ERROR([a program with opal/mca/btl/btl.h of $OMPI_MCA_INCDIR and -lopen-pal of $OMPI_LIBDIRS does not compile or link; config.log has the compiler's words.
    Reinstall Open MPI's development files (Debian: libopenmpi-dev), or give the prefix of a whole Open MPI: --with-ompi=PREFIX.])])

    AC_MSG_CHECKING([for the version of the library])
    LIBS="$vmshm_save_LIBS $MPI_LIBS"
    vmshm_save_path=${LD_LIBRARY_PATH-}
    LD_LIBRARY_PATH=$vmshm_libpath${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    export LD_LIBRARY_PATH
    rm -f conftest.version
    AC_RUN_IFELSE([AC_LANG_PROGRAM([[
#include <stdio.h>
#include "mpi.h"
]], [[
    char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int length;
    FILE *out = fopen("conftest.version", "w");
    if (NULL == out || MPI_SUCCESS != MPI_Get_library_version(text, &length)) {
        return 1;
    }
    fprintf(out, "%s\n", text);
    return fclose(out);
]])],
        [vmshm_lib_version=[`sed -n 's/^Open MPI v\([0-9]*\.[0-9]*\.[0-9]*\).*/\1/p' conftest.version`]],
        [vmshm_lib_version=none],
        [vmshm_lib_version="not checked (cross compilation)"])
    rm -f conftest.version
    AS_IF([test -n "$vmshm_save_path"], [LD_LIBRARY_PATH=$vmshm_save_path],
        [AS_UNSET([LD_LIBRARY_PATH])])
    LIBS=$vmshm_save_LIBS
    CPPFLAGS=$vmshm_save_CPPFLAGS
    AC_MSG_RESULT([$vmshm_lib_version])
    AS_CASE([$vmshm_lib_version],
        ["$OMPI_VERSION"|"not checked"*], [],
        [none|""], [AC_MSG_ERROR([a program that asks the MPI library of $OMPI_LIBDIRS for its version does not build or run; config.log says why.
    Reinstall Open MPI (Debian: openmpi-bin libopenmpi-dev), or give the prefix of a whole one: --with-ompi=PREFIX.])],
        [AC_MSG_ERROR([headers and library are of different versions: $OMPI_INCDIR/mpi.h says $OMPI_VERSION, the library in $OMPI_LIBDIRS says $vmshm_lib_version. A component built so would crash.
    Install the development files of Open MPI $vmshm_lib_version, or give the prefix of an Open MPI with both: --with-ompi=PREFIX.])])

    # The programs (mpirun) can be of yet another installation than the library.
    vmshm_info_version=[`"$OMPI_INFO" --version 2>/dev/null | sed -n 's/^Open MPI v\([0-9]*\.[0-9]*\.[0-9]*\).*/\1/p'`]
    AS_IF([test "$vmshm_info_version" != "$OMPI_VERSION"], [AC_MSG_ERROR([headers and programs are of different versions: $OMPI_INCDIR/mpi.h says $OMPI_VERSION, $OMPI_INFO says ${vmshm_info_version:-nothing}.
    Give the prefix of one whole Open MPI: --with-ompi=PREFIX.])])

    AC_MSG_CHECKING([whether headers and library were configured alike])
    # Both options change the shape of structures that a component shares with the library.
    "$OMPI_INFO" --parsable --all 2>/dev/null >conftest.info
    OMPI_DEBUG=`sed -n 's/^option:debug://p' conftest.info`
    OMPI_CUDA=`sed -n 's/.*:opal_built_with_cuda_support:value://p' conftest.info`
    rm -f conftest.info
    AS_CASE([$OMPI_CUDA], [true], [OMPI_CUDA=yes], [false], [OMPI_CUDA=no])
    AS_CASE([$vmshm_debug], [0], [vmshm_debug=no], [1], [vmshm_debug=yes])
    AS_CASE([$vmshm_cuda], [0], [vmshm_cuda=no], [1], [vmshm_cuda=yes])
    AS_IF([test "$OMPI_DEBUG/$OMPI_CUDA" != "$vmshm_debug/$vmshm_cuda"], [
        AC_MSG_RESULT([no])
        AC_MSG_ERROR([headers and library are of one version but of different builds: $OMPI_MCA_INCDIR/opal_config.h has debug $vmshm_debug, CUDA $vmshm_cuda; $OMPI_INFO says debug ${OMPI_DEBUG:-?}, CUDA ${OMPI_CUDA:-?}. A component built so would crash.
    Use the headers that were installed together with this Open MPI.])])
    AC_MSG_RESULT([yes (debug: $OMPI_DEBUG, CUDA: $OMPI_CUDA)])
    AS_IF([test "$OMPI_CUDA" = yes],
        [AC_DEFINE([VMSHM_OMPI_CUDA], [1], [Define to 1 if Open MPI was built with CUDA support])])
    AS_IF([test "$OMPI_DEBUG" = yes],
        [AC_DEFINE([VMSHM_OMPI_DEBUG], [1], [Define to 1 if Open MPI was built with --enable-debug])])
])
