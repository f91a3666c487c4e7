"""The module layout: what it plans, as laws, and what it does to disks in files."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.services import program
from treebuilder.cloudconfig.disks import _grow_mounted, filesystem_bytes, on_a_disk, own_disk
from treebuilder.cloudconfig.layout import Part, Table, Wanted, Wish, plan, unformatted
from treebuilder.cloudconfig.stages import Runner
from treebuilder.errors import ToolFailed, TreebuildError
from treebuilder.records import replace

MIB = 2048  # sectors


# planning -----------------------------------------------------------------------------------------------------------
@st.composite
def tables(draw: st.DrawFn) -> Table:
    parts, at = [], MIB
    for number in range(1, draw(st.integers(0, 4)) + 1):
        at += draw(st.integers(0, 3 * MIB))
        size = draw(st.integers(1, 50 * MIB))
        parts.append(Part(number, at, size, f"p{number}", draw(st.sampled_from(["ext4", ""])), f"l{number}"))
        at += size
    kind = draw(st.sampled_from(["gpt", "dos"]))
    return Table(kind, 512, at + draw(st.integers(0, 400 * MIB)), tuple(draw(st.permutations(parts))))


WANTED = st.builds(
    Wanted, st.sampled_from(["p1", "p2", "new", "more"]), st.sampled_from(["l1", "fresh", ""]), st.integers(1, 150),
    st.sampled_from(["ext4", "vfat", "noformat"]), st.booleans(),
)  # fmt: skip
WISHES = st.builds(
    Wish, st.just("/d"), st.just(""), st.booleans(),
    st.lists(
        WANTED, max_size=3, unique_by=(lambda wanted: wanted.name, lambda wanted: wanted.label or wanted.name)
    ).map(tuple),
    st.one_of(st.none(), st.integers(0, 300)),
)  # fmt: skip


@given(tables(), WISHES)
def test_nothing_that_is_there_moves_and_nothing_overlaps(table: Table, wish: Wish) -> None:
    try:
        steps = plan(table, wish)
    except TreebuildError:
        return
    old = {part.number: part for part in table.parts}
    new = old | {step.part.number: step.part for step in steps}
    for number, part in old.items():
        assert (new[number].start, new[number].name) == (part.start, part.name)
        assert new[number].size >= part.size
    changed = [number for number in old if new[number] != old[number]]
    assert changed in ([], [table.tail.number if table.tail else 0])
    ordered = sorted(new.values(), key=lambda part: part.start)
    assert all(one.end <= other.start for one, other in itertools.pairwise(ordered))
    assert all(part.end <= table.last + 1 for part in (step.part for step in steps))
    assert all(step.part.start % MIB == 0 for step in steps if not step.grown)


@given(tables(), WISHES)
def test_what_is_done_is_not_done_again(table: Table, wish: Wish) -> None:
    """Nor what was cut short: the last partition may have come to no file system, and so to no label."""
    wish = replace(wish, grow_mib=None)
    try:
        steps = plan(table, wish)
    except TreebuildError:
        return
    for count in range(len(steps) + 1):
        added = [replace(step.part, filesystem=step.wanted.filesystem) for step in steps[:count] if step.wanted]
        assert all(part.name or table.kind == "dos" for part in added)
        after = replace(table, parts=(*table.parts, *added))
        assert plan(after, wish) == steps[count:]
        if added:
            added[-1] = replace(added[-1], filesystem="", label="")
            after = replace(table, parts=(*table.parts, *added))
            assert plan(after, wish) == steps[count:]
            last = steps[count - 1].wanted
            again = [part.number for part, _ in unformatted(after, wish)]
            assert (added[-1].number in again) == (last is not None and last.filesystem != "noformat")


def test_room() -> None:
    table = Table("gpt", 512, 200 * MIB - 34, (Part(1, MIB, 100 * MIB, "one", "ext4"),))
    rest = Wanted("rest", "R", 0, "ext4", False)
    (step,) = plan(table, Wish("/d", "", False, (rest,), None))
    assert (step.part.start, step.part.size) == (101 * MIB, 98 * MIB)
    (grown,) = plan(table, Wish("/d", "", False, (), 0))
    assert (grown.grown, grown.part.size) == (True, 198 * MIB)
    with pytest.raises(TreebuildError, match="needs 99 MiB, and 98 are free"):
        plan(table, Wish("/d", "", False, (replace(rest, size_mib=99),), None))
    with pytest.raises(TreebuildError, match="needs 32 MiB, and 28 are free"):
        plan(replace(table, last=129 * MIB), Wish("/d", "", False, (rest,), None))
    with pytest.raises(TreebuildError, match="before others are added"):
        plan(table, Wish("/d", "", False, (rest,), 0))
    one, two = plan(table, Wish("/d", "", False, (rest,), 120))
    assert (one.part.size, two.part.start, two.part.size) == (120 * MIB, 121 * MIB, 78 * MIB)


# disks in files -----------------------------------------------------------------------------------------------------
@pytest.fixture
def disk(tmp_path: Path) -> Path:
    program("sfdisk", "fdisk")
    program("mkfs.ext4", "e2fsprogs")
    program("mkfs.vfat", "dosfstools")
    program("blkid", "util-linux")
    (tmp_path / "root").mkdir()
    path = tmp_path / "root/disk.img"
    path.touch()
    resized(path, 160)
    return path


def resized(path: Path, mib: int) -> None:
    with path.open("r+b") as file:
        file.truncate(mib << 20)


def run(disk: Path, text: str, path: str = "/disk.img") -> list[str]:
    runner = Runner(disk.parent)
    runner.read([f"stages: {{default: [{{layout: {{device: {{path: '{path}', init_disk: true}}, {text}}}}}]}}"])
    runner.run("default")
    return [err.message for err in runner.errors]


def found(disk: Path) -> list[tuple[str, int, str, str, bool]]:
    """Name in the table, MiB, file system and its label, whether it is marked bootable."""
    done = subprocess.run(["sfdisk", "--json", disk], check=True, capture_output=True)
    value: dict[str, Any] = json.loads(done.stdout)["partitiontable"]
    answer = []
    for part in value["partitions"]:
        words = [
            "blkid",
            "-p",
            "-O",
            str(part["start"] * 512),
            "-S",
            str(part["size"] * 512),
            "-o",
            "export",
            str(disk),
        ]
        said = subprocess.run(words, check=False, capture_output=True, text=True).stdout
        tags = dict(line.split("=", 1) for line in said.splitlines())
        boot = "attrs" in part or part.get("bootable", False)
        answer.append((part.get("name", ""), part["size"] >> 11, tags.get("TYPE", ""), tags.get("LABEL", ""), boot))
    return answer


def sound(disk: Path, start_mib: int) -> int:
    """The size in MiB of an ext4 that has no fault."""
    target = f"{disk}?offset={start_mib << 20}"
    subprocess.run(["e2fsck", "-f", "-n", target], check=True, capture_output=True)
    said = subprocess.run(["dumpe2fs", "-h", target], check=True, capture_output=True, text=True).stdout
    fields = dict(line.split(":", 1) for line in said.splitlines() if ":" in line)
    return int(fields["Block count"]) * int(fields["Block size"]) >> 20


ADD = (
    "add_partitions: [{fsLabel: EFI, pLabel: efi, size: 40, filesystem: vfat, bootable: true},"
    " {fsLabel: DATA, pLabel: data, size: 48, filesystem: ext4}, {pLabel: raw, size: 32, filesystem: noformat}]"
)


def test_an_empty_disk_is_laid_out_once(disk: Path) -> None:
    assert run(disk, ADD) == []
    laid = [("efi", 40, "vfat", "EFI", True), ("data", 48, "ext4", "DATA", False), ("raw", 32, "", "", False)]
    assert found(disk) == laid
    assert sound(disk, 41) == 48
    before = disk.read_bytes()
    assert run(disk, ADD) == []
    assert disk.read_bytes() == before


def test_a_partition_that_was_not_formatted_is(disk: Path) -> None:
    assert run(disk, ADD.replace("filesystem: ext4", "filesystem: noformat")) == []
    assert found(disk)[1][2] == ""
    assert run(disk, ADD) == []
    assert found(disk)[1][2:4] == ("ext4", "DATA")


def test_the_last_partition_grows_with_its_disk(disk: Path) -> None:
    text = "add_partitions: [{fsLabel: DATA, pLabel: data, size: 0, filesystem: ext4}]"
    assert run(disk, text) == []
    subprocess.run(["debugfs", "-w", "-R", "write /etc/hostname kept", f"{disk}?offset={1 << 20}"], check=True,
                   capture_output=True)  # fmt: skip
    resized(disk, 220)
    assert run(disk, "expand_partition: {size: 200}") == []
    assert (found(disk)[0][1], sound(disk, 1)) == (200, 200)
    assert run(disk, "expand_partition: {size: 0}") == []
    assert (found(disk)[0][1], sound(disk, 1)) == (218, 218)
    listed = subprocess.run(
        ["debugfs", "-R", "ls", f"{disk}?offset={1 << 20}"], check=True, capture_output=True, text=True
    )
    assert "kept" in listed.stdout
    before = disk.read_bytes()
    assert run(disk, "expand_partition: {size: 0}") == []
    assert disk.read_bytes() == before
    assert run(disk, "expand_partition: {size: 300}") == ["partition 1 cannot have 300 MiB: there is room for 218"]


def test_growing_that_was_cut_short_is_finished(disk: Path) -> None:
    assert run(disk, "add_partitions: [{fsLabel: DATA, pLabel: data, size: 64, filesystem: ext4}]") == []
    subprocess.run(["sfdisk", "-q", "-N", "1", disk], input=b", 120MiB\n", check=True, capture_output=True)
    assert (found(disk)[0][1], sound(disk, 1)) == (120, 64)
    assert run(disk, "expand_partition: {size: 100}") == []
    assert (found(disk)[0][1], sound(disk, 1)) == (120, 120)


def test_a_table_of_ms_dos(disk: Path) -> None:
    subprocess.run(["sfdisk", "-q", disk], input=b"label: dos\nsize=16MiB\n", check=True, capture_output=True)
    text = "add_partitions: [{fsLabel: DATA, pLabel: data, size: 40, filesystem: ext2, bootable: true}]"
    for _ in range(2):
        assert run(disk, text) == []
        assert found(disk) == [("", 16, "", "", False), ("", 40, "ext2", "DATA", True)]


def test_what_is_there_is_left_alone(disk: Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", disk], check=True, capture_output=True)
    before = disk.read_bytes()
    assert run(disk, ADD) == [f"{disk} is not empty (ext4), and is left as it is"]
    assert disk.read_bytes() == before


def added(disk: Path, *items: str) -> list[str]:
    return run(disk, f"add_partitions: [{', '.join(items)}]")


@pytest.mark.parametrize(
    "item",
    ["{fsLabel: DATA, size: 32, filesystem: noformat}", "{fsLabel: DA TA$, size: 32, filesystem: ext4}",
     "{fsLabel: data, size: 40, filesystem: vfat}", "{pLabel: d a, size: 32, filesystem: noformat}"],
)  # fmt: skip
def test_each_form_of_a_partition_is_added_once(disk: Path, item: str) -> None:
    for _ in range(3):
        assert added(disk, item) == []
        assert len(found(disk)) == 1


@pytest.mark.parametrize("kind", ["gpt", "dos"])
@pytest.mark.parametrize("size", [48, 0])
def test_a_file_system_that_could_not_be_made_is_made_later(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, size: int
) -> None:
    subprocess.run(["sfdisk", "-q", disk], input=f"label: {kind}\n".encode(), check=True, capture_output=True)
    with disk.open("r+b") as file:  # what lay there before there was a table
        file.seek(3 << 20)
        file.write(b"old" * 4096)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/mkfs.ext4").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin/mkfs.ext4").chmod(0o755)
    item = f"{{fsLabel: DATA, size: {size}, filesystem: ext4}}"
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path}/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        for _ in range(2):
            assert len(added(disk, item)) == 1
            assert [(name, fs) for name, _, fs, _, _ in found(disk)] == [("DATA" if kind == "gpt" else "", "")]
    for _ in range(2):
        assert added(disk, item) == []
        assert [part[2:4] for part in found(disk)] == [("ext4", "DATA")]


@pytest.mark.parametrize("item", ["{pLabel: data, size: 32}", "{fsLabel: DATA, size: 32, filesystem: noformat}"])
def test_what_a_table_of_ms_dos_could_not_find_again_is_refused(disk: Path, item: str) -> None:
    subprocess.run(["sfdisk", "-q", disk], input=b"label: dos\n", check=True, capture_output=True)
    before = disk.read_bytes()
    (error,) = added(disk, item)
    assert "could not be found again" in error
    assert disk.read_bytes() == before


RAW = "{pLabel: data, size: 48, filesystem: noformat}"
REAL = "{pLabel: data, size: 48, filesystem: ext4}"


@pytest.mark.parametrize("at_mib", [1, 48.5])
def test_a_partition_with_bytes_that_nobody_knows_is_not_formatted(disk: Path, at_mib: float) -> None:
    assert added(disk, RAW) == []
    with disk.open("r+b") as file:
        file.seek(int(at_mib * (1 << 20)) + 5000)
        file.write(b"somebody's own")
    before = disk.read_bytes()
    assert added(disk, REAL) == [
        f"partition 1 of {disk} holds something that nobody knows, and is left as it is"
    ]  # fmt: skip
    assert disk.read_bytes() == before


def test_a_partition_with_a_table_of_its_own_is_not_formatted(disk: Path, tmp_path: Path) -> None:
    assert added(disk, RAW) == []
    inner = tmp_path / "inner"
    inner.touch()
    resized(inner, 48)
    subprocess.run(["sfdisk", "-q", inner], input=b"label: dos\nsize=16MiB\n", check=True, capture_output=True)
    with disk.open("r+b") as file:
        file.seek(1 << 20)
        file.write(inner.read_bytes())
    before = disk.read_bytes()
    assert added(disk, REAL) == []
    assert disk.read_bytes() == before


@pytest.mark.parametrize("at", [0, 700_000, (160 << 20) - 5])
def test_a_disk_with_bytes_that_nobody_knows_gets_no_table(disk: Path, at: int) -> None:
    with disk.open("r+b") as file:
        file.seek(at)
        file.write(b"bytes")
    before = disk.read_bytes()
    assert run(disk, ADD) == [f"{disk} holds something that nobody knows, and is left as it is"]
    assert disk.read_bytes() == before


def test_a_file_system_that_is_not_let_go_is_not_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mount point goes as an empty folder, or it stays: what is in it is the file system."""
    (tmp_path / "bin").mkdir()
    note = tmp_path / "where"
    for name, text in (
        ("mount", f'for last; do :; done; echo "$last" > {note}; echo data > "$last/data"'), ("xfs_growfs", "true"),
        ("umount", "exit 32"),
    ):  # fmt: skip
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    with pytest.raises(ToolFailed):
        _grow_mounted("xfs", "/dev/null", "")
    folder = Path(note.read_text().strip())
    assert (folder / "data").read_text() == "data\n"
    (folder / "data").unlink()
    folder.rmdir()


