"""What a build left in a folder: `*.metadata.yaml` files, read into entries of a repository's index.

What is read is noted in the store beside the stats of both files: an unchanged package is not read again.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

from treebuilder.annotations import Any
from treebuilder.errors import IntegrityError, Place, SpecError
from treebuilder.model.package import Package, PackageId
from treebuilder.oci.store import Store
from treebuilder.records import record
from treebuilder.repository.entries import entry
from treebuilder.repository.fields import read_definition, read_package, spec_json
from treebuilder.repository.index import listing, mapping, parse_document, text, texts
from treebuilder.repository.ownmetadata import read_quickly
from treebuilder.repository.plain import read_plain, sha256_of
from treebuilder.system import clock
from treebuilder.tree import stored
from treebuilder.tree.definition import can_be_in_names

SUFFIX = ".metadata.yaml"
ARCHIVE = ".package.tar"
_MAX_BYTES = 1 << 28
_YOUNG_NS, _YOUNG_COARSE_NS = 100_000_000, 2_000_000_000  # so young, a file may change and its stat stay
_SHAPE = 3  # of what is noted
_SPARE = 1000  # notes of packages that are gone, before all are written anew
_BUILD = re.compile(rb"\n    package:\n((?: {8}.*\n)+)(?! {5})")
_RUNTIME = re.compile(rb"^runtime:\n((?: {4}.*\n)+)", re.MULTILINE)
FileStat = tuple[int, int, int, int]  # size in bytes, times of change and of status in ns, inode


@record
class BuiltPackage:
    """One metadata file. `entry` is its item in the index, as YAML."""

    id: PackageId
    entry: bytes

    def runtime(self) -> Package:
        """The definition it carries."""
        items = listing(parse_document(b"index:\n" + self.entry, str(self.id)).get("index"))
        return read_definition(mapping(mapping(items[0]).get("runtime")))


@record
class PackageFolder:
    """The files of a folder of packages. `metadata` are paths by fingerprint, `stats` of all files, by path."""

    path: Path
    metadata: dict[str, str]
    stats: dict[str, FileStat]
    seen_ns: int

    def is_settled(self, path: str) -> bool:
        """Whether the file's stat would tell a change from what was seen."""
        found = self.stats.get(path)
        if found is None:
            return False
        newest = max(found[1], found[2])
        return newest < self.seen_ns - (_YOUNG_COARSE_NS if newest % 1_000_000_000 == 0 else _YOUNG_NS)


def scan_packages(folder: Path) -> PackageFolder:
    """Metadata and archives at any depth, in a stable order. Raises SpecError (reason "missing-packages")."""
    if not folder.is_dir():
        raise SpecError(f"there is no folder of packages {folder}", reason="missing-packages")
    found: dict[str, str] = {}
    stats: dict[str, FileStat] = {}
    seen_ns = clock.now_ns()
    waiting = [os.fspath(folder)]
    while waiting:
        at = waiting.pop()
        below: list[str] = []
        try:
            with os.scandir(at) as listed:
                items = sorted(listed, key=lambda item: item.name)
        except OSError:
            continue  # as os.walk does; what cannot be listed holds no package for us
        for item in items:
            name = item.name
            if name.endswith(SUFFIX) and not name.startswith("."):
                found.setdefault(name.removesuffix(SUFFIX), item.path)
            elif ARCHIVE not in name:
                if item.is_dir(follow_symlinks=False):
                    below.append(item.path)
                continue
            info = file_stat(item)
            if info is not None:
                stats[item.path] = info
        waiting += reversed(below)
    return PackageFolder(folder, found, stats, seen_ns)


def file_stat(entry: os.DirEntry[str] | Path) -> FileStat | None:
    """None for what is no file."""
    try:
        info = entry.stat()
    except OSError:
        return None
    if not stat.S_ISREG(info.st_mode):
        return None
    return info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino


