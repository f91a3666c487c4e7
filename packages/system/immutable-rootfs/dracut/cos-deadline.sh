#!/bin/sh
# A boot on trial has this many seconds to show that it is good; then the machine starts anew, whatever hangs: the clock
# is the kernel's own. /usr/lib/cos/deadline-off stops it.
seconds=""
for word in $(cat /proc/cmdline); do
    case $word in
        rd.cos.deadline=*) seconds=${word#*=} ;;
    esac
done
modprobe softdog soft_margin="$seconds" || exit 1
for found in /sys/class/watchdog/*; do
    if grep -q "Software Watchdog" "$found/identity"; then
        mkdir -p /run/cos
        # Closed without the letter V: it goes on.
        printf 1 > "/dev/${found##*/}" && echo "${found##*/}" > /run/cos/deadline
        exit
    fi
done
exit 1
