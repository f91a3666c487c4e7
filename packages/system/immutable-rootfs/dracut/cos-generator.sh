#!/bin/sh
# systemd generator: /sysroot is the image `cos-img/filename=` on the partition `root=`, which is mounted read-only.
# Our units are in the early folder, so they come before what root= alone would mean.
img="" root="" disabled=""
for word in $(cat /proc/cmdline); do
    case $word in
        cos-img/filename=*) img=${word#cos-img/filename=} img=/${img#/} ;;
        root=*) root=${word#root=} ;;
        rd.cos.disable | rd.cos.disable=1) disabled=1 ;;
    esac
done
[ -n "$img" ] && [ -z "$disabled" ] || exit 0

case $root in
    LABEL=*) device=/dev/disk/by-label/${root#*=} ;;
    UUID=*) device=/dev/disk/by-uuid/${root#*=} ;;
    PARTUUID=*) device=/dev/disk/by-partuuid/${root#*=} ;;
    PARTLABEL=*) device=/dev/disk/by-partlabel/${root#*=} ;;
    /dev/*) device=$root ;;
    *) exit 0 ;;
esac

# Programs look for the partitions of a recovery where cOS has them.
case $img in
    *recovery*) place=/run/initramfs/live unit='run-initramfs-live.mount' ;;
    *) place=/run/initramfs/cos-state unit='run-initramfs-cos\x2dstate.mount' ;;
esac

cat > "$2/$unit" << END
[Unit]
Description=Partition of the image
Before=initrd-root-fs.target
[Mount]
What=$device
Where=$place
Options=ro
DirectoryMode=0755
END
cat > "$2/sysroot.mount" << END
[Unit]
Description=Image $img
Before=initrd-root-fs.target
Requires=$unit
After=$unit
[Mount]
What=$place$img
Where=/sysroot
Options=ro,loop
END
mkdir -p "$2/initrd-root-fs.target.requires"
ln -sf ../sysroot.mount "$2/initrd-root-fs.target.requires/sysroot.mount"
