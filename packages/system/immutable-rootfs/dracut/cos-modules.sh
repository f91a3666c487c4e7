#!/bin/sh
# `mount -o loop` needs the control device before anything else has asked for it.
if getarg cos-img/filename > /dev/null; then
    modprobe -q loop
fi
