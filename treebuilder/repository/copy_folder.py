"""A folder as the destination of a copy: what comes is staged, and shown by exchanging the folder for a new one.

The new folder holds links to all that stays, so it costs names and no bytes. Whoever reads the path sees the old
repository or the new one. Where folders cannot be exchanged (mount points and what is above them, some file systems),
files are renamed one by one, the index last. A folder that holds something else than a repository is refused.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from treebuilder.container.exchange import exchange
from treebuilder.errors import ConfigError, IntegrityError
from treebuilder.model.digest import Digest
from treebuilder.oci.store import Store
from treebuilder.repository.api import INDEX_NAME, SIGNATURE_SUFFIX
from treebuilder.repository.copying import SNAPSHOT_SUFFIX, Piece, State, show
from treebuilder.repository.disk import DiskBackend
from treebuilder.repository.plain import open_plain
from treebuilder.system.files import disk_errors, new_name, remove_tree, sync_folder, write_atomic
from treebuilder.system.process import Cancel

_INCOMING = ".incoming"
_CHUNK = 1 << 20
_NEW_NAME = re.compile(r"[0-9a-f]{16}")
_OCTAL = re.compile(rb"\\([0-7]{3})")


class FolderPlace:
    """Implements `Destination`. One run at a time may write to a folder.

    Raises ConfigError for a place that is no folder, or one that holds something else than a repository.
    """

    by_name = True

    def __init__(self, folder: Path, store: Store, cancel: Cancel) -> None:
        self._folder = Path(os.path.realpath(folder))
        self._incoming = self._folder / _INCOMING
        self._backend = DiskBackend(self._folder, store, cancel)
        self._cancel = cancel
        self._there: set[Piece] = set()
        with disk_errors(f"reading {self._folder}"):
            _refuse_foreign(self._folder)

    def document(self, name: str) -> bytes | None:
        return self._backend.index(name)

    def missing(self, states: Sequence[State]) -> tuple[Piece, ...]:
        pieces = dict.fromkeys(piece for state in states for piece in state.pieces)
        self._there = {piece for piece in pieces if self._reads(self._folder / piece.name, piece.sha256)}
        return tuple(
            piece
            for piece in pieces
            if piece not in self._there and not self._reads(self._incoming / piece.sha256.hex, piece.sha256)
        )

    def _reads(self, path: Path, sha256: Digest) -> bool:
        seen = hashlib.sha256()
        try:
            with open_plain(path) as source:
                while data := source.read(_CHUNK):
                    self._cancel.check()
                    seen.update(data)
        except (OSError, IntegrityError):
            return False
        return seen.hexdigest() == sha256.hex

    def add(self, piece: Piece, source: Path) -> int:
        part = self._incoming / f"{new_name()}.part"
        with disk_errors(f"copying {piece.name}", self._folder):
            self._incoming.mkdir(parents=True, exist_ok=True)
            try:
                size = self._copied(source, part, piece)
                part.replace(self._incoming / piece.sha256.hex)
            finally:
                part.unlink(missing_ok=True)
        return size

    def _copied(self, source: Path, part: Path, piece: Piece) -> int:
        seen, size = hashlib.sha256(), 0
        with source.open("rb") as data, part.open("wb") as out:
            while chunk := data.read(_CHUNK):
                self._cancel.check()
                seen.update(chunk)
                size += out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        if seen.hexdigest() != piece.sha256.hex:
            raise IntegrityError(
                f"{piece.name} is sha256:{seen.hexdigest()}, and its repository promises {piece.sha256}"
            )
        return size

    def publish(self, states: Sequence[State], documents: Mapping[str, bytes]) -> bool:
        placed: dict[str, Path] = {}
        others = {name: data for name, data in documents.items() if self._backend.index(name) != data}
        documents = dict(others)
        gone: set[str] = set()
        for state in states:
            placed |= {p.name: self._incoming / p.sha256.hex for p in state.pieces if p not in self._there}
            for name, data in ((state.reference + SIGNATURE_SUFFIX, state.signature), (state.reference, state.index)):
                present = self._backend.index(name)
                if data is None and present is not None:
                    gone.add(name)
                elif data is not None and data != present:
                    documents[name] = data
        changed = bool(placed or documents or gone)
        with disk_errors(f"writing {self._folder}", self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            if changed and not self._exchanged(placed, documents, gone):
                self._one_by_one(placed, gone, states)
                for name, data in others.items():
                    self._backend.commit(name, data)
            _remove(self._incoming)
        return changed

    @property
    def _beside(self) -> str:
        """How the names of folders begin that are made to be exchanged for this one."""
        return f".{self._folder.name}.mirror-"

    def _sweep(self) -> None:
        """Removes what killed runs left beside the folder, the old one too."""
        with suppress(OSError):
            for left in self._folder.parent.iterdir():
                if left.name.startswith(self._beside) and _NEW_NAME.fullmatch(left.name[len(self._beside) :]):
                    _remove(left)

    # at once ----------------------------------------------------------------------------------------------------
    def _exchanged(self, placed: Mapping[str, Path], documents: Mapping[str, bytes], gone: set[str]) -> bool:
        """False where that is not possible; nothing has changed then."""
        if _mounts(self._folder):  # they would go with the old folder
            return False
        made = self._folder.with_name(f"{self._beside}{new_name()}")
        leave = {*placed, *documents, *gone}
        try:
            linked = _linked(self._folder, made, leave)
            for name, staged in placed.items():
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                os.link(staged, made / name)
            for name, data in documents.items():
                write_atomic(made / name, data)
            _keep_times(self._folder, made, leave)
            sync_folder(made)
            exchange(made, self._folder)
        except OSError:
            with suppress(OSError):
                _remove(made)
            return False
        except BaseException:
            _remove(made)
            raise
        if _mounts(made):  # just now
            exchange(made, self._folder)
            _remove(made)
            return False
        # what somebody else wrote in the meantime stays
        for name in _names(made) - linked - leave:
            if not (self._folder / name).exists():
                (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
                (made / name).replace(self._folder / name)
        _remove(made)
        sync_folder(self._folder.parent)
        return True

    # where that is not possible -----------------------------------------------------------------------------------
    def _one_by_one(self, placed: Mapping[str, Path], gone: set[str], states: Sequence[State]) -> None:
        for name, staged in placed.items():
            target = self._folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            part = self._incoming / f"{new_name()}.part"
            shutil.copyfile(staged, part)
            part.replace(target)
        for name in gone:
            (self._folder / name).unlink(missing_ok=True)
        for state in states:
            show(state, self._backend.index, self._backend.commit)


def _refuse_foreign(folder: Path) -> None:
    """Raises ConfigError, OSError."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder", hint="HOST/NAME, a folder or FILE.tar")
    names = {path.name for path in folder.iterdir()} - {"lost+found"}
    ours = any(name in (INDEX_NAME, _INCOMING) or name.endswith(SNAPSHOT_SUFFIX) for name in names)
    if names and not ours:
        raise ConfigError(
            f"{folder} is no repository, and not empty: nothing is copied there",
            hint="name a new or empty folder, or one that a repository was copied to", reason="no-repository",
        )  # fmt: skip


