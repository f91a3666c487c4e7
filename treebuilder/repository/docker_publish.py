"""Publishes a repository to a registry: packages, then files, then the index, whose tag makes all of it visible.

The repository is composed in a folder of the cache, which remembers what an unchanged one costs nothing to find out.
A package is left alone only if the index that is in the registry names it with the same digest: that a tag is there
says nothing of what it leads to.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from treebuilder.errors import ConfigError, IntegrityError, TransportError
from treebuilder.events import EventSink, Finished, Progressed, Started, Warned
from treebuilder.model.digest import Digest
from treebuilder.oci.layerimage import LayerImage, layer_image, push_image
from treebuilder.oci.store import Store
from treebuilder.repository.api import INDEX_NAME, MAX_META_BYTES, SIGNATURE_SUFFIX
from treebuilder.repository.bounds import bounded
from treebuilder.repository.disk import DiskBackend
from treebuilder.repository.docker import DockerBackend, file_image, package_tag, tag_of
from treebuilder.repository.docker_layers import Layers, archive_of, in_parallel
from treebuilder.repository.fields import read_definition
from treebuilder.repository.index import RepositoryIndex, listing, mapping, parse_document, parse_index
from treebuilder.repository.metadata import SUFFIX
from treebuilder.system import clock
from treebuilder.system.clock import utc
from treebuilder.system.process import Cancel

THREADS = 8
_HEAD = b"index:\n- "
_TASK = "publish"
_REF = "org.opencontainers.image.ref.name"
_FEW = 20  # packages whose tags are looked at one by one instead of being listed


class DockerOutput:
    """Implements `RepositoryBackend` for `create_repository`: what is written shows in the registry with the index.

    `push`: without it all is made ready and nothing is sent. `force`: packages are sent whatever the index names.
    """

    def __init__(
        self, target: DockerBackend, packages: Path, store: Store, events: EventSink, cancel: Cancel, *, epoch_s: int,
        push: bool = True, force: bool = False,
    ) -> None:  # fmt: skip
        self._target = target
        self._store, self._events, self._cancel = store, events, cancel
        self._epoch_s, self._push, self._force = epoch_s, push, force
        self._layers = Layers(packages, store, cancel)
        self._folder = store.folder / "published" / Digest.of(str(target).encode()).hex[:32]
        self._staged = DiskBackend(self._folder, store, cancel)
        self._indexes: dict[str, bytes | None] = {}
        self._written: dict[str, None] = {}
        self._sent: set[Digest] = set()
        self.pushed = 0

    def entries(self, entries: Iterable[bytes]) -> Iterable[bytes]:
        """Entries of a repository's meta that name layers instead of archives."""
        return self._layers.entries(entries)

    def index(self, reference: str) -> bytes | None:
        if reference not in self._indexes:
            self._indexes[reference] = self._target.index(reference)
        return self._indexes[reference]

    def open(self, name: str, sha256: Digest, max_bytes: int) -> Path:
        return self._target.open(name, sha256, max_bytes)

    def put(self, name: str, data: bytes) -> None:
        self._staged.put(name, data)
        self._written[name] = None

    def copy(self, name: str, target: str) -> None:
        self._staged.copy(name, target)
        self._written[target] = None

    def stat(self, name: str) -> tuple[int, int, int, int] | None:
        return self._staged.stat(name)

    def commit(self, reference: str, index: bytes) -> None:
        """Sends what the index leads to, and then the index. Raises TransportError, IntegrityError, ConfigError."""
        if not reference.endswith(SIGNATURE_SUFFIX):
            parsed = parse_index(index, reference)
            self._packages(parsed)
            names = dict.fromkeys(file.filename for _, file in parsed.files) | self._written
            if self._push:
                in_parallel(names, lambda name: self._target.put(name, (self._folder / name).read_bytes()), THREADS)
                self._written.clear()
        if self._push:
            self._target.commit(reference, index)
            self._indexes[reference] = index

    # packages ---------------------------------------------------------------------------------------------------
    def _packages(self, index: RepositoryIndex) -> None:
        file = index.file("meta")
        assert file is not None  # parse_index saw to it
        if file.sha256 in self._sent:
            return
        entries = _entries(self._folder / file.filename, file.filename)
        _check_tags(entries, [found.filename for _, found in index.files])
        known = frozenset() if self._force else self._known(file.sha256)
        if known is not None and self._push:
            self._send([entry for entry in entries if entry not in known])
        self._sent.add(file.sha256)

    def _known(self, meta: Digest) -> frozenset[bytes] | None:
        """The entries of the repository that is there; None when they are those of `meta`."""
        present = self.index(INDEX_NAME)
        if present is None:
            return frozenset()
        try:
            file = parse_index(present, INDEX_NAME).file("meta")
            assert file is not None  # parse_index saw to it
            if file.sha256 == meta:
                return None
            return frozenset(_entries(self._target.open(file.filename, file.sha256, MAX_META_BYTES), file.filename))
        except (IntegrityError, TransportError) as err:
            if isinstance(err, TransportError) and err.status != 404:
                raise
            self._events.emit(Warned(f"what is published cannot be read, and is sent whole: {err.message}"))
            return frozenset()

    def _send(self, entries: list[bytes]) -> None:
        if not entries:
            return
        began = clock.monotonic_s()
        self._events.emit(
            Started(_TASK, f"publishing {len(entries)} packages to {self._target}", len(entries), "packages")
        )
        place = self._target.place
        tags = frozenset(place.tags()) if len(entries) > _FEW and not self._force else None
        done: list[None] = []

        def send(entry: bytes) -> None:
            self._cancel.check()
            self._send_one(entry, tags)
            done.append(None)
            self._events.emit(Progressed(_TASK, len(done)))

        try:
            in_parallel(entries, send, THREADS)
        except BaseException:
            self._events.emit(Finished(_TASK, "failed", seconds=clock.monotonic_s() - began))
            raise
        finally:
            self.pushed += len(done)
        self._events.emit(Finished(_TASK, seconds=clock.monotonic_s() - began))

    def _send_one(self, entry: bytes, tags: frozenset[str] | None) -> None:
        """A package's image, and that of its metadata."""
        layer, opened, metadata, path = self._layers.layer(entry)
        tag = package_tag(archive_of(entry).path)
        image = layer_image(layer, self._epoch_s, package_annotations(entry, self._epoch_s) | {_REF: tag})
        if not self._is_there(image, tag, tags):
            push_image(self._target.place, image, tag, opened)
        name = tag_of(path.name)
        described, data = file_image(path.name, metadata, self._epoch_s, {})
        if not self._is_there(described, name, tags):
            push_image(self._target.place, described, name, lambda: io.BytesIO(data))

    def _is_there(self, image: LayerImage, tag: str, tags: frozenset[str] | None) -> bool:
        """Whether a tag leads to an image already: an earlier run was interrupted."""
        if self._force or (tags is not None and tag not in tags):
            return False
        return self._target.place.digest_of(tag) == image.digest


