"""squashfs and FAT files of folders: what is kept, and that the bytes are the same every time."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests import services
from treebuilder.errors import Place, SpecError
from treebuilder.events import Recorder
from treebuilder.image.esp import make_esp
from treebuilder.image.inside import lay_over, place_for
from treebuilder.image.squashfs import make_squashfs
from treebuilder.system.inside import resolve
from treebuilder.system.process import Cancel

EPOCH_S = 1_700_000_000
HERE = Place("iso.yaml", 1)


@pytest.fixture
def squash_tools() -> None:
    for name in ("mksquashfs", "unsquashfs"):
        services.program(name, "squashfs-tools")


@pytest.fixture
def fat_tools() -> None:
    services.program("mkfs.vfat", "dosfstools")
    for name in ("mmd", "mcopy"):
        services.program(name, "mtools")


needs_squash_tools = pytest.mark.usefixtures("squash_tools")
needs_fat_tools = pytest.mark.usefixtures("fat_tools")


def tree(folder: Path, when: int) -> Path:
    """The same content each time, with times of the caller's choice."""
    (folder / "EFI" / "BOOT").mkdir(parents=True)
    (folder / "EFI" / "BOOT" / "BOOTX64.EFI").write_bytes(b"loader" * 1000)
    (folder / "a file with spaces.txt").write_text("text\n")
    (folder / "empty").write_text("")
    for path in sorted(folder.rglob("*"), reverse=True):
        os.utime(path, (when, when))
    os.utime(folder, (when, when))
    return folder


@needs_squash_tools
def test_squashfs_of_equal_folders_is_equal_and_keeps_everything(tmp_path: Path) -> None:
    made = []
    for number, when in enumerate((EPOCH_S + 5, EPOCH_S + 99_999)):
        root = tree(tmp_path / f"root{number}", when)
        (root / "link").symlink_to("/empty")
        os.utime(root / "link", (when, when), follow_symlinks=False)
        os.link(root / "empty", root / "hard")
        (root / "EFI").chmod(0o2750)
        os.utime(root / "EFI", (EPOCH_S - 7, EPOCH_S - 7))
        os.utime(root, (when, when))
        out = tmp_path / f"{number}.squashfs"
        make_squashfs(root, out, epoch_s=EPOCH_S, events=Recorder(), cancel=Cancel())
        made.append(out.read_bytes())
    assert made[0] == made[1]
    subprocess.run(["unsquashfs", "-q", "-n", "-d", tmp_path / "back", tmp_path / "0.squashfs"], check=True)
    back = tmp_path / "back"
    assert os.readlink(back / "link") == "/empty"
    assert (back / "hard").stat().st_ino == (back / "empty").stat().st_ino
    assert (back / "EFI").stat().st_mode & 0o7777 == 0o2750
    assert int((back / "EFI").stat().st_mtime) == EPOCH_S - 7, "a time before the epoch is content"
    assert int((back / "empty").stat().st_mtime) == EPOCH_S, "a later one is the epoch"


@needs_squash_tools
def test_squashfs_replaces_what_was_there(tmp_path: Path) -> None:
    root, out = tree(tmp_path / "root", EPOCH_S), tmp_path / "x.squashfs"
    make_squashfs(root, out, epoch_s=EPOCH_S, events=Recorder(), cancel=Cancel())
    first = out.read_bytes()
    make_squashfs(root, out, epoch_s=EPOCH_S, events=Recorder(), cancel=Cancel())
    assert out.read_bytes() == first
    make_squashfs(
        root, out, epoch_s=EPOCH_S, events=Recorder(), cancel=Cancel(), options=("-comp", "xz", "-Xbcj", "x86")
    )
    assert out.read_bytes() != first


def esp(folder: Path, out: Path, where: Place = HERE) -> bytes:
    make_esp(folder, out, label="COS_GRUB", epoch_s=EPOCH_S, where=where, events=Recorder(), cancel=Cancel())
    return out.read_bytes()


@needs_fat_tools
def test_a_fat_image_of_equal_folders_is_equal_and_holds_them(tmp_path: Path) -> None:
    made = [esp(tree(tmp_path / f"t{n}", 10**9 + n), tmp_path / f"{n}.img") for n in range(2)]
    assert made[0] == made[1]
    subprocess.run(["mcopy", "-s", "-i", tmp_path / "0.img", "::EFI", tmp_path / "back"], check=True)
    assert (tmp_path / "back" / "BOOT" / "BOOTX64.EFI").read_bytes() == b"loader" * 1000
    listing = subprocess.run(["mdir", "-i", tmp_path / "0.img", "::"], check=True, capture_output=True, text=True)
    assert "a file with spaces.txt" in listing.stdout
    assert "COS_GRUB" in listing.stdout


