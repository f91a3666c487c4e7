"""The module layout: what it plans, as laws, and what it does to disks in files."""

from __future__ import annotations

import itertools
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.services import program
from treebuilder.cloudconfig.layout import Part, Table, Wanted, Wish, plan, unformatted
from treebuilder.cloudconfig.stages import Runner
from treebuilder.errors import TreebuildError
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
    st.lists(WANTED, max_size=3, unique_by=lambda wanted: wanted.name).map(tuple),
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
    kept = tuple(wanted for wanted in wish.add if table.kind == "gpt" or wanted.label)
    wish = replace(wish, add=kept, grow_mib=None)
    try:
        steps = plan(table, wish)
    except TreebuildError:
        return
    added = tuple(step.part for step in steps)
    after = replace(table, parts=(*table.parts, *added))
    assert plan(after, wish) == ()
    assert {part.number for part, _ in unformatted(after, wish)} >= {
        step.part.number for step in steps if step.wanted is not None and step.wanted.filesystem != "noformat"
    }


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


@pytest.mark.parametrize(
    ("text", "error"),
    [("add_partitions: [{pLabel: a, filesystem: zfs}]", "there is no file system 'zfs'"),
     ("add_partitions: [{size: 40}]", "a partition needs a pLabel or an fsLabel"),
     ("add_partitions: [{pLabel: 'a\"b'}]", "'a\"b' is no label: at most 36 letters, no quotes, commas or slashes"),
     ("add_partitions: [{pLabel: a, size: big}]", "size must be a number, not a text"),
     ("add_partitions: [{pLabel: a, size: 0}, {pLabel: b, size: 40}]",
      "only the last partition can have the rest (size 0)"),
     ("add_partitions: [{pLabel: a, size: 999}]", "a needs 999 MiB, and 158 are free"),
     ("add_partitions: [{pLabel: a, size: 40, filesystem: xfs}]", "xfs cannot be made inside an image in a file"),
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
