"""Sealing: raw material (an overlay's upper folder) becomes a canonical layer.

An entry stays only if its type, mode, owner, xattrs, link target or content differ from what the layers below show;
a time alone is no change, and a folder that was there keeps its time. A folder made anew becomes the changes inside it.
So a layer says what changed, not how. Times later than the epoch are set to it, in the folder too, so unpacking the
layer's tar gives the folder again. Both engines pass through here, so both give the same digests.
"""

from __future__ import annotations

import hashlib
import os
import stat

from treebuilder.archive.entry import OPAQUE_NAMES, Listing, is_opaque, is_whiteout, kind_of, read_xattrs, sorted_names
from treebuilder.archive.tar import write_folder
from treebuilder.model.digest import Digest
from treebuilder.oci.view import Found, StackView
from treebuilder.records import record

_CHUNK = 1 << 20


@record
class Sealed:
    """`content` is the digest of the canonical tar, `size_bytes` its length, `listing` the folder's `listing_digest`.

    `changed` and `deleted` are the paths that the layers below show too and that differ or are gone, sorted;
    `kept_folders` are folders that are here only because something below them is.
    """

    content: Digest
    size_bytes: int
    listing: str
    changed: tuple[str, ...]
    deleted: tuple[str, ...]
    kept_folders: tuple[str, ...]


class HashingSink:
    """Takes bytes, keeps their SHA-256 and count."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes, /) -> int:
        self._hash.update(data)
        self.size_bytes += len(data)
        return len(data)

    def digest(self) -> Digest:
        return Digest(self._hash.hexdigest())


@record
class Measured:
    """A folder's canonical tar, which is not written: its digest and length. `listing` is `listing_digest`'s."""

    content: Digest
    size_bytes: int
    listing: str


def measure(root: str) -> Measured:
    """Reads a folder once."""
    sink, listing = HashingSink(), Listing()
    write_folder(root, sink, seen=listing.add)
    return Measured(sink.digest(), sink.size_bytes, listing.digest())


def seal(upper: str, below: StackView, epoch_s: int, *, drop: frozenset[str] = frozenset()) -> Sealed:
    """Makes `upper` canonical in place. `drop` are paths removed whatever they hold (mount points)."""
    sealer = _Sealer(upper, below, epoch_s, drop)
    sealer.folder("")
    os.chmod(upper, 0o755)
    found = measure(upper)
    return Sealed(
        found.content, found.size_bytes, found.listing, tuple(sorted(sealer.changed)),
        tuple(sorted(sealer.deleted)), tuple(sorted(sealer.passed)),
    )  # fmt: skip


class _Sealer:
    def __init__(self, upper: str, below: StackView, epoch_s: int, drop: frozenset[str]) -> None:
        self._upper = upper
        self._below = below
        self._epoch = epoch_s
        self._drop = drop
        self.changed: list[str] = []
        self.deleted: list[str] = []
        self.passed: list[str] = []

    def folder(self, path: str, *, anew: bool = False) -> bool:
        """Seals a folder's children. `anew`: the layers below do not shine through. True if any stayed."""
        full = f"{self._upper}/{path}" if path else self._upper
        stayed = False
        for name in sorted_names(full):
            stayed = self._entry(f"{path}/{name}" if path else name, anew) or stayed
        return stayed

    def _entry(self, path: str, anew: bool) -> bool:
        full = f"{self._upper}/{path}"
        info = os.lstat(full)
        lower = self._below.find(path)
        if is_whiteout(info):
            if lower is None:
                os.unlink(full)
                return False
            self.deleted.append(path)
            return True
        if not kind_of(info.st_mode):  # a socket: its owner is gone
            os.unlink(full)
            return False
        if stat.S_ISDIR(info.st_mode):
            return self._directory(path, full, info, lower, anew)
        if path in self._drop and (lower is None or info.st_size == 0):
            os.unlink(full)
            return False
        if lower is not None:
            if same_entry(full, info, lower):
                os.unlink(full)
                return False
            self.changed.append(path)
        self._finish(full, info)
        return True

    def _directory(self, path: str, full: str, info: os.stat_result, lower: Found | None, anew: bool) -> bool:
        over_folder = lower is not None and stat.S_ISDIR(lower.info.st_mode)
        anew = anew or is_opaque(full)
        if anew:
            self._name_hidden(path, full)
        stayed = self.folder(path, anew=anew)
        if lower is not None and over_folder and same_entry(full, info, lower):
            if not stayed:
                os.rmdir(full)
                return False
            self.passed.append(path)
        elif lower is not None:
            self.changed.append(path)
        elif path in self._drop and not stayed:
            os.rmdir(full)
            return False
        # A folder's time is a trace of what happened inside it, also of what left nothing (Docker's mount points).
        self._finish(full, lower.info if lower is not None and over_folder else info)
        return True

    def _name_hidden(self, path: str, full: str) -> None:
        """Deletes one by one what an opaque folder hides: a folder made anew is then told by what differs in it."""
        for name in self._below.names(path):
            if not os.path.lexists(f"{full}/{name}"):
                os.mknod(f"{full}/{name}", stat.S_IFCHR, 0)
        for mark in OPAQUE_NAMES:
            try:
                os.removexattr(full, mark, follow_symlinks=False)
            except OSError:
                continue

    def _finish(self, full: str, times: os.stat_result) -> None:
        _clear_overlay_marks(full)
        seconds = min(times.st_mtime_ns // 1_000_000_000, self._epoch)
        os.utime(full, (seconds, seconds), follow_symlinks=False)


def _clear_overlay_marks(full: str) -> None:
    """Overlayfs's notes about where a file was copied up from mean nothing in another stack."""
    try:
        names = os.listxattr(full, follow_symlinks=False)
    except OSError:
        return
    for name in names:
        if name.startswith(("trusted.overlay.", "user.overlay.")):
            os.removexattr(full, name, follow_symlinks=False)


def same_entry(full: str, info: os.stat_result, lower: Found) -> bool:
    """Whether two paths hold the same, times aside. Contents are compared only when all else agrees."""
    other = lower.info
    if (info.st_mode, info.st_uid, info.st_gid) != (other.st_mode, other.st_uid, other.st_gid):
        return False
    kind = kind_of(info.st_mode)
    if kind in "cb" and info.st_rdev != other.st_rdev:
        return False
    if read_xattrs(full) != read_xattrs(lower.real):
        return False
    if kind == "l":
        return os.readlink(full) == os.readlink(lower.real)
    if kind == "f":
        return info.st_size == other.st_size and _same_content(full, lower.real)
    return True


def _same_content(a: str, b: str) -> bool:
    with open(a, "rb", buffering=0) as left, open(b, "rb", buffering=0) as right:
        while True:
            x, y = left.read(_CHUNK), right.read(_CHUNK)
            if x != y:
                return False
            if not x:
                return True
