"""COPY, ADD and WORKDIR: layers made of files, without running anything.

As Docker does it (Dockerfile reference, "COPY", "ADD"): a folder copies its content; several files need a destination
that ends with `/`; what is copied belongs to 0:0 unless `--chown`; links in sources and destinations are followed
inside their image. ADD unpacks local archives, as far as the store's bound allows.
"""

from __future__ import annotations

import fnmatch
import os
import stat
from pathlib import Path

from treebuilder.archive.bounds import Bound
from treebuilder.archive.compress import decompressed
from treebuilder.archive.entry import Entry, entry_of
from treebuilder.archive.extract import Writer
from treebuilder.archive.foreign import NEEDS_MEMORY
from treebuilder.archive.reading import entries
from treebuilder.engine import user
from treebuilder.errors import BuildFailed, IntegrityError, Place, SpecError, UnsafeArchive
from treebuilder.model.digest import Digest
from treebuilder.oci.seal import Sealed, seal
from treebuilder.oci.store import Store
from treebuilder.oci.view import Found, StackView
from treebuilder.records import record

_USTAR = (257, b"ustar")


@record
class Sources:
    """What to copy: `patterns` below `prefix` of `view`, and downloads as (URL, file, wanted checksum or "")."""

    view: StackView
    prefix: str
    patterns: tuple[str, ...]
    downloads: tuple[tuple[str, Path, str], ...]
    unpack: bool


@record
class Target:
    """Where to: an absolute path, whether it was written as a folder, `--chown` and `--chmod` (empty: none)."""

    path: str
    folder: bool
    owner: str
    mode: str


def make_folder(store: Store, below: StackView, path: str, epoch_s: int) -> Sealed | None:
    """The layer that makes a folder (0755, root) with those above it; None where it is one already."""
    wanted = below.resolve(path)
    found = below.find(wanted)
    if found is not None and stat.S_ISDIR(found.info.st_mode):
        return None
    with store.scratch() as work:
        made = work / "layer"
        made.mkdir()
        with Writer(str(made)) as writer:
            _Copier(writer, made, below, (0, 0), None, epoch_s).folders(wanted)
        sealed = seal(str(made), below, epoch_s)
        store.add_tree(made, sealed.content, sealed.listing)
    return sealed


def copy_in(store: Store, below: StackView, sources: Sources, target: Target, epoch_s: int, where: Place) -> Sealed:
    """The layer that one COPY or ADD makes on `below`. Raises SpecError (reason "dockerfile"), UnsafeArchive."""
    owner = _owner(target.owner, below, where)
    mode = _mode(target.mode, where)
    found = [path for pattern in sources.patterns for path in _expand(sources, pattern, where)]
    if len(found) + len(sources.downloads) > 1 and not target.folder:
        raise _fault("several files are copied: the destination must end with /", where)
    with store.scratch() as work:
        made = work / "layer"
        made.mkdir()
        with Writer(str(made)) as writer:
            copier = _Copier(writer, made, below, owner, mode, epoch_s)
            for path in found:
                _copy_one(copier, sources, path, target, store.bound, where)
            for url, file, checksum in sources.downloads:
                _check(url, file, checksum, where)
                name = url.split("?")[0].rstrip("/").rpartition("/")[2]
                copier.plain_file(file, copier.destination(target, name), 0o600)
        sealed = seal(str(made), below, epoch_s)
        store.add_tree(made, sealed.content, sealed.listing)
    return sealed


def _fault(message: str, where: Place, hint: str | None = None) -> SpecError:
    return SpecError(message, where=where, hint=hint, reason="dockerfile")


def _copy_one(copier: _Copier, sources: Sources, path: str, target: Target, bound: Bound, where: Place) -> None:
    source = sources.view.find(path)
    assert source is not None, path
    if stat.S_ISDIR(source.info.st_mode):
        copier.tree(sources.view, path, target)
        return
    if sources.unpack and stat.S_ISREG(source.info.st_mode) and is_archive(Path(source.real), where):
        copier.archive(Path(source.real), target, bound, where)
        return
    copier.entry(source, copier.destination(target, path.rpartition("/")[2]))


