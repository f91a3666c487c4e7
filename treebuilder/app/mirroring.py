"""Use cases of whole repositories: copied from one place to another, and cleaned of what nothing reaches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING, Any
from treebuilder.app.alone import alone
from treebuilder.app.workspace import Workspace
from treebuilder.errors import ConfigError, SpecError
from treebuilder.events import Warned
from treebuilder.records import record
from treebuilder.repository.api import INDEX_NAME

if TYPE_CHECKING:
    from treebuilder.repository.copying import Copied, Destination, Documents, Source
    from treebuilder.repository.docker import DockerBackend


_ADDRESSES = "HOST/NAME, a folder, a URL or FILE.tar"


def kind_of(address: str) -> str:
    """What an address means: `http`, `docker`, `bundle` or `disk`. What exists as a folder is one.

    Raises ConfigError for an empty one, and for what is none of these and would only by mistake become a new folder.
    """
    if not address.strip():
        raise ConfigError("the address of a repository is empty", hint=_ADDRESSES)
    scheme, colon, _ = address.partition("://")
    if colon and scheme in ("http", "https"):
        return "http"
    if colon and scheme in ("docker", "oci"):
        return "docker"
    if colon:
        raise ConfigError(f"{address} is no address of a repository", hint=_ADDRESSES)
    if address.endswith(".tar") and not Path(address).is_dir():
        return "bundle"
    host, slash, name = address.partition("/")
    looks = bool(slash and name) and (host == "localhost" or ":" in host or ("." in host and host.strip(".") != ""))
    if Path(address).is_dir():
        return "disk"
    if not looks and (":" in address or "@" in address) and not address.startswith((".", "/")):
        raise ConfigError(
            f"{address} is neither HOST/NAME of a registry nor a folder that is there",
            hint=f"HOST is a name with a dot or port, or localhost; a new folder is ./{address}",
        )
    return "docker" if looks else "disk"


# copy -----------------------------------------------------------------------------------------------------------------
@record
class CopyReport:
    source: str
    destination: str
    copied: Copied

    def to_json(self) -> dict[str, Any]:
        done = self.copied
        return {
            "source": self.source, "destination": self.destination, "references": list(done.references),
            "left_out": list(done.left_out), "files": done.files, "packages": done.packages,
            "bytes": done.size_bytes, "changed": done.changed, "channels": list(done.documents),
        }  # fmt: skip

    def text(self) -> str:
        done = self.copied
        if not done.changed:
            return f"{self.destination}: unchanged"
        count = f"{done.files} files and {done.packages} packages copied, {done.size_bytes} bytes"
        return f"{self.destination}: {', '.join(done.references)}; {count}"


def copy(
    source: str, destination: str, snapshot: str, insecure: tuple[str, ...], work: Workspace, *, force: bool = False
) -> CopyReport:
    """Copies a repository, or one snapshot of it; `force`: also over a newer revision, or another repository.

    Raises ConfigError (reasons "rolled-back", "other-repository", …), SpecError (reason "no-repository"),
    IntegrityError, TransportError, NoSpace.
    """
    from treebuilder.repository.copying import copy_repository

    if "/" in snapshot or snapshot.startswith("."):
        raise ConfigError(f"{snapshot!r} is no name of a snapshot")
    found, references, files = _source(source, insecure, work)

    def documents(copied: frozenset[str]) -> Mapping[str, bytes]:
        """Channels are of the whole repository: a single snapshot is copied alone."""
        from treebuilder.app.channel_names import to_copy

        return {} if snapshot else to_copy(files, found.index, copied, to.document, work.events)

    to = _destination(destination, insecure, work, found, documents)
    if snapshot:
        references = (f"{snapshot}-{INDEX_NAME}",)
    elif not references:
        raise SpecError(f"there is no repository at {source}", hint=f"it has no {INDEX_NAME}", reason="no-repository")
    folder = Path(destination) if kind_of(destination) == "disk" else None
    key = f"copy-{_key(destination)}"
    with alone(folder, work) if folder is not None else work.store.single_flight(key, work.cancel):
        try:
            done = copy_repository(
                found, to, references, work.store, work.events, work.cancel, what=source, documents=documents,
                force=force,
            )  # fmt: skip
        except SpecError as err:
            if err.reason != "no-repository" or kind_of(source) != "http":
                raise
            name = source.partition("://")[2]
            hint = f"{err.hint}; a repository of a registry is named without {source.partition('://')[0]}://: {name}"
            raise SpecError(err.message, hint=hint, reason=err.reason) from err
    return CopyReport(source, destination, done)


def _key(address: str) -> str:
    from treebuilder.model.digest import Digest

    return Digest.of(address.rstrip("/").encode("utf-8", "surrogateescape")).hex[:32]


def _docker(address: str, insecure: tuple[str, ...], work: Workspace) -> DockerBackend:
    from treebuilder.repository.docker import DockerBackend

    return DockerBackend(address, work.store, work.cancel, insecure=insecure)


def _source(
    address: str, insecure: tuple[str, ...], work: Workspace
) -> tuple[Source, tuple[str, ...], tuple[str, ...]]:
    """Where to read from, and the indexes and channels that are known to be there: a web server cannot list them."""
    from treebuilder.app.channel_names import channel_files

    match kind_of(address):
        case "http":
            from treebuilder.repository.http import HttpBackend

            return HttpBackend(address, work.store, work.cancel), (INDEX_NAME,), ()
        case "docker":
            from treebuilder.repository.copy_docker import docker_references

            target = _docker(address, insecure, work)
            known = docker_references(target)
            there = target.place.digest_of(INDEX_NAME) is not None
            return target, known if there else known[1:], channel_files(target.place.tags())
        case "bundle":
            from treebuilder.repository.copy_bundle import BundleSource

            bundle = BundleSource(Path(address), work.store, work.cancel)
            return bundle, bundle.references(), channel_files(bundle.names())
        case _:
            from treebuilder.repository.disk import DiskBackend

            folder = Path(address)
            snapshots = sorted((path.name for path in folder.glob(f"*-{INDEX_NAME}")), reverse=True)
            files = channel_files(path.name for path in folder.glob("channel-*.json"))
            newest = (INDEX_NAME,) if (folder / INDEX_NAME).is_file() else ()
            return DiskBackend(folder, work.store, work.cancel), (*newest, *snapshots), files


def _destination(
    address: str, insecure: tuple[str, ...], work: Workspace, source: Source, documents: Documents
) -> Destination:
    match kind_of(address):
        case "http":
            raise ConfigError(f"{address} can only be read", hint="copy to HOST/NAME, a folder or FILE.tar")
        case "docker":
            from treebuilder.repository.copy_docker import DockerPlace
            from treebuilder.repository.docker import DockerBackend

            origin = source if isinstance(source, DockerBackend) else None
            return DockerPlace(_docker(address, insecure, work), work.store, work.cancel, origin)
        case "bundle":
            from treebuilder.repository.copy_bundle import BundlePlace

            return BundlePlace(Path(address), work.store, work.cancel, documents)
        case _:
            from treebuilder.repository.copy_folder import FolderPlace

            return FolderPlace(Path(address), work.store, work.cancel)


def folder_snapshots(folder: Path, work: Workspace) -> frozenset[str]:
    """The snapshots that channels of a repository in a folder lead to. Raises IntegrityError."""
    from treebuilder.app.channel_names import channel_files, named_snapshots
    from treebuilder.repository.disk import DiskBackend

    files = channel_files(path.name for path in folder.glob("channel-*.json"))
    return named_snapshots(files, DiskBackend(folder, work.store, work.cancel).index)


# gc -------------------------------------------------------------------------------------------------------------------
@record
class GcReport:
    """`names` are paths or tags that nothing reaches; `deleted` says whether they are gone."""

    repository: str
    names: tuple[str, ...]
    size_bytes: int
    deleted: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "repository": self.repository, "unreached": list(self.names), "bytes": self.size_bytes,
            "deleted": self.deleted,
        }  # fmt: skip

    def text(self) -> str:
        if not self.names:
            return f"{self.repository}: everything is reached"
        said = "deleted" if self.deleted else "to be deleted with --yes"
        return "\n".join([*self.names, f"{self.repository}: {len(self.names)} {said}, {self.size_bytes} bytes"])


def gc(address: str, keep: int | None, insecure: tuple[str, ...], work: Workspace, *, delete: bool) -> GcReport:
    """Deletes, or only finds, what neither the newest index nor the last `keep` snapshots reach; None keeps them all.

    A snapshot that a channel leads to is kept. Raises ConfigError, SpecError (reason "no-repository",
    "missing-packages"), IntegrityError (also a channel that cannot be read), TransportError.
    """
    from treebuilder.app.channel_names import channel_files, named_snapshots

    match kind_of(address):
        case "docker":
            from treebuilder.repository import collecting

            target = _docker(address, insecure, work)
            files = channel_files(target.place.tags())
            found = collecting.unreached(target, keep, named_snapshots(files, target.index), frozenset(files))
            if found.index is None:
                _say_no_newest(address, work)
            left = collecting.delete(target, found) if delete else ()
            if left:
                some = f"{', '.join(left[:5])}{', …' if len(left) > 5 else ''}"
                work.events.emit(Warned(
                    f"{some}: other tags lead to the same images, and the registry deletes no tag alone: it stays"
                ))  # fmt: skip
            tags = tuple(tag for tag, _ in found.tags if tag not in left)
            return GcReport(address, tags, found.size_bytes, delete)
        case "disk":
            from treebuilder.repository import pruning

            folder = Path(address)
            if not (folder / INDEX_NAME).is_file() and not any(folder.glob(f"*-{INDEX_NAME}")):
                raise SpecError(
                    f"there is no repository at {address}", hint=f"it has no {INDEX_NAME}", reason="no-repository"
                )
            if not (folder / INDEX_NAME).is_file():
                _say_no_newest(address, work)
            with alone(folder, work):
                lost = pruning.unreached(folder, folder, keep, folder_snapshots(folder, work))
                gone = set(pruning.delete(lost).removed) if delete else None
            if lost.young:
                some = f"{', '.join(lost.young[:5])}{', …' if len(lost.young) > 5 else ''}"
                work.events.emit(Warned(f"newer than the index, and kept: {some}", hint="create-repo takes them in"))
            shown = [(str(path), info) for path, info in lost.files if gone is None or str(path) in gone]
            return GcReport(address, tuple(name for name, _ in shown), sum(info[0] for _, info in shown), delete)
        case kind:
            raise ConfigError(f"{address}: only folders and registries can be cleaned up, this is of type {kind}")


def _say_no_newest(address: str, work: Workspace) -> None:
    work.events.emit(Warned(f"{address} has no {INDEX_NAME}: only its snapshots keep what is there"))
