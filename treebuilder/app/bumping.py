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
_VALUE = re.compile(
    r"""(?P<key>["']?version["']?[ \t]*:[ \t]+(?:&[^\s,{}\[\]]+[ \t]+)?)(?P<value>"[^"]*"|'[^']*'|[^\s#,{}]+)""",
    re.IGNORECASE,
)


@record
class Bumped:
    """`package` is category and name, `text` the whole file with the new version in it."""

    package: str
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


def bump(text: str, file: str, version: str | None, which: PackageRef | None) -> Bumped:
    """`version` is the new one, None for the next. `which` names an item of a collection.

    Raises SpecError: a file that cannot be read, or "bump" where the version cannot be found in it.
    """
    wrong = "it is empty" if version is not None and not version.strip() else fault(version or "")
    if version is not None and (wrong is not None or any(c in version for c in "\"'\\\n")):
        raise SpecError(f"{version!r} is no version: {wrong or 'it has quotes in it'}", reason="bump")
    whole = load(text, file)
    node = _item(whole, which)
    found = node.get("version")
    id = read_id(node)
    before = id.version
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
            then = load(changed, file)
            if read_id(_item(then, _renamed(which, after))).version == after:
                _refuse_others(whole, then, node, found)
                return Bumped(id.pkgname.removeprefix("/"), before, after, changed)
    message = "the version is not written on the line of its key"
    raise SpecError(message, where=found.place, hint='write version: "1.0"', reason="bump")


def _refuse_others(whole: Node, then: Node, node: Node, found: Node) -> None:
    """Raises SpecError where an item beside the one that is meant has another version than before."""
    if whole.kind != "map":
        return
    for item, changed in zip(whole.children("packages"), then.children("packages"), strict=True):
        if item is not node and item.plain() != changed.plain():
            raise SpecError(
                f"{read_id(node).pkgname} shares its version with {read_id(item).pkgname}, which would change with it",
                where=found.place, hint="give the item a version of its own", reason="bump",
            )  # fmt: skip


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
