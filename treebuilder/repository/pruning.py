"""Deletes what no kept snapshot of a repository reaches: packages, and the files of snapshots that are given up."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from treebuilder.archive.compress import SUFFIXES
from treebuilder.errors import IntegrityError
from treebuilder.records import record
from treebuilder.repository.api import INDEX_NAME, MAX_INDEX_BYTES, MAX_META_BYTES, SIGNATURE_SUFFIX
from treebuilder.repository.bounds import bounded
from treebuilder.repository.index import RepositoryIndex, parse_index, parse_meta
from treebuilder.repository.metadata import ARCHIVE, SUFFIX, FileStat, PackageFolder, file_stat, scan_packages
from treebuilder.repository.plain import open_plain, read_plain
from treebuilder.system.files import disk_errors

_SNAPSHOT = f"-{INDEX_NAME}"
_ENDS = (SUFFIX, *(f"{ARCHIVE}{suffix}" for suffix in SUFFIXES.values()))
_LONE_NS = 3600 * 1_000_000_000


@record
class Pruned:
    """What was deleted: paths, sorted, and their bytes together."""

    removed: tuple[str, ...]
    size_bytes: int


@record
class Unreached:
    """Files that no kept index reaches, each with its stat, in the order in which they go: indexes before what they
    lead to. `young` are the packages that stay because they came after the newest index."""

    files: tuple[tuple[Path, FileStat], ...]
    young: tuple[str, ...] = ()


def prune(
    packages: Path, output: Path, keep: int, spared: Collection[str] = (), seen: PackageFolder | None = None
) -> Pruned:
    """Keeps the newest index, the `keep` last snapshots by name and those `spared`, what they name, and their packages.

    Everything that is kept is read before anything is deleted. Raises IntegrityError (an index or meta that cannot be
    read: nothing is deleted then), SpecError, NoSpace.
    """
    return delete(unreached(packages, output, keep, spared, seen))


def unreached(
    packages: Path, output: Path, keep: int | None, spared: Collection[str] = (), seen: PackageFolder | None = None
) -> Unreached:
    """What `prune` deletes. `keep` None keeps every snapshot.

    Builds put packages there meanwhile. `seen` is what the newest index was composed of: what is not in it came later,
    and stays. Where nobody knows that, packages stay that were written after the newest index.
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
            reached |= {packages / archive, packages / f"{archive.rpartition(ARCHIVE)[0]}{SUFFIX}"}
    given_up: list[Path] = []
    for id in (id for id in ids if id not in stay):
        index = _index(output / f"{id}{_SNAPSHOT}")
        files = (output / file.filename for _, file in index.files)
        given_up += [output / f"{id}{_SNAPSHOT}", *(path for path in files if path.name.startswith(f"{id}-"))]
        given_up.append(output / f"{id}{_SNAPSHOT}{SIGNATURE_SUFFIX}")
    own = [(path, info) for path in dict.fromkeys(given_up) if (info := file_stat(path)) is not None]
    indexes = [info for name in (*newest, *(f"{id}{_SNAPSHOT}" for id in ids)) if (info := file_stat(output / name))]
    composed_ns = None if seen is not None else max((info[1] for info in indexes), default=0)
    found, young = _left_over(seen or scan_packages(packages), reached, composed_ns)
    gone = [(path, info) for path, info in (*own, *sorted(found.items())) if path not in reached]
    return Unreached(tuple(gone), tuple(sorted(young)))


def _left_over(
    folder: PackageFolder, reached: Collection[Path], composed_ns: int | None
) -> tuple[dict[Path, FileStat], list[str]]:
    """What of packages is not reached, and those that are newer than all indexes."""
    found: dict[Path, FileStat] = {}
    young: list[str] = []
    for stem, package in _packages(folder).items():
        left = {path: info for path, info in package.items() if path not in reached}
        if composed_ns is not None and any(info[1] > composed_ns for info in left.values()):
            young.append(stem)
        elif Path(stem + SUFFIX) in left or all(info[1] < folder.seen_ns - _LONE_NS for info in left.values()):
            found |= left  # a build writes metadata after the archive: one by itself may just have come
    return found, young


def _packages(folder: PackageFolder) -> dict[str, dict[Path, FileStat]]:
    """The files of each package, by their path without what follows the fingerprint.

    Whatever else has such a name is nobody's to delete: files that are being written, somebody's backups.
    """
    found: dict[str, dict[Path, FileStat]] = {}
    for path, info in folder.stats.items():
        end = next((end for end in _ENDS if path.endswith(end)), "")
        if end and not path.rpartition("/")[2].startswith("."):
            found.setdefault(path.removesuffix(end), {})[Path(path)] = info
    return found


def delete(found: Unreached) -> Pruned:
    """Deletes files, in their order, but those that were replaced since they were listed. Raises NoSpace."""
    removed: list[str] = []
    size = 0
    for path, seen in found.files:
        if _same(file_stat(path), seen):
            with disk_errors(f"deleting {path}", path.parent):
                path.unlink(missing_ok=True)
            size += seen[0]
            removed.append(str(path))
    return Pruned(tuple(sorted(removed)), size)


def _same(now: FileStat | None, seen: FileStat) -> bool:
    """Whether a file is the one that was seen; the time of its status changes when another link to it goes."""
    return now is not None and (now[0], now[1], now[3]) == (seen[0], seen[1], seen[3])


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
