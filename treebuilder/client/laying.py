"""Where everything that a change brings will lie, and who has that place already: links in folders are looked through,
those of the root and those that the change itself brings."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.client.api import DATABASE_NAME, Change, Planned, Record, SystemRoot
from treebuilder.client.choose import Claims
from treebuilder.client.database import SystemDatabase
from treebuilder.client.names import RESERVED, STAGING
from treebuilder.client.places import Places, links_on_the_way
from treebuilder.errors import ConflictError, UnsafeArchive
from treebuilder.model.package import PackageId
from treebuilder.records import field, record

if TYPE_CHECKING:
    from treebuilder.archive.entry import Entry

_SUFFIXES = ("", "-wal", "-shm", "-journal", "-new")


@record
class Laid:
    """Real places, "d" for folders and "f" for all else, who brings them, and how long the files are.

    `unlinked` are links that go because folders come in their place: nothing is below them yet, whatever the system
    says that still follows them.
    """

    fresh: dict[str, str] = field(default_factory=dict)
    owners: dict[str, Planned] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    unlinked: set[str] = field(default_factory=set)

    def link_above(self, place: str) -> str | None:
        """The one of `unlinked` that a place is below."""
        above = (place[:at] for at, sign in enumerate(place) if sign == "/") if self.unlinked else ()
        return next((one for one in above if one in self.unlinked), None)


def database_places(root: SystemRoot, places: Places) -> frozenset[str]:
    """Where the database is, or will be, with what SQLite lays beside it."""
    real = places.real(root.database_path.strip("/") + "/" + DATABASE_NAME)
    return frozenset(real + suffix for suffix in _SUFFIXES)


def lay(
    root: SystemRoot, change: Change, records: tuple[Record, ...], claims: Claims, database: SystemDatabase,
    going: Mapping[str, str],
) -> Laid:  # fmt: skip
    """What is staged and adopted, where `going` (kinds by real place) goes. Raises ConflictError, UnsafeArchive."""
    places, laid = Places(root.folder, strict=True), Laid()
    before = database_places(root, places)
    for path in _folders_for_links(root, change, records, database, going):
        laid.unlinked.add(path)
        places.lay(path, None)
    for position, item in enumerate(change.add):
        from treebuilder.archive.entry import scan  # a removal has nothing to look through

        for entry in scan(str(root.folder / STAGING / str(position))):
            _lay_entry(root.folder, laid, places, item, entry, claims)
        # what was diverted keeps its place, for it belongs to the new package
        for path, kind in records[position].entries:
            if kind != "d":
                laid.fresh[places.real(path)] = "f"
    for found in change.adopt:
        laid.fresh.update((places.real(path), "d" if kind == "d" else "f") for path, kind in found.entries)
    _leave_database(root, laid, before, database_places(root, places))
    if root.cache:
        _leave_cache(root, laid)
    _look_behind_links(root.folder, change, laid, claims, database)
    return laid


def _folders_for_links(
    root: SystemRoot, change: Change, records: tuple[Record, ...], database: SystemDatabase, going: Mapping[str, str]
) -> list[str]:
    """Links of packages that go, where new ones have folders. One stays when it is on the way to something of packages
    that stay, or to a protected file, whose new form has another name by now."""
    links = {path for path, kind in going.items() if kind == "l"}
    if not links:
        return []
    new = [(path, kind, at) for at, found in enumerate(records[: len(change.add)]) for path, kind in found.entries]
    places = Places(root.folder)
    met: dict[str, list[str]] = {}
    for folder in _folders(new):
        real = places.real(folder)
        if real in links:
            met.setdefault(real, []).append(f"{folder}/")
    for path, kind, _ in new:
        if met and kind != "d":
            met.pop(places.real(path), None)
    if not met:
        return []
    below = tuple(folder for folders in met.values() for folder in folders)
    diverted = [
        path for path, _, at in new
        if path.startswith(below) and not os.path.lexists(root.folder / STAGING / str(at) / path)
    ]  # fmt: skip
    passed = links_on_the_way(root.folder, database.folders([found.package.id for found in change.remove]))
    return [
        link for link, folders in sorted(met.items())
        if link not in passed and not any(path.startswith(tuple(folders)) for path in diverted)
    ]  # fmt: skip


def _folders(entries: Iterable[tuple[str, str, int]]) -> set[str]:
    """Of these entries, with all above them."""
    found: set[str] = set()
    for path, kind, _ in entries:
        folder = path if kind == "d" else path.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def _lay_entry(root: Path, laid: Laid, places: Places, item: Planned, entry: Entry, claims: Claims) -> None:
    real, id = places.real(entry.path), item.package.id
    if real.partition("/")[0] in RESERVED:
        raise UnsafeArchive(
            f"{id} holds /{entry.path}, a name that treebuild keeps for itself", hint="build the package without it"
        )
    taken = laid.fresh.get(real)
    other = laid.owners[real].package.id if real in laid.owners else id
    if entry.kind == "d":
        if taken == "f":
            behind = places.folder(real)
            if behind == real or (
                laid.fresh.get(behind) == "f" or (not laid.link_above(behind) and _is_no_folder(root / behind))
            ):
                raise kinds_differ(real, id, other)
            return
    else:
        if taken == "d":
            raise kinds_differ(real, other, id)
        if taken == "f" and other == id:
            raise ConflictError(
                f"{id} holds /{real} twice: links in {root} lead there from /{entry.path} as well",
                hint="build the package with the folders that this root has, or install it into another root",
            )
        if real != entry.path:
            claims.claim(id, real)
        places.lay(real, entry.link if entry.kind == "l" else None)
    laid.fresh[real] = "d" if entry.kind == "d" else "f"
    laid.owners[real] = item
    laid.sizes[real] = entry.size


def kinds_differ(place: str, folder: PackageId, other: PackageId) -> ConflictError:
    return ConflictError(
        f"/{place} is a folder in {folder}, and no folder in {other}",
        hint="the two do not fit into one root: install one of them",
    )


def _is_no_folder(path: Path) -> bool:
    return os.path.lexists(path) and not path.is_dir()


def _leave_database(root: SystemRoot, laid: Laid, before: frozenset[str], after: frozenset[str]) -> None:
    """No package has the database's place, nor stands in the way to it, nor leads that way to somewhere else."""
    taken = before | after
    above = {place[:at] for place in taken for at, sign in enumerate(place) if sign == "/"}
    missing = {place for place in above if not (root.folder / place).is_dir()}  # else a folder stands there, and stays
    for place, kind in laid.fresh.items():
        if any(f"{place}/".startswith(f"{one}/") for one in taken) or (kind != "d" and place in missing):
            who = laid.owners[place].package.id if place in laid.owners else "a package"
            raise database_taken(str(who), place)
    if not root.record or before == after or not any(os.path.lexists(root.folder / place) for place in before):
        return
    links = links_on_the_way(root.folder, [root.database_path.strip("/")]) & laid.owners.keys()
    if links:
        link = min(links)
        raise ConflictError(
            f"{laid.owners[link].package.id} holds /{link}, in place of a link that leads to the system database",
            hint=f"name the folder where that really is: --system-dbpath /{min(before).rpartition('/')[0]}",
        )


