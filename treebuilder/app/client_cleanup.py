"""Emptying the cache of packages."""

from __future__ import annotations

import os
from pathlib import Path

from treebuilder.app.client_settings import ClientSettings, inside
from treebuilder.app.config_files import cache_folder
from treebuilder.client.locking import locked
from treebuilder.errors import ConfigError, Place
from treebuilder.model.digest import Digest
from treebuilder.system.files import disk_errors, remove_tree


def cleanup(settings: ClientSettings, cache_dir: str, *, luet: bool) -> tuple[Path, int]:
    """The folder that was cleaned, and how many files went.

    As luet everything below `pkgs_cache_path` goes; else the packages that were fetched go out of the cache, and
    what builds have made stays. Raises ConfigError for a cache that is not ours alone, LockHeld.
    """
    if luet and not cache_dir:
        _refuse_database(settings)
        if not settings.cache.is_dir():
            return settings.cache, 0
        with locked(settings.root.folder):  # whoever installs reads packages there
            return settings.cache, _emptied(settings.cache)
    folder = cache_folder(cache_dir)
    if not (folder / "VERSION").is_file():
        return folder, 0
    from treebuilder.oci.store import Store

    store = Store(folder)
    count = 0
    try:
        with disk_errors(f"cleaning {folder}"):
            for name in sorted(store.index.notes("fetched")):
                path = store.blob_path(Digest(name))
                count += path.is_file()
                path.unlink(missing_ok=True)
        store.index.drop_notes("fetched")
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


def _emptied(folder: Path) -> int:
    with disk_errors(f"cleaning {folder}"):
        count = sum(len(names) for _, _, names in os.walk(folder))
        for path in sorted(folder.iterdir()):
            remove_tree(path)
    return count
