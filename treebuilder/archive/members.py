"""Headers of a tar that `tarfile` reads, within bounds: what they hold is in memory, and what they cost is ours to pay.

pax records and maps of holes are read here, for `tarfile` takes any number of them, and time that grows with the square
of their length. Sources: POSIX.1-2017 pax, "pax Header Block"; GNU tar's manual, "Storing Sparse Files".
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from treebuilder.annotations import TYPE_CHECKING, Any, cast
from treebuilder.archive import headers
from treebuilder.errors import UnsafeArchive

if TYPE_CHECKING:
    import tarfile

_EXTENSIONS = (b"x", b"g", b"X", b"L", b"K")
_GLOBAL = b"g"
_MOST_HEADER_BYTES = 4 << 20
_MOST_RECORDS = 4096  # of one header
_MOST_GLOBAL = 64  # records for all members, each of which has a copy of them
_MOST_NESTED = 8  # headers about headers
_MOST_SEGMENTS = 1 << 18  # parts of a file between holes
_MOST_DIGITS = 20
MOST_BYTES = 1 << 62
_BLOCK = 512


def _broken(why: str) -> Exception:
    import tarfile

    return tarfile.ReadError(why)


def records(data: bytes) -> list[tuple[str, str]]:
    """The records of a pax header, in their order. Raises TarError for what is none."""
    found = []
    at = 0
    while at < len(data) and data[at]:  # some pad with zeros
        space = data.find(b" ", at, at + _MOST_DIGITS)
        digits = data[at : max(space, at)]
        end = at + int(digits) if digits.isdigit() else 0
        key, equals, value = data[space + 1 : max(end - 1, space + 1)].partition(b"=")
        if not key or not equals or end > len(data) or data[end - 1 : end] != b"\n":
            raise _broken("a pax record is broken")
        found.append((key.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape")))
        if len(found) > _MOST_RECORDS:
            raise _broken(f"more than {_MOST_RECORDS} pax records")
        at = end
    return found


def check_map(segments: list[tuple[int, int]], size: int) -> int:
    """How many bytes are in an archive of a file of `size` with holes. Raises TarError for what cannot be."""
    last = kept = 0
    for offset, length in segments:
        if not length:  # a place in the header that is not used
            continue
        if offset < last or length < 0:
            raise _broken("the parts of a file with holes overlap")
        last = offset + length
        kept += length
    if last > size:
        raise _broken("the parts of a file with holes lie behind its end")
    return kept


@functools.cache
def archive_class() -> type[tarfile.TarFile]:
    """The reader. `tarfile` is imported only where something is unpacked."""
    import tarfile

    class Member(tarfile.TarInfo):
        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Member:
            made = cls()
            return made if headers.read(made, bytes(buf), encoding, errors) else super().frombuf(buf, encoding, errors)

        @classmethod
        def fromtarfile(cls, tar: Any) -> Member:  # noqa: ANN401 - a TarFile, with parts that typeshed does not know
            try:
                return super().fromtarfile(tar)
            except (tarfile.TruncatedHeaderError, tarfile.InvalidHeaderError) as err:  # type: ignore[attr-defined]
                if tar.offset:  # `tarfile` would take it for the end
                    raise tarfile.ReadError(str(err)) from None
                raise

        def _proc_member(self, tar: Any) -> Any:  # noqa: ANN401 - as above
            _check_header(self, tar)
            return super()._proc_member(tar)  # type: ignore[misc]

        def _proc_sparse(self, tar: Any) -> Any:  # noqa: ANN401 - as above
            me = cast("Any", self)
            segments, more, size = me._sparse_structs
            del me._sparse_structs
            me.sparse = _gnu_map(segments, more, tar.fileobj, tarfile.nti)  # type: ignore[attr-defined]
            self.offset_data = tar.fileobj.tell()
            tar.offset = self.offset_data + me._block(self.size)
            self.size = size
            return self

        def _proc_pax(self, tar: Any) -> Any:  # noqa: ANN401 - as above
            said = _said(self, tar.fileobj)
            known = tar.pax_headers if self.type == _GLOBAL else tar.pax_headers.copy()
            known.update(said)
            if self.type == _GLOBAL and len(known) > _MOST_GLOBAL:
                raise _broken(f"more than {_MOST_GLOBAL} pax records about all members")
            try:
                following: Any = self.fromtarfile(tar)
            except tarfile.HeaderError as err:
                raise tarfile.SubsequentHeaderError(str(err)) from None  # type: ignore[attr-defined]
            segments = _pax_map(said, known, tar.fileobj)
            if segments is not None:
                following.sparse = segments
                if _is_1_0(known):  # the map lies before the data
                    following.offset_data = tar.fileobj.tell()
            if self.type != _GLOBAL:
                following._apply_pax_info(known, tar.encoding, tar.errors)
                following.offset = self.offset
                if "size" in known:
                    has_data = following.isreg() or following.type not in tarfile.SUPPORTED_TYPES
                    tar.offset = following.offset_data + (following._block(following.size) if has_data else 0)
            return following

    class Archive(tarfile.TarFile):
        tarinfo = Member
        nested = 0  # headers about the member that comes

    return Archive


def _check_header(member: tarfile.TarInfo, tar: Any) -> None:  # noqa: ANN401 - a TarFile, which counts for us
    """Raises ValueError, TarError, UnsafeArchive."""
    if not 0 <= member.size <= MOST_BYTES:
        raise ValueError(f"{member.size} bytes")
    if member.type not in _EXTENSIONS:
        tar.nested = 0
        return
    if member.size > _MOST_HEADER_BYTES:
        raise UnsafeArchive(f"{tar.fileobj.what} holds a header of {member.size} bytes")
    tar.nested += 1
    if tar.nested > _MOST_NESTED:
        raise _broken(f"more than {_MOST_NESTED} headers about one member")


def _said(member: tarfile.TarInfo, file: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - tarfile's
    data = file.read(-(-member.size // _BLOCK) * _BLOCK)[: member.size]
    if len(data) < member.size:
        raise EOFError
    return records(data)


def _gnu_map(
    segments: list[tuple[int, int]], more: bool, file: Any, number: Callable[[bytes], int]  # noqa: ANN401 - tarfile's
) -> list[tuple[int, int]]:  # fmt: skip
    """GNU's own format: blocks of 21 parts each follow the header."""
    while more:
        block = file.read(_BLOCK)
        if len(block) < _BLOCK:
            raise EOFError
        for at in range(0, 504, 24):
            offset, length = number(block[at : at + 12]), number(block[at + 12 : at + 24])
            if offset and length:
                segments.append((offset, length))
        more = bool(block[504])
        _check_count(len(segments))
    return segments


