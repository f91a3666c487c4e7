"""Partitions as the owner's cloud-config says them: stage `partitioning` of a file, as `cos-installer` takes it.

The table is a GPT and its first partition what the boot loader needs; the file's `layout` steps add the others, among
them those with the labels of a system. What the file says is looked at whole before a byte is written.
Source: os-and-ota facts 5.2 (--partition-layout), 6.4.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from treebuilder.cloudconfig import layout as asked
from treebuilder.cloudconfig.config import Step
from treebuilder.cloudconfig.rehearsal import Rehearsal, rehearse
from treebuilder.cloudconfig.stages import Runner
from treebuilder.device import layout, places
from treebuilder.device.disk import Disk
from treebuilder.device.layout import Firmware, Layout, Partition, Table
from treebuilder.errors import ConfigError, NoSpace, SpecError
from treebuilder.events import EventSink
from treebuilder.system.files import disk_errors

STAGE = "partitioning"
_LABELS = (places.OEM, places.RECOVERY, places.STATE, places.PERSISTENT)
_JOURNALLED = ("ext2", "ext3", "ext4")  # what GRUB reads, and can be frozen


def first_partition(firmware: Firmware, esp_mib: int) -> Layout:
    """The table before the file's partitions are added: only what the boot loader needs."""
    name, label, filesystem, size_mib = layout.loader_part(firmware, esp_mib)
    return Layout(firmware, Table.GPT, (Partition(1, name, label, filesystem, layout.LEAD_MIB, size_mib),))


def checked(path: Path, disk: Disk, first: Layout, image_mib: int, events: EventSink) -> Runner:
    """The file, read. Refuses one that would not give this disk a system's partitions.

    Raises SpecError with file and line, ConfigError (reason "bad-layout"), NoSpace. Nothing was changed then.
    """
    runner = _runner(path, events)
    wanted = [item for step in _steps(path, runner) for item in _added(step, disk)]
    labels = [item.label for item in wanted]
    missing = [label for label in _LABELS if label not in labels]
    if missing:
        raise ConfigError(
            f"{path}: stage {STAGE} makes no partition {', '.join(missing)}", reason="bad-layout",
            hint="layout.add_partitions needs an item with that fsLabel",
        )  # fmt: skip
    for item in wanted:
        if item.label in _LABELS and item.filesystem not in _JOURNALLED:
            raise ConfigError(f"{path}: {item.label} must be ext4, not {item.filesystem}", reason="bad-layout")
        least = layout.least_mib(item.label, image_mib)
        if item.label in _LABELS and 0 < item.size_mib < least:
            raise ConfigError(
                f"{path}: {item.label} cannot have {item.size_mib} MiB: it needs {least} or more", reason="bad-layout"
            )
    last = first.partitions[-1]
    sizes = [item.size_mib or layout.least_mib(item.label, image_mib) for item in wanted]
    needed = last.start_mib + last.size_mib + sum(sizes) + layout.TAIL_MIB
    if needed > disk.size_mib:
        raise NoSpace(
            f"{disk.node} has {disk.size_mib} MiB and {path} needs {needed}",
            hint="take a larger disk, or smaller sizes; nothing was changed",
        )
    return runner


def add(runner: Runner) -> None:
    """Runs the stage: makes the partitions and their file systems. Raises the first error that there is."""
    runner.run(STAGE)
    for err in runner.errors:
        raise err


def _steps(path: Path, runner: Runner) -> list[Step]:
    found = runner.ordered(STAGE)
    for err in runner.errors:
        raise err
    if not found:
        raise ConfigError(f"{path} has no stage {STAGE}", reason="bad-layout")
    return found


def _runner(path: Path, events: EventSink) -> Runner:
    with disk_errors(f"reading {path}"):
        os.stat(path)
    runner = Runner(Path("/"), events)
    runner.read([str(path)])
    for err in runner.errors:
        raise err
    return runner


def _added(step: Step, disk: Disk) -> tuple[asked.Wanted, ...]:
    """What a step adds to the disk. Raises SpecError for what is no partitioning of this disk."""
    for fault in rehearse(step.node):
        raise SpecError(fault.message, where=fault.where, hint=fault.hint or None, reason="bad-layout")
    node = step.node.get("layout")
    if node is None:
        return ()
    with tempfile.TemporaryDirectory(prefix="treebuild-layout-") as folder:
        wish = asked.read(node, Rehearsal(Path(folder)))
    if not wish.path or os.path.realpath(wish.path) != disk.node:
        raise SpecError(
            f"this is about {wish.path or wish.label}, and the system goes to {disk.node}", where=node.place,
            hint=f"device: {{path: {disk.node}}}", reason="bad-layout",
        )  # fmt: skip
    if wish.init:
        raise SpecError(
            "init_disk is not for an installation: the table is made by it", where=node.place, reason="bad-layout"
        )
    return wish.add
