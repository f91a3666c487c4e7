"""Package selectors as people write them on a command line (luet.md §1.3)."""

from __future__ import annotations

import re

from treebuilder.errors import Place, SpecError
from treebuilder.model.package import PackageRef
from treebuilder.model.version import fault

# Compiled when an atom comes, which is seldom.
_ATOM = r"(?P<op>>=|<=|=|>|<)?(?P<category>[^/]*)/(?P<rest>.+)\Z"
_REVISED = r"(?P<name>.+)-(?P<version>\d+\.\d[^-]*-r?\d[^-]*)\Z"  # only a dotted version tells
_VERSIONED = r"(?P<name>.+)-(?P<version>\d[^-]*(?:-r\d[^-]*)?)\Z"
_HERE = Place("command line")
_HINT = "write category/name, category/name@1.0, category/name@>=1.0 or >=category/name-1.0"


def parse_selector(word: str) -> PackageRef:
    """`cat/name`, `cat/name@1.2`, `cat/name@>=1.2`, or an atom `=cat/name-1.2`.

    Raises SpecError (reason "selector") for what names no package, or a version that no package can have.
    """
    ref = _atom(word) if word[:1] in ("<", ">", "=") else _plain(word)
    if any(c in "<>=!@" or c.isspace() for c in ref.pkgname):
        raise _refused(word, f"{ref.pkgname!r} is no name")
    wrong = fault(ref.version)
    if wrong is not None:
        raise _refused(word, wrong)
    return ref


def _atom(word: str) -> PackageRef:
    match = re.match(_ATOM, word)
    if match is None:
        raise _refused(word, "there is no name in it")
    versioned = re.match(_REVISED, match["rest"]) or re.match(_VERSIONED, match["rest"])
    if versioned is None:
        return PackageRef(match["category"], match["rest"], ">=0", _HERE)
    operator = "" if match["op"] == "=" else match["op"]
    return PackageRef(match["category"], versioned["name"], f"{operator}{versioned['version']}", _HERE)


def _plain(word: str) -> PackageRef:
    parts = word.split("@")
    category, slash, name = parts[0].rpartition("/")
    version = parts[1] if len(parts) > 1 else ""
    if not name:
        raise _refused(word, "there is no name in it")
    if slash and not version:
        version = ">=0"
    return PackageRef(category, name, version, _HERE)


def _refused(word: str, why: str) -> SpecError:
    return SpecError(f"{word!r} names no package: {why}", hint=_HINT, where=_HERE, reason="selector")
