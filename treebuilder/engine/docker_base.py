"""Layers of the store as an image of a Docker daemon.

The canonical tar of a layer is a Docker layer as it is, and its content digest is the diff id. Only layers that the
daemon lacks are sent. Docker stacks 125 layers at most, so the lowest ones of a longer stack are sent as one; the
split moves in steps, so that a chain that grows by one layer sends one layer.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from treebuilder.annotations import IO
from treebuilder.archive.entry import Entry, scan
from treebuilder.archive.tar import Sink, header, size_bytes, write_entries, write_folder
from treebuilder.container.overlay import distinct
from treebuilder.engine import host
from treebuilder.engine.docker_daemon import BASE_NAME, LAYERS_LABEL
from treebuilder.model.digest import Digest
from treebuilder.oci.platform import architecture
from treebuilder.oci.seal import HashingSink, measure
from treebuilder.oci.store import Store
from treebuilder.oci.view import StackView
from treebuilder.records import record

_MOST_LAYERS = 100
_STEP = 50
_CHUNK = 1 << 20
_BLOCK = 512


@record
class Part:
    """One layer for Docker. `size_bytes` is found only for layers that are sent."""

    diff_id: Digest
    size_bytes: Callable[[], int]
    write: Callable[[Sink], None]


@record
class BaseImage:
    """An image to be loaded: its tag says all its layers."""

    tag: str
    parts: tuple[Part, ...]

    @property
    def diff_ids(self) -> tuple[str, ...]:
        return tuple(part.diff_id.hex for part in self.parts)


def base_image(layers: tuple[Digest, ...], store: Store, work: Path) -> BaseImage:
    """The image of a stack, below it the folders that containers are mounted on. `work` must outlive the result."""
    by_path = {str(store.tree_path(layer)): layer for layer in layers}
    stack = distinct([str(store.tree_path(layer)) for layer in layers])
    excess = max(0, len(stack) - _MOST_LAYERS)
    squashed = -(-excess // _STEP) * _STEP
    parts = [_folder_part(_mount_points(work / "points"))]
    if squashed:
        parts.append(_squashed_part(tuple(by_path[path].hex for path in stack[:squashed]), stack[:squashed], store))
    parts += [_stored_part(path, by_path[path]) for path in stack[squashed:]]
    chain = Digest.of(" ".join(part.diff_id.hex for part in parts).encode())
    return BaseImage(f"{BASE_NAME}:{chain.hex}", tuple(parts))


def _mount_points(folder: Path) -> Path:
    """What native containers have too, and what no result contains (see `native`)."""
    for name in (*host.MOUNT_POINTS, "luetbuild"):
        (folder / name).mkdir(parents=True, mode=0o755)
        os.utime(folder / name, (0, 0))
    return folder


def _folder_part(folder: Path) -> Part:
    found = measure(str(folder))
    return Part(found.content, lambda: found.size_bytes, lambda sink: write_folder(str(folder), sink))


def _stored_part(folder: str, content: Digest) -> Part:
    return Part(content, lambda: size_bytes(scan(folder)), lambda sink: write_folder(folder, sink))


def _squashed_part(hexes: tuple[str, ...], folders: list[str], store: Store) -> Part:
    """What several layers show together, as one; its digest is remembered, as hashing reads everything."""
    view = StackView(tuple(folders))
    key = Digest.of(" ".join(hexes).encode()).hex

    def write(sink: Sink) -> None:
        items = list(view.walk())
        reals = {entry.path: real for entry, real in items}

        def opener(entry: Entry) -> IO[bytes]:
            return open(reals[entry.path], "rb", buffering=0)

        write_entries((entry for entry, _ in items), sink, opener)

    known = store.index.note("squashed", key)
    if known is None:
        sink = HashingSink()
        write(sink)
        known = sink.digest().hex.encode()
        store.index.set_notes("squashed", {key: known})
    return Part(Digest(known.decode()), lambda: size_bytes(entry for entry, _ in view.walk()), write)


def archive(image: BaseImage, present: int) -> Iterator[bytes]:
    """The docker-archive of an image without the contents of its lowest `present` layers, as a stream.

    Docker looks a layer up before it reads it, so those it has may be left out.
    """
    read_end, write_end = os.pipe()
    failed: list[Exception] = []

    def produce() -> None:
        try:
            with os.fdopen(write_end, "wb", buffering=_CHUNK) as out:
                _write_archive(image, present, out)
        except BrokenPipeError:
            return  # the daemon said no; the reader knows why
        except Exception as err:  # handed over to the reader
            failed.append(err)

    thread = threading.Thread(target=produce, name="docker-load")
    with os.fdopen(read_end, "rb", buffering=0) as stream:
        thread.start()
        try:
            while data := stream.read(_CHUNK):
                yield data
        finally:
            stream.close()
            thread.join()
    if failed:
        raise failed[0]


def _write_archive(image: BaseImage, present: int, out: Sink) -> None:
    config = json.dumps({
        "architecture": architecture(), "os": "linux",
        "config": {"Labels": {LAYERS_LABEL: " ".join(image.diff_ids)}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hex}" for hex in image.diff_ids]},
    }, sort_keys=True).encode()  # fmt: skip
    config_name = f"{Digest.of(config).hex}.json"
    names = [f"{hex}/layer.tar" for hex in image.diff_ids]
    manifest = json.dumps([{"Config": config_name, "RepoTags": [image.tag], "Layers": names}]).encode()
    for name, part in zip(names[present:], image.parts[present:], strict=True):
        size = part.size_bytes()
        out.write(header(Entry(name, "f", 0o644, 0, 0, size, 0)))
        part.write(out)
        out.write(bytes(-size % _BLOCK))
    for name, data in ((config_name, config), ("manifest.json", manifest)):
        out.write(header(Entry(name, "f", 0o644, 0, 0, len(data), 0)))
        out.write(data + bytes(-len(data) % _BLOCK))
    out.write(bytes(2 * _BLOCK))
