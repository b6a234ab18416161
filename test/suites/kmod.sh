#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The guests' kernel module: it is built strictly, then two QEMU guests with a real device each run its
# tests (guest-kmod/selftest) and lose, one after the other, the module, the device and their power. After
# each test the kernels' logs are read.
#     test/suites/kmod.sh [--kernel KERNEL] [--short | NAME...]
# KERNEL: backports or debug, for a kernel of test/lab/kernel, or such a kernel's directory; without it
# the guests have the machine's newest. NAME...: only programs and scenarios whose names start so.
# --short: what differs most between kernels: mappings, pages, races, the device's end.
# VMSHM_PATIENCE: how much longer than usual all may take (10 with the kernel debug).
# VMSHM_QEMU: another emulator. VMSHM_FUZZ_SECONDS: for longer runs of the fuzzer. VMSHM_FUZZ_SEED: to
# repeat one.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=test/suites/count.sh
. "$top/test/suites/count.sh"
build=${VMSHM_BUILD:-$top/build}
export VMSHM_PREFIX=${VMSHM_PREFIX:-$build/inst}
vmlab=$top/test/lab/vmlab
ctl=$VMSHM_PREFIX/bin/vmshmctl
lab=kmod-$$
segment=/dev/shm/vmshm-lab-$lab
foreign_memory=$segment-foreign
fuzz_seconds=${VMSHM_FUZZ_SECONDS:-20}
up_guests=()
kernel=
if [[ ${1:-} = --kernel ]]; then
    kernel=${2:?--kernel needs backports, debug or a directory}
    shift 2
fi
if [[ ${1:-} = --short ]]; then
    fuzz_seconds=5
    set -- mmap pin race fuzz-0 fuzz-1 "the device is unplugged while"
fi
only=("$@")
if [[ $kernel = debug ]]; then
    : "${VMSHM_PATIENCE:=10}" "${VMLAB_BOOT_TIMEOUT:=900}"
    export VMLAB_BOOT_TIMEOUT
fi
# the programs in the guests ask for it, too
export VMSHM_PATIENCE=${VMSHM_PATIENCE:-1}
patience=$VMSHM_PATIENCE

