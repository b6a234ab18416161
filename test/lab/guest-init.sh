#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# First process of a lab guest. It makes the host's file system private and writable (an overlay
# over tmpfs), brings the network up and becomes the remote-execution server.
#
# UML starts it on the host's root as it is; in a QEMU guest the initramfs has made the overlay
# already. If anything fails it exits: the kernel panics, the guest ends and `vmlab up` shows why.
set -euo pipefail
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
trap 'echo "vmlab-guest: FAILED at line $LINENO: $BASH_COMMAND"; sync; sleep 0.2' ERR
say() { echo "vmlab-guest: $*"; }

# hostfs shows the host's /proc, so its presence says nothing
[[ ${1:-} == --root-ready ]] || mount -n -t proc proc /proc
cmdline=$(</proc/cmdline)
word() { # the value of WORD=... on the kernel's command line
    local w
    for w in $cmdline; do
        [[ $w == "$1="* ]] && { echo "${w#*=}"; return 0; }
    done
    echo "vmlab-guest: no $1= on the kernel command line" >&2
    return 1
}
K=$(word vmlab.k)
DIR=$(word vmlab.dir)

if [[ ${1:-} != --root-ready ]]; then
    # User-Mode Linux. Its modules do not lie where modprobe looks.
    insmod "/usr/lib/uml/modules/$(uname -r)/kernel/fs/overlayfs/overlay.ko"
    # any directory of the host will do as the place to build the new root in
    mount -n -t tmpfs tmpfs /mnt
    mkdir /mnt/upper /mnt/work /mnt/root
    mount -n -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
    mount -n -t hostfs none "/mnt/root$DIR" -o "$DIR,ro"
    mount -n --move /dev /mnt/root/dev
    mount -n --move /proc /mnt/root/proc
    cd /mnt/root
    exec chroot . "$BASH" "$0" --root-ready
fi

# shellcheck source=/dev/null
. "$DIR/guest.conf"

mount -n -t sysfs sysfs /sys
mkdir -p /dev/pts /dev/shm
ln -sf /proc/self/fd /dev/fd
for i in 0:stdin 1:stdout 2:stderr; do ln -sf "/proc/self/fd/${i%:*}" "/dev/${i#*:}"; done
mount -n -t devpts devpts /dev/pts
mount -n -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -n -t tmpfs -o mode=1777 tmpfs /tmp

if [[ -e $DIR/vmshm.ko ]]; then
    insmod "$DIR/vmshm.ko"
    chgrp 1000 /dev/vmshm0 # there is no udev, whose rule would give it to the group vmshm
fi
mkdir -p /tmp/.vmlab
cp "$DIR/labsh" "$DIR/guest-mpirun.sh" "$DIR/guest-rsh-user.sh" "$DIR/guest.conf" /tmp/.vmlab/
# /run must be the guest's own, but the lab's directory is reached through it
mount -n --bind "$DIR" /mnt
mount -n -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/vmlab /run/lock "$DIR"
mount -n --move /mnt "$DIR" 2>/dev/null || { mount -n --bind /mnt "$DIR"; umount -n /mnt; }
mv /tmp/.vmlab/* /run/vmlab/
rmdir /tmp/.vmlab

# Directories of the host, at the same place, which may lie in what is the guest's own. Unlike in the
# overlay, what changes on the host is seen at each open.
host_directory() { # DIRECTORY 9P-TAG ro|rw
    mkdir -p "$1"
    if [[ $BACKEND == uml ]]; then
        mount -n -t hostfs none "$1" -o "$1,$3"
    else
        mount -n -t 9p -o "$3,trans=virtio,version=9p2000.L,msize=512000,cache=none" "$2" "$1"
    fi
}
# A clone in a directory of one user, as /root is: jobs of other users of the guest must get there, too.
# Nothing is mounted yet, so these are the guest's own.
above=()
for dir in "$PREFIX" "${VIEWS[@]}" "${SHARES[@]}"; do
    while dir=${dir%/*}; [[ -n $dir ]]; do
        [[ ! -d $dir ]] || above+=("$dir")
    done
done
((${#above[@]} == 0)) || chmod o+x "${above[@]}"
for i in "${!VIEWS[@]}"; do host_directory "${VIEWS[i]}" "view$i" ro; done
for i in "${!SHARES[@]}"; do host_directory "${SHARES[i]}" "share$i" rw; done

hostname "$NAME-$K"
{
    echo "127.0.0.1 localhost"
    for ((i = 0; i < VMS; i++)); do echo "$NET.$((10 + i)) $NAME-$i"; done
} >/etc/hosts
for ((i = 0; i < VMS; i++)); do echo "$NAME-$i slots=$VCPUS"; done >/run/vmlab/hostfile

ip link set lo up
if [[ -e /sys/class/net/vec0 ]]; then
    ip link set vec0 name eth0
fi
ip link set eth0 mtu "$MTU"
ip addr add "$NET.$((10 + K))/24" dev eth0
ip link set eth0 up
# Fixed neighbours: a guest that is paused cannot answer ARP, and a connection to it made in that
# time must wait, not fail with "no route to host".
for ((i = 0; i < VMS; i++)); do
    ((i == K)) || ip neigh replace "$NET.$((10 + i))" lladdr "$(printf "$MAC" "$i")" \
        dev eth0 nud permanent
done
# A peer that answers nothing is given up after 102 s (8 retries that double from 0.2 s) instead
# of 15 minutes: longer than a pause of 75 s, short enough to wait for when a guest has vanished.
echo 8 >/proc/sys/net/ipv4/tcp_retries2

export HOME=/root TMPDIR=/tmp LANG=C.UTF-8
unset BASH_ENV ENV
# Every command in the guest, orted and ranks included, finds the components of this tree.
export VMSHM_PREFIX=$PREFIX
export OMPI_MCA_mca_base_component_path=$PREFIX/lib/openmpi:SYSTEM_DEFAULT:USER_DEFAULT
export PATH=$PREFIX/bin:$PATH
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
cd /
say "ready"
exec /run/vmlab/labsh serve </dev/null
