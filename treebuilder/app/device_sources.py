"""Where a device gets a new image: a channel, a package of its repositories, a registry, a folder, a file.

Each source is looked at first, which fetches nothing of the version; what it then brings was verified.
"""

from __future__ import annotations

from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING, Protocol
from treebuilder.app.client_settings import ClientSettings
from treebuilder.device import composing, contents
from treebuilder.device.slots import Origin
from treebuilder.device.states import Device
from treebuilder.device.workfolder import STORE, TIMES, need
from treebuilder.errors import ConfigError, SpecError
from treebuilder.events import EventSink, Said
from treebuilder.model.digest import Digest
from treebuilder.records import record, replace
from treebuilder.system.process import Cancel

if TYPE_CHECKING:
    from treebuilder.oci.store import Store

_EPOCH_S = 1  # of what says nothing of its time


@record
class Offer:
    """What a source has. `state`: "offered", "up-to-date", or why a channel does not offer it (`channel.rules`).

    `source` names it for people; `automatic`: nobody named this version. `size_bytes`: 0 when it is not known.
    `channel` and `snapshot` are those that led to it, `critical` and `report_url` what the channel says.
    """

    state: str
    version: str
    source: str
    automatic: bool = False
    size_bytes: int = 0
    channel: str = ""
    snapshot: str = ""
    critical: bool = False
    report_url: str = ""


@record
class Obtained:
    """An image file, whole and verified. `version` is what the slot's file will be called by.

    `archives` are blobs of the store that it was made of: with them, the next upgrade fetches what changed.
    `fetched_bytes` came over the network for them.
    """

    path: Path
    version: str
    archives: tuple[Path, ...] = ()
    fetched_bytes: int = 0
    origin: Origin = Origin()


@record
class Context:
    """What sources work with. `size_bytes`: of the image that runs, as a measure for the next one; 0 if not known.

    `insecure` are registries (with port) that plain HTTP is spoken with.
    """

    settings: ClientSettings
    events: EventSink
    cancel: Cancel
    verify: bool = True
    size_bytes: int = 0
    insecure: tuple[str, ...] = ()


class UpgradeSource(Protocol):
    """One place that a version may come from."""

    def look(self, device: Device, folder: Path) -> Offer:
        """What there is. Raises UpdateRefused, TransportError, IntegrityError, SpecError, ConfigError."""
        ...

    def obtain(self, folder: Path) -> Obtained:
        """Brings it into a work folder, after `look`. Raises the like, NoSpace, UnsafeArchive, ToolFailed."""
        ...


class FileSource:
    """An image file, taken byte for byte."""

    def __init__(self, path: Path, version: str, context: Context) -> None:
        self._path, self._version, self._context = path, version, context

    def look(self, device: Device, folder: Path) -> Offer:
        """Raises ConfigError (reason "bad-image"), SpecError (reason "no-version"), UpdateRefused."""
        found = composing.look_into(self._path, folder, self._context.events, self._context.cancel)
        contents.require_bootable(found, str(self._path))
        self._version = _version(self._version, found.version, str(self._path))
        return Offer("offered", self._version, str(self._path), size_bytes=self._path.stat().st_size)

    def obtain(self, folder: Path) -> Obtained:
        return Obtained(self._path, self._version, origin=Origin(f"file://{self._path.absolute()}"))


class DirectorySource:
    """A folder that holds a root file system; it may be that of a system that runs."""

    def __init__(self, path: Path, version: str, context: Context) -> None:
        self._path, self._version, self._context = path, version, context

    def look(self, device: Device, folder: Path) -> Offer:
        """Raises SpecError (reason "no-version"), UpdateRefused (reasons "architecture", "no-kernel")."""
        if not self._path.is_dir():
            raise ConfigError(f"there is no folder {self._path}")
        found = contents.examine(self._path)
        contents.require_bootable(found, str(self._path))
        self._version = _version(self._version, found.version, str(self._path))
        return Offer("offered", self._version, str(self._path))

    def obtain(self, folder: Path) -> Obtained:
        from treebuilder.app.building import epoch_from_environment

        out = folder / "image.squashfs"
        self._context.events.emit(Said(f"making an image of {self._path}"))
        said = epoch_from_environment()
        epoch_s = max(_EPOCH_S, int(self._path.stat().st_mtime)) if said is None else said
        composing.compose(
            self._path, out, epoch_s=epoch_s, events=self._context.events, cancel=self._context.cancel, running=True
        )
        return Obtained(out, self._version, origin=Origin(f"dir://{self._path.absolute()}"))


