#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The release: everything that git knows is in it, and it builds, tests, installs and uninstalls
# from a read-only source tree.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=test/suites/count.sh
. "$top/test/suites/count.sh"
cd "$top/build"

try "make distcheck" make -j2 distcheck
closing_line
