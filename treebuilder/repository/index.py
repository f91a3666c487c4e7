"""`repository.yaml` and `repository.meta.yaml` as values, read and written in luet's forms (luet.md §6.2).

Both are written by machines, so they are read as texts: `1.10` stays `1.10`, `null` is nothing where a list or map is
meant. The reader knows no anchors that grow and no types, so a hostile document costs what its length says.
Our own facts stand under the key `treebuild`, which luet ignores.
"""

from __future__ import annotations

import base64
import functools
from collections.abc import Iterable, Iterator, Mapping

from treebuilder.annotations import Any
from treebuilder.errors import IntegrityError
from treebuilder.model.digest import Digest
from treebuilder.model.package import PackageId
from treebuilder.nodes.writing import write_yaml
from treebuilder.records import record
from treebuilder.repository.plainyaml import read_plain_yaml

_META_HEAD = b"index:\n"
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

    `unpacked_bytes` is the length of that tar, where its compressed form would not make anybody think so; else 0.
    `files` are paths without a leading slash; empty for hidden packages, which may have some nevertheless.
    """

    package: PackageId
    path: str
    sha256: Digest
    compression: str
    files: tuple[str, ...]
    build_time: str
    content: Digest | None = None
    unpacked_bytes: int = 0


def parse_document(data: bytes, what: str, *, whole: bool = True) -> dict[str, Any]:
    """A YAML document whose scalars are all texts. Raises IntegrityError, with the line if it is the `whole` file."""
    try:
        found = read_plain_yaml(data.decode())
    except UnicodeDecodeError as err:
        raise IntegrityError(f"{what} is no YAML: it is not UTF-8") from err
    return _parse_any(data, what, whole) if found is None else found


def _parse_any(data: bytes, what: str, whole: bool) -> dict[str, Any]:
    """What the reader of plain YAML leaves."""
    import yaml

    from treebuilder.nodes.depth import too_deep

    try:
        loader = _texts_loader()
        deep = too_deep(data.decode(errors="replace"), loader)
        if deep is not None:
            raise IntegrityError(f"{what}{f':{deep + 1}' if whole else ''} is no YAML: nested too deeply")
        value = yaml.load(data, Loader=loader)  # noqa: S506 - a loader that makes only dicts, lists and texts
    except (yaml.YAMLError, ValueError, RecursionError) as err:
        mark = err.problem_mark if whole and isinstance(err, yaml.MarkedYAMLError) else None
        said = (err.problem if isinstance(err, yaml.MarkedYAMLError) else None) or str(err).splitlines()[0]
        raise IntegrityError(f"{what}{f':{mark.line + 1}' if mark else ''} is no YAML: {said}") from err
    if not isinstance(value, dict):
        raise IntegrityError(f"{what} is not a YAML map")
    return value


@functools.cache
def _texts_loader() -> Any:  # noqa: ANN401 - a class of PyYAML's
    """A loader whose scalars are texts; names that are no UTF-8 come as `!!binary`."""
    import yaml

    try:
        from yaml import CBaseLoader as Loader
    except ImportError:
        from yaml import BaseLoader as Loader  # type: ignore[assignment]

    class Texts(Loader):
        pass

    def binary(loader: Any, node: yaml.Node) -> str:  # noqa: ANN401
        if not isinstance(node, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "!!binary is no text", node.start_mark)
        return base64.b64decode(node.value).decode("utf-8", "surrogateescape")

    Texts.add_constructor("tag:yaml.org,2002:binary", binary)
    return Texts


def write_document(value: Mapping[str, Any]) -> bytes:
    """YAML with sorted keys, as luet writes it."""
    return write_yaml(value, sort_keys=True, indent=2)


def meta_document(entries: Iterable[bytes]) -> bytes:
    """`repository.meta.yaml` of items that `entries.entry` wrote."""
    joined = b"".join(entries)
    return _META_HEAD + joined if joined else b"index: []\n"


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
def parse_meta(data: bytes, what: str) -> Iterator[Artifact]:
    """The artifacts of a repository, in the order written, each read when it is asked for. Raises IntegrityError."""
    for item in _items(data, what):
        yield _artifact(mapping(item), what)


def _items(data: bytes, what: str) -> Iterator[Any]:
    if not data.startswith(_META_HEAD + b"- "):
        yield from listing(parse_document(data, what).get("index"))
        return
    # No line within an item can stand as far left as its dash: items are read one by one, in little memory.
    for part in data[len(_META_HEAD) + 2 :].split(b"\n- "):
        item = _META_HEAD + b"- " + part.rstrip(b"\n") + b"\n"
        yield from listing(parse_document(item, what, whole=False).get("index"))


def _count(text: str) -> int:
    """A number of bytes; 0 for what is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else 0


def _artifact(item: Mapping[str, Any], what: str) -> Artifact:
    package = mapping(mapping(item.get("compilationspec")).get("package"))
    id = PackageId(text(package.get("category")), text(package.get("name")), text(package.get("version")))
    # luet writes the destination folder too; only what lies beside the index can be meant
    name = text(item.get("path"))
    path = file_name(name.rsplit("/", 1)[-1] if name.startswith("/") else name, f"{what}: {id}")
    ours = mapping(item.get("treebuild"))
    content, unpacked = text(ours.get("content")), text(ours.get("unpacked_bytes"))
    try:
        digest = Digest(content) if content else None
    except ValueError as err:
        raise IntegrityError(f"{what}: {id}: the content digest is broken") from err
    return Artifact(
        id, path, _sha256(item, f"{what}: {id}"), text(item.get("compressiontype")), texts(item.get("files")),
        text(package.get("buildtimestamp")), digest, _count(unpacked),
    )  # fmt: skip
