#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Compares what the documents say with what the code says: parameters and their defaults, commands and
# options, help topics, the format's version, names of files. And no two files call each other in a circle, and
# what differs between Open MPI's versions stands in one place.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd -P)
# shellcheck source=test/suites/count.sh
. "$top/test/suites/count.sh"
build=${VMSHM_BUILD:-$top/build}
prefix=${VMSHM_PREFIX:-$build/inst}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# None of the machine's own values.
info() { # FRAMEWORK COMPONENT
    env -i PATH="$PATH" HOME="$work" OMPI_MCA_mca_base_param_files="$work/none" \
        OMPI_MCA_mca_base_component_path="$prefix/lib/openmpi:SYSTEM_DEFAULT" \
        ompi_info --parsable --param "$1" "$2" --level 9
}

info btl vmshm >"$work/vmshm"
info btl self >"$work/self"
"$build/vmshmctl" --help >"$work/help"
sed -n 's/^  \([a-z-]*\)  .*/\1/p' "$work/help" >"$work/commands"
while IFS= read -r name; do
    "$build/vmshmctl" "$name" --help >"$work/help-$name"
done <"$work/commands"

compare() { # WHAT NAME
    try "$2" python3 "$top/test/suites/docs.py" "$1" "$top" "$work"
}

# Objects of the shared libraries, not those of the unit tests, nor of a source that is gone.
no_circle() { # DIRECTORY
    local source objects=()
    for source in "$top/$1"/*.c; do
        mapfile -t -O ${#objects[@]} objects < <(find "$build/$1/.libs" ! -name '*unit*' \
            \( -name "$(basename "$source" .c).o" -o -name "*_la-$(basename "$source" .c).o" \))
    done
    ((${#objects[@]} > 10)) || { echo "only ${#objects[@]} objects are in $build/$1/.libs" >&2; return 1; }
    python3 "$top/test/suites/layers.py" "${objects[@]}"
}

try "the BTL's files call each other in no circle" no_circle opal/mca/btl/vmshm
try "the common library's files call each other in no circle" no_circle opal/mca/common/vmshm
try "only the compat files name what differs between Open MPI's versions" \
    python3 "$top/test/suites/docs.py" versions "$top" "$work"
# Tests, tools and other programs use it as it is: only common_vmshm.c, the glue, knows Open MPI.
plain_c() {
    local file count=0
    for file in "$build"/opal/mca/common/vmshm/.libs/vmshm_*.o; do
        count=$((count + 1))
        if nm -u "$file" | grep -E '\b_?(opal|ompi|orte|mca|pmix|PMIx|MPI)_'; then
            echo "$file needs Open MPI" >&2
            return 1
        fi
    done
    ((count > 10)) || { echo "only $count objects are in $build/opal/mca/common/vmshm/.libs" >&2; return 1; }
    ! grep -nE '#include "(opal|ompi|orte)' "$top"/opal/mca/common/vmshm/vmshm_*.[ch]
}

# What lies in a peer's memory is copied, and pointers into it are followed, where it is checked.
one_reader() {
    local file files=()
    for file in "$top"/opal/mca/btl/vmshm/*.[ch]; do
        [[ $file = */btl_vmshm_check.* ]] || files+=("$file")
    done
    ! grep -nE 'vmshm_copy_in\(|vmshm_peer_(memory|control)\(|in\.ring\[|peer_head->|channel_in->|slot->(word|payload|ack)|vmshm_(proc|window|section|mark)_of\(' \
        "${files[@]}" | grep -vE 'btl_vmshm_ring\.h:|mca_btl_vmshm_ring_slot\(|vmshm_store_release\(&slot->word'
}

# A file is read in one go.
short_files() {
    local long
    long=$(cd "$top" && wc -l opal/mca/*/vmshm/*.[ch] guest-kmod/*.[ch] tools/*.[ch] test/unit/*.[ch] | awk '$2 != "total" && $1 > 400')
    [[ -z $long ]] || { echo "more than 400 lines: $long" >&2; return 1; }
}

try "the common library below common_vmshm.c needs no Open MPI" plain_c
try "what a peer wrote is read where it is checked" one_reader
try "no source file has more than 400 lines" short_files
# Drawn anew they are the same.
drawings() {
    local name
    "$top/test/suites/layers.sh" "$work"
    for name in btl common kmod; do
        cmp "$work/layers-$name.svg" "$top/doc/layers-$name.svg" ||
            { echo "doc/layers-$name.svg is not what the code is: test/suites/layers.sh doc" >&2; return 1; }
    done
}

try "the drawings of the layers show the code" drawings
try "the storm's mutants fit the sources" python3 "$top/test/mpi/storm-mutants.py" --fit
compare format "format.md has the format's version"
compare parameters "README.md and vmshm(7) have the MCA parameters and their defaults"
compare module "guest-kmod/README.md has the module's parameters and their defaults"
compare tool "vmshmctl(1) has vmshmctl's commands and options"
compare topics "each help topic is used, and each that is used is there"
compare files "files that documents, models and comments name are there"
closing_line
