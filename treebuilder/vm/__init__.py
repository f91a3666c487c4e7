"""Machines: an image is booted in QEMU, by BIOS or UEFI, and watched until it does what it should."""

from treebuilder.vm.accel import accelerator_works, choose_accelerator
from treebuilder.vm.qemu import BootFailed, BootReport, BootRequest, boot

__all__ = ["BootFailed", "BootReport", "BootRequest", "accelerator_works", "boot", "choose_accelerator"]
