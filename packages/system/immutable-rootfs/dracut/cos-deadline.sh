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
        # One that the kernel has built in takes no number here: a clock of another length, or one that nobody can stop,
        # would end good versions.
        [ "$(cat "$found/timeout")" = "$seconds" ] && [ "$(cat "$found/nowayout")" = 0 ] || exit 1
        mkdir -p /run/cos
        # Closed without the letter V: it goes on.
        printf 1 > "/dev/${found##*/}" && echo "${found##*/}" > /run/cos/deadline
        exit
    fi
done
exit 1
