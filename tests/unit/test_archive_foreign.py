"""bzip2 and xz: read where a Dockerfile or a user names a tar, and never further than an archive may expand."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import random
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from tests.trees import Project, write_layout
from treebuilder.archive.bounds import Bound
from treebuilder.archive.compress import decompressed
from treebuilder.archive.foreign import NEEDS_MEMORY
from treebuilder.build.dockerfile_copy import is_archive
from treebuilder.cli.main import main
from treebuilder.errors import IntegrityError, Place, SpecError, UnsafeArchive

MANY = 320 << 20  # of zeros, more than the 256 MiB that need no reason
FOREIGN = [bz2.compress, lzma.compress]
ALL = [*FOREIGN, gzip.compress, zstandard.ZstdCompressor().compress]
Packer = Callable[[bytes], bytes]


def bomb(packer: Packer) -> bytes:
    """A tar of one file of zeros, in many streams of one kind: some KiB."""
    info = tarfile.TarInfo("zeros")
    info.size = MANY
    piece = packer(bytes(4 << 20))
    return packer(info.tobuf()) + piece * (MANY // (4 << 20)) + packer(bytes(1024))


@pytest.mark.parametrize("packer", FOREIGN)
def test_any_number_of_streams_and_pieces(packer: Packer) -> None:
    chance = random.Random(3)
    parts = [chance.randbytes(size) for size in (0, 1, 70_000, 300_000)] + [bytes(1 << 20)]
    packed = b"".join(packer(part) for part in parts)
    assert decompressed(io.BytesIO(packed), foreign=True).read() == b"".join(parts)
    padded = b"".join(packer(part) + bytes(8) for part in parts)
    assert decompressed(io.BytesIO(padded), foreign=True).read() == b"".join(parts)
    assert decompressed(io.BytesIO(packed + b"more"), foreign=True).read() == b"".join(parts)
    assert decompressed(io.BytesIO(packed)).read() == packed  # elsewhere it is no compression of ours


@pytest.mark.parametrize("packer", FOREIGN)
def test_damage_is_told(packer: Packer) -> None:
    packed = packer(random.Random(5).randbytes(100_000))
    with pytest.raises(IntegrityError, match="ends too early"):
        decompressed(io.BytesIO(packed[:-20]), foreign=True).read()
    with pytest.raises(IntegrityError, match="damaged"):
        decompressed(io.BytesIO(packed[:5000] + b"!" * 500 + packed[5500:]), foreign=True).read()


@pytest.mark.parametrize("packer", FOREIGN)
def test_what_comes_out_is_bounded_while_it_is_read(packer: Packer) -> None:
    packed, bound = packer(bytes(32 << 20)), Bound(times=10, free_bytes=1 << 20)
    reader, size = decompressed(io.BytesIO(packed), bound, "x.tar", foreign=True), 0
    with pytest.raises(UnsafeArchive) as caught:
        while found := reader.read(1 << 16):
            size += len(found)
    assert caught.value.reason == "expands-too-far"
    assert size <= bound.most(len(packed))
    enough = Bound(times=0, free_bytes=32 << 20)
    assert decompressed(io.BytesIO(packed), enough, foreign=True).read() == bytes(32 << 20)


def wants_all_memory(plain: bytes) -> bytes:
    """An xz stream whose dictionary is of 1 GiB."""
    packed = bytearray(lzma.compress(plain))
    header = packed[12 : 12 + (packed[12] + 1) * 4]
    assert header[2:4] == b"\x21\x01"  # LZMA2, one byte of properties
    header[4] = 36
    header[-4:] = zlib.crc32(header[:-4]).to_bytes(4, "little")
    packed[12 : 12 + len(header)] = header
    assert lzma.decompress(packed) == plain
    return bytes(packed)


def test_an_xz_that_wants_all_memory_is_refused() -> None:
    with pytest.raises(IntegrityError, match="needs more than 512 MiB of memory") as caught:
        decompressed(io.BytesIO(wants_all_memory(b"little")), foreign=True).read()
    assert caught.value.reason == NEEDS_MEMORY


def test_an_archive_that_wants_all_memory_is_not_taken_for_none(tmp_path: Path) -> None:
    """ADD would copy it as it is."""
    line = Place("app/Dockerfile", 3)
    path = tmp_path / "a.tar.xz"
    plain = tarfile.TarInfo("file").tobuf() + bytes(1024)
    path.write_bytes(wants_all_memory(plain))
    with pytest.raises(SpecError, match=r"a\.tar\.xz cannot be unpacked: .* 512 MiB of memory") as caught:
        is_archive(path, line)
    assert (caught.value.where, caught.value.reason) == (line, "dockerfile")
    assert caught.value.hint
    for data, known in ((lzma.compress(plain), True), (lzma.compress(b"no tar"), False), (b"\xfd7zXZ\0damage", False)):
        path.write_bytes(data)
        assert is_archive(path, line) is known


@pytest.mark.engine
@pytest.mark.parametrize("packer", ALL)
def test_add_refuses_a_bomb_and_can_be_told_otherwise(tmp_path: Path, packer: Packer) -> None:
    project = Project(tmp_path)
    app = project.tree / "app"
    write_layout(app / "busybox")
    (app / ".dockerignore").write_text("busybox\n")
    (app / "Dockerfile").write_text("FROM oci:busybox\nENV A=b\nADD bomb /opt/\n")
    (app / "bomb").write_bytes(bomb(packer))
    assert (app / "bomb").stat().st_size < 1 << 20
    words = ["build", "--tree", "packages", "--dockerfiles", "--all", "--destination", "build"]
    found = project.run(*words)
    assert found.code == 2
    assert "bomb unpacks to more than 100 times its size" in found.stderr
    assert "Dockerfile:3" in found.stderr
    assert not list(project.build.glob("*.package.*"))
    assert not [path for path in (tmp_path / "cache/tmp").rglob("*") if path.name == "zeros"]
    if packer is not lzma.compress:
        return  # allowing it costs time, and goes the same way
    again = project.run(*words, "--max-expansion", "1000000")
    assert again.code == 0, again.stderr
    assert project.content("app--")["opt/zeros"].size == MANY


@pytest.mark.parametrize("packer", [lzma.compress, gzip.compress])
def test_util_pack_refuses_a_bomb_and_can_be_told_otherwise(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], packer: Packer
) -> None:
    (tmp_path / "bomb").write_bytes(bomb(packer))
    words = ["util", "pack", "mine:1", f"{tmp_path}/bomb", f"{tmp_path}/image.tar"]
    assert main(words) == 2
    assert "bomb unpacks to more than 100 times its size" in capfd.readouterr().err
    assert os.listdir(tmp_path) == ["bomb"]
    config = tmp_path / "config.yaml"
    config.write_text("general: {max_expansion: 1000000}\n")
    for flags in (["--config", str(config)], ["--max-expansion", "1000000"]):
        assert main([*words, *flags]) == 0
        with tarfile.open(tmp_path / "image.tar") as image:
            manifest = image.extractfile("manifest.json")
            assert manifest is not None
            (layer,) = json.loads(manifest.read())[0]["Layers"]
            assert image.getmember(layer).size == 512 + MANY + 1024
        (tmp_path / "image.tar").unlink()
