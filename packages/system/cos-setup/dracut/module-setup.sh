#!/bin/bash
# dracut module: the stages rootfs and initramfs of the stage files.

check() {
    return 0
}

depends() {
    echo systemd-initrd
    return 0
}

install() {
    inst_simple "$moddir/cos-setup-rootfs.service" "$systemdsystemunitdir/cos-setup-rootfs.service"
    inst_simple "$moddir/cos-setup-initramfs.service" "$systemdsystemunitdir/cos-setup-initramfs.service"
    $SYSTEMCTL -q --root "$initdir" add-wants initrd-fs.target cos-setup-rootfs.service
    $SYSTEMCTL -q --root "$initdir" add-wants initrd.target cos-setup-initramfs.service
}
