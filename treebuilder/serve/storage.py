"""A registry's folder: blobs by digest as in an OCI layout, and which repository has what in one SQLite file.

`index.json` is written when the registry stops, so that the folder is an OCI layout for everybody else. A blob is
there under its name only when its bytes are; a tag leads to a manifest that is there.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from treebuilder.errors import ConfigError, StateCorrupt
from treebuilder.serve.manifests import INDEX, MANIFEST, Manifest, parse
from treebuilder.serve.names import digest_of, is_digest, is_name, is_tag
from treebuilder.system.files import disk_errors, new_name, write_atomic

_REF_NAME = "org.opencontainers.image.ref.name"
_REPOSITORY = "dev.treebuild.repository"
_VERSION = 1
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS blobs (repository TEXT, digest TEXT, PRIMARY KEY (repository, digest)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS blobs_digest ON blobs (digest);
CREATE TABLE IF NOT EXISTS manifests (repository TEXT, digest TEXT, media TEXT, size INTEGER, subject TEXT,
  artifact TEXT, annotations TEXT, PRIMARY KEY (repository, digest)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS manifests_subject ON manifests (repository, subject);
CREATE INDEX IF NOT EXISTS manifests_digest ON manifests (digest);
CREATE TABLE IF NOT EXISTS tags (repository TEXT, tag TEXT, digest TEXT, PRIMARY KEY (repository, tag)) WITHOUT ROWID;
PRAGMA user_version = {_VERSION};
"""


