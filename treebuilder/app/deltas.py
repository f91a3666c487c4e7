"""`create-repo --delta-from N`: patches that lead from the packages of the N last states of a repository to the new."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from treebuilder.app.alone import alone
from treebuilder.app.publishing import PublishOptions
from treebuilder.app.workspace import Workspace
from treebuilder.errors import IntegrityError, TransportError
from treebuilder.events import Warned
from treebuilder.records import record
from treebuilder.repository import CreateOptions
from treebuilder.repository.api import INDEX_NAME
from treebuilder.repository.delta_publish import FolderPatches, Maker, Places, RegistryPatches, Shelf, shelf, wanted
from treebuilder.repository.disk import DiskBackend
from treebuilder.repository.docker import DockerBackend


@record
class Deltas:
    """`output` is a folder, or for type docker HOST/NAME; `before` is the state that is about to be replaced."""

    options: CreateOptions
    output: str
    publish: PublishOptions
    most: int
    before: Shelf | None

    def _backend(self, work: Workspace) -> DiskBackend | DockerBackend:
        if self.options.type == "docker":
            return _registry(self.options, self.output, self.publish, work)
        return DiskBackend(Path(self.output), work.store, work.cancel)

    def make(self, work: Workspace) -> int:
        """Publishes the patches to what the repository is now; how many there are.

        Raises what `delta_publish.Maker.publish` raises.
        """
        with nullcontext() if self.options.type == "docker" else alone(Path(self.output), work):
            return self._made(work)

    def _made(self, work: Workspace) -> int:
        backend = self._backend(work)
        new = _read(backend, INDEX_NAME, work)
        if new is None:
            return 0
        places: Places
        if isinstance(backend, DockerBackend):
            from treebuilder.repository.copy_docker import docker_references

            names = docker_references(backend)[1:]
            packages: DiskBackend | DockerBackend = backend
            places = RegistryPatches(backend)
        else:
            names = tuple(sorted((path.name for path in Path(self.output).glob(f"*-{INDEX_NAME}")), reverse=True))
            packages = DiskBackend(self.options.packages, work.store, work.cancel)
            places = FolderPatches(Path(self.output), backend)
        states = [self.before, *(_read(backend, name, work) for name in names)]
        pairs = wanted(new, [state for state in states if state is not None], self.most)
        maker = Maker(
            work.store, work.events, work.cancel, lambda one: packages.open(one.path, one.sha256, 64 << 30), places
        )
        return len(maker.publish(pairs))


def before(options: CreateOptions, output: str, publish: PublishOptions, most: int, work: Workspace) -> Deltas:
    """Looks at a repository before it is replaced."""
    found = Deltas(options, output, publish, most, None)
    return Deltas(options, output, publish, most, _read(found._backend(work), INDEX_NAME, work))


def _registry(options: CreateOptions, output: str, how: PublishOptions, work: Workspace) -> DockerBackend:
    return DockerBackend(output, work.store, work.cancel, insecure=how.insecure, epoch_s=options.epoch_s)


def _read(backend: DiskBackend | DockerBackend, reference: str, work: Workspace) -> Shelf | None:
    """A state; None, with a warning, for one that cannot be read."""
    try:
        return shelf(backend, reference)
    except (IntegrityError, TransportError) as err:
        work.events.emit(Warned(f"no patches lead from {reference}, for it cannot be read: {err.message}"))
        return None
