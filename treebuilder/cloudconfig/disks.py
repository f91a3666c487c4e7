"""The module `layout`: partitions of a disk, or of a disk's image in a file, by sfdisk and the tools of file systems.

A disk in use gets new partitions too: the kernel is told of them alone. A file system grows where it is mounted, or
where nobody else holds it; what cannot be done is refused before the table changes.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from treebuilder.annotations import Any
from treebuilder.cloudconfig.layout import Part, Step, Table, Wanted, Wish, plan, read, unformatted
from treebuilder.cloudconfig.machine import Machine
from treebuilder.errors import ToolFailed, TreebuildError
from treebuilder.nodes import Node
from treebuilder.records import record, replace
from treebuilder.system.clock import monotonic_s, sleep
from treebuilder.system.files import disk_errors
from treebuilder.system.process import require, run

_WHY = "for the module layout"
_APPEAR_S = 15.0
_POLL_S = 0.1
_CHUNK = 1 << 20
_EXT = ("ext2", "ext3", "ext4")
_HEAD = (1 << 16) + 4096  # where superblocks are
_GPT_BACKUP = 33  # sectors of the second table, at the end of the disk


@record
class Disk:
    """`is_image`: a regular file. `size_bytes` is all of it."""

    path: str
    is_image: bool
    size_bytes: int


@record
class _Place:
    """Where a partition's bytes are: a node of its own, or a part of an image. Bytes."""

    path: str
    offset: int
    size: int
    is_image: bool


def layout(node: Node, machine: Machine) -> None:
    """Raises SpecError, TreebuildError (reasons layout, disk), ToolFailed, MissingProgram."""
    wish = read(node, machine)
    if machine.rehearsal:
        return
    if wish == Wish("/", "", False, (), wish.grow_mib) and _has_no_disk(machine):  # growpart, made for other systems
        machine.note(
            "/ is an image or lies on no disk, and does not grow", node.place,
            "layout: {device: {label: COS_PERSISTENT}, expand_partition: {size: 0}}",
        )  # fmt: skip
        return
    disk = _find(wish.path, wish.label, machine)
    if wish.init:
        _init(disk)
    table = _table(disk)
    for part, wanted in unformatted(table, wish):
        place = _place(disk, table, part)
        _refuse_content(place, f"partition {part.number} of {disk.path}")
        _format(place, wanted)
    steps = plan(table, wish)
    if wish.grow_mib is not None and not any(step.grown for step in steps):
        _finish(disk, table)
    for step in steps:
        if step.grown:
            _grow(disk, table, step)
        else:
            _add(disk, table, step)


