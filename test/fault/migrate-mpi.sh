#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Time limit: 400 s (emulated guests on a busy machine)
# Live migration with Open MPI: a job over two guests ends with the reason when the host asks one of
# them for the memory. That guest is refused by its destination, then travels to a second QEMU and back; in
# between jobs of an ordinary user run through the segment. The guests have all that a job needs in their
# memory, for a shared file system would forbid to migrate them.
set -euo pipefail
if ((EUID != 0)); then
    echo "$0: root is needed for the guests' network" >&2
    exit 1
fi
# The guests' network is the script's own; it ends with the last process in it.
if [[ -z ${VMSHM_OWN_NET:-} ]]; then
    VMSHM_OWN_NET=1 exec unshare --net "$0" "$@"
fi
# shellcheck source=test/fault/small-guest.sh
. "$(dirname "$0")/small-guest.sh"
# shellcheck source=test/apps/carried.sh
. "$top/test/apps/carried.sh"
programs=${VMSHM_TEST_PROGRAMS:-$build/test/mpi}
vmshmctl=$prefix/bin/vmshmctl
net=10.77.0
need ip iproute2
need setpriv util-linux
[[ -e /dev/net/tun ]] || die "/dev/net/tun is missing; modprobe tun"

# ------------------------------------------------------------------ the guests

libraries() { # FILE...: that they load; some have none
    { ldd "$@" 2>/dev/null || true; } | grep -oE '/[^ ]+ \(0x' | cut -d ' ' -f 1 | sort -u
}

take() { # FILE...: to the same places in the guests
    printf '%s\n' "$@" | xargs cp -L --parents -t "$work/tree"
}

take_modules() { # NAME...: and those that they need, in the order of loading
    local version path name
    version=$(qemu_kernel)
    version=${version#/boot/vmlinuz-}
    for name in "$@"; do
        modprobe -S "$version" --show-depends "$name" | awk '$1 == "insmod" { print $2 }'
    done | awk '!seen[$0]++' >"$work/modules"
    while read -r path; do
        name=$(basename "$path")
        name=${name%.ko*}.ko
        case $path in
            *.xz) xz -dc "$path" ;;
            *.zst) zstd -dcq "$path" ;;
            *) cat "$path" ;;
        esac >"$work/tree/$name"
        echo "$name" >>"$work/tree/order"
    done <"$work/modules"
}

