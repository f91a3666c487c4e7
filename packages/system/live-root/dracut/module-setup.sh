#!/bin/bash
# dracut module: what dmsquash-live needs to have its overlay root mounted by systemd.

check() {
    return 0
}

depends() {
    echo dmsquash-live
    return 0
}

install() {
    inst_multiple mkdir
    inst_hook pre-mount 10 "$moddir/overlay-folders.sh"
}