class BuiltPackages:
    """Reads metadata files, through the notes of the store when there is one."""

    def __init__(self, folder: PackageFolder, store: Store | None) -> None:
        self._folder = folder
        self._store = store
        where = os.path.abspath(folder.path).encode("utf-8", "surrogateescape")
        self._top = f"{folder.path}/"
        self._kind = f"built//{hashlib.sha256(where).hexdigest()[:32]}"
        self._known = {} if store is None else store.index.notes(self._kind)
        self._fresh: dict[str, bytes] = {}
        self._read: dict[str, BuiltPackage] = {}

    def read(self, fingerprint: str) -> BuiltPackage:
        """One package; its archive must lie beside its metadata.

        Raises IntegrityError (no metadata), SpecError (reason "missing-file": no archive).
        """
        made = self._read.get(fingerprint)
        if made is None:
            made = self._read[fingerprint] = self._known_or_read(fingerprint)
        return made

    def given(self, fingerprint: str) -> tuple[Any, ...]:
        """What `take` takes of a package that was read, as plain values."""
        made = self.read(fingerprint)
        id = made.id
        return fingerprint, (id.category, id.name, id.version), made.entry, self._fresh.get(fingerprint)

    def take(self, given: tuple[Any, ...]) -> None:
        """A package that a copy of this process read."""
        fingerprint, id, item, note = given
        self._read[fingerprint] = BuiltPackage(PackageId(*id), item)
        if note is not None:
            self._fresh[fingerprint] = note

    def _known_or_read(self, fingerprint: str) -> BuiltPackage:
        path = self._folder.metadata[fingerprint]
        noted = self._known.get(fingerprint)
        known = None if noted is None else stored.load(noted)
        if known is not None and known[0] == _SHAPE and known[1] == self._place(path):
            archive = os.path.join(os.path.dirname(path), known[2])
            if known[3] == self._folder.stats.get(path) and known[4] == self._folder.stats.get(archive):
                return BuiltPackage(PackageId(*known[5]), known[6])
        return self._read_now(fingerprint, path)

    def _read_now(self, fingerprint: str, path: str) -> BuiltPackage:
        stats, settled = self._folder.stats, self._folder.is_settled
        made, archive = self._read_quickly(path) or self._read_any(path)
        if made.id.fingerprint != fingerprint:
            raise IntegrityError(f"{path} describes {made.id}, which its name does not say")
        _check_names(made.id, path)
        if self._store is not None and fingerprint.isprintable() and settled(path) and settled(archive):
            id, name = made.id, os.path.basename(archive)
            both = stats[path], stats[archive]
            value = (_SHAPE, self._place(path), name, *both, (id.category, id.name, id.version), made.entry)
            self._fresh[fingerprint] = stored.dump(value)
        return made

    def _place(self, path: str) -> str:
        """A path of the folder, seen from there."""
        return path[len(self._top) :] if path.startswith(self._top) else os.path.relpath(path, self._folder.path)

    def _read_quickly(self, path: str) -> tuple[BuiltPackage, str] | None:
        """A metadata file of our own, and the archive; None where the full reader must decide."""
        found = read_quickly(read_plain(path, _MAX_BYTES, "a package's metadata"))
        archive = f"{path[: path.rindex('/') + 1]}{found.archive}" if found is not None else ""
        if found is None or not found.archive or archive not in self._folder.stats:
            return None
        _check(path, archive, found.sha256)
        return BuiltPackage(found.id, found.entry(self._place(archive))), archive

    def _read_any(self, path: str) -> tuple[BuiltPackage, str]:
        made, archive = read_built(Path(path), self._folder.path, lambda found: str(found) in self._folder.stats)
        return made, str(archive)

    def save(self) -> None:
        """Writes what was read by now to the store."""
        if self._store is None:
            return
        if len(self._known) > 2 * len(self._folder.metadata) + _SPARE:
            self._store.index.drop_notes(self._kind)
            self._fresh = {key: self._known[key] for key in self._folder.metadata if key in self._known} | self._fresh
        self._store.index.set_notes(self._kind, self._fresh)