# Of Open MPI's components those that a job needs here: each that is there costs an emulated guest time.
take_open_mpi() {
    local components pmix files=() name
    components=$(ompi_info --parsable --path pkglibdir | sed 's/^path:pkglibdir://')
    for name in allocator_{basic,bucket} bml_r2 btl_{self,tcp,vader} coll_{basic,libnbc,self,tuned} \
        errmgr_default_{app,hnp,orted} ess_{env,hnp,pmi} grpcomm_direct iof_{hnp,orted} odls_default \
        oob_tcp plm_rsh pmix_ext3x pml_ob1 reachable_weighted regx_{fwd,naive,reverse} rmaps_round_robin rml_oob \
        routed_{binomial,direct,radix} rtc_hwloc schizo_{ompi,orte} shmem_mmap \
        state_{app,hnp,orted} topo_basic; do
        files+=("$components/mca_$name.so")
    done
    files+=("$(command -v mpirun)" "$(command -v orted)" "$prefix/lib/openmpi/mca_btl_vmshm.so")
    # libpmix compresses with a component of its own
    pmix=$(readlink -f "$(libraries "$components/mca_pmix_ext3x.so" | grep -m 1 '/libpmix\.so')")
    files+=("$(dirname "$pmix")"/pmix/*.so)
    mapfile -t -O "${#files[@]}" files < <(libraries "${files[@]}" "$programs/vt_sizes")
    # what says why a job ends
    files+=("$(ompi_info --parsable --path pkgdatadir | sed 's/^path:pkgdatadir://')"/help-*.txt
        "$prefix"/share/openmpi/help-*.txt)
    take "${files[@]}"
}

make_mpi_guest() {
    local tree=$work/tree setpriv files
    setpriv=$(command -v setpriv)
    make_base
    mkdir -p "$tree"/{root,etc,usr/bin,run/vmlab}
    take_modules virtio_pci virtio_net
    take_open_mpi
    gcc -O2 -o "$work/labsh" "$HERE/labsh.c"
    cp "$work/labsh" "$HERE/guest-mpirun.sh" "$HERE/guest-rsh-user.sh" "$tree/run/vmlab/"
    cp "$programs/vt_sizes" "$programs/vt_pingpong" "$tree/usr/bin/"
    mapfile -t files < <(libraries /bin/bash "$setpriv")
    take /bin/bash "$setpriv" "${files[@]}"
    printf '%s\n' NAME=guest VMS=2 "NET=$net" >"$tree/run/vmlab/guest.conf"
    printf '%s\n' "guest-0 slots=1" "guest-1 slots=1" >"$tree/run/vmlab/hostfile"
    printf '%s\n' "127.0.0.1 localhost" "$net.10 guest-0" "$net.11 guest-1" >"$tree/etc/hosts"
    echo "hosts: files" >"$tree/etc/nsswitch.conf"
    printf '%s\n' root:x:0:0::/root:/bin/sh user:x:1000:1000::/tmp:/bin/sh >"$tree/etc/passwd"
    printf '%s\n' root:x:0: user:x:1000: >"$tree/etc/group"
    cat >"$tree/init" <<END
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /run/lock /below
/bin/busybox --install -s /bin
mount --bind / /below
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
ln -s /proc/self/fd /dev/fd
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /tmp
# what is installed below one of these
[ -e $prefix ] || { mkdir -p ${prefix%/*} && ln -s /below$prefix $prefix; }
while read -r module; do insmod /\$module; done </order
insmod /vmshm.ko
chgrp 1000 /dev/vmshm0
k=\$(sed 's/.*vmlab.k=//; s/ .*//' /proc/cmdline)
hostname guest-\$k
ip link set lo up
ip addr add $net.1\$k/24 dev eth0
ip link set eth0 up
export PATH=/usr/bin:/bin HOME=/root TMPDIR=/tmp LANG=C
export OMPI_MCA_mca_base_component_path=$prefix/lib/openmpi:SYSTEM_DEFAULT:USER_DEFAULT
echo; echo ready
exec /run/vmlab/labsh serve </dev/null
END
    pack
}

make_network() {
    echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6 2>/dev/null || true
    ip link set lo up
    # else it takes the lowest one of its ports, another one as they come, and the guests have to find out
    ip link add br0 address 52:54:00:77:00:ff type bridge forward_delay 0
    ip link set br0 up
    ip addr add "$net.1/24" dev br0
}

# A QEMU with guest K of the segment; who arrives has the address of who left.
start() { # NAME K SEGMENT OPTION...
    local name=$1 k=$2 args
    ip tuntap add dev "tap-$name" mode tap
    ip link set "tap-$name" master br0 up
    args=$("$vmshmctl" qemu-args --patched --vm "$k" "$3")
    # shellcheck disable=SC2086 # its words are options
    boot "$name" "ipv6.disable=1 vmlab.k=$k" -m 192M $args \
        -netdev "tap,id=net,ifname=tap-$name,script=no,downscript=no" \
        -device "virtio-net-pci,netdev=net,romfile=,mac=52:54:00:77:00:0$k" "${@:4}"
}

in_guest() { # K WORD...
    "$work/labsh" run -n -t 10 "$net.1$1" "${@:2}"
}

# By a user who is not root; mpirun itself talks over tcp. In the suite's process
# group, so that a signal to that ends it, too.
job() { # BTLS WORD...
    timeout --foreground -k 10 "${limit:-60}" "$work/labsh" run -n -e VMSHM_LAB_UID=1000 "$net.10" \
        /run/vmlab/guest-mpirun.sh -np 2 --mca btl "$1" "${@:2}"
}

# Content is checked by the program: some 2000 messages of all sizes up to 256 KiB.
job_runs() { # TEXT
    carried "$1" "$segment" 500 100000 job self,vader,vmshm vt_sizes --quick || true
}

has_sent() { # MESSAGES
    local messages
    read -r messages _ < <(counters "$segment")
    ((messages > $1))
}

long_job() {
    local before
    read -r before _ < <(counters "$segment")
    limit=90 job self,vader,vmshm vt_pingpong --sizes 4K --iters 200000 >"$work/job" 2>&1 &
    running=$!
    expect "a job talks through the segment" a until_ 60 has_sent $((before + 1000))
}

is_empty() { # K: nothing of a job is left there
    local rc=0
    in_guest "$1" pidof mpirun orted vt_sizes vt_pingpong >"$work/left" 2>&1 || rc=$?
    # 255: it did not answer
    ((rc == 1))
}

long_job_ends() {
    local rc=0
    wait "$running" || rc=$?
    ended_with "the job ends with the reason" "$rc" 'the host took its memory back' "$work/job"
    expect "nothing of it is left in guest 0" a until_ 20 is_empty 0
    expect "nothing of it is left in guest 1" a until_ 20 is_empty 1
}

# ------------------------------------------------------------------ their monitors

device=/machine/peripheral/vmshm-device

refused() { # NAME PATTERN WORD: by the monitor
    ! "$qmp" "$work/qmp-$1" "$3" >"$work/said-$1" 2>&1 && grep -qiE "$2" "$work/said-$1"
}

migration_is() { # NAME STATUS
    "$qmp" "$work/qmp-$1" query-migrate >"$work/said-$1" 2>&1 &&
        jq -e --arg status "$2" '.status == $status' "$work/said-$1" >/dev/null
}

bandwidth() { # NAME BYTES
    tell "$1" "migrate-set-parameters:{\"max-bandwidth\":$2}"
}

# A second QEMU for guest 1; the monitor answers when it listens.
expect_guest() { # NAME SEGMENT
    start "$1" 1 "$2" -incoming defer
    tell "$1" "migrate-incoming:{\"uri\":\"unix:$work/migration-$1\"}"
}

go() { # FROM TO
    tell "$1" "migrate:{\"uri\":\"unix:$work/migration-$2\"}"
}

let_go() { # NAME
    tell "$1" "set:$device,detach,true"
    expect "$1 is asked for the memory, and the device lets go" "$1" until_ 20 attached_is "$1" false
}

move() { # FROM TO SEGMENT
    expect_guest "$2" "$3"
    go "$1" "$2"
    expect "it migrates from $1 to $2" "$2" until_ 60 migration_is "$1" completed
    tell "$1" quit
    expect "it has memory there" "$2" until_ 20 attached_is "$2" true
}

# ------------------------------------------------------------------ the test

make_network
make_mpi_guest
for file in "$segment" "$work/other"; do
    "$vmshmctl" create --vms 2 --size 64M --procs 16 "$file" >/dev/null
done
start a 0 "$segment"
start b 1 "$segment"
expect "a boots" a until_ 60 console_has a '^ready'
expect "b boots" b until_ 60 console_has b '^ready'
if ((failed > 0)); then
    closing_line
    exit 1
fi

long_job
expect "b cannot migrate while it has the memory" b refused b detach \
    "migrate:{\"uri\":\"exec:cat >/dev/null\"}"
let_go b
long_job_ends

# Migrations that fail: slow enough to be stopped on their way.
bandwidth b 4096
expect_guest w "$segment"
go b w
expect "a migration is under way" b until_ 20 migration_is b active
expect "meanwhile b cannot have the memory" b refused b . "set:$device,detach,false"
tell b migrate_cancel
expect "it is cancelled" b until_ 20 migration_is b cancelled
expect_guest x "$segment"
go b x
expect "another is under way" b until_ 20 migration_is b active
tell x quit
expect "it fails when its destination ends" b until_ 20 migration_is b failed
expect "b still has no memory" b attached_is b false
tell b "set:$device,detach,false"
expect "the host gives it back" b until_ 10 attached_is b true
job_runs "a job runs in the guest that stayed"

# To a second QEMU, at once: the job ends on the way.
bandwidth b 1000000000
long_job
let_go b
move b c "$segment"
long_job_ends
job_runs "a job runs where the guest came to"

# To another host, as the segment says: there is no memory in common.
let_go c
move c d "$work/other"
avoided "on another host a job runs over tcp" "$segment" \
    job self,vader,vmshm,tcp vt_sizes --quick || true
let_go d
move d e "$segment"
job_runs "a job runs where it came back"

for k in 0 1; do
    in_guest "$k" dmesg >"$work/dmesg" 2>&1 || echo "WARNING: no answer" >>"$work/dmesg"
    if grep -E 'WARNING:|BUG:|Oops|general protection' "$work/dmesg" >"$work/why"; then
        fail "the kernel of guest $k has no complaint" "$work/why"
    else
        pass "the kernel of guest $k has no complaint"
    fi
done
consoles_are_sound
closing_line
