"""Where things are on a device: labels, folders and the words of the kernel's command line, as cOS has them.

Source: os-and-ota facts 4.1-4.5. What is ours alone says so.
"""

from __future__ import annotations

from pathlib import Path

GRUB, OEM, STATE, RECOVERY, PERSISTENT = "COS_GRUB", "COS_OEM", "COS_STATE", "COS_RECOVERY", "COS_PERSISTENT"

# What a GPT calls them; a table of MS-DOS calls nothing.
PARTITION_NAMES = {OEM: "oem", RECOVERY: "recovery", STATE: "state", PERSISTENT: "persistent"}

STATE_MOUNT = "/run/initramfs/cos-state"  # of a system that runs from active or passive; read-only but while we write
DATA_MOUNT = Path("/usr/local")  # of COS_PERSISTENT
IMAGE_WORD = "cos-img/filename"  # `cos-img/filename=/cOS/active.img`: the slot that was booted, by its link
BY_ITSELF_WORD = "cos.fallback"  # ours: the boot loader came to recovery, and nobody picked it
SLOT_FOLDER = "cOS"  # on COS_STATE and on COS_RECOVERY; holds `images/` and the links
BOOT_BLOCK = "cOS/boot.env"  # on COS_STATE, ours alone: what grub.cfg counts down (device/grubenv.py)
GRUB_FOLDERS = ("grub2", "grub")  # on COS_STATE; the first is ours, the second a link to it
OEM_ENV, OEM_GRUBENV = "grub_oem_env", "grubenv"  # on COS_STATE and on COS_OEM
HEALTH_FOLDERS = ("/etc/treebuild/health.d", "/oem/health.d")  # executables, in the order of their names
