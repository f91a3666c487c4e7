"""Finds and deletes what no kept index of a repository in a registry reaches.

Only tags that are a repository's are looked at: what else somebody keeps in the same place stays, also where it is the
same image. Manifests without a tag cannot be listed; the registry's own clean-up takes them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import suppress

from treebuilder.annotations import Any
from treebuilder.errors import IntegrityError, SpecError, TransportError
from treebuilder.model.digest import Digest
from treebuilder.oci.layout import json_object
from treebuilder.records import record
from treebuilder.repository.api import INDEX_NAME, SIGNATURE_SUFFIX
from treebuilder.repository.copy_docker import docker_references
from treebuilder.repository.copying import State, read_state
from treebuilder.repository.docker import ARCHIVE, FILES, DockerBackend, package_tag, tag_of
from treebuilder.repository.index import parse_index
from treebuilder.repository.metadata import SUFFIX
from treebuilder.system.pool import in_parallel

_THREADS = 8
_SIGNATURES = re.compile(r"sha256-([0-9a-f]{64})(\.\w+)?\Z")  # tags of what refers to a manifest
_NAMES = ("org.opencontainers.image.ref.name", "org.opencontainers.image.title")


@record
class Unreached:
    """Tags to delete, indexes first, with the manifests they lead to, and the bytes that only these need.

    `index` is the manifest of the newest index that was looked at, None where there are only snapshots. `shared` are
    those of the tags whose manifest somebody else's tag leads to, too: it stays, and only the tag goes.
    """

    tags: tuple[tuple[str, Digest], ...]
    size_bytes: int
    index: Digest | None
    shared: frozenset[str] = frozenset()


def unreached(
    target: DockerBackend, keep: int | None, spared: Collection[str] = (), documents: Collection[str] = ()
) -> Unreached:
    """What neither the newest index nor the `keep` last snapshots by name reach; None keeps all snapshots.

    Snapshots that are `spared` are kept too, and the tags of `documents`.

    Raises SpecError (reason "no-repository"), IntegrityError, TransportError.
    """
    place = target.place
    first = place.digest_of(tag_of(INDEX_NAME))
    references = docker_references(target) if first is not None else docker_references(target)[1:]
    if not references:
        raise SpecError(f"there is no repository at {target}", hint=f"it has no {INDEX_NAME}", reason="no-repository")
    stay = {f"{id}-{INDEX_NAME}" for id in spared}
    last = references if keep is None else references[: keep + (first is not None)]
    kept = tuple(name for name in references if name in last or name in stay)
    states = [state for name in kept if (state := read_state(target, name, str(target))) is not None]
    tags = place.tags()
    reached = {tag for state in states for tag in _tags_of(state)} | set(documents)
    given_up = [tag for name in references if name not in kept for tag in _given_up(target, name)]
    others = [tag for tag in dict.fromkeys([*given_up, *tags]) if tag in set(tags) and tag not in reached]
    if not others:
        return Unreached((), 0, first)
    pinned = set(in_parallel(sorted(reached & set(tags)), place.digest_of, _THREADS))
    for state in states:
        pinned |= _described(place.manifest(tag_of(state.reference), None)[1])
    found = dict(zip(others, in_parallel(others, lambda tag: place.manifest(tag, None), _THREADS), strict=True))
    known = {tag for tag in tags if not _SIGNATURES.match(tag)}
    gone = {
        tag: (digest, manifest)
        for tag, (digest, manifest) in found.items()
        if digest not in pinned and (tag in given_up or (tag in known and _is_ours(tag, manifest, known)))
    }
    signatures = {tag: match[1] for tag in found if (match := _SIGNATURES.match(tag))}
    others_own = [found[tag] for tag in found if tag not in gone and tag not in signatures]
    staying = {to for digest, manifest in others_own for to in _led(digest, manifest)}
    subjects = {digest.hex for digest, _ in gone.values() if digest not in staying}
    for tag, (digest, manifest) in found.items():
        if digest not in pinned and signatures.get(tag) in subjects:
            gone[tag] = digest, manifest
    shared = frozenset(tag for tag, (digest, _) in gone.items() if digest in staying)
    stays = {str(piece.sha256) for state in states for piece in state.pieces}
    stays |= {blob for tag, (_, manifest) in found.items() if tag not in gone for blob in _blobs(manifest)}
    sizes = {
        blob: size
        for tag, (_, manifest) in gone.items()
        if tag not in shared
        for blob, size in _blobs(manifest).items()
    }
    size = sum(count for blob, count in sizes.items() if blob not in stays)
    return Unreached(tuple((tag, digest) for tag, (digest, _) in gone.items()), size, first, shared)


def _led(digest: Digest, manifest: Mapping[str, Any]) -> set[Digest]:
    """The manifest that a tag leads to, and those that it lists, as an image for several platforms does."""
    items = manifest.get("manifests")
    found = {digest}
    for item in items if isinstance(items, list) else ():
        with suppress(ValueError):
            found.add(Digest.parse(str(item.get("digest") if isinstance(item, dict) else "")))
    return found


def _tags_of(state: State) -> set[str]:
    found = {tag_of(state.reference), tag_of(state.reference + SIGNATURE_SUFFIX)}
    for piece in state.pieces:
        if piece.package:
            stem = piece.name.rpartition("/")[2].partition(ARCHIVE)[0]
            found |= {package_tag(piece.name), tag_of(stem + SUFFIX)}
        else:
            found.add(tag_of(piece.name))
    return found


def _given_up(target: DockerBackend, reference: str) -> list[str]:
    """The tags of a snapshot's own files, its index first."""
    id = reference.removesuffix(INDEX_NAME)
    found = [reference, reference + SIGNATURE_SUFFIX]
    try:
        data = target.index(reference)
        files = () if data is None else parse_index(data, reference).files
    except IntegrityError:
        files = ()
    return [tag_of(name) for name in (*found, *(f.filename for _, f in files if f.filename.startswith(id)))]


