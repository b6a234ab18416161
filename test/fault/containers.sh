#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Two hosts under one VM id that share the lock directory, as containers may: with btl_vmshm_intra_vm they talk
# through the segment, without it they are told.
set -euo pipefail
# shellcheck source=test/fault/lib.sh
. "$(dirname "$0")/lib.sh"

# As ssh, into a host name of its own.
cat >"$work/agent" <<'END'
#!/bin/bash
exec unshare --uts bash -c 'hostname "$0" && exec sh -c "$*"' "$@"
END
chmod +x "$work/agent"
two_hosts() { # INTRA_VM
    rc=0
    timeout -k 5 60 mpirun --host c0:1,c1:1 -np 2 --map-by node --mca plm_rsh_agent "$work/agent" \
        --mca plm_rsh_no_tree_spawn 1 -x TMPDIR -x OMPI_MCA_common_vmshm_vm_id=0 -x OMPI_MCA_btl_vmshm_intra_vm="$1" \
        "$programs/vt_sizes" --quick >"$work/log" 2>&1 </dev/null || rc=$?
}

new_segment "$segment"
two_hosts 1
if passed_so "$work/log" && [[ $("$ctl" show --json "$segment" | jq '[.vms[].messages] | add') -gt 100 ]]; then
    pass "one VM id, one lock directory, btl_vmshm_intra_vm: they talk through the segment"
else
    fail "one VM id, one lock directory, btl_vmshm_intra_vm: they talk through the segment" "$work/log"
fi
two_hosts 0
if failed_by_itself && has_texts "$work/log" "under the same VM id 0"; then
    pass "without btl_vmshm_intra_vm they are told"
else
    fail "without btl_vmshm_intra_vm they are told" "$work/log"
fi
closing_line
