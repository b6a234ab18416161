# SPDX-License-Identifier: BSD-3-Clause
# Where the tree and what the guests share may lie. Sourced by vmlab, demo and check.
# shellcheck shell=bash

# own_of PATH: the directory of the guests' own in which it lies; false if it lies in none. /dev/shm
# comes before /dev, in which nothing can be shared.
own_of() {
    local dir
    for dir in /dev/shm /dev /proc /run /sys /tmp; do
        if [[ $1 == "$dir" || $1 == "$dir"/* ]]; then
            echo "$dir"
            return 0
        fi
    done
    return 1
}

# share_refusal PATH: why a lab cannot share this directory; false if it can. PATH is a real path.
share_refusal() {
    local own
    case $1 in
        / | /etc) echo "the guests write there what is theirs alone; share a directory below it" ;;
        /run/lock | /run/vmlab | /run/vmlab/* | /run/vmshm-lab | /run/vmshm-lab/*)
            echo "the lab keeps its own files there; choose a directory elsewhere" ;;
        *[[:cntrl:]]*) echo "its name has a control character; rename it" ;;
        *)
            own=$(own_of "$1") || return 1
            case $own in
                /dev | /proc | /sys) echo "$own is each machine's own; choose a directory elsewhere" ;;
                "$1") echo "the guests have their own; share a directory below it" ;;
                *) return 1 ;;
            esac
            ;;
    esac
}

# tree_refusal PATH: why the tree cannot be built and tried there; false if it can. PATH is a real path.
tree_refusal() {
    local options
    # What configure and make, search paths with colons and options with commas take apart.
    if [[ $1 == *[[:space:][:cntrl:]\"\#\$%\&\'\(\)*,:\;\<=\>?\[\\\]\`\{\|\}]* ]]; then
        echo "its name has a blank or one of \"#\$%&'()*,:;<=>?[\\]\`{|}, with which configure and make" \
            "cannot build; move it to a directory without"
        return 0
    fi
    options=$(findmnt --noheadings --output OPTIONS --target "$1" 2>/dev/null) || options=
    if [[ ,$options, == *,noexec,* ]]; then
        echo "its file system is mounted with noexec, so nothing that is built there can be run; move it" \
            "elsewhere, or mount -o remount,exec $(findmnt --noheadings --output TARGET --target "$1")"
        return 0
    fi
    share_refusal "$1"
}
