"""Makes and publishes patches: from the packages of earlier states of a repository to those of the newest.

It is done after the index is there: who comes in between fetches whole packages, and nobody finds a patch to a package
that is not published. Patches that are there are not made again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from treebuilder.annotations import IO, Protocol
from treebuilder.archive.compress import decompressed
from treebuilder.errors import IntegrityError, TransportError
from treebuilder.events import EventSink, Finished, Progressed, Said, Started
from treebuilder.model.digest import Digest
from treebuilder.model.version import sort_key
from treebuilder.oci.layerimage import MANIFEST
from treebuilder.oci.patch import make_patch
from treebuilder.oci.seal import HashingSink
from treebuilder.oci.store import Store
from treebuilder.records import record
from treebuilder.repository.api import MAX_META_BYTES, RepositoryBackend
from treebuilder.repository.bounds import bounded
from treebuilder.repository.deltas import ARTIFACT_TYPE, LIST, Patch, list_document, notes_of, read_list
from treebuilder.repository.disk import DiskBackend
from treebuilder.repository.docker import DockerBackend, package_tag
from treebuilder.repository.index import Artifact, parse_index, parse_meta
from treebuilder.system.files import disk_errors, write_atomic
from treebuilder.system.process import Cancel

_SMALL = 1 << 16  # an archive of so few bytes is fetched whole
_GAIN = 0.75  # of the archive's size; a patch that is larger is not worth its place
_TASK = "patches"
_MAX_TAR_BYTES = 64 << 30
_CHUNK = 1 << 20


@record
class Shelf:
    """The packages of one state of a repository, and the digest of its meta."""

    meta: Digest
    artifacts: tuple[Artifact, ...]


class Places(Protocol):
    """Where patches are put."""

    def has(self, new: Artifact, before: Digest) -> Patch | None:
        """A patch to a package that is there already."""
        ...

    def add(self, new: Artifact, patch: Patch, file: Path) -> None: ...

    def finish(self, patches: Sequence[Patch]) -> None:
        """Lets readers know of all that are of use now."""
        ...


def shelf(backend: RepositoryBackend, reference: str) -> Shelf | None:
    """What an index leads to; None where there is none. Raises IntegrityError, TransportError."""
    data = backend.index(reference)
    if data is None:
        return None
    file = parse_index(data, reference).file("meta")
    assert file is not None  # parse_index saw to it
    path = backend.open(file.filename, file.sha256, MAX_META_BYTES)
    with path.open("rb") as source:
        for entry, content in bounded(source, file.filename, max_bytes=MAX_META_BYTES):
            if entry.kind == "f" and content is not None:
                return Shelf(file.sha256, tuple(parse_meta(content.read(), file.filename)))
    raise IntegrityError(f"{file.filename} holds no repository.meta.yaml")


def wanted(new: Shelf, old: Iterable[Shelf], most: int) -> list[tuple[Artifact, Artifact]]:
    """Pairs of a package and an older form of it, for the `most` last states that are others than the new one."""
    states: dict[Digest, Shelf] = {}
    for state in old:
        if state.meta != new.meta and len(states) < most:
            states.setdefault(state.meta, state)
    pairs: dict[tuple[Digest, Digest], tuple[Artifact, Artifact]] = {}
    newest = _newest(new)
    for state in states.values():
        for name, before in _newest(state).items():
            after = newest.get(name)
            if after is None or after.content is None or before.content in (None, after.content):
                continue
            assert before.content is not None
            pairs.setdefault((after.content, before.content), (after, before))
    return list(pairs.values())


def _newest(state: Shelf) -> Mapping[str, Artifact]:
    """The newest version of every package that has the digest of its tar."""
    found: dict[str, Artifact] = {}
    for artifact in state.artifacts:
        known = found.get(artifact.package.pkgname)
        if artifact.content is not None and (
            known is None or sort_key(known.package.version) < sort_key(artifact.package.version)
        ):
            found[artifact.package.pkgname] = artifact
    return found


class Maker:
    """Makes patches and puts them where they belong."""

    def __init__(
        self, store: Store, events: EventSink, cancel: Cancel, opened: Callable[[Artifact], Path], places: Places
    ) -> None:
        self._store, self._events, self._cancel = store, events, cancel
        self._opened, self._places = opened, places

    def publish(self, pairs: Sequence[tuple[Artifact, Artifact]]) -> tuple[Patch, ...]:
        """The patches that are there then. A package whose older form is lost, or gains nothing, has none.

        Raises TransportError, IntegrityError, NoSpace, ConfigError (reason "no-zstd").
        """
        found: list[Patch] = []
        self._events.emit(Started(_TASK, f"making patches for {len(pairs)} packages", len(pairs), "packages"))
        try:
            for number, (after, before) in enumerate(pairs, 1):
                self._cancel.check()
                assert before.content is not None
                patch = self._places.has(after, before.content) or self._made(after, before)
                found += [patch] if patch is not None else []
                self._events.emit(Progressed(_TASK, number))
            self._places.finish(found)
        except BaseException:
            self._events.emit(Finished(_TASK, "failed"))
            raise
        self._events.emit(Finished(_TASK))
        return tuple(found)

    def _made(self, after: Artifact, before: Artifact) -> Patch | None:
        assert after.content is not None
        assert before.content is not None
        key = f"{after.content.hex} {before.content.hex}"
        if self._store.index.note("delta-vain", key) is not None:
            return None
        try:
            old, new = self._opened(before), self._opened(after)
        except (IntegrityError, TransportError) as err:
            self._events.emit(Said(f"   {before.package} is not here any more, no patch leads from it: {err.message}"))
            return None
        size = new.stat().st_size
        sink = HashingSink()
        with (
            self._store.part() as one, self._store.part() as two, self._store.part() as made,
            disk_errors("making a patch", self._store.folder),
        ):  # fmt: skip
            if size <= _SMALL or not (self._plain(old, one, before) and self._plain(new, two, after)):
                return None
            with made.open("wb") as out:
                make_patch(one, two, before.content, after.content, _Both(sink, out))
            if sink.size_bytes > size * _GAIN:
                self._store.index.set_notes("delta-vain", {key: b"1"})
                return None
            patch = Patch(before.content, after.content, sink.digest(), sink.size_bytes)
            self._places.add(after, patch, made)
        return patch

    def _plain(self, archive: Path, target: Path, artifact: Artifact) -> bool:
        """Writes the tar of an archive; False for one that is not what its meta says."""
        sink, size = HashingSink(), 0
        with archive.open("rb") as source, target.open("wb") as out:
            stream = decompressed(source)
            while data := stream.read(_CHUNK):
                self._cancel.check()
                size += len(data)
                if size > _MAX_TAR_BYTES:
                    return False
                sink.write(data)
                out.write(data)
        return sink.digest() == artifact.content


class _Both:
    def __init__(self, one: HashingSink, two: IO[bytes]) -> None:
        self._one, self._two = one, two

    def write(self, data: bytes, /) -> int:
        self._one.write(data)
        return self._two.write(data)


class FolderPatches:
    """Implements `Places` for a repository in a folder: files of `deltas/`, and the list beside the index."""

    def __init__(self, folder: Path, backend: DiskBackend) -> None:
        self._folder, self._backend = folder, backend
        data = backend.index(LIST)
        try:
            listed = () if data is None else read_list(data, LIST)
        except IntegrityError:
            listed = ()  # it is written anew
        self._known = {(one.after, one.before): one for one in listed}

    def has(self, new: Artifact, before: Digest) -> Patch | None:
        assert new.content is not None
        known = self._known.get((new.content, before))
        return known if known is not None and (self._folder / known.name).is_file() else None

    def add(self, new: Artifact, patch: Patch, file: Path) -> None:
        target = self._folder / patch.name
        with disk_errors(f"writing {target}", self._folder):
            target.parent.mkdir(parents=True, exist_ok=True)
            # through the folder's own file system, and whole or not at all
            part = target.with_name(f".{target.name}.part")
            try:
                with file.open("rb") as source, part.open("wb") as out:
                    while data := source.read(_CHUNK):
                        out.write(data)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)

    def finish(self, patches: Sequence[Patch]) -> None:
        """Files that are of no use any more go after the list that does not name them is there."""
        if not patches and self._backend.index(LIST) is None:
            return
        write_atomic(self._folder / LIST, list_document(patches))
        kept = {self._folder / patch.name for patch in patches}
        for path in sorted((self._folder / "deltas").glob("*.delta")):
            if path not in kept:
                path.unlink(missing_ok=True)


class RegistryPatches:
    """Implements `Places` for a registry: images that refer to those of packages. What refers to a package that is
    deleted goes with it."""

    def __init__(self, target: DockerBackend) -> None:
        self._target = target

    def has(self, new: Artifact, before: Digest) -> Patch | None:
        assert new.content is not None
        try:
            found = self._target.patches(new.path, new.content)
        except IntegrityError:
            return None
        return next((one for one in found if one.before == before), None)

    def add(self, new: Artifact, patch: Patch, file: Path) -> None:
        place = self._target.place
        tag = package_tag(new.path)
        described = place.manifest_bytes(tag, None)
        image = Digest.of(described)
        empty = b"{}"
        place.push_small(empty)
        place.push_blob(patch.sha256, patch.size_bytes, lambda: file.open("rb", buffering=0))
        notes = notes_of(patch)
        value = {
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": ARTIFACT_TYPE, "annotations": notes,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": str(Digest.of(empty)), "size": 2},
            "layers": [{"mediaType": ARTIFACT_TYPE, "digest": str(patch.sha256), "size": patch.size_bytes}],
            "subject": {"mediaType": MANIFEST, "digest": str(image), "size": len(described)},
        }  # fmt: skip
        data = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
        place.put_referrer(data, MANIFEST, image, {"artifactType": ARTIFACT_TYPE, "annotations": notes})

    def finish(self, patches: Sequence[Patch]) -> None:
        return
