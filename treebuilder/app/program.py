"""`treebuild.pyz`: the whole program as one archive, for machines that get it as a package of a tree.

What it stands on is not inside (docs/adr/0009): parts of it are compiled, and Python cannot load those out of archives.
"""

from __future__ import annotations

from pathlib import Path

import treebuilder
from treebuilder.cloudconfig.zipapp import pack

_MAIN = b"from treebuilder.cli.main import entry\n\nentry()\n"


def build_program() -> bytes:
    """The archive's bytes: the same sources give the same."""
    package = Path(treebuilder.__file__).parent
    entries = {
        f"treebuilder/{path.relative_to(package).as_posix()}": path.read_bytes() for path in package.rglob("*.py")
    }
    return pack({"__main__.py": _MAIN, **entries})
