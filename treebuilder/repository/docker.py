"""Repositories in a registry, in luet's layout: every file is a tag with an image of one layer (luet.md §6.3).

A package's layer is its archive, so a package is asked for by the digest that the index gives, whatever its tag leads
to by now. The index's manifest says which manifests its files had: a reader sees one state, also while the next one is
being published.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from treebuilder.annotations import IO, Any
from treebuilder.archive.compress import decompressed
from treebuilder.errors import ConfigError, IntegrityError, SpecError, TransportError, UnsafeArchive
from treebuilder.model.digest import Digest
from treebuilder.oci.arriving import UNSEEN, Arriving
from treebuilder.oci.layerimage import (
    MANIFEST,
    ImageLayer,
    LayerImage,
    layer_image,
    only_layer,
    push_blobs,
    push_image,
)
from treebuilder.oci.layout import json_object, platform_item
from treebuilder.oci.reference import parse_reference, speaks_plain
from treebuilder.oci.remote import Repository
from treebuilder.oci.store import Store
from treebuilder.repository.api import MAX_INDEX_BYTES, SIGNATURE_SUFFIX
from treebuilder.repository.bounds import bounded
from treebuilder.repository.deltas import ARTIFACT_TYPE, Patch, described
from treebuilder.repository.fetching import forget_old
from treebuilder.repository.index import parse_index
from treebuilder.repository.packing import single_file
from treebuilder.repository.watching import ImageWatcher
from treebuilder.system import clock
from treebuilder.system.files import disk_errors
from treebuilder.system.process import Cancel

FILES = "io.treebuild.repository.files"  # annotation of an index's manifest: manifests by the names of files
ARCHIVE = ".package.tar"
_NO_TAG = re.compile(r"[^\w.-]", re.ASCII)
_TAG_LENGTH = 128
_TITLE = "org.opencontainers.image.title"
_CUT = re.compile(r"-[0-9a-f]{16}\Z")
_CHUNK = 1 << 20
_MOST_REFERRERS = 1000
NOT_SHOWN = "nothing of this run shows"
SETTLE_S = 0.5  # where the registry does not compare: how long another's index may be on its way
_FILE = "docker-file"  # notes: a layer's digest to that of the one file in it
_PLAIN = "docker-package"  # notes: a layer's digest to that of its tar


def tag_of(name: str) -> str:
    """The tag of a file: luet's, where luet has one (`+` becomes `-`). Source: luet.md §6.3."""
    tag = _NO_TAG.sub("-", name)
    tag = f"_{tag}" if tag.startswith((".", "-")) else tag
    if len(tag) > _TAG_LENGTH:
        tag = f"{tag[: _TAG_LENGTH - 17]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return tag


def is_cut(tag: str) -> bool:
    """Whether a tag may be that of a name too long for one."""
    return len(tag) == _TAG_LENGTH and _CUT.search(tag) is not None


def title_of(manifest: Mapping[str, Any]) -> str:
    """The name of the file that an image of ours holds; "" where it says none."""
    said = manifest.get("annotations")
    title = said.get(_TITLE) if isinstance(said, dict) else None
    return title if isinstance(title, str) else ""


def package_tag(path: str) -> str:
    """The tag of a package, from the name of its archive."""
    return tag_of(path.rpartition("/")[2].partition(ARCHIVE)[0])


def place_of(url: str, cancel: Cancel, auth: Mapping[str, str], insecure: tuple[str, ...] = ()) -> Repository:
    """The place `HOST/NAME`. Plain HTTP is spoken with loopback, `insecure` hosts, and where the address begins with
    http://. `auth` has luet's keys (luet.md §6.4); without it Docker's logins count.

    Raises ConfigError.
    """
    scheme, colon, rest = url.partition("://")
    name = (rest if colon else url).rstrip("/")
    if colon and scheme not in ("docker", "oci", "https", "http"):
        raise ConfigError(f"{url} is no address of a repository in a registry", hint="HOST/NAME")
    try:
        found = parse_reference(name)
    except SpecError as err:
        raise ConfigError(f"{url!r} is no address of a repository in a registry", hint="HOST/NAME") from err
    if "@" in name or ":" in name.rpartition("/")[2]:
        raise ConfigError(f"{url}: a repository is named without tag and digest", hint="HOST/NAME")
    plain = speaks_plain(found.host, insecure) or (bool(colon) and scheme == "http")
    place = Repository(found.host, found.repository, plain, cancel)
    place.enter(auth)
    return place


