"""Laws of archives: writing and reading are inverse, sizes are foretold, the fast header is the slow one."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from treebuilder.archive import tar
from treebuilder.archive.compress import compressor, decompressed
from treebuilder.archive.entry import Entry, scan
from treebuilder.archive.extract import set_opaque, unpack_layer
from treebuilder.archive.reading import entries
from treebuilder.oci.seal import measure

names = st.one_of(
    st.text("abc-_. ~$é☃\n", min_size=1, max_size=8).map(os.fsencode),
    st.binary(min_size=1, max_size=12),
    st.sampled_from([b"n" * 255, b"n" * 99, b"n" * 100, b"n" * 101, b"\xff\xfe", b"..."]),
).filter(lambda raw: raw not in (b".", b"..") and b"/" not in raw and b"\0" not in raw and not raw.startswith(b".wh."))
name = names.map(os.fsdecode)
modes = st.integers(0, 0o7777)
ids = st.sampled_from([0, 1, 1000, 65534, (1 << 21) - 1, 1 << 21, 3_000_000_000])
times = st.sampled_from([0, 1, 1_600_000_000, (1 << 33) - 1, -5])
xattrs = st.dictionaries(st.sampled_from(["user.a", "user.ü", "user.b.c"]), st.binary(max_size=20), max_size=2)


@st.composite
def entry(draw: st.DrawFn) -> tuple[str, Entry, bytes]:
    """A kind, the attributes of one entry, and a file's content."""
    kind = draw(st.sampled_from("fffddlpcbw"))
    path = "/".join(draw(st.lists(name, min_size=1, max_size=3)))
    data = draw(st.one_of(st.binary(max_size=600), st.just(bytes(9000)))) if kind == "f" else b""
    target = draw(st.one_of(name, st.just("x" * 150), st.just("/abs/../é"))) if kind == "l" else ""
    rdev = os.makedev(draw(st.integers(1, 4000)), draw(st.integers(0, 1 << 18))) if kind in "cb" else 0
    held = tuple(sorted(draw(xattrs).items())) if kind in "fd" else ()
    made = Entry(
        path, kind, draw(modes), draw(ids), draw(ids), len(data), draw(times), target, rdev, held,
        kind == "d" and draw(st.booleans()),
    )  # fmt: skip
    return path, made, data


def build(root: Path, items: list[tuple[str, Entry, bytes]]) -> None:
    """Lays entries down with plain system calls; what cannot be laid over another is passed over."""
    for path, item, data in items:
        full = os.fspath(root / path)
        if len(os.fsencode(path)) > 3000 or os.path.lexists(full):
            continue
        try:
            os.makedirs(os.path.dirname(full), exist_ok=True)
        except (FileExistsError, FileNotFoundError, NotADirectoryError):  # a file, or a link to nowhere
            continue
        match item.kind:
            case "f":
                Path(full).write_bytes(data)
            case "d":
                os.mkdir(full)
            case "l":
                os.symlink(item.link, full)
            case "p":
                os.mkfifo(full)
            case "w":
                os.mknod(full, stat.S_IFCHR, 0)
                continue
            case kind:
                os.mknod(full, stat.S_IFCHR if kind == "c" else stat.S_IFBLK, item.rdev)
        os.chown(full, item.uid, item.gid, follow_symlinks=False)
        if item.kind != "l":
            os.chmod(full, item.mode)
        for key, value in item.xattrs:
            os.setxattr(full, key, value)
        if item.opaque:
            set_opaque(full)
        if item.kind == "f" and len(data) % 2:
            os.link(full, os.fspath(root / f"link-{len(os.listdir(root))}"))
        os.utime(full, (item.mtime, item.mtime), follow_symlinks=False)


@pytest.mark.engine
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(entry(), max_size=10))
def test_unpacking_what_was_written_gives_the_folder_again(items: list[tuple[str, Entry, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one, two = Path(folder) / "one", Path(folder) / "two"
        one.mkdir()
        two.mkdir()
        build(one, items)
        written = io.BytesIO()
        tar.write_folder(str(one), written)
        assert tar.size_bytes(scan(str(one))) == len(written.getvalue())
        written.seek(0)
        unpack_layer(written, str(two), "law")
        assert list(scan(str(two))) == list(scan(str(one)))
        assert measure(str(two)) == measure(str(one))


@settings(max_examples=150, deadline=None)
@given(entry())
def test_the_fast_header_is_tarfiles(item: tuple[str, Entry, bytes]) -> None:
    made = item[1]
    if made.kind == "w":
        made = made._replace(kind="f")
    fast = tar._plain_header(made)
    if fast is not None:
        assert fast == tar._pax_header(made)


@settings(max_examples=100, deadline=None)
@given(entry())
def test_a_header_reads_as_its_entry(item: tuple[str, Entry, bytes]) -> None:
    made, data = item[1]._replace(opaque=False), item[2]
    if made.kind == "w":
        made = made._replace(kind="p")
    stream = io.BytesIO(tar.header(made) + data + bytes(-len(data) % 512 + 1024))
    assert [found for found, _ in entries(stream, "law")] == [made]
    stream.seek(0)
    with tarfile.open(fileobj=stream, errors="surrogateescape", encoding="utf-8") as other:
        assert [member.name for member in other] == [made.path]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=3000), max_size=6), st.sampled_from(["none", "gzip", "zstd"]), st.integers(1, 5000))
def test_compression_is_transport_only(chunks: list[bytes], kind: str, step: int) -> None:
    data = b"".join(chunks)

    def packed(parts: list[bytes]) -> bytes:
        out = io.BytesIO()
        packer = compressor(kind, out)
        for part in parts:
            packer.write(part)
        packer.close()
        return out.getvalue()

    whole = packed(chunks)
    assert packed(chunks) == whole
    if kind != "none" or not data.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
        reader = decompressed(io.BytesIO(whole))
        read = b"".join(iter(lambda: reader.read(step), b""))
        assert read == data
