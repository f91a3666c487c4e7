"""Package selectors as people write them on a command line (luet.md §1.3)."""

from __future__ import annotations

import re

from treebuilder.errors import Place, SpecError
from treebuilder.model.package import PackageRef

_ATOM = re.compile(r"(?P<op>>=|<=|=|>|<)?(?P<category>[^/]*)/(?P<rest>.+)\Z")
_VERSIONED = re.compile(r"(?P<name>.+)-(?P<version>\d[^-]*(?:-r?\d[^-]*)?)\Z")


def parse_selector(word: str) -> PackageRef:
    """`cat/name`, `cat/name@1.2`, `cat/name@>=1.2`, or an atom `=cat/name-1.2`. Raises SpecError ("selector")."""
    place = Place("command line")
    if word[:1] in "<>=":
        match = _ATOM.match(word)
        if match is None:
            raise SpecError(f"{word!r} names no package", hint="write category/name", where=place, reason="selector")
        versioned = _VERSIONED.match(match["rest"])
        if versioned is None:
            return PackageRef(match["category"], match["rest"], ">=0", place)
        operator = "" if match["op"] == "=" else match["op"]
        return PackageRef(match["category"], versioned["name"], f"{operator}{versioned['version']}", place)
    left, _, version = word.partition("@")
    category, slash, name = left.rpartition("/")
    if not name:
        raise SpecError(f"{word!r} names no package", hint="write category/name", where=place, reason="selector")
    if slash and not version:
        version = ">=0"
    return PackageRef(category, name, version.split("@")[0], place)
