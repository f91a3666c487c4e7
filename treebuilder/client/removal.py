"""Which places of a root go when packages go: files first, then folders that are empty then, deepest first."""

from __future__ import annotations

from collections.abc import Iterable

from treebuilder.client.api import Change, SystemRoot
from treebuilder.client.database import SystemDatabase
from treebuilder.client.laying import behind_links, database_places
from treebuilder.client.names import RESERVED
from treebuilder.client.places import Places, links_on_the_way
from treebuilder.client.protect import Protection


def doomed(
    root: SystemRoot, change: Change, database: SystemDatabase, fresh: Iterable[str], protection: Protection
) -> list[tuple[str, str]]:
    """Real places as (path, kind), in the order of removal. `fresh` are real places that the change brings or keeps.

    A place stays when another installed package has it, under whatever path, when it is protected, when a new package
    brings it, and when it is ours or a link on the way to the database.
    """
    ids = {record.package.id for record in change.remove}
    shared = database.shared(ids)
    places = Places(root.folder)
    kept = {*fresh, *database_places(root, places)}
    if root.record:
        kept |= links_on_the_way(root.folder, [root.database_path.strip("/")])
    files: dict[str, str] = {}
    folders: dict[str, None] = {}
    for record in change.remove:
        for path, kind in record.entries:
            if path in shared:
                continue
            real = places.real(path)
            if (
                real in kept
                or real.partition("/")[0] in RESERVED
                or (real != path and set(database.owners(real)) - ids)
            ):
                continue
            if kind == "d":
                folders[real] = None
            elif not (change.keep_protected and protection.covers(path, record.package)):
                files[real] = kind
                if real == path:  # a folder that links lead to has a meaning even when it is empty
                    folders |= dict.fromkeys(_parents(real, kept, shared))
    for place, _ in behind_links(root.folder, database, files, frozenset(ids)):
        files.pop(place, None)
    ordered = sorted(folders, key=lambda path: (-path.count("/"), path))
    return [*sorted(files.items()), *((path, "d") for path in ordered)]


def _parents(path: str, kept: set[str], shared: frozenset[str]) -> Iterable[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        if path not in kept and path not in shared:
            yield path
