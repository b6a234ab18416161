#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Draws who calls whom, from the sources: layers.sh DIRECTORY, "doc" for the drawings of the documentation.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd -P)
to=$(cd "${1:?a directory}" && pwd)
draw() { # NAME TITLE SOURCE...
    python3 "$top/test/suites/layers.py" --svg "$to/layers-$1.svg" --title "$2" "${@:3}"
}
draw btl "opal/mca/btl/vmshm: who calls whom, from the top down" "$top"/opal/mca/btl/vmshm/*.c
draw common "opal/mca/common/vmshm: who calls whom, from the top down" "$top"/opal/mca/common/vmshm/*.c
draw kmod "guest-kmod: who calls whom, from the top down" "$top"/guest-kmod/vmshm_*.c
