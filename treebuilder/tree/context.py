"""Build contexts: every file of a package's folder, as the commands will see them, and one digest over them.

The digest covers path, type, mode, link target and content, sorted bytewise. Links never lead out of the folder, but
for those to specfiles, which may lead anywhere in the tree: what such a file says is in the recipe, and for commands
the link leads nowhere.
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
from treebuilder.tree.files import is_inside
from treebuilder.tree.index import FileStamp, SpecIndex
from treebuilder.tree.snapshot import Entry, Snapshot

SPECFILES = frozenset(("definition.yaml", "collection.yaml", "build.yaml", "finalize.yaml"))


@record
class ContextFile:
    """`path` is relative with `/` (surrogate escapes for bytes that are not UTF-8), `mode` the permission bits.

    `digest` is there for files, `target` for links; `size` counts bytes.
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
        content = file.digest.hex if file.digest is not None else file.target
        for part in (file.type, f"{file.mode:o}", file.path, content):
            sha.update(os.fsencode(part) + b"\0")
    return Digest(sha.hexdigest())


def context_digest(snapshot: Snapshot, folder: str, index: SpecIndex | None) -> Digest:
    """The digest of a folder; with an index that knows its stats, nothing is read."""
    if index is None:
        return digest_of(context_files(snapshot, folder, None))
    entries = tuple(snapshot.below(folder))
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
    if path in SPECFILES and is_inside(absolute, snapshot.absolute):
        if os.path.isabs(target):  # a tree is the same wherever it stands
            target = os.path.relpath(os.path.realpath(absolute), os.path.realpath(os.path.dirname(absolute)))
        return ContextFile(path, "link", 0o777, 0, target, None)
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
    try:
        fd = os.open(absolute, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            hexdigest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as err:
        where = Place(snapshot.shown(entry.path))
        raise SpecError(f"cannot read it: {err.strerror}", where=where, reason="unreadable") from err
    if index is not None and not snapshot.is_young(entry):
        index.put(stamp, bytes.fromhex(hexdigest))
    return Digest(hexdigest)
