"""A tar stream, entry by entry: names cleaned, numbers possible, nothing in memory that can be long.

`tarfile` reads what is unusual; plain headers are read by `headers`, and what a member holds goes from the stream to
who asked for it, for a system of gigabytes passes here.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator

from treebuilder.annotations import IO, TYPE_CHECKING, Any, cast
from treebuilder.archive.bounds import USUAL_BOUND, Bound
from treebuilder.archive.entry import Entry
from treebuilder.archive.members import MOST_BYTES, archive_class, check_map
from treebuilder.errors import IntegrityError, UnsafeArchive

if TYPE_CHECKING:
    import tarfile

_KINDS = {  # by the type byte of a header
    b"0": "f", b"\0": "f", b"S": "f", b"7": "f", b"5": "d", b"2": "l", b"1": "h", b"3": "c", b"4": "b", b"6": "p",
}  # fmt: skip
_XATTR = "SCHILY.xattr."
_IDS = (1 << 32) - 1  # -1 as an id means "leave it" to chown
_YEARS = 1 << 36  # about two thousand years, far inside what file systems and time_t can say
_PASSED = 1 << 16


def clean_path(name: str, what: str) -> str:
    """A name as a relative path without `.`; raises UnsafeArchive for `..`, absolute and NUL names."""
    if name.startswith("/"):
        raise UnsafeArchive(f"{what} holds the absolute name {name!r}")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise UnsafeArchive(f"{what} holds the name {name!r}, which leads out of its root")
    return "/".join(parts)


def entries(stream: IO[bytes], what: str, bound: Bound = USUAL_BOUND) -> Iterator[tuple[Entry, IO[bytes] | None]]:
    """Reads a tar stream (already decompressed) entry by entry, names cleaned. `what` names it in errors.

    Holes that a tar only describes count against the `bound`, too. Raises IntegrityError, UnsafeArchive.
    """
    import tarfile

    reader = _members(stream, what, bound)
    while True:
        try:
            info, content = next(reader)
            entry = _entry(info, what)
        except StopIteration:
            return
        except tarfile.TarError as err:
            raise IntegrityError(f"{what} is no readable tar archive: {err}") from err
        except EOFError as err:
            raise IntegrityError(f"{what} ends too early") from err
        except (ValueError, OverflowError) as err:
            raise IntegrityError(f"{what} holds an impossible number: {err}") from err
        if entry is not None:
            yield entry, content


def _members(stream: IO[bytes], what: str, bound: Bound) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:
    holes = 0
    forward = _Forward(stream, what)
    with archive_class()(fileobj=cast("IO[bytes]", forward), encoding="utf-8", errors="surrogateescape") as tar:
        while (info := tar.next()) is not None:
            cast("Any", tar).members.clear()  # it would keep them all
            if _KINDS.get(info.type) != "f":
                yield info, None
            elif info.sparse is None:
                yield info, cast("IO[bytes]", _Content(forward, info.size, what))
            else:
                kept = cast("list[tuple[int, int]]", info.sparse)
                holes += info.size - check_map(kept, info.size)
                bound.check(holes, forward.tell(), what)
                yield info, cast("IO[bytes]", _Sparse(cast("IO[bytes]", tar.extractfile(info)), what))
    while forward.read(_PASSED):  # a compressed stream says in its end whether it is whole
        pass


class _Forward:
    """A stream as the file that `tarfile` asks for; it only ever goes on."""

    def __init__(self, stream: IO[bytes], what: str) -> None:
        self.what = what
        self._stream: Any = stream
        self._at = 0

    def tell(self) -> int:
        return self._at

    def seek(self, to: int) -> None:
        if to < self._at:
            from tarfile import StreamError

            raise StreamError("what comes next is said to be before it")
        while self._at < to:
            if not self.read(min(to - self._at, _PASSED)):
                return  # the read that follows tells of it

    def read(self, size: int) -> bytes:
        data: bytes = self._stream.read(size)
        self._at += len(data)
        while 0 < len(data) < size:  # no end: a stream without a buffer gives what it has
            more = self._stream.read(size - len(data))
            if not more:
                break
            self._at += len(more)
            data += more
        return data

    def readinto(self, view: memoryview) -> int:
        done = 0
        while done < len(view):
            size = self._stream.readinto(view[done:])
            if not size:
                break
            done += size
        self._at += done
        return done


class _Content(io.RawIOBase):
    """What a member holds, until the next is asked for; an archive that ends in it is an error of ours."""

    def __init__(self, forward: _Forward, size: int, what: str) -> None:
        self._forward, self._left, self._what = forward, max(0, size), what
        self._at = forward.tell()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - a writable buffer has no name in typing here
        assert self._forward.tell() == self._at, "another member is being read"
        wanted = min(len(buffer), self._left)
        with memoryview(buffer) as view, view[:wanted] as part:
            size = self._forward.readinto(part)
        if size < wanted:
            raise IntegrityError(f"{self._what} ends too early: unexpected end of data")
        self._left -= size
        self._at += size
        return size


class _Sparse(io.RawIOBase):
    """A member of which only a part is in the archive; an archive that ends in it is an error of ours."""

    def __init__(self, content: IO[bytes], what: str) -> None:
        self._content, self._what = content, what

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - as above
        import tarfile

        try:
            data = self._content.read(len(buffer))
        except tarfile.TarError as err:
            raise IntegrityError(f"{self._what} ends too early: {err}") from err
        buffer[: len(data)] = data
        return len(data)


def _entry(info: tarfile.TarInfo, what: str) -> Entry | None:
    """A member as an entry; None for what we do not unpack. ValueError, OverflowError for impossible numbers."""
    kind = _KINDS.get(info.type)
    path = clean_path(info.name, what)
    if kind is None or not path:
        return None
    xattrs = tuple(sorted(
        (key.removeprefix(_XATTR), value.encode("utf-8", "surrogateescape"))
        for key, value in info.pax_headers.items() if key.startswith(_XATTR)
    ))  # fmt: skip
    link = clean_path(info.linkname.lstrip("/"), what) if kind == "h" else info.linkname
    if (kind == "h" and not link) or "\0" in link:
        raise UnsafeArchive(f"{what} holds {path!r}, a link to {info.linkname!r}")
    rdev = os.makedev(info.devmajor, info.devminor) if kind in "cb" else 0
    if not (0 <= info.uid < _IDS and 0 <= info.gid < _IDS):
        raise ValueError(f"{path} belongs to {info.uid}:{info.gid}")
    if not 0 <= info.size <= MOST_BYTES:
        raise ValueError(f"{path} has {info.size} bytes")
    if any(not key or "\0" in key for key, _ in xattrs):
        raise ValueError(f"{path} has an attribute without a name that can be")
    mtime = int(info.mtime)
    if not -_YEARS <= mtime <= _YEARS:
        raise ValueError(f"{path} is of the time {mtime}")
    size = info.size if kind == "f" else 0
    return Entry(path, kind, info.mode & 0o7777, info.uid, info.gid, size, mtime, link, rdev, xattrs)
