#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The remote shell of a job that runs as another user (VMSHM_LAB_UID): a command in another guest, as
# that user. The lab's server itself runs as root.
host=$1
shift
exec /run/vmlab/labsh run "$host" setpriv --reuid="$VMSHM_LAB_UID" --regid="$VMSHM_LAB_UID" \
    --clear-groups env HOME=/tmp "VMSHM_LAB_UID=$VMSHM_LAB_UID" sh -c "$*"
