"""The few Linux calls that Python 3.11 lacks, through libc. Numbers of the mount API are equal on all architectures."""

from __future__ import annotations

import ctypes
import errno
import os

CLONE_NEWNS = 0x00020000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
_FSOPEN, _MOVE_MOUNT, _FSCONFIG, _FSMOUNT = 430, 429, 431, 432
_SET_FLAG, _SET_STRING, _CMD_CREATE = 0, 1, 6
_MOVE_EMPTY_PATH = 4
_AT_FDCWD = -100

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
    return result


def _syscall(number: int, *args: object) -> int:
    return int(_libc.syscall(ctypes.c_long(number), *args))


def unshare_mounts() -> None:
    """Gives this thread, and every thread and program it starts, mounts of its own."""
    _checked(_libc.unshare(CLONE_NEWNS), "unshare")
    try:
        mount("none", "/", "", MS_REC | MS_PRIVATE, "")
    except OSError as err:
        if err.errno != errno.EINVAL:
            raise
        _make_root_a_mount()
        mount("none", "/", "", MS_REC | MS_PRIVATE, "")


def _make_root_a_mount() -> None:
    """In a chroot `/` is no mount point, so no container below it could switch its root; this makes it one."""
    here = os.getcwd()
    for place in ("/mnt", "/media", "/run", "/tmp"):
        if os.path.isdir(place):
            mount("/", place, "", MS_BIND | MS_REC, "")
            os.chroot(place)
            os.chdir(here)
            return


def mount(source: str, target: str, kind: str, flags: int, options: str) -> None:
    result = _libc.mount(
        os.fsencode(source), os.fsencode(target), os.fsencode(kind), ctypes.c_ulong(flags), os.fsencode(options)
    )
    _checked(result, target)


def unmount(target: str) -> None:
    """Detaches a mount now; the kernel lets it go when its last user ends."""
    _checked(_libc.umount2(os.fsencode(target), MNT_DETACH), target)


def mount_overlay(lowers: list[str], upper: str, work: str, target: str, options: dict[str, str]) -> None:
    """Mounts an overlay by `fsconfig`, one call per lower folder, so the stack may be 500 deep.

    `lowers` are given top first. Raises OSError; EINVAL where the kernel does not know `lowerdir+` (before 6.8).
    """
    fd = _checked(_syscall(_FSOPEN, b"overlay", ctypes.c_uint(1)), "fsopen overlay")
    try:
        for lower in lowers:
            _set(fd, "lowerdir+", lower)
        for key, value in {**options, "upperdir": upper, "workdir": work}.items():
            _set(fd, key, value)
        _checked(_syscall(_FSCONFIG, fd, _CMD_CREATE, None, None, 0), f"overlay on {target}")
        mounted = _checked(_syscall(_FSMOUNT, fd, 1, 0), f"overlay on {target}")
        try:
            moved = _syscall(_MOVE_MOUNT, mounted, b"", _AT_FDCWD, os.fsencode(target), _MOVE_EMPTY_PATH)
            _checked(moved, target)
        finally:
            os.close(mounted)
    finally:
        os.close(fd)


def _set(fd: int, key: str, value: str) -> None:
    if value:
        result = _syscall(_FSCONFIG, fd, _SET_STRING, key.encode(), os.fsencode(value), 0)
    else:
        result = _syscall(_FSCONFIG, fd, _SET_FLAG, key.encode(), None, 0)
    _checked(result, f"overlay option {key}")