def _leave_cache(root: SystemRoot, laid: Laid) -> None:
    """No package has anything among what we keep, which nothing could read then, nor stands in the way to it."""
    for place, kind in laid.fresh.items():
        in_the_way = kind != "d" and root.cache.startswith(f"{place}/") and not (root.folder / place).is_dir()
        if in_the_way or f"{place}/".startswith(f"{root.cache}/"):
            who = str(laid.owners[place].package.id) if place in laid.owners else "a package"
            raise ConflictError(
                f"{who} holds /{place}, where the cache of packages has to be",
                hint="choose another place for it: --cache-dir DIR, or system: {pkgs_cache_path: DIR}",
            )


def database_taken(who: str, place: str) -> ConflictError:
    return ConflictError(
        f"{who} holds /{place}, where the system database has to be",
        hint="choose another place for it: --system-dbpath DIR, or system: {database_path: DIR}",
    )


def _look_behind_links(root: Path, change: Change, laid: Laid, claims: Claims, database: SystemDatabase) -> None:
    """Files of installed packages that links lead to: their records have another path for the place."""
    going = {path for found in change.remove for path, _ in found.entries}
    met = {
        place: item.package.id for place, item in laid.owners.items()
        if laid.fresh[place] != "d" and place not in going and os.path.lexists(f"{root}/{place}")
    }  # fmt: skip
    gone = frozenset(found.package.id for found in change.remove)
    for place, owner in behind_links(root, database, met, gone):
        claims.meet(owner, met[place], place)


def behind_links(
    root: Path, database: SystemDatabase, wanted: Iterable[str], going: frozenset[PackageId]
) -> list[tuple[str, PackageId]]:
    """Which of these real places belong to packages that stay and know them by another path, with those packages."""
    met = frozenset(wanted)
    if not met:
        return []
    names = frozenset(os.fsencode(place.rpartition("/")[2]) for place in met)
    places = Places(root)
    found = []
    for path, owner in database.files_named(names):
        if owner not in going:
            real = places.real(path)
            if real != path and real in met:
                found.append((real, owner))
    return found
