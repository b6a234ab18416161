#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Runs shellcheck on every shell script of the tree and pyflakes on every Python program, found by
# their first line or their name, and looks at every file's licence (see LICENSE).
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=test/suites/count.sh
. "$top/test/suites/count.sh"
cd "$top"

# The licence of a file by its place; three headers are the kernel module's and the library's.
licence_of() { # FILE
    case $1 in
    guest-kmod/vmshm_uapi.h) echo 'GPL-2.0 WITH Linux-syscall-note OR BSD-3-Clause' ;;
    guest-kmod/*) echo GPL-2.0-only ;;
    ivshmem-patch/*) echo GPL-2.0-or-later ;;
    opal/mca/common/vmshm/vmshm_format.h | opal/mca/common/vmshm/vmshm_layout.h | \
        opal/mca/common/vmshm/vmshm_states.h)
        echo 'GPL-2.0-only OR BSD-3-Clause' ;;
    *) echo BSD-3-Clause ;;
    esac
}

# In its first two lines, with nothing behind it but the end of the comment.
licences() {
    local file files rc=0

    # A failure of git must not look like a tree without files.
    files=$(git -c safe.directory='*' ls-files) && [[ -n $files ]] || return 1
    while IFS= read -r file; do
        case $file in
        *.md | *.svg | *.patch | *.gitignore | LICENSE | */COPYING) continue ;;
        esac
        head -n 2 "$file" | grep -qE "SPDX-License-Identifier: $(licence_of "$file")( \*/)?$" || {
            echo "$file: no SPDX-License-Identifier: $(licence_of "$file") in its first two lines" >&2
            rc=1
        }
    done <<<"$files"
    return $rc
}

# Of an unpacked tarball no file is told from what autogen.sh has made.
if [[ -e .git ]]; then
    try "every file names its licence" licences
else
    skip "every file names its licence" "this is no checkout"
fi
while IFS= read -r file; do
    if [[ $file = *.sh ]] || head -n 1 "$file" | grep -qE '^#!.*/(ba|da)?sh( |$)'; then
        try "shellcheck $file" shellcheck --external-sources --severity=warning "$file"
    elif [[ $file = *.py ]] || head -n 1 "$file" | grep -qE '^#!.*/python3( |$)'; then
        try "pyflakes $file" pyflakes3 "$file"
    fi
done < <(find . -name .git -prune -o -path ./build -prune -o -path ./config -prune -o \
    -path ./autom4te.cache -prune -o -path ./configure -prune -o -name '*~' -prune -o -type f -printf '%P\n' | sort)
closing_line
