#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Every kind of segment, identity, parameter and installation that BTL vmshm cannot use: with
# another BTL the job runs and the cause is told once, with file, field and remedy; without one the
# job ends quickly with the same text.
# Time limit: 300 s, for a machine under load.
set -euo pipefail
# shellcheck source=test/fault/lib.sh
. "$(dirname "$0")/lib.sh"

# bad NAME RANK0 RANK1 TEXT...: RANK0 and RANK1 are variables for one rank; the first TEXT is the
# heading and stands there once.
others=self,vader,vmshm
bad() {
    local name=$1 env0=$2 env1=$3 log
    shift 3
    log="$work/log"
    OMPI_MCA_btl=$others telling_job "$log" 30 "$env0" "$env1" "${good_job[@]}"
    if passed_so "$log" && has_texts "$log" "$@" && (($(count_of "$log" "$1") == 1)); then
        pass "$name: served by another BTL"
    else
        echo "(exit status $rc)" >>"$log"
        fail "$name: served by another BTL" "$log"
    fi
    OMPI_MCA_btl=self,vmshm telling_job "$log" 30 "$env0" "$env1" "${good_job[@]}"
    if failed_by_itself && has_texts "$log" "$@" \
        && (($(count_of "$log" "$1") == 1)); then
        pass "$name: ends without another"
    else
        echo "(exit status $rc)" >>"$log"
        fail "$name: ends without another" "$log"
    fi
}

bad_file() { # NAME FILE TEXT...: both ranks meet it
    local name=$1 file=$2
    shift 2
    OMPI_MCA_common_vmshm_segment=$file bad "$name" "" "" "$@"
}

bad_header() { # NAME FIELD VALUE TEXT...: a fresh segment with one wrong field and a right checksum
    local name=$1 field=$2 value=$3
    shift 3
    new_segment
    "$helpers/seg_edit" "$segment" "$field" "$value"
    bad_file "$name" "$segment" "$@"
}

bad_parameter() { # NAME=VALUE ALLOWED
    bad "parameter $1" "OMPI_MCA_$1" "OMPI_MCA_$1" \
        'An MCA parameter of BTL vmshm has an invalid value' "Parameter:  ${1%%=*}" "$2"
}

# ------------------------------------------------------------------------------- the segment itself
new_segment
job "$work/log" 30 "" "" "${good_job[@]}"
if passed_so "$work/log" && (($(wc -l <"$work/log") == 1)); then
    pass "a good segment: the job runs and nothing is said"
else
    fail "a good segment: the job runs and nothing is said" "$work/log"
fi

bad_file "segment absent" "$segment-absent" 'BTL vmshm found no shared segment' \
    "$segment-absent" common_vmshm_segment 'No such file' 'vmshmctl create'
OMPI_MCA_common_vmshm_segment=$segment others=self,vmshm,tcp \
    bad "segment absent for one rank" "" "OMPI_MCA_common_vmshm_segment=$segment-absent" \
    'BTL vmshm found no shared segment' "$segment-absent" 'vmshmctl create'
# Peers of a rank without the segment do not wait for what it cannot offer: it cost 4 s for each.
no_waiting() { # NAME VARIABLE of the four
    local start took
    start=$(date +%s)
    rc=0
    OMPI_MCA_btl=self,vader,vmshm timeout 30 mpirun \
        -np 1 env OMPI_MCA_common_vmshm_vm_id=0 "${good_job[@]}" : -np 4 env \
        "$2" "${good_job[@]}" >"$work/log" 2>&1 || rc=$?
    took=$(($(date +%s) - start))
    if passed_so "$work/log" && ((took < 8)); then
        pass "$1: no waiting ($took s)"
    else
        echo "(exit status $rc after $took s)" >>"$work/log"
        fail "$1: no waiting" "$work/log"
    fi
}
no_waiting "segment absent for four of five ranks" "OMPI_MCA_common_vmshm_segment=$segment-absent"
bad_file "no segment named and no device" auto 'BTL vmshm found no shared segment' 'vmshmctl create'
bad_file "directory" "$work" 'A field of the shared segment' "$work" \
    'neither a file nor a character device'
bad_file "device that cannot be mapped" /dev/null 'BTL vmshm found no shared segment' /dev/null \
    'vmshmctl create'

truncate -s 32M "$segment"
bad_file "shorter than its header says" "$segment" 'The shared segment is shorter than its header' \
    "$segment" total_bytes '67108864' '33554432' 'vmshmctl create --force'
truncate -s 100 "$segment"
bad_file "shorter than a header" "$segment" 'The shared segment is shorter than its header' \
    "$segment" 'the file has 100 bytes' 'vmshmctl create --force'
truncate -s 0 "$segment"
bad_file "empty" "$segment" 'The shared segment is shorter than its header' 'the file has 0 bytes'
truncate -s 64M "$segment"
bad_file "zero-filled" "$segment" 'The shared segment is filled with zeros' "$segment" header \
    'Run `vmshmctl create`'
