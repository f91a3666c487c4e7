"""Paths as the system in a root sees them: `/` is the root's top, and no link leads out of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from treebuilder.errors import Place, SpecError
from treebuilder.system.inside import resolve


def is_file(root: Path, name: str) -> bool:
    found = resolve(root, name)
    return found is not None and found.is_file()


def place_for(root: Path, name: str, where: Place) -> Path:
    """Where a new file `name` goes: its folders are made, links on the way stay inside, an old entry is removed.

    Raises SpecError when something on the way is no folder.
    """
    at, parts = root, [part for part in name.split("/") if part]
    for depth in range(1, len(parts)):
        below = "/".join(parts[:depth])
        found = resolve(root, below)
        if found is None and not os.path.lexists(at / parts[depth - 1]):
            found = at / parts[depth - 1]
            found.mkdir(mode=0o755)
        if found is None or not found.is_dir():
            raise SpecError(f"/{below} in an image is no folder", where=where, reason="broken-link")
        at = found
    place = at / parts[-1]
    if place.is_dir() and not place.is_symlink():
        raise SpecError(f"/{name} in an image is a folder, not a file", where=where, reason="broken-link")
    place.unlink(missing_ok=True)
    return place


def lay_over(source: Path, target: Path, where: Place) -> None:
    """Copies a folder's content over a root: files and links replace what is there, folders are joined.

    A folder that the root has as a link (`/lib` on merged systems) is entered through it, inside the root. New
    entries belong to whoever runs this; modes are kept. Raises SpecError for what is no file, folder or link.
    """
    if not source.is_dir():
        raise SpecError(f"the overlay {source} is not a folder", where=where, reason="missing-overlay")
    _lay_over(source, target, "", where)


def _lay_over(source: Path, root: Path, name: str, where: Place) -> None:
    folder = resolve(root, name)
    if folder is None:
        folder = root / name
        folder.mkdir(parents=True)
        shutil.copymode(source, folder)
    for entry in sorted(os.scandir(source), key=lambda item: item.name):
        below = f"{name}/{entry.name}".lstrip("/")
        place = folder / entry.name
        if entry.is_dir(follow_symlinks=False):
            found = resolve(root, below)
            if found is None or not found.is_dir():
                place.unlink(missing_ok=True)
            _lay_over(Path(entry.path), root, below, where)
        elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
            if place.is_dir() and not place.is_symlink():
                raise SpecError(
                    f"the overlay puts a file where the image has a folder: /{below}", where=where, reason="overlay"
                )
            place.unlink(missing_ok=True)
            shutil.copy2(entry.path, place, follow_symlinks=False)
        else:
            raise SpecError(
                f"the overlay holds something that is no file, folder or link: {entry.path}",
                where=where, reason="overlay",
            )  # fmt: skip
