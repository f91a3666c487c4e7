"""The module `downloads`: files from http and https, which are there whole or not at all."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from urllib.parse import unquote

from treebuilder.cloudconfig.ask import Ask, shown, split
from treebuilder.cloudconfig.files import SECRET, make_folder_of, owners, path_of, permissions
from treebuilder.cloudconfig.machine import Machine
from treebuilder.errors import TreebuildError
from treebuilder.nodes import Node

_LIMIT_BYTES = 16 << 30
_SOCKET_S = 30.0
_TOTAL_S = 3600.0  # of each try
_MAX_S = 7 * 86400


def downloads(node: Node, machine: Machine) -> None:
    for item in node.items("downloads"):
        with machine.attempt(item.place):
            _download(item, machine)


def _download(item: Node, machine: Machine) -> None:
    """A path that is a folder, or ends with a slash, takes the name that the URL ends with."""
    inside = path_of(item, machine)
    url = machine.render(machine.text(item, "url"), item.place)
    name = unquote(posixpath.basename(split(url).path))
    mode = permissions(item, machine)
    mode = SECRET if mode is None else mode
    owner = owners(item, machine)
    limit_s = item.integer("timeout")
    if not 0 <= limit_s <= _MAX_S:
        item.fail(f"timeout must be a number of seconds, at most {_MAX_S}", reason="wrong-type")
    if inside.endswith("/") or machine.root.locate(inside).is_dir():
        if not name or "/" in name or name in (".", ".."):
            raise TreebuildError(f"{shown(url)} ends with no name for a file in {inside}", reason="url")
        inside = f"{inside.rstrip('/')}/{name}"
    if machine.rehearsal:
        return
    make_folder_of(inside, mode, machine)
    _tidy(inside, machine)
    ask = Ask(url, limit_bytes=_LIMIT_BYTES, socket_s=_SOCKET_S, total_s=float(limit_s) if limit_s else _TOTAL_S)
    with machine.root.receive(inside, mode=mode, owner=owner) as out:
        machine.fetch_into(ask, out)


def _tidy(inside: str, machine: Machine) -> None:
    """Takes away what is left of downloads of this file that a power cut ended: it would fill the disk."""
    place = Path(inside)
    left = re.compile(rf"\.{re.escape(place.name[:80])}\.[0-9a-f]{{16}}\Z")  # as Root.receive names them
    folder = machine.root.make_folders(str(place.parent))
    for path in sorted(folder.iterdir()):
        if left.match(path.name) and path.is_file() and not path.is_symlink():
            path.unlink()
