"""Images in an OCI layout folder (image-spec, image-layout.md): read, checked, and unpacked into the store."""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

from treebuilder.archive.compress import decompressed
from treebuilder.archive.extract import unpack_layer
from treebuilder.errors import IntegrityError, SpecError
from treebuilder.model.digest import Digest
from treebuilder.model.image import ImageConfig, State
from treebuilder.oci.seal import folder_digest
from treebuilder.oci.store import Store

_MAX_JSON = 8 << 20
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")


def architecture() -> str:
    """This machine's architecture in the image specification's (Go's) words."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


class Layout:
    """One layout folder, hostile until its digests are checked."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _blob_path(self, digest: Digest) -> Path:
        return self._folder / "blobs" / "sha256" / digest.hex

    def _json(self, digest: Digest) -> dict[str, Any]:
        path = self._blob_path(digest)
        try:
            if path.stat().st_size > _MAX_JSON:
                raise IntegrityError(f"{path} is too large for a manifest")
            data = path.read_bytes()
        except FileNotFoundError as err:
            raise IntegrityError(f"the image layout {self._folder} lacks {digest}") from err
        if Digest.of(data) != digest:
            raise IntegrityError(f"{path} is not what its name promises")
        return _object(data, str(path))

    def resolve(self) -> Digest:
        """The digest of the layout's one manifest for this platform. Raises SpecError, IntegrityError."""
        try:
            index = _object((self._folder / "index.json").read_bytes(), str(self._folder / "index.json"))
        except OSError as err:
            raise SpecError(f"{self._folder} is no OCI image layout: {err.strerror}", reason="image") from err
        return self._choose(index)

    def _choose(self, index: dict[str, Any]) -> Digest:
        wanted = architecture()
        for item in index.get("manifests", []):
            described = item.get("platform") or {}
            if described.get("architecture", wanted) != wanted or described.get("os", "linux") != "linux":
                continue
            digest = _digest(item, str(self._folder))
            return self._choose(self._json(digest)) if item.get("mediaType") in _INDEXES else digest
        raise SpecError(f"{self._folder} holds no image for linux/{wanted}", reason="image")

    def load(self, manifest_digest: Digest, store: Store) -> State:
        """Unpacks the image's layers into the store. Raises IntegrityError for any byte that is not as promised."""
        manifest = self._json(manifest_digest)
        config = self._json(_digest(manifest.get("config") or {}, str(self._folder)))
        layers = tuple(self._layer(_digest(item, str(self._folder)), store) for item in manifest.get("layers", []))
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
            return unpack_into_store(decompressed(source), store, str(path))


def unpack_into_store(stream: Any, store: Store, what: str) -> Digest:  # noqa: ANN401 - a binary stream
    """Unpacks a layer's tar; returns the content digest under which the store has its folder."""
    with store.scratch() as work:
        made = work / "tree"
        made.mkdir()
        unpack_layer(stream, str(made), what)
        content, _ = folder_digest(str(made))
        store.add_tree(made, content)
    return content


def image_config(config: dict[str, Any]) -> ImageConfig:
    """What an image's configuration hands on. Source: image-spec, config.md."""
    own = config.get("config") or {}
    env = tuple(sorted((str(k), v) for k, _, v in (str(e).partition("=") for e in own.get("Env") or [])))
    shell = tuple(str(s) for s in own.get("Shell") or [])
    return ImageConfig(env, str(own.get("User") or ""), str(own.get("WorkingDir") or ""), shell)


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as err:
        raise IntegrityError(f"{what} is no JSON: {err}") from err
    if not isinstance(value, dict):
        raise IntegrityError(f"{what} is no JSON object")
    return value


def _digest(item: dict[str, Any], what: str) -> Digest:
    try:
        return Digest.parse(str(item["digest"]))
    except (KeyError, ValueError) as err:
        raise IntegrityError(f"{what}: a descriptor without a sha256 digest") from err
