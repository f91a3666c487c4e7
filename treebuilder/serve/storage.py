"""A registry's folder: blobs by digest as in an OCI layout, and which repository has what in one SQLite file.

`index.json` is written when the registry stops, so that the folder is an OCI layout for everybody else, and what others
wrote into it is taken in when it starts: all of it or, with an error, nothing. A blob is there under its name only when
its bytes are; a tag leads to a manifest that is there.

The time of a blob's file is when it was last pushed, mounted or asked for: who relies on it has a while to name it in a
manifest before `forget_unused` takes it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from treebuilder.errors import StateCorrupt
from treebuilder.serve import layouts
from treebuilder.serve.database import Database
from treebuilder.serve.manifests import INDEX, InvalidError, Manifest, Parsed, mentions, parse
from treebuilder.serve.names import digest_of, is_digest
from treebuilder.system.files import disk_errors, new_name, write_atomic

_COLUMNS = "digest, media, size, subject, artifact, annotations"


class Storage:
    """May be used from many threads; one process at a time serves a folder.

    Raises StateCorrupt for a folder whose index leads to what is no manifest; then nothing was changed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        fresh = not (folder / "registry.sqlite").exists()
        items = layouts.read_index(folder)["manifests"]
        if fresh:
            layouts.read_items(folder, items)  # before there is anything of ours
        with disk_errors(f"preparing the registry's folder {folder}"):
            for name in ("blobs/sha256", "blobs/sha512", "uploads"):
                (folder / name).mkdir(parents=True, exist_ok=True)
        if not (folder / "oci-layout").exists():
            write_atomic(folder / "oci-layout", b'{"imageLayoutVersion": "1.0.0"}\n')
        self._db = Database(folder / "registry.sqlite")
        try:
            before = self._db.version
            self._db.upgrade(self._complete)
            self._take_in(items, before)
        except BaseException:
            self._db.close()
            raise

    @contextmanager
    def steady(self) -> Iterator[None]:
        """Nothing is changed by others meanwhile."""
        with self._db.lock:
            yield

    # blobs ------------------------------------------------------------------------------------------------------
    def path(self, digest: str) -> Path:
        """Where a blob's bytes are, if they are anywhere. `digest` must be one."""
        return layouts.path_of(self.folder, digest)

    def has_blob(self, repository: str, digest: str) -> bool:
        """Whether it is there and whole."""
        return self.blob_size(repository, digest) is not None

    def blob_size(self, repository: str, digest: str) -> int | None:
        """Bytes of a blob; None if it is not there, or not as long as it was."""
        return self._size(repository, digest, self._length(digest))

    def _size(self, repository: str, digest: str, length: int | None) -> int | None:
        rows = self._db.rows("SELECT size FROM blobs WHERE repository = ? AND digest = ?", repository, digest)
        return length if rows and rows[0][0] in (None, length) else None

    def _length(self, digest: str) -> int | None:
        path = self.path(digest)
        return path.stat().st_size if path.is_file() else None

    def use(self, repository: str, digest: str) -> bool:
        """Like `has_blob`; a blob that is there stays for a while, whether a manifest names it or not."""
        with self._db.lock:
            if not self.has_blob(repository, digest):
                return False
            with suppress(PermissionError):  # somebody else's file in a folder that is ours to write to
                os.utime(self.path(digest))
            return True

    def check(self, repository: str, digest: str) -> bool:
        """Whether a repository has a blob. Raises StateCorrupt if it is not as long as it was."""
        rows = self._db.rows("SELECT size FROM blobs WHERE repository = ? AND digest = ?", repository, digest)
        length = self._length(digest)
        if rows and length is not None and rows[0][0] not in (None, length):
            raise StateCorrupt(f"the blob {digest} is damaged: it has {length} bytes, not {rows[0][0]}")
        return bool(rows) and length is not None

    def mount(self, repository: str, source: str, digest: str) -> bool:
        """Makes a blob of one repository, any for "", one of another too. False if it is not there."""
        with self._db.lock:
            rows = [] if source else self._db.rows("SELECT repository FROM blobs WHERE digest = ?", digest)
            if not any(self.use(one, digest) for one in (source, *(row[0] for row in rows)) if one):
                return False
            self.link(repository, digest)
            return True

    def add_file(self, repository: str, digest: str, made: Path) -> None:
        """Takes over a finished file whose digest was checked; it is on the disk before it has its name."""
        with disk_errors("storing a blob"):
            fd = os.open(made, os.O_RDONLY)
            try:
                os.fsync(fd)
                size = os.fstat(fd).st_size
            finally:
                os.close(fd)
            with self._db.changing():
                self._link(repository, digest, size)
                os.utime(made)
                os.replace(made, self.path(digest))

    def add_bytes(self, repository: str, data: bytes, digest: str) -> None:
        made = self.folder / "uploads" / new_name()
        with disk_errors("storing a blob"):
            made.write_bytes(data)
        self.add_file(repository, digest, made)

    def link(self, repository: str, digest: str) -> None:
        """Makes a blob that another repository has one of this repository too."""
        with self._db.changing():
            self._link(repository, digest, self.path(digest).stat().st_size)

    def _link(self, repository: str, digest: str, size: int) -> None:
        self._db.do("INSERT OR REPLACE INTO blobs VALUES (?, ?, ?)", repository, digest, size)

    def delete_blob(self, repository: str, digest: str) -> bool:
        """False if it was not there."""
        with self._db.lock:
            gone = self._db.do("DELETE FROM blobs WHERE repository = ? AND digest = ?", repository, digest)
            self._forget(digest)
            return gone > 0

    def _forget(self, digest: str) -> int:
        """Deletes bytes that no repository has any more, and says how many."""
        users = "SELECT 1 FROM blobs WHERE digest = ? UNION ALL SELECT 1 FROM manifests WHERE digest = ? LIMIT 1"
        if self._db.rows(users, digest, digest):
            return 0
        size = self._length(digest) or 0
        self.path(digest).unlink(missing_ok=True)
        return size

    def unused(self) -> dict[str, list[tuple[str, float]]]:
        """The blobs of each repository that none of its manifests mentions, sorted, and when each was last used.

        A row without a file was last used at 0.
        """
        found: dict[str, list[tuple[str, float]]] = {}
        query = "SELECT repository, digest FROM blobs WHERE {} ORDER BY repository, digest"
        for repository, digest in self._db.rows(query.format(_UNUSED)):
            path = self.path(digest)
            used = path.stat().st_mtime if path.is_file() else 0.0
            found.setdefault(repository, []).append((digest, used))
        return found

    def forget_unused(self, repository: str, digest: str, before_epoch_s: float) -> int | None:
        """Deletes a blob that no manifest mentions and that nobody used since; the bytes that this freed.

        None if it stays.
        """
        with self._db.lock:
            try:
                if self.path(digest).stat().st_mtime >= before_epoch_s:
                    return None
            except FileNotFoundError:
                pass  # a row without a file
            query = "DELETE FROM blobs WHERE repository = ? AND digest = ? AND {}"
            if not self._db.do(query.format(_UNUSED), repository, digest):
                return None
            return self._forget(digest)

    # manifests --------------------------------------------------------------------------------------------------
    def put_manifest(self, repository: str, manifest: Manifest, data: bytes, tags: Sequence[str]) -> None:
        """Stores a manifest and points tags to it, in that order."""
        parsed = parse(data, manifest.media, manifest.digest)
        with self._db.lock:
            made = self.folder / "uploads" / new_name()
            with disk_errors("storing a manifest"):
                try:
                    fd = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
                    with os.fdopen(fd, "wb") as out:
                        out.write(data)
                        out.flush()
                        os.fsync(fd)
                    os.replace(made, self.path(manifest.digest))
                except BaseException:
                    made.unlink(missing_ok=True)
                    raise
            try:
                with self._db.changing():
                    self._add_manifest(repository, parsed, tags)
            except BaseException:
                self._forget(manifest.digest)
                raise

    def _add_manifest(self, repository: str, parsed: Parsed, tags: Iterable[str]) -> None:
        one = parsed.manifest
        self._db.do(
            "INSERT OR REPLACE INTO manifests VALUES (?, ?, ?, ?, ?, ?, ?)",
            repository, one.digest, one.media, one.size, one.subject, one.artifact, one.annotations,
        )  # fmt: skip
        children = {child.digest for child in parsed.children}
        rows = [(one.digest, digest, int(digest in children)) for digest in parsed.mentioned]
        self._db.do_many("INSERT OR REPLACE INTO mentions VALUES (?, ?, ?)", rows)
        tagged = [(repository, tag, one.digest) for tag in tags]
        self._db.do_many("INSERT OR REPLACE INTO tags VALUES (?, ?, ?)", tagged)

    def manifest(self, repository: str, reference: str) -> Manifest | None:
        """By tag or digest."""
        if not is_digest(reference):
            found = self._db.rows("SELECT digest FROM tags WHERE repository = ? AND tag = ?", repository, reference)
            if not found:
                return None
            reference = found[0][0]
        rows = self._db.rows(
            f"SELECT {_COLUMNS} FROM manifests WHERE repository = ? AND digest = ?",  # noqa: S608 - our own words
            repository,
            reference,
        )
        return Manifest(*rows[0]) if rows and self.path(reference).is_file() else None

    def manifest_bytes(self, manifest: Manifest) -> bytes:
        """Raises StateCorrupt for a file that was damaged."""
        data = self.path(manifest.digest).read_bytes()
        if digest_of(data, manifest.digest) != manifest.digest:
            raise StateCorrupt(f"the manifest {manifest.digest} is damaged")
        return data

    def delete_manifest(self, repository: str, reference: str) -> bool:
        """A tag alone, or a manifest with all its tags. False if it was not there."""
        with self._db.lock:
            if not is_digest(reference):
                return self._db.do("DELETE FROM tags WHERE repository = ? AND tag = ?", repository, reference) > 0
            there = self._db.rows("SELECT 1 FROM manifests WHERE repository = ? AND digest = ?", repository, reference)
            with self._db.changing():
                self._db.do("DELETE FROM tags WHERE repository = ? AND digest = ?", repository, reference)
                self._db.do("DELETE FROM manifests WHERE repository = ? AND digest = ?", repository, reference)
                if not self._db.rows("SELECT 1 FROM manifests WHERE digest = ? LIMIT 1", reference):
                    self._db.do("DELETE FROM mentions WHERE manifest = ?", reference)
            self._forget(reference)
            return bool(there)

    def has_repository(self, repository: str) -> bool:
        asked = "SELECT 1 FROM {} WHERE repository = ?"
        query = " UNION ALL ".join(asked.format(table) for table in ("blobs", "manifests", "tags"))
        return bool(self._db.rows(f"{query} LIMIT 1", repository, repository, repository))

    def repositories(self) -> list[str]:
        """All names, sorted."""
        return [row[0] for row in self._db.rows("SELECT DISTINCT repository FROM manifests ORDER BY repository")]

    def tags(self, repository: str) -> list[str]:
        """Sorted by bytes."""
        return [row[0] for row in self._db.rows("SELECT tag FROM tags WHERE repository = ? ORDER BY tag", repository)]

    def referrers(self, repository: str, subject: str) -> list[Manifest]:
        """The manifests whose subject is this digest, sorted by digest."""
        rows = self._db.rows(
            f"SELECT {_COLUMNS} FROM manifests WHERE repository = ? AND subject = ? ORDER BY digest",  # noqa: S608
            repository,
            subject,
        )
        return [Manifest(*row) for row in rows]

    # the layout -------------------------------------------------------------------------------------------------
    def close(self) -> None:
        """Writes the layout's index and closes. Raises StateCorrupt for an index that somebody broke meanwhile."""
        with self._db.lock:
            try:
                self._write_index()
            finally:
                self._db.close()

    def _complete(self) -> None:
        """What an earlier version did not note down."""
        if self._db.version != 1:
            return
        for digest in {row[0] for row in self._db.rows("SELECT digest FROM blobs")}:
            self._db.do("UPDATE blobs SET size = ? WHERE digest = ?", self._length(digest), digest)
        for digest, media in set(self._db.rows("SELECT digest, media FROM manifests")):
            path = self.path(digest)
            data = path.read_bytes() if path.is_file() else b""
            try:
                parsed = parse(data, str(media), digest)
                named, children = parsed.mentioned, {child.digest for child in parsed.children}
            except InvalidError:
                named, children = mentions(data), set()
            rows = [(digest, one, int(one in children)) for one in named]
            self._db.do_many("INSERT OR REPLACE INTO mentions VALUES (?, ?, ?)", rows)

    def _noted(self, name: str) -> list[layouts.Item]:
        rows = self._db.rows("SELECT value FROM layout WHERE name = ?", name)
        return list(json.loads(rows[0][0])) if rows else []

    def _note(self, name: str, items: Sequence[layouts.Item]) -> None:
        self._db.do("INSERT OR REPLACE INTO layout VALUES (?, ?)", name, json.dumps(items))

    def _take_in(self, items: Sequence[layouts.Item], before: int) -> None:
        """What somebody else wrote into the layout: its manifests become repositories named by their ref names."""
        new = layouts.added(items, self._noted("written"))
        if not new:
            return
        old = before == 1  # then nothing says which items are new, and some may be older than what we have
        found = layouts.read_items(self.folder, new, lenient=old)
        with self._db.changing():
            for entry in found.entries:
                for blob in entry.parsed.blobs:
                    if self._length(blob.digest) == blob.size:
                        self._link(entry.repository, blob.digest, blob.size)
                keep = old and self.manifest(entry.repository, entry.tag) is not None
                self._add_manifest(entry.repository, entry.parsed, [entry.tag] if entry.tag and not keep else [])
            self._note("written", items)
            self._note("others", [*self._noted("others"), *found.others])

    def _write_index(self) -> None:
        """What others wrote meanwhile stays and is taken in at the next start."""
        rows = self._db.rows(
            "SELECT m.repository, t.tag, m.media, m.digest, m.size FROM manifests m LEFT JOIN tags t"
            " ON t.repository = m.repository AND t.digest = m.digest ORDER BY 1, 2, 4"
        )
        below = {row[0] for row in self._db.rows("SELECT digest FROM mentions WHERE child = 1")}
        index, written = layouts.read_index(self.folder), self._noted("written")
        known = {layouts.key_of(item): item for item in (*written, *index["manifests"])}
        others = [item for item in self._noted("others") if self._is_there(item)]
        twice = {str(item.get("digest")) for item in others}
        items = []
        for repository, tag, media, digest, size in rows:
            item = known.get((repository, tag or "", digest))
            if item is None and not tag and (digest in below or digest in twice):
                continue  # it is found through what lists it
            items.append(item or layouts.item_of(repository, tag or "", media, digest, size))
        items += others
        ours = {layouts.same(item) for item in items}
        new = [item for item in layouts.added(index["manifests"], written) if layouts.same(item) not in ours]
        value = {**index, "schemaVersion": 2, "mediaType": INDEX, "manifests": items + new}
        write_atomic(self.folder / "index.json", json.dumps(value, indent=1).encode() + b"\n")
        self._note("written", items)

    def _is_there(self, item: layouts.Item) -> bool:
        """Whether the bytes of an item of others are there, as far as we could have deleted them."""
        digest = item.get("digest")
        return not isinstance(digest, str) or not is_digest(digest) or self.path(digest).is_file()


_UNUSED = (
    "NOT EXISTS (SELECT 1 FROM mentions JOIN manifests ON manifests.digest = mentions.manifest"
    " WHERE mentions.digest = blobs.digest AND manifests.repository = blobs.repository)"
)
