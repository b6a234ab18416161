#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The lab's own test: test-lab.sh [uml|qemu] [--long]
# --long adds what needs minutes: a pause of 75 s survived, the end of a job whose guest vanished
# without any rank noticing.
set -uo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
REPO=$(cd "$HERE/../.." && pwd)
BACKEND=uml LONG=0
for arg in "$@"; do
    case $arg in
        uml | qemu) BACKEND=$arg ;;
        --long) LONG=1 ;;
        *) echo "usage: $0 [uml|qemu] [--long]" >&2; exit 2 ;;
    esac
done
export VMSHM_PREFIX=${VMSHM_PREFIX:-$REPO/build/inst}
PROBE=$REPO/build/lab/labprobe
VECTORS=$REPO/build/lab/labvectors
OUT=$(mktemp -d)
# Shares in what the guests have of their own
OWN=("$(mktemp -d /tmp/vmlab-share.XXXXXX)" "/tmp/vmlab share,$$" "$(mktemp -d /run/vmlab-share.XXXXXX)"
    "$(mktemp -d /dev/shm/vmlab-share.XXXXXX)")
mkdir "${OWN[1]}"
# and one below a directory that only root may enter
CLOSED=$(mktemp -d /var/tmp/vmlab-share.XXXXXX)
mkdir -m 755 "$CLOSED/share"
A=ta$$ B=tb$$
passed=0 failed=0