def _described(manifest: Mapping[str, Any]) -> set[Digest | None]:
    """The manifests that an index's manifest gives for its files."""
    annotations = manifest.get("annotations")
    said = annotations.get(FILES) if isinstance(annotations, dict) else None
    try:
        value = json_object(said, FILES) if isinstance(said, str) else {}
        return {Digest.parse(str(digest)) for digest in value.values()}
    except (ValueError, IntegrityError) as err:
        raise IntegrityError("an index's manifest has an annotation that cannot be read: nothing is deleted") from err


def _is_ours(tag: str, manifest: Mapping[str, Any], tags: set[str]) -> bool:
    """Whether a tag is a file or package of a repository: ours say their name, luet's have metadata beside them."""
    said = manifest.get("annotations")
    names = [said.get(key) for key in _NAMES] if isinstance(said, dict) else []
    named = any(isinstance(name, str) and tag_of(name) == tag for name in names)
    return named or tag.endswith(SUFFIX) or tag_of(tag + SUFFIX) in tags


def _blobs(manifest: Mapping[str, Any]) -> dict[str, int]:
    """Digests and sizes in bytes of what an image consists of."""
    layers = manifest.get("layers")
    items = [manifest.get("config"), *(layers if isinstance(layers, list) else [])]
    return {
        str(item.get("digest")): item["size"]
        for item in items
        if isinstance(item, dict) and isinstance(item.get("size"), int)
    }


def delete(target: DockerBackend, found: Unreached) -> tuple[str, ...]:
    """Deletes the tags, one after another; those that had to stay: their manifest is somebody else's too, and the
    registry deletes no tag alone. Raises TransportError; IntegrityError (reason "changed") when somebody published in
    the meantime: nothing is deleted then."""
    place = target.place
    if place.digest_of(tag_of(INDEX_NAME)) != found.index:
        raise IntegrityError(
            f"{target} was published to in the meantime: nothing was deleted", reason="changed", hint="run it again"
        )
    left: list[str] = []
    for tag, digest in found.tags:
        if place.digest_of(tag) != digest:
            continue  # with another tag of the same manifest, or published anew
        try:
            place.delete_manifest(tag if tag in found.shared else str(digest))
        except TransportError as err:
            if err.status not in (400, 405):
                raise
            if tag in found.shared:
                left.append(tag)
                continue
            raise TransportError(
                f"{target}: the registry deletes nothing",
                status=err.status,
                hint="its server has to be told so: for Debian's docker-registry, storage: {delete: {enabled: true}}",
            ) from err
    return tuple(left)
