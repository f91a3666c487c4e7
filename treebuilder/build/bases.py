"""Bases that come from outside the plan: bootstraps, images, artifacts of repositories. Each is made once."""

from __future__ import annotations

from pathlib import Path

from treebuilder.annotations import Protocol
from treebuilder.engine.bootstrap import bootstrapper_for
from treebuilder.errors import SpecError
from treebuilder.events import EventSink
from treebuilder.model.digest import Digest
from treebuilder.model.image import DEFAULT_PATH, ImageConfig, State
from treebuilder.model.package import Bootstrap
from treebuilder.oci.layout import Layout
from treebuilder.oci.store import Store
from treebuilder.plan.graph import BuildPlan, Foreign
from treebuilder.plan.keys import bootstrap_document, digest_of, locked_image
from treebuilder.plan.lock import Lock, bootstrap_key
from treebuilder.plan.places import named_images, named_urls, said_at
from treebuilder.records import replace
from treebuilder.system.process import Cancel


class ImageSource(Protocol):
    """Where images of other references come from (a registry); wired by `app`."""

    def resolve(self, reference: str) -> Digest: ...

    def load(self, reference: str, digest: Digest, store: Store) -> State: ...


class ForeignArtifacts(Protocol):
    """Brings a repository's artifact into the store, verified; returns the content digest of its plain tar."""

    def bring(self, artifact: Foreign, store: Store) -> Digest: ...


class Bases:
    """Loads bases by their locked digests; results are records of the store."""

    def __init__(
        self, store: Store, lock: Lock, images: ImageSource | None, foreign: ForeignArtifacts | None,
        events: EventSink, cancel: Cancel,
    ) -> None:  # fmt: skip
        self._store = store
        self._lock = lock
        self._images = images
        self._foreign = foreign
        self._events = events
        self._cancel = cancel

    def _record(self, key: Digest) -> State | None:
        found = self._store.index.get(key.hex)
        if found is None:
            return None
        state = State.from_json(found)
        return state if all(self._store.tree_path(layer).is_dir() for layer in state.layers) else None

    def image(self, reference: str) -> State:
        digest = locked_image(self._lock, reference)
        key = digest_of(["image", digest.hex])
        with self._store.single_flight(key.hex, self._cancel):
            known = self._record(key)
            if known is None:
                known = _load_image(reference, digest, self._store, self._images)
                self._store.index.replace([(key.hex, "base", reference, known.to_json())])
        return known

    def bootstrap_key(self, wish: Bootstrap) -> Digest:
        return digest_of(["bootstrap", 1, bootstrap_document(self._lock, bootstrap_key(wish)), self._lock.epoch_s])

    def bootstrap(self, wish: Bootstrap, task: str) -> State:
        key = self.bootstrap_key(wish)
        with self._store.single_flight(key.hex, self._cancel):
            known = self._record(key)
            if known is None:
                base = self._lock.bootstraps[bootstrap_key(wish)]
                sealed = bootstrapper_for(wish).install(
                    wish, base, self._lock.epoch_s, self._store, self._events, self._cancel, task
                )
                known = State((sealed.content,), ImageConfig((("PATH", DEFAULT_PATH),)))
                self._store.index.replace([(key.hex, "base", bootstrap_key(wish), known.to_json())])
        return known

    def foreign(self, artifact: Foreign) -> Digest:
        if self._foreign is None:
            raise SpecError(f"{artifact.package.id} is in no repository that is configured", reason="no-repository")
        return self._foreign.bring(artifact, self._store)


def _load_image(reference: str, digest: Digest, store: Store, images: ImageSource | None) -> State:
    if reference.startswith("oci:"):
        return Layout(Path(reference.removeprefix("oci:"))).load(digest, store)
    if images is None:
        raise SpecError(f"the image {reference} needs a registry", reason="image")
    return images.load(reference, digest, store)


class Resolver:
    """Fills a lock with what a plan needs from outside. Asks the network only for what is missing."""

    def __init__(self, store: Store, images: ImageSource | None, events: EventSink, cancel: Cancel) -> None:
        self._store = store
        self._images = images
        self._events = events
        self._cancel = cancel

    def missing(self, plan: BuildPlan, lock: Lock) -> list[str]:
        """Names of what the lock lacks for a plan, sorted. Layout folders are read anew each time."""
        names = [ref for ref in plan.images() if not ref.startswith("oci:") and ref not in lock.images]
        names += [url for url in plan.urls() if url not in lock.urls]
        names += [bootstrap_key(w) for w in plan.bootstraps() if bootstrap_key(w) not in lock.bootstraps]
        return sorted(names) + (["epoch"] if not lock.epoch_s else [])

    def complete(self, plan: BuildPlan, lock: Lock, epoch_s: int | None) -> Lock:
        """The lock with everything a plan needs. Raises TransportError, SpecError."""
        for wish in plan.bootstraps():
            key = bootstrap_key(wish)
            if key not in lock.bootstraps:
                base = bootstrapper_for(wish).resolve(wish, self._store, self._events, self._cancel)
                lock = lock.with_bootstrap(key, replace(base, asked=" ".join(wish.packages)))
        named = named_images(plan.nodes.values())
        for reference in plan.images():
            if reference.startswith("oci:") or reference in lock.images:
                continue
            with said_at(named[reference]):
                if self._images is None:
                    raise SpecError(f"the image {reference} needs a registry", reason="image")
                lock = lock.with_image(reference, self._images.resolve(reference))
        said = named_urls(plan.nodes.values())
        for url in plan.urls():
            if url not in lock.urls:
                from treebuilder.oci.download import Downloader

                with said_at(said[url]):
                    lock = lock.with_url(url, Downloader(self._store, self._cancel).fetch(url, None))
        if not lock.epoch_s:
            lock = lock.with_epoch(epoch_s or None)  # a written 0 would say that it is not known
        return lock

    @staticmethod
    def with_layouts(plan: BuildPlan, lock: Lock) -> Lock:
        """The lock as seen by this run: layout folders of the tree are resolved each time, never written down."""
        for reference in plan.images():
            if reference.startswith("oci:"):
                lock = lock.with_image(reference, Layout(Path(reference.removeprefix("oci:"))).resolve())
        return lock
