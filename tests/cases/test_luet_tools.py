"""`util` and `box`, as luet's users call them."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.services import need
from tests.trees import APPLETS, write_layout
from treebuilder.app import client_images
from treebuilder.archive.tar import write_entries
from treebuilder.cli.main import main
from treebuilder.oci.platform import Platform
from treebuilder.serve.exchange import Exchange
from treebuilder.serve.server import Listening, serving
from treebuilder.system.files import remove_unfinished

pytestmark = pytest.mark.engine


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    (made / "bin").mkdir(parents=True)
    (made / "bin/busybox").write_bytes(Path("/bin/busybox").read_bytes())
    (made / "bin/busybox").chmod(0o755)
    for name in APPLETS:
        (made / "bin" / name).symlink_to("busybox")
    return made


def test_a_command_in_a_root(root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shared").mkdir()
    script = "id -u; echo $K; echo there > /mnt/file; echo x > /x; chown 5:6 /x; exit 3"
    words = ["--rootfs", str(root), "-e", "PATH=/bin", "--env", "K=v", "-m", f"{tmp_path}/shared:/mnt"]
    assert main(["luet", "box", "exec", *words, "--", "-c", script]) == 3
    assert capfd.readouterr().out == "0\nv\n"
    assert (tmp_path / "shared/file").read_text() == "there\n"
    assert ((root / "x").stat().st_uid, (root / "x").stat().st_gid) == (5, 6)
    packed = [base64.b64encode(word.encode()).decode() for word in ("-c", "cat /proc/net/dev")]
    assert main(["luet", "exec", *words[:4], "--decode", *packed]) == 0  # hidden, and the same
    lines = [line.split(":")[0].strip() for line in capfd.readouterr().out.splitlines() if ":" in line]
    assert lines == ["lo"]


def test_a_command_reads_what_we_are_given(root: Path) -> None:
    words = ["box", "exec", "--rootfs", str(root), "-e", "PATH=/bin", "--", "-c", "cat; echo end"]
    for more in ([], ["luet"]):
        line = [sys.executable, "-m", "treebuilder", *more, *words]
        for given in (b"", b"some\n" * 50_000):
            done = subprocess.run(line, input=given, capture_output=True, timeout=60, check=True)
            assert done.stdout == given + b"end\n"


@pytest.mark.parametrize(
    "words", [["--rootfs", "none"], ["--env", "novalue"], ["-m", "/no/such/place"], ["--decode", "--", "!"]]
)
def test_what_a_box_refuses(root: Path, words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["box", "exec", "--json", "--rootfs", str(root), *words]) == 1
    assert json.loads(capfd.readouterr().out)["error"]["reason"] == "configuration"


def test_an_image_is_packed_and_unpacked(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TREEBUILD_CACHE", str(tmp_path / "cache"))
    os.link(root / "bin/busybox", root / "bin/hard")
    with tarfile.open("files.tar", "w") as tar:
        tar.add(root, ".")
    assert main(["util", "pack", "mine:1.0", "files.tar", "image.tar", "--arch", "arm64"]) == 0
    with tarfile.open("image.tar") as tar:
        (described,) = json.load(tar.extractfile("manifest.json") or pytest.fail("there is no manifest"))
        config = json.load(tar.extractfile(described["Config"]) or pytest.fail("there is no configuration"))
    assert described["RepoTags"] == ["mine:1.0"]
    assert (config["architecture"], config["os"]) == ("arm64", "linux")
    assert main(["util", "unpack", f"file://{tmp_path}/image.tar", "out"]) == 0
    assert (tmp_path / "out/bin/busybox").stat().st_nlink == 2
    assert os.readlink(tmp_path / "out/bin/sh") == "busybox"
    write_layout(tmp_path / "layout", {"etc/x": b"x"})
    assert main(["util", "unpack", "oci:layout", "second"]) == 0
    assert (tmp_path / "second/etc/x").read_bytes() == b"x"


def test_an_image_that_is_being_packed_is_not_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who writes into the same folder removes there what killed runs left."""
    being_written: list[int] = []

    def swept(*args: Any, **more: Any) -> None:
        remove_unfinished(tmp_path)
        write_entries(*args, **more)
        remove_unfinished(tmp_path)
        being_written.append(sum(path.name.startswith(".") for path in tmp_path.iterdir()))

    monkeypatch.setattr(client_images, "write_entries", swept)
    with tarfile.open(tmp_path / "files.tar", "w") as tar:
        tar.addfile(tarfile.TarInfo("file"))
    output = tmp_path / f"{'long' * 55}.tar"
    client_images.pack("mine:1.0", tmp_path / "files.tar", output, Platform("amd64", "linux"))
    assert being_written
    assert all(being_written)
    with tarfile.open(output) as tar:
        assert "manifest.json" in tar.getnames()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files.tar", output.name]


@pytest.mark.parametrize(
    ("words", "owner"),
    [
        (["util", "unpack", "--no-same-owner"], 0),
        (["util", "unpack", "--same-owner"], 7),
        (["util", "unpack"], 7),
        (["luet", "--same-owner=false", "util", "unpack"], 0),
        (["luet", "util", "unpack", "--same-owner"], 7),
    ],
)
def test_whose_files_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], owner: int) -> None:
    need(os.geteuid() == 0, "owners need root")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TREEBUILD_CACHE", str(tmp_path / "cache"))
    with tarfile.open("files.tar", "w") as tar:
        info = tarfile.TarInfo("file")
        info.uid = info.gid = 7
        tar.addfile(info)
    assert main(["util", "pack", "mine:1.0", "files.tar", "image.tar"]) == 0
    assert main([*words, f"file://{tmp_path}/image.tar", "out"]) == 0
    assert (tmp_path / "out/file").stat().st_uid == owner


@pytest.mark.parametrize("data", [b"", b"no tar at all" * 100, None])
def test_what_is_no_image_is_said(
    tmp_path: Path, data: bytes | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TREEBUILD_CACHE", str(tmp_path / "cache"))
    if data is not None:
        (tmp_path / "image.tar").write_bytes(data)
    assert main(["util", "unpack", f"file://{tmp_path}/image.tar", str(tmp_path / "out"), "--json"]) in (1, 2)
    assert json.loads(capsys.readouterr().out)["error"]["reason"] in ("integrity", "configuration")
    assert not (tmp_path / "out").exists()


def test_an_image_that_nobody_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["luet", "util", "image-exist", "127.0.0.1:1/none:1"]) == 1
    assert "ERROR" in capsys.readouterr().out
    assert main(["util", "image-exist", "127.0.0.1:1/none:1"]) == 2
    assert "cannot be reached" in capsys.readouterr().err


@pytest.mark.parametrize("status", [401, 403, 404])
def test_who_is_not_let_in_does_not_know_what_is_there(status: int, capsys: pytest.CaptureFixture[str]) -> None:
    class Gate:
        def answer(self, exchange: Exchange) -> None:
            exchange.bytes(status, b"{}", "application/json")

    with serving(Gate(), Listening("127.0.0.1", 0)) as address:
        assert main(["util", "image-exist", f"{address}/a/b:1"]) == (1 if status == 404 else 2)
    shown = capsys.readouterr()
    assert ("there is no such image" in shown.out) == (status == 404)
    assert (f"not allowed ({status})" in shown.err) == (status != 404)