def _owner(text: str, below: StackView, where: Place) -> tuple[int, int] | None:
    """`--chown`; a number alone is the group too (Dockerfile reference). None for what is not said."""
    if not text:
        return None
    name, colon, _ = text.partition(":")
    if not colon and name.isdigit():
        text = f"{name}:{name}"
    try:
        found = user.identity(text, below, "--chown")
    except BuildFailed as err:
        raise _fault(err.message, where) from err
    return (found.uid, found.gid) if found is not None else (0, 0)


def _mode(text: str, where: Place) -> int | None:
    if not text:
        return None
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o7777:
        raise _fault(f"--chmod={text} is no octal mode", where)
    return mode


def _expand(sources: Sources, pattern: str, where: Place) -> list[str]:
    """The paths of the view that a source means, links followed; never none, never out of the context."""
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise _fault(f"{pattern} leads out of the build context", where)
    view = sources.view
    found = [sources.prefix] if sources.prefix else [""]
    for part in parts:
        if any(char in part for char in "*?["):
            bases = [(base, view.names(view.resolve(base))) for base in found]
            found = [f"{base}/{name}".lstrip("/") for base, names in bases for name in names
                     if fnmatch.fnmatchcase(name, part)]  # fmt: skip
        else:
            found = [f"{base}/{part}".lstrip("/") for base in found]
    # In a context, links lead nowhere but into it (`tree.context` sees to that).
    found = [path for path in (view.resolve(path) for path in found) if view.find(path) is not None]
    if not found and not (sources.prefix and not parts):
        raise _fault(f"there is no {pattern} in the {'build context' if sources.prefix else 'image'}", where)
    return found


def _check(url: str, file: Path, checksum: str, where: Place) -> None:
    if not checksum:
        return
    import hashlib

    with file.open("rb") as content:
        seen = hashlib.file_digest(content, "sha256").hexdigest()
    try:
        wanted = Digest.parse(checksum)
    except ValueError as err:
        raise _fault(f"--checksum={checksum} is no sha256", where) from err
    if wanted.hex != seen:
        raise IntegrityError(f"{url} is sha256:{seen}, not {wanted}", hint="treebuild lock --update")


# archives --------------------------------------------------------------------------------------------------------
def is_archive(path: Path, where: Place) -> bool:
    """Whether a file is a (compressed) tar, as its content says; names are not trusted.

    Raises SpecError (reason "dockerfile") where that cannot be seen without more memory than we give.
    """
    at, magic = _USTAR
    try:
        with path.open("rb") as packed:
            head = decompressed(packed, foreign=True).read(at + len(magic))
    except IntegrityError as err:
        if err.reason == NEEDS_MEMORY:
            raise _not_unpacked(path.name, err, where) from err
        return False
    except OSError:
        return False
    return head[at:] == magic


def _not_unpacked(what: str, err: OSError | IntegrityError, where: Place) -> SpecError:
    return _fault(f"{what} cannot be unpacked: {err}", where, err.hint if isinstance(err, IntegrityError) else None)


