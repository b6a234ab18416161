#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# mpirun in guest 0 of a lab, over all its guests. Defaults go through the environment, so that
# whatever the caller says on the command line wins.
set -uo pipefail
# shellcheck source=/dev/null
. /run/vmlab/guest.conf

default() { # VAR VALUE: unless the caller has set it
    [[ -n ${!1+set} ]] || export "$1=$2"
}
default OMPI_MCA_pml ob1
default OMPI_MCA_orte_default_hostfile /run/vmlab/hostfile
default OMPI_MCA_hwloc_base_binding_policy none
default OMPI_MCA_rmaps_base_mapping_policy node
default OMPI_MCA_rmaps_base_oversubscribe 1
default OMPI_MCA_btl_tcp_if_include eth0
default OMPI_MCA_oob_tcp_if_include eth0
# With VMSHM_LAB_UID the job runs as that user, in all guests.
as_user=()
if [[ -n ${VMSHM_LAB_UID:-} ]]; then
    as_user=(setpriv "--reuid=$VMSHM_LAB_UID" "--regid=$VMSHM_LAB_UID" --clear-groups env HOME=/tmp)
    default OMPI_MCA_plm_rsh_agent /run/vmlab/guest-rsh-user.sh
fi
default OMPI_MCA_plm_rsh_agent "/run/vmlab/labsh rsh"

# How a job ends when a guest has vanished. Stock Open MPI has no heartbeat and no time limit on
# an abort: after default keepalive (300 s idle, 9 probes of 20 s) and 15 TCP retries it hangs on
# for 8 to 16 minutes. What is set instead:
# 1. oob_tcp_keepalive_*: mpirun loses the daemon of a silent guest after 10 + 9 * 10 = 100 s (90 s
#    if a probe was just due) and ends the job. A pause of up to 75 s is survived. With data under
#    way TCP counts retries instead of probes: tcp_retries2 = 8 in guest-init.sh gives 102 s.
# 2. If a rank aborts because of the lost guest, mpirun tells all daemons to exit and then waits
#    until every connection to them is closed, again 100 s, and no parameter shortens that. (Two
#    SIGTERM make it leave at once, but it crashes and the exit status is lost.) So the guard below
#    hangs up on silent guests when for GRACE seconds no rank is left in this guest; mpirun then
#    ends in good order with the status of the abort. Ranks of a job that merely waits for a paused
#    guest are still there, so a pause does not trigger it, unless it falls into the moment
#    between the last rank's end here and the end there.
# Measured, two UML guests, guest 1 killed: 1. 100 s, 2. 15 s after the abort.
default OMPI_MCA_oob_tcp_keepalive_time 10
default OMPI_MCA_oob_tcp_keepalive_intvl 10
default OMPI_MCA_oob_tcp_keepalive_probes 9
GRACE=10

exec 3<&0
"${as_user[@]}" mpirun "$@" <&3 3<&- &
mpirun_pid=$!
exec 3<&-
# the signal reaches the whole process group; only this shell must outlive it
trap : INT TERM HUP

silent() { # ADDRESS: does it not take a connection within 3 s?
    ! timeout 3 bash -c "exec 3<>/dev/tcp/$1/7514" 2>/dev/null
}

# In plain bash, without a fork each round: benchmarks run beside it on the same vCPU.
has_ranks() {
    local f line
    for f in /proc/[0-9]*/stat; do
        { read -r line <"$f"; } 2>/dev/null || continue
        # pid (comm) state ppid ...; comm may hold blanks, so cut at the last parenthesis
        [[ $line == *"(labsh)"* ]] && continue # starts a daemon elsewhere, is no rank
        line=${line##*) }
        [[ $line == "Z "* ]] && continue
        line=${line#* }
        [[ ${line%% *} == "$mpirun_pid" ]] && return 0
    done
    return 1
}
guard() {
    local empty=-1 seen=0 i nothing
    exec {nothing}<> <(:)
    while kill -0 "$mpirun_pid" 2>/dev/null; do
        read -r -t 2 -u "$nothing" # a sleep without a fork
        if has_ranks; then
            seen=1
            empty=-1
            continue
        fi
        ((seen)) || continue
        ((empty >= 0)) || empty=$SECONDS
        ((SECONDS - empty >= GRACE)) || continue
        for ((i = 1; i < VMS; i++)); do
            silent "$NET.$((10 + i))" || continue
            /run/vmlab/labsh hangup "$mpirun_pid" "$NET.$((10 + i))" 2>/dev/null || continue
            echo "vmlab: no rank is left in guest $NAME-0 and guest $NAME-$i is silent:" \
                "told mpirun that its daemon there is lost" >&2
        done
    done
}
if ((VMS > 1)); then
    guard &
    guard_pid=$!
    disown # no "Killed" notice when it is ended below
fi
# A trap ends the wait early, with a status above 128 that is not mpirun's.
while :; do
    wait "$mpirun_pid"
    status=$?
    ((status > 128)) && kill -0 "$mpirun_pid" 2>/dev/null || break
done
wait "$mpirun_pid" # bash keeps the true status of a child that has ended
rc=$?
((rc == 127)) || status=$rc
if ((VMS > 1)); then
    kill -KILL "$guard_pid" 2>/dev/null
fi
exit "$status"
