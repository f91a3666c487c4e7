"""One file system entry, as layers, archives and filters see it, and the scan of a folder into entries.

Folder form (an overlay's upper or lower): a deletion is a character device 0:0, a folder that hides what lies
under it has the xattr `*.overlay.opaque`. Archive form (OCI image-spec, layer.md "Whiteouts"): `.wh.NAME` and
`.wh..wh..opq`.
"""

import os
import stat
from collections.abc import Iterator

from treebuilder.annotations import NamedTuple

OPAQUE_NAMES = ("trusted.overlay.opaque", "user.overlay.opaque")
_OVERLAY = ("trusted.overlay.", "user.overlay.")
KEPT_XATTRS = ("user.", "security.capability", "system.posix_acl_")


class Entry(NamedTuple):
    """`path` is relative with `/`, no leading slash; `kind` is one of

    f file · d folder · l symbolic link · h hard link to `link` · c/b device · p fifo · w whiteout.
    `mode` are the permission bits (07777), times are whole seconds, `xattrs` sorted pairs.
    """

    path: str
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    link: str = ""
    rdev: int = 0
    xattrs: tuple[tuple[str, bytes], ...] = ()
    opaque: bool = False


def is_whiteout(info: os.stat_result) -> bool:
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def kind_of(mode: int) -> str:
    """The entry kind of a stat mode; empty for sockets, which no archive holds."""
    match stat.S_IFMT(mode):
        case stat.S_IFREG:
            return "f"
        case stat.S_IFDIR:
            return "d"
        case stat.S_IFLNK:
            return "l"
        case stat.S_IFCHR:
            return "c"
        case stat.S_IFBLK:
            return "b"
        case stat.S_IFIFO:
            return "p"
        case _:
            return ""


def read_xattrs(path: str) -> tuple[tuple[str, bytes], ...]:
    """The xattrs that belong to content: file capabilities, user.* and ACLs, without overlayfs's own."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return ()
    if not names:
        return ()
    kept = [n for n in sorted(names) if n.startswith(KEPT_XATTRS) and not n.startswith(_OVERLAY)]
    return tuple((name, os.getxattr(path, name, follow_symlinks=False)) for name in kept)


def is_opaque(path: str) -> bool:
    """Whether a folder of a layer hides the folder of the same name in the layers below."""
    for name in OPAQUE_NAMES:
        try:
            if os.getxattr(path, name, follow_symlinks=False) == b"y":
                return True
        except OSError:
            continue
    return False


def sorted_names(folder: str) -> list[str]:
    """Names in byte order, the one order for archives, keys and digests."""
    return sorted(os.listdir(folder), key=os.fsencode)


def entry_of(full: str, path: str, info: os.stat_result) -> Entry | None:
    """The entry for one path of a folder; None for a socket."""
    if is_whiteout(info):
        return Entry(path, "w", 0, 0, 0, 0, 0)
    kind = kind_of(info.st_mode)
    if not kind:
        return None
    link = os.readlink(full) if kind == "l" else ""
    size = info.st_size if kind == "f" else 0
    rdev = info.st_rdev if kind in "cb" else 0
    opaque = kind == "d" and is_opaque(full)
    mtime = info.st_mtime_ns // 1_000_000_000
    return Entry(
        path, kind, stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, size, mtime, link, rdev,
        read_xattrs(full), opaque,
    )  # fmt: skip


class Listing:
    """A cheap fingerprint of a folder: names, kinds, modes, owners, sizes and times of all entries, no content."""

    def __init__(self) -> None:
        from hashlib import sha256  # brings OpenSSL, 3 ms

        self._seen = sha256()

    def add(self, entry: Entry) -> None:
        self._seen.update(repr(entry).encode("utf-8", "surrogateescape"))

    def digest(self) -> str:
        return self._seen.hexdigest()


def listing_digest(root: str) -> str:
    """The `Listing` of a folder, in walk order."""
    listing = Listing()
    for entry in scan(root):
        listing.add(entry)
    return listing.digest()


def scan(root: str) -> Iterator[Entry]:
    """Every entry below `root` in walk order (a folder, then its content, names in byte order).

    Second and later names of a hard-linked file are kind "h" with the first name as `link`.
    """
    links: dict[tuple[int, int], str] = {}
    yield from _scan(root, "", links)


def _scan(folder: str, prefix: str, links: dict[tuple[int, int], str]) -> Iterator[Entry]:
    for name in sorted_names(folder):
        full = f"{folder}/{name}"
        info = os.lstat(full)
        entry = entry_of(full, prefix + name, info)
        if entry is None:
            continue
        if entry.kind == "f" and info.st_nlink > 1:
            first = links.setdefault((info.st_dev, info.st_ino), entry.path)
            if first != entry.path:
                entry = entry._replace(kind="h", link=first, size=0)
        yield entry
        if entry.kind == "d":
            yield from _scan(full, entry.path + "/", links)
