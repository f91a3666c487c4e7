"""For programs that tests cut off: each call that changes something is a step, and one is killed before it is made.

Nothing is cleaned up behind a process that is killed so. `python -m tests.unit.steps COUNT WORD...` is treebuild, cut
off after so many steps.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

_CALLS = frozenset({
    "os.rename", "os.mkdir", "os.remove", "os.link", "os.rmdir", "os.symlink", "os.truncate", "os.chmod", "os.chown",
    "os.utime", "sqlite3.connect",
})  # fmt: skip


def changes(event: str, args: tuple[object, ...]) -> bool:
    """Whether what an audit hook hears of changes something in a file system."""
    if event == "open":
        return isinstance(args[2], int) and bool(args[2] & (os.O_WRONLY | os.O_RDWR))
    return event in _CALLS


def kill_after(steps: int, counted: Callable[[str, tuple[object, ...]], bool] = changes) -> None:
    """Lets this process take so many more steps and kills it at the next one. It cannot be undone."""
    left = steps

    def hear(event: str, args: tuple[object, ...]) -> None:
        nonlocal left
        if counted(event, args):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hear)


if __name__ == "__main__":
    from treebuilder.cli.main import main

    kill_after(int(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