head -c 1M /dev/urandom >"$segment"
bad_file "foreign" "$segment" 'not a vmshm segment' "$segment" magic 'common_vmshm_segment'
bad_header "another format version" version 9 'has another format' "$segment" version \
    'format 9, this program reads format' 'Use the same version of vmshm'
new_segment
"$helpers/seg_edit" "$segment" procs 15 --keep-checksum
bad_file "wrong checksum" "$segment" 'The header of the shared segment was overwritten' \
    "$segment" checksum 'vmshmctl create'
bad_header "too many VMs" vms 65 'A field of the shared segment' "$segment" 'Field:  vms' '65' \
    'vmshmctl check'
bad_header "sections overlap" 'section[1].offset' 0x200000 'A field of the shared segment' \
    "$segment" 'Field:  section[1]' 'vmshmctl check'
bad_header "section outside" 'section[1].length' 0x7fffffffffe00000 \
    'A field of the shared segment' 'Field:  section[1]'

# As a user who may not open it. The programs must be reachable for him.
user_dir=$(mktemp -d -p /tmp)
own_cleanup() {
    rm -rf "$user_dir"
}
chmod 755 "$user_dir"
mkdir "$user_dir/tmp" "$user_dir/lock"
chown 65534:65534 "$user_dir/tmp"
as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups env "HOME=$user_dir/tmp"
    "TMPDIR=$user_dir/tmp")
new_segment "$segment" --mode 0600
if "${as_nobody[@]}" test -x "${good_job[0]}" -a -r "$prefix/lib/openmpi/mca_btl_vmshm.so"; then
    run_as=("${as_nobody[@]}")
    bad_file "no permission" "$segment" 'BTL vmshm may not use the shared segment' "$segment" \
        'Permission denied' 'Give the user read and write access'
    chmod 666 "$segment"
    OMPI_MCA_common_vmshm_lock_dir=$user_dir/lock bad_file "no permission in the lock directory" \
        "$segment" 'BTL vmshm may not use the shared segment' "$user_dir/lock/vmshm-" \
        'common_vmshm_lock_dir' 'Give the user read and write access'
    run_as=()
else
    skip "no permission" "an unprivileged user cannot reach ${good_job[0]}"
fi

# -------------------------------------------------------------------------------------- who it is
id=OMPI_MCA_common_vmshm_vm_id
new_segment
bad "VM id missing" "$id=" "" 'does not know which VM of its host' vm_id 'vmshmctl qemu-args'
bad "VM id beyond the table" "$id=2" "" "This VM's id is not in the shared segment's table" \
    'common_vmshm_vm_id' '2 is not in' 'vmshmctl create --vms'
bad "VM id not a number" "$id=two" "" "This VM's id is not in the shared segment's table" \
    'common_vmshm_vm_id' 'it is not a number' 'vmshmctl create --vms'

# The first container runs for the whole time that the second one tries.
mkdir "$work/lock-2"
lock=OMPI_MCA_common_vmshm_lock_dir=$work/lock-2
start_job "$work/first.log" 60 "" "" "$programs/vt_die" --mode none --seconds 12
first=$job_pid
sleep 1.5
bad "VM id used twice" "$lock" "$lock" 'Two virtual machines (or containers' "$segment" section \
    'is in use by a running VM or container' 'an id of its own'
job_pid=$first
end_job
if passed_so "$work/first.log"; then
    pass "VM id used twice: the first container's job is not disturbed"
else
    fail "VM id used twice: the first container's job is not disturbed" "$work/first.log"
fi
bad "VM id used twice in one job" "" "$id=0 $lock" 'Two virtual machines (or containers' \
    "$segment" 'an id of its own'

"$ctl" mark-vm --vm 0 gone "$segment"
bad "VM marked as gone" "" "" 'The host has marked this VM as gone' "$segment" 'Field:  mark' \
    'vmshmctl mark-vm --vm N up'
"$ctl" mark-vm --vm 0 up "$segment"

# ---------------------------------------------------------------------------------- no room in it
new_segment "$segment" --procs 1
bad "no process slot" "" "$id=0" "This VM's section of the shared segment is full" "$segment" \
    'Field:  procs' 'all 1 process slots of VM 0' 'vmshmctl show'
new_segment
OMPI_MCA_btl_vmshm_window_size=64M OMPI_MCA_btl_vmshm_max_windows=1 \
    bad "no memory for a window" "" "" \
    "This VM's section of the shared segment is full" "$segment" 'Field:  heap' 'vmshmctl show'

# ------------------------------------------------------------------------------------------- peers
# Another segment is what a peer of another host has: not worth a word while there is another BTL.
new_segment "$segment-2"
other=OMPI_MCA_common_vmshm_segment=$segment-2
job "$work/log" 30 "" "$other" env OMPI_MCA_btl=self,vader,vmshm "${good_job[@]}"
if passed_so "$work/log" && (($(wc -l <"$work/log") == 1)); then
    pass "a peer in another segment: served by another BTL, in silence"
