#!/bin/busybox sh
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=dash
# First process of a QEMU guest, in its initramfs: mounts the host's root read-only over virtio-9p
# under a tmpfs overlay, the lab's directory above it, and hands over to guest-init.sh.
/bin/busybox mkdir -p /proc /sys /dev /lower /mem /root
export PATH=/bin
/bin/busybox --install -s /bin
fail() {
    echo "vmlab-guest: FAILED: $*"
    sleep 0.2
    exit 1
}
mount -t proc proc /proc
mount -t devtmpfs devtmpfs /dev
while read -r module; do
    insmod "/modules/$module" || fail "insmod $module"
done </modules/order

for word in $(cat /proc/cmdline); do
    case $word in
        vmlab.dir=*) dir=${word#*=} ;;
    esac
done
# loose: what was read once is not asked for again. Right only for what does not change.
opts=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o "ro,$opts,cache=loose" root /lower || fail "cannot mount the host's root over 9p"
mount -t tmpfs tmpfs /mem
mkdir /mem/upper /mem/work
mount -t overlay overlay -o lowerdir=/lower,upperdir=/mem/upper,workdir=/mem/work /root ||
    fail "cannot mount the overlay"
# the lab's own directory changes while the guest runs
mount -t 9p -o "ro,$opts,cache=none" lab "/root$dir" || fail "cannot mount $dir over 9p"
mount --move /dev /root/dev
mount --move /proc /root/proc
exec switch_root /root /bin/bash "$dir/guest-init.sh" --root-ready