def _is_1_0(known: dict[str, str]) -> bool:
    return known.get("GNU.sparse.major") == "1" and known.get("GNU.sparse.minor") == "0"


def _pax_map(said: list[tuple[str, str]], known: dict[str, str], file: Any) -> list[tuple[int, int]] | None:  # noqa: ANN401
    """The parts of a file with holes, by any version of GNU's format in pax headers; None for a file without."""
    if "GNU.sparse.map" in known:
        _check_count(known["GNU.sparse.map"].count(",") // 2)
        numbers = [int(number) for number in known["GNU.sparse.map"].split(",")]
        return list(zip(numbers[::2], numbers[1::2], strict=False))
    if "GNU.sparse.size" in known:
        offsets, lengths = (
            [int(value) for key, value in said if key == f"GNU.sparse.{name}"] for name in ("offset", "numbytes")
        )
        return list(zip(offsets, lengths, strict=False))
    return _map_1_0(file) if _is_1_0(known) else None


def _map_1_0(file: Any) -> list[tuple[int, int]]:  # noqa: ANN401 - tarfile's
    held = b""

    def number() -> int:
        nonlocal held
        while b"\n" not in held:
            block = file.read(_BLOCK)
            if len(block) < _BLOCK or len(held) > _MOST_DIGITS:
                raise EOFError
            held += block
        text, _, held = held.partition(b"\n")
        return int(text[: _MOST_DIGITS + 1])

    count = number()
    _check_count(count)
    return [(number(), number()) for _ in range(count)]


def _check_count(segments: int) -> None:
    if segments > _MOST_SEGMENTS:
        raise _broken(f"a file with more than {_MOST_SEGMENTS} holes")
