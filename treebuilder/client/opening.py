"""Where a root's database is, whatever links lie on the way to it."""

from __future__ import annotations

import os
from pathlib import Path

from treebuilder.client.api import DATABASE_NAME, SystemRoot
from treebuilder.client.database import SystemDatabase
from treebuilder.client.places import look
from treebuilder.errors import ConfigError, StateCorrupt
from treebuilder.system.files import disk_errors

_LUET = ("/var/cache/luet", "luet.db")  # where luet keeps its own, unless it is told another folder


def luet_database(root: SystemRoot) -> Path | None:
    """luet's own database (bolt, which is not read), in a root that has none of ours."""
    if look(root.folder, f"{root.database_path}/{DATABASE_NAME}") is not None:
        return None
    found = (look(root.folder, f"{folder}/{_LUET[1]}") for folder in dict.fromkeys((root.database_path, _LUET[0])))
    return next((path for path in found if path is not None), None)


def database_of(root: SystemRoot, *, make: bool) -> SystemDatabase:
    """The root's database; links on the way to it stay inside the root. `make` creates its folder.

    Without a record there is none: what another run has recorded would not be told of changes. Raises ConfigError then
    for one that is to be written.
    """
    if not root.record:
        if make:
            raise ConfigError(
                f"nothing can be recorded in {root.folder}: the engine of its system database is memory",
                hint="leave out --system-engine, and system: {database_engine: memory}",
            )
        return SystemDatabase(None)
    path = root.database_path.strip("/") + "/" + DATABASE_NAME
    found = look(root.folder, path)
    if found is not None and not found.is_symlink():
        return SystemDatabase(found)
    if found is not None:
        raise StateCorrupt(
            f"the system database {found} is a link, which is not followed",
            hint="put the file itself there, or name the folder where it is: --system-dbpath DIR",
        )
    if not make:
        return SystemDatabase(None)
    from treebuilder.archive.extract import Writer

    with disk_errors(f"making the system database in {root.folder}", root.folder):
        with Writer(str(root.folder), follow=True) as writer:
            parent, name = writer.parent(path)
            return SystemDatabase(Path(os.readlink(f"/proc/self/fd/{parent}"), name))