class Storage:
    """May be used from many threads; one process at a time serves a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with disk_errors(f"preparing the registry's folder {folder}"):
            for name in ("blobs/sha256", "blobs/sha512", "uploads"):
                (folder / name).mkdir(parents=True, exist_ok=True)
        if not (folder / "oci-layout").exists():
            write_atomic(folder / "oci-layout", b'{"imageLayoutVersion": "1.0.0"}\n')
        self._lock = threading.RLock()
        try:
            self._db = sqlite3.connect(folder / "registry.sqlite", isolation_level=None, check_same_thread=False)
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > _VERSION:
                raise ConfigError(f"{folder} was written by a newer version of treebuild")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as err:
            raise StateCorrupt(f"the registry's index {folder}/registry.sqlite cannot be read: {err}") from err
        if version == 0:
            self._take_in_layout()

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _rows(self, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    # blobs ------------------------------------------------------------------------------------------------------
    def path(self, digest: str) -> Path:
        """Where a blob's bytes are, if they are anywhere. `digest` must be one."""
        kind, _, hexed = digest.partition(":")
        return self.folder / "blobs" / kind / hexed

    def has_blob(self, repository: str, digest: str) -> bool:
        found = self._rows("SELECT 1 FROM blobs WHERE repository = ? AND digest = ?", (repository, digest))
        return bool(found) and self.path(digest).is_file()

    def add_file(self, repository: str, digest: str, made: Path) -> None:
        """Takes over a finished file whose digest was checked; it is on the disk before it has its name."""
        with disk_errors("storing a blob"):
            fd = os.open(made, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            with self._lock:
                os.replace(made, self.path(digest))
                self.link(repository, digest)

    def add_bytes(self, repository: str, data: bytes, digest: str) -> None:
        made = self.folder / "uploads" / new_name()
        with disk_errors("storing a blob"):
            made.write_bytes(data)
        self.add_file(repository, digest, made)

    def link(self, repository: str, digest: str) -> None:
        """Makes a blob that another repository has one of this repository too."""
        with self._changing() as db:
            db.execute("INSERT OR IGNORE INTO blobs VALUES (?, ?)", (repository, digest))

    def delete_blob(self, repository: str, digest: str) -> bool:
        """False if it was not there."""
        with self._lock:
            with self._changing() as db:
                gone = db.execute("DELETE FROM blobs WHERE repository = ? AND digest = ?", (repository, digest))
            self._forget(digest)
            return gone.rowcount > 0

    def _forget(self, digest: str) -> None:
        """Deletes bytes that no repository has any more."""
        users = "SELECT 1 FROM blobs WHERE digest = ? UNION ALL SELECT 1 FROM manifests WHERE digest = ? LIMIT 1"
        if not self._rows(users, (digest, digest)):
            self.path(digest).unlink(missing_ok=True)

    # manifests --------------------------------------------------------------------------------------------------
    def put_manifest(self, repository: str, manifest: Manifest, data: bytes, tags: Sequence[str]) -> None:
        """Stores a manifest and points tags to it, in that order."""
        with self._lock:
            made = self.folder / "uploads" / new_name()
            with disk_errors("storing a manifest"):
                fd = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
                with os.fdopen(fd, "wb") as out:
                    out.write(data)
                    out.flush()
                    os.fsync(fd)
                os.replace(made, self.path(manifest.digest))
            with self._changing() as db:
                db.execute(
                    "INSERT OR REPLACE INTO manifests VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        repository, manifest.digest, manifest.media, manifest.size, manifest.subject,
                        manifest.artifact, manifest.annotations,
                    ),
                )  # fmt: skip
                rows = [(repository, tag, manifest.digest) for tag in tags]
                db.executemany("INSERT OR REPLACE INTO tags VALUES (?, ?, ?)", rows)

    def manifest(self, repository: str, reference: str) -> Manifest | None:
        """By tag or digest."""
        if not is_digest(reference):
            found = self._rows("SELECT digest FROM tags WHERE repository = ? AND tag = ?", (repository, reference))
            if not found:
                return None
            reference = found[0][0]
        columns = "digest, media, size, subject, artifact, annotations"
        rows = self._rows(
            f"SELECT {columns} FROM manifests WHERE repository = ? AND digest = ?",  # noqa: S608 - our own words
            (repository, reference),
        )
        return Manifest(*rows[0]) if rows and self.path(reference).is_file() else None

    def delete_manifest(self, repository: str, reference: str) -> bool:
        """A tag alone, or a manifest with all its tags. False if it was not there."""
        with self._lock:
            with self._changing() as db:
                if not is_digest(reference):
                    gone = db.execute("DELETE FROM tags WHERE repository = ? AND tag = ?", (repository, reference))
                    return gone.rowcount > 0
                db.execute("DELETE FROM tags WHERE repository = ? AND digest = ?", (repository, reference))
                gone = db.execute("DELETE FROM manifests WHERE repository = ? AND digest = ?", (repository, reference))
            self._forget(reference)
            return gone.rowcount > 0

    def has_repository(self, repository: str) -> bool:
        asked = "SELECT 1 FROM {} WHERE repository = ?"
        query = " UNION ALL ".join(asked.format(table) for table in ("blobs", "manifests", "tags"))
        return bool(self._rows(f"{query} LIMIT 1", (repository,) * 3))

    def repositories(self) -> list[str]:
        """All names, sorted."""
        return [row[0] for row in self._rows("SELECT DISTINCT repository FROM manifests ORDER BY repository", ())]

    def tags(self, repository: str) -> list[str]:
        """Sorted by bytes."""
        return [row[0] for row in self._rows("SELECT tag FROM tags WHERE repository = ? ORDER BY tag", (repository,))]

    def referrers(self, repository: str, subject: str) -> list[Manifest]:
        """The manifests whose subject is this digest, sorted by digest."""
        rows = self._rows(
            "SELECT digest, media, size, subject, artifact, annotations FROM manifests"
            " WHERE repository = ? AND subject = ? ORDER BY digest",
            (repository, subject),
        )
        return [Manifest(*row) for row in rows]

    # the layout -------------------------------------------------------------------------------------------------
    def close(self) -> None:
        """Writes the layout's index and closes."""
        with self._lock:
            self._write_index()
            self._db.close()

    def _write_index(self) -> None:
        rows = self._rows(
            "SELECT m.repository, t.tag, m.media, m.digest, m.size FROM manifests m LEFT JOIN tags t"
            " ON t.repository = m.repository AND t.digest = m.digest ORDER BY 1, 2, 4",
            (),
        )
        items = []
        for repository, tag, media, digest, size in rows:
            names = {_REPOSITORY: repository} | ({_REF_NAME: f"{repository}:{tag}"} if tag else {})
            items.append({"mediaType": media, "digest": digest, "size": size, "annotations": names})
        value = {"schemaVersion": 2, "mediaType": INDEX, "manifests": items}
        write_atomic(self.folder / "index.json", json.dumps(value, indent=1).encode() + b"\n")

    def _take_in_layout(self) -> None:
        """A layout that somebody else made: its manifests become repositories named by their ref names."""
        try:
            index = json.loads((self.folder / "index.json").read_bytes())
        except FileNotFoundError:
            return
        except (ValueError, OSError) as err:
            raise StateCorrupt(f"{self.folder}/index.json cannot be read: {err}") from err
        for item in index.get("manifests", []) if isinstance(index, dict) else []:
            names = item.get("annotations") or {}
            repository, _, tag = str(names.get(_REF_NAME, "")).rpartition(":")
            if not is_tag(tag):
                repository, tag = "", ""
            repository = names.get(_REPOSITORY) or repository or "layout"
            if is_name(repository) and is_digest(str(item.get("digest"))):
                self._take_in(repository, str(item["digest"]), str(item.get("mediaType", MANIFEST)), tag)

    def _take_in(self, repository: str, digest: str, media: str, tag: str) -> None:
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            return
        if digest_of(data, digest) != digest:
            return
        parsed = parse(data, media, digest)
        for blob in parsed.blobs:
            if self.path(blob).is_file():
                self.link(repository, blob)
        for child in parsed.children:
            self._take_in(repository, child, MANIFEST, "")
        self.put_manifest(repository, parsed.manifest, data, [tag] if tag else [])
