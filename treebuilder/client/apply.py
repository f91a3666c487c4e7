"""Packages get into a root, and out of it, whole or not at all, however the change ends.

An empty root is filled in a folder of ours in it, whose things move up when all are there: what a killed run left is
thrown away by the next, or moved up. A root in use gets its packages in two steps: they are unpacked beside it, on the
same file system, and a journal is written; from then on the change happens, by renames and removals that can be done
again after a kill. Packages hold no names that these folders have, so what lies there is ours.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.client import journal
from treebuilder.client.api import Change, Planned, Record, SystemRoot
from treebuilder.client.choose import Claims
from treebuilder.client.database import SystemDatabase
from treebuilder.client.journal import Journal
from treebuilder.client.laying import Laid, database_places, database_taken, kinds_differ, lay
from treebuilder.client.names import FILLED, FILLING, RESERVED, STAGING, left_over
from treebuilder.client.opening import database_of
from treebuilder.client.places import Places
from treebuilder.client.protect import Protection, divert
from treebuilder.client.ready import Room, check
from treebuilder.client.removal import doomed
from treebuilder.errors import ConflictError, StateCorrupt, TreebuildError, UnsafeArchive
from treebuilder.model.package import Finalizer, PackageId
from treebuilder.records import record, replace
from treebuilder.system.files import disk_errors, remove_tree
from treebuilder.system.inside import resolve

if TYPE_CHECKING:
    from treebuilder.archive.entry import Entry

_IN_THE_WAY = "search --installed --files says whose it is: uninstall that, or move away what is nobody's"


@record
class Applied:
    """What happened: records of packages that came, and new forms of protected files, as paths."""

    records: tuple[Record, ...]
    diverted: tuple[str, ...] = ()


def is_empty(root: SystemRoot) -> bool:
    return not any(root.folder.iterdir())


def fill(
    root: SystemRoot, change: Change, blobs: tuple[Path, ...], finalizers: tuple[Finalizer, ...],
    claims: Claims, before_each: Callable[[Planned], None],
) -> Applied:  # fmt: skip
    """Unpacks into an empty root, and leaves an empty one when that fails. Raises ConflictError, IntegrityError."""
    inside = replace(root, folder=root.folder / FILLING)
    with disk_errors(f"installing into {root.folder}", root.folder):
        try:
            inside.folder.mkdir(mode=0o755)
            inside.folder.chmod(0o755)  # whatever the umask is
            records = []
            laid: dict[str, tuple[PackageId, str]] = {}
            for item, blob in zip(change.add, blobs, strict=True):
                before_each(item)
                records.append(_unpack(item, blob, inside.folder, claims, laid, own=root.same_owner))
            if root.record:
                _record_in(inside, records, finalizers)
        except BaseException:
            remove_tree(inside.folder)
            raise
        inside.folder.rename(root.folder / FILLED)
        _move_up(root.folder)
    return Applied(tuple(records))


def _record_in(root: SystemRoot, records: list[Record], finalizers: tuple[Finalizer, ...]) -> None:
    for place in sorted(database_places(root, Places(root.folder))):
        if os.path.lexists(root.folder / place):
            raise database_taken("a package", place)
    database = database_of(root, make=True)
    try:
        database.add(records, finalizers)
    finally:
        database.close()


def _move_up(root: Path) -> None:
    """What an empty root was filled with gets its places; what has one already is not moved again."""
    filled = root / FILLED
    for path in sorted(filled.iterdir()):
        place = root / path.name
        if os.path.lexists(place):
            raise StateCorrupt(
                f"{path} cannot get its place, for {place} is there",
                hint=f"an installation into {root} was cut off: move {place} away, or remove {filled}",
            )
        path.rename(place)
    filled.rmdir()


@record
class Rules:
    """How a change is checked and laid: what is protected, and who claims which file."""

    claims: Claims
    protection: Protection
    database: SystemDatabase


def stage(
    root: SystemRoot, change: Change, blobs: tuple[Path, ...], finalizers: tuple[Finalizer, ...],
    rules: Rules, before_each: Callable[[Planned], None],
) -> Applied:  # fmt: skip
    """Unpacks beside the system, decides, and switches. Raises ConflictError before anything has changed."""
    staging = root.folder / STAGING
    links = frozenset(path for found in change.remove for path, kind in found.entries if kind == "l")
    with disk_errors(f"changing {root.folder}", root.folder):
        try:
            staging.mkdir(mode=0o700)
            records, diverted = [], []
            for position, (item, blob) in enumerate(zip(change.add, blobs, strict=True)):
                before_each(item)
                place = staging / str(position)
                place.mkdir(mode=0o755)
                found = _unpack(item, blob, place, rules.claims, {}, own=root.same_owner)
                records.append(found)
                diverted += _protect(root.folder, place, found, rules.protection, links)
            written, room = _journal(root, change, (*records, *change.adopt), finalizers, rules)
            if change.add:
                os.sync()  # the journal promises them; a removal alone would wait for what others write
            journal.write(root, written)
        except BaseException:
            journal.give_up(root)
            raise
        try:
            with _unfinished(root.folder):
                journal.finish(root, written, database_of, room)
        finally:
            room.close()
    return Applied((*records, *change.adopt), tuple(diverted))


@contextmanager
def _unfinished(folder: Path) -> Iterator[None]:
    """Says how a change goes on that something stopped after it had begun."""
    try:
        with disk_errors(f"changing {folder}", folder):
            yield
    except TreebuildError as err:
        said = f"; {err.hint}" if err.hint else ""
        err.hint = f"the change is begun: mend this, and whatever command changes {folder} next will finish it{said}"
        raise


def _journal(
    root: SystemRoot, change: Change, records: tuple[Record, ...], finalizers: tuple[Finalizer, ...], rules: Rules
) -> tuple[Journal, Room]:
    """Everything that the switch will do, decided, and room for it. Raises ConflictError, NoSpace, TreebuildError."""
    going = doomed(root, change, rules.database, (), rules.protection)
    laid = lay(root, change, records, rules.claims, rules.database, dict(going))
    obstacles = _obstacles(root.folder, laid, dict(going))
    first = set(obstacles)
    rest = [(path, kind) for path, kind in going if path not in laid.fresh and (path, kind) not in first]
    removed = tuple(found.package.id for found in change.remove)
    found = Journal(records, removed, tuple(obstacles), tuple(rest), finalizers, root.database_path, root.record)
    check(root, laid, found)
    return found, Room(root, laid, found, change.remove)


def _obstacles(root: Path, laid: Laid, going: dict[str, str]) -> list[tuple[str, str]]:
    """What must go before the new things come, for it is of another kind; in order of removal.

    A file may replace a file, a folder may meet a folder; everything else would destroy something. Raises
    ConflictError for what does not go anyway.
    """
    found: list[tuple[str, str]] = []
    for place, kind in laid.fresh.items():
        if laid.link_above(place) is not None:
            continue
        path = f"{root}/{place}"
        try:
            mode = os.lstat(path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        who = f"{laid.owners[place].package.id}" if place in laid.owners else "a package"
        if kind != "d" and stat.S_ISDIR(mode):
            from treebuilder.archive.entry import scan

            below = [f"{place}/{entry.path}" for entry in scan(path)]
            if place not in going or any(name not in going for name in below):
                raise ConflictError(f"{path} is a folder, and no folder in {who}", hint=_IN_THE_WAY)
            found += [(name, going[name]) for name in reversed(below)]
            found.append((place, "d"))
        elif kind == "d" and not stat.S_ISDIR(mode):
            behind = resolve(root, place)
            if behind is not None and behind.is_dir() and place not in laid.unlinked:
                continue
            if place not in going:
                raise ConflictError(f"{path} is no folder, and a folder in {who}", hint=_IN_THE_WAY)
            found.append((place, going[place]))
    return found


def _protect(root: Path, staged: Path, found: Record, protection: Protection, links: frozenset[str]) -> list[str]:
    """Sets aside what would replace a protected file; the new names. `links` are those of packages that go."""
    diverted = []
    for path, kind in found.entries:
        if kind in "fhl" and protection.covers(path, found.package):
            other = divert(root, staged, path, over_links=path in links)
            if other is not None:
                diverted.append(other)
    return diverted


def recover(root: SystemRoot) -> None:
    """Finishes or undoes what a killed run began."""
    found = left_over(root.folder)
    for name in found:
        if not stat.S_ISDIR((root.folder / name).lstat().st_mode):
            raise StateCorrupt(
                f"{root.folder / name} is not what an interrupted change leaves",
                hint="nothing of treebuild's needs it: remove it",
            )
    if FILLING in found or FILLED in found:
        with disk_errors(f"settling {root.folder}", root.folder):
            remove_tree(root.folder / FILLING)
            if FILLED in found:
                _move_up(root.folder)
    if STAGING in found:
        _settle(root)


def _settle(root: SystemRoot) -> None:
    with disk_errors(f"settling {root.folder}", root.folder):
        found = journal.read(root)
        if found is not None:
            settled = SystemRoot(root.folder, found.database_path, found.record)
            with _unfinished(root.folder):
                journal.finish(settled, found, database_of)
        else:
            remove_tree(root.folder / STAGING)


def _unpack(
    item: Planned, blob: Path, folder: Path, claims: Claims, laid: dict[str, tuple[PackageId, str]], *, own: bool
) -> Record:
    """Unpacks one package; what its archive really holds is claimed, whatever its index said.

    `laid`: what lies in the folder by real path, of whom, and its kind; a link may stand for another's folder.
    """
    from treebuilder.archive.compress import decompressed
    from treebuilder.archive.extract import unpack_package

    found: list[tuple[str, str]] = []
    kinds: dict[str, str] = {}

    def note(entry: Entry, real: str) -> None:
        if real in kinds and not kinds[real] == entry.kind == "d":
            raise UnsafeArchive(f"{what} holds /{entry.path} twice", hint=f"{what} has to be packed anew")
        kinds[real] = entry.kind
        before = laid.get(real)
        if before is None or entry.kind != "d":
            laid[real] = (item.package.id, entry.kind)
        if before is not None and (before[1] == "d") != (entry.kind == "d") and (before[1], entry.kind) != ("l", "d"):
            folder, other = (item.package.id, before[0]) if entry.kind == "d" else (before[0], item.package.id)
            raise kinds_differ(real, folder, other)
        if entry.kind != "d":
            claims.claim(item.package.id, entry.path)
            claims.claim(item.package.id, real)
        if entry.kind == "b":
            claims.doubt(
                f"{what} holds the block device /{entry.path}, a way to the disks of the machine",
                "no package needs one, for /dev is made at boot; --force makes it",
            )
        found.append((entry.path, entry.kind))

    with blob.open("rb") as source:
        what, bound = str(item.package.id), item.repository.bound(item.artifact)
        tar = decompressed(source, bound, what)
        unpack_package(tar, str(folder), what, own=own, bound=bound, on_entry=note, reserved=RESERVED)
    home, artifact = item.repository.source.name, item.artifact
    return Record(
        item.package, home, artifact.sha256, artifact.build_time, tuple(found), item.requested, item.finalizer
    )
