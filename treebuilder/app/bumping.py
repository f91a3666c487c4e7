"""The use case *bump*: a definition's next version, with everything else of the file as it was."""

from __future__ import annotations

import re

from treebuilder.errors import SpecError
from treebuilder.model.package import PackageRef
from treebuilder.model.version import fault
from treebuilder.nodes import Node, load
from treebuilder.records import record
from treebuilder.tree.definition import read_id

_COUNTED = re.compile(r"(?P<word>|r|p|rc|.*\.)(?P<count>[0-9]+)\Z", re.DOTALL)
_VALUE = re.compile(r"""(?P<key>["']?version["']?[ \t]*:[ \t]+)(?P<value>"[^"]*"|'[^']*'|[^\s#,{}]+)""", re.IGNORECASE)


@record
class Bumped:
    """`text` is the whole file with the new version in it."""

    before: str
    after: str
    text: str


def next_version(version: str) -> str:
    """The version with its build revision raised: luet's rules (luet.md §1.4)."""
    release, plus, build = version.partition("+")
    if not plus:
        return f"{version}+1"
    counted = _COUNTED.match(build)
    if counted is None:
        return f"{version}.1"
    return f"{release}+{counted['word']}{int(counted['count']) + 1}"


def bump(text: str, file: str, version: str, which: PackageRef | None) -> Bumped:
    """`version` is the new one, or empty for the next. `which` names an item of a collection.

    Raises SpecError: a file that cannot be read, or "bump" where the version cannot be found in it.
    """
    wrong = fault(version) if version else None
    if wrong is not None or any(c in version for c in "\"'\\\n"):
        raise SpecError(f"{version!r} is no version: {wrong or 'it has quotes in it'}", reason="bump")
    node = _item(load(text, file), which)
    found = node.get("version")
    before = read_id(node).version
    if found is None:
        raise SpecError("there is no version to raise", where=node.place, hint='write version: "1.0"', reason="bump")
    after = version or next_version(before)
    lines = text.splitlines(keepends=True)
    at = found.place.line - 1
    for match in _VALUE.finditer(lines[at]) if 0 <= at < len(lines) else ():
        value = match["value"]
        quote = value[0] if value[0] in "\"'" else '"'
        if value.strip("\"'") == before:
            start, end = match.span("value")
            lines[at] = f"{lines[at][:start]}{quote}{after}{quote}{lines[at][end:]}"
            changed = "".join(lines)
            if read_id(_item(load(changed, file), _renamed(which, after))).version == after:
                return Bumped(before, after, changed)
    message = "the version is not written on the line of its key"
    raise SpecError(message, where=found.place, hint='write version: "1.0"', reason="bump")


def _renamed(which: PackageRef | None, version: str) -> PackageRef | None:
    return None if which is None else PackageRef(which.category, which.name, version)


def _item(node: Node, which: PackageRef | None) -> Node:
    """The definition, or the item of a collection that is meant."""
    items = node.children("packages") if node.kind == "map" else ()
    if not items:
        return node
    if which is None:
        node.fail("it is a collection", hint="name the package: tree bump -f FILE category/name", reason="bump")
    ids = [(item, read_id(item)) for item in items]
    found = [item for item, id in ids if id.pkgname == which.pkgname]
    exactly = [item for item, id in ids if id.pkgname == which.pkgname and id.version == which.version]
    if len(exactly) != 1 and len(found) != 1:
        node.fail(f"{len(found)} packages of the collection are called {which.pkgname}", reason="bump")
    return (exactly or found)[0]
