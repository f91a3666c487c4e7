"""The tools of `util`: images unpacked, packed and asked for, without an engine; and `box`, a command in a root."""

from __future__ import annotations

import hashlib
import io
import json
import os
import posixpath
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile

from treebuilder.annotations import IO, Any
from treebuilder.archive.bounds import USUAL_BOUND, Bound
from treebuilder.archive.compress import decompressed
from treebuilder.archive.entry import Entry
from treebuilder.archive.extract import Writer
from treebuilder.archive.reading import entries
from treebuilder.archive.tar import write_entries
from treebuilder.errors import ConfigError, IntegrityError, SpecError, TransportError
from treebuilder.events import EventSink
from treebuilder.model.digest import Digest
from treebuilder.oci.layout import Layout, unpack_into_store
from treebuilder.oci.platform import Platform
from treebuilder.oci.store import Store
from treebuilder.oci.view import StackView
from treebuilder.records import record
from treebuilder.system.files import disk_errors, replacing
from treebuilder.system.process import Cancel

_MAX_MANIFEST = 4 << 20
_CHUNK = 1 << 20
_BOX_LIMIT_S = 7 * 24 * 3600.0


# unpacking ------------------------------------------------------------------------------------------------------------
class Fetched:
    """What came for an image of a registry, and stays in the store: its layers as they were packed."""

    def __init__(self) -> None:
        self.layers: tuple[Path, ...] = ()
        self.moved_bytes = 0


@record
class Access:
    """How an image is had. `insecure` are hosts to speak plain HTTP to; `auth` are luet's keys and their
    values, without which Docker's logins count; no `platform` is that of this machine."""

    insecure: tuple[str, ...] = ()
    platform: Platform | None = None
    auth: tuple[tuple[str, str], ...] = ()


DIRECTLY = Access()


def unpack(
    image: str, folder: Path, store: Store, events: EventSink, cancel: Cancel, access: Access = DIRECTLY,
    fetched: Fetched | None = None, *, own: bool = True,
) -> int:  # fmt: skip
    """Lays an image's files into a folder, which is made if it is not there; how many entries.

    `image` is `file://TAR` (what `docker save` writes), `oci:FOLDER` (a layout), or a reference of a registry, to which
    `access` leads. With `fetched`, layers of a registry stay in the store as they came, and are told there. Without
    `own` all belongs to whoever unpacks it.
    Raises ConfigError, SpecError, TransportError, IntegrityError, UnsafeArchive, NoSpace.
    """
    layers = _layers(image, store, events, cancel, access, fetched)
    count = 0
    with disk_errors(f"unpacking {image} into {folder}", folder):
        folder.mkdir(parents=True, exist_ok=True)
        with Writer(str(folder), follow=True, own=own, keep_existing_dirs=True) as writer:
            for entry, real in StackView(tuple(str(store.tree_path(layer)) for layer in layers)).walk():
                cancel.check()
                count += 1
                if entry.kind == "f":
                    with open(real, "rb") as content:
                        writer.add(entry, content)
                else:
                    writer.add(entry, None)
    return count


def _layers(
    image: str, store: Store, events: EventSink, cancel: Cancel, access: Access, fetched: Fetched | None
) -> tuple[Digest, ...]:
    if image.startswith("file://"):
        return _of_archive(Path(image.removeprefix("file://")), store)
    if image.startswith("oci:"):
        layout = Layout(Path(image.removeprefix("oci:")), access.platform)
        return layout.load(layout.resolve(), store).layers
    from treebuilder.oci.registry import RegistryImages

    images = RegistryImages(
        events,
        cancel,
        access.insecure,
        keep_blobs=fetched is not None,
        platform=access.platform,
        auth=dict(access.auth),
    )
    layers = images.load(image, images.resolve(image), store).layers
    if fetched is not None:
        fetched.layers = tuple(store.blob_path(blob) for blob in images.kept)
        fetched.moved_bytes = images.fetched_bytes
    return layers


def _of_archive(path: Path, store: Store) -> tuple[Digest, ...]:
    """The layers of a `docker save` archive, bottom first; only their content is believed."""
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    what = str(path)
    manifest: Any = None
    aliases: dict[str, str] = {}
    with path.open("rb") as source:
        for entry, content in entries(decompressed(source, store.bound, what), what, store.bound):
            if entry.path == "manifest.json" and content is not None and entry.size <= _MAX_MANIFEST:
                manifest = _json(content.read(), what)
            elif entry.kind == "l":
                aliases[entry.path] = posixpath.normpath(posixpath.join(posixpath.dirname(entry.path), entry.link))
    try:
        names = [str(name) for name in manifest[0]["Layers"]]
    except (TypeError, KeyError, IndexError) as err:
        raise IntegrityError(f"{what} is no archive of an image: its manifest.json names no layers") from err
    wanted = {aliases.get(name, name) for name in names}
    found: dict[str, Digest] = {}
    with path.open("rb") as source:
        for entry, content in entries(decompressed(source, store.bound, what), what, store.bound):
            if entry.path in wanted and content is not None:
                found[entry.path] = unpack_into_store(content, store, f"{what}: {entry.path}")
    for name in wanted:
        if name not in found:
            raise IntegrityError(f"{what} names the layer {name}, which is not in it")
    return tuple(found[aliases.get(name, name)] for name in names)


