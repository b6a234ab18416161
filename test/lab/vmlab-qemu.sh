# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# The QEMU backend of vmlab: sourced by it, uses its variables and functions.
#
# Guests boot Debian's own kernel, or the one that --kernel names, with a small initramfs. Both lie
# in a cache, made once per kernel: the kernel's uncompressed ELF image (QEMU starts it directly by
# PVH, which saves the firmware and under emulation the unpacking) and the cpio archive.

# What they need of it, where it is not built in.
guest_modules() { # VERSION [ROOT]: paths, in the order of loading
    local module
    for module in virtio_pci 9p 9pnet_virtio overlay virtio_net; do
        modprobe -S "$1" -d "${2:-}/" --show-depends "$module" || return 1
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}

# Newest kernel that can be booted, of Debian's or below ROOT; not the running one
qemu_kernel() { # [ROOT]
    local root=${1:-} k newest=
    for k in "$root"/boot/vmlinuz-*; do
        [[ -n $root || $k = *-amd64 ]] || continue
        [[ -r $k && -d $root/lib/modules/${k##*/vmlinuz-} ]] || continue
        newest=$(printf '%s\n' "$newest" "$k" | sort -V | tail -n 1)
    done
    if [[ -n $root ]]; then
        [[ -n $newest ]] || die "--kernel $root: no boot/vmlinuz-VERSION with lib/modules/VERSION below it"
    else
        [[ -n $newest ]] || die "no /boot/vmlinuz-*-amd64 with modules; apt-get install linux-image-amd64"
    fi
    echo "$newest"
}

qemu_check() {
    QEMU_PATCHED=
    if [[ $QEMU == patched || $QEMU == patched=* ]]; then
        QEMU_PATCHED=${QEMU#patched}
        QEMU_PATCHED=${QEMU_PATCHED#=}
        QEMU_PATCHED=${QEMU_PATCHED:-7.2}
        QEMU=$("$REPO/ivshmem-patch/build" "$QEMU_PATCHED") ||
            die "--qemu patched: QEMU $QEMU_PATCHED cannot be built; see above"
    fi
    QEMU=$(command -v "$QEMU") || die "--qemu: no such program; apt-get install qemu-system-x86"
    QEMU=$(realpath "$QEMU")
    need busybox busybox-static
    need cpio cpio
    need modprobe kmod
    [[ -e /dev/net/tun ]] || die "/dev/net/tun is missing; modprobe tun"
    KERNEL=$(qemu_kernel "$KERNEL_ROOT")
}

# The boot protocol's header says where the compressed kernel lies (offset 0x248 from the end of
# the setup sectors) and how long it is (0x24c).
vmlinux_extract() { # VMLINUZ OUTPUT
    local setup offset length magic unpack
    setup=$(od -An -tu1 -j $((0x1f1)) -N1 "$1")
    offset=$(od -An -tu4 -j $((0x248)) -N4 "$1")
    length=$(od -An -tu4 -j $((0x24c)) -N4 "$1")
    offset=$(((setup + 1) * 512 + offset))
    magic=$(od -An -tx1 -j "$offset" -N4 "$1" | tr -d ' ')
    case $magic in
        fd377a58) unpack='xz -dc --single-stream' ;;
        28b52ffd) unpack='zstd -dcq' ;;
        1f8b*) unpack='gzip -dc' ;;
        02214c18) unpack='lz4 -dc' ;;
        *) die "$1: unknown compression (starts with $magic)" ;;
    esac
    need "${unpack%% *}" "${unpack%% *}"
    # after the stream come 4 bytes of size, of which some of the tools complain
    tail -c "+$((offset + 1))" "$1" | head -c "$length" | $unpack >"$2" 2>/dev/null || true
    [[ $(od -An -tx1 -N4 "$2" | tr -d ' ') == 7f454c46 ]] ||
        die "$1: what was unpacked from it is no ELF file"
}

initramfs_make() { # KERNEL-VERSION DIRECTORY [ROOT]: writes DIRECTORY/initrd
    local dir=$2/tree module path
    mkdir -p "$dir/bin" "$dir/modules"
    cp -L "$(command -v busybox)" "$dir/bin/busybox"
    cp "$HERE/initramfs-init.sh" "$dir/init"
    chmod 755 "$dir/init"
    guest_modules "$1" "${3:-}" >"$2/list" || return 1
    : >"$dir/modules/order"
    while read -r path; do
        module=$(basename "$path")
        case $path in
            *.xz) xz -dc "$path" >"$dir/modules/${module%.xz}" ;;
            *.zst) zstd -dcq "$path" >"$dir/modules/${module%.zst}" ;;
            *) cp "$path" "$dir/modules/$module" ;;
        esac
        module=${module%.xz}
        echo "${module%.zst}" >>"$dir/modules/order"
    done <"$2/list"
    (cd "$dir" && find . | cpio -o -H newc --quiet) >"$2/initrd"
    rm -rf "$dir" "$2/list"
}