class _Copier:
    """Adds entries to a layer over `below`: parents come along with the attributes that they have there."""

    def __init__(
        self,
        writer: Writer,
        made: Path,
        below: StackView,
        owner: tuple[int, int] | None,
        mode: int | None,
        epoch_s: int,
    ) -> None:
        self._writer = writer
        self._made = made
        self._below = below
        self._owner = owner
        self._mode = mode
        self._epoch_s = epoch_s

    def destination(self, target: Target, name: str) -> str:
        """The path for one file: the target itself, or below it where that is a folder."""
        path = self._below.resolve(target.path)
        here = self._below.find(path)
        is_folder = target.folder or not path or (here is not None and stat.S_ISDIR(here.info.st_mode))
        if not is_folder and (self._made / path).is_dir() and not (self._made / path).is_symlink():
            is_folder = True
        return f"{path}/{name}".lstrip("/") if is_folder else path

    def folders(self, path: str) -> None:
        """Makes a folder and those above it."""
        parts = path.split("/") if path else []
        for count in range(1, len(parts) + 1):
            folder = "/".join(parts[:count])
            if os.path.isdir(self._made / folder):
                continue
            found = self._below.find(folder)
            if found is not None and stat.S_ISDIR(found.info.st_mode):
                entry = entry_of(found.real, folder, found.info)
                assert entry is not None
                self._writer.add(entry._replace(opaque=False), None)
            else:
                uid, gid = self._owner or (0, 0)
                self._writer.add(Entry(folder, "d", 0o755, uid, gid, 0, self._epoch_s), None)

    def tree(self, view: StackView, source: str, target: Target) -> None:
        """The content of a folder."""
        top = self._below.resolve(target.path)
        self.folders(top)
        moved: dict[str, str] = {}
        for entry, real in view.walk(source):
            relative = entry.path[len(source) + 1 :] if source else entry.path
            parent, _, name = relative.rpartition("/")
            place = "/".join(part for part in (self._below.resolve(f"{top}/{parent}"), name) if part)
            if entry.kind == "d":
                self._folder(entry, real, place)
                continue
            self.folders(place.rpartition("/")[0])
            moved[entry.path] = place
            self._add(entry._replace(link=moved[entry.link]) if entry.kind == "h" else entry, real, place)

    def _folder(self, entry: Entry, real: str, place: str) -> None:
        below = self._below.find(place)
        if below is not None and stat.S_ISDIR(below.info.st_mode):
            self.folders(place)  # what is there keeps its attributes
            return
        self._add(entry, real, place)

    def entry(self, source: Found, place: str) -> None:
        """One entry that is no folder."""
        self.folders(place.rpartition("/")[0])
        made = entry_of(source.real, place, source.info)
        if made is not None:
            self._add(made, source.real, place)

    def _add(self, entry: Entry, real: str, place: str) -> None:
        uid, gid = self._owner or (0, 0)
        mode = self._mode if self._mode is not None and entry.kind in "fd" else entry.mode
        entry = entry._replace(path=place, uid=uid, gid=gid, mode=mode, opaque=False)
        if entry.kind == "f":
            with open(real, "rb", buffering=0) as content:
                self._writer.add(entry, content)
        else:
            self._writer.add(entry, None)

    def plain_file(self, file: Path, place: str, mode: int) -> None:
        """A file of the host, whose own attributes mean nothing."""
        self.folders(place.rpartition("/")[0])
        uid, gid = self._owner or (0, 0)
        size = file.stat().st_size
        chosen = mode if self._mode is None else self._mode
        with file.open("rb", buffering=0) as content:
            self._writer.add(Entry(place, "f", chosen, uid, gid, size, self._epoch_s), content)

    def archive(self, file: Path, target: Target, bound: Bound, where: Place) -> None:
        """All that a tar holds, with its own owners unless `--chown`."""
        what = file.name
        top = self._below.resolve(target.path)
        self.folders(top)
        try:
            with file.open("rb") as packed:
                for entry, content in entries(decompressed(packed, bound, what, foreign=True), what, bound):
                    parent, _, name = entry.path.rpartition("/")
                    folder = self._below.resolve(f"{top}/{parent}")
                    self.folders(folder)
                    uid, gid = self._owner or (entry.uid, entry.gid)
                    link = f"{top}/{entry.link}".lstrip("/") if entry.kind == "h" else entry.link
                    path = f"{folder}/{name}".lstrip("/")
                    self._writer.add(entry._replace(path=path, link=link, uid=uid, gid=gid), content)
        except (OSError, IntegrityError) as err:
            raise _not_unpacked(what, err, where) from err
        except UnsafeArchive as err:
            raise UnsafeArchive(err.message, hint=err.hint, where=where, reason=err.reason) from err