lab() { timeout -k 5 "${LIMIT:-120}" "$HERE/vmlab" "$@"; }
cleanup() {
    local name
    for name in "$A" "$B"; do
        [[ -d /run/vmshm-lab/$name ]] && lab down --name "$name" 2>/dev/null
    done
    umount "$OUT/noexec" 2>/dev/null
    rm -rf "$OUT" "${OWN[@]}" "$CLOSED" "$REPO/build/lab/coherent.$$" "$REPO/build/lab/written.$$"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

ok() {
    echo "ok   $*"
    passed=$((passed + 1))
}
bad() {
    echo "FAIL $*"
    failed=$((failed + 1))
    sed 's/^/     | /' "$OUT/err" 2>/dev/null | tail -n 15
}
check() { # TEXT COMMAND...: ok if the command succeeds
    local text=$1
    shift
    if "$@"; then ok "$text"; else bad "$text"; fi
}
run() { # status in rc, outputs in $OUT/out and $OUT/err
    "$@" >"$OUT/out" 2>"$OUT/err" </dev/null
    rc=$?
}
is() { [[ $1 == "$2" ]] || { echo "expected '$2', got '$1'" >>"$OUT/err"; return 1; }; }
has() { grep -q -- "$2" "$OUT/$1"; }
elapsed_below() { ((SECONDS - start < $1)) || { echo "took $((SECONDS - start)) s" >>"$OUT/err"; false; }; }

# what a lab could leave behind, of our names only
traces() {
    ip netns list | grep -wE "vmlab-($A|$B)"
    ip -o link | grep -E "$A|$B"
    find /dev/shm /run/netns /run/vmshm-lab -maxdepth 1 2>/dev/null | grep -E -- "[-/]($A|$B)$"
    find /sys/fs/cgroup -maxdepth 2 -name "vmshm-lab-*" | grep -E -- "-($A|$B)-"
    grep -E "vmshm-lab/($A|$B)|vmlab-($A|$B)" /proc/mounts
    pgrep -af -- "($A|$B)" | grep -vE 'test-lab|pgrep'
    return 0
}

mkdir -p "$REPO/build/lab"
mpicc -O2 -Wall -o "$PROBE" "$HERE/labprobe.c" || exit 1
gcc -O2 -Wall -o "$VECTORS" "$HERE/labvectors.c" || exit 1
cd "$REPO/build/lab" || exit 1

# ------------------------------------------------------------------ refusals
run lab up --backend uml --vcpus 2 --name "$A"
check "uml refuses two vCPUs" eval 'is "$rc" 1 && has err "one vCPU"'
run lab up --segment 3M --name "$A"
check "a size that is no power of two is refused" eval 'is "$rc" 1 && has err "power of two"'
run lab down --name "$A"
check "down of an unknown lab fails clearly" eval 'is "$rc" 1 && has err "no lab named"'
VMSHM_PREFIX=/nowhere run lab up --name "$A"
check "a missing vmshmctl is named" eval 'is "$rc" 1 && has err "/nowhere/bin/vmshmctl is missing"'
refused() { # DIRECTORY TEXT: as a share
    run lab up --share "$1" --name "$A"
    is "$rc" 1 && has err "--share $1: .*$2"
}
mkdir "$OUT/"$'new\nline'
for own in /tmp /run /dev/shm; do
    check "a share that is the guests' own $own is refused" refused "$own" "share a directory below it"
done
for own in /dev /dev/pts /proc /proc/self/task /sys /sys/kernel; do
    check "a share in $own is refused" eval 'run lab up --share "$own" --name "$A" &&
        is "$rc" 1 && has err "is each machine.s own; choose a directory elsewhere"'
done
check "a share of / is refused" refused / "share a directory below it"
check "a share of /etc is refused" refused /etc "share a directory below it"
run lab up --share "$OUT/"$'new\nline' --name "$A"
check "a share with a line break in its name is refused" eval 'is "$rc" 1 && has err "control character"'

# What cannot be built is refused by demo and check before they install or build anything.
placed() { # NAME DIRECTORY REMEDY
    # shellcheck disable=SC2034 # in eval
    local name=$1 dir=$2 remedy=$3 program
    mkdir -p "$dir/test/lab"
    cp "$REPO/demo" "$REPO/check" "$dir/"
    cp "$HERE/place.sh" "$dir/test/lab/"
    for program in demo check; do
        run bash "$dir/$program"
        check "$program refuses $name" eval 'is "$rc" 1 && is "$(ls "$dir")" "check"$'"'\n'"'"demo"$'"'\n'"'"test" &&
            has err "^$program: $dir, where this tree lies: .*$remedy"'
    done
}
placed "a path with a blank" "$OUT/a b" "move it to a directory without"
placed "a path with a colon" "$OUT/a:b" "move it to a directory without"
mkdir "$OUT/noexec"
mount -t tmpfs -o noexec,mode=755 tmpfs "$OUT/noexec"
placed "a file system mounted with noexec" "$OUT/noexec" "mount -o remount,exec $OUT/noexec"
umount "$OUT/noexec"
check "refusals leave nothing" is "$(traces)" ""

# As initramfs-tools leaves it.
if [[ $BACKEND == uml ]]; then
    # shellcheck disable=SC2016 # for the other shell
    run unshare --mount bash -c 'mount -t tmpfs -o nodev,noexec,nosuid,mode=755 tmpfs /run &&
        "$0" up --backend uml --name "$1" >&2 && "$0" ssh --name "$1" 1 -- echo "it runs" &&
        "$0" down --name "$1" && [[ ! -e /run/vmshm-lab && -z $(ls /run/netns 2>/dev/null) ]]' "$HERE/vmlab" "$A"
    check "a lab boots where /run is mounted with noexec, and leaves nothing" eval 'is "$rc" 0 && has out "it runs"'
    check "nor outside" is "$(traces)" ""
fi

# ------------------------------------------------------------------ failed boot, interrupted boot
# With so little memory it ends while it boots, or just afterwards.
run env VMLAB_BOOT_TIMEOUT=20 "$HERE/vmlab" up --backend "$BACKEND" --name "$A" --mem 24M
check "a failed boot says so and shows the console" \
    eval 'is "$rc" 1 && has err "the end of guest.*console" && has err "guest $A-.* \(ended\|was not ready\|booted but does not answer\)"'
check "a failed boot leaves nothing" is "$(traces)" ""
"$HERE/vmlab" up --backend "$BACKEND" --name "$A" >"$OUT/out" 2>"$OUT/err" &
up=$!
for ((i = 0; i < 100; i++)); do [[ -s /run/vmshm-lab/$A/guest-1.pid ]] && break; sleep 0.05; done
kill -TERM "$up"
wait "$up"
rc=$?
check "an interrupted boot leaves nothing" eval 'is "$rc" 143 && is "$(traces)" ""'

# ------------------------------------------------------------------ up, ssh
# The caller has locks and a directory of its own.
mkdir "$OUT/here"
cd "$OUT/here" || exit 1
exec 200>"$OUT/high"
flock 200
start=$(date +%s%N)
run flock "$OUT/held" timeout -k 5 120 "$HERE/vmlab" up --backend "$BACKEND" --name "$A" \
    --share "$REPO/build" --share "${OWN[0]}" --share "${OWN[1]}" --share "${OWN[2]}" --share "${OWN[3]}" \
    --share "$CLOSED/share"
exec 200>&-
cd "$REPO/build/lab" || exit 1
echo "     up of 2 guests: $(((${EPOCHREALTIME/./} * 1000 - start) / 1000000)) ms"
check "up prints names and addresses" \
    eval 'is "$rc" 0 && is "$(<"$OUT/out")" "$A-0 10.77.0.10"$'"'\n'"'"$A-1 10.77.0.11"'
((rc == 0)) || { echo "$passed passed, $failed failed"; exit 1; }
check "no guest holds what the caller had open" \
    eval 'flock -n "$OUT/held" true && flock -n "$OUT/high" true'
check "no guest sits in the caller's directory" \
    is "$(find /proc -maxdepth 2 -path '/proc/[0-9]*/cwd' -lname "$OUT/here" 2>/dev/null)" ""
run lab up --backend "$BACKEND" --name "$A"
check "up of a lab that is up fails clearly" eval 'is "$rc" 1 && has err "is up already"'
run lab status --name "$A"
check "status shows both guests up" is "$(grep -c ' up$' "$OUT/out")" 2

run lab ssh --name "$A" 1 -- 'hostname; echo complaint >&2; exit 7'
check "ssh passes the exit status, stdout and stderr apart" \
    eval 'is "$rc" 7 && is "$(<"$OUT/out")" "$A-1" && is "$(<"$OUT/err")" complaint'
run lab ssh --name "$A" 0 -- printf '%s,' 'a b' '$HOME' '*'
check "several words are executed as they are" is "$(<"$OUT/out")" 'a b,$HOME,*,'
run lab ssh --name "$A" 0 -- 'kill -9 $$'
check "death by a signal is 128+N" is "$rc" 137
head -c 3000000 /dev/urandom >"$OUT/data"
lab ssh --name "$A" 1 -- cat <"$OUT/data" >"$OUT/back" 2>"$OUT/err"
check "stdin and stdout carry 3 MB unharmed" cmp "$OUT/data" "$OUT/back"
run lab ssh --name "$A" 5 -- true
check "an unknown guest is refused" eval 'is "$rc" 1 && has err "guests 0 to 1"'
timeout 2 "$HERE/vmlab" ssh --name "$A" 1 -- sleep 4321 </dev/null 2>/dev/null
sleep 0.5
run lab ssh --name "$A" 1 -- 'pgrep -fx "sleep 4321"'
check "ending ssh ends the command" is "$(<"$OUT/out")" ""

# ------------------------------------------------------------------ identity, device, files
if [[ $BACKEND == uml ]]; then
    run lab ssh --name "$A" 1 -- 'grep -o "vmshm.vm_id=[0-9]*" /proc/cmdline; test -c /dev/mmapper'
    check "the VM id stands on the command line, the segment is /dev/mmapper" \
        eval 'is "$rc" 0 && is "$(<"$OUT/out")" vmshm.vm_id=1'
else
    run lab ssh --name "$A" 1 -- '! grep vmshm.vm /proc/cmdline &&
        grep -ao "vmshm.vm-id=[0-9]*" /sys/firmware/dmi/entries/11-0/raw &&
        cat /sys/bus/pci/devices/*/device | grep -x 0x1110'
    check "the VM id is an SMBIOS string only, the segment a PCI device 1af4:1110" \
        eval 'is "$rc" 0 && is "$(<"$OUT/out")" vmshm.vm-id=1$'"'\n'0x1110"
fi
run lab ssh --name "$A" 1 -- "$VECTORS"
check "processes of a guest keep their vector registers" is "$(<"$OUT/out")" "0 failed"
echo one >"coherent.$$"
run lab ssh --name "$A" 1 -- cat "$PWD/coherent.$$"
echo changed on the host >"coherent.$$"
run lab ssh --name "$A" 1 -- cat "$PWD/coherent.$$"
check "the guest sees what changes on the host" is "$(<"$OUT/out")" "changed on the host"
run lab ssh --name "$A" 1 -- "echo from the guest >written.$$"
check "the share is writable and the current directory kept" \
    is "$(cat "written.$$" 2>&1)" "from the guest"
for own in "${OWN[@]}"; do
    echo from the host >"$own/host"
    # shellcheck disable=SC2016
    run lab ssh --name "$A" 1 -- bash -c 'cat "$1/host" && echo from the guest >"$1/guest"' - "$own"
    check "a share at $own" eval 'is "$rc" 0 && is "$(<"$OUT/out")" "from the host" &&
        is "$(cat "$own/guest" 2>&1)" "from the guest"'
done
echo from the host >"$CLOSED/share/host"
run lab ssh --name "$A" 1 -- setpriv --reuid=1000 --regid=1000 --clear-groups cat "$CLOSED/share/host"
check "other users of a guest get to a share below a directory of root's" \
    eval 'is "$rc" 0 && is "$(<"$OUT/out")" "from the host" && is "$(stat -c %a "$CLOSED")" 700'
cd "${OWN[1]}" || exit 1
run lab mpirun --name "$A" -np 2 cat host
check "a job runs in such a share" eval 'is "$rc" 0 && is "$(sort -u "$OUT/out")" "from the host"'
cd "$REPO/build/lab" || exit 1
run lab ssh --name "$A" 1 -- 'for d in /tmp /run /dev/shm; do echo x >$d/vmlab-own && ls $d; done'
check "beside it /tmp, /run and /dev/shm are the guest's own" eval 'is "$rc" 0 &&
    is "$(grep -c vmlab-own "$OUT/out")" 3 && ! has out "$(basename "$OUT")" &&
    [[ ! -e /tmp/vmlab-own && ! -e /run/vmlab-own && ! -e /dev/shm/vmlab-own ]]'
run lab ssh --name "$A" 1 -- "echo x >/etc/vmlab-$A && echo x >~/vmlab-$A && rm /etc/fstab"
check "all else is private to the guest" \
    eval 'is "$rc" 0 && [[ ! -e /etc/vmlab-$A && ! -e ~/vmlab-$A && -e /etc/fstab ]]'
run lab ssh --name "$A" 1 -- cat /sys/class/net/eth0/mtu
check "the MTU is 9000" is "$(<"$OUT/out")" 9000

# ------------------------------------------------------------------ mpirun
start=$(date +%s%N)
run lab mpirun --name "$A" -np 2 "$PROBE"
echo "     mpirun hello on 2 guests: $(((${EPOCHREALTIME/./} * 1000 - start) / 1000000)) ms"
check "mpirun puts one rank into each guest" eval 'is "$rc" 0 &&
    has out "rank 0 of 2 on $A-0 sum 3" && has out "rank 1 of 2 on $A-1 sum 3"'
run lab mpirun --name "$A" -np 5 "$PROBE"
check "more ranks than vCPUs" eval 'is "$rc" 0 && is "$(grep -c "of 5 .* sum 15" "$OUT/out")" 5'
run lab mpirun --name "$A" -np 2 "$PROBE" exit 3
check "mpirun's exit status comes back" is "$rc" 3
run lab mpirun --name "$A" -np 2 --mca pml_base_verbose 10 --mca btl self,tcp "$PROBE"
check "pml is ob1" eval 'is "$rc" 0 && has err "selected ob1"'
run lab mpirun --name "$A" --host "$A-1" -np 1 hostname
check "--host chooses guests" eval 'is "$rc" 0 && is "$(<"$OUT/out")" "$A-1"'
run lab mpirun --name "$A" -np 2 bash -c 'echo $OMPI_MCA_mca_base_component_path in $PWD'
check "both guests find this tree's components and stay in the directory" is \
    "$(sort -u "$OUT/out")" "$VMSHM_PREFIX/lib/openmpi:SYSTEM_DEFAULT:USER_DEFAULT in $PWD"
seq 1000 | lab mpirun --name "$A" -np 1 cat >"$OUT/out" 2>"$OUT/err"
check "rank 0 reads stdin" is "$(sha1sum <"$OUT/out")" "$(seq 1000 | sha1sum)"
for signal in INT TERM; do
    # a non-interactive shell starts background jobs with SIGINT ignored
    env --default-signal=INT "$HERE/vmlab" mpirun --name "$A" -np 2 "$PROBE" spin 100 \
        >"$OUT/out" 2>"$OUT/err" </dev/null &
    job=$!
    for ((i = 0; i < 300; i++)); do has out "rank 1" && has out "rank 0" && break; sleep 0.1; done
    start=$SECONDS
    kill -"$signal" "$job"
    wait "$job"
    rc=$?
    for k in 0 1; do
        for ((i = 0; i < 50; i++)); do
            lab ssh --name "$A" "$k" -- '! pgrep -x labprobe' </dev/null >/dev/null 2>&1 && break
            sleep 0.2
        done
        ((i < 50)) || rc=0
    done
    check "SIG$signal ends the job in both guests" eval '[[ $rc != 0 ]] && elapsed_below 20'
done

# ------------------------------------------------------------------ two labs at once
# By a tree that lies in what the guests have of their own
tree=$OUT/tree
mkdir -p "$tree/test" "$tree/build"
cp -r "$HERE" "$tree/test/"
# The guests of this lab need not see the other tree.
cp "$PROBE" "$tree/build/labprobe"
run timeout -k 5 120 "$tree/test/lab/vmlab" up --backend "$BACKEND" --name "$B" --vms 3 --mem 512M \
    --segment 64M
check "a second lab of another name" eval 'is "$rc" 0 && is "$(wc -l <"$OUT/out")" 3'
run lab ssh --name "$B" 2 -- "cat $tree/test/lab/labprobe.c && echo x >$tree/build/written"
check "a tree below /tmp is there in its guests, what it builds is shared" \
    eval 'is "$rc" 0 && cmp "$OUT/out" "$HERE/labprobe.c" && is "$(cat "$tree/build/written" 2>&1)" x'
run lab ssh --name "$B" 2 -- "echo x >$tree/test/written"
check "all else of it is read-only" eval '[[ $rc != 0 ]] && has err "Read-only"'
run lab mpirun --name "$B" -np 3 "$tree/build/labprobe"
check "mpirun on three guests of the second lab" \
    eval 'is "$rc" 0 && is "$(grep -c "on $B-[012] sum 6" "$OUT/out")" 3'
run lab ssh --name "$A" 0 -- hostname
check "the first lab is still itself" is "$(<"$OUT/out")" "$A-0"

# ------------------------------------------------------------------ pause, kill
lab mpirun --name "$A" -np 2 "$PROBE" spin 14 >"$OUT/job" 2>"$OUT/joberr" </dev/null &
job=$!
for ((i = 0; i < 300; i++)); do grep -q "rank 1" "$OUT/job" && break; sleep 0.1; done
run lab pause --name "$A" 1
run lab status --name "$A"
check "status shows the pause" has out "$A-1 .* paused"
ticks() { # CPU time of all the guest's processes
    local pid sum=0 line
    for pid in $(pgrep -f "vmlab.k=1 vmlab.dir=/run/vmshm-lab/$A"); do
        line=$(<"/proc/$pid/stat") || continue
        set -- ${line##*) }
        sum=$((sum + ${12} + ${13}))
    done 2>/dev/null
    echo "$sum"
}
sleep 0.3
before=$(ticks)
sleep 2
check "a paused guest uses no CPU at all" is "$(ticks)" "$before"
run timeout 3 "$HERE/vmlab" ssh --name "$A" 1 -- true
check "a paused guest does not answer" is "$rc" 124
run lab resume --name "$A" 1
run lab ssh --name "$A" 1 -- echo awake
check "a resumed guest answers" is "$(<"$OUT/out")" awake
wait "$job"
rc=$?
check "the job survives a short pause" eval 'is "$rc" 0 && grep -q rounds "$OUT/job"'

lab mpirun --name "$B" -np 3 "$tree/build/labprobe" abort 8 >"$OUT/out" 2>"$OUT/err" </dev/null &
job=$!
for ((i = 0; i < 300; i++)); do is "$(grep -c "^rank" "$OUT/out")" 3 2>/dev/null && break; sleep 0.1; done
start=$SECONDS
run lab kill --name "$B" 2
check "kill" is "$rc" 0
wait "$job"
rc=$?
check "a rank's abort ends the job though a guest has vanished, with its status" \
    eval 'is "$rc" 9 && elapsed_below 45'
run lab status --name "$B"
check "status shows the killed guest" eval 'has out "$B-2 .* down" && has out "$B-1 .* up"'
run lab ssh --name "$B" 2 -- true
check "ssh to a killed guest fails clearly" eval '[[ $rc != 0 ]] && has err "not running"'
run lab kill --name "$B" 2
check "a second kill fails clearly" eval 'is "$rc" 1 && has err "not running"'
run lab kill --mark --name "$B" 1
check "kill --mark" is "$rc" 0
lab ssh --name "$B" 0 -- sleep 100 </dev/null >"$OUT/out" 2>"$OUT/err" &
job=$!
sleep 1
lab kill --name "$B" 0
wait "$job"
rc=$?
check "ssh ends when its guest does" is "$rc" 255
run lab down --name "$B"
check "down of a lab whose guests are dead" is "$rc" 0

# ------------------------------------------------------------------ long
if ((LONG)); then
    lab() { timeout -k 5 400 "$HERE/vmlab" "$@"; }
    lab mpirun --name "$A" -np 2 "$PROBE" spin 100 >"$OUT/job" 2>"$OUT/err" </dev/null &
    job=$!
    for ((i = 0; i < 300; i++)); do grep -q "rank 1" "$OUT/job" && break; sleep 0.1; done
    lab pause --name "$A" 1
    sleep 75
    lab resume --name "$A" 1
    wait "$job"
    rc=$?
    check "the job survives a pause of 75 s" eval 'is "$rc" 0 && grep -q rounds "$OUT/job"'
    start=$SECONDS
    lab mpirun --name "$A" -np 2 "$PROBE" spin 300 >"$OUT/job" 2>"$OUT/err" </dev/null &
    job=$!
    for ((i = 0; i < 300; i++)); do grep -q "rank 1" "$OUT/job" && break; sleep 0.1; done
    lab kill --name "$A" 1
    wait "$job"
    rc=$?
    check "a job whose guest vanished ends within 130 s even if no rank notices" \
        eval '[[ $rc != 0 ]] && elapsed_below 130'
fi

# ------------------------------------------------------------------ down
sh -c 'echo $$ >"$1"; exec "$2" ssh --name "$3" 0 -- sleep 500' sh "$OUT/pid" "$HERE/vmlab" "$A" \
    </dev/null >/dev/null 2>&1 &
sleep 1
run lab down --name "$A"
check "down with a command under way" is "$rc" 0
wait
check "nothing is left behind" is "$(traces)" ""
run lab down --name "$A"
check "a second down fails clearly" eval 'is "$rc" 1 && has err "no lab named"'

echo "$passed passed, $failed failed"
((failed == 0))
