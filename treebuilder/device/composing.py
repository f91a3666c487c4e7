"""Image files of slots: composed of a folder, the same bytes for the same folder; or taken as they are, looked into.

GRUB reads kernel and initrd out of the image, so a squashfs is compressed in a form that GRUB knows.
Source: grub-core/fs/squash4.c (gzip, xz, lzo).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from treebuilder.device.contents import INITRD, KERNEL, Contents, examine
from treebuilder.device.imagefile import check_image
from treebuilder.errors import ConfigError
from treebuilder.events import EventSink, Warned
from treebuilder.image.squashfs import make_squashfs
from treebuilder.system.files import disk_errors, remove_tree
from treebuilder.system.process import Cancel, run, which

OPTIONS = ("-b", "256K", "-comp", "gzip")
LEFT_OUT = ("mnt", "proc", "sys", "dev", "tmp", "host", "run")  # what of a running system is no part of it (5.3)
MOUNT_POINTS = ("dev", "mnt", "oem", "proc", "run", "sys", "tmp", "usr/local")
_PEEKED = ("etc/os-release", "usr/lib/os-release", "bin", "usr/bin/sh", "usr/bin/dash", "usr/bin/bash",
           "usr/bin/busybox", "boot/vmlinuz*")  # fmt: skip
_REGULAR = ("usr/lib/os-release", "etc/os-release", "usr/bin/dash", "usr/bin/bash", "usr/bin/busybox", "bin/busybox")
_SUFFIXES = (".img", ".squashfs", ".raw")


def compose(root: Path, out: Path, *, epoch_s: int, events: EventSink, cancel: Cancel, running: bool = False) -> None:
    """Makes an image of a root. `running`: of a system that runs there, whose mounts are left out.

    Raises ToolFailed, MissingProgram, NoSpace, Cancelled.
    """
    options: tuple[str, ...] = OPTIONS
    if running:
        missing = (f"{name} d 755 0 0" for name in MOUNT_POINTS if not os.path.lexists(root / name))
        made = (word for text in missing for word in ("-p", text))
        options = (*OPTIONS, "-one-file-system", *made, "-wildcards", "-e", *(f"{name}/*" for name in LEFT_OUT))
    else:
        with disk_errors(f"preparing {root}"):
            for name in MOUNT_POINTS:
                if not os.path.lexists(root / name):
                    (root / name).mkdir(parents=True)
                    os.utime(root / name, (epoch_s, epoch_s))
            os.chmod(root, 0o755)
            if not (root / "tmp").is_symlink():
                os.chmod(root / "tmp", 0o1777)
    make_squashfs(root, out, epoch_s=epoch_s, events=events, cancel=cancel, options=options)


def only_image(root: Path, passed_over: str) -> Path | None:
    """The one file of a root that is nothing but an image, as packages of images are; `passed_over` is a folder."""
    found: list[Path] = []
    for folder, inner, names in os.walk(root):
        at = "/" + os.path.relpath(folder, root)
        inner[:] = [name for name in inner if os.path.normpath(f"{at}/{name}") != passed_over]
        found += [Path(folder, name) for name in names]
        if len(found) > 1:
            return None
    if len(found) == 1 and found[0].suffix in _SUFFIXES and stat.S_ISREG(found[0].lstat().st_mode):
        return found[0]
    return None


def look_into(image: Path, work: Path, events: EventSink, cancel: Cancel) -> Contents:
    """What is in an image file, of which little is unpacked into `work`.

    Raises ConfigError (reason "bad-image": no image, or one that the boot loader cannot read).
    """
    kind = check_image(image)
    peek = work / "peek"
    remove_tree(peek)
    try:
        unpack = _unpack_squashfs if kind == "squashfs" else _unpack_ext
        if not unpack(image, peek, cancel):
            events.emit(Warned(f"{image} cannot be looked into: a program is missing"))
            return Contents("", "", ())
        found = examine(peek)
    finally:
        remove_tree(peek)
    if KERNEL in found.lacking:
        return found
    return Contents(found.version, found.architecture, tuple(name for name in found.lacking if name != INITRD))


def _unpack_squashfs(image: Path, peek: Path, cancel: Cancel) -> bool:
    program = which("unsquashfs")
    if program is None:
        return False
    # What it does not find, or may not set the owner of, is no fault here.
    done = run([program, "-f", "-n", "-q", "-no-xattrs", "-d", peek, image, *_PEEKED], check=False, cancel=cancel)
    if not peek.is_dir():
        raise ConfigError(
            f"{image} cannot be read: {' '.join(done.tail[-1:])}", reason="bad-image", hint="is the file whole?"
        )
    return True


def _unpack_ext(image: Path, peek: Path, cancel: Cancel) -> bool:
    """Only whole files with names of ours: no link of the image is made here, or followed."""
    program = which("debugfs")
    if program is None:
        return False
    for name in _REGULAR:
        if "Type: regular" in _debugfs(program, f"stat /{name}", image, cancel):
            (peek / name).parent.mkdir(parents=True, exist_ok=True)
            _debugfs(program, f"dump /{name} {peek / name}", image, cancel)
    if "Type: " in _debugfs(program, f"stat /{KERNEL}", image, cancel):
        (peek / KERNEL).parent.mkdir(parents=True, exist_ok=True)
        (peek / KERNEL).touch()
    peek.mkdir(exist_ok=True)
    return True


def _debugfs(program: str, request: str, image: Path, cancel: Cancel) -> str:
    return run([program, "-R", request, image], check=False, cancel=cancel).stdout.decode("utf-8", "replace")