class ImageSource:
    """A container image of a root file system, in a registry, a layout (`oci:FOLDER`) or an archive (`file://TAR`)."""

    def __init__(self, reference: str, version: str, context: Context) -> None:
        self._named = reference.removeprefix("docker://")
        self._reference, self._version, self._context = self._named, version, context
        self._size_bytes = 0

    def look(self, device: Device, folder: Path) -> Offer:
        """Raises IntegrityError (reasons "unsigned", "wrong-signature"), ConfigError (reason "no-keys"), …"""
        if self._named.startswith(("oci:", "file://")):
            return Offer("offered", self._version, self._named)
        from treebuilder.app.device_images import described, pinned, version_of_tag

        context = self._context
        self._reference = pinned(
            self._named, context.settings, context.events, context.cancel, verify=context.verify,
            insecure=context.insecure,
        )  # fmt: skip
        found = described(self._reference, context.cancel, folder, context.insecure)
        contents.require_architecture(found.architecture, self._named)
        self._size_bytes = found.size_bytes
        self._version = self._version or found.version or version_of_tag(self._named)
        return Offer("offered", self._version, self._reference, size_bytes=found.size_bytes)

    def obtain(self, folder: Path) -> Obtained:
        from treebuilder.app.client_images import Access, Fetched, unpack

        context = self._context
        need(folder, TIMES * self._size_bytes, self._named)
        root, fetched = folder / "root", Fetched()
        with opened_store(folder) as store:
            unpack(self._reference, root, store, context.events, context.cancel, Access(context.insecure), fetched)
        made = composed(root, folder, context, self._named, self._version, _EPOCH_S)
        return replace(
            made, archives=fetched.layers, fetched_bytes=fetched.moved_bytes, origin=self._origin(made.path)
        )  # fmt: skip

    def _origin(self, image: Path) -> Origin:
        if self._named.startswith(("oci:", "file://")):
            return Origin(self._named)
        _, at, digest = self._reference.rpartition("@")
        pinned = (("digest", digest),) if at else ()
        return Origin(f"docker://{self._named}", (*pinned, ("size", image.stat().st_size)))


def composed(root: Path, folder: Path, context: Context, what: str, version: str, epoch_s: int) -> Obtained:
    """The image of a root, which is gone then. Raises UpdateRefused (reasons "architecture", "no-kernel"), …"""
    from treebuilder.system.files import remove_tree

    alone = composing.only_image(root, context.settings.root.database_path)
    if alone is not None:
        found = composing.look_into(alone, folder, context.events, context.cancel)
        contents.require_bootable(found, what)
        return Obtained(alone, _version(version, found.version, what))
    found = contents.examine(root)
    contents.require_bootable(found, what)
    version = _version(version, found.version, what)
    out = folder / "image.squashfs"
    context.events.emit(Said(f"making an image of {what}"))
    composing.compose(root, out, epoch_s=epoch_s, events=context.events, cancel=context.cancel)
    remove_tree(root)
    return Obtained(out, version)


class _Opened:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Store:
        from treebuilder.container import namespace
        from treebuilder.oci.store import Store

        self._store = Store(self._folder / STORE, mapping="user" if namespace.ids_are_mapped() else "host")
        self._store.sweep()
        return self._store

    def __exit__(self, *error: object) -> None:
        self._store.close()


def opened_store(folder: Path) -> _Opened:
    """The store of a work folder."""
    return _Opened(folder)


def digest_of(path: Path) -> Digest:
    """Of a file's bytes."""
    import hashlib

    with path.open("rb") as source:
        return Digest(hashlib.file_digest(source, "sha256").hexdigest())


def _version(said: str, found: str, what: str) -> str:
    if not said and not found:
        raise SpecError(f"{what} does not say its version", reason="no-version", hint="--version VERSION")
    return said or found


def source_of(word: str, *, version: str, context: Context) -> UpgradeSource | None:
    """The source that a word names by its form; None for `category/name`, which the repositories know."""
    if word.startswith(("/", "./", "../")) or word == ".":
        path = Path(word)
        if not path.exists():
            raise ConfigError(f"there is no {word}")
        return DirectorySource(path, version, context) if path.is_dir() else FileSource(path, version, context)
    if word.startswith(("oci:", "file://", "docker://")) or not is_package(word):
        return ImageSource(word, version, context)
    return None


def is_package(word: str) -> bool:
    """`category/name` or `category/name@version`: nothing that names a registry, a tag or a digest."""
    name, _, selector = word.partition("@")
    category, slash, short = name.partition("/")
    if not slash or "/" in short or ":" in name or selector.startswith("sha256:"):
        return False
    return bool(category and short) and "." not in category and category != "localhost"
