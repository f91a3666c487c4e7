#!/bin/sh
# cos-mount-layout oem: mounts the owner's partition, for the stage rootfs.
# cos-mount-layout all: mounts what VOLUMES names, writable folders over RW_PATHS, and PERSISTENT_STATE_PATHS.
# Only a root that nothing can be written over is an error; a partition that is missing is told and passed over.
set -u
sysroot=/sysroot image=/run/cos/image base=/run/overlay
newline='
'
slot=""
words=$(cat /proc/cmdline)
for word in $words; do
    case $word in
        cos-img/filename=*active.img) slot=active ;;
        cos-img/filename=*passive.img) slot=passive ;;
        cos-img/filename=*recovery*) slot=recovery ;;
    esac
done

say() { echo "cos-mount-layout: $*" >&2; }

# The folder in sysfs of the disk that the image lies on.
own_disk() {
    while read -r _ _ device _ place _; do
        case $place in
            /run/initramfs/cos-state | /run/initramfs/live)
                path=$(readlink -f "/sys/dev/block/$device")
                [ -e "$path/partition" ] && echo "${path%/*}"
                return
                ;;
        esac
    done < /proc/self/mountinfo
}

# The node of LABEL=, UUID= or /dev/...; a label is looked for on our own disk first. What cOS calls its partitions means
# ours alone: another disk with these labels is another system's. One of ours that is elsewhere is named by its UUID.
node_of() {
    case $1 in
        LABEL=*)
            disk=$(own_disk)
            if [ -n "$disk" ]; then
                for part in "$disk"/*/partition; do
                    part=${part%/partition}
                    if [ "$(blkid -p -s LABEL -o value "/dev/${part##*/}")" = "${1#LABEL=}" ]; then
                        echo "/dev/${part##*/}"
                        return
                    fi
                done
                case ${1#LABEL=} in COS_OEM | COS_PERSISTENT | COS_STATE | COS_RECOVERY | COS_GRUB) return ;; esac
            fi
            node=/dev/disk/by-label/${1#LABEL=}
            ;;
        UUID=*) node=/dev/disk/by-uuid/${1#UUID=} ;;
        *) node=$1 ;;
    esac
    if [ -b "$node" ]; then readlink -f "$node"; fi
}

fstab=""
note() { # WHAT PLACE TYPE OPTIONS 0 0; of several mounts at a place systemd is told the last
    before=""
    while read -r what place more; do
        if [ -n "$place" ] && [ "$place" != "$2" ]; then before="$before$what $place $more$newline"; fi
    done << END
$fstab
END
    fstab="$before$*$newline"
}

mount_volume() { # SPEC PATH
    node=$(node_of "$1")
    if [ -z "$node" ]; then
        say "there is no $1 for $2"
        return 1
    fi
    if [ ! -d "$sysroot$2" ] && ! mkdir -p "$sysroot$2"; then
        say "the image has no folder $2"
        return 1
    fi
    if [ "$(mountpoint -d "$sysroot$2" 2> /dev/null)" != "$(mountpoint -x "$node")" ]; then
        mount -o rw "$node" "$sysroot$2" || { say "$1 cannot be mounted at $2"; return 1; }
    fi
    # The node, which is right for this boot: a label or a UUID may stand on another disk too.
    note "$node" "$2" auto defaults,nofail 0 0
}

