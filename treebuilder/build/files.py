"""Layers made of files, without running anything: the build context, what is retrieved, what is copied.

The context goes to /luetbuild as luet's `COPY . /luetbuild` does: owner 0:0, modes kept, times set to the epoch, so
that a checkout's times are in no result. The specfiles themselves are a layer of their own that only the package's
own commands see: what a package hands on does not change with a comment in its build.yaml.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from treebuilder.archive.entry import Entry, kind_of, read_xattrs
from treebuilder.archive.extract import Writer
from treebuilder.errors import SpecError, TreebuildError
from treebuilder.model.digest import Digest
from treebuilder.oci.seal import Sealed, measure, seal
from treebuilder.oci.store import Store
from treebuilder.oci.view import StackView
from treebuilder.plan.graph import CopySource
from treebuilder.tree import ContextFile

_FOLDER = "luetbuild"
Extra = tuple[str, Path, Digest | None]  # a name in /luetbuild, the file, what it must be


def context_layer(
    store: Store, context: str, files: Iterable[ContextFile], extra: tuple[Extra, ...], epoch_s: int
) -> Digest:
    """The layer that holds some context files and `extra` in /luetbuild; of one name the extra file wins, as in luet.

    Raises TreebuildError (reason "context-changed") for a file that is not what was planned with any more: a result
    made of it would be recorded under a key that says otherwise.
    """
    with store.scratch() as work:
        made = str(work)
        folders = {_FOLDER: 0o755}
        os.mkdir(f"{made}/{_FOLDER}")
        for item in files:
            path = f"{_FOLDER}/{item.path}"
            if item.type == "dir":
                folders[path] = item.mode
                os.makedirs(f"{made}/{path}", exist_ok=True)
                continue
            if "/" in item.path:
                os.makedirs(f"{made}/{path.rpartition('/')[0]}", exist_ok=True)
            if item.type == "link":
                os.symlink(item.target, f"{made}/{path}")
                _settle(f"{made}/{path}", None, epoch_s)
            else:
                _copy(f"{context}/{item.path}", f"{made}/{path}", item.digest)
                _settle(f"{made}/{path}", item.mode, epoch_s)
        for name, source, digest in extra:
            target = f"{made}/{_FOLDER}/{name}"
            with contextlib.suppress(FileNotFoundError):
                os.unlink(target)  # a link would be written through
            _copy(str(source), target, digest)
            _settle(target, 0o644, epoch_s)
        for path in sorted(folders, reverse=True):  # a folder's time is set after its content's
            _settle(f"{made}/{path}", folders[path], epoch_s)
        _settle(made, 0o755, epoch_s)
        found = measure(made)
        store.add_tree(Path(made), found.content, found.listing)
        return found.content


def _copy(source: str, target: str, expected: Digest | None) -> None:
    """Copies a file's content and holds it against the digest that is in the key."""
    seen = hashlib.sha256()
    fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(fd, "rb", buffering=0) as read, open(target, "xb", buffering=0) as out:
        while data := read.read(1 << 20):
            seen.update(data)
            out.write(data)
    if expected is not None and seen.hexdigest() != expected.hex:
        raise TreebuildError(
            f"{source} was changed while the build ran", hint="run the build again", reason="context-changed"
        )


def _settle(path: str, mode: int | None, epoch_s: int) -> None:
    """Owner 0:0, then the mode (chown clears setuid bits), then the time."""
    os.chown(path, 0, 0, follow_symlinks=False)
    if mode is not None:
        os.chmod(path, mode)
    os.utime(path, (epoch_s, epoch_s), follow_symlinks=False)


def copy_layer(store: Store, below: StackView, items: list[tuple[CopySource, StackView]], epoch_s: int) -> Sealed:
    """The layer that `copy:` items make on `below`: each from its source's view (Dockerfile's COPY --from)."""
    with store.scratch() as work:
        made = work / "layer"
        made.mkdir()
        with Writer(str(made)) as writer:
            for item, source in items:
                _Copier(writer, below, source, made).copy(item)
        sealed = seal(str(made), below, epoch_s)
        store.add_tree(made, sealed.content, sealed.listing)
        return sealed


