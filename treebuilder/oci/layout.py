"""Images in an OCI layout folder (image-spec, image-layout.md): read, checked, and unpacked into the store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from treebuilder.annotations import IO, Any
from treebuilder.archive.bounds import Bound
from treebuilder.archive.compress import decompressed
from treebuilder.archive.extract import unpack_layer
from treebuilder.errors import IntegrityError, SpecError
from treebuilder.model.digest import Digest
from treebuilder.model.image import ImageConfig, State
from treebuilder.oci.platform import Platform, here
from treebuilder.oci.seal import measure
from treebuilder.oci.store import Store

MAX_JSON = 8 << 20
_INDEXES_DEEP = 4
_DEEPEST = 64  # levels of a document: whoever goes through it, or shows it, needs no more stack than that
INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")


class Layout:
    """One layout folder, hostile until its digests are checked. Of several platforms this machine's counts."""

    def __init__(self, folder: Path, platform: Platform | None = None) -> None:
        self._folder, self._platform = folder, platform

    def _blob_path(self, digest: Digest) -> Path:
        return self._folder / "blobs" / "sha256" / digest.hex

    def _json(self, digest: Digest) -> dict[str, Any]:
        path = self._blob_path(digest)
        try:
            if path.stat().st_size > MAX_JSON:
                raise IntegrityError(f"{path} is too large for a manifest")
            data = path.read_bytes()
        except FileNotFoundError as err:
            raise IntegrityError(f"the image layout {self._folder} lacks {digest}") from err
        if Digest.of(data) != digest:
            raise IntegrityError(f"{path} is not what its name promises")
        return json_object(data, str(path))

    def resolve(self) -> Digest:
        """The digest of the layout's one manifest for the platform. Raises SpecError, IntegrityError."""
        file = self._folder / "index.json"
        try:
            with file.open("rb") as source:
                data = source.read(MAX_JSON + 1)
        except OSError as err:
            raise SpecError(f"{self._folder} is no OCI image layout: {err.strerror}", reason="image") from err
        if len(data) > MAX_JSON:
            raise IntegrityError(f"{file} is too large for an index")
        index = json_object(data, str(file))
        for _ in range(_INDEXES_DEEP):
            item = platform_item(index, str(self._folder), self._platform)
            digest = item_digest(item, str(self._folder))
            if item.get("mediaType") not in INDEXES:
                return digest
            index = self._json(digest)
        raise IntegrityError(f"{self._folder}: indexes of indexes of indexes")

    def load(self, manifest_digest: Digest, store: Store) -> State:
        """Unpacks the image's layers into the store. Raises IntegrityError for any byte that is not as promised."""
        what = str(self._folder)
        manifest = self._json(manifest_digest)
        config = self._json(item_digest(manifest.get("config"), what))
        layers = tuple(self._layer(item_digest(item, what), store) for item in _list(manifest.get("layers"), what))
        return State(layers, image_config(config))

    def _layer(self, blob: Digest, store: Store) -> Digest:
        path = self._blob_path(blob)
        if not path.is_file():
            raise IntegrityError(f"the image layout {self._folder} lacks {blob}")
        seen = hashlib.sha256()
        with path.open("rb") as source:
            while data := source.read(1 << 20):
                seen.update(data)
        if seen.hexdigest() != blob.hex:
            raise IntegrityError(f"{path} is not what its name promises")
        with path.open("rb") as source:
            return unpack_into_store(source, store, str(path))


def platform_item(index: dict[str, Any], what: str, platform: Platform | None = None) -> dict[str, Any]:
    """The descriptor in an image index that is for a platform, ours by default. Raises SpecError without one."""
    wanted = platform or here()
    for item in _list(index.get("manifests"), what):
        described = _map(_map(item, what).get("platform") or {}, what)
        fits = described.get("architecture", wanted.architecture) == wanted.architecture
        fits = fits and described.get("os", "linux") == wanted.os
        if fits and (not wanted.variant or described.get("variant", "") in ("", wanted.variant)):
            return dict(item)
    raise SpecError(f"{what} holds no image for {wanted}", reason="image")


def unpack_into_store(packed: IO[bytes], store: Store, what: str, bound: Bound | None = None) -> Digest:
    """Unpacks a layer's (compressed) tar; returns the content digest under which the store has its folder.

    Without a `bound` the store's counts. Raises IntegrityError, UnsafeArchive, NoSpace.
    """
    bound = store.bound if bound is None else bound
    with store.scratch() as work:
        made = work / "tree"
        made.mkdir()
        unpack_layer(decompressed(packed, bound, what), str(made), what, bound=bound)
        found = measure(str(made))
        store.add_tree(made, found.content, found.listing)
    return found.content


def image_config(config: dict[str, Any]) -> ImageConfig:
    """What an image's configuration hands on. Source: image-spec, config.md."""
    what = "the image's configuration"
    own = _map(config.get("config") or {}, what)
    env = tuple(sorted((str(k), v) for k, _, v in (str(e).partition("=") for e in _list(own.get("Env"), what))))
    shell = tuple(str(s) for s in _list(own.get("Shell"), what))
    return ImageConfig(env, str(own.get("User") or ""), str(own.get("WorkingDir") or ""), shell)


def json_value(data: bytes | str, what: str) -> object:
    """A JSON document of strangers. Raises IntegrityError, also for one of more than `_DEEPEST` levels."""
    try:
        value: object = json.loads(data)
    except ValueError as err:
        raise IntegrityError(f"{what} is no JSON: {err}") from err
    except RecursionError as err:
        raise IntegrityError(f"{what} has more than {_DEEPEST} levels") from err
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for item in level for inner in _inside(item) if isinstance(inner, (dict, list))]
        if not level:
            return value
    raise IntegrityError(f"{what} has more than {_DEEPEST} levels")


def _inside(value: object) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def json_object(data: bytes | str, what: str) -> dict[str, Any]:
    """A JSON document of strangers that is an object. Raises IntegrityError."""
    value = json_value(data, what)
    if not isinstance(value, dict):
        raise IntegrityError(f"{what} is no JSON object")
    return value


def item_digest(item: object, what: str) -> Digest:
    """The digest of a descriptor. Raises IntegrityError."""
    try:
        return Digest.parse(str(_map(item, what)["digest"]))
    except (KeyError, ValueError) as err:
        raise IntegrityError(f"{what}: a descriptor without a sha256 digest") from err


def _map(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise IntegrityError(f"{what}: {str(value)[:40]!r} stands where an object belongs")
    return value


def _list(value: object, what: str) -> list[Any]:
    """A list; nothing counts as an empty one."""
    if value is not None and not isinstance(value, list):
        raise IntegrityError(f"{what}: {str(value)[:40]!r} stands where a list belongs")
    return value or []
