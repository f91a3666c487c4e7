"""The serial console of a machine: what it said, and what is typed into it."""

from __future__ import annotations

import codecs
import os
import re
import threading
from collections.abc import Callable

from treebuilder.annotations import IO

_KEEP = 1 << 20
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>]|[\x00-\x08\x0b-\x1a\x1c-\x1f]")


def plain(text: str) -> str:
    """Text without colours, cursor movements and carriage returns."""
    return _CONTROL.sub("", text)


class Console:
    """Reads a pipe in a thread of its own. Only the last megabyte is kept; positions count from the beginning."""

    def __init__(self, output: IO[bytes], keyboard: IO[bytes], on_line: Callable[[str], None]) -> None:
        self._output = output
        self._keyboard = keyboard
        self._on_line = on_line
        self._lock = threading.Lock()
        self._kept = ""
        self._dropped = 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def end(self) -> int:
        """The position behind the last character."""
        with self._lock:
            return self._dropped + len(self._kept)

    def find(self, text: str, start: int = 0) -> int:
        """The position behind the first `text` at or after `start`, or -1. Control sequences do not count."""
        with self._lock:
            at = self._kept.find(text, max(0, start - self._dropped))
            return -1 if at < 0 else self._dropped + at + len(text)

    def tail(self, lines: int) -> tuple[str, ...]:
        with self._lock:
            found = [line.rstrip() for line in self._kept.splitlines()]
        return tuple(line for line in found if line)[-lines:]

    def type(self, text: str) -> None:
        """Types a line. A machine that is gone hears nothing, and that is found out elsewhere."""
        try:
            self._keyboard.write(os.fsencode(text) + b"\r")
            self._keyboard.flush()
        except (BrokenPipeError, ValueError):
            return

    def close(self) -> None:
        """To be called when the machine has ended."""
        self._thread.join(timeout=5)
        for pipe in (self._output, self._keyboard):
            try:
                pipe.close()
            except BrokenPipeError:
                continue

    def _read(self) -> None:
        rest = ""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a letter may be cut by the end of a chunk
        while True:
            try:
                chunk = self._output.read1(65536)  # type: ignore[attr-defined]
            except ValueError:
                return
            if not chunk:
                break
            text = rest + decoder.decode(chunk)
            rest = ""
            # An escape sequence may be cut by the end of the chunk: it waits for its rest.
            cut = text.rfind("\x1b", max(0, len(text) - 16))
            if cut >= 0 and not _CONTROL.match(text, cut):
                text, rest = text[:cut], text[cut:]
            self._take(plain(text))
        self._take(plain(rest), last=True)

    def _take(self, text: str, last: bool = False) -> None:
        with self._lock:
            line_start = self._kept.rfind("\n") + 1
            pending = self._kept[line_start:] + text
            self._kept += text
            if len(self._kept) > _KEEP:
                cut = len(self._kept) - _KEEP // 2
                self._dropped += cut
                self._kept = self._kept[cut:]
        *done, open_line = pending.split("\n")
        for line in [*done, open_line] if last and open_line else done:
            if line.strip():
                self._on_line(line.rstrip())
