"""`yip.pyz`: the command as one file for devices that have python3 and python3-yaml, and nothing else of ours.

The same sources give the same bytes: entries sorted, one date, one mode, nothing compressed (so nothing depends on
a version of zlib, and imports are quicker).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import treebuilder

_FILES = ("__init__.py", "annotations.py", "errors.py", "events.py", "records.py")
_ROOMS = ("model", "nodes", "system", "template", "cloudconfig")
_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can say
_MAIN = b"from treebuilder.cloudconfig.command import entry\n\nentry()\n"
_SHEBANG = b"#!/usr/bin/env python3\n"


def build_zipapp() -> bytes:
    """The archive's bytes, with its first line; write it with mode 0755."""
    package = Path(treebuilder.__file__).parent
    entries = {"__main__.py": _MAIN}
    for name in _FILES:
        entries[f"treebuilder/{name}"] = (package / name).read_bytes()
    for room in _ROOMS:
        for path in (package / room).rglob("*.py"):
            entries[f"treebuilder/{path.relative_to(package).as_posix()}"] = path.read_bytes()
    return pack(entries)


def pack(entries: Mapping[str, bytes]) -> bytes:
    """Files by their paths as one archive that python3 runs, with its first line."""
    out = io.BytesIO()
    out.write(_SHEBANG)  # before the archive is opened, so that its offsets count it
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, _DATE)
            info.external_attr = 0o100644 << 16
            info.create_system = 3
            archive.writestr(info, entries[name])
    return out.getvalue()
