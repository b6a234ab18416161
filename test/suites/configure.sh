#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# configure refuses an Open MPI that a component must not be built for, and says which file is at
# fault and what to do. Each case is a directory of links to the real headers with one flaw.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=test/suites/count.sh
. "$top/test/suites/count.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
real=
for dir in $(mpicc.openmpi --showme:incdirs); do
    if [[ -z $real && -f $dir/mpi.h ]]; then
        real=$dir
    fi
done

# flaw NAME FILE [SED-SCRIPT]: FILE of the headers of case NAME is absent, or edited
flaw() {
    local dir=$work/$1 file=$2 part
    if [[ ! -d $dir ]]; then
        mkdir -p "$dir/openmpi/opal/mca/btl"
        ln -s "$real"/*.h "$dir"
        for part in "$real"/openmpi/*; do
            [[ $part = */opal ]] || ln -s "$part" "$dir/openmpi"
        done
        for part in "$real"/openmpi/opal/*; do
            [[ $part = */mca ]] || ln -s "$part" "$dir/openmpi/opal"
        done
        for part in "$real"/openmpi/opal/mca/*; do
            [[ $part = */btl ]] || ln -s "$part" "$dir/openmpi/opal/mca"
        done
        ln -s "$real"/openmpi/opal/mca/btl/* "$dir/openmpi/opal/mca/btl"
    fi
    rm "$dir/$file"
    if (($# > 2)); then
        sed "$3" "$real/$file" >"$dir/$file"
        if cmp -s "$real/$file" "$dir/$file"; then
            echo "configure.sh: '$3' changes nothing in $real/$file" >&2
            return 1
        fi
    fi
}

# configure ARGUMENT...: the compiler's part is the same each time, so it is remembered
configure() {
    mkdir -p "$work/build"
    (cd "$work/build" && "$top/configure" -C "$@") >"$work/out" 2>"$work/err"
}

# refuses NAME TEXT... -- ARGUMENT...: each TEXT must be in the error
refuses() {
    local name=$1 text texts=() ok=yes
    shift
    while [[ $1 != -- ]]; do
        texts+=("$1")
        shift
    done
    shift
    if configure "$@"; then
        ok=no
        echo "configure did not fail" >>"$work/err"
    fi
    for text in "${texts[@]}"; do
        if ! grep -qF -e "$text" "$work/err"; then
            ok=no
            echo "not in the message: $text" >>"$work/err"
        fi
    done
    if [[ $ok = yes ]]; then
        pass "$name"
    else
        fail "$name" "$work/err"
    fi
}

refuses_flaw() {
    local name=$1
    shift
    refuses "$@" -- "--with-ompi-includedir=$work/$name"
}

version=$(sed -n 's/^#define OMPI_RELEASE_VERSION *//p' "$real/mpi.h")
other=$((version + 1))
mca=openmpi/opal_config.h
btl=openmpi/opal/mca/btl/btl.h

if configure; then
    pass "the installed Open MPI is accepted"
else
    fail "the installed Open MPI is accepted" "$work/err"
fi

flaw none mpi.h
refuses_flaw none "mpi.h is missing" "mpi.h was not found" "install-deps"

flaw mca "$btl"
refuses_flaw mca "MCA headers are missing" "$btl does not exist" "libopenmpi-dev" "--with-devel-headers"

flaw config "$mca"
refuses_flaw config "opal_config.h is missing" "opal_config.h does not exist"

flaw mixed "$mca" "s/^\(#define OPAL_RELEASE_VERSION\) .*/\1 $other/"
refuses_flaw mixed "headers of two versions" "mpi.h says" "opal_config.h says" ".$other"

flaw library mpi.h "s/^\(#define OMPI_RELEASE_VERSION\) .*/\1 $other/"
flaw library "$mca" "s/^\(#define OPAL_RELEASE_VERSION\) .*/\1 $other/"
refuses_flaw library "headers of another version than the library" "mpi.h says" "the library in" \
    ".$other" "--with-ompi="

flaw five mpi.h "s/^\(#define OMPI_MAJOR_VERSION\) .*/\1 5/"
flaw five "$mca" "s/^\(#define OPAL_MAJOR_VERSION\) .*/\1 5/"
refuses_flaw five "Open MPI 5" "4.1 is supported; 5.0 is planned"

flaw btl "$btl" 's/"btl", 3, 1, 0/"btl", 3, 3, 0/'
refuses_flaw btl "another BTL interface" "$btl declares BTL interface 3.3" "has 3.1"

flaw cuda "$mca" 's/^\(#define OPAL_CUDA_SUPPORT\) .*/\1 1/'
refuses_flaw cuda "headers of a CUDA build" "CUDA yes" "ompi_info says" "different builds"

flaw debug "$mca" 's/^\(#define OPAL_ENABLE_DEBUG\) .*/\1 1/'
refuses_flaw debug "headers of a debug build" "debug yes" "ompi_info says" "different builds"

flaw broken "$mca" '1i #error broken'
refuses_flaw broken "headers that do not compile" "does not compile or link" "config.log"

refuses "a prefix without Open MPI" "$work/nothing/bin/mpicc does not exist" "--with-ompi=$work/nothing" \
    -- "--with-ompi=$work/nothing"
refuses "a relative component directory" "is not an absolute path" -- --with-component-dir=here
closing_line
