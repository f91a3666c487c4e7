"""Deletes what no kept snapshot of a repository reaches: packages, and the files of snapshots that are given up."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from treebuilder.errors import IntegrityError
from treebuilder.records import record
from treebuilder.repository.api import INDEX_NAME, MAX_INDEX_BYTES, MAX_META_BYTES, SIGNATURE_SUFFIX
from treebuilder.repository.bounds import bounded
from treebuilder.repository.index import RepositoryIndex, parse_index, parse_meta
from treebuilder.repository.metadata import SUFFIX, scan_packages
from treebuilder.repository.plain import open_plain, read_plain
from treebuilder.system.files import disk_errors

_SNAPSHOT = f"-{INDEX_NAME}"


@record
class Pruned:
    """What was deleted: paths, sorted, and their bytes together."""

    removed: tuple[str, ...]
    size_bytes: int


def prune(packages: Path, output: Path, keep: int, spared: Collection[str] = ()) -> Pruned:
    """Keeps the newest index, the `keep` last snapshots by name and those `spared`, what they name, and their packages.

    Everything that is kept is read before anything is deleted. Raises IntegrityError (an index or meta that cannot be
    read: nothing is deleted then), SpecError, NoSpace.
    """
    return delete(unreached(packages, output, keep, spared))


def unreached(packages: Path, output: Path, keep: int | None, spared: Collection[str] = ()) -> tuple[Path, ...]:
    """What `prune` deletes, in that order: indexes before what they lead to. `keep` None keeps every snapshot.

    Raises IntegrityError, SpecError.
    """
    ids = sorted((path.name.removesuffix(_SNAPSHOT) for path in output.glob(f"*{_SNAPSHOT}")), reverse=True)
    count = len(ids) if keep is None else keep
    stay = {*ids[:count], *spared}
    newest = [INDEX_NAME] if (output / INDEX_NAME).is_file() or not ids else []
    kept = [*newest, *(f"{id}{_SNAPSHOT}" for id in ids if id in stay)]
    reached: set[Path] = set()
    for name in kept:
        index = _index(output / name)
        reached |= {output / name, *(output / file.filename for _, file in index.files)}
        for archive in _archives(output, index):
            reached |= {packages / archive, packages / f"{archive.rpartition('.package.tar')[0]}{SUFFIX}"}
    given_up: list[Path] = []
    for id in (id for id in ids if id not in stay):
        index = _index(output / f"{id}{_SNAPSHOT}")
        files = (output / file.filename for _, file in index.files)
        given_up += [output / f"{id}{_SNAPSHOT}", *(path for path in files if path.name.startswith(f"{id}-"))]
        signature = output / f"{id}{_SNAPSHOT}{SIGNATURE_SUFFIX}"
        given_up += [signature] if signature.is_file() else []
    folder = scan_packages(packages)
    found = [Path(path) for path in {*folder.stats, *folder.metadata.values()}]
    return tuple(path for path in dict.fromkeys([*given_up, *sorted(found)]) if path not in reached)


def delete(paths: Iterable[Path]) -> Pruned:
    """Deletes files, in their order. Raises NoSpace."""
    removed: list[str] = []
    size = 0
    for path in paths:
        with disk_errors(f"deleting {path}", path.parent):
            size += path.lstat().st_size if path.is_file() else 0
            path.unlink(missing_ok=True)
        removed.append(str(path))
    return Pruned(tuple(sorted(removed)), size)


def _index(path: Path) -> RepositoryIndex:
    try:
        return parse_index(read_plain(path, MAX_INDEX_BYTES, "an index"), str(path))
    except OSError as err:
        raise IntegrityError(f"{path} cannot be read: {err.strerror}") from err


def _archives(output: Path, index: RepositoryIndex) -> set[str]:
    """The archives that an index's meta names."""
    file = index.file("meta")
    assert file is not None  # parse_index saw to it
    path = output / file.filename
    try:
        with open_plain(path) as source:
            for entry, content in bounded(source, str(path), max_bytes=MAX_META_BYTES):
                if entry.kind == "f" and content is not None:
                    return {artifact.path for artifact in parse_meta(content.read(), str(path))}
    except OSError as err:
        raise IntegrityError(f"{path} cannot be read: {err.strerror}", hint="nothing was deleted") from err
    raise IntegrityError(f"{path} holds no index", hint="nothing was deleted")
