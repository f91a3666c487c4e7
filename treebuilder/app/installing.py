"""The use case *install*: packages of configured repositories into a root."""

from __future__ import annotations

from pathlib import Path

from treebuilder.app.building import epoch_from_environment
from treebuilder.app.repositories import local_source, sync_all
from treebuilder.app.workspace import Workspace
from treebuilder.client import Installer, InstallReport, InstallRequest, SystemRoot
from treebuilder.model.package import PackageRef
from treebuilder.records import record
from treebuilder.repository import RepositoryPackages


@record
class InstallOptions:
    """What `treebuild install` was asked. `local` are folders with repositories, preferred to the configured ones."""

    packages: tuple[PackageRef, ...]
    root: Path
    local: tuple[str, ...] = ()
    nodeps: bool = False


def install(options: InstallOptions, work: Workspace) -> InstallReport:
    """Raises what `client.Installer.install` and syncing raise."""
    local = tuple(local_source(folder, at) for at, folder in enumerate(options.local))
    repositories = RepositoryPackages(sync_all(work, local))
    installer = Installer(repositories, work.events, work.cancel)
    request = InstallRequest(options.packages, options.nodeps, epoch_from_environment() or 0)
    return installer.install(request, SystemRoot(options.root.absolute(), work.settings.database_path))