qemu_prepare() {
    local version=${KERNEL##*/vmlinuz-} key tmp
    # Debian rebuilds a kernel under the same version name, hence size and date
    key=$(stat -c '%n %s %Y' "$KERNEL" "$(command -v busybox)" |
        cat - "$HERE/initramfs-init.sh" "$HERE/vmlab-qemu.sh" | sha256sum | head -c 12)
    BOOT=${XDG_CACHE_HOME:-$HOME/.cache}/vmshm/$version-$key
    if [[ ! -d $BOOT ]]; then
        mkdir -p "$(dirname "$BOOT")"
        tmp=$(mktemp -d "$BOOT.XXXXXX")
        if ! (vmlinux_extract "$KERNEL" "$tmp/vmlinux" &&
            initramfs_make "$version" "$tmp" "$KERNEL_ROOT"); then
            rm -rf "$tmp"
            die "cannot prepare $KERNEL for the guests"
        fi
        # another lab may have been quicker
        mv -T "$tmp" "$BOOT" 2>/dev/null || rm -rf "$tmp"
        [[ -d $BOOT ]] || die "cannot write $BOOT"
    fi
    # 9p exports the namespace that QEMU sees; its file system driver keeps inode numbers of
    # several host file systems apart only with multidevs=remap
}

# What the patched device is told of guest K, from the segment's own header.
qemu_device_options() { # K
    local args
    [[ -n $QEMU_PATCHED ]] || return 0
    args=$("$PREFIX/bin/vmshmctl" qemu-args --patched --vm "$1" "$SEGMENT") ||
        die "vmshmctl qemu-args does not say what the device of guest $NAME-$1 needs"
    sed -n 's/^-device ivshmem-plain,memdev=vmshm\(,.*\)/\1/p' <<<"$args"
}

qemu_command() { # K: into cmd
    local k=$1 i smp=$VCPUS options
    options=$(qemu_device_options "$k")
    cmd=("$QEMU" -nodefaults -no-user-config -nographic -no-reboot -name "$NAME-$k")
    if has_virtualization; then
        cmd+=(-machine "q35,accel=kvm" -cpu host -smp "$smp")
    else
        # With one possible vCPU TCG emits code that is not atomic, and guests that share memory
        # lose updates: always make a second one possible. Without ERMS glibc copies in loops that
        # TCG translates well; `rep movsb` runs at a hundredth of their speed.
        ((smp > 1)) || smp=1,maxcpus=2
        cmd+=(-machine q35 -accel "tcg,thread=multi" -cpu "max,erms=off,fsrm=off" -smp "$smp")
    fi
    # no_timer_check: on a busy host the kernel sees too few ticks of an emulated timer, and gives up
    cmd+=(-m "$MEM" -kernel "$BOOT/vmlinux" -initrd "$BOOT/initrd"
        -append "console=ttyS0 quiet panic=-1 no_timer_check ipv6.disable=1 vmlab.k=$k vmlab.dir=$DIR"
        -serial stdio
        -netdev "tap,id=net,ifname=tap$k,script=no,downscript=no"
        -device "virtio-net-pci,netdev=net,romfile=,host_mtu=$MTU,mac=$(printf "$MAC" "$k")"
        -object "memory-backend-file,id=vmshm,share=on,mem-path=$SEGMENT,size=$SIZE_BYTES"
        # a slot of its own, from which it can be unplugged
        -device "pcie-root-port,id=shm-port,chassis=1"
        -device "ivshmem-plain,bus=shm-port,memdev=vmshm${options:-,id=vmshm-device}"
        -qmp "unix:$DIR/qmp-$k,server=on,wait=off"
        -smbios "type=11,value=vmshm.vm-id=$k"
        -fsdev "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"
        -device "virtio-9p-pci,fsdev=root,mount_tag=root"
        -fsdev "local,id=lab,path=$DIR,security_model=none,readonly=on"
        -device "virtio-9p-pci,fsdev=lab,mount_tag=lab")
    # a comma in an option's value is doubled
    for i in "${!VIEWS[@]}"; do
        cmd+=(-fsdev "local,id=v$i,path=${VIEWS[i]//,/,,},security_model=none,readonly=on,multidevs=remap"
            -device "virtio-9p-pci,fsdev=v$i,mount_tag=view$i")
    done
    for i in "${!SHARES[@]}"; do
        cmd+=(-fsdev "local,id=s$i,path=${SHARES[i]//,/,,},security_model=passthrough,multidevs=remap"
            -device "virtio-9p-pci,fsdev=s$i,mount_tag=share$i")
    done
}