def _json(data: bytes, what: str) -> Any:  # noqa: ANN401 - straight from JSON
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as err:
        raise IntegrityError(f"{what}: manifest.json is no JSON: {err}") from err


def exists(image: str, events: EventSink, cancel: Cancel, insecure: tuple[str, ...] = ()) -> bool:
    """Whether a registry has an image. Raises TransportError when it cannot be asked, or tells us nothing."""
    from treebuilder.oci.registry import RegistryImages

    try:
        RegistryImages(events, cancel, insecure).resolve(image)
    except TransportError as err:
        if err.status == 404 or err.reason in ("missing-image", "unknown-image"):
            return False
        raise
    except SpecError as err:
        if err.reason == "image":
            return False
        raise
    return True


# packing --------------------------------------------------------------------------------------------------------------
def pack(image: str, source: Path, output: Path, platform: Platform, bound: Bound = USUAL_BOUND) -> None:
    """Wraps a tar as an image of one layer that `docker load` takes. `bound`: how far a compressed one may expand.

    Raises ConfigError, IntegrityError, UnsafeArchive, NoSpace.
    """
    if not source.is_file():
        raise ConfigError(f"there is no file {source}")
    with disk_errors(f"packing {source}", output.parent):
        with TemporaryFile(dir=output.parent) as layer:
            size, sha256 = _plain(source, layer, bound)
            described = json.dumps(_config(platform, sha256), sort_keys=True).encode()
            config = f"{hashlib.sha256(described).hexdigest()}.json"
            tag = image if ":" in image.rpartition("/")[2] else f"{image}:latest"
            manifest = [{"Config": config, "RepoTags": [tag], "Layers": [f"{sha256}/layer.tar"]}]
            small = {config: described, "manifest.json": json.dumps(manifest, sort_keys=True).encode()}
            files = [Entry(name, "f", 0o644, 0, 0, len(data), 0) for name, data in small.items()]
            members = [files[0], Entry(f"{sha256}/layer.tar", "f", 0o644, 0, 0, size, 0), files[1]]

            def opener(entry: Entry) -> IO[bytes]:
                return io.BytesIO(small[entry.path]) if entry.path in small else os.fdopen(os.dup(layer.fileno()), "rb")

            with replacing(output) as out:
                write_entries(members, out, opener, whiteouts=False)


def _plain(source: Path, out: IO[bytes], bound: Bound) -> tuple[int, str]:
    """Writes the plain form of a tar that may be compressed, and goes back to its begin: its size and sha256."""
    seen, size = hashlib.sha256(), 0
    with source.open("rb") as packed:
        reader = decompressed(packed, bound, str(source), foreign=True)
        while data := reader.read(_CHUNK):
            seen.update(data)
            size += len(data)
            out.write(data)
    out.seek(0)
    return size, seen.hexdigest()


def _config(platform: Platform, sha256: str) -> dict[str, Any]:
    """As luet writes it (luet.md §5.4)."""
    return {
        "architecture": platform.architecture, "os": platform.os, "created": "0001-01-01T00:00:00Z", "config": {},
        "history": [{"created": "0001-01-01T00:00:00Z", "created_by": "luet", "comment": "Custom image"}],
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256}"]},
    }  # fmt: skip


# box ------------------------------------------------------------------------------------------------------------------
@record
class Box:
    """A command in a root. `mounts` are `SRC` or `SRC:DST`; `env` is the whole environment, as K=V."""

    root: Path
    argv: tuple[str, ...]
    env: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()


def run_box(box: Box, out: Callable[[bytes], None], cancel: Cancel) -> int:
    """Runs it in namespaces of its own, with real user ids and no network (luet.md §7.8); its exit status.

    It reads our standard input.

    Raises ConfigError.
    """
    from treebuilder.container import sandbox

    if not box.root.is_dir():
        raise ConfigError(f"there is no folder {box.root} to run in")
    env = {}
    for word in box.env:
        key, sign, value = word.partition("=")
        if not sign or not key:
            raise ConfigError(f"--env takes K=V, and not {word!r}")
        env[key] = value
    binds = []
    for word in box.mounts:
        source, _, target = word.partition(":")
        if not os.path.lexists(source):
            raise ConfigError(f"there is nothing at {source} to mount")
        binds.append((os.path.abspath(source), target or os.path.abspath(source), True))
    made = sandbox.Sandbox(box.root, box.argv, env, binds=tuple(binds), network=False)
    status = sandbox.run(made, log=out, cancel=cancel, timeout_s=_BOX_LIMIT_S, stdin=0)
    return 124 if status is None else status if status >= 0 else 128 - status
