"""The template values that packages were built with, as metadata and indexes keep them (luet.md §3.3, §4.11).

Everything else there is read as texts. Values need their types: a template tells 5 from "5".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from treebuilder.errors import IntegrityError, SpecError
from treebuilder.nodes import Node, load
from treebuilder.repository.index import mapping, parse_document, text
from treebuilder.tree.values import Values, merged, of_definition

_HEAD = "index:\n"
BUILD_VALUES = "BuildValues"


def of_metadata(data: bytes, what: str) -> list[Values]:
    """The build values of a metadata file, newest last. Raises IntegrityError."""
    return of_options(data.decode(errors="replace"), ("compilespec", "buildoptions"), what)


def of_options(document: str, path: tuple[str, ...], what: str = "") -> list[Values]:
    """Those of `buildoptions`, which stands at a path of a document. Raises IntegrityError."""
    return _values(_read(document, what), (*path, "buildvalues"), what)


def of_index(data: bytes, what: str) -> Iterator[tuple[str, Values]]:
    """Fingerprints of the packages of a `repository.meta.yaml` that were built with values, and these merged.

    Raises IntegrityError.
    """
    document = data.decode(errors="replace")
    if BUILD_VALUES not in document:
        return
    items = document.removeprefix(_HEAD + "- ").split("\n- ") if document.startswith(_HEAD + "- ") else [document]
    for item in items:
        if BUILD_VALUES not in item:
            continue
        part = item if len(items) == 1 and item is document else f"{_HEAD}- {item}\n"
        for node, found in zip(_index(part, what), _texts(part, what), strict=True):
            values = _merged(_values(node, ("compilationspec", "build_options", BUILD_VALUES), what))
            runtime = mapping(found.get("runtime"))
            name = "-".join(text(runtime.get(key)) for key in ("name", "category", "version"))
            if values:
                yield name, values


def _index(part: str, what: str) -> Iterable[Node]:
    found = _read(part, what).get("index")
    return found.items() if found is not None and found.kind == "list" else ()


def _texts(part: str, what: str) -> list[dict[str, object]]:
    found = parse_document(part.encode(), what, whole=False).get("index")
    return [mapping(item) for item in found] if isinstance(found, list) else []


def _read(document: str, what: str) -> Node:
    try:
        return load(document, what)
    except SpecError as err:
        raise IntegrityError(f"{what} is no YAML: {err.message}") from err


def _values(node: Node | None, path: tuple[str, ...], what: str) -> list[Values]:
    for key in path:
        node = node.get(key) if node is not None and node.kind == "map" else None
    if node is None or node.kind != "list":
        return []
    try:
        return [of_definition(item) for item in node.items() if item.kind == "map"]
    except SpecError as err:
        raise IntegrityError(f"{what} has no build values that can be read: {err.message}") from err


def _merged(given: Iterable[Values]) -> Values:
    values: Values = {}
    for one in given:
        values = merged(values, one)
    return values
