"""The build cache in a registry or a folder: what one machine built, no other builds again.

A record is a manifest under a tag made of its key. Its config holds the key's document and the result; its layers are
the layers of the image, or the archives of the packages. A record is taken only if its document hashes to the key that
was asked for, and bytes only if they are what their digests say and hold what the record says. Records are never
changed: the first wins. Layers are fetched when something is to be built on them, which is seldom. A record that is not
what it should be is warned of and passed over; a registry that cannot be reached or has other layers than it said is
warned of once and asked no more: what it has is built here.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from io import BytesIO, FileIO
from pathlib import Path

from treebuilder.annotations import IO, Any
from treebuilder.archive.bounds import Counted
from treebuilder.archive.compress import compressor
from treebuilder.archive.tar import write_folder
from treebuilder.build.artifacts import Packages
from treebuilder.build.emit import files_note, read_files
from treebuilder.build.record_reading import ODD, built_of, check_archive, node_of, packages_of
from treebuilder.build.record_signing import ANYBODY, RecordTrust
from treebuilder.build.results import ArtifactResult, NodeResult
from treebuilder.build.shared_layers import Blob, Records, by_content, layer_item
from treebuilder.build.shared_listing import Listings
from treebuilder.build.shared_sending import Sending
from treebuilder.build.waiting import Waiting
from treebuilder.errors import IntegrityError, NotReproducible, TransportError, TreebuildError, UnsafeArchive
from treebuilder.events import EventSink, Finished, Started, Warned
from treebuilder.model.digest import Digest
from treebuilder.oci.arriving import UNSEEN
from treebuilder.oci.folder import FolderRepository, drop_damaged, whole
from treebuilder.oci.layout import MAX_JSON, item_digest, json_object, unpack_into_store
from treebuilder.oci.remote import Progress, Repository, descriptor_size
from treebuilder.oci.seal import HashingSink
from treebuilder.oci.store import BlobLostError, Store
from treebuilder.plan.graph import BuildNode
from treebuilder.plan.keys import NodeKeys, artifact_document

SCHEMA = "treebuild.cache/1"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.treebuild.record.v1+json"
_ARCHIVE = "application/vnd.treebuild.package.v1"
_SMALL = 1 << 16  # bytes that are sent without asking whether they are there
_MOST_BROKEN = 20  # records of a registry: a page that every address leads to is one for each that is asked for
_COMPARED = "compared-record"  # notes: a manifest's digest to that of the result that it was compared with
_Led = Callable[[str], "Digest | None"]


class SharedCache:
    """Records of several repositories, asked in turn; `targets` is where new ones go. Safe from many threads.

    `commits` are called when all has been pushed. `trust` says whose records count, and `waiting` how long others that
    may be building a node are waited for.
    """

    def __init__(
        self, sources: Sequence[Records], targets: Sequence[Records], store: Store, events: EventSink,
        commits: Sequence[Callable[[], None]] = (), trust: RecordTrust = ANYBODY, waiting: Waiting | None = None,
    ) -> None:  # fmt: skip
        self._trust = trust
        self._waiting = waiting
        self._listings = Listings()
        self._sending = Sending()
        self._sources = tuple(sources)
        self._targets = tuple(targets)
        self._commits = tuple(commits)
        self._store = store
        self._events = events
        self._layers: dict[str, Blob] = {}
        self._lost: set[Records] = set()
        self._broken: set[tuple[Records, str]] = set()  # records that are not what they should be, by their tags
        self._damaged: set[tuple[Records, Digest]] = set()  # layers
        self._mended: set[tuple[Records, Digest]] = set()  # those of them that were pushed again
        self._other: dict[Digest, str] = {}  # plan keys under which a target has another result, and what to say
        self._lock = threading.Lock()

    @property
    def pushes(self) -> bool:
        return bool(self._targets)

    @property
    def takes_many(self) -> bool:
        """Whether several nodes can be pushed at once: what is damaged in a folder is deleted by one at a time."""
        return not any(isinstance(target, FolderRepository) for target in self._targets)

    # pulling ----------------------------------------------------------------------------------------------------
    def node(self, keys: NodeKeys) -> NodeResult | None:
        """The result under a plan key, if anybody has pushed one. Its layers stay where they are."""
        return self._node(keys, fresh=False)

    def _node(self, keys: NodeKeys, *, fresh: bool) -> NodeResult | None:
        return self._result(f"node-{keys.plan.hex}", lambda config, what: node_of(config, keys, what), fresh=fresh)

    def built(self, key: Digest) -> NodeResult | None:
        """The same under a build key: of whatever plan that came to the same inputs. Also what was pushed just now."""
        return self._result(f"build-{key.hex}", lambda config, what: built_of(config, key, what), fresh=True)

    def _result(
        self, tag: str, read: Callable[[Mapping[str, Any], str], NodeResult], *, fresh: bool
    ) -> NodeResult | None:
        for repository, config, items in self._records(tag, self._sources, fresh=fresh):
            try:
                result = read(config, str(repository))
                found = by_content(repository, items)
            except IntegrityError as err:
                self._pass_over(repository, tag, err)
                continue
            wanted = {layer.hex for layer in (*result.state.layers, *result.own)}
            if wanted <= found.keys():
                with self._lock:
                    self._layers.update(found)
                return result
        return None

    def awaited(self, keys: NodeKeys) -> NodeResult | None:
        """The result that somebody else pushes while we wait; None when nobody has in time. Raises Cancelled."""
        if self._waiting is None or not self._sources:
            return None
        return self._waiting.until(
            lambda: self._node(keys, fresh=True), lambda: all(one in self._lost for one in self._sources)
        )

    def knows(self, keys: NodeKeys) -> bool:
        """Whether anybody has pushed a record of a node or of its packages."""
        for repository in self._sources:
            try:
                tags = (f"node-{keys.plan.hex}", f"artifact-{keys.artifact.hex}")
                for asked in (one for tag in tags for one in self._trust.asked(tag)):
                    if repository in self._lost or self._listings.lacks(repository, asked):
                        continue
                    if repository.digest_of(asked) is not None:
                        return True
                    self._listings.missed(repository)
            except TransportError as err:
                self._lose(repository, err)
        return False

    def artifact(self, keys: NodeKeys, compression: str) -> Packages | None:
        """The packages under an artifact key, with their archives in the store."""
        for repository, config, items in self._records(f"artifact-{keys.artifact.hex}", self._sources, fresh=False):
            try:
                packages, files = packages_of(config, keys, str(repository))
                if not all(compression in one.blobs for one in packages.all()):
                    continue
                sizes = {item_digest(item, str(repository)): descriptor_size(item) for item in items}
                for one in packages.all():
                    self._bring_archive(repository, one, compression, sizes, files[one.content.hex])
            except TransportError as err:
                self._lose(repository, err)
                continue
            except (IntegrityError, UnsafeArchive) as err:
                self._pass_over(repository, f"artifact-{keys.artifact.hex}", err)
                continue
            checked = packages.only(compression)
            notes = [files_note(Digest(content), names) for content, names in files.items()]
            self._store.index.replace([(keys.artifact.hex, "artifact", "", checked.to_json())], notes)
            return checked
        return None

    def _bring_archive(
        self, repository: Records, one: ArtifactResult, compression: str, sizes: Mapping[Digest, int],
        files: tuple[str, ...],
    ) -> None:  # fmt: skip
        """Fetches an archive and compares it with its record. Raises IntegrityError, UnsafeArchive, TransportError."""
        blob, _ = one.blobs[compression]
        what = f"{repository}@{blob}"
        if self._store.has_blob(blob):
            check_archive(self._store.blob_path(blob), one, files, what)
            return
        with self._store.part() as part:
            self._download(Blob(repository, blob, sizes.get(blob, 0)), f"package {blob.hex[:12]}", part)
            check_archive(part, one, files, what)
            self._store.add_blob_file(part, blob)

    def _pass_over(self, repository: Records, tag: str, err: TreebuildError) -> None:
        """One record that is not what it should be keeps nobody from building, and is told once."""
        with self._lock:
            known = (repository, tag) in self._broken
            self._broken.add((repository, tag))
            count = sum(one is repository for one, _ in self._broken)
        if known or repository in self._lost or count > _MOST_BROKEN:  # others asked at the same time
            return
        key = tag.partition("-")[2]
        self._events.emit(Warned(f"{repository}: the record of {key[:16]} is not used: {err.message}"))
        if count == _MOST_BROKEN:
            self._drop(repository, f"{count} of its records are not what they should be")

    def has(self, layer: Digest) -> bool:
        """Whether a layer that is not here can be fetched."""
        return layer.hex in self._layers

    def bring(self, layer: Digest) -> bool:
        """Fetches a layer into the store; False if it is not to be had."""
        blob = self._layers.get(layer.hex)
        if blob is None:
            return False
        with self._store.single_flight(f"layer-{layer.hex}"):
            if self._store.has_tree(layer):
                return True
            try:
                found = self._unpacked(blob, layer)
            except TransportError as err:
                self._lose(blob.repository, err)
                return False
            except (IntegrityError, UnsafeArchive) as err:
                self._damaged.add((blob.repository, layer))
                self._drop(blob.repository, err.message)
                return False
        if found != layer:
            self._damaged.add((blob.repository, layer))
            self._drop(blob.repository, f"the layer {layer} reads as {found}")
        return found == layer

    def _unpacked(self, blob: Blob, layer: Digest) -> Digest:
        with self._store.part() as part:
            self._download(blob, f"layer {layer.hex[:12]}", part)
            with part.open("rb") as source:
                bound = self._store.bound.promised(blob.plain_bytes)
                return unpack_into_store(source, self._store, f"{blob.repository}@{blob.digest}", bound)

    def _download(self, blob: Blob, task: str, part: Path) -> None:
        self._events.emit(Started(task, f"fetching {task}", blob.size, "bytes"))
        try:
            blob.repository.blob(blob.digest, blob.size, part, Progress(task, self._events))
        except BaseException as err:
            self._events.emit(Finished(task, "failed", str(err)))
            raise
        self._events.emit(Finished(task))

    def _records(
        self, tag: str, places: Sequence[Records], *, fresh: bool
    ) -> Iterator[tuple[Records, dict[str, Any], list[dict[str, Any]]]]:
        """`fresh`: also what was pushed since the tags were listed."""
        for repository, asked in ((one, asked) for one in places for asked in self._trust.asked(tag)):
            if repository in self._lost or (not fresh and self._listings.lacks(repository, asked)):
                continue
            try:
                _, manifest = repository.manifest(asked, None)
                self._trust.check(tag, manifest, f"{repository}:{asked}")
                item = manifest.get("config") or {}
                digest, size = item_digest(item, str(repository)), min(descriptor_size(item), MAX_JSON)
                with self._store.part() as part:
                    file = repository.blob(digest, size, part, UNSEEN)
                    config = json_object(file.read_bytes(), f"{repository}:{tag}")
            except TransportError as err:
                if err.status == 404:
                    self._listings.missed(repository)
                else:
                    self._lose(repository, err)
                continue
            except IntegrityError as err:
                self._pass_over(repository, tag, err)
                continue
            items = manifest.get("layers")
            if config.get("schema") == SCHEMA and isinstance(items, list):
                yield repository, config, [item for item in items if isinstance(item, dict)]

    def _lose(self, repository: Records, err: TransportError) -> None:
        """Does without a registry that cannot be reached. Raises what only its user can mend: a wrong password."""
        if err.status in (401, 403):
            raise err
        self._drop(repository, err.message)

    def _drop(self, repository: Records, why: str) -> None:
        with self._lock:
            known = repository in self._lost
            self._lost.add(repository)
            self._layers = {layer: blob for layer, blob in self._layers.items() if blob.repository is not repository}
        if not known:
            self._events.emit(Warned(f"{repository} is not asked any more, what it has is built here: {why}"))

    # pushing ----------------------------------------------------------------------------------------------------
    def push_node(self, node: BuildNode, keys: NodeKeys, result: NodeResult) -> bool:
        """Pushes a node's record and the layers that a target lacks; False if the record is everywhere.

        It lies under the plan key, and under the build key for who comes to the same inputs by another plan.
        """
        config = {"schema": SCHEMA, "name": str(node.pid), "document": keys.document, "result": result.to_json()}
        tags = [f"node-{keys.plan.hex}"]
        known = self._store.index.get(result.build_key.hex)
        if known is not None and "inputs" in known and NodeResult.from_json(known).same_as(result):
            config["inputs"] = known["inputs"]
            tags.append(f"build-{result.build_key.hex}")
        layers = {*result.state.layers, *result.own}
        pushed = False
        for target in self._targets:
            damaged = any((target, layer) in self._damaged for layer in layers)
            led = cache(target.digest_of)
            lacks = {tag: missing for tag in tags if (missing := self._missing(target, tag, led, always=damaged))}
            if not damaged and self._differs(target, next((tag for tag in tags if tag not in lacks), ""), result, led):
                self._other[keys.plan] = f"{node.pid} ({target})"
                continue
            items = self._layer_items(target, result) if lacks else None
            for tag, missing in lacks.items() if items is not None else ():
                self._push_record(target, tag, missing, config, items or [])
                pushed = True
        return pushed

    def _differs(self, target: Records, tag: str, result: NodeResult, led: _Led) -> bool:
        """Whether the record that a target has came to something else by the same inputs. It is read once."""
        mine = Digest.of(json.dumps([result.state.to_json(), [layer.hex for layer in result.own]]).encode())
        for asked in self._trust.asked(tag) if tag else ():
            digest = led(asked)
            if digest is None or self._store.index.note(_COMPARED, digest.hex) == mine.hex.encode():
                continue
            for _, config, _ in self._records(tag, (target,), fresh=True):
                with suppress(*ODD):
                    found = NodeResult.from_json(config["result"])
                    if found.build_key == result.build_key and not found.same_as(result):
                        return True
            self._store.index.set_notes(_COMPARED, {digest.hex: mine.hex.encode()})
        return False

    def _layer_items(self, target: Records, result: NodeResult) -> list[dict[str, Any]] | None:
        """The layers of a result in a target, where those that it lacks are pushed; None if they are not to be had."""
        layers = [*dict.fromkeys((*result.state.layers, *result.own))]
        known = {layer: blob for layer in layers if (blob := self._layers.get(layer.hex)) and blob.repository is target}
        there = {layer: blob for layer, blob in known.items() if self._sending.has(target, blob.digest)}
        there = {layer: blob for layer, blob in there.items() if (target, layer) not in self._damaged}
        if not all(layer in there or self._store.has_tree(layer) for layer in layers):
            return None
        return [
            layer_item(there[layer].digest, there[layer].size, layer, there[layer].plain_bytes)
            if layer in there
            else self._push_layer(target, layer)
            for layer in layers
        ]

    def push_artifact(self, node: BuildNode, keys: NodeKeys, packages: Packages) -> bool:
        """Pushes the packages of a node; False if they are everywhere. Raises BlobLostError, TransportError."""
        tag = f"artifact-{keys.artifact.hex}"
        if keys.plan in self._other:
            return False
        targets = [
            (target, missing) for target in self._targets if (missing := self._missing(target, tag, target.digest_of))
        ]
        if not targets:
            return False
        blobs = [pair for one in packages.all() for pair in one.blobs.values() if self._store.has_blob(pair[0])]
        items = [{"mediaType": _ARCHIVE, "digest": str(blob), "size": size} for blob, size in blobs]
        files = {one.content.hex: read_files(self._store, one.content) for one in packages.all()}
        config = {
            "schema": SCHEMA, "name": str(node.pid), "document": keys.document, "files": files,
            "packing": artifact_document(node.package.recipe), "packages": packages.to_json(),
        }  # fmt: skip
        for target, missing in targets:
            again = (target, tag) in self._broken
            for blob, size in blobs:
                try:
                    self._push_blob(target, blob, size, partial(FileIO, self._store.blob_path(blob)), again=again)
                except TreebuildError as err:
                    if self._store.verify_blob(blob):
                        raise
                    raise BlobLostError(f"{blob} was damaged") from err
            self._push_record(target, tag, missing, config, items)
        return True

    def finish(self) -> None:
        """Makes what was pushed known where that is done at once.

        Raises NotReproducible where a target has another result under a key: that one stays.
        """
        for commit in self._commits:
            commit()
        if self._other:
            raise NotReproducible(
                f"the same inputs gave another result than the one that was pushed before: "
                f"{', '.join(sorted(self._other.values())[:10])}",
                hint="that one stays, and nothing was pushed for these; make the steps reproducible (times, random "
                "names, caches); build --pull takes what was pushed",
            )

    def _missing(self, target: Records, tag: str, led: _Led, *, always: bool = False) -> list[str]:
        """The tags that a target lacks for a record, `led` being where its tags lead; also one of a key's own that
        leads to what it has not signed, and all where what is there is no record, or damaged."""
        if isinstance(target, FolderRepository):
            for one in self._trust.written(tag):
                drop_damaged(target, one, self._store)
        if always or (target, tag) in self._broken:
            return [*self._trust.written(tag)]
        plain, *signed = self._trust.written(tag)
        missing = [plain] if led(plain) is None else []
        for other in signed:
            digest = led(other)
            try:
                found = None if digest is None else target.manifest(other, digest)[1]
            except IntegrityError:
                found = None
            if found is None or not self._trust.is_ours(tag, found):
                missing.append(other)
        return missing

    def _push_record(
        self, target: Records, tag: str, missing: list[str], config: Mapping[str, object], items: list[dict[str, Any]]
    ) -> None:
        data = json.dumps(config, sort_keys=True).encode("utf-8", "surrogatepass")
        digest = Digest.of(data)
        if isinstance(target, Repository) and len(data) <= _SMALL:
            target.push_small(data)
        else:
            self._push_blob(target, digest, len(data), partial(BytesIO, data), again=(target, tag) in self._broken)
        value = {
            "schemaVersion": 2, "mediaType": _MANIFEST, "artifactType": _CONFIG, "layers": items,
            "config": {"mediaType": _CONFIG, "digest": str(digest), "size": len(data)},
        }  # fmt: skip
        data = json.dumps(self._trust.sign(tag, value), sort_keys=True).encode()
        for name in missing:
            target.put_manifest(name, data, _MANIFEST)

    def _push_layer(self, target: Records, layer: Digest) -> dict[str, Any]:
        """Uploads a layer unless the registry has it; its compressed form is known by a note after the first time."""
        with self._sending.turn(target, layer):
            again = (target, layer) in self._damaged - self._mended
            noted = self._store.index.note("layer-blob", layer.hex)
            if noted is not None and not again:
                text, size, *plain = noted.decode().split()
                if self._sending.has(target, Digest(text)) and self._is_whole(target, Digest(text)):
                    return layer_item(Digest(text), int(size), layer, *map(int, plain))
            return self._send_layer(target, layer, again=again)

    def _send_layer(self, target: Records, layer: Digest, *, again: bool) -> dict[str, Any]:
        with self._store.part() as part:
            sink = HashingSink()
            with part.open("wb") as out:
                packer = compressor("zstd", _Both(sink, out))
                counted = Counted(packer)
                write_folder(self._store.tree_folder(layer), counted)
                packer.close()
            digest, size_bytes, plain_bytes = sink.digest(), sink.size_bytes, counted.size_bytes
            self._events.emit(Started(f"layer {layer.hex[:12]}", "pushing", size_bytes, "bytes"))
            again = again or not self._is_whole(target, digest)
            self._sending.push(target, digest, size_bytes, lambda: part.open("rb", buffering=0), again=again)
            self._mended.add((target, layer))
            self._events.emit(Finished(f"layer {layer.hex[:12]}"))
        self._store.index.set_notes("layer-blob", {layer.hex: f"{digest.hex} {size_bytes} {plain_bytes}".encode()})
        return layer_item(digest, size_bytes, layer, plain_bytes)

    def _is_whole(self, target: Records, digest: Digest) -> bool:
        """A registry is believed; a folder is looked at."""
        return not isinstance(target, FolderRepository) or whole(target, digest, self._store)

    def _push_blob(
        self, target: Records, digest: Digest, size: int, opened: Callable[[], IO[bytes]], *, again: bool
    ) -> None:  # fmt: skip
        self._sending.push(target, digest, size, opened, again=again or not self._is_whole(target, digest))


class _Both:
    def __init__(self, one: HashingSink, two: IO[bytes]) -> None:
        self._one, self._two = one, two

    def write(self, data: bytes, /) -> int:
        self._one.write(data)
        return self._two.write(data)
