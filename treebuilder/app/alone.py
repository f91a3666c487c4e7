"""One at a time changes a repository in a folder: `create-repo`, its pruning and patches, `repo gc`, `repo copy`.

The folder itself is locked (`locks.exclusive_folder`): whoever publishes there, out of whatever cache, meets the same
lock, and no file of ours is published. Builds put packages there without it: an index is of those that its run saw.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from treebuilder.app.workspace import Workspace
from treebuilder.system import locks
from treebuilder.system.files import disk_errors


@contextmanager
def alone(folder: Path, work: Workspace) -> Iterator[None]:
    """Waits for whoever changes it, and says for whom. A folder that is not there is made, and goes again when the
    work fails with nothing in it. Raises Cancelled, TreebuildError (reasons "permission", "bad-path")."""
    made: list[Path] = []
    with ExitStack() as held:
        with disk_errors(f"writing {folder}", folder.parent):
            while True:
                made += [path for path in (folder, *folder.parents) if not path.exists()]
                folder.mkdir(parents=True, exist_ok=True)
                with suppress(FileNotFoundError):  # it was of somebody whose work failed
                    held.enter_context(
                        locks.exclusive_folder(
                            folder, f"the repository {folder}", cancel=work.cancel, patience_s=math.inf
                        )
                    )
                    break
        try:
            yield
        except BaseException:
            for path in made:
                with suppress(OSError):  # something is there by now
                    path.rmdir()
            raise
