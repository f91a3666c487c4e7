"""The one way to a terminal or a log that people read: names and messages come from strangers, and a terminal obeys.

What moves a cursor, names a window, fills a clipboard or turns the order of letters round is shown as its number.
JSON and YAML need none of this: they have numbers for such letters of their own.
"""

from __future__ import annotations

import re
import sys

from treebuilder.annotations import TextIO

_OBEYED = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
# Marks and embeddings of direction (https://trojansource.codes), and other ends of lines.
_OBEYED |= {code: f"\\u{code:04x}" for code in (0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))}
_ON_A_LINE = _OBEYED | {ord("\n"): "\\n", ord("\t"): "\\t"}


def harmless(text: str, head: str = "") -> str:
    """Without what a terminal obeys but line ends and tabs; lines after the first begin with `head`."""
    shown = text.translate(_OBEYED)
    return shown.replace("\n", f"\n{head}") if head else shown


def one_line(text: str) -> str:
    """A value that is a line, or a cell: it cannot pretend to be more of them."""
    return text.translate(_ON_A_LINE)


def printed(line: str) -> str:
    """A line of a program: without its colours, and of a progress bar the last state."""
    last = line.rstrip("\r").rpartition("\r")[2]
    return harmless(re.sub(r"\x1b\[[0-9;:]*m", "", last) if "\x1b" in last else last)


def say(text: str, out: TextIO | None = None) -> None:
    """Writes lines at once, to stdout unless said otherwise."""
    stream = out or sys.stdout
    stream.write(harmless(text) + "\n")
    stream.flush()


def agreed(out: TextIO | None = None) -> bool:
    """Asks as luet does. What is no yes is a no, and so is the end of the input."""
    stream = out or sys.stdout
    stream.write("Do you want to continue with this operation? [y/N]: ")
    stream.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