def read_built(path: Path, folder: Path, is_there: Callable[[Path], bool]) -> tuple[BuiltPackage, Path]:
    """Reads one metadata file; the archive beside it is the second of the answer.

    Raises IntegrityError (no metadata, an archive that is not the one it describes), SpecError (reason "missing-file":
    no archive).
    """
    data = read_plain(path, _MAX_BYTES, "a package's metadata")
    value = _document(data, str(path))
    spec = mapping(value.get("compilespec"))
    package, build_time = read_package(mapping(spec.get("package")))
    same = value.get("runtime") is spec.get("package")
    runtime = package if same else read_package(mapping(value.get("runtime")))[0]
    if not runtime.id.name:  # written by a program that knew no runtime part: its build view without relations
        runtime = Package(package.id, description=package.description, license=package.license, labels=package.labels)
    archive = path.parent / text(value.get("path")).rsplit("/", 1)[-1]
    if archive == path.parent or not is_there(archive):
        raise SpecError(
            f"the package {archive.name} is not beside its metadata", where=Place(str(path)), reason="missing-file",
            hint="build it again, or delete the metadata file",
        )  # fmt: skip
    sha256 = text(mapping(value.get("checksums")).get("sha256"))
    _check(path, archive, sha256)
    # The index names a sub-package by itself: the build spec beside it is that of the package it was carved out of.
    own = package if package.id == runtime.id else runtime
    ours = {key: item for key, item in mapping(value.get("treebuild")).items() if isinstance(item, str)}
    described = spec_json(spec)
    if "BuildValues" in described.get("build_options", ()):
        from treebuilder.repository.buildvalues import of_metadata

        described["build_options"]["BuildValues"] = of_metadata(data, str(path))
    made = entry(
        runtime, own, build_time, described, sha256=sha256,
        compression=text(value.get("compressiontype")), files=texts(value.get("files")),
        cache_image=text(value.get("packagecacheimage")), path=archive.relative_to(folder).as_posix(), ours=ours,
    )  # fmt: skip
    return BuiltPackage(runtime.id, made), archive


def _check(metadata: Path | str, archive: Path | str, sha256: str) -> None:
    """Compares a package with its metadata. Nothing else says that the two belong together, and clients refuse a whole
    repository for one package without a digest."""
    if not sha256:
        raise IntegrityError(
            f"{metadata} gives no sha256 of its package {os.path.basename(archive)}",
            hint="build the package again, or write it below checksums",
        )
    found = sha256_of(archive)
    if found != sha256:
        raise IntegrityError(
            f"{archive} is not what its metadata says: sha256:{found}, and there {sha256}",
            hint="build the package again",
        )


def _check_names(id: PackageId, path: str) -> None:
    """What --from-metadata takes in was checked as no tree's definition; its parts name folders of the runtime tree."""
    for key, part in (("category", id.category), ("name", id.name), ("version", id.version)):
        if not can_be_in_names(part) or (key == "name" and not part):
            raise SpecError(
                f"the {key} {part!r} cannot be part of a file name" if part else f"the {key} of the package is empty",
                where=Place(path), reason="name", hint="build the package again, or delete the metadata file",
            )  # fmt: skip


def _document(data: bytes, what: str) -> dict[str, Any]:
    """The parsed file. Most packages are built with what they are installed with: these lines, deeper by a level, are
    not read twice."""
    build, runtime = _BUILD.search(data), _RUNTIME.search(data)
    if build is not None and runtime is not None:
        if build[1] == b"    " + runtime[1].replace(b"\n", b"\n    ")[:-4]:
            value = parse_document(data[: build.start() + 1] + data[build.end() :], what, whole=False)
            spec, same = value.get("compilespec"), value.get("runtime")
            if isinstance(spec, dict) and isinstance(same, dict) and "package" not in spec:
                return value | {"compilespec": spec | {"package": same}}
    return parse_document(data, what)
