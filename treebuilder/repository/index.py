"""`repository.yaml` and `repository.meta.yaml` as values, read and written in luet's forms (luet.md §6.2).

Both are written by machines, so they are read as texts: `1.10` stays `1.10`, `null` is nothing where a list or map is
meant. The reader knows no anchors that grow and no types, so a hostile document costs what its length says.
Our own facts stand under the key `treebuild`, which luet ignores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from treebuilder.errors import IntegrityError
from treebuilder.model.digest import Digest
from treebuilder.model.package import PackageId
from treebuilder.records import record

_NAME_LIMIT = 4096


@record
class RepoFile:
    """One of the files that the index names."""

    filename: str
    sha256: Digest
    compression: str


@record
class RepositoryIndex:
    """`repository.yaml`. `files` are sorted by key: compilertree, meta, tree."""

    name: str
    description: str
    type: str
    urls: tuple[str, ...]
    revision: int
    last_update: str
    files: tuple[tuple[str, RepoFile], ...]

    def file(self, key: str) -> RepoFile | None:
        return next((found for name, found in self.files if name == key), None)


@record
class Artifact:
    """One entry of `repository.meta.yaml`. `content` is the digest of the plain tar, where we built it.

    `files` are paths without a leading slash; empty for hidden packages, which may have some nevertheless.
    """

    package: PackageId
    path: str
    sha256: Digest
    compression: str
    files: tuple[str, ...]
    build_time: str
    content: Digest | None = None


def parse_document(data: bytes, what: str) -> dict[str, Any]:
    """A YAML document whose scalars are all texts. Raises IntegrityError."""
    import yaml

    try:
        from yaml import CBaseLoader as Loader
    except ImportError:
        from yaml import BaseLoader as Loader  # type: ignore[assignment]
    try:
        value = yaml.load(data, Loader=Loader)  # noqa: S506 - a loader that makes only dicts, lists and texts
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as err:
        raise IntegrityError(f"{what} is no YAML: {str(err).splitlines()[0]}") from err
    if not isinstance(value, dict):
        raise IntegrityError(f"{what} is not a YAML map")
    return value


def write_document(value: Mapping[str, Any]) -> bytes:
    """YAML with sorted keys, as luet writes it."""
    import yaml

    try:
        from yaml import CSafeDumper as Dumper
    except ImportError:
        from yaml import SafeDumper as Dumper  # type: ignore[assignment]

    class Plain(Dumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    text = yaml.dump(value, Dumper=Plain, sort_keys=True, allow_unicode=True, width=1 << 20)
    return str(text).encode("utf-8", "surrogateescape")


# reading texts --------------------------------------------------------------------------------------------------------
def mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def listing(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def text(value: object) -> str:
    return value if isinstance(value, str) else ""


def texts(value: object) -> tuple[str, ...]:
    return tuple(item for item in listing(value) if isinstance(item, str))


def file_name(value: object, what: str) -> str:
    """A name that can only lead below the repository. Raises IntegrityError."""
    name = text(value)
    parts = name.split("/")
    if not name or len(name) > _NAME_LIMIT or name.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise IntegrityError(f"{what} names the file {name[:100]!r}")
    return name


def _sha256(item: Mapping[str, Any], what: str) -> Digest:
    try:
        return Digest(text(mapping(item.get("checksums")).get("sha256")))
    except ValueError as err:
        raise IntegrityError(f"{what} gives no sha256") from err


# repository.yaml ------------------------------------------------------------------------------------------------------
def parse_index(data: bytes, what: str) -> RepositoryIndex:
    """Raises IntegrityError, also when tree or meta are missing."""
    value = parse_document(data, what)
    files = []
    for key, item in sorted(mapping(value.get("repo_files")).items()):
        entry = mapping(item)
        name = file_name(entry.get("filename"), what)
        files.append((key, RepoFile(name, _sha256(entry, f"{what}: {key}"), text(entry.get("compressiontype")))))
    for key in ("tree", "meta"):
        if key not in dict(files):
            raise IntegrityError(f"{what} names no {key}")
    try:
        revision = int(text(value.get("revision")) or "0")
    except ValueError as err:
        raise IntegrityError(f"{what}: the revision is no number") from err
    return RepositoryIndex(
        text(value.get("name")), text(value.get("description")), text(value.get("type")), texts(value.get("urls")),
        revision, text(value.get("last_update")), tuple(files),
    )  # fmt: skip


def index_document(index: RepositoryIndex) -> dict[str, Any]:
    """What is written to `repository.yaml`."""
    return {
        "description": index.description,
        "enable": True,
        "index": [],
        "last_update": index.last_update,
        "name": index.name,
        "repo_files": {
            key: {"checksums": {"sha256": f.sha256.hex}, "compressiontype": f.compression, "filename": f.filename}
            for key, f in index.files
        },
        "revision": index.revision,
        "type": index.type,
        "urls": list(index.urls),
    }


# repository.meta.yaml -------------------------------------------------------------------------------------------------
def parse_meta(data: bytes, what: str) -> tuple[Artifact, ...]:
    """The artifacts of a repository, in the order written. Raises IntegrityError."""
    return tuple(_artifact(mapping(item), what) for item in listing(parse_document(data, what).get("index")))


def _artifact(item: Mapping[str, Any], what: str) -> Artifact:
    package = mapping(mapping(item.get("compilationspec")).get("package"))
    id = PackageId(text(package.get("category")), text(package.get("name")), text(package.get("version")))
    # luet writes the destination folder too; only what lies beside the index can be meant
    name = text(item.get("path"))
    path = file_name(name.rsplit("/", 1)[-1] if name.startswith("/") else name, f"{what}: {id}")
    content = text(mapping(item.get("treebuild")).get("content"))
    try:
        digest = Digest(content) if content else None
    except ValueError as err:
        raise IntegrityError(f"{what}: {id}: the content digest is broken") from err
    return Artifact(
        id, path, _sha256(item, f"{what}: {id}"), text(item.get("compressiontype")), texts(item.get("files")),
        text(package.get("buildtimestamp")), digest,
    )  # fmt: skip
