"""Archives that expand further than anybody means: refused while they are read, with nothing left behind."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.trees import Project, requires
from tests.unit.repository_parts import EPOCH, Workshop
from tests.unit.system_parts import System
from treebuilder.archive.bounds import Bound
from treebuilder.archive.compress import compressor, decompressed
from treebuilder.archive.entry import Entry
from treebuilder.archive.reading import entries
from treebuilder.archive.tar import write_entries
from treebuilder.cli.main import main
from treebuilder.errors import UnsafeArchive
from treebuilder.model.digest import Digest
from treebuilder.oci.layout import unpack_into_store
from treebuilder.oci.store import Store

SMALL = Bound(times=10, free_bytes=1 << 20)
MANY = 400 << 20  # of zeros, more than the 256 MiB that need no reason


class Zeros(io.RawIOBase):
    def __init__(self, size: int) -> None:
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), self._left)
        self._left -= size
        buffer[:size] = bytes(size)
        return size


def bomb(compression: str = "zstd", size: int = MANY) -> bytes:
    """A layer of one file of zeros."""
    out = io.BytesIO()
    packer = compressor(compression, out)
    entry = Entry("zeros", "f", 0o644, 0, 0, size, EPOCH)
    write_entries([entry], packer, lambda _: io.BufferedReader(Zeros(size), 1 << 20))
    packer.close()
    return out.getvalue()


def read(data: bytes, bound: Bound) -> int:
    reader, size = decompressed(io.BytesIO(data), bound, "it"), 0
    while found := reader.read(1 << 16):
        size += len(found)
    return size


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_stream_is_bounded_while_it_is_read(compression: str) -> None:
    data = bomb(compression, 64 << 20)
    source = io.BytesIO(data)
    with pytest.raises(UnsafeArchive) as caught:
        reader = decompressed(source, SMALL, "the layer x")
        size = 0
        while found := reader.read(1 << 16):
            size += len(found)
    assert caught.value.reason == "expands-too-far"
    assert caught.value.message.startswith("the layer x unpacks to more than 10 times its size")
    assert "--max-expansion" in str(caught.value.hint)
    assert size <= SMALL.most(len(data))


def test_what_is_allowed_passes() -> None:
    data = bomb("zstd", 8 << 20)
    plain = read(data, Bound())
    assert plain == read(data, SMALL.promised(plain))
    assert plain == read(data, Bound(times=plain // len(data) + 1, free_bytes=0))
    with pytest.raises(UnsafeArchive):
        read(data, SMALL.promised(plain - 1))
    noise = gzip.compress(os.urandom(4 << 20), 1)
    assert read(noise, Bound(times=2, free_bytes=0)) == 4 << 20
    assert read(b"plain, not compressed", Bound(times=0, free_bytes=0)) == 21


def sparse_file(size: int) -> bytes:
    """A tar of a file of one hole, as `tar -S` describes it."""
    info = tarfile.TarInfo("hole")
    info.size = 512
    info.pax_headers = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "hole", "GNU.sparse.realsize": str(size),
    }  # fmt: skip
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(b"0\n".ljust(512, b"\0")))
    return out.getvalue()


def test_holes_that_are_only_described_count_too() -> None:
    assert [(e.path, e.size) for e, _ in entries(io.BytesIO(sparse_file(1 << 20)), "it")] == [("hole", 1 << 20)]
    with pytest.raises(UnsafeArchive) as caught:
        list(entries(io.BytesIO(sparse_file(1 << 40)), "it"))
    assert caught.value.reason == "expands-too-far"


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_header_is_not_as_long_as_it_likes(kind: bytes) -> None:
    info = tarfile.TarInfo("long")
    info.type, info.size = kind, 1 << 33
    with pytest.raises(UnsafeArchive) as caught:
        list(entries(io.BytesIO(info.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)), "it"))
    assert "header" in caught.value.message


@pytest.mark.engine
def test_the_store_keeps_nothing_of_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "cache", bound=SMALL)
    with pytest.raises(UnsafeArchive):
        unpack_into_store(io.BytesIO(bomb(size=64 << 20)), store, "a layer")
    assert not list((tmp_path / "cache/trees/host/sha256").iterdir())
    assert not list((tmp_path / "cache/tmp").glob("*/*"))
    content = unpack_into_store(io.BytesIO(bomb(size=64 << 20)), store, "a layer", Bound(100_000))
    assert (store.tree_path(content) / "zeros").stat().st_size == 64 << 20
    store.close()


def image_file(path: Path, layer: bytes) -> None:
    """What `docker save` writes."""
    manifest = json.dumps([{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["layer.tar"]}]).encode()
    files = {"c.json": b"{}", "layer.tar": layer, "manifest.json": manifest}
    members = [Entry(name, "f", 0o644, 0, 0, len(data), 0) for name, data in files.items()]
    with path.open("wb") as out:
        write_entries(members, out, lambda entry: io.BytesIO(files[entry.path]), whiteouts=False)


@pytest.mark.engine
def test_util_unpack_refuses_and_can_be_told_otherwise(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    image_file(tmp_path / "image.tar", bomb())
    words = [
        "util",
        "unpack",
        f"file://{tmp_path}/image.tar",
        str(tmp_path / "out"),
        "--cache-dir",
        f"{tmp_path}/cache",
    ]
    assert main(words) != 0
    said = capfd.readouterr().err
    assert said.count("unpacks to more than 100 times its size") == 1
    assert not (tmp_path / "out").exists()
    config = tmp_path / "config.yaml"
    config.write_text("general: {max_expansion: 1000000}\n")
    assert main([*words, "--config", str(config)]) == 0
    assert (tmp_path / "out/zeros").stat().st_size == MANY
    assert main([*words[:3], str(tmp_path / "again"), *words[4:], "--max-expansion", "1000000"]) == 0
    config.write_text("general: {max_expansion: lots}\n")
    assert main([*words, "--config", str(config)]) != 0
    assert "max_expansion" in capfd.readouterr().err


# packages -------------------------------------------------------------------------------------------------------------
def pack(shop: Workshop, data: bytes, promise: str = "") -> None:
    shop.package("t/x", {"zeros": b""})
    file, metadata = shop.build / "x-t-1.0.package.tar.zst", shop.build / "x-t-1.0.metadata.yaml"
    text = metadata.read_text().replace(Digest.of(file.read_bytes()).hex, Digest.of(data).hex)
    metadata.write_text(f'{text}    unpacked_bytes: "{promise}"\n' if promise else text)
    assert text.splitlines()[-1].startswith("    ")  # the block of our own keys is the last
    file.write_bytes(data)


@pytest.mark.engine
@pytest.mark.parametrize("used", [False, True])
def test_a_package_that_expands_too_far_leaves_the_root_as_it_was(shop: Workshop, used: bool) -> None:
    system = System(shop, shop.top / "root")
    if used:
        (shop.top / "root/file").write_text("mine")
    pack(shop, bomb())
    with pytest.raises(UnsafeArchive) as caught:
        system.install("t/x")
    assert caught.value.reason == "expands-too-far"
    assert os.listdir(shop.top / "root") == (["file"] if used else [])


@pytest.mark.engine
def test_a_package_with_holes_says_so(shop: Workshop) -> None:
    data = bomb()
    pack(shop, data, str(read(data, Bound(1_000_000))))
    System(shop, shop.top / "root").install("t/x")
    found = (shop.top / "root/zeros").stat()
    assert (found.st_size, found.st_blocks * 512 < 1 << 20) == (MANY, True)


@pytest.mark.engine
def test_our_own_holes_pass_through_cache_and_repository(tmp_path: Path) -> None:
    projects = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        projects.append(project := Project(tmp_path / name))
        project.base()
        project.package("t/disk", requires("seed/base") + f"steps:\n- truncate -s {MANY} /disk\n- echo 1 >> /disk\n")
        project.package("t/on", requires("t/disk") + "steps:\n- ls -l /disk > /said\n")
    one, two = projects
    shared = str(tmp_path / "shared")
    words = ["build", "--tree", "packages", "--destination", "build"]
    assert one.run(*words, "--cache-to", shared, "t/disk").code == 0
    found = two.run(*words, "--cache-from", shared, "t/on")
    assert found.code == 0, found.stderr
    states = {node["name"]: node["state"] for node in found.value["nodes"]}
    assert (states["disk"], states["on"]) == ("pulled", "built")
    assert "unpacked_bytes" in (one.build / "disk-t-1.0.metadata.yaml").read_text()
    assert "unpacked_bytes" not in (two.build / "on-t-1.0.metadata.yaml").read_text()
    assert one.run("create-repo", "--tree", "packages", "--packages", "build", "--output", "repo").code == 0
    config = tmp_path / "config.yaml"
    config.write_text(
        f"repositories: [{{name: here, type: disk, enable: true, urls: [{one.top}/repo], trust: none}}]\n"
        f"system: {{rootfs: {tmp_path}/root}}\n"
    )
    (tmp_path / "root").mkdir()
    installed = one.run("install", "--config", str(config), "t/disk")
    assert installed.code == 0, installed.stderr
    found_file = (tmp_path / "root/disk").stat()
    assert (found_file.st_size, found_file.st_blocks * 512 < 4 << 20) == (MANY + 2, True)
