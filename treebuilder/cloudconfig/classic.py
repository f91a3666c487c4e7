"""cloud-init's own keys (`#cloud-config`) as stages (os-and-ota.md §6.1).

`hostname` becomes a step of stage initramfs, keys that are fetched one of stage network, all else steps of stage boot
in the order in which cloud-init works: growpart, write_files, users with their keys, deferred files, runcmd. The file's
own `stages` follow. Every node keeps its line.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from functools import partial

from treebuilder.annotations import TypeVar
from treebuilder.errors import Place, SpecError, TreebuildError
from treebuilder.nodes import Entries, Node
from treebuilder.records import record

T = TypeVar("T")
FETCHED = ("github:", "gitlab:", "http://", "https://")
_SUDOERS = "/etc/sudoers.d/90-cloud-init-users"
_PASSWORDS = ("passwd", "hashed_passwd", "plain_text_passwd")
_STEP = "Cloud init"
_DEFAULT = "default"


def translated(node: Node, errors: list[TreebuildError] | None = None) -> Node:
    """The document with `stages` alone. Raises SpecError for wrong types; with `errors` they are kept there, and the
    other keys count. Keys without their users are nobody's then.

    Keys that mean nothing are not looked at here: `schema.CLASSIC` knows them.
    """
    names = [(name.replace("-", "_").lower(), value) for name, value in node.entries("a cloud-config file")]
    found = {name: value for name, value in names if value.kind != "nothing"}

    def part(make: Callable[[], T]) -> T | None:
        try:
            return make()
        except SpecError as err:
            if errors is None:
                raise
            errors.append(err)
            return None

    listed = part(lambda: list(_items(found.get("users"), "users")))
    users = [user for item in listed or [] if (user := part(partial(_user, item))) is not None]
    people, sudo = {user.name: user.person for user in users}, _sudoers(users)
    local, fetched = (part(lambda: _keys(found, users, listed)) if listed is not None else None) or (None, None)
    plain, deferred = part(lambda: _files(found.get("write_files"))) or ([], [])
    disks = part(lambda: [_layout(item) for item in _devices(found.get("growpart"))])
    commands = part(lambda: [_command(item) for item in _items(found.get("runcmd"), "runcmd")])
    boot: list[Node | None] = [*(disks or [])]
    boot.append(_step(files=[*plain, *([sudo] if sudo is not None else [])]))
    boot.append(_step(users=_map(people.items()), authorized_keys=local))
    boot.append(_step(files=deferred))
    boot.append(_step(commands=commands or []))
    stages: dict[str, list[Node]] = {"boot": [step for step in boot if step is not None]}
    for stage, step in (
        ("initramfs", _step(hostname=found.get("hostname"))),
        ("network", _step(authorized_keys=fetched)),
    ):
        if step is not None:
            stages[stage] = [step]
    own = node.get("stages")
    for stage, steps in () if own is None else own.entries("stages"):
        stages.setdefault(stage, []).extend(steps.items(f"stages.{stage}"))
    entries = [("stages", _map((stage, _list(steps)) for stage, steps in stages.items() if steps))]
    if (name := node.get("name")) is not None:
        entries.insert(0, ("name", name))
    return Node("map", node.place, Entries(entries))


# people -----------------------------------------------------------------------------------------------------------
@record
class _User:
    """A user as the module `users` takes it. `rules`: what it may do by sudo; `keys` are its own."""

    name: str
    person: Node
    rules: tuple[Node, ...]
    keys: tuple[Node, ...]


def _user(item: Node) -> _User | None:
    if item.kind == "text":  # `default` is a distribution's own user: there is none here
        if item.as_text() != _DEFAULT:
            item.fail(f"the user {item.as_text()} must be a map with a name", reason="wrong-type")
        return None
    keys = {name.replace("-", "_").lower(): value for name, value in item.entries("a user")}
    name = keys.get("name")
    if name is None or not name.as_text("name"):
        item.fail("a user needs a name", reason="missing-key")
    sudo = keys.get("sudo")
    rules: tuple[Node, ...] = ()
    if sudo is not None and sudo.kind not in ("boolean", "nothing"):
        rules = tuple(sudo.items()) if sudo.kind == "list" else (sudo,)
    for rule in rules:
        rule.as_text("sudo")
    own = _items(keys.get("ssh_authorized_keys"), "ssh_authorized_keys")
    return _User(name.as_text(), _person(keys, item.place), rules, tuple(own))


def _sudoers(users: Iterable[_User]) -> Node | None:
    """The file of those who may sudo."""
    rules = [(user.name, rule) for user in users for rule in user.rules]
    if not rules:
        return None
    place = rules[0][1].place
    text = "".join(f"{name} {rule.as_text()}\n" for name, rule in rules)
    return _map((("path", _text(_SUDOERS, place)), ("content", _text(text, place)),
                 ("permissions", _text("0440", place))), place)  # fmt: skip


def _person(keys: dict[str, Node], place: Place) -> Node:
    kept: list[tuple[str, Node]] = []
    for name, value in keys.items():
        if name in _PASSWORDS:
            kept.append(("passwd", value))
        elif name == "groups" and value.kind == "text":
            words = [word.strip() for word in value.as_text().split(",")]
            kept.append((name, _list([_text(word, value.place) for word in words if word])))
        elif name not in ("name", "sudo", "ssh_authorized_keys"):
            kept.append((name, value))
    return _map(kept, place)


def _keys(
    found: dict[str, Node], users: Iterable[_User], listed: Iterable[Node]
) -> tuple[Node | None, Node | None]:  # fmt: skip
    """Keys by user: those that stand there, and those that are fetched. Keys of the file are for all its users, or for
    root where nobody else is `listed`."""
    shared = list(_items(found.get("ssh_authorized_keys"), "ssh_authorized_keys"))
    keys: dict[str, list[Node]] = {}
    for user in users:
        keys.setdefault(user.name, []).extend(user.keys)
    for mine in keys.values():
        mine += shared
    if not keys and shared and all(item.kind == "text" and item.as_text() == _DEFAULT for item in listed):
        keys["root"] = shared
    for each in (key for mine in keys.values() for key in mine):
        each.as_text("a key")
    there = {name: _list([key for key in mine if not _is_fetched(key)]) for name, mine in keys.items()}
    fetched = {name: _list([key for key in mine if _is_fetched(key)]) for name, mine in keys.items()}
    return _some(there), _some(fetched)


def _is_fetched(key: Node) -> bool:
    return key.as_text("a key").strip().startswith(FETCHED)


# files, commands, disks -------------------------------------------------------------------------------------------
def _files(node: Node | None) -> tuple[list[Node], list[Node]]:
    """Items of `files`: those written before users are made, and those that wait for them (`defer`)."""
    plain: list[Node] = []
    deferred: list[Node] = []
    for item in _items(node, "write_files"):
        entries = item.entries("an item of write_files")
        kept = [("ownerstring" if name == "owner" else name, value) for name, value in entries if name != "defer"]
        (deferred if item.boolean("defer") else plain).append(_map(kept, item.place))
    return plain, deferred


def _command(item: Node) -> Node:
    """A line for the shell, or words that it does not look into."""
    if item.kind != "list":
        return item
    words = [word.written if word.kind in ("number", "boolean") else word.as_text("a word") for word in item.items()]
    return _text(shlex.join(words), item.place)


def _devices(node: Node | None) -> tuple[Node, ...]:
    if node is None:
        return ()
    mode = node.get("mode")
    if mode is not None and str(mode.written or mode.value).lower() in ("off", "false"):
        return ()
    return node.children("devices")


def _layout(device: Node) -> Node:
    """Growing the last partition of a disk to its end; `/` is the disk that holds the root."""
    grow = _map((("size", Node("number", device.place, 0, "0")),), device.place)
    layout = _map((("device", _map((("path", device),), device.place)), ("expand_partition", grow)), device.place)
    return _map((("name", _text(_STEP, device.place)), ("layout", layout)), device.place)


# nodes ------------------------------------------------------------------------------------------------------------
def _items(node: Node | None, what: str) -> tuple[Node, ...]:
    return () if node is None else node.items(what)


def _step(**modules: Node | list[Node] | None) -> Node | None:
    """A step of what there is; None when there is nothing."""
    entries = [(name, _list(value) if isinstance(value, list) else value) for name, value in modules.items()]
    there = [(name, value) for name, value in entries if value is not None and value.value]
    if not there:
        return None
    place = there[0][1].place
    return _map([("name", _text(_STEP, place)), *there], place)


def _some(lists: dict[str, Node]) -> Node | None:
    there = {name: items for name, items in lists.items() if items.value}
    return _map(there.items()) if there else None


def _text(text: str, place: Place) -> Node:
    return Node("text", place, text)


def _list(items: list[Node]) -> Node:
    return Node("list", items[0].place if items else Place(""), items)


def _map(entries: Iterable[tuple[str, Node]], place: Place | None = None) -> Node:
    made = Entries(entries)
    first = next(iter(made.values()), None)
    return Node("map", place or (first.place if first is not None else Place("")), made)
