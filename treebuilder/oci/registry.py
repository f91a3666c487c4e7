"""Images of a registry: resolved to digests, fetched blob by blob, checked while they stream."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import MappingProxyType

from treebuilder.annotations import Any
from treebuilder.errors import IntegrityError
from treebuilder.events import EventSink, Finished, Started
from treebuilder.model.digest import Digest
from treebuilder.model.image import State
from treebuilder.oci.arriving import Arriving
from treebuilder.oci.layout import MAX_JSON, image_config, item_digest, json_object, platform_item, unpack_into_store
from treebuilder.oci.platform import Platform
from treebuilder.oci.reference import Reference, parse_reference, speaks_plain
from treebuilder.oci.remote import Progress, Repository, descriptor_size
from treebuilder.oci.store import Store
from treebuilder.system import clock
from treebuilder.system.pool import in_parallel
from treebuilder.system.process import Cancel

_AT_ONCE = 3  # layers of an image


class RegistryImages:
    """Images by reference. May be used from many threads. `insecure` are hosts (with port) to speak plain HTTP to.

    Of several platforms `platform` counts, ours by default; `auth` is what `Repository.enter` takes.
    `keep_blobs`: layers stay in the store as they came, too, and are taken from there the next time; `kept` names those
    of the images that were loaded, and `fetched_bytes` came for them.
    """

    def __init__(
        self, events: EventSink, cancel: Cancel, insecure: tuple[str, ...] = (), *, keep_blobs: bool = False,
        platform: Platform | None = None, auth: Mapping[str, str] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        self._platform, self._auth = platform, auth
        self._keep_blobs = keep_blobs
        self.kept: list[Digest] = []
        self.fetched_bytes = 0
        self._events = events
        self._cancel = cancel
        self._insecure = frozenset(insecure)
        self._lock = threading.Lock()
        self._repositories: dict[tuple[str, str], Repository] = {}

    def _repository(self, reference: Reference) -> Repository:
        key = (reference.host, reference.repository)
        with self._lock:
            if key not in self._repositories:
                plain = speaks_plain(reference.host, self._insecure)
                self._repositories[key] = found = Repository(*key, plain, self._cancel)
                found.enter(self._auth)
            return self._repositories[key]

    def resolve(self, reference: str) -> Digest:
        """The digest of the manifest for the platform. Raises TransportError, IntegrityError, SpecError."""
        named = parse_reference(reference)
        repository = self._repository(named)
        digest, manifest = repository.manifest(str(named.digest or named.tag), named.digest)
        for _ in range(3):
            if "manifests" not in manifest:
                return digest
            digest = item_digest(platform_item(manifest, reference, self._platform), reference)
            _, manifest = repository.manifest(str(digest), digest)
        raise IntegrityError(f"{reference}: indexes of indexes of indexes")

    def load(self, reference: str, digest: Digest, store: Store) -> State:
        """Brings an image's layers into the store. Raises TransportError, IntegrityError for any wrong byte."""
        repository = self._repository(parse_reference(reference))
        _, manifest = repository.manifest(str(digest), digest)
        layers, config_item = manifest.get("layers"), manifest.get("config") or {}
        if not isinstance(layers, list):
            raise IntegrityError(f"{reference}: {digest} is no manifest of an image")
        task = f"image {reference}"
        sizes = {item_digest(item, reference): descriptor_size(item) for item in (config_item, *layers)}
        self._events.emit(Started(task, f"fetching {reference}", sum(sizes.values()), "bytes"))
        began = clock.monotonic_s()
        progress = Progress(task, self._events)
        try:
            with store.scratch() as work:
                file = repository.blob(item_digest(config_item, reference), MAX_JSON, work / "config", progress)
                config = json_object(file.read_bytes(), reference)
            state = State(self._layers(repository, layers, store, progress), image_config(config))
        except BaseException:
            self._events.emit(Finished(task, "failed", seconds=clock.monotonic_s() - began))
            raise
        with self._lock:
            self.fetched_bytes += progress.moved_bytes
        self._events.emit(Finished(task, seconds=clock.monotonic_s() - began))
        return state

    def _layers(
        self, repository: Repository, items: list[dict[str, Any]], store: Store, progress: Arriving
    ) -> tuple[Digest, ...]:
        """The contents' digests. Several layers come at once; one that stands twice comes once."""
        blobs = [item_digest(item, str(repository)) for item in items]
        once = dict(zip(blobs, items, strict=True))
        if self._keep_blobs:
            self.kept += once
        found = in_parallel(
            [*once.values()], lambda item: self._layer(repository, item, store, progress), _AT_ONCE, self._cancel
        )
        contents = dict(zip(once, found, strict=True))
        return tuple(contents[blob] for blob in blobs)

    def _layer(self, repository: Repository, item: dict[str, Any], store: Store, progress: Arriving) -> Digest:
        """One layer's content digest. A layer of another image that was unpacked before is not fetched again."""
        blob = item_digest(item, str(repository))
        noted = store.index.note("unpacked", blob.hex)
        if noted is not None and store.has_tree(Digest(noted.decode())):
            progress.kept(descriptor_size(item))
            return Digest(noted.decode())
        with store.scratch() as work:
            file = store.blob_path(blob)
            if not self._keep_blobs or not store.verify_blob(blob):
                file = repository.blob(blob, descriptor_size(item), work / "blob", progress)
                if self._keep_blobs:
                    store.add_blob_file(file, blob)
                    file = store.blob_path(blob)
            else:
                progress.kept(descriptor_size(item))
            with file.open("rb") as source:
                content = unpack_into_store(source, store, f"{repository}@{blob}")
        store.index.set_notes("unpacked", {blob.hex: content.hex.encode()})
        return content
