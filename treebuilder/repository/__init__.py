"""Repositories: created, synced, and seen as sets of packages (luet.md §5-6). Disk is read and written, http read."""

from treebuilder.repository.api import INDEX_NAME, RepositoryBackend, RepositorySource
from treebuilder.repository.create import Created, CreateOptions, Trees, create_repository
from treebuilder.repository.index import Artifact, RepositoryIndex
from treebuilder.repository.packages import RepositoryPackages
from treebuilder.repository.sync import SyncedRepository, open_backend, sync

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
