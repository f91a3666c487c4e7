"""The definitions in a repository's tree, read from its archive: definition.yaml, collection.yaml, finalize.yaml.

Programs wrote them, so they are read as texts, like an index.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from treebuilder.annotations import Any
from treebuilder.errors import IntegrityError, Place
from treebuilder.records import replace
from treebuilder.repository.bounds import bounded
from treebuilder.repository.fields import read_definition
from treebuilder.repository.index import listing, mapping, parse_document
from treebuilder.repository.known import Definition

_MAX_FILE_BYTES = 16 << 20
_NAMES = frozenset(("definition.yaml", "collection.yaml", "finalize.yaml"))


def read_definitions(archive: Path, what: str) -> Iterator[Definition]:
    """Every package of a tree's archive, in the order of its folders. Raises IntegrityError, UnsafeArchive."""
    folders: dict[str, dict[str, bytes]] = {}
    with archive.open("rb") as source:
        for entry, content in bounded(source, what):
            folder, _, name = entry.path.rpartition("/")
            if entry.kind == "f" and name in _NAMES and content is not None:
                if entry.size > _MAX_FILE_BYTES:
                    raise IntegrityError(f"{what}: {entry.path} is too long for a specfile")
                folders.setdefault(folder, {})[name] = content.read(entry.size)
    for folder in sorted(folders, key=lambda path: path.split("/")):
        yield from _packages(folder, folders.pop(folder), what)


def _packages(folder: str, files: dict[str, bytes], what: str) -> Iterator[Definition]:
    try:
        finalizer = files.get("finalize.yaml", b"").decode()
    except UnicodeDecodeError as err:
        raise IntegrityError(f"{what}: {folder}/finalize.yaml is not UTF-8") from err
    items: list[tuple[str, Any]] = []
    if "definition.yaml" in files:
        name = f"{folder}/definition.yaml"
        items.append((name, parse_document(files["definition.yaml"], f"{what}: {name}")))
    if "collection.yaml" in files:
        name = f"{folder}/collection.yaml"
        found = parse_document(files["collection.yaml"], f"{what}: {name}")
        items += [(name, item) for item in listing(found.get("packages"))]
    for name, value in items:
        package = read_definition(mapping(value))
        if not package.id.name:
            raise IntegrityError(f"{what}: {name} names no package")
        yield Definition(replace(package, where=Place(name)), finalizer)
