"""What the module `layout` is to do to a disk, thought out before anything is done (os-and-ota.md §6.4).

Partitions are only added behind the others, and only the last one grows: nothing that is there moves, shrinks or goes.
All sizes are sectors but where the name says otherwise.
"""

from __future__ import annotations

from treebuilder.annotations import Final
from treebuilder.cloudconfig.machine import Machine
from treebuilder.errors import TreebuildError
from treebuilder.nodes import Node
from treebuilder.records import record, replace

FILESYSTEMS: Final = ("ext2", "ext3", "ext4", "xfs", "btrfs", "vfat", "swap", "noformat")
_ALIASES: Final = {"fat": "vfat", "fat32": "vfat", "none": "noformat"}
_SWAP = {"gpt": "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F", "dos": "82"}
_DATA = {"gpt": "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7", "dos": "c"}
_LINUX = {"gpt": "0FC63DAF-8483-4772-8E79-3D69D8477DE4", "dos": "83"}
_LEAST_MIB = 32
_LEAST = {"xfs": 300, "btrfs": 110}  # what their mkfs takes, MiB
_MOST = {"vfat": 1 << 21}
_MAX_PRIMARY = 4
_MAX_NAME = 36
_MAX_LABEL = {"vfat": 11, "xfs": 12, "swap": 15, "ext2": 16, "ext3": 16, "ext4": 16}
_NO_LABEL = "NO NAME"  # how FAT writes that there is none


@record
class Wanted:
    """A partition to be added. `label` is the file system's, `name` is in the table; `size_mib` 0 is the rest."""

    name: str
    label: str
    size_mib: int
    filesystem: str
    bootable: bool

    @property
    def key(self) -> str:
        """What a GPT calls it: it is found again by this also where it was not formatted."""
        return self.name or self.label


@record
class Wish:
    """What a file says. `grow_mib` is None where nothing grows, 0 for all that is free."""

    path: str
    label: str
    init: bool
    add: tuple[Wanted, ...]
    grow_mib: int | None


@record
class Part:
    """A partition that is there, and its type in the table. `filesystem` and `label` are what blkid finds, or ""."""

    number: int
    start: int
    size: int
    name: str = ""
    filesystem: str = ""
    label: str = ""
    type: str = ""

    @property
    def end(self) -> int:
        """The first sector behind it."""
        return self.start + self.size


@record
class Table:
    """`kind` is gpt or dos; `last` is the last sector that a partition may have."""

    kind: str
    sector_bytes: int
    last: int
    parts: tuple[Part, ...]

    @property
    def mib(self) -> int:
        return (1 << 20) // self.sector_bytes

    @property
    def tail(self) -> Part | None:
        """The partition that lies last."""
        return max(self.parts, key=lambda part: part.end, default=None)


@record
class Step:
    """A partition as it is to be. `grown` is one that is there already; `script` is for sfdisk."""

    part: Part
    wanted: Wanted | None
    script: str

    @property
    def grown(self) -> bool:
        return self.wanted is None


def read(node: Node, machine: Machine) -> Wish:
    """Raises SpecError."""
    device = node.get("device")
    if device is None:
        node.fail("device is missing", reason="missing-key")
    path = machine.render(machine.text(device, "path"), device.place)
    label = machine.render(machine.text(device, "label"), device.place)
    if bool(path) == bool(label):
        device.fail("a device has a path, or a label", reason="missing-key")
    if machine.text(device, "disk_name"):
        machine.warn("disk_name does nothing", device.place)
    grow = node.get("expand_partition")
    size = None if grow is None else _size(grow)
    wanted = tuple(_wanted(item, machine) for item in node.children("add_partitions"))
    for item in wanted[:-1]:
        if item.size_mib == 0:
            node.fail("only the last partition can have the rest (size 0)", reason="layout")
    for words in ([item.key for item in wanted], [item.label for item in wanted if item.label]):
        twice = next((word for word in words if words.count(word) > 1), None)
        if twice is not None:
            node.fail(f"two partitions are called {twice}", reason="layout")
    return Wish(path, label, device.boolean("init_disk"), wanted, size)


def plan(table: Table, wish: Wish) -> tuple[Step, ...]:
    """What is left to do, in order; nothing where all is there. Raises TreebuildError (reason "layout")."""
    steps: list[Step] = []
    missing = [wanted for wanted, part in _matched(table, wish) if part is None]
    if wish.grow_mib is not None:
        grown = _grown(table, wish.grow_mib, missing)
        if grown is not None:
            steps.append(grown)
            table = _with(table, grown.part)
    for wanted in missing:
        added = _added(table, wanted)
        steps.append(added)
        table = _with(table, added.part)
    return tuple(steps)


def unformatted(table: Table, wish: Wish) -> tuple[tuple[Part, Wanted], ...]:
    """Partitions of ours that an earlier run made, and did not come to format: blkid finds nothing on them."""
    pairs = [(part, wanted) for wanted, part in _matched(table, wish) if wanted.filesystem != "noformat"]
    return tuple((part, wanted) for part, wanted in pairs if part is not None and not part.filesystem)


def _matched(table: Table, wish: Wish) -> list[tuple[Wanted, Part | None]]:
    """Each with the partition that it is, None where it is missing.

    A table of MS-DOS has no names: there the first that is missing is the last partition, if that has its size and type
    and nothing on it. A run that was cut short leaves such a one.
    """
    pairs = [(wanted, _there(table, wanted)) for wanted in wish.add]
    tail = table.tail
    if table.kind == "dos" and tail is not None and all(part != tail for _, part in pairs):
        first = next((i for i, (_, part) in enumerate(pairs) if part is None), None)
        if first is not None and _is_unfinished(table, tail, pairs[first][0]):
            pairs[first] = (pairs[first][0], tail)
    return pairs


