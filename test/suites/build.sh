#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Builds and installs into build/inst, quickly when that is up to date, and looks whether Open MPI
# loads what was installed. Prepares what all other suites use.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
build=$top/build
prefix=$build/inst
# shellcheck source=test/suites/count.sh
. "$top/test/suites/count.sh"

options=(--enable-werror --enable-sanitizers "--prefix=$prefix")

configured_so() {
    local option
    [[ -x $build/config.status && -f $build/Makefile ]] || return 1
    for option in "${options[@]}"; do
        [[ " $("$build/config.status" --config) " == *"$option"* ]] || return 1
    done
}

step() {
    local name=$1
    shift
    try "$name" "$@"
    if ((failed > 0)); then
        closing_line
        exit 1
    fi
}

# What goes wrong when it is loaded stands before the parameters.
component_loads() {
    OMPI_MCA_mca_base_component_path=$prefix/lib/openmpi:SYSTEM_DEFAULT:USER_DEFAULT \
        ompi_info --parsable --param btl vmshm --level 9 >"$build/ompi_info.log" 2>&1
    head -n 15 "$build/ompi_info.log"
    grep -q '^mca:btl:vmshm:version' "$build/ompi_info.log"
}

tool_runs() {
    "$prefix/bin/vmshmctl" --help
}

if [[ ! -x $top/configure ]]; then
    step "autogen.sh" "$top/autogen.sh"
fi
mkdir -p "$build"
cd "$build"
if ! configured_so; then
    step "configure" "$top/configure" "${options[@]}"
fi
# Make runs autoconf, automake and configure again when their input changed.
step "make without a warning" make -j2
step "make install" make install
step "test programs" make -j2 test-programs
step "mca_btl_vmshm loads" component_loads
step "vmshmctl runs" tool_runs
closing_line