def _mounts(folder: Path) -> bool:
    """Whether something is mounted below a folder; True where nobody can tell. Source: proc_pid_mountinfo(5)."""
    try:
        lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return True
    inside = os.fsencode(folder) + b"/"
    places = (line.split(b" ")[4] for line in lines)
    return any(_OCTAL.sub(lambda found: bytes([int(found[1], 8)]), place).startswith(inside) for place in places)


def _remove(folder: Path) -> None:
    """Deletes a folder, unless something is mounted there: that would be deleted with it."""
    if not _mounts(folder) and not os.path.ismount(folder):
        remove_tree(folder)


def _names(folder: Path) -> set[str]:
    """All that is no folder, without what is staged."""
    found: set[str] = set()
    for base, folders, files in os.walk(folder):
        if Path(base) == folder and _INCOMING in folders:
            folders.remove(_INCOMING)
        links = [name for name in folders if os.path.islink(f"{base}/{name}")]
        found |= {os.path.relpath(f"{base}/{name}", folder) for name in (*files, *links)}
    return found


def _linked(folder: Path, made: Path, leave: set[str]) -> set[str]:
    """Makes a second folder of the same files but some; their names."""
    made.mkdir()
    for base, folders, _ in os.walk(folder):
        if Path(base) == folder and _INCOMING in folders:
            folders.remove(_INCOMING)
        target = made / os.path.relpath(base, folder)
        target.mkdir(exist_ok=True)
        info = os.stat(base)
        os.chown(target, info.st_uid, info.st_gid)
        os.chmod(target, info.st_mode & 0o7777)
    names = _names(folder) - leave
    for name in names:
        os.link(folder / name, made / name, follow_symlinks=False)
    return names


def _keep_times(folder: Path, made: Path, changed: set[str]) -> None:
    """Gives folders of which nothing changes the times of those they stand for."""
    touched = {os.path.dirname(name) for name in changed} | {""}
    for base, _, _ in os.walk(made):
        name = "" if base == str(made) else os.path.relpath(base, made)
        if name not in touched and (folder / name).is_dir():
            shutil.copystat(folder / name, base)