def package_annotations(entry: bytes, epoch_s: int) -> dict[str, str]:
    """What an entry says of its package, in the image specification's words."""
    value = mapping(listing(parse_document(b"index:\n" + entry, "an entry").get("index"))[0])
    package = read_definition(mapping(value.get("runtime")))
    said = {
        "title": f"{package.id.category}/{package.id.name}", "version": package.id.version,
        "description": package.description, "licenses": package.license,
        "url": package.uri[0] if package.uri else "", "created": utc(epoch_s, "%Y-%m-%dT%H:%M:%SZ"),
    }  # fmt: skip
    return {f"org.opencontainers.image.{key}": text for key, text in said.items() if text}


def _entries(path: Path, what: str) -> list[bytes]:
    """The items of a meta that we wrote, each as it stands there; of others' none."""
    with path.open("rb") as source:
        for found, content in bounded(source, what, max_bytes=MAX_META_BYTES):
            if found.kind == "f" and content is not None:
                data = content.read()
                if not data.startswith(_HEAD):
                    return []
                # no line within an item can stand as far left as its dash
                return [b"- " + part.rstrip(b"\n") + b"\n" for part in data[len(_HEAD) :].split(b"\n- ")]
    raise IntegrityError(f"{what} holds no repository.meta.yaml")


def _check_tags(entries: list[bytes], files: list[str]) -> None:
    """Two names that would become one tag would overwrite each other. Raises ConfigError."""
    taken = {tag_of(name): name for name in (INDEX_NAME, *files)}
    for entry in entries:
        path = archive_of(entry).path
        stem = path.rpartition("/")[2].partition(".package.tar")[0]
        for tag, name in ((package_tag(path), stem), (tag_of(stem + SUFFIX), stem + SUFFIX)):
            if taken.setdefault(tag, name) != name:
                raise ConfigError(
                    f"{taken[tag]} and {name} would have the same tag {tag}", reason="same-tag",
                    hint="a registry knows no + in tags: leave one of the packages out",
                )  # fmt: skip