def test_the_size_of_a_file_system_is_read(tmp_path: Path) -> None:
    """Superblocks as mkfs.xfs (4 KiB blocks) and mkfs.btrfs write them, by their fields; ext is asked by growing."""
    xfs = b"XFSB" + (4096).to_bytes(4, "big") + (102400).to_bytes(8, "big")
    assert filesystem_bytes("xfs", xfs + bytes(1024)) == 400 << 20
    btrfs = bytearray(0x11000)
    btrfs[0x10000 + 0xC9 : 0x10000 + 0xD9] = (1).to_bytes(8, "little") + (400 << 20).to_bytes(8, "little")
    assert filesystem_bytes("btrfs", bytes(btrfs)) == 400 << 20


def test_a_root_that_is_no_disk_does_not_grow(tmp_path: Path) -> None:
    (tmp_path / "dev/block/7:0/loop").mkdir(parents=True)
    (tmp_path / "dev/block/254:2").mkdir()
    assert on_a_disk(os.makedev(254, 2), tmp_path)
    assert not on_a_disk(os.makedev(7, 0), tmp_path)
    assert not on_a_disk(os.makedev(0, 33), tmp_path)


def test_a_label_means_the_disk_that_we_run_from(tmp_path: Path) -> None:
    for part in ("vda/vda1", "vda/vda2", "vdb/vdb1"):
        (tmp_path / "devices" / part).mkdir(parents=True)
        (tmp_path / "devices" / part / "partition").write_text("1\n")
    (tmp_path / "devices/vdc").mkdir()
    (tmp_path / "dev/block").mkdir(parents=True)
    for number, part in (("254:2", "vda/vda2"), ("254:32", "vdc")):
        (tmp_path / "dev/block" / number).symlink_to(f"../../devices/{part}")
    line = "30 1 {} / /run/initramfs/cos-state ro,relatime - ext4 /dev/x ro\n"
    other = "20 1 254:17 / /oem rw - ext4 /dev/vdb1 rw\n"
    assert own_disk(other + line.format("254:2"), tmp_path) == tmp_path / "devices/vda"
    assert own_disk(line.format("254:32"), tmp_path) is None
    assert own_disk(other, tmp_path) is None