def _there(table: Table, wanted: Wanted) -> Part | None:
    """By the name in the table, else by the label of the file system."""
    named = next((part for part in table.parts if part.name == wanted.key), None)
    if named is not None or not wanted.label:
        return named
    return next((part for part in table.parts if _same_label(part, wanted.label)), None)


def _is_unfinished(table: Table, tail: Part, wanted: Wanted) -> bool:
    if tail.filesystem or tail.label or wanted.filesystem == "noformat":
        return False
    size_mib = wanted.size_mib or (table.last + 1 - tail.start) // table.mib
    return (tail.size, tail.type) == (size_mib * table.mib, _type(table, wanted))


def _same_label(part: Part, label: str) -> bool:
    """Some mkfs.vfat write a label in capitals."""
    return part.label == label or (part.filesystem == "vfat" and part.label.upper() == label.upper())


def _type(table: Table, wanted: Wanted) -> str:
    return {"swap": _SWAP, "vfat": _DATA}.get(wanted.filesystem, _LINUX)[table.kind]


def _grown(table: Table, size_mib: int, missing: list[Wanted]) -> Step | None:
    """The last partition with all that is free, or with a size; None where it has that already."""
    part = table.tail
    if part is None:
        raise TreebuildError("there is no partition that could grow", reason="layout")
    if size_mib == 0 and missing:
        raise TreebuildError("a partition cannot take all the room before others are added", reason="layout")
    room = table.last + 1 - part.start
    size = room - room % table.mib if size_mib == 0 else size_mib * table.mib
    if size > room:
        raise TreebuildError(
            f"partition {part.number} cannot have {size_mib} MiB: there is room for {room // table.mib}",
            reason="layout",
        )
    if size < part.size + table.mib:  # less than a MiB is not worth it
        return None
    return Step(replace(part, size=size), None, f"size={size}")


def _added(table: Table, wanted: Wanted) -> Step:
    tail = table.tail
    behind = tail.end if tail is not None else 0
    start = max(table.mib, -(-behind // table.mib) * table.mib)
    free_mib = max(0, table.last + 1 - start) // table.mib
    size_mib = wanted.size_mib or free_mib
    if free_mib < _LEAST_MIB or size_mib > free_mib:
        need = max(size_mib, _LEAST_MIB)
        raise TreebuildError(f"{wanted.key} needs {need} MiB, and {free_mib} are free", reason="layout")
    least, most = _LEAST.get(wanted.filesystem, 0), _MOST.get(wanted.filesystem, size_mib)
    if not least <= size_mib <= most:
        bound = f"at least {least}" if size_mib < least else f"at most {most}"
        raise TreebuildError(f"{wanted.key} has {size_mib} MiB, and {wanted.filesystem} takes {bound}", reason="layout")
    number = next(n for n in range(1, 1000) if all(part.number != n for part in table.parts))
    if table.kind == "dos" and number > _MAX_PRIMARY:
        raise TreebuildError(f"there is no place for {wanted.key}: a table of MS-DOS has four", reason="layout")
    if table.kind == "dos" and (not wanted.label or wanted.filesystem == "noformat"):  # it would be added at each boot
        raise TreebuildError(
            f"{wanted.key} could not be found again: a table of MS-DOS has no names, so that it needs an fsLabel"
            " and a file system", reason="layout",
        )  # fmt: skip
    name = wanted.key if table.kind == "gpt" else ""
    kind = _type(table, wanted)
    part = Part(number, start, size_mib * table.mib, name, "", wanted.label, kind)
    fields = [f"start={part.start}", f"size={part.size}", f"type={kind}"]
    if name:
        fields.append(f'name="{name}"')
    if wanted.bootable:
        fields.append('attrs="LegacyBIOSBootable"' if table.kind == "gpt" else "bootable")
    return Step(part, wanted, ", ".join(fields))


def _with(table: Table, part: Part) -> Table:
    others = tuple(each for each in table.parts if each.number != part.number)
    return Table(table.kind, table.sector_bytes, table.last, (*others, part))


def _wanted(item: Node, machine: Machine) -> Wanted:
    name, label = machine.text(item, "pLabel"), machine.text(item, "fsLabel")
    filesystem = machine.text(item, "filesystem").lower() or "ext2"
    filesystem = _ALIASES.get(filesystem, filesystem)
    if filesystem not in FILESYSTEMS:
        item.fail(f"there is no file system {filesystem!r}", hint=f"one of {', '.join(FILESYSTEMS)}", reason="layout")
    if not name and not label:  # it would be added again at each boot
        item.fail("a partition needs a pLabel or an fsLabel", reason="missing-key")
    for word, most in ((name, _MAX_NAME), (label, _MAX_LABEL.get(filesystem, _MAX_NAME))):
        if len(word) > most or not word.isprintable() or not word.isascii() or set(word) & set("\"'\\/,"):
            item.fail(f"{word!r} is no label: at most {most} letters, no quotes, commas or slashes", reason="layout")
        if word != word.strip() or word.upper() == _NO_LABEL:
            item.fail(f"{word!r} is no label: it would not be found again", reason="layout")
    return Wanted(name, label, _size(item), filesystem, item.boolean("bootable"))


def _size(item: Node) -> int:
    size = item.integer("size")
    if not 0 <= size < 1 << 40:
        item.fail(f"size must be a number of MiB, not {size}", reason="wrong-type")
    return size
