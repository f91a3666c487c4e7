"""A folder as a FAT file system in a file: no mount, no loop device, no time of day in it.

FAT has no links and no cases: a link is replaced by what it points to, and two names that differ only in case are
refused, where other tools lose one of them in silence.
"""

from __future__ import annotations

import os
from pathlib import Path

from treebuilder.errors import Place, SpecError
from treebuilder.events import EventSink, LogLine
from treebuilder.system.files import disk_errors
from treebuilder.system.inside import resolve
from treebuilder.system.process import Cancel, require, run

_MIB = 1 << 20
_CLUSTER = 8192  # no FAT of a sensible size has larger clusters
_SPARE = 4 * _MIB
_TASK = "iso esp"


def make_esp(
    tree: Path, out: Path, *, label: str, epoch_s: int, where: Place, events: EventSink, cancel: Cancel
) -> None:
    """Writes `out`, just large enough for the tree. Raises SpecError, MissingProgram, ToolFailed, Cancelled."""
    mkfs, mmd, mcopy = (require(name, "to make an EFI system partition") for name in ("mkfs.vfat", "mmd", "mcopy"))
    folders, files = _content(tree, where)
    size = _SPARE + _CLUSTER * len(folders) + sum(-(-path.stat().st_size // _CLUSTER) * _CLUSTER for _, path in files)
    size = -(-size // _SPARE) * _SPARE
    env = {"SOURCE_DATE_EPOCH": str(epoch_s), "TZ": "UTC", "MTOOLS_SKIP_CHECK": "1"}

    def call(*argv: str | Path) -> None:
        run(argv, env=env, cancel=cancel, on_line=lambda line: events.emit(LogLine(_TASK, line)))

    with disk_errors(f"writing {out}", out.parent):
        with out.open("wb") as image:
            image.truncate(size)
    # The serial number would come from the clock. Any fixed one does: the label is what is looked for.
    call(mkfs, "-n", label, "--invariant", "-i", f"{epoch_s & 0xFFFFFFFF:08x}", out)
    if folders:
        call(mmd, "-i", out, *(f"::{name}" for name in folders))
    for name, path in files:
        os.utime(path, (epoch_s, epoch_s))
        call(mcopy, "-m", "-i", out, path, f"::{name}")


def _content(tree: Path, where: Place) -> tuple[tuple[str, ...], tuple[tuple[str, Path], ...]]:
    """Folders (parents first) and files with the real file behind each, sorted by name."""
    folders: list[str] = []
    files: list[tuple[str, Path]] = []
    seen: dict[str, str] = {}

    def walk(folder: Path, name: str, depth: int) -> None:
        if depth > 40:
            raise SpecError(f"links go round in the EFI tree at {name}", where=where, reason="link-loop")
        for entry in sorted(os.listdir(folder)):
            below = f"{name}/{entry}"
            if seen.setdefault(below.lower(), below) != below:
                raise SpecError(
                    f"{below} and {seen[below.lower()]} are one name on FAT", where=where, reason="name-clash"
                )
            found = resolve(tree, below)
            if found is None or not (found.is_dir() or found.is_file()):
                raise SpecError(
                    f"{below} in the EFI tree is a link to nothing, or no file", where=where, reason="broken-link"
                )
            if found.is_dir():
                folders.append(below)
                walk(found, below, depth + 1)
            else:
                files.append((below, found))

    walk(tree, "", 0)
    return tuple(folders), tuple(files)