else
    fail "a peer in another segment: served by another BTL, in silence" "$work/log"
fi
telling_job "$work/log" 30 "" "$other" "${good_job[@]}"
if failed_by_itself \
    && has_texts "$work/log" 'A peer says it shares this segment' segment_uuid \
        'another segment'; then
    pass "a peer in another segment: ends without another"
else
    fail "a peer in another segment: ends without another" "$work/log"
fi
# The same header, but not the same memory; the second copy is made while a job runs, so that live
# processes stand in it.
cp "$segment" "$segment-2"
bad "a peer in a copy of the segment" "" "$other" 'A peer says it shares this segment' "$segment" \
    'not shared with it' 'is a copy'
start_job "$work/first.log" 60 "" "" "$programs/vt_die" --mode none --seconds 2
first=$job_pid
sleep 1
cp "$segment" "$segment-2"
job_pid=$first
end_job
bad "a peer in a copy of the segment in use" "" "$other $lock" \
    'A peer says it shares this segment' 'not shared with it' 'is a copy'

# One user whose number differs between the VMs: found out when the peers are proven, since who listens
# passes over processes of other users.
${CC:-cc} -shared -fPIC -O1 -o "$work/other_uid.so" "$here/other_uid.c" -ldl
bad "a peer of another user" "" "LD_PRELOAD=$work/other_uid.so" \
    'A peer shares this segment, but runs under another user ID' "$segment" 'Field:  uid' \
    'Give the user the same ID in all VMs'

# ------------------------------------------------------------------------ parameters, installation
bad_parameter btl_vmshm_ring_slots=33 'a power of two from 8'
bad_parameter btl_vmshm_ring_slots_max=2 'a power of two from btl_vmshm_ring_slots'
bad_parameter btl_vmshm_max_windows=0 '1 to 16'
bad_parameter btl_vmshm_window_size=1000 'at least 65536'
bad_parameter btl_vmshm_eager_limit=16 '1024 to half'

# The same component, built against a version that is not the running one: of the same series, and of
# another. Nothing is registered for it: the module may have another size.
version=$(ompi_info --version | sed -n 's/^Open MPI v//p')
other_version() { # DIRECTORY VERSION
    mkdir "$1"
    cp -L "$prefix/lib/openmpi/mca_btl_vmshm.so" "$1"
    LC_ALL=C sed -i "s/\x00$version\x00/\x00$2\x00/g" "$1/mca_btl_vmshm.so" &&
        ! cmp -s "$prefix/lib/openmpi/mca_btl_vmshm.so" "$1/mca_btl_vmshm.so"
}
wrong=${version%?}$(((${version: -1} + 1) % 10))
for other in "$wrong" "9${version:1}"; do
    if ! other_version "$work/other-$other" "$other"; then
        fail "another Open MPI: its version is not found in the component"
        continue
    fi
    path=OMPI_MCA_mca_base_component_path=$work/other-$other:SYSTEM_DEFAULT:USER_DEFAULT
    bad "another Open MPI, $other" "$path" "$path" 'BTL vmshm was built against another Open MPI' \
        "$other" "$version" './configure --with-ompi'
    env "$path" ompi_info --parsable --param btl vmshm --level 9 >"$work/log" 2>&1
    if has_texts "$work/log" 'BTL vmshm was built against another Open MPI' \
        && ! grep -q '^mca:btl:vmshm:param' "$work/log"; then
        pass "another Open MPI, $other: nothing is registered"
    else
        fail "another Open MPI, $other: nothing is registered" "$work/log"
    fi
done
# Its peers do not wait for what it cannot offer.
path=OMPI_MCA_mca_base_component_path=$work/other-$wrong:SYSTEM_DEFAULT:USER_DEFAULT
no_waiting "another Open MPI, $wrong, for four of five ranks" "$path"

for pml in ucx cm; do
    OMPI_MCA_pml=$pml OMPI_MCA_btl=self,vader,vmshm OMPI_MCA_pml_ucx_tls=any \
        OMPI_MCA_pml_ucx_devices=any telling_job "$work/log" 30 "" "" "${good_job[@]}"
    if ((rc == 124)); then
        fail "PML $pml: the job hangs" "$work/log"
    elif ! passed_so "$work/log"; then
        skip "PML $pml" "it does not run here: $(grep -m1 -iE 'pml|mtl|error' "$work/log" || true)"
    elif has_texts "$work/log" "the PML \"$pml\" is in use" '--mca pml ob1' \
        && (($(count_of "$work/log" 'BTL vmshm was asked for, but the PML') == 1)); then
        pass "PML $pml: it is told that vmshm is not used"
    else
        fail "PML $pml: it is told that vmshm is not used" "$work/log"
    fi
done

closing_line