class _Copier:
    def __init__(self, writer: Writer, below: StackView, source: StackView, made: Path) -> None:
        self._writer = writer
        self._below = below
        self._source = source
        self._made = made

    def copy(self, item: CopySource) -> None:
        """Folders copy their content, files go to a name or, with `/` at the end, into a folder; globs expand."""
        into_folder = item.destination.endswith("/")
        destination = self._below.resolve(_absolute(item.destination))
        sources = self._expand(item)
        if len(sources) > 1 and not into_folder:
            raise SpecError(
                f"copy: {item.source!r} is several files; the destination must end with /",
                where=item.where,
                reason="copy",
            )
        for source in sources:
            found = self._source.find(source)
            if found is None:
                raise SpecError(f"copy: there is no {item.source!r} in the source", where=item.where, reason="copy")
            if stat.S_ISDIR(found.info.st_mode):
                self._parents(destination, itself=True)
                for entry, real in self._source.walk(source):
                    self._add(entry, real, destination, source)
                continue
            name = source.rpartition("/")[2]
            below = self._below.find(destination) if destination else None
            folder = into_folder or not destination or (below is not None and stat.S_ISDIR(below.info.st_mode))
            path = f"{destination}/{name}".lstrip("/") if folder else destination
            self._parents(path, itself=False)
            entry_path = path
            self._file(found.real, found.info, entry_path)

    def _expand(self, item: CopySource) -> list[str]:
        import fnmatch

        wanted = [part for part in _absolute(item.source).split("/") if part]
        found = [""]
        for part in wanted:
            if any(c in part for c in "*?["):
                found = [
                    f"{base}/{name}".lstrip("/")
                    for base in found
                    for name in self._source.names(self._source.resolve(base))
                    if fnmatch.fnmatchcase(name, part)
                ]
            else:
                found = [f"{base}/{part}".lstrip("/") for base in found]
        found = [self._source.resolve(path) for path in found]
        if not found:
            raise SpecError(f"copy: there is no {item.source!r} in the source", where=item.where, reason="copy")
        return found

    def _parents(self, path: str, *, itself: bool) -> None:
        """Makes the folders above `path` with the attributes they have below, or 0755 root."""
        parts = path.split("/") if path else []
        for count in range(1, len(parts) + (1 if itself else 0)):
            folder = "/".join(parts[:count])
            if (self._made / folder).is_dir():
                continue
            found = self._below.find(folder)
            if found is not None and stat.S_ISDIR(found.info.st_mode):
                info, xattrs = found.info, read_xattrs(found.real)
                mtime = info.st_mtime_ns // 1_000_000_000
                self._writer.add(
                    Entry(folder, "d", stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, 0, mtime, xattrs=xattrs),
                    None,
                )
            else:
                self._writer.add(Entry(folder, "d", 0o755, 0, 0, 0, 0), None)

    def _add(self, entry: Entry, real: str, destination: str, source: str) -> None:
        relative = entry.path[len(source) + 1 :] if source else entry.path
        path = f"{destination}/{relative}".lstrip("/")
        if entry.kind == "d":
            below = self._below.find(path)
            if below is not None and stat.S_ISDIR(below.info.st_mode):
                self._parents(path, itself=True)
                return
            self._writer.add(entry._replace(path=path, uid=0, gid=0), None)
            return
        if entry.kind == "h":
            entry = entry._replace(kind="f", size=os.lstat(real).st_size, link="")
        entry = entry._replace(path=path, uid=0, gid=0)
        if entry.kind == "f":
            with open(real, "rb", buffering=0) as content:
                self._writer.add(entry, content)
        else:
            self._writer.add(entry, None)

    def _file(self, real: str, info: os.stat_result, path: str) -> None:
        mtime = info.st_mtime_ns // 1_000_000_000
        kind = kind_of(info.st_mode)
        link = os.readlink(real) if kind == "l" else ""
        rdev = info.st_rdev if kind in "cb" else 0
        entry = Entry(path, kind, stat.S_IMODE(info.st_mode), 0, 0, info.st_size, mtime, link, rdev, read_xattrs(real))
        if kind == "f":
            with open(real, "rb", buffering=0) as content:
                self._writer.add(entry, content)
        else:
            self._writer.add(entry, None)


def _absolute(path: str) -> str:
    """A Dockerfile path as a relative one below `/`; relative paths start at the working folder."""
    if path.startswith("/"):
        return path.strip("/")
    return f"{_FOLDER}/{path.strip('/')}"
