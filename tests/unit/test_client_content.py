"""What a package holds arrives as it is: in an empty root, in one in use, and over another version of it."""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path

import pytest

from tests.unit.repository_parts import EPOCH, Workshop, ref
from tests.unit.system_parts import System
from treebuilder.archive.compress import compressor
from treebuilder.archive.entry import Entry
from treebuilder.archive.tar import write_entries
from treebuilder.client import Client, InstallRequest, Manner, SystemRoot
from treebuilder.client.operations import install
from treebuilder.errors import ConflictError, IntegrityError, TreebuildError, UnsafeArchive
from treebuilder.model.digest import Digest
from treebuilder.system.process import Cancel

CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)  # cap_net_bind_service+ep, revision 2
SPARSE = 8 << 20


def pack(
    shop: Workshop, entries: list[Entry], contents: dict[str, bytes], version: str = "1.0", *, honest: bool = True
) -> None:
    """A package t/x of just these entries, which its index names when it is honest."""
    listed = tuple(e.path for e in entries if e.kind != "d") if honest else ("x",)
    shop.package("t/x", {"x": b""}, version=version, listed=listed)
    file = shop.build / f"x-t-{version}.package.tar.zst"
    metadata = shop.build / f"x-t-{version}.metadata.yaml"
    old = Digest.of(file.read_bytes()).hex
    out = io.BytesIO()
    packer = compressor("zstd", out)
    write_entries(entries, packer, lambda entry: io.BytesIO(contents[entry.path]), whiteouts=False)
    packer.close()
    file.write_bytes(out.getvalue())
    metadata.write_text(metadata.read_text().replace(old, Digest.of(out.getvalue()).hex))


def whole() -> tuple[list[Entry], dict[str, bytes]]:
    contents = {"bin/su": b"su" * 100, "usr/sparse": bytes(SPARSE), "usr/one": b"linked"}
    entries = [
        Entry("bin", "d", 0o755, 0, 0, 0, EPOCH),
        Entry("bin/su", "f", 0o4755, 0, 12, 200, EPOCH, xattrs=(("security.capability", CAPABILITY),)),
        Entry("dev", "d", 0o755, 0, 0, 0, EPOCH),
        Entry("dev/null", "c", 0o666, 0, 0, 0, EPOCH, rdev=os.makedev(1, 3)),
        Entry("usr", "d", 0o2750, 7, 8, 0, EPOCH),
        Entry("usr/fifo", "p", 0o600, 7, 8, 0, EPOCH),
        Entry("usr/one", "f", 0o640, 7, 8, 6, EPOCH),
        Entry("usr/sparse", "f", 0o600, 0, 0, SPARSE, EPOCH),
        Entry("usr/two", "h", 0o640, 7, 8, 0, EPOCH, "usr/one"),
    ]
    return entries, contents