# the disk -----------------------------------------------------------------------------------------------------------
def _find(path: str, label: str, machine: Machine) -> Disk:
    """The disk at a path, or that a labelled partition or a mounted folder lies on."""
    if path.startswith("script://"):
        words = ["sh", "-c", path.removeprefix("script://")]
        done = run(words if machine.root.is_host else ["chroot", str(machine.root.folder), *words], timeout_s=60)
        path = done.stdout.decode("utf-8", "surrogateescape").strip()
    if label:
        if not machine.root.is_host:
            raise TreebuildError("a label is looked for on the running system only", reason="disk")
        path = _labelled(label)
    real = machine.root.locate(path)
    with disk_errors(f"looking at {path}"):
        info = real.stat()
    if stat.S_ISREG(info.st_mode):
        return Disk(str(real), True, info.st_size)
    if not machine.root.is_host:
        raise TreebuildError(f"{path} is no image in a file, and --root is not the running system", reason="disk")
    device = info.st_rdev if stat.S_ISBLK(info.st_mode) else info.st_dev
    folder = Path(os.path.realpath(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"))
    folder = folder.parent if (folder / "partition").exists() else folder
    if not (folder / "size").exists():
        raise TreebuildError(f"{path} lies on no disk", reason="disk")
    if (folder / "ro").read_text().strip() != "0":
        raise TreebuildError(f"/dev/{folder.name} cannot be written", reason="disk")
    return Disk(f"/dev/{folder.name}", False, int((folder / "size").read_text()) * 512)


def _labelled(label: str) -> str:
    argv = [require("blkid", _WHY), "-c", "/dev/null", "-t", f"LABEL={label}", "-o", "device"]
    found = run(argv, check=False).stdout.decode("utf-8", "surrogateescape").split()
    if len(found) > 1:
        ours = own_disk(Path("/proc/self/mountinfo").read_text(errors="surrogateescape"), Path("/sys"))
        found = [node for node in found if ours and (ours / os.path.basename(node) / "partition").exists()] or found
    if len(found) != 1:
        said = f"several partitions are called {label}" if found else f"there is no partition {label}"
        raise TreebuildError(said, reason="disk")
    return found[0]


def on_a_disk(device: int, sysfs: Path) -> bool:
    """Whether a file system's device is a disk or a partition; an image is in a loop, and an overlay on nothing."""
    folder = sysfs / f"dev/block/{os.major(device)}:{os.minor(device)}"
    return folder.exists() and not (folder / "loop").exists()


def _has_no_disk(machine: Machine) -> bool:
    return machine.root.is_host and not on_a_disk(os.stat("/").st_dev, Path("/sys"))


def own_disk(mountinfo: str, sysfs: Path) -> Path | None:
    """The folder in `sysfs` of the disk that the running image lies on: a label means its partition first."""
    for line in mountinfo.splitlines():
        words = line.split()
        if len(words) > 4 and words[4] in ("/run/initramfs/cos-state", "/run/initramfs/live"):
            part = Path(os.path.realpath(sysfs / "dev/block" / words[2]))
            return part.parent if (part / "partition").exists() else None
    return None


def _probe(path: str, offset: int = 0, size: int = 0) -> tuple[str, str, bool]:
    """What blkid finds, its label, and whether there is a table of partitions.

    Anything that it has a word for counts as something, also an unclear answer.
    """
    words = ["-O", str(offset), "-S", str(size)] if size else []
    done = run([require("blkid", _WHY), "-p", *words, "-o", "export", path], check=False)
    if done.status not in (0, 2, 8):
        raise ToolFailed(f"blkid failed with exit code {done.status}", exit_status=done.status, tail=done.tail)
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    pairs = [line.split("=", 1) for line in lines if "=" in line and not line.startswith(("DEVNAME=", "PART_ENTRY_"))]
    found = {name: re.sub(r"\\(.)", r"\1", value) for name, value in pairs}  # it writes for a shell: DA\ TA
    kind = found.get("TYPE") or ("a table of partitions" if "PTTYPE" in found else "something" if found else "")
    return "several" if done.status == 8 else kind, found.get("LABEL", ""), "PTTYPE" in found


def _refuse_content(place: _Place, what: str) -> None:
    """blkid knows much and not all: what is to be overwritten must begin and end with zeros too.

    Raises TreebuildError (reason "disk").
    """
    with disk_errors(f"reading {place.path}"), open(place.path, "rb", buffering=0) as file:
        for at in (0, max(0, place.size - _CHUNK)):
            if os.pread(file.fileno(), min(_CHUNK, place.size), place.offset + at).strip(b"\0"):
                raise TreebuildError(
                    f"{what} holds something that nobody knows, and is left as it is",
                    reason="disk", hint="where it can go: write zeros to its first and its last MiB",
                )  # fmt: skip


def _init(disk: Disk) -> None:
    """An empty disk gets a table; one with a table keeps it. Raises TreebuildError for one with anything else."""
    found, _, has_table = _probe(disk.path)
    if has_table:
        return
    if found:
        raise TreebuildError(f"{disk.path} is not empty ({found}), and is left as it is", reason="disk")
    whole = _Place(disk.path, 0, disk.size_bytes, disk.is_image)
    _refuse_content(whole, disk.path)
    _refuse_held(whole, "gets no table")
    _sfdisk(disk, ["--wipe", "never"], "label: gpt\n")


def _table(disk: Disk) -> Table:
    """The table as it is; a second one of a GPT that is not at the disk's end is brought there."""
    value = _dump(disk)
    sector = int(value.get("sectorsize", 512))
    sectors = disk.size_bytes // sector
    if value["label"] == "gpt" and int(value["lastlba"]) + 1 + _GPT_BACKUP < sectors:
        _sfdisk(disk, ["--relocate", "gpt-bak-std"], "")
        value = _dump(disk)
    last = int(value["lastlba"]) if value["label"] == "gpt" else min(sectors, 1 << 32) - 1
    table = Table(value["label"], sector, last, ())
    parts = []
    for item in value.get("partitions", []):
        number = int(item["node"].removeprefix(disk.path).lstrip("p"))
        start, size = int(item["start"]), int(item["size"])
        parts.append(Part(number, start, size, item.get("name", ""), type=item.get("type", "")))
    _await(disk, [_place(disk, table, part).path for part in parts])
    return replace(table, parts=tuple(_probed(disk, table, part) for part in parts))


def _probed(disk: Disk, table: Table, part: Part) -> Part:
    place = _place(disk, table, part)
    found, label, _ = _probe(place.path, place.offset, place.size if place.is_image else 0)
    return replace(part, filesystem=found, label=label)


def _dump(disk: Disk) -> dict[str, Any]:
    """Raises ToolFailed, TreebuildError (reason "disk") for a table that is neither GPT nor MS-DOS."""
    try:
        done = run([require("sfdisk", _WHY), "--json", disk.path])
    except ToolFailed as err:
        raise TreebuildError(
            f"{disk.path} has no table of partitions", reason="disk", hint="init_disk: true makes one on an empty disk"
        ) from err
    value: dict[str, Any] = json.loads(done.stdout)["partitiontable"]
    if value["label"] not in ("gpt", "dos"):
        raise TreebuildError(f"{disk.path} has a table of another kind: {value['label']}", reason="disk")
    return value


def _sfdisk(disk: Disk, words: list[str], script: str) -> None:
    """The disk may be in use, so the kernel is told of what changed alone: it refuses to read such a table anew."""
    flags = ["--quiet", "--force", "--no-reread", "--no-tell-kernel"]
    program, tell = require("sfdisk", _WHY), [] if disk.is_image else [require("partx", _WHY)]
    run([program, *flags, *words, disk.path], input=script.encode())
    if tell:
        run([*tell, "--update", disk.path], check=False)  # it fails where nothing changed on an empty disk


def _await(disk: Disk, paths: list[str]) -> None:
    """Until the kernel has these partitions. Raises TreebuildError (reason "disk")."""
    if all(map(os.path.exists, paths)):
        return
    run([require("partx", _WHY), "--update", disk.path], check=False)
    until = monotonic_s() + _APPEAR_S
    while missing := [path for path in paths if not os.path.exists(path)]:
        if monotonic_s() > until:
            raise TreebuildError(
                f"{missing[0]} is in the table, and does not appear", reason="disk", hint="start again"
            )
        sleep(_POLL_S)


def _place(disk: Disk, table: Table, part: Part) -> _Place:
    size = part.size * table.sector_bytes
    if disk.is_image:
        return _Place(disk.path, part.start * table.sector_bytes, size, True)
    return _Place(f"{disk.path}{'p' if disk.path[-1].isdigit() else ''}{part.number}", 0, size, False)


# adding -------------------------------------------------------------------------------------------------------------
def _add(disk: Disk, table: Table, step: Step) -> None:
    assert step.wanted is not None
    place = _place(disk, table, step.part)
    _refuse_unknown(place, step.wanted.filesystem)
    if step.wanted.filesystem != "noformat":
        _clear(disk, table, step.part)
    _sfdisk(disk, ["--append", "--wipe-partitions", "always"], f"{step.script}\n")
    _await(disk, [place.path])
    if step.wanted.filesystem != "noformat":
        _format(place, step.wanted)


def _clear(disk: Disk, table: Table, part: Part) -> None:
    """Zeros at both ends of room that is free: so a later run knows the partition for ours, and formats it."""
    start, size = part.start * table.sector_bytes, part.size * table.sector_bytes
    with disk_errors(f"writing {disk.path}"), open(disk.path, "r+b", buffering=0) as file:
        for at in (start, start + max(0, size - _CHUNK)):
            os.pwrite(file.fileno(), bytes(min(_CHUNK, size)), at)
        os.fsync(file.fileno())


def _refuse_unknown(place: _Place, filesystem: str) -> None:
    """Raises before the table changes: MissingProgram, TreebuildError."""
    if place.is_image and filesystem not in (*_EXT, "vfat", "noformat"):
        raise TreebuildError(f"{filesystem} cannot be made inside an image in a file", reason="layout")
    if filesystem != "noformat":
        require("mkswap" if filesystem == "swap" else f"mkfs.{filesystem}", _WHY)


def _format(place: _Place, wanted: Wanted) -> None:
    """GRUB 2.06 reads no ext4 whose checksums have a seed of their own, so that is left out."""
    _refuse_unknown(place, wanted.filesystem)
    if _refuse_held(place, "is not formatted"):
        raise TreebuildError(f"{place.path} is mounted, and is not formatted", reason="disk")
    label, kib = wanted.label, str(place.size >> 10)
    match wanted.filesystem:
        case "vfat":
            words = ["mkfs.vfat", *(["-n", label] if label else [])]
            words += ["--offset", str(place.offset // 512), place.path, kib] if place.is_image else [place.path]
        case "swap":
            words = ["mkswap", *(["-L", label] if label else []), place.path]
        case "xfs" | "btrfs":
            words = [f"mkfs.{wanted.filesystem}", "-q", "-f", *(["-L", label] if label else []), place.path]
        case kind:
            words = [f"mkfs.{kind}", "-q", "-F", "-O", "^metadata_csum_seed", *(["-L", label] if label else [])]
            words += ["-E", f"offset={place.offset}", place.path, f"{kib}k"] if place.is_image else [place.path]
    run([require(words[0], _WHY), *words[1:]])


# growing ------------------------------------------------------------------------------------------------------------
def _grow(disk: Disk, table: Table, step: Step) -> None:
    place = _place(disk, table, step.part)
    kind = step.part.filesystem
    mounted = _refuse_held(place)
    if kind and not _can_grow(place, kind):
        raise TreebuildError(f"partition {step.part.number} holds {kind}, which cannot grow here", reason="layout")
    if kind:
        require({"xfs": "xfs_growfs", "btrfs": "btrfs"}.get(kind, "resize2fs"), _WHY)
    _sfdisk(disk, ["-N", str(step.part.number)], f"{step.script}\n")
    if kind:
        _grow_filesystem(kind, place, mounted)


def _can_grow(place: _Place, kind: str) -> bool:
    return kind in _EXT or (kind in ("xfs", "btrfs") and not place.is_image)


def _grow_filesystem(kind: str, place: _Place, mounted: str) -> None:
    if kind in _EXT:
        _grow_ext(place, mounted)
    else:
        _grow_mounted(kind, place.path, mounted)


def _finish(disk: Disk, table: Table) -> None:
    """The file system of a partition that an earlier run made larger, and did not come further."""
    part = table.tail
    if part is None:
        return
    place = _place(disk, table, part)
    if not _can_grow(place, part.filesystem):
        return
    with disk_errors(f"reading {place.path}"), Path(place.path).open("rb") as file:
        file.seek(place.offset)
        size = filesystem_bytes(part.filesystem, file.read(_HEAD))
    if size + (1 << 20) <= place.size:
        _grow_filesystem(part.filesystem, place, _refuse_held(place))


def filesystem_bytes(kind: str, head: bytes) -> int:
    """The size of an ext, xfs or btrfs by its superblock: at bytes 1024, 0, 65536.

    Source: the kernel's ext4.h, xfs_format.h and btrfs_tree.h (the size of one device of a btrfs is in its dev_item).
    """
    if kind == "xfs":
        return int.from_bytes(head[4:8], "big") * int.from_bytes(head[8:16], "big")
    if kind == "btrfs":
        return int.from_bytes(head[0x10000 + 0xD1 : 0x10000 + 0xD9], "little")
    block = head[1024:2048]
    blocks = int.from_bytes(block[4:8], "little") | int.from_bytes(block[0x150:0x154], "little") << 32
    return blocks << (10 + int.from_bytes(block[24:28], "little"))


def _grow_ext(place: _Place, mounted: str) -> None:
    resize = require("resize2fs", _WHY)
    if mounted:
        run([resize, place.path])
        return
    with _apart(place) as path:
        _check(path)
        run([resize, path])


@contextmanager
def _apart(place: _Place) -> Iterator[str]:
    """A partition's node. Of an image a copy that is brought back: resize2fs cuts a file off behind what it writes."""
    if not place.is_image:
        yield place.path
        return
    folder = os.path.dirname(place.path)
    with (
        disk_errors("making a partition larger", folder), tempfile.NamedTemporaryFile(dir=folder) as copy,
        open(place.path, "r+b") as image,
    ):  # fmt: skip
        _copy(image.fileno(), place.offset, copy.fileno(), 0, place.size)
        yield copy.name
        _copy(copy.fileno(), 0, image.fileno(), place.offset, place.size)
        os.fsync(image.fileno())


def _copy(source: int, read_at: int, target: int, write_at: int, size: int) -> None:
    """Writes what differs alone, so that holes stay holes."""
    os.ftruncate(target, max(write_at + size, os.fstat(target).st_size))
    for at in range(0, size, _CHUNK):
        wanted = os.pread(source, min(_CHUNK, size - at), read_at + at)
        if os.pread(target, len(wanted), write_at + at) != wanted:
            done = os.pwrite(target, wanted, write_at + at)
            if done < len(wanted):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _refuse_held(place: _Place, so: str = "cannot grow") -> str:
    """Where it is mounted, "" for nowhere. Raises TreebuildError where it cannot be changed without harm."""
    if place.is_image:
        return ""
    path = place.path
    device = os.stat(path).st_rdev
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        fields, _, more = line.partition(" - ")
        words = fields.split()
        major, _, minor = words[2].partition(":")
        if os.makedev(int(major), int(minor)) == device:
            if "ro" in (*words[5].split(","), *more.split()[2].split(",")):
                raise TreebuildError(f"{path} is mounted read-only, and {so}", reason="disk")
            return words[4]
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as err:
        raise TreebuildError(f"{path} is in use elsewhere, and {so}: {err.strerror}", reason="disk") from err
    return ""


def _check(target: str) -> None:
    """resize2fs wants it. 1: faults were mended."""
    done = run([require("e2fsck", _WHY), "-f", "-p", target], check=False)
    if done.status not in (0, 1):
        raise ToolFailed(f"e2fsck failed with exit code {done.status}", exit_status=done.status, tail=done.tail)


def _grow_mounted(kind: str, path: str, mounted: str) -> None:
    """xfs and btrfs grow only where they are mounted."""
    words = ["xfs_growfs"] if kind == "xfs" else ["btrfs", "filesystem", "resize", "max"]
    program = [require(words[0], _WHY), *words[1:]]
    if mounted:
        run([*program, mounted])
        return
    # Made and removed as an empty folder: what is in it is the file system. In stage rootfs only /run can be written.
    folder = tempfile.mkdtemp(prefix="layout-", dir="/run" if os.access("/run", os.W_OK) else None)
    try:
        run([require("mount", _WHY), "-t", kind, "-o", "nosuid,nodev,noexec", path, folder])
        try:
            run([*program, folder])
        finally:
            run([require("umount", _WHY), folder])
    finally:
        with suppress(OSError):  # still mounted, which an error says
            os.rmdir(folder)
