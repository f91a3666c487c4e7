"""Emptying the cache of packages. What describes repositories that are `cached` stays, and which revisions of signed
ones were seen: that is no package, and may not be had again."""

from __future__ import annotations

import os
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.app.client_settings import ClientSettings, inside
from treebuilder.app.config_files import cache_folder
from treebuilder.client.locking import locked
from treebuilder.errors import ConfigError, IntegrityError, NoSpace, Place, StateCorrupt
from treebuilder.model.digest import Digest
from treebuilder.system.files import disk_errors, remove_tree

if TYPE_CHECKING:
    from treebuilder.oci.store import Store

LUET_CACHE = "treebuild"  # below `pkgs_cache_path`
_OURS = ("VERSION", "index.sqlite", "index.sqlite-wal", "index.sqlite-shm")


def cleanup(settings: ClientSettings, cache_dir: str, *, luet: bool) -> tuple[Path, int]:
    """The folder that was cleaned, and how many files went.

    As luet everything else below `pkgs_cache_path` goes; else the packages that were fetched go out of the cache, and
    what builds have made stays. Raises ConfigError for a cache that is not ours alone, LockHeld.
    """
    if luet and not cache_dir:
        _refuse_database(settings)
        if not settings.cache.is_dir():
            return settings.cache, 0
        with locked(settings.root.folder):  # whoever installs reads packages there
            keep = _kept(settings, settings.cache / LUET_CACHE)
            with disk_errors(f"cleaning {settings.cache}"):
                return settings.cache, _emptied(settings.cache, keep, {up for path in keep for up in path.parents})
    folder = cache_folder(cache_dir)
    if not (folder / "VERSION").is_file():
        return folder, 0
    from treebuilder.oci.store import Store

    store = Store(folder)
    count = 0
    try:
        with disk_errors(f"cleaning {folder}"):
            fetched = store.index.notes("fetched")
            stay = {path.name for path in _described(settings, store)}  # also what `repo copy` has fetched
            for name in sorted(fetched.keys() - stay):
                path = store.blob_path(Digest(name))
                count += path.is_file()
                path.unlink(missing_ok=True)
        store.index.drop_notes("fetched")
        store.index.set_notes("fetched", {name: fetched[name] for name in fetched.keys() & stay})
    finally:
        store.close()
    return folder, count


def _refuse_database(settings: ClientSettings) -> None:
    """`pkgs_cache_path` may be `.`, or lead upwards."""
    database = os.path.realpath(inside(settings.root.folder, settings.root.database_path))
    folder = os.path.realpath(settings.cache)
    if f"{database}/".startswith(f"{folder.rstrip('/')}/"):
        raise ConfigError(
            f"{folder} cannot be emptied: the system database is there, in {database}",
            where=Place(settings.file),
            hint="name a folder below the database's: system: {pkgs_cache_path: packages}",
        )


def _kept(settings: ClientSettings, folder: Path) -> set[Path]:
    """What stays of luet's cache. On a full disk the index cannot be read: then it stays, and nothing beside it."""
    from treebuilder.oci.store import Store

    if not (folder / "VERSION").is_file():
        return set()
    ours = {folder / name for name in _OURS}
    try:
        store = Store(folder)
        try:
            return ours | _described(settings, store) if store.index.notes("repository-index") else set()
        finally:
            store.close()
    except NoSpace:
        return ours
    except StateCorrupt:
        return set()  # nobody can use it


def _described(settings: ClientSettings, store: Store) -> set[Path]:
    """Blobs and folders that describe the cached repositories of the configuration, as they were last read. What is
    made of them alone is made again."""
    from treebuilder.repository.index import parse_index

    found: set[Path] = set()
    for repository in settings.repositories:
        if not (repository.cached and repository.urls):
            continue
        data = store.index.note("repository-index", f"{repository.urls[0]} {repository.reference}")
        try:
            files = parse_index(data, repository.name).files if data is not None else ()
        except IntegrityError:
            continue
        for _, file in files:
            found.add(store.blob_path(file.sha256))
            noted = store.index.note("repository-tree", file.sha256.hex)
            if noted is not None:
                found.update(store.folder.glob(f"trees/*/sha256/{Digest(noted.decode()).hex}"))
    return found


def _emptied(folder: Path, keep: set[Path], above: set[Path]) -> int:
    """Removes all but what is to be kept and the folders `above` it; how many files went."""
    count = 0
    for path in sorted(folder.iterdir()):
        if path in above:
            count += _emptied(path, keep, above)
        elif path not in keep:
            count += sum(len(names) for _, _, names in os.walk(path)) if path.is_dir() and not path.is_symlink() else 1
            remove_tree(path)
    return count
