"""Bringing a container's changes home: linked on one file system, copied to another, nothing lost."""

from __future__ import annotations

import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import services
from treebuilder.archive.entry import scan
from treebuilder.archive.extract import set_opaque
from treebuilder.engine.docker_upper import copy_upper, keep_hostname, unpack_saved
from treebuilder.errors import IntegrityError

pytestmark = pytest.mark.engine  # owners and devices need root


@pytest.fixture(params=["one file system", "another file system"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    if request.param == "one file system":
        yield tmp_path / "target"
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        services.need(os.stat(folder).st_dev != os.stat(tmp_path).st_dev, "/dev/shm is on the same file system")
        yield Path(folder) / "target"


def fill(folder: Path) -> None:
    (folder / "d/empty").mkdir(parents=True)
    (folder / "d/file").write_text("content")
    os.link(folder / "d/file", folder / "d/twin")
    (folder / "d/soft").symlink_to("nowhere/at all")
    os.mkfifo(folder / "pipe", 0o640)
    os.mknod(folder / "gone", 0o020000, 0)
    os.mknod(folder / "disk", 0o060600, os.makedev(8, 1))
    (folder / "suid").write_text("x")
    os.chown(folder / "suid", 12, 34)
    os.chmod(folder / "suid", 0o4711)
    os.chown(folder / "d/soft", 5, 6, follow_symlinks=False)
    os.setxattr(folder / "d", "user.note", b"n\0")
    set_opaque(str(folder / "d/empty"))
    with (folder / "sparse").open("wb") as file:
        file.truncate(1 << 30)
        file.seek(600 << 20)
        file.write(b"middle")
    for path in ("d/file", "suid", "d"):
        os.utime(folder / path, (1_000_000, 1_000_000))


def test_everything_comes_along(tmp_path: Path, target: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    fill(source)
    target.mkdir()
    copy_upper(source, target)
    assert list(scan(str(target))) == list(scan(str(source)))
    info = (target / "sparse").stat()
    assert info.st_blocks * 512 < 1 << 20
    with (target / "sparse").open("rb") as file:
        file.seek((600 << 20) - 2)
        assert file.read(9) == b"\0\0middle\0"
    assert (target / "d/file").stat().st_ino == (target / "d/twin").stat().st_ino


def test_a_hostname_that_a_step_wrote(tmp_path: Path) -> None:
    shown, upper = tmp_path / "hostname", tmp_path / "upper"
    upper.mkdir()
    shown.write_text("treebuild\n")
    keep_hostname(shown, upper, "treebuild\n")
    assert list(upper.iterdir()) == []
    shown.write_text("mine\n")
    keep_hostname(shown, upper, "treebuild\n")
    assert (upper / "etc/hostname").read_text() == "mine\n"
    assert (upper / "etc/hostname").stat().st_mode & 0o777 == 0o644


def saved(layers: list[list[tuple[str, bytes]]], manifest: object = None) -> bytes:
    """An image as `docker save` gives it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:

        def add(name: str, data: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))

        names = [f"{number}/layer.tar" for number in range(len(layers))]
        for name, files in zip(names, layers, strict=True):
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as layer:
                for path, data in files:
                    info = tarfile.TarInfo(path)
                    info.size = len(data)
                    layer.addfile(info, io.BytesIO(data))
            add(name, inner.getvalue())
        add("manifest.json", json.dumps([{"Layers": names}] if manifest is None else manifest).encode())
    return out.getvalue()


def test_the_last_layer_of_a_saved_image(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    data = saved([[("base", b"b")], [("dir/file", b"new"), ("dir/.wh.gone", b""), ("o/.wh..wh..opq", b"")]])
    unpack_saved(iter([data]), 1, tmp_path, target)
    found = {entry.path: (entry.kind, entry.opaque) for entry in scan(str(target))}
    assert found == {"dir": ("d", False), "dir/file": ("f", False), "dir/gone": ("w", False), "o": ("d", True)}


def test_an_image_without_a_new_layer(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    unpack_saved(iter([saved([[("base", b"b")]])]), 1, tmp_path, target)
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("manifest", [{}, [], [{"Layers": ["other"]}], [{"Layers": 5}], "x", [{"Layers": ["a", "b"]}]])
def test_images_that_are_none(tmp_path: Path, manifest: object) -> None:
    target = tmp_path / "target"
    target.mkdir()
    with pytest.raises(IntegrityError):
        unpack_saved(iter([saved([[("f", b"")]], manifest)]), 0, tmp_path, target)