def _missing(err: TransportError) -> bool:
    return err.status == 404


class DockerBackend:
    """Implements `RepositoryBackend` over a repository of a registry.

    `loose`: packages whose digest the layout of luet's own repositories does not keep are taken as their tag has them.
    That is for repositories that nobody signed: what the registry says is all there is to trust then.
    With a `watcher` there are no patches: it is asked about images, and they are none.
    """

    def __init__(
        self, url: str, store: Store, cancel: Cancel, auth: Mapping[str, str] | None = None, *,
        insecure: tuple[str, ...] = (), epoch_s: int = 0, loose: bool = False, watcher: ImageWatcher | None = None,
    ) -> None:  # fmt: skip
        self._watcher = watcher
        self._url, self._store, self._cancel = url, store, cancel
        self._auth, self._insecure = dict(auth or {}), insecure
        self._epoch_s = epoch_s
        self._loose = loose
        self._files: dict[str, Digest] = {}
        self._made: dict[str, Digest] = {}
        self._seen: dict[str, Digest] = {}
        self._others: dict[str, str] = {}  # references to the names of what their tags lead to
        self.committed: dict[str, LayerImage] = {}

    def __str__(self) -> str:
        return self._url

    @cached_property
    def place(self) -> Repository:
        """Raises ConfigError."""
        return place_of(self._url, self._cancel, self._auth, self._insecure)

    def image(self, tag: str) -> str:
        """The reference `HOST/NAME:TAG`."""
        return f"{self._url.rpartition('://')[2].rstrip('/')}:{tag}"

    # reading ----------------------------------------------------------------------------------------------------
    def index(self, reference: str) -> bytes | None:
        if self._watcher is None or reference.endswith(SIGNATURE_SUFFIX):  # luet has none, and we check them
            return self._index(reference)
        self._watcher.fetching(self.image(tag_of(reference)))
        found = self._index(reference)
        if found is not None:
            self._watcher.fetched(self.image(tag_of(reference)))
        return found

    @contextmanager
    def _told(self, tag: str) -> Iterator[None]:
        if self._watcher is not None:
            self._watcher.fetching(self.image(tag))
        yield
        if self._watcher is not None:
            self._watcher.fetched(self.image(tag))

    def _index(self, reference: str) -> bytes | None:
        try:
            digest, manifest = self.place.manifest(tag_of(reference), None)
        except TransportError as err:
            if _missing(err):
                return None
            raise
        title = title_of(manifest)
        if title not in ("", reference) and tag_of(title) == tag_of(reference):
            self._others[reference] = title
            return None
        self._seen[reference] = digest
        self._files |= _described(manifest)
        return self._single(manifest, reference, MAX_INDEX_BYTES)[0].read_bytes()

    def open(self, name: str, sha256: Digest, max_bytes: int, progress: Arriving = UNSEEN) -> Path:
        if self._store.has_blob(sha256) and self._store.verify_blob(sha256):
            return self._store.blob_path(sha256)
        if ARCHIVE in name.rpartition("/")[2]:
            with self._told(package_tag(name)):
                return self._package(name, sha256, max_bytes, progress)
        with self._told(tag_of(name)):
            return self._file(name, sha256, max_bytes)

    def _file(self, name: str, sha256: Digest, max_bytes: int) -> Path:
        path, found = self._single(self._manifest(name), name, max_bytes)
        if found != sha256:
            raise IntegrityError(
                f"{self._url}: {name} is {found}, and its repository promises {sha256}",
                hint="somebody may be publishing at this moment: try again; if it stays so, it cannot be trusted",
            )
        return path

    def _manifest(self, name: str) -> dict[str, Any]:
        """The manifest that the index had for a file, else the one that its tag leads to."""
        known = self._files.get(name)
        if known is not None:
            try:
                return self.place.manifest(str(known), known)[1]
            except TransportError as err:
                if not _missing(err):
                    raise
        return self.place.manifest(tag_of(name), None)[1]

    def _single(self, manifest: Mapping[str, Any], name: str, max_bytes: int) -> tuple[Path, Digest]:
        """The one file that an image holds, as a blob of the store."""
        what = f"{self._url}: {name}"
        layer, size = only_layer(manifest, what)
        noted = self._store.index.note(_FILE, layer.hex)
        if noted is not None:
            known = Digest(noted.decode())
            if self._store.has_blob(known) and self._store.verify_blob(known):
                path = self._store.blob_path(known)
                if path.stat().st_size > max_bytes:
                    raise IntegrityError(f"{what} is longer than {max_bytes} bytes")
                return path, known
        with self._store.single_flight(f"file-{layer.hex}", self._cancel):
            blob = self._pull(layer, min(size, max_bytes + _CHUNK))
            try:
                found = self._unpacked(blob, what, max_bytes)
            except UnsafeArchive as err:
                raise IntegrityError(err.message) from err
            finally:
                blob.unlink(missing_ok=True)
        self._store.index.set_notes(_FILE, {layer.hex: found.hex.encode()})
        return self._store.blob_path(found), found

    def _unpacked(self, blob: Path, what: str, max_bytes: int) -> Digest:
        with blob.open("rb") as source:
            for entry, content in bounded(source, what, max_bytes=max_bytes + _CHUNK):
                if entry.kind != "f" or content is None:
                    continue
                if entry.size > max_bytes:
                    raise IntegrityError(f"{what} is longer than {max_bytes} bytes")
                return self._kept(content, max_bytes, what)
        raise IntegrityError(f"{what} is an image without a file")

    def _kept(self, content: IO[bytes], max_bytes: int, what: str) -> Digest:
        """A stream as a blob of the store."""
        seen, size = hashlib.sha256(), 0
        with self._store.part() as part, disk_errors(f"keeping {what}", self._store.folder):
            with part.open("wb") as out:
                while data := content.read(_CHUNK):
                    self._cancel.check()
                    size += len(data)
                    if size > max_bytes:
                        raise IntegrityError(f"{what} is longer than {max_bytes} bytes")
                    seen.update(data)
                    out.write(data)
            found = Digest(seen.hexdigest())
            self._store.add_blob_file(part, found)
        return found

    def _package(self, name: str, sha256: Digest, max_bytes: int, progress: Arriving) -> Path:
        try:
            return self._pull(sha256, max_bytes, progress)
        except TransportError as err:
            if not _missing(err):
                raise
        return self._tagged(name, sha256, max_bytes, progress)

    def _tagged(self, name: str, sha256: Digest, max_bytes: int, progress: Arriving) -> Path:
        """A package that luet published: its layer is the archive's tar, compressed anew."""
        tag = package_tag(name)
        what = f"{self._url}:{tag}"
        _, manifest = self.place.manifest(tag, None)
        if "manifests" in manifest:
            digest = Digest.parse(str(platform_item(manifest, what).get("digest")))
            _, manifest = self.place.manifest(str(digest), digest)
        layer, size = only_layer(manifest, what)
        if not (self._store.has_blob(layer) and self._store.verify_blob(layer)):
            self._pull(layer, min(size, max_bytes), progress)
        path = self._store.blob_path(layer)
        noted = self._store.index.note(_PLAIN, layer.hex)
        plain = noted.decode() if noted is not None else self._tar_digest(path, max_bytes)
        if noted is None:
            self._store.index.set_notes(_PLAIN, {layer.hex: plain.encode()})
        if plain == sha256.hex or self._loose:
            return path
        raise IntegrityError(
            f"{what} is not what its repository promises ({sha256})",
            hint="create-repo --force-push publishes it anew; as it is, it cannot be trusted",
        )

    def _tar_digest(self, path: Path, max_bytes: int) -> str:
        seen, size = hashlib.sha256(), 0
        with path.open("rb") as source:
            stream = decompressed(source)
            while data := stream.read(_CHUNK):
                self._cancel.check()
                size += len(data)
                if size > max_bytes:
                    raise IntegrityError(f"{path.name} unpacks to more than {max_bytes} bytes")
                seen.update(data)
        return seen.hexdigest()

    # patches ----------------------------------------------------------------------------------------------------
    def patches(self, name: str, content: Digest) -> tuple[Patch, ...]:
        if self._watcher is not None:
            return ()
        image = self.place.digest_of(package_tag(name), brief=True)
        found = [] if image is None else self.place.referrers(image, brief=True)[:_MOST_REFERRERS]
        ours = [item for item in found if item.get("artifactType") == ARTIFACT_TYPE]
        patches = [described(item, f"{self._url}: {name}") for item in ours]
        return tuple(patch for patch in patches if patch.after == content)

    def open_patch(self, patch: Patch, progress: Arriving = UNSEEN) -> Path:
        if self._store.has_blob(patch.sha256) and self._store.verify_blob(patch.sha256):
            return self._store.blob_path(patch.sha256)
        return self._pull(patch.sha256, patch.size_bytes, progress, brief=True)

    def _pull(self, digest: Digest, max_bytes: int, progress: Arriving = UNSEEN, *, brief: bool = False) -> Path:
        """A blob into the store, going on where an earlier run stood."""
        parts = self._store.folder / "partial"
        parts.mkdir(exist_ok=True)
        part = parts / digest.hex
        with self._store.single_flight(f"fetch-{digest.hex}", self._cancel):
            if not self._store.has_blob(digest):
                forget_old(parts)
                with disk_errors(f"fetching {digest} of {self._url}", self._store.folder):
                    self.place.blob(digest, max_bytes, part, progress, brief=brief)
                self._store.add_blob_file(part, digest)
        return self._store.blob_path(digest)

    # writing ----------------------------------------------------------------------------------------------------
    def put(self, name: str, data: bytes) -> None:
        self._made[name] = self._files[name] = self._push(name, data).digest

    def made(self, name: str, data: bytes) -> tuple[LayerImage, bytes]:
        """The image of a file and its layer, which somebody else sends; the index that is committed next names it."""
        image, layer = file_image(name, data, self._epoch_s, {})
        self._made[name] = self._files[name] = image.digest
        return image, layer

    def copy(self, name: str, target: str) -> None:
        self.put(target, self._single(self._manifest(name), name, 1 << 40)[0].read_bytes())

    def stat(self, name: str) -> tuple[int, int, int, int] | None:
        return None

    def need_own_tag(self, reference: str) -> None:
        """Raises ConfigError (reason "same-tag") for an index that was looked for and whose tag leads to another's."""
        other = self._others.get(reference)
        if other is not None:
            raise ConfigError(
                f"{self._url}: {other} is there and has the tag of {reference}, {tag_of(reference)}", reason="same-tag",
                hint="a tag knows letters, digits, _, . and - only: name the snapshot otherwise",
            )  # fmt: skip

    def need_unchanged(self, reference: str, state: str) -> None:
        """Raises IntegrityError (reason "changed") where an index is not the one that was read or written here."""
        if self.place.digest_of(tag_of(reference)) != self._seen.get(reference):
            raise IntegrityError(
                f"{self._url}: somebody else published at the same time: {state}", reason="changed", hint="run it again"
            )

    def commit(self, reference: str, index: bytes) -> None:
        """The index's image says which manifests the files have that were written before it."""
        image, layer = self._index_image(reference, index)
        if image.digest != (self._seen.get(reference) or self.place.digest_of(tag_of(reference))):
            push_image(self.place, image, tag_of(reference), lambda: io.BytesIO(layer))
        self._committed(reference, image, index)

    def replace(self, reference: str, index: bytes) -> float | None:
        """Like `commit`, in the place of what was read here. Raises and gives what `lead` does."""
        image, layer = self._index_image(reference, index)
        if image.digest != self._seen.get(reference):
            push_blobs(self.place, image, lambda: io.BytesIO(layer))
        took_s = self.lead(reference, image.manifest, MANIFEST)
        self._committed(reference, image, index)
        return took_s

    def lead(self, reference: str, manifest: bytes, media: str) -> float | None:
        """Lets an index's tag lead to an image, all of whose blobs are there, in the place of what was read here.

        All that is left between looking and writing is one request: gives the seconds of both, for somebody else may
        have written meanwhile. None where the registry itself compared, or there was nothing to write.
        Raises IntegrityError (reason "changed") where somebody else wrote; TransportError.
        """
        before, after = self._seen.get(reference), Digest.of(manifest)
        if after == before:
            return None
        began = clock.monotonic_s()
        self.need_unchanged(reference, NOT_SHOWN)
        try:
            compared = self.place.replace_manifest(tag_of(reference), manifest, media, before)
        except TransportError as err:
            if err.status == 412:  # or it is refused for another reason: some registries have tags that never move
                self.need_unchanged(reference, NOT_SHOWN)
            raise
        self._seen[reference] = after
        return None if compared else clock.monotonic_s() - began

    def _index_image(self, reference: str, index: bytes) -> tuple[LayerImage, bytes]:
        made = {} if reference.endswith(SIGNATURE_SUFFIX) else self._named(index)
        described = {FILES: json.dumps({name: str(digest) for name, digest in sorted(made.items())})} if made else {}
        return file_image(reference, index, self._epoch_s, described)

    def _committed(self, reference: str, image: LayerImage, index: bytes) -> None:
        self.committed[reference] = image
        self._seen[reference] = image.digest
        self._store.index.set_notes(_FILE, {image.layer.digest.hex: self._store.add_blob(index).hex.encode()})

    def _named(self, index: bytes) -> Mapping[str, Digest]:
        """Of what was written, what the index names: all of it where that cannot be told."""
        try:
            names = {file.filename for _, file in parse_index(index, self._url).files}
        except IntegrityError:
            return self._made
        return {name: digest for name, digest in self._made.items() if name in names}

    def seen(self, reference: str) -> Digest | None:
        """The image of an index that was read or written here last; None where there is none."""
        return self._seen.get(reference)

    def described(self, name: str) -> Digest | None:
        """The image that an index which was read gives for a file."""
        return self._files.get(name)

    def _push(self, name: str, data: bytes) -> LayerImage:
        """Lets a tag lead to an image with one file, unless it does."""
        image, layer = file_image(name, data, self._epoch_s, {})
        if image.digest != self.place.digest_of(tag_of(name)):
            push_image(self.place, image, tag_of(name), lambda: io.BytesIO(layer))
        return image