@needs_fat_tools
def test_a_fat_image_is_as_large_as_it_must_be(tmp_path: Path) -> None:
    root = tmp_path / "t"
    root.mkdir()
    (root / "kernel").write_bytes(os.urandom(9 << 20))
    for number in range(300):
        (root / f"small{number:03}").write_bytes(b"x")
    esp(root, tmp_path / "x.img")
    subprocess.run(["mcopy", "-i", tmp_path / "x.img", "::kernel", tmp_path / "k"], check=True)
    assert (tmp_path / "k").read_bytes() == (root / "kernel").read_bytes()
    assert (tmp_path / "x.img").stat().st_size < 20 << 20


@needs_fat_tools
def test_fat_gets_what_links_point_to_and_never_what_is_outside(tmp_path: Path) -> None:
    root = tree(tmp_path / "t", EPOCH_S)
    (root / "kernel").symlink_to("/EFI/BOOT/BOOTX64.EFI")
    esp(root, tmp_path / "x.img")
    subprocess.run(["mcopy", "-i", tmp_path / "x.img", "::kernel", tmp_path / "k"], check=True)
    assert (tmp_path / "k").read_bytes() == b"loader" * 1000
    (tmp_path / "secret").write_text("secret")
    (root / "out").symlink_to("../secret")
    with pytest.raises(SpecError) as caught:
        esp(root, tmp_path / "y.img")
    assert caught.value.reason == "broken-link"


@needs_fat_tools
def test_two_names_that_fat_cannot_tell_apart_are_refused(tmp_path: Path) -> None:
    root = tree(tmp_path / "t", EPOCH_S)
    (root / "Empty").write_text("")
    with pytest.raises(SpecError) as caught:
        esp(root, tmp_path / "x.img")
    assert caught.value.reason == "name-clash"
    (root / "Empty").unlink()
    (root / "round").symlink_to(".")
    with pytest.raises(SpecError) as again:
        esp(root, tmp_path / "x.img")
    assert again.value.reason == "link-loop"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("lib/x", "usr/lib/x"),
        ("/lib/../lib/./x", "usr/lib/x"),
        ("up/x", None),
        ("up/usr/lib/x", "usr/lib/x"),
        ("absolute", "usr/lib/x"),
        ("round", None),
        ("missing/x", None),
        ("usr/lib/x/below", None),
        ("../../usr", "usr"),
    ],
)
def test_paths_are_resolved_inside_the_root(tmp_path: Path, name: str, found: str | None) -> None:
    root = tmp_path / "root"
    (root / "usr" / "lib").mkdir(parents=True)
    (root / "usr" / "lib" / "x").write_text("in")
    (tmp_path / "x").write_text("out")
    (root / "lib").symlink_to("usr/lib")
    (root / "up").symlink_to("../../..")
    (root / "absolute").symlink_to("/lib/x")
    (root / "round").symlink_to("round")
    assert resolve(root, name) == (None if found is None else root / found)


def test_an_overlay_enters_linked_folders_inside_the_root_only(tmp_path: Path) -> None:
    root, over, outside = tmp_path / "root", tmp_path / "over", tmp_path / "outside"
    (root / "usr" / "lib").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    outside.mkdir()
    (root / "evil").symlink_to(f"/..{outside}")
    (root / "old").symlink_to(outside / "target")
    for name in ("lib/module", "evil/file", "old", "new/deep/file"):
        (over / name).parent.mkdir(parents=True, exist_ok=True)
        (over / name).write_text(name)
    (over / "link").symlink_to("anywhere")
    lay_over(over, root, HERE)
    assert (root / "usr" / "lib" / "module").read_text() == "lib/module"
    assert os.listdir(outside) == []
    assert not (root / "old").is_symlink()
    assert (root / "new" / "deep" / "file").read_text() == "new/deep/file"
    assert os.readlink(root / "link") == "anywhere"


def test_a_new_file_never_lands_outside(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "boot").symlink_to(outside)
    with pytest.raises(SpecError):
        place_for(root, "boot/kernel.xz", HERE)
    (root / "real").mkdir()
    (root / "linked").symlink_to("real")
    (root / "real" / "file").symlink_to(outside / "file")
    place = place_for(root, "linked/file", HERE)
    place.write_text("x")
    assert (root / "real" / "file").read_text() == "x"
    assert os.listdir(outside) == []