# Below build: the guests have a /tmp of their own.
mkdir -p "$build"
work=$(mktemp -d "$build/kmod.XXXXXX")
programs=$work
agent_program=$work/agent
module=$work/vmshm.ko
cleanup() {
    trap '' INT TERM HUP
    if declare -F dismiss_all >/dev/null; then
        dismiss_all
    fi
    if [[ -d /run/vmshm-lab/$lab ]]; then
        "$vmlab" down --name "$lab" || echo "kmod: lab $lab could not be taken down" >&2
    fi
    rm -rf "$work" "$foreign_memory"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
# shellcheck source=guest-kmod/selftest/scenarios.sh
. "$top/guest-kmod/selftest/scenarios.sh"
# shellcheck source=guest-kmod/selftest/scenarios_pair.sh
. "$top/guest-kmod/selftest/scenarios_pair.sh"
# shellcheck source=guest-kmod/selftest/scenarios_tables.sh
. "$top/guest-kmod/selftest/scenarios_tables.sh"
# shellcheck source=guest-kmod/selftest/scenarios_end.sh
. "$top/guest-kmod/selftest/scenarios_end.sh"

wanted() { # NAME
    local name
    for name in ${only[@]+"${only[@]}"}; do
        [[ $1 != "$name"* ]] || return 0
    done
    ((${#only[@]} == 0))
}

# What a broken kernel does from then on says nothing.
give_up() {
    fail "the rest was not run: a kernel is broken"
    closing_line
    exit 1
}

# ------------------------------------------------------------------ builds

for_vmlab=()
for_build=()
if [[ $kernel = backports || $kernel = debug ]]; then
    name=$kernel
    fetched "the kernel $name is there" "$top/test/lab/kernel" "$name"
    kernel=$(<"$work/out")
    if [[ ! -d $kernel ]]; then
        closing_line
        exit
    fi
fi
if [[ -n $kernel ]]; then
    for_vmlab=(--kernel "$kernel")
    for_build=(--kernel "$(echo "$kernel"/lib/modules/*/build)")
fi
try "vmshm.ko for the guests' kernel, strictly" nice "$top/guest-kmod/build" --strict \
    ${for_build[@]+"${for_build[@]}"} "$work"
try "test programs" nice make -C "$top/guest-kmod/selftest" OUT="$work"
if [[ $(git -C "$top" status --porcelain --ignored guest-kmod 2>/dev/null) == *.o* ]]; then
    fail "the source tree stays clean"
else
    pass "the source tree stays clean"
fi
if [[ ! -e $module || ! -x $work/agent ]]; then
    echo "kmod: without the module and the programs nothing else can be tested"
    closing_line
    exit 1
fi

# ------------------------------------------------------------------ the lab

emulator=${VMSHM_QEMU:-qemu-system-x86_64}
if ! command -v "$emulator" >/dev/null; then
    skip "all in guests" "$emulator is missing; apt-get install qemu-system-x86"
    closing_line
    exit 0
fi
# Guest 1 has no id of the hypervisor: the module's parameter gives it. Guest 0 has a device before its own
# that is somebody else's.
head -c 16M /dev/urandom >"$foreign_memory"
cp "$foreign_memory" "$work/foreign.before"
cat >"$work/emulator" <<END
#!/bin/bash
arguments=()
while ((\$# > 0)); do
    if [[ \$1 = -name ]]; then
        name=\$2
    fi
    if [[ \$1 = -smbios && \$name = *-1 ]]; then
        shift 2
        continue
    fi
    arguments+=("\$1")
    shift
done
if [[ \$name = *-0 ]]; then
    arguments=(-object "memory-backend-file,id=foreign,share=on,mem-path=$foreign_memory,size=16M"
        -device ivshmem-plain,memdev=foreign "\${arguments[@]}")
fi
exec $(command -v "$emulator") "\${arguments[@]}"
END
chmod +x "$work/emulator"
chmod 755 "$work"
mkdir -m 1777 "$work/direct"
if ! "$vmlab" up --backend qemu --vcpus 2 --mem 768M --share "$work" --name "$lab" \
    --qemu "$work/emulator" ${for_vmlab[@]+"${for_vmlab[@]}"} >"$work/lab.log" 2>&1; then
    fail "a lab of 2 guests boots" "$work/lab.log"
    closing_line
    exit 1
fi
# An open half, and tables so small that they can be filled.
"$ctl" create --force --vms 2 --size 256M --open 25% --procs 16 --windows 128 "$segment" \
    >"$work/create.log" 2>&1 || { cat "$work/create.log" >&2; exit 1; }
for k in 0 1; do
    # Where the kernel can be made preemptible, more can meet.
    # Which ends at an oops: whoever waits for a lock that nobody gives back would wait for long.
    in_guest $k 'sysctl -qw kernel.dmesg_restrict=0 kernel.core_pattern=/tmp/core.%p \
        kernel.hung_task_timeout_secs='$((20 * patience))' kernel.panic_on_oops=1
        dmesg -n 7
        mount -t debugfs none /sys/kernel/debug && echo full >/sys/kernel/debug/sched/preempt
        dmesg -c' >"$work/boot.$k" 2>&1 || true
done
up_guests=(0 1)

# ------------------------------------------------------------------ TAP

as_user='setpriv --reuid 1000 --regid 1000 --clear-groups'

# In the background: tap_start K NAME COMMAND. Then tap_end NAME: its tests become ours.
declare -A tap_pid
tap_start() {
    wanted "$2" || return 0
    timeout -k 5 $((${limit:-90} * patience)) "$vmlab" ssh --name "$lab" "$1" -- "cd /tmp; $3" \
        </dev/null >"$work/$2.tap" 2>&1 &
    tap_pid[$2]=$!
}

tap_end() {
    local name=$1 rc=0 line notes='' n=0 plan=
    wanted "$name" || return 0
    wait "${tap_pid[$name]}" || rc=$?
    while IFS= read -r line; do
        case $line in
        "ok "*)
            n=$((n + 1))
            line=${line#*- }
            if [[ $line = *" # SKIP"* ]]; then
                skip "$name: ${line% # SKIP*}" "$(sed -n 's/^# SKIP //p' <<<"$notes" | tail -n 1)"
            else
                pass "$name: $line"
            fi
            notes=
            ;;
        "not ok "*)
            n=$((n + 1))
            echo "$notes" >"$work/notes"
            fail "$name: ${line#*- }" "$work/notes"
            notes=
            ;;
        1..*) plan=${line#1..} ;;
        *) notes+=$line$'\n' ;;
        esac
    done <"$work/$name.tap"
    if [[ $plan != "$n" ]]; then
        echo "$notes" >"$work/notes"
        echo "exit status $rc after $n tests" >>"$work/notes"
        fail "$name: runs to its end" "$work/notes"
    fi
    : >"$work/why"
    if ! kernels_sound; then
        fail "$name: the kernels are sound" "$work/why"
        give_up
    fi
}

# ------------------------------------------------------------------ all

if ! load 0; then
    fail "the module loads" "$work/why"
    closing_line
    exit 1
fi
scenario "a VM without an id" no_id
scenario "an id that is not in the table" id_not_in_table
scenario "two VMs of one id" same_id_twice
scenario "the hypervisor's id comes before the parameter" smbios_comes_first
scenario "the parameter gives the id" parameter_gives_id
in_guest 1 'lsmod | grep -q "^vmshm "' || load 1 vm_id=1 pages=0
scenario "a header that is not usable" bad_header
scenario "a device that is somebody else's" foreign_device
scenario "a segment that comes later" segment_comes_later
scenario "two segments in one guest" two_segments
scenario "limits by default" limits_by_default
scenario "holders of slots and windows" holders
scenario "a container's node opens it first" node_of_a_container
scenario "watching an earlier boot's section holds nobody up" watching_holds_nobody_up

# Two programs at a time, one in each guest. In guest 0 the memory has struct pages, if the kernel can do
# that, in guest 1 it has none: what maps and what races is run in both.
both() { # NAME-OF-PROGRAM-0 NAME-OF-PROGRAM-1
    tap_start 0 "$1" "$as_user env VMSHM_DIRECT_DIR=$work/direct $work/test_${1%-*}"
    tap_start 1 "$2" "$as_user env VMSHM_DIRECT_DIR=$work/direct $work/test_${2%-*}"
    tap_end "$1"
    tap_end "$2"
}
both mmap mmap-1
both fork pin-1
both pin fork-1
if wanted ioctl; then
    both ioctl race-1
    both race window-1
else
    both race race-1
    both window window-1
fi
tap_start 0 users "$work/test_users"
tap_end users
limit=200 tap_start 0 limits "$work/test_limits"
tap_end limits
tap_start 0 collect "$work/test_collect"
tap_end collect
tap_start 0 event "$as_user $work/test_event"
tap_end event

# RDMA in software, over the guests' network.
rdma_up() { # K
    in_guest "$1" 'modprobe rdma_rxe && rdma link add rxe0 type rxe netdev eth0' >"$work/why" 2>&1
}
if wanted rdma || wanted rdma-1; then
    if [[ ! -x $work/test_rdma ]]; then
        skip rdma "infiniband/verbs.h is missing; apt-get install libibverbs-dev"
    elif ! rdma_up 0 || ! rdma_up 1; then
        skip rdma "no RDMA device in the guests: $(tail -n 1 "$work/why")"
    else
        tap_start 0 rdma "$work/test_rdma writes found released killed"
        tap_start 1 rdma-1 "$work/test_rdma without"
        tap_end rdma
        tap_end rdma-1
    fi
fi

scenario "windows across guests" across_guests
scenario "windows across guests, 2 MiB entries" across_guests_big
scenario "users and keys across guests" across_guests_users
scenario "bells across guests" across_guests_bell
scenario "quarantine across guests" across_guests_quarantine
scenario "quarantine, and the reader's bit moves" across_guests_moved
scenario "a reader in the other guest dies" across_guests_reader_dies
scenario "an owner in the other guest dies" across_guests_owner_dies
scenario "pinned by the other guest, which released it" across_guests_pinned_released
scenario "pinned by the other guest, whose reader was killed" across_guests_pinned_killed
scenario "pinned by the other guest again and again" across_guests_pinned_again
scenario "events wake who waits in the other guest" events

scenario "what was handed out stands in the section" handed_out_is_noted
scenario "a VM is marked as gone while it runs" marked_while_running
scenario "a VM's section is given to another" given_to_another
scenario "what was mapped before the segment was made anew" mapped_before
scenario "entries that another VM forged" forged_entries
scenario "own tables that another VM overwrote" own_tables_overwritten

# One seed, one thread: the same twice. Then both guests at one time, in one job.
seed=${VMSHM_FUZZ_SEED:-$(date +%s)}
once="$as_user $work/test_fuzz --seed $seed --calls 2000 --processes 1 --threads 1"
tap_start 0 "fuzz-once" "$once"
tap_end "fuzz-once"
tap_start 0 "fuzz-again" "$once"
tap_end "fuzz-again"
digest=$(grep -hs '# process 0:' "$work/fuzz-once.tap" || true)
if ! wanted fuzz-once; then
    :
elif [[ -n $digest && $digest = "$(grep -h '# process 0:' "$work/fuzz-again.tap")" ]]; then
    pass "fuzz: seed $seed gives the same run twice"
else
    grep -h '# process 0:' "$work"/fuzz-*.tap >"$work/why" || true
    fail "fuzz: seed $seed gives the same run twice" "$work/why"
fi
echo "fuzz: --seed $seed in guest 0, $((seed + 1)) in guest 1, $fuzz_seconds s"
for k in 0 1; do
    limit=$((fuzz_seconds + 70)) tap_start $k "fuzz-$k" \
        "$as_user $work/test_fuzz --seed $((seed + k)) --seconds $fuzz_seconds"
done
tap_end fuzz-0
tap_end fuzz-1

if wanted nomem && in_guest 0 'test -e /proc/self/fail-nth' >/dev/null 2>&1; then
    limit=150 tap_start 0 nomem "$work/test_nomem opening finding mapping joining"
    limit=150 tap_start 1 nomem-1 "$work/test_nomem"
    tap_end nomem
    tap_end nomem-1
    for k in 0 1; do
        in_guest $k "chgrp $group /dev/vmshm*; chmod 660 /dev/vmshm*" || true
    done
fi

scenario "reloaded, the module has a new epoch" reload_makes_an_epoch
scenario "the device is unplugged and plugged in" unplug
scenario "the driver is unbound and bound" unbind
scenario "the device is unplugged while its memory is pinned" unplug_while_pinned
scenario "the driver is unbound while its memory is pinned" unbind_while_pinned
scenario "the device is unplugged under load" unplug_under_load
if wanted kmemleak && in_guest 0 'test -e /sys/kernel/debug/kmemleak' >/dev/null 2>&1; then
    scenario "kmemleak finds nothing" no_leaks
fi
scenario "a guest loses its power" power_loss
scenario "a guest is switched off while its memory is pinned" switched_off_while_pinned
closing_line