def file_of_layer(store: Store, layer: Digest) -> Digest | None:
    """The file that a layer holds, if one was read out of it."""
    noted = store.index.note(_FILE, layer.hex)
    return None if noted is None else Digest(noted.decode())


def file_image(name: str, data: bytes, epoch_s: int, annotations: Mapping[str, str]) -> tuple[LayerImage, bytes]:
    """An image of one file, and its layer."""
    plain = single_file(name, data, "none", epoch_s)
    layer = _gzip(plain)
    described = ImageLayer(Digest.of(layer), len(layer), Digest.of(plain))
    return layer_image(described, epoch_s, {_TITLE: name, **annotations}), layer


def _gzip(data: bytes) -> bytes:
    from treebuilder.archive.compress import compressor

    out = io.BytesIO()
    packer = compressor("gzip", out)
    packer.write(data)
    packer.close()
    return out.getvalue()


def _described(manifest: Mapping[str, Any]) -> dict[str, Digest]:
    """What an index's manifest says about the files. Anything strange there counts as not said."""
    annotations = manifest.get("annotations")
    text = annotations.get(FILES) if isinstance(annotations, dict) else None
    try:
        value = json_object(text, FILES) if isinstance(text, str) else {}
        return {str(name): Digest.parse(str(digest)) for name, digest in value.items()}
    except (ValueError, IntegrityError):
        return {}
