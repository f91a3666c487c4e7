"""Which boot this is, and where this device's partitions are: asked of the kernel, never guessed from a label alone.

Two disks may carry equal labels. What counts is the disk that we run from: the one whose partition the initrd mounted.
Source: proc(5), mountinfo; os-and-ota facts 4.3-4.5.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from treebuilder.device.places import BY_ITSELF_WORD, IMAGE_WORD, STATE_MOUNT
from treebuilder.device.states import Slot
from treebuilder.device.upgrade import Started
from treebuilder.errors import ConfigError, StateCorrupt
from treebuilder.records import record
from treebuilder.system.files import write_atomic
from treebuilder.system.process import require, run, which

_LIVE_WORD = "rd.live.squashimg"  # how cOS starts a squashfs of recovery
_MOUNTS = (STATE_MOUNT, "/run/initramfs/live")  # what the initrd mounted to find its image
_NAMES = {"active.img": Slot.ACTIVE, "passive.img": Slot.PASSIVE, "recovery.squashfs": Slot.RECOVERY,
          "recovery.img": Slot.RECOVERY}  # fmt: skip


@record
class Kernel:
    """Where the kernel tells things."""

    proc: Path = Path("/proc")
    sys: Path = Path("/sys")
    dev: Path = Path("/dev")


@record
class Mount:
    """A whole file system that is mounted: its device as `MAJOR:MINOR`, where, and whether nobody may write there."""

    device: str
    place: Path
    read_only: bool


@record
class Partition:
    """A partition with a file system. `node` is its file in /dev."""

    node: Path
    device: str
    label: str
    kind: str


def started(kernel: Kernel) -> Started:
    """This boot. Raises ConfigError (reason "no-device") where we do not run from a slot."""
    slot = _slot(command_line(kernel))
    if slot is None:
        raise ConfigError(
            "this system was not started from a slot of a device", reason="no-device",
            hint="on a device this is done by itself; --state DIR --recovery DIR --slot active works on plain folders",
        )  # fmt: skip
    return Started(boot_id(kernel), slot)


def boot_id(kernel: Kernel) -> str:
    """The kernel's own name of this boot. Raises StateCorrupt."""
    try:
        return (kernel.proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError as err:
        raise StateCorrupt(f"the kernel does not name this boot: {err.strerror}") from err


def command_line(kernel: Kernel) -> str:
    """The kernel's command line; "" where none can be read."""
    try:
        return (kernel.proc / "cmdline").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def came_by_itself(kernel: Kernel) -> bool:
    """The boot loader chose recovery, and nobody picked it."""
    return BY_ITSELF_WORD in command_line(kernel).split()


def somebody_here(root: Path) -> str:
    """Who is logged in: a name, or "somebody"; "" when nobody is. Source: sd-login(3), who(1)."""
    program = which("who")
    if program is not None:
        lines = run([program], check=False).stdout.decode("utf-8", "replace").splitlines()
        if lines:
            return lines[0].partition(" ")[0] or "somebody"
    try:
        sessions = [name for name in os.listdir(root / "run/systemd/sessions") if not name.endswith(".ref")]
    except OSError:
        sessions = []
    return "somebody" if sessions else ""


def _slot(words: str) -> Slot | None:
    for word in words.split():
        name, _, value = word.partition("=")
        if name in (IMAGE_WORD, _LIVE_WORD) and value.rpartition("/")[2] in _NAMES:
            return _NAMES[value.rpartition("/")[2]]
    return None


# partitions -----------------------------------------------------------------------------------------------------------
def mounts(kernel: Kernel) -> tuple[Mount, ...]:
    """Mounts of whole file systems, the newest last."""
    found = []
    for line in (kernel.proc / "self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        fields, _, rest = line.partition(" - ")
        words, more = fields.split(" "), rest.split(" ")
        if len(words) >= 6 and len(more) >= 3 and words[3] == "/":
            options = {*words[5].split(","), *more[2].split(",")}
            found.append(Mount(words[2], Path(_plain(words[4])), "ro" in options))
    return tuple(found)


def _plain(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def partition(kernel: Kernel, label: str) -> Partition | None:
    """The partition with this label on the disk that we run from: another disk's is not ours, whatever it is called.

    Where nothing says which disk that is, the only one there is. Raises StateCorrupt (reason "many-disks") where
    several have the label then, MissingProgram.
    """
    disk = own_disk(kernel)
    if disk is not None:
        return next((found for found in _on(disk, kernel) if found.label == label), None)
    listed = run([require("blkid", "to find partitions"), "-t", f"LABEL={label}", "-o", "device"], check=False)
    nodes = [Path(line) for line in listed.stdout.decode("utf-8", "surrogateescape").split("\n") if line]
    if len(nodes) > 1:
        raise StateCorrupt(
            f"several partitions are called {label}: {', '.join(map(str, nodes))}", reason="many-disks",
            hint="take the other disk out, or label its partitions otherwise (tune2fs -L)",
        )  # fmt: skip
    return _described(kernel, nodes[0]) if nodes else None


def own_disk(kernel: Kernel) -> Path | None:
    """What sysfs has of the disk that we run from; None where that is no partition of a disk."""
    devices = {found.place: found.device for found in mounts(kernel)}
    device = next((devices[Path(place)] for place in _MOUNTS if Path(place) in devices), None)
    if device is None:
        return None
    ours = (kernel.sys / "dev/block" / device).resolve()
    return ours.parent if (ours / "partition").is_file() else None


def _on(disk: Path, kernel: Kernel) -> Iterator[Partition]:
    for folder in sorted(disk.iterdir()):
        if (folder / "partition").is_file():
            found = _described(kernel, kernel.dev / folder.name.replace("!", "/"), folder)
            if found is not None:
                yield found


def _described(kernel: Kernel, node: Path, folder: Path | None = None) -> Partition | None:
    done = run([require("blkid", "to find partitions"), "-o", "export", node], check=False)
    values = dict(line.partition("=")[::2] for line in done.stdout.decode("utf-8", "replace").splitlines())
    if "TYPE" not in values:
        return None
    if folder is not None:
        device = (folder / "dev").read_text(encoding="ascii").strip()
    else:
        number = os.stat(node).st_rdev
        device = f"{os.major(number)}:{os.minor(number)}"
    return Partition(node, device, values.get("LABEL", "").replace("\\ ", " "), values["TYPE"])


def lasting_name(root: Path, folder: Path, *, recovery: bool) -> str:
    """32 hexadecimal digits that name this device for good; `folder` is on COS_STATE, which every slot has.

    Recovery mounts nothing that lasts, and COS_PERSISTENT may be gone: then systemd draws a machine-id for each boot.
    So the one that lasts, which the initrd keeps in /usr/local, is written down once and counts from then on, whatever
    becomes of it. Until then it is a name of our own, which begins as the machine-id of a boot that may have one.
    Raises NoSpace.
    """
    written, said = folder / "machine-id", _id_in(root / "etc/machine-id")
    if said and _id_in(root / "usr/local/etc/machine-id") == said:
        return _named_in(written, said)
    return _id_in(written) or _named_in(folder / "device-id", "" if recovery else said)


def _named_in(path: Path, first: str) -> str:
    """What a file says; where it says nothing, `first` or what is drawn, which is kept there."""
    found = _id_in(path)
    if not found:
        found = first or os.urandom(16).hex()
        write_atomic(path, f"{found}\n".encode())
    return found


def _id_in(path: Path) -> str:
    """machine-id(5); "" where there is none yet, and where it says only that ("uninitialized")."""
    try:
        found = path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
    return found if len(found) == 32 and set(found) <= set("0123456789abcdef") else ""
