"""Config protection (luet.md §7.6): files below protected folders are not replaced; the new one comes beside them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from treebuilder.client.places import look
from treebuilder.model.package import Package
from treebuilder.records import record

_MOST = 10_000
_CHUNK = 1 << 16


@record
class Protection:
    """Folders whose files are protected, as luet compares them: prefixes of `/path`. Packages add their own.

    `skipped`: nothing is protected, whatever a package says.
    """

    prefixes: tuple[str, ...] = ()
    skipped: bool = False

    def covers(self, path: str, package: Package) -> bool:
        if self.skipped:
            return False
        own = dict(package.annotations).get("config_protect", "")
        full = f"/{path}"
        return any(full.startswith(prefix) for prefix in (*self.prefixes, *((own,) if own else ())))


def divert(root: Path, staged: Path, path: str, *, over_links: bool) -> str | None:
    """Renames a staged file or link whose place holds another content; its name from then on, None where it may stay.

    A link in the place of a file is somebody's configuration too, wherever it leads, unless with `over_links` it is
    the package's own; a link replaces a link, and no file. ._cfg0000_NAME is the form that etc-update and its kin
    know. What lies there already with the same content is enough, and the staged one goes.
    """
    there, fresh = look(root, path), staged / path
    if there is None or not (_is_file(fresh) or fresh.is_symlink()):
        return None
    if there.is_symlink():
        if over_links or fresh.is_symlink():
            return None
    elif not _is_file(there) or _are_same(there, fresh):
        return None
    folder, _, name = path.rpartition("/")
    for number in range(1, _MOST):
        other = f"{folder}/._cfg{number:04d}_{name}" if folder else f"._cfg{number:04d}_{name}"
        taken = look(root, other)
        if taken is None:
            os.rename(fresh, staged / other)
            return other
        if _are_same(taken, fresh):
            fresh.unlink()
            return other
    return None


def _is_file(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def prefixes(file: Path) -> tuple[str, ...]:
    """What a file of `config_protect_confdir` protects; without `name` and `dirs` it counts for nothing.

    Raises SpecError, OSError, UnicodeDecodeError.
    """
    from treebuilder.nodes import load

    node = load(file.read_text(encoding="utf-8"), str(file))
    return node.texts("dirs") if node.kind == "map" and node.text("name") else ()


def _are_same(one: Path, other: Path) -> bool:
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and os.readlink(one) == os.readlink(other)
    if not (_is_file(one) and _is_file(other)) or one.stat().st_size != other.stat().st_size:
        return False
    # not filecmp: that remembers by size and time, and all files of packages have one time
    with one.open("rb") as here, other.open("rb") as there:
        while data := here.read(_CHUNK):
            if data != there.read(_CHUNK):
                return False
    return True
