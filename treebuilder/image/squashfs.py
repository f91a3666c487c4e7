"""A folder as a squashfs file, the same bytes for the same folder and epoch."""

from __future__ import annotations

from pathlib import Path

from treebuilder.events import EventSink, LogLine
from treebuilder.system.files import disk_errors
from treebuilder.system.process import Cancel, require, run

# zstd unpacks several times faster than xz for a tenth more in size, and a live system unpacks all the time. Level 15
# takes seven times as long as 9 for a twentieth less.
# Blocks of 256 KiB: a small read costs the unpacking of a whole block.
DEFAULT_OPTIONS = ("-b", "256K", "-comp", "zstd", "-Xcompression-level", "9")


def make_squashfs(
    root: Path, out: Path, *, epoch_s: int, events: EventSink, cancel: Cancel, options: tuple[str, ...] = ()
) -> None:
    """Writes `out`. Owners, modes, devices, hard links and xattrs are kept; times after the epoch become the epoch.

    `options` replace our compression. Raises MissingProgram, ToolFailed, NoSpace, Cancelled.
    """
    program = require("mksquashfs", "to make a squashfs")
    chosen = options or DEFAULT_OPTIONS
    if options == ("-no-compression",):
        chosen = ("-noI", "-noD", "-noF", "-noX")
    elif options and "-b" not in options:
        chosen = ("-b", "1024K", *options)
    with disk_errors(f"writing {out}", out.parent):
        out.unlink(missing_ok=True)
    run(
        [program, root, out, "-noappend", "-no-progress", "-no-exports", "-xattrs", "-quiet", *chosen],
        env={"SOURCE_DATE_EPOCH": str(epoch_s), "TZ": "UTC"},
        on_line=lambda line: events.emit(LogLine("iso squashfs", line)),
        cancel=cancel,
    )  # fmt: skip
