"""The extractor against archives that want out, and against ones that are only odd."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from treebuilder.archive.entry import Entry, is_opaque, scan
from treebuilder.archive.extract import Writer, unpack_layer, unpack_package
from treebuilder.archive.reading import clean_path
from treebuilder.errors import IntegrityError, TreebuildError, UnsafeArchive
from treebuilder.oci.seal import measure

pytestmark = pytest.mark.engine  # owners and devices need root


def member(name: str, data: bytes = b"", **values: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in values.items():
        setattr(info, key, value)
    return info, data


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.SYMTYPE, linkname=target)


def hard(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.LNKTYPE, linkname=target)


def folder(name: str, **values: Any) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.DIRTYPE, mode=0o755, **values)


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    out.seek(0)
    return out


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A root with neighbours that must stay as they are."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_text("safe")
    root = tmp_path / "root"
    root.mkdir()
    return root


def untouched(root: Path) -> None:
    outside = root.parent / "outside"
    assert sorted(os.listdir(root.parent)) == ["outside", "root"]
    assert os.listdir(outside) == ["file"]
    assert (outside / "file").read_text() == "safe"
    assert not is_opaque(str(outside))


ESCAPES = [
    [member("../file", b"x")],
    [member("a/../../file", b"x")],
    [member("/outside/file", b"x")],
    [link("out", "../outside"), member("out/file", b"x")],
    [link("out", "/"), member("out/tmp/x", b"x")],
    [link("a", "b"), link("b", "../outside"), member("a/file", b"x")],
    [hard("h", "../outside/file")],
    [link("out", "../outside"), hard("h", "out/file")],
    [link("out", "../outside"), member("out/.wh.file")],
    [link("out", "../outside"), member("out/.wh..wh..opq")],
    [member(".wh...")],
    [member("a/.wh...")],
    [member(".wh..")],
    [member(".wh.")],
    [folder("a"), member("a/x", b"x"), link("a", "../outside"), member("a/file", b"x")],
    [folder("d/e"), link("d", "../outside"), member("d/e/f", b"x")],
]


@pytest.mark.parametrize("members", ESCAPES)
def test_a_layer_cannot_leave_its_root(place: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    with pytest.raises(UnsafeArchive):
        unpack_layer(archive(*members), str(place), "evil")
    untouched(place)


@pytest.mark.parametrize("members", ESCAPES)
def test_a_package_cannot_leave_its_root(place: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    try:
        unpack_package(archive(*members), str(place), "evil")
    except (UnsafeArchive, IntegrityError):
        pass  # links in parents are followed inside the root, so some are no escape here
    untouched(place)


def test_a_package_follows_links_inside_the_root(place: Path) -> None:
    (place / "usr/lib").mkdir(parents=True)
    (place / "lib").symlink_to("usr/lib")
    (place / "abs").symlink_to("/usr")
    (place / "up").symlink_to("../../../usr")
    members = [folder("lib", mtime=5), member("lib/a", b"a"), member("abs/lib/b", b"b"), member("up/lib/c", b"c")]
    unpack_package(archive(*members), str(place), "package")
    assert sorted(os.listdir(place / "usr/lib")) == ["a", "b", "c"]
    assert (place / "lib").is_symlink()
    untouched(place)


def test_a_package_does_not_replace_a_folder_by_a_file(place: Path) -> None:
    (place / "etc").mkdir()
    (place / "etc/kept").write_text("kept")
    with pytest.raises(UnsafeArchive, match="folder of the system"):
        unpack_package(archive(member("etc", b"x")), str(place), "package")
    assert (place / "etc/kept").read_text() == "kept"


def test_a_package_keeps_the_attributes_of_folders(place: Path) -> None:
    (place / "var").mkdir(mode=0o700)
    os.chown(place / "var", 5, 6)
    unpack_package(archive(folder("var"), folder("new"), member("var/x", b"x")), str(place), "package")
    info = (place / "var").stat()
    assert (info.st_mode & 0o777, info.st_uid, info.st_gid) == (0o700, 5, 6)
    assert (place / "new").stat().st_mode & 0o777 == 0o755


def test_links_in_a_loop(place: Path) -> None:
    with pytest.raises(UnsafeArchive, match="too many links"):
        unpack_package(archive(link("a", "b"), link("b", "a"), member("a/x", b"")), str(place), "package")


def test_what_a_layer_implies_is_the_same_every_time(place: Path, tmp_path: Path) -> None:
    data = archive(member("a/b/file", b"x", mtime=7), member("o/.wh..wh..opq"), folder("later/x", mtime=9)).getvalue()
    digests = set()
    for mask in (0o077, 0o000):
        target = tmp_path / f"mask-{mask}"
        target.mkdir()
        before = os.umask(mask)
        try:
            unpack_layer(io.BytesIO(data), str(target), "layer")
        finally:
            os.umask(before)
        digests.add(measure(str(target)).content)
        found = {entry.path: entry for entry in scan(str(target))}
        assert (found["a"].mtime, found["a/b"].mtime, found["o"].mtime, found["later/x"].mtime) == (0, 0, 0, 9)
        assert (found["a"].mode, found["o"].opaque) == (0o755, True)
    assert len(digests) == 1


def test_whiteouts_become_overlays_own(place: Path) -> None:
    unpack_layer(
        archive(folder("d"), member("d/.wh.gone"), member(".wh.top"), member("d/.wh..wh..opq")), str(place), "x"
    )
    assert {e.path: (e.kind, e.opaque) for e in scan(str(place))} == {
        "d": ("d", True), "d/gone": ("w", False), "top": ("w", False),
    }  # fmt: skip


def test_a_folder_that_is_replaced_is_not_written_to(place: Path) -> None:
    members = [member("d/a", b"1"), member("d", b"file"), member("d/b", b"2")]
    with pytest.raises(UnsafeArchive, match="not a folder"):
        unpack_layer(archive(*members), str(place), "odd")
    with Writer(str(place)) as writer:
        writer.add(Entry("x/y", "f", 0o644, 0, 0, 1, 0), io.BytesIO(b"1"))
        writer.remove("x")
        writer.add(Entry("x/z", "f", 0o644, 0, 0, 1, 0), io.BytesIO(b"2"))
    assert os.listdir(place / "x") == ["z"]


@pytest.mark.parametrize(
    "members",
    [
        [hard("h", "missing")],
        [hard("self", "self")],
        [folder("d"), hard("h", "d")],
        [member("f", b"", uid=-5)],
        [member("f", b"", uid=1 << 40)],
        [member("f", b"", pax_headers={"mtime": "inf"})],
        [member("f", b"", pax_headers={"mtime": "nan"})],
        [member("f", b"", pax_headers={"mtime": "1e30"})],
        [member("n" * 300, b"")],
        [member("f", b"", pax_headers={"SCHILY.xattr.user.": "x"})],
        [member("f", b"", pax_headers={"SCHILY.xattr.security.capability": "junk"})],
    ],
)
def test_odd_archives_are_an_error_of_ours(place: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    with pytest.raises(TreebuildError):
        unpack_layer(archive(*members), str(place), "odd")
    untouched(place)


@pytest.mark.parametrize("cut", [1, 100, 511, 513, 1000, 1500])
def test_torn_archives(place: Path, cut: int) -> None:
    data = archive(member("a", b"x" * 700), member("b", b"y")).getvalue()
    try:
        unpack_layer(io.BytesIO(data[:cut]), str(place), "torn")
    except IntegrityError:
        return
    assert sorted(os.listdir(place)) == ["a"]
    assert (place / "a").read_bytes() == b"x" * 700


def test_no_archive_at_all(place: Path) -> None:
    for data in (b"", b"hello", b"\0" * 511, os.urandom(4096)):
        with pytest.raises(IntegrityError):
            unpack_layer(io.BytesIO(data), str(place), "none")


def test_xattrs_that_shape_mounts_or_labels_are_left_out(place: Path) -> None:
    headers = {
        "SCHILY.xattr.trusted.overlay.redirect": "/etc", "SCHILY.xattr.user.overlay.opaque": "y",
        "SCHILY.xattr.security.selinux": "x", "SCHILY.xattr.user.kept": "yes",
    }  # fmt: skip
    info, data = member("f", b"", pax_headers=headers)
    unpack_layer(archive((info, data)), str(place), "layer")
    assert os.listxattr(place / "f") == ["user.kept"]


def test_a_member_without_a_name_is_passed_over(place: Path) -> None:
    unpack_layer(archive(folder("./"), member("./a//b", b"x"), member("fifo", type=tarfile.FIFOTYPE)), str(place), "x")
    assert [e.path for e in scan(str(place))] == ["a", "a/b", "fifo"]


def test_an_error_inside_is_the_error_that_is_told(place: Path) -> None:
    with pytest.raises(ZeroDivisionError), Writer(str(place)) as writer:
        writer.add(Entry("d", "d", 0o755, 0, 0, 0, 0), None)
        os.rmdir(place / "d")
        raise ZeroDivisionError


@pytest.mark.parametrize("name", ["/a", "..", "a/..", "a/../b", "a\0b"])
def test_unclean_names(name: str) -> None:
    with pytest.raises(UnsafeArchive):
        clean_path(name, "x")


def test_clean_names() -> None:
    assert clean_path("./a//b/./c/", "x") == "a/b/c"
    assert clean_path("...", "x") == "..."
    assert clean_path("./", "x") == ""
