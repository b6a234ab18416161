# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2154 # work and cache are the caller's
# Sourced by what fetches packages of Debian without installing them. It uses work (a temporary
# directory in the cache), cache, and die STATUS TEXT, whose status is 3 when something cannot be had.

# An apt of our own, so that nothing of the machine's changes: not its sources, nor its lists.
apt_start() { # SUITE... [APT::OPTION=VALUE...]
    local suite option keys=/usr/share/keyrings/debian-archive-keyring.gpg
    [[ -r $keys ]] || die 3 "$keys is missing; apt-get install debian-archive-keyring"
    mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial"
    # the mirror is the one of the machine's own apt
    mirror=${VMSHM_DEBIAN_MIRROR:-$(apt-get update --print-uris 2>/dev/null |
        sed -n "s|^'\([^']*\)/debian/dists/.*|\1|p" | head -n 1 || true)}
    [[ -n $mirror ]] || die 3 "apt knows no mirror of Debian; name one in VMSHM_DEBIAN_MIRROR"
    for suite; do
        case $suite in
        *=*) ;;
        *-security) echo "deb [signed-by=$keys] $mirror/debian-security $suite main" ;;
        *) echo "deb [signed-by=$keys] $mirror/debian $suite main" ;;
        esac
    done >"$work/apt/sources.list"
    # all that is in a directory of our own needs no other user to fetch it
    apt=(-q -o "Dir::Etc::SourceList=$work/apt/sources.list" -o Dir::Etc::SourceParts=-
        -o "Dir::State=$work/apt" -o "Dir::State::lists=$work/apt/lists"
        -o Dir::State::status=/dev/null -o "Dir::Cache=$work/apt" -o APT::Sandbox::User=
        -o Acquire::Retries=2 -o Acquire::http::Timeout=20)
    for option; do
        [[ $option != *=* ]] || apt+=(-o "$option")
    done
    apt-get "${apt[@]}" -o APT::Update::Error-Mode=any update >"$work/apt/log" 2>&1 ||
        die 3 "Debian's $1 cannot be reached: $(grep -m 1 '^[EW]:' "$work/apt/log" || tail -n 1 "$work/apt/log")"
}

apt_fetch() { # PACKAGE...: into $work/apt
    (cd "$work/apt" && apt-get "${apt[@]}" download "$@") >"$work/apt/log" 2>&1 ||
        die 3 "cannot fetch $*: $(tail -n 1 "$work/apt/log")"
}

# Into the cache at once, or not at all: somebody else may be fetching, too.
keep() { # DIRECTORY NAME
    mkdir -p "$cache"
    rm -rf "${cache:?}/$2.old.$$"
    [[ ! -e $cache/$2 ]] || mv -T "$cache/$2" "$cache/$2.old.$$" 2>/dev/null || true
    mv -T "$1" "$cache/$2" 2>/dev/null || true
    rm -rf "${cache:?}/$2.old.$$"
    [[ -d $cache/$2 ]] || die 1 "cannot write $cache/$2"
}