# A path as it is compared: one slash before it, none behind. Nothing for the root, over which nothing is mounted.
clean() {
    clean=/${1#/}
    while [ "$clean" != "${clean%/}" ]; do clean=${clean%/}; done
    echo "$clean"
}

# Each once: over the same folder twice would be an error.
paths() { for item in $1; do clean "$item"; done | sort -u; }

dashed() { path=${1#/}; echo "$path" | tr / -; }

# The folder of the image, with what is written to STORE over it.
overlay() { # PATH STORE NEEDED-MOUNT
    lower=$image$1
    if [ ! -d "$lower" ]; then
        mkdir -p "$sysroot$1" 2> /dev/null || { say "the image has no folder $1"; return 1; }
        lower=/run/cos/empty
    fi
    if [ ! -d "$2/upper" ]; then
        mkdir -p "$2/upper"
        chmod --reference="$lower" "$2/upper"
        chown --reference="$lower" "$2/upper"
    fi
    # What a cut left in the folder of work is of no use, and may be in the way.
    rm -rf "$2/work"
    mkdir -p "$2/work"
    inside=${2#"$sysroot"}
    mount -t overlay -o "lowerdir=$lower,upperdir=$2/upper,workdir=$2/work" overlay "$sysroot$1" || return 1
    options="lowerdir=$lower,upperdir=$inside/upper,workdir=$inside/work,x-systemd.requires-mounts-for=$3"
    note overlay "$1" overlay "$options" 0 0
}

bound() { # PATH STORE
    if [ ! -d "$2" ]; then
        if [ -d "$image$1" ]; then
            rm -rf "$2.new"
            cp -a "$image$1" "$2.new" && sync && mv "$2.new" "$2" || rm -rf "$2.new"
        else
            mkdir -p "$2" "$sysroot$1"
        fi
    fi
    mount --bind "$2" "$sysroot$1" || return 1
    note "${2#"$sysroot"}" "$1" none "bind,x-systemd.requires-mounts-for=$target" 0 0
}

machine_id() {
    kept=$sysroot/usr/local/etc/machine-id
    [ -n "$lasting" ] && [ "$slot" != recovery ] || return 0
    # What a failing disk has left is no id, and systemd would not start with it.
    id=""
    [ -s "$kept" ] && read -r id < "$kept"
    case $id in *[!0-9a-f]*) id="" ;; esac
    if [ "${#id}" != 32 ]; then
        mkdir -p "${kept%/*}"
        tr -d - < /proc/sys/kernel/random/uuid > "$kept.new" && sync && mv "$kept.new" "$kept" && sync
    fi
    cat "$kept" > "$sysroot/etc/machine-id"
}

if [ "$1" = oem ]; then
    label=COS_OEM
    for word in $words; do
        case $word in rd.cos.oemlabel=*) label=${word#*=} ;; esac
    done
    if [ -n "$label" ]; then mount_volume "LABEL=$label" /oem; fi
    exit 0
fi

volumes=${VOLUMES-} named="" rw_paths=${RW_PATHS-/etc /root /home /opt /srv /usr/local /var}
states=${PERSISTENT_STATE_PATHS-} target=$(clean "${PERSISTENT_STATE_TARGET:-/usr/local/.state}") store=${OVERLAY:-tmpfs:20%}
if [ "$slot" = recovery ]; then
    volumes=${RECOVERY_VOLUMES-$volumes} states=""
fi
for word in $words; do
    case $word in
        rd.cos.overlay=*) store=${word#*=} ;;
        rd.cos.mount=*) named="$named ${word#*=}" ;;
    esac
done
if [ -n "$named" ] && [ "${MERGE:-true}" != true ]; then volumes=""; fi
volumes="$volumes$named"

mkdir -p "$image" "$base" /run/cos/empty
# The image alone, without what is mounted over it below.
mount --bind "$sysroot" "$image" && mount --make-private "$image" || exit 1
case $store in
    tmpfs:*) mount -t tmpfs -o "mode=0755,size=${store#tmpfs:}" tmpfs "$base" ;;
    *) node=$(node_of "$store"); [ -n "$node" ] && mount "$node" "$base" ;;
esac || {
    say "$store cannot be used for what is written: it goes to memory"
    mount -t tmpfs -o mode=0755,size=20% tmpfs "$base" || exit 1
}
while read -r _ _ device _ place _; do
    if [ "$place" = "$sysroot" ]; then
        name=$(readlink -f "/sys/dev/block/$device")
        note "/dev/${name##*/}" / auto ro 0 0
    fi
done < /proc/self/mountinfo
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$sysroot/tmp"
note tmpfs /tmp tmpfs mode=1777,nosuid,nodev 0 0

lasting=""
for path in $(paths "$rw_paths"); do
    name=$(dashed "$path")
    if ! overlay "$path" "$base/$name.overlay" "$base" && [ "$path" = /etc ]; then
        say "/etc cannot be written"
        exit 1
    fi
done
# What stage files have already mounted stays; the rest by path, so that folders come before what is in them.
# The path is behind the last colon: names in /dev/disk/by-path have some too.
volumes=$(
    for volume in $volumes; do
        place=$(clean "${volume##*:}")
        case $volume in
            ?*:/?*) if [ -n "$place" ]; then echo "$place ${volume%:*}"; fi ;;
            *) say "$volume is no WHAT:/PATH" ;;
        esac
    done | sort -s -k1,1
)
while read -r place volume; do
    if [ -n "$place" ] && mount_volume "$volume" "$place"; then
        case $target/ in "$place"/*) lasting=1 ;; esac
    fi
done << END
$volumes
END
# Where the partition that lasts is not there, everything is in memory.
if [ -n "$lasting" ]; then
    for path in $(paths "$states"); do
        kept=$sysroot$target/$(dashed "$path")
        if [ "${PERSISTENT_STATE_BIND:-false}" = true ]; then
            bound "$path" "$kept.bind"
        else
            overlay "$path" "$kept.overlay" "$target"
        fi || say "$path does not last"
    done
fi
machine_id
printf %s "$fstab" > "$sysroot/etc/fstab"
# A passive image that cannot say that it is good is not started anew for that.
if [ "$slot" = passive ] && [ ! -e "$sysroot/usr/lib/systemd/system/treebuild-confirm.service" ]; then
    sh "$sysroot/usr/lib/cos/deadline-off"
fi
if [ -n "$slot" ]; then (umask 077; echo 1 > "/run/cos/${slot}_mode"); fi
exit 0
