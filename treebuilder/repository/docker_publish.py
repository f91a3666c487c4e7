"""Publishes a repository to a registry: packages, then files, then the index, whose tag makes all of it visible.

What the tags of the published one lead to is left so until all is there; then they move, and that of the index last.

The repository is composed in a folder of the cache, which remembers what an unchanged one costs nothing to find out.
A package is left alone only if the index that is in the registry names it with the same digest: that a tag is there
says nothing of what it leads to.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from treebuilder.errors import ConfigError, IntegrityError, TransportError
from treebuilder.events import EventSink, Warned
from treebuilder.model.digest import Digest
from treebuilder.oci.arriving import UNSEEN, Arriving
from treebuilder.oci.layerimage import MANIFEST, push_blobs
from treebuilder.oci.store import Store
from treebuilder.repository.api import INDEX_NAME, MAX_META_BYTES, SIGNATURE_SUFFIX
from treebuilder.repository.bounds import bounded
from treebuilder.repository.deltas import Patch
from treebuilder.repository.disk import DiskBackend
from treebuilder.repository.docker import NOT_SHOWN, SETTLE_S, DockerBackend, package_tag, tag_of
from treebuilder.repository.docker_images import THREADS, PackageImages
from treebuilder.repository.docker_layers import Layers, archive_of
from treebuilder.repository.image_signing import ImageSigner
from treebuilder.repository.index import RepositoryIndex, parse_index
from treebuilder.repository.late_tags import LateTags
from treebuilder.repository.metadata import SUFFIX
from treebuilder.repository.watching import ImageWatcher
from treebuilder.system.pool import in_parallel
from treebuilder.system.process import Cancel
from treebuilder.trust.keys import PrivateKey

_HEAD = b"index:\n- "
_POINTERS = (INDEX_NAME + SIGNATURE_SUFFIX, INDEX_NAME)


class DockerOutput:
    """Implements `RepositoryBackend` for `create_repository`: what is written shows in the registry with the index.

    `push`: without it all is made ready and nothing is sent. `force`: packages are sent whatever the index names.
    With `keys` the images of packages and indexes are signed. An index is signed after all that it names: where the
    one that is there has their signatures, so have its packages. Raises ConfigError for keys that cannot sign images.
    `watcher` is told of images, those of signatures left out.
    """

    def __init__(
        self, target: DockerBackend, packages: Path, store: Store, events: EventSink, cancel: Cancel, *, epoch_s: int,
        push: bool = True, force: bool = False, keys: tuple[PrivateKey, ...] = (),
        watcher: ImageWatcher | None = None,
    ) -> None:  # fmt: skip
        self._target = target
        self._store, self._events, self._cancel = store, events, cancel
        self._epoch_s, self._push, self._force, self._watcher = epoch_s, push, force, watcher
        self._said: dict[str, None] = {}  # tags that the watcher was told of
        self._layers = Layers(packages, store, cancel)
        self._signer = ImageSigner(lambda: target.place, keys) if keys else None
        self._folder = store.folder / "published" / Digest.of(str(target).encode()).hex[:32]
        self._staged = DiskBackend(self._folder, store, cancel)
        self._indexes: dict[str, bytes | None] = {}
        self._written: dict[str, None] = {}
        self._sent: set[Digest] = set()

    @cached_property
    def _tags(self) -> LateTags:
        return LateTags(self._target.place)

    @cached_property
    def _images(self) -> PackageImages:
        return PackageImages(
            self._target, self._layers, self._events, self._cancel, epoch_s=self._epoch_s, force=self._force,
            signer=self._signer, late=self._tags, watcher=self._watcher,
        )  # fmt: skip

    @property
    def pushed(self) -> int:
        """How many packages were sent, or found to be there from a run that was cut off."""
        return self._images.sent

    def entries(self, entries: Iterable[bytes]) -> Iterable[bytes]:
        """Entries of a repository's meta that name layers instead of archives."""
        return self._layers.entries(entries)

    def index(self, reference: str) -> bytes | None:
        if reference not in self._indexes:
            self._indexes[reference] = self._target.index(reference)
        return self._indexes[reference]

    def open(self, name: str, sha256: Digest, max_bytes: int, progress: Arriving = UNSEEN) -> Path:
        return self._target.open(name, sha256, max_bytes, progress)

    def patches(self, name: str, content: Digest) -> tuple[Patch, ...]:
        return self._target.patches(name, content)

    def open_patch(self, patch: Patch, progress: Arriving = UNSEEN) -> Path:
        return self._target.open_patch(patch, progress)

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
            if self._push and reference != INDEX_NAME:
                self.index(reference)
                self._target.need_own_tag(reference)
            self._packages(parsed)
            own = dict.fromkeys(file.filename for _, file in parsed.files)
            if self._push:
                in_parallel(own | self._written, self._file, THREADS)
                self._written.clear()
                if reference == INDEX_NAME and self._tags.waiting:
                    self._need_unchanged(NOT_SHOWN)
                # what a snapshot leads to is its own; all else is the newest index's
                self._tags.move(frozenset(map(tag_of, own)), only=reference != INDEX_NAME)
        if self._push:
            self._say(reference)
            if reference in _POINTERS:
                took_s = self._target.replace(reference, index)
                if reference == INDEX_NAME:
                    if took_s is not None:
                        self._settle(took_s)
                    self._need_unchanged("that one shows")
            else:
                self._target.commit(reference, index)
            self._indexes[reference] = index
            if self._signer is not None and not reference.endswith(SIGNATURE_SUFFIX):
                image = self._target.committed[reference]
                self._signer.sign(image.digest, len(image.manifest))
            if reference == INDEX_NAME:  # the last of all
                self._say_sent()

    def _say(self, name: str) -> None:
        tag = tag_of(name)
        if self._watcher is not None and tag not in self._said and not name.endswith(SIGNATURE_SUFFIX):
            self._watcher.sending(self._target.image(tag))
            self._said[tag] = None

    def _say_sent(self) -> None:
        if self._watcher is not None:
            self._images.say_sent()
            for tag in self._said:
                self._watcher.sent(self._target.image(tag))

    def _need_unchanged(self, state: str) -> None:
        """Raises IntegrityError (reason "changed")."""
        for reference in _POINTERS:
            if reference == INDEX_NAME or reference in self._target.committed:
                self._target.need_unchanged(reference, state)

    def _settle(self, took_s: float) -> None:
        """Another who looked before this run wrote, and writes after it, does so within the pause, or is warned.

        So of two who publish at once, one finds the other's index before its own or after it, or is told.
        """
        if took_s > SETTLE_S:
            self._events.emit(Warned(
                f"{self._target}: the index took {took_s:.0f} s on its way: whatever somebody else published meanwhile "
                "does not show", hint="if somebody did, both run create-repo again",
            ))  # fmt: skip
        self._cancel.pause(SETTLE_S)

    def _file(self, name: str) -> None:
        self._say(name)
        image, layer = self._target.made(name, (self._folder / name).read_bytes())
        tag = tag_of(name)
        if self._tags.led(tag) != image.digest:
            push_blobs(self._target.place, image, lambda: io.BytesIO(layer))
        self._tags.put(tag, image.manifest, MANIFEST)

    # packages ---------------------------------------------------------------------------------------------------
    def _packages(self, index: RepositoryIndex) -> None:
        file = index.file("meta")
        assert file is not None  # parse_index saw to it
        if file.sha256 in self._sent:
            return
        entries = _entries(self._folder / file.filename, file.filename)
        _check_tags(entries, [found.filename for _, found in index.files])
        known = frozenset() if self._force or not self._signed() else self._known(file.sha256)
        if known is not None and self._push:
            self._images.send([entry for entry in entries if entry not in known])
        self._sent.add(file.sha256)

    def _signed(self) -> bool:
        """Whether what the index names that is there is signed by all keys. Nobody who lies here gains anything."""
        if self._signer is None or not self._push or self.index(INDEX_NAME) is None:
            return True
        seen = self._target.seen(INDEX_NAME)
        return seen is not None and self._signer.signed(seen)

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
