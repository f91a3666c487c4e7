"""What a repository holds, by name, in a file of its own: made once for a tree and a meta, then only asked.

To install one package of 20,000 its closure is read, to list them their names; neither depends on all definitions.
The file is a blob of the store: whoever cleans that up makes it be made again.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from treebuilder.annotations import Any
from treebuilder.errors import StateCorrupt
from treebuilder.model.digest import Digest
from treebuilder.model.package import Package, PackageId
from treebuilder.model.version import newest_first
from treebuilder.oci.store import Store
from treebuilder.records import record
from treebuilder.repository.index import Artifact
from treebuilder.tree import stored

_KIND = "repository-known"
_SHAPE = f"2 {stored.SHAPE}"
_SCHEMA = """
CREATE TABLE names (pkgname TEXT PRIMARY KEY, packages BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE providers (pkgname TEXT PRIMARY KEY, packages BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE artifacts (id TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE listing (value BLOB NOT NULL);
"""


@record
class Definition:
    """A package of a repository's tree, with its finalize.yaml as it is written there; "" without one."""

    package: Package
    finalizer: str = ""


class Known:
    """Opened for reading, by any thread. All methods raise StateCorrupt for a file that cannot be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(
                f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True, isolation_level=None, check_same_thread=False
            )
        except sqlite3.DatabaseError as err:
            raise self._broken() from err
        self._listing: tuple[tuple[PackageId, bool], ...] | None = None
        self._versions: dict[str, tuple[Definition, ...]] = {}

    def close(self) -> None:
        """The file is let go; nothing can be read any more."""
        with self._lock:
            self._db.close()

    def listing(self) -> tuple[tuple[PackageId, bool], ...]:
        """Identities of all packages, and whether they are hidden, sorted by name, newest first."""
        if self._listing is None:
            rows = self._one("SELECT value FROM listing") or ()
            self._listing = tuple([(PackageId(*row[:3]), row[3]) for row in rows])
        return self._listing

    def versions(self, pkgname: str) -> tuple[Definition, ...]:
        """Every version of a name, newest first."""
        found = self._versions.get(pkgname)
        if found is None:
            found = self._versions[pkgname] = _definitions(
                self._one("SELECT packages FROM names WHERE pkgname = ?", pkgname) or ()
            )
        return found

    def find(self, id: PackageId) -> Definition | None:
        return next((found for found in self.versions(id.pkgname) if found.package.id == id), None)

    def providers(self, pkgname: str) -> tuple[PackageId, ...]:
        """Who provides a name, sorted by name, newest first."""
        rows = self._one("SELECT packages FROM providers WHERE pkgname = ?", pkgname) or ()
        return tuple([PackageId(*row) for row in rows])

    def read_all(self) -> None:
        """Reads every definition at once: for those who will ask for most of them."""
        for pkgname, data in self._rows("SELECT pkgname, packages FROM names"):
            if pkgname not in self._versions:
                self._versions[pkgname] = _definitions(self._load(data))

    def artifact(self, id: PackageId) -> Artifact | None:
        row = self._one("SELECT value FROM artifacts WHERE id = ?", _key(id))
        return None if row is None else _artifact(row)

    def artifacts(self) -> Iterator[Artifact]:
        """All that can be fetched, sorted by identity."""
        for (data,) in self._rows("SELECT value FROM artifacts ORDER BY id"):
            yield _artifact(self._load(data))

    def _one(self, query: str, *values: str) -> Any:  # noqa: ANN401 - what the column holds
        rows = self._rows(query, *values)
        return self._load(rows[0][0]) if rows else None

    def _rows(self, query: str, *values: str) -> list[Any]:
        try:
            with self._lock:
                return self._db.execute(query, values).fetchall()
        except sqlite3.DatabaseError as err:
            raise self._broken() from err

    def _load(self, data: bytes) -> Any:  # noqa: ANN401 - lists, tuples and plain values
        found = stored.load(data)
        if found is None:
            raise self._broken()
        return found

    def _broken(self) -> StateCorrupt:
        return StateCorrupt(f"the index {self._path} of a repository is damaged", hint="delete it: it is made again")


def _definitions(rows: Any) -> tuple[Definition, ...]:  # noqa: ANN401 - as `_fill` wrote them
    return tuple([Definition(stored.decode(package), text) for package, text in rows])


def _key(id: PackageId) -> str:
    return f"{id.category}\0{id.name}\0{id.version}"


def _artifact(row: Any) -> Artifact:  # noqa: ANN401 - as `_row` made it
    id, path, sha256, compression, files, build_time, content, unpacked = row
    return Artifact(
        PackageId(*id), path, Digest(sha256), compression, files, build_time, Digest(content) if content else None,
        unpacked,
    )  # fmt: skip


def recall(store: Store, tree: Digest, meta: Digest) -> Known | None:
    """What was made of this tree and meta, if it still is there."""
    noted = store.index.note(_KIND, _name(tree, meta))
    if noted is None:
        return None
    digest = Digest(noted.decode())
    return Known(store.blob_path(digest)) if store.has_blob(digest) else None


def make(
    store: Store, tree: Digest, meta: Digest, definitions: Iterable[Definition], artifacts: Iterable[Artifact]
) -> Known:
    """Writes the file. Of several of one identity the first counts. Raises what reading raises."""
    with store.scratch() as work:
        path = work / "known"
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.executescript(f"PRAGMA journal_mode=OFF; BEGIN; {_SCHEMA}")
            _fill(db, definitions, artifacts)
            db.execute("COMMIT")  # and synced: nobody holds it against its digest, and a power cut may empty files
        with path.open("rb") as made:
            digest = Digest(hashlib.file_digest(made, "sha256").hexdigest())
        store.add_blob_file(path, digest)
    store.index.set_notes(_KIND, {_name(tree, meta): digest.hex.encode()})
    return Known(store.blob_path(digest))


def _name(tree: Digest, meta: Digest) -> str:
    return hashlib.sha256(f"{_SHAPE} {tree.hex} {meta.hex}".encode()).hexdigest()


def _fill(db: sqlite3.Connection, definitions: Iterable[Definition], artifacts: Iterable[Artifact]) -> None:
    texts: dict[PackageId, str] = {}
    names: dict[str, list[Package]] = {}
    provided: dict[str, list[Package]] = {}
    for found in definitions:
        package = found.package
        if package.id in texts:
            continue
        texts[package.id] = found.finalizer
        names.setdefault(package.id.pkgname, []).append(package)
        for pkgname in dict.fromkeys(ref.pkgname for ref in package.provides):
            provided.setdefault(pkgname, []).append(package)
    ordered = {name: newest_first(names[name]) for name in sorted(names)}
    rows = (
        (name, stored.dump(tuple([(stored.encode(p), texts[p.id]) for p in packages])))
        for name, packages in ordered.items()
    )
    db.executemany("INSERT INTO names VALUES (?, ?)", rows)
    givers = (
        (name, stored.dump(tuple([_ids(p.id) for p in sorted(newest_first(given), key=lambda p: p.id.pkgname)])))
        for name, given in provided.items()
    )
    db.executemany("INSERT INTO providers VALUES (?, ?)", givers)
    listing = tuple([(*_ids(p.id), p.hidden) for packages in ordered.values() for p in packages])
    db.execute("INSERT INTO listing VALUES (?)", (stored.dump(listing),))
    described = ((_key(found.package), stored.dump(_row(found))) for found in artifacts)
    db.executemany("INSERT OR IGNORE INTO artifacts VALUES (?, ?)", described)


def _ids(id: PackageId) -> tuple[str, str, str]:
    return id.category, id.name, id.version


def _row(found: Artifact) -> tuple[object, ...]:
    content = found.content.hex if found.content is not None else ""
    return (
        _ids(found.package), found.path, found.sha256.hex, found.compression, found.files, found.build_time, content,
        found.unpacked_bytes,
    )  # fmt: skip


class Artifacts(Mapping[PackageId, Artifact]):
    """The artifacts of a repository, read one by one as they are asked for."""

    def __init__(self, known: Known) -> None:
        self._known = known

    def __getitem__(self, id: PackageId) -> Artifact:
        found = self._known.artifact(id)
        if found is None:
            raise KeyError(id)
        return found

    def __iter__(self) -> Iterator[PackageId]:
        return (found.package for found in self._known.artifacts())

    def __len__(self) -> int:
        return sum(1 for _ in self._known.artifacts())
