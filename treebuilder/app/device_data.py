"""Where a device works and keeps its data: COS_PERSISTENT, COS_OEM, and COS_STATE in their place."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.device import disk, here, workfolder, writing
from treebuilder.device.places import DATA_MOUNT, OEM, PARTITION_NAMES, PERSISTENT, STATE
from treebuilder.device.states import Slot
from treebuilder.errors import Cancelled, StateCorrupt, TreebuildError
from treebuilder.events import EventSink, Warned

if TYPE_CHECKING:
    from treebuilder.app.device import Site


def data_place(kernel: here.Kernel) -> Path | None:
    """Where COS_PERSISTENT is mounted, when it can be written; where our disk has none, what the owner has mounted in
    its place."""
    try:
        found = here.partition(kernel, PERSISTENT)
    except StateCorrupt:
        return None
    for mount in here.mounts(kernel):
        wanted = mount.device == found.device if found is not None else mount.place == DATA_MOUNT
        # Without a partition an overlay is there, which is memory.
        if wanted and not mount.read_only and not mount.device.startswith("0:"):
            return mount.place
    return None


def workplace(data: Path | None, slots: Path, size_bytes: int, booted: Slot, events: EventSink) -> Path:
    """Where an upgrade works: on COS_PERSISTENT, or in the folder of the slots where there is room and there is none.

    `size_bytes` is the image that runs, as a measure for the next one.
    """
    if data is None:
        if booted is not Slot.RECOVERY:  # where it is not mounted by itself
            events.emit(Warned(f"{PERSISTENT} is gone or cannot be written: work is done on {STATE}"))
        return slots
    wanted = workfolder.TIMES * size_bytes
    if workfolder.free_bytes(data) < wanted and workfolder.free_bytes(slots) >= wanted + size_bytes:
        return slots
    return data


@contextmanager
def data_folders(site: Site, labels: Iterable[str]) -> Iterator[Iterator[Path]]:
    """Where the partitions OEM and PERSISTENT can be written; of plain folders their places in the root.

    One that cannot be mounted gets a new file system when its turn comes, for it is to be emptied.
    Raises StateCorrupt (reason "no-partition"), TreebuildError.
    """
    if site.plain:
        places = {OEM: "oem", PERSISTENT: "usr/local"}
        yield (site.root / places[label] for label in labels if site.hooked)
        return
    kernel = here.Kernel()
    with ExitStack() as stack:

        def renewed(node: Path, label: str) -> Path:
            disk.make_ext4(os.fspath(node), label)
            return stack.enter_context(writing.writable(kernel, label, site.events))

        found: list[Callable[[], Path]] = []
        for label in labels:
            try:
                place = stack.enter_context(writing.writable(kernel, label, site.events))
                found.append(partial(Path, place))
            except TreebuildError as err:
                node = None if isinstance(err, Cancelled) else broken(kernel, label)
                if node is None:
                    raise
                site.events.emit(Warned(f"{label} cannot be used: {err.message}; it gets a new file system"))
                found.append(partial(renewed, node, label))
        yield (folder() for folder in found)


def broken(kernel: here.Kernel, label: str) -> Path | None:
    """The partition of our disk that is called so in its table, or by its label, and that nobody has mounted."""
    ours = here.own_disk(kernel)
    used = {mount.device for mount in here.mounts(kernel)}
    for folder in sorted(ours.iterdir()) if ours is not None else ():
        if not (folder / "partition").is_file() or (folder / "dev").read_text(encoding="ascii").strip() in used:
            continue
        node = kernel.dev / folder.name.replace("!", "/")
        found = disk.identify(os.fspath(node))
        if found.label == label or (not found.label and found.name == PARTITION_NAMES[label]):
            return node
    return None
