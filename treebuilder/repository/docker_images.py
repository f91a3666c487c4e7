"""Packages as images of one layer, and their metadata beside them: what luet calls final images (luet.md §5.4)."""

from __future__ import annotations

import io
from collections.abc import Mapping

from treebuilder.events import EventSink, Finished, Progressed, Started, Warned
from treebuilder.model.digest import Digest
from treebuilder.oci.layerimage import MANIFEST, LayerImage, layer_image, push_blobs
from treebuilder.repository.docker import DockerBackend, file_image, package_tag, tag_of
from treebuilder.repository.docker_layers import Layers, archive_of
from treebuilder.repository.fields import read_definition
from treebuilder.repository.image_signing import ImageSigner
from treebuilder.repository.index import listing, mapping, parse_document
from treebuilder.repository.late_tags import LateTags
from treebuilder.repository.watching import ImageWatcher
from treebuilder.system import clock
from treebuilder.system.clock import utc
from treebuilder.system.pool import in_parallel
from treebuilder.system.process import Cancel

THREADS = 8
_TASK = "publish"
_NONE: Mapping[bytes, tuple[str, ...]] = {}
_REF = "org.opencontainers.image.ref.name"
_FEW = 20  # packages whose tags are looked at one by one instead of being listed


class PackageImages:
    """Sends packages to a repository of a registry, each under the tag that luet gives it.

    `force`: also what is there, which may be damaged. `keep`: a tag that leads to something else is left, with a
    warning. `commands` are what the images of some entries run. With `signer` the images of packages are signed, also
    those that are there. With `late` a tag that leads to something else moves when its owner says so; else when its
    image is there. `watcher` is told of each image before.
    """

    def __init__(
        self, target: DockerBackend, layers: Layers, events: EventSink, cancel: Cancel, *, epoch_s: int,
        force: bool = False, keep: bool = False, commands: Mapping[bytes, tuple[str, ...]] = _NONE,
        signer: ImageSigner | None = None, late: LateTags | None = None,
        watcher: ImageWatcher | None = None,
    ) -> None:  # fmt: skip
        self._target, self._layers = target, layers
        self._events, self._cancel = events, cancel
        self.there: dict[str, Digest] = {}  # the images of packages that are there now as they should be, by tag
        self._said: set[str] = set()  # tags that the watcher was told of
        self._left: set[Digest] = set()  # images that were not sent, for their tags lead to others
        self._epoch_s, self._force, self._keep, self._commands = epoch_s, force, keep, commands
        self._signer, self._late, self._watcher = signer, late, watcher
        self.sent = 0

    def send(self, entries: list[bytes]) -> None:
        """Sends what entries that `Layers.entries` made name. Raises TransportError, IntegrityError, SpecError."""
        if not entries:
            return
        began = clock.monotonic_s()
        text = f"publishing {len(entries)} packages to {self._target}"
        self._events.emit(Started(_TASK, text, len(entries), "packages"))
        done: list[None] = []
        try:
            place = self._target.place
            tags = frozenset(place.tags()) if len(entries) > _FEW and not self._force else None

            def send(entry: bytes) -> None:
                self._cancel.check()
                self._send(entry, tags)
                done.append(None)
                self._events.emit(Progressed(_TASK, len(done)))

            in_parallel(entries, send, THREADS)
        except BaseException:
            self._events.emit(Finished(_TASK, "failed", seconds=clock.monotonic_s() - began))
            raise
        finally:
            self.sent += len(done)
        self._events.emit(Finished(_TASK, seconds=clock.monotonic_s() - began))

    def _send(self, entry: bytes, tags: frozenset[str] | None) -> None:
        """A package's image, and that of its metadata."""
        place = self._target.place
        layer, opened, metadata, path = self._layers.layer(entry)
        tag = package_tag(archive_of(entry).path)
        annotations = package_annotations(entry, self._epoch_s) | {_REF: tag}
        image = layer_image(layer, self._epoch_s, annotations, command=self._commands.get(entry, ()))
        self._say(tag)
        if self._wanted(image, tag, tags):
            push_blobs(place, image, opened, again=self._force)
            self._point(tag, image)
        if image.digest not in self._left:
            self.there[tag] = image.digest
            if self._signer is not None:
                self._signer.sign(image.digest, len(image.manifest), tags)
        name = tag_of(path.name)
        described, data = file_image(path.name, metadata, self._epoch_s, {})
        self._say(name)
        if self._wanted(described, name, tags):
            push_blobs(place, described, lambda: io.BytesIO(data))
            self._point(name, described)

    def _say(self, tag: str) -> None:
        if self._watcher is not None:
            self._watcher.sending(self._target.image(tag))
            self._said.add(tag)

    def say_sent(self) -> None:
        """Tells the watcher that all is there, image by image."""
        if self._watcher is not None:
            for tag in sorted(self._said):
                self._watcher.sent(self._target.image(tag))

    def _point(self, tag: str, image: LayerImage) -> None:
        if self._late is None:
            self._target.place.put_manifest(tag, image.manifest, MANIFEST)
        else:
            self._late.put(tag, image.manifest, MANIFEST, again=self._force)

    def _wanted(self, image: LayerImage, tag: str, tags: frozenset[str] | None) -> bool:
        """Whether an image is to be sent. An earlier run may have done so before it was cut off."""
        new = tags is not None and tag not in tags
        if new and self._late is not None:
            self._late.is_new(tag)
        if self._force or new:
            return True
        present = self._target.place.digest_of(tag) if self._late is None else self._late.led(tag)
        if self._keep and present not in (None, image.digest):
            message = f"{self._target}:{tag} is there and is something else: it stays"
            self._events.emit(Warned(message, hint="--push-final-images-force replaces it"))
            self._left.add(image.digest)
            self._said.discard(tag)
            return False
        return present != image.digest


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
