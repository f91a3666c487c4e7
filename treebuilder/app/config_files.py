"""Where the configuration and the build cache are, for every verb: what stands in them is read by others.

A configuration file in a folder that belongs to neither the caller nor root is ignored with a warning: it could name
repositories and templates' environment.
"""

from __future__ import annotations

import os
from pathlib import Path

from treebuilder.errors import ConfigError, TreebuildError
from treebuilder.events import EventSink, Warned
from treebuilder.system.files import disk_errors


def find_config(explicit: str, events: EventSink) -> Path | None:
    """`--config`, else `.luet.yaml` here or at home, else /etc/luet/luet.yaml."""
    if explicit:
        path = Path(explicit)
        if not os.path.isfile(path):
            raise ConfigError(f"there is no configuration file {explicit}")
        return path
    for folder, name in ((Path.cwd(), ".luet.yaml"), (Path.home(), ".luet.yaml"), (Path("/etc/luet"), "luet.yaml")):
        path = folder / name
        if path.is_file():
            if path.stat().st_uid not in (0, os.getuid()) or folder.stat().st_uid not in (0, os.getuid()):
                events.emit(Warned(f"{path} belongs to somebody else and is ignored"))
                continue
            return path
    return None


def cache_folder(explicit: str) -> Path:
    """`--cache-dir`, `TREEBUILD_CACHE`, or the user's cache folder.

    Raises ConfigError for a folder with things of others: a cache deletes what is left over in its own `tmp`.
    """
    named = explicit or os.environ.get("TREEBUILD_CACHE", "")
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(named).absolute() if named else Path(base) / "treebuild"
    with disk_errors(f"looking at the cache folder {folder}"):
        there = os.listdir(folder) if folder.is_dir() else []
        # In this order: whoever makes a cache at this moment writes VERSION before anything else.
        foreign = sorted(
            name for name in there if name != "lost+found" and not name.startswith((".VERSION.", "VERSION"))
        )
        if foreign and not (folder / "VERSION").is_file():
            raise ConfigError(
                f"{folder} is no build cache, and holds other things ({', '.join(map(repr, foreign[:3]))})",
                hint="name a folder of its own with --cache-dir",
            )
    return folder


def existing_cache(explicit: str) -> Path:
    """The build cache, where there must be one already. Raises TreebuildError (reason "missing-cache")."""
    folder = cache_folder(explicit)
    if not (folder / "VERSION").is_file():
        said = "is no build cache" if os.path.lexists(folder) else "does not exist"
        raise TreebuildError(
            f"the cache {folder} {said}", hint="name another --cache-dir; the first build makes one",
            reason="missing-cache",
        )  # fmt: skip
    return folder
