"""Enabling systemd units without systemd: the links that `systemctl --root` would make.

Source: systemctl(1) "enable", "disable", "mask"; systemd.unit(5) "[INSTALL] SECTION OPTIONS".
"""

from __future__ import annotations

import os
from pathlib import Path

from treebuilder.cloudconfig.root import Root
from treebuilder.errors import TreebuildError

_OWN = "/etc/systemd/system"
_FOLDERS = (
    _OWN,
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
_SUFFIXES = (
    ".service", ".socket", ".target", ".timer", ".mount", ".automount", ".path", ".slice", ".swap", ".device", ".scope",
)  # fmt: skip


def unit_name(word: str) -> str:
    """With its suffix: a bare word is a service. Raises TreebuildError for a path."""
    if not word or "/" in word or word.startswith("."):
        raise TreebuildError(f"{word!r} is no name of a unit", reason="unit-name")
    return word if word.endswith(_SUFFIXES) else f"{word}.service"


def enable(root: Root, word: str) -> None:
    """Follows the unit's [Install] section; without one there is nothing to do. Raises TreebuildError: no such unit."""
    _enable(root, unit_name(word), set())


def disable(root: Root, word: str) -> None:
    """Removes every link in /etc that enables the unit."""
    name = unit_name(word)
    own = root.locate(_OWN)
    if not own.is_dir():
        return
    for path in sorted(own.iterdir()):
        if path.suffix in (".wants", ".requires", ".upholds") and path.is_dir() and not path.is_symlink():
            link = path / name
            if link.is_symlink():
                link.unlink()
        elif path.is_symlink() and os.path.basename(os.readlink(path)) == name and path.name != name:
            path.unlink()


def mask(root: Root, word: str) -> None:
    """Links the unit to /dev/null. Raises TreebuildError if /etc holds a real file of that name."""
    name = unit_name(word)
    _link(root, f"{_OWN}/{name}", "/dev/null")


def _enable(root: Root, name: str, seen: set[str]) -> None:
    if name in seen:
        return
    seen.add(name)
    path, text = _find(root, name)
    install = _install_section(text)
    instance = name.partition("@")[2].rpartition(".")[0]
    if "@" in name and not instance:
        default = install.get("DefaultInstance", [""])[-1]
        if not default:
            raise TreebuildError(f"{name} is a template and needs an instance", reason="unit")
        name = name.replace("@.", f"@{default}.")
        instance = default
    for key, folder in (("WantedBy", "wants"), ("RequiredBy", "requires"), ("UpheldBy", "upholds")):
        for target in install.get(key, ()):
            wanted_by = unit_name(_expanded(target, name, instance))
            _link(root, f"{_OWN}/{wanted_by}.{folder}/{name}", path)
    for alias in install.get("Alias", ()):
        _link(root, f"{_OWN}/{unit_name(_expanded(alias, name, instance))}", path)
    for other in install.get("Also", ()):
        _enable(root, unit_name(_expanded(other, name, instance)), seen)


def _expanded(text: str, name: str, instance: str) -> str:
    stem, _, _ = name.partition("@")
    for mark, value in (("%i", instance), ("%I", instance), ("%n", name), ("%p", stem.removesuffix(".service"))):
        text = text.replace(mark, value)
    return text


def _find(root: Root, name: str) -> tuple[str, str]:
    """The unit's path inside the root and its text; an instance is answered by its template."""
    names = [name]
    if "@" in name:
        names.append(f"{name.partition('@')[0]}@.{name.rpartition('.')[2]}")
    for candidate in names:
        for folder in _FOLDERS:
            inside = f"{folder}/{candidate}"
            if (
                root.locate(inside, last=False).is_symlink()
                and os.readlink(root.locate(inside, last=False)) == "/dev/null"
            ):
                raise TreebuildError(f"{name} is masked", reason="unit")
            data = root.read(inside)
            if data is not None:
                return inside, data.decode("utf-8", "replace")
    raise TreebuildError(f"there is no unit {name}", reason="unit")


def _install_section(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    inside = False
    for line in text.replace("\\\n", " ").splitlines():
        line = line.strip()
        if line.startswith("["):
            inside = line == "[Install]"
        elif inside and line and line[0] not in "#;":
            key, _, value = line.partition("=")
            words = value.split()
            found[key.strip()] = [*found.get(key.strip(), []), *words] if words else []
    return found


def _link(root: Root, inside: str, target: str) -> None:
    root.make_folders(str(Path(inside).parent))
    path = root.locate(inside, last=False)
    if path.is_symlink():
        if os.readlink(path) == target:
            return
    elif path.exists():
        raise TreebuildError(f"{inside} is a file and cannot become a link", reason="unit")
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    os.rename(fresh, path)