def check(root: Path, *, folder_mode: int) -> None:
    su = (root / "bin/su").stat()
    assert (su.st_mode & 0o7777, su.st_uid, su.st_gid, int(su.st_mtime)) == (0o4755, 0, 12, EPOCH)
    assert os.getxattr(root / "bin/su", "security.capability") == CAPABILITY
    assert (root / "dev/null").stat().st_rdev == os.makedev(1, 3)
    assert (root / "usr/fifo").is_fifo()
    assert (root / "usr/one").stat().st_ino == (root / "usr/two").stat().st_ino
    sparse = (root / "usr/sparse").stat()
    assert (sparse.st_size, sparse.st_blocks * 512 < SPARSE // 8) == (SPARSE, True)
    assert (root / "usr").stat().st_mode & 0o7777 == folder_mode


@pytest.mark.parametrize("used", [False, True])
def test_files_may_belong_to_whoever_installs_them(shop: Workshop, used: bool) -> None:
    pack(shop, *whole())
    (shop.top / "root").mkdir(exist_ok=True)
    if used:
        (shop.top / "root/mine").write_text("x")
    packages = shop.packages()
    root = SystemRoot(shop.top / "root", same_owner=False)
    request = InstallRequest((ref("t/x"),))
    Client(shop.events, Cancel()).run("install", root, lambda d: install(request, packages, d), Manner())
    for path in ("bin/su", "usr", "usr/fifo", "usr/one", "usr/sparse", "dev/null"):
        found = (shop.top / "root" / path).lstat()
        assert (found.st_uid, found.st_gid) == (os.geteuid(), os.getegid()), path
    assert (shop.top / "root/usr/one").stat().st_mode & 0o7777 == 0o640


@pytest.mark.parametrize("used", [False, True])
def test_everything_arrives_as_it_is(shop: Workshop, used: bool) -> None:
    pack(shop, *whole())
    system = System(shop, shop.top / "root")
    if used:
        (system.root / "usr").mkdir(mode=0o711)
        (system.root / "usr").chmod(0o711)
    system.install("t/x")
    check(system.root, folder_mode=0o711 if used else 0o2750)
    pack(shop, *whole(), version="2.0")
    system.upgrade()
    check(system.root, folder_mode=0o711 if used else 0o2750)
    system.uninstall("t/x")
    assert system.listing() == {}


HOSTILE: dict[str, list[Entry]] = {
    "an absolute name": [Entry("/evil", "f", 0o644, 0, 0, 1, 0)],
    "a name that leads out": [Entry("../evil", "f", 0o644, 0, 0, 1, 0)],
    "a hard link to outside": [Entry("ok", "f", 0o644, 0, 0, 1, 0), Entry("l", "h", 0o644, 0, 0, 0, 0, "../evil")],
    "a hard link to nothing": [Entry("l", "h", 0o644, 0, 0, 0, 0, "missing")],
    "a link and a file behind it": [
        Entry("l", "l", 0o777, 0, 0, 0, 0, "../../../../../.."), Entry("l/evil", "f", 0o644, 0, 0, 1, 0)
    ],
    "a file below a file": [Entry("a", "f", 0o644, 0, 0, 1, 0), Entry("a/b", "f", 0o644, 0, 0, 1, 0)],
    "a file in place of a folder of the system": [Entry("mine", "f", 0o644, 0, 0, 1, 0)],
    "a folder in place of a file of the system": [Entry("mine/file", "d", 0o755, 0, 0, 0, 0)],
    "an owner that cannot be": [Entry("a", "f", 0o644, (1 << 32) - 1, 0, 1, 0)],
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_changes_nothing(shop: Workshop, what: str) -> None:
    system = System(shop, shop.top / "root")
    (system.root / "mine").mkdir()
    (system.root / "mine/file").write_bytes(b"precious")
    outside = sorted(shop.top.iterdir())
    pack(shop, HOSTILE[what], {entry.path: b"x" for entry in HOSTILE[what]})
    try:
        system.install("t/x")
    except (UnsafeArchive, IntegrityError, ConflictError, TreebuildError):
        assert system.listing() == {"mine": None, "mine/file": b"precious"}
        assert system.installed() == []
    else:  # a link that leads out is followed inside
        assert what == "a link and a file behind it"
        assert (system.root / "evil").read_bytes() == b"x"
    assert not (shop.top / "evil").exists()
    assert not Path("/evil").exists()
    assert {path.name for path in shop.top.iterdir()} - {path.name for path in outside} <= {"tree", "build"}


TWICE = {
    "two files": [Entry("a", "f", 0o644, 0, 0, 1, 0), Entry("a", "f", 0o644, 0, 0, 1, 0)],
    "a file and a link": [Entry("a", "f", 0o644, 0, 0, 1, 0), Entry("a", "l", 0o777, 0, 0, 0, 0, "b")],
    "a file and a folder": [Entry("a", "f", 0o644, 0, 0, 1, 0), Entry("a", "d", 0o755, 0, 0, 0, 0)],
    "one place by two ways": [
        Entry("l", "l", 0o777, 0, 0, 0, 0, "."), Entry("l/a", "f", 0o644, 0, 0, 1, 0),
        Entry("a", "f", 0o644, 0, 0, 1, 0),
    ],
}  # fmt: skip


@pytest.mark.parametrize("what", TWICE)
@pytest.mark.parametrize("used", [False, True])
def test_an_entry_that_comes_twice_is_refused(shop: Workshop, what: str, used: bool) -> None:
    pack(shop, TWICE[what], {entry.path: b"x" for entry in TWICE[what]})
    system = System(shop, shop.top / "root")
    if used:
        (system.root / "mine").write_bytes(b"m")
    before = system.listing()
    with pytest.raises((UnsafeArchive, ConflictError)):
        system.install("t/x")
    assert system.listing() == before


def test_a_folder_may_come_twice(shop: Workshop) -> None:
    pack(shop, [Entry("d", "d", 0o755, 0, 0, 0, EPOCH), Entry("d", "d", 0o750, 0, 0, 0, EPOCH)], {})
    system = System(shop, shop.top / "root")
    system.install("t/x")
    assert system.listing() == {"d": None}


def test_block_devices_come_only_when_forced(shop: Workshop) -> None:
    pack(shop, [Entry("sda", "b", 0o600, 0, 0, 0, EPOCH, rdev=os.makedev(8, 0))], {})
    system = System(shop, shop.top / "root")
    with pytest.raises(ConflictError):
        system.install("t/x")
    assert system.listing() == {}
    (system.root / "mine").write_bytes(b"m")
    system.install("t/x", force=True)
    assert (system.root / "sda").stat().st_rdev == os.makedev(8, 0)


# names of ours --------------------------------------------------------------------------------------------------------
def file_at(*paths: str) -> list[Entry]:
    return [Entry(path, "f", 0o644, 0, 0, 2, 0) for path in paths]


OURS = {
    "the folder of an empty root": file_at(".treebuild-filling"),
    "the folder of a whole one": file_at(".treebuild-filled/mine"),
    "a journal": file_at(".treebuild-staging/journal.json"),
    "a link in place of the folder": [Entry(".treebuild-staging", "l", 0o777, 0, 0, 0, 0, "/tmp")],
    "a journal behind a link": [
        Entry("l", "l", 0o777, 0, 0, 0, 0, "."), *file_at("l/.treebuild-staging/journal.json")
    ],
    "a journal behind a link of the root": file_at("top/.treebuild-staging/journal.json"),
    "the database": file_at("var/lib/treebuild/system.db"),
    "its journal": file_at("var/lib/treebuild/system.db-journal"),
    "a folder in its place": [Entry("var/lib/treebuild/system.db", "d", 0o755, 0, 0, 0, 0)],
    "a file in place of its folder": file_at("var/lib/treebuild"),
}  # fmt: skip


@pytest.mark.parametrize("what", OURS)
@pytest.mark.parametrize("state", ["empty", "used", "installed"])
@pytest.mark.parametrize("honest", [True, False])
def test_what_is_ours_is_in_no_package(shop: Workshop, what: str, state: str, honest: bool) -> None:
    pack(shop, OURS[what], {entry.path: b"{}" for entry in OURS[what]}, honest=honest)
    shop.package("t/first", {"first": b"1"})
    system = System(shop, shop.top / "root")
    if state == "installed":
        system.install("t/first")
    if state != "empty":
        (system.root / "top").symlink_to(".")
    before = system.listing()
    if (what, state) == ("a journal behind a link of the root", "empty"):
        system.install("t/x")  # there is no link
        return
    with pytest.raises(TreebuildError):
        system.install("t/x")
    assert system.listing() == before
    assert system.installed() == (["t/first-1.0"] if state == "installed" else [])


def test_two_packages_together_do_not_make_a_journal(shop: Workshop) -> None:
    """One lays a link, the other goes through it: each is harmless alone."""
    shop.package("t/link", {"l": "."})
    pack(shop, file_at("l/.treebuild-staging/journal.json"), {"l/.treebuild-staging/journal.json": b"{}"})
    for used in (False, True):
        system = System(shop, shop.top / "root")
        if used:
            (system.root / "mine").write_bytes(b"m")
        before = system.listing()
        with pytest.raises(TreebuildError):
            system.install("t/link", "t/x")
        assert system.listing() == before
