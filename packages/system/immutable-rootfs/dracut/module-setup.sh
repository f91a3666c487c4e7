#!/bin/bash
# dracut module: a root that is an image in a file, read-only, with writable folders over it.

check() {
    # Only where somebody asks for it.
    return 255
}

depends() {
    echo systemd-initrd rootfs-block
    return 0
}

installkernel() {
    hostonly='' instmods loop squashfs overlay ext4 softdog
}

install() {
    inst_multiple mount umount mountpoint mkdir rmdir chmod chown ln sort readlink cat cp mv rm sync blkid tr modprobe
    inst_script "$moddir/cos-generator.sh" "$systemdutildir/system-generators/cos-generator"
    inst_script "$moddir/cos-mount-layout.sh" /sbin/cos-mount-layout
    inst_script "$moddir/cos-deadline.sh" /sbin/cos-deadline
    inst_hook pre-udev 30 "$moddir/cos-modules.sh"
    local unit
    for unit in cos-deadline cos-oem cos-immutable-rootfs; do
        inst_simple "$moddir/$unit.service" "$systemdsystemunitdir/$unit.service"
    done
    $SYSTEMCTL -q --root "$initdir" add-wants sysinit.target cos-deadline.service
    $SYSTEMCTL -q --root "$initdir" add-wants initrd-fs.target cos-oem.service
    $SYSTEMCTL -q --root "$initdir" add-requires initrd-fs.target cos-immutable-rootfs.service
}
