#!/bin/sh
# dracut 057 makes these folders only after systemd has tried, and failed, to mount the overlay that needs them
# (its mount hook then mends it by hand, but whoever waits for initrd-root-fs.target has already given up).
# A persistent overlay has put links here by now; those stay.
for folder in /run/overlayfs /run/ovlwork; do
    [ -e "$folder" ] || [ -h "$folder" ] || mkdir -m 0755 -p "$folder"
done
