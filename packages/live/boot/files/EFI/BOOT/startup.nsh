\boot\kernel.xz initrd=\boot\rootfs.xz cdroot root=live:CDLABEL=COS_LIVE rd.live.dir=/ rd.live.squashimg=rootfs.squashfs rd.live.overlay.overlayfs=1 console=tty1 console=ttyS0 rd.cos.disable
