"""Repositories: created, synced, and seen as sets of packages (luet.md §5-6). Disk is read and written, http read.

Importing this room costs next to nothing: names are looked up when they are first used, for those who search need
nothing of what composes.
"""

from __future__ import annotations

from importlib import import_module

from treebuilder.annotations import TYPE_CHECKING

if TYPE_CHECKING:
    from treebuilder.repository.api import INDEX_NAME, RepositoryBackend, RepositorySource
    from treebuilder.repository.create import Created, CreateOptions, Trees, create_repository
    from treebuilder.repository.index import Artifact, RepositoryIndex
    from treebuilder.repository.packages import RepositoryPackages
    from treebuilder.repository.synced import SyncedRepository, open_backend, sync

_HOMES = {
    "INDEX_NAME": "api", "RepositoryBackend": "api", "RepositorySource": "api", "CreateOptions": "create",
    "Created": "create", "Trees": "create", "create_repository": "create", "Artifact": "index",
    "RepositoryIndex": "index", "RepositoryPackages": "packages", "SyncedRepository": "synced",
    "open_backend": "synced",
    "sync": "synced",
}  # fmt: skip

__all__ = [
    "INDEX_NAME",
    "Artifact",
    "CreateOptions",
    "Created",
    "RepositoryBackend",
    "RepositoryIndex",
    "RepositoryPackages",
    "RepositorySource",
    "SyncedRepository",
    "Trees",
    "create_repository",
    "open_backend",
    "sync",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
