"""The OCI layout that a registry's folder is: what its `index.json` names, and what is written there.

An item's name is its repository and tag. Items that somebody else wrote keep all that they say; those that no registry
can serve (of unknown kinds, or a name that stands twice) stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from treebuilder.annotations import Any
from treebuilder.errors import StateCorrupt
from treebuilder.records import record
from treebuilder.serve.manifests import KINDS, Descriptor, InvalidError, Parsed, parse
from treebuilder.serve.names import as_name, digest_of, is_digest, is_name, is_tag

_REF_NAME = "org.opencontainers.image.ref.name"
_REPOSITORY = "dev.treebuild.repository"
_ALONE = "layout"  # the repository of what has a tag alone
_MAX_MANIFEST = 8 << 20
Item = dict[str, Any]


@record
class Entry:
    """A manifest of a repository, and its tag ("" for none)."""

    repository: str
    tag: str
    parsed: Parsed


@record
class Layout:
    """What an index names: what can be served, and the items that cannot."""

    entries: tuple[Entry, ...]
    others: tuple[Item, ...]


def path_of(folder: Path, digest: str) -> Path:
    """Where a blob's bytes are, if they are anywhere. `digest` must be one."""
    kind, _, hexed = digest.partition(":")
    return folder / "blobs" / kind / hexed


def read_index(folder: Path) -> Item:
    """`index.json`, with its items under "manifests"; an empty one if there is no file. Raises StateCorrupt."""
    place = folder / "index.json"
    try:
        value = json.loads(place.read_bytes())
    except FileNotFoundError:
        return {"schemaVersion": 2, "manifests": []}
    except (ValueError, OSError, RecursionError) as err:
        raise StateCorrupt(f"{place} cannot be read: {err}") from err
    items = value.get("manifests") if isinstance(value, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise StateCorrupt(f"{place} is no image index: its manifests are no list of maps")
    return dict(value)


def read_items(folder: Path, items: Iterable[Item], *, lenient: bool = False) -> Layout:
    """What these items of an index name. `lenient` passes over manifests that are not there.

    Raises StateCorrupt for the first that is no manifest. Manifests that an index lists need not be there.
    """
    entries: list[Entry] = []
    others: list[Item] = []
    named: set[tuple[str, str]] = set()
    for item in items:
        digest, media = item.get("digest"), item.get("mediaType", "")
        if media and media not in KINDS:
            others.append(item)
            continue
        if not isinstance(digest, str) or not is_digest(digest) or not isinstance(media, str):
            raise StateCorrupt(f"{folder}/index.json: {digest!r:.90} is no digest of a manifest")
        if lenient and not path_of(folder, digest).is_file():
            continue
        repository, tag = name_of(item)
        if tag and (repository, tag) in named:
            others.append(item)
            tag = ""
        named.add((repository, tag))
        entries += _manifests(folder, repository, tag, Descriptor(digest, 0, media))
    return Layout(tuple(entries), tuple(others))


def _manifests(folder: Path, repository: str, tag: str, first: Descriptor) -> list[Entry]:
    """A manifest and all that it lists, what is listed first."""
    found: list[Entry] = []
    waiting, seen = [first], {first.digest}
    while waiting:
        descriptor = waiting.pop()
        parsed = _read(folder, descriptor, must=descriptor is first)
        if parsed is None:
            continue
        found.append(Entry(repository, tag if descriptor is first else "", parsed))
        below = {child.digest: child for child in parsed.children if not child.media or child.media in KINDS}
        waiting += [child for digest, child in below.items() if digest not in seen]
        seen.update(below)
    return found[::-1]


def _read(folder: Path, descriptor: Descriptor, *, must: bool) -> Parsed | None:
    digest = descriptor.digest
    try:
        with path_of(folder, digest).open("rb") as source:
            data = source.read(_MAX_MANIFEST + 1)
    except FileNotFoundError as err:
        if must:
            raise StateCorrupt(f"{folder}: index.json names {digest}, which is not there") from err
        return None
    except OSError as err:
        raise StateCorrupt(f"{folder}: the manifest {digest} cannot be read: {err.strerror}") from err
    if len(data) > _MAX_MANIFEST:
        raise StateCorrupt(f"{folder}: {digest} is too large for a manifest")
    if digest_of(data, digest) != digest:
        raise StateCorrupt(f"{folder}: the manifest {digest} is damaged")
    try:
        return parse(data, "", digest)
    except InvalidError as err:
        raise StateCorrupt(f"{folder}: {digest} is no manifest: {err}") from err


def name_of(item: Item) -> tuple[str, str]:
    """The repository and tag of an item of an index; the tag is "" for none."""
    notes = item.get("annotations")
    names = notes if isinstance(notes, dict) else {}
    text = str(names.get(_REF_NAME, ""))
    repository, colon, tag = text.rpartition(":")
    if not is_tag(tag):
        repository, tag = (text, "") if colon or not is_tag(text) else ("", text)
    said = names.get(_REPOSITORY)
    if isinstance(said, str) and is_name(said):
        return said, tag
    return as_name(repository) or _ALONE, tag


def key_of(item: Item) -> tuple[str, str, str]:
    """What an item stands for."""
    return (*name_of(item), str(item.get("digest")))


def item_of(repository: str, tag: str, media: str, digest: str, size: int) -> Item:
    """An item of an index; `name_of` reads its name."""
    names = {_REPOSITORY: repository}
    if tag:
        names[_REF_NAME] = tag if repository == _ALONE else f"{repository}:{tag}"
    return {"mediaType": media, "digest": digest, "size": size, "annotations": names}


def same(item: Item) -> str:
    """Equal for equal items."""
    return json.dumps(item, sort_keys=True)


def added(items: Sequence[Item], written: Sequence[Item]) -> list[Item]:
    """Those that are not among what was written before."""
    known = {same(item) for item in written}
    return [item for item in items if same(item) not in known]