@pytest.mark.parametrize(
    ("text", "error"),
    [("add_partitions: [{pLabel: a, filesystem: zfs}]", "there is no file system 'zfs'"),
     ("add_partitions: [{size: 40}]", "a partition needs a pLabel or an fsLabel"),
     ("add_partitions: [{pLabel: 'a\"b'}]", "'a\"b' is no label: at most 36 letters, no quotes, commas or slashes"),
     ("add_partitions: [{pLabel: a, size: big}]", "size must be a number, not a text"),
     ("add_partitions: [{pLabel: a, size: 0}, {pLabel: b, size: 40}]",
      "only the last partition can have the rest (size 0)"),
     ("add_partitions: [{pLabel: a, size: 40}, {pLabel: b, fsLabel: c, size: 40}, {fsLabel: c, size: 40}]",
      "two partitions are called c"),
     ("add_partitions: [{pLabel: a, size: 999}]", "a needs 999 MiB, and 158 are free"),
     ("add_partitions: [{pLabel: a, size: 40, filesystem: xfs}]", "a has 40 MiB, and xfs takes at least 300"),
     ("add_partitions: [{pLabel: a, size: 40, filesystem: swap}]", "swap cannot be made inside an image in a file"),
     ("add_partitions: [{fsLabel: thirteenchars, filesystem: xfs}]",
      "'thirteenchars' is no label: at most 12 letters, no quotes, commas or slashes"),
     ("add_partitions: [{fsLabel: No name, filesystem: vfat}]", "'No name' is no label: it would not be found again"),
     ("add_partitions: [{fsLabel: 'DATA ', size: 40}]", "'DATA ' is no label: it would not be found again"),
     ("expand_partition: {size: 0}", "there is no partition that could grow")],
)  # fmt: skip
def test_what_cannot_be_done_changes_nothing(disk: Path, text: str, error: str) -> None:
    assert run(disk, "add_partitions: []") == []
    before = disk.read_bytes()
    assert run(disk, text) == [error]
    assert disk.read_bytes() == before


def test_a_disk_that_a_program_names(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/chroot").write_text('#!/bin/sh\nshift\nexec "$@"\n')
    (tmp_path / "bin/chroot").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/sbin:/usr/bin:/bin")
    assert run(disk, ADD, "script://echo /disk.img") == []
    assert len(found(disk)) == 3


def test_other_places_are_refused(disk: Path) -> None:
    assert run(disk, ADD, "/nothere") == [
        f"cannot go on looking at /nothere: No such file or directory: {disk.parent}/nothere"
    ]
    assert run(disk, ADD, "/") == ["/ is no image in a file, and --root is not the running system"]
