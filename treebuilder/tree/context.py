"""Build contexts: every file of a package's folder, as the commands will see them, and one digest over them.

The digest covers path, type, mode, link target and content, sorted bytewise. Links never lead out of the folder, but
for those to specfiles, which may lead anywhere in the tree: what such a file says counts, and for commands the link
leads nowhere.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable

from treebuilder.annotations import Literal
from treebuilder.errors import Place, SpecError
from treebuilder.model.digest import Digest
from treebuilder.records import record
from treebuilder.tree.files import SPECFILES, is_inside
from treebuilder.tree.index import FileStamp, SpecIndex
from treebuilder.tree.snapshot import Entry, Snapshot


@record
class ContextFile:
    """`path` is relative with `/` (surrogate escapes for bytes that are not UTF-8), `mode` the permission bits.

    `digest` is there for files, and for links to specfiles, of what they lead to; `target` for links; `size` counts
    bytes.
    """

    path: str
    type: Literal["file", "dir", "link"]
    mode: int
    size: int
    target: str
    digest: Digest | None


def context_files(snapshot: Snapshot, folder: str, index: SpecIndex | None) -> tuple[ContextFile, ...]:
    """The files of a folder of a tree, sorted bytewise. Raises SpecError ("context-escape", "context-type")."""
    prefix = len(folder) + 1 if folder else 0
    base = os.path.join(snapshot.absolute, folder) if folder else snapshot.absolute
    files = [_file(snapshot, entry, entry.path[prefix:], base, index) for entry in snapshot.below(folder)]
    return tuple(sorted(files, key=lambda file: os.fsencode(file.path)))


def digest_of(files: Iterable[ContextFile]) -> Digest:
    """The digest of a listing."""
    sha = hashlib.sha256(b"context 1\0")
    for file in files:
        says = file.digest.hex if file.digest is not None else ""
        content = (file.target, says) if file.target and says else (says or file.target,)
        for part in (file.type, f"{file.mode:o}", file.path, *content):
            sha.update(os.fsencode(part) + b"\0")
    return Digest(sha.hexdigest())


def context_digest(snapshot: Snapshot, folder: str, index: SpecIndex | None) -> Digest:
    """The digest of a folder; with an index that knows its stats, nothing is read."""
    if index is None:
        return digest_of(context_files(snapshot, folder, None))
    entries = tuple(snapshot.below(folder))
    if any(stat.S_ISLNK(entry.mode) and entry.name in SPECFILES for entry in entries):  # the stats are those of links
        return digest_of(context_files(snapshot, folder, index))
    stats = hashlib.sha256(repr(entries).encode("utf-8", "surrogateescape")).hexdigest()
    whole = FileStamp(f"{os.path.join(snapshot.absolute, folder)}//{stats}", len(entries), 0, 0, 0)
    known = index.get(whole)
    if known is not None and len(known) == 32:
        return Digest(known.hex())
    digest = digest_of(context_files(snapshot, folder, index))
    if not any(snapshot.is_young(entry) for entry in entries):
        index.put(whole, bytes.fromhex(digest.hex))
    return digest


def _file(snapshot: Snapshot, entry: Entry, path: str, base: str, index: SpecIndex | None) -> ContextFile:
    absolute = os.path.join(snapshot.absolute, entry.path)
    mode = stat.S_IMODE(entry.mode)
    if stat.S_ISREG(entry.mode):
        return ContextFile(path, "file", mode, entry.size, "", _content(absolute, entry, snapshot, index))
    if stat.S_ISDIR(entry.mode):
        return ContextFile(path, "dir", mode, 0, "", None)
    where = Place(snapshot.shown(entry.path))
    if not stat.S_ISLNK(entry.mode):
        raise SpecError(
            "a build context holds files, folders and links only", where=where, reason="context-type",
            hint="remove the socket, pipe or device",
        )  # fmt: skip
    target = os.readlink(absolute)
    if path in SPECFILES and not os.path.isabs(target) and is_inside(absolute, snapshot.absolute):
        return ContextFile(path, "link", 0o777, 0, target, _digest(os.path.realpath(absolute), where))
    if os.path.isabs(target) or not is_inside(absolute, base):
        raise SpecError(
            f"the link leads out of the package's folder, to {target}", where=where, reason="context-escape",
            hint="copy the file into the folder, or make the link in a step",
        )  # fmt: skip
    return ContextFile(path, "link", 0o777, 0, target, None)


def _content(absolute: str, entry: Entry, snapshot: Snapshot, index: SpecIndex | None) -> Digest:
    stamp = FileStamp(absolute, entry.size, entry.mtime_ns, entry.ctime_ns, entry.inode)
    if index is not None:
        known = index.get(stamp)
        if known is not None and len(known) == 32:
            return Digest(known.hex())
    digest = _digest(absolute, Place(snapshot.shown(entry.path)))
    if index is not None and not snapshot.is_young(entry):
        index.put(stamp, bytes.fromhex(digest.hex))
    return digest


def _digest(path: str, where: Place) -> Digest:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            return Digest(hashlib.file_digest(file, "sha256").hexdigest())
    except OSError as err:
        raise SpecError(f"cannot read it: {err.strerror}", where=where, reason="unreadable") from err
