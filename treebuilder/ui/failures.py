"""Errors as people and programs read them."""

from __future__ import annotations

import errno
import os

from treebuilder.annotations import Any
from treebuilder.errors import BuildFailed, NoSpace, TreebuildError
from treebuilder.ui import tables
from treebuilder.ui.terminal import harmless, one_line, printed

SCHEMA = "treebuild.error/1"


_LONGEST = 1_000
_WORD = 200


def shortened(text: str) -> str:
    """A sentence without the middle of what it quotes: a specfile may name a package with a megabyte."""
    if len(text) <= _LONGEST:
        return text
    text = " ".join(word if len(word) <= _WORD else _cut(word, _WORD) for word in text.split(" "))
    return text if len(text) <= _LONGEST else _cut(text, _LONGEST)


def counted(number: int, thing: str) -> str:
    """`1 fault`, `2 faults`, `0 faults`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _cut(text: str, length: int) -> str:
    return f"{text[: length - length // 4]}… ({len(text)} characters) …{text[-length // 4 :]}"


def of_system(err: OSError) -> TreebuildError:
    """The kernel's own refusal, where nobody closer to it had more to say."""
    place = f": {os.fsdecode(err.filename)}" if err.filename is not None else ""
    message = f"{err.strerror or err}{place}"
    if err.errno in (errno.ENOSPC, errno.EDQUOT):
        return NoSpace(message)
    denied = err.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    found = TreebuildError(message, reason="permission" if denied else "system")
    found.__cause__ = err
    return found


def render(error: TreebuildError) -> str:
    """`error: FILE:LINE: what failed`, then details, then what to do."""
    place = f"{error.where}: " if error.where is not None and error.where.file else ""
    lines = [harmless(f"error: {place}{shortened(error.message)}", "  ")]
    if isinstance(error, BuildFailed) and error.command:
        first, *rest = error.command.strip().splitlines()
        lines.append(f"  step: {one_line(first)}{' …' if rest else ''}")
    head = "  | " if isinstance(error, BuildFailed) else "  "
    said = error.detail() if isinstance(error, BuildFailed) else map(shortened, error.detail())
    lines += [f"{head}{harmless(printed(line), head)}" for line in said]
    if isinstance(error, BuildFailed) and error.log:
        lines.append(f"  log: {one_line(error.log)}")
    if error.hint:
        lines.append(harmless(f"  hint: {shortened(error.hint)}", "  "))
    return "\n".join(lines)


def to_json(error: TreebuildError) -> dict[str, Any]:
    value: dict[str, Any] = {
        "schema": SCHEMA, "reason": error.reason, "message": shortened(error.message),
        "hint": error.hint and shortened(error.hint),
        "where": {"file": error.where.file, "line": error.where.line} if error.where else None,
        "detail": [line if isinstance(error, BuildFailed) else shortened(line) for line in error.detail()],
        "exit_code": error.exit_code,
    }  # fmt: skip
    if isinstance(error, BuildFailed):
        value.update(command=error.command, exit_status=error.exit_status, log=error.log)
    return value


def write(error: TreebuildError, output: str) -> None:
    """The error as a result on stdout, beside what was done all the same: `output` is terminal (nothing, it is on
    stderr), json or yaml."""
    tables.write({**error.document(), "error": to_json(error)}, output, "")
