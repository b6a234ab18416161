#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Makes ./configure from configure.ac. Needed in a git checkout only; a release carries the result.
set -euo pipefail
cd "$(dirname "$0")"

for program in autoreconf automake libtoolize pkg-config; do
    if ! command -v "$program" >/dev/null; then
        echo "autogen.sh: $program is missing, so ./configure cannot be made." \
             "On Debian run: sudo tools/install-deps build" >&2
        exit 1
    fi
done
autoreconf --force --install
