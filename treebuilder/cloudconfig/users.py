"""The modules `users` and `authorized_keys`: accounts with home, groups and keys, without useradd."""

from __future__ import annotations

import re
from pathlib import Path

from treebuilder.cloudconfig.accounts import GROUP, PASSWD, SHADOW, Entry, Table
from treebuilder.cloudconfig.ask import Ask, shown
from treebuilder.cloudconfig.classic import FETCHED
from treebuilder.cloudconfig.entities import hashed, today
from treebuilder.cloudconfig.files import number
from treebuilder.cloudconfig.machine import Machine
from treebuilder.errors import Place, TreebuildError
from treebuilder.nodes import Node
from treebuilder.records import record

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?\Z")
_PERSON = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,254}\Z")
_KEY = re.compile(  # no control characters: some readers end a line at them
    r"(ssh|ecdsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+ +[A-Za-z0-9+/]+=*( [^\0-\x08\n-\x1f\x7f-\x9f\u2028\u2029]*)?\Z"
)
_FORGES = {"github": "https://github.com", "gitlab": "https://gitlab.com"}
_MAX_KEYS = 1 << 20


def users(node: Node, machine: Machine) -> None:
    for name, item in node.entries("users"):
        with machine.attempt(item.place):
            _user(_read(name, item, machine), machine)


def authorized_keys(node: Node, machine: Machine) -> None:
    for name, item in node.entries("authorized_keys"):
        with machine.attempt(item.place):
            add_keys(name, item, machine)


@record
class _Account:
    """What an item of `users` says; empty texts are not said. `password` is None where none is given."""

    name: str
    home: str
    gecos: str
    shell: str
    uid: str
    primary_group: str
    groups: tuple[str, ...]
    password: str | None
    locked: bool
    system: bool
    no_user_group: bool
    no_home: bool
    keys: tuple[tuple[str, Place], ...] | None


def _read(name: str, item: Node, machine: Machine) -> _Account:
    """All of an item, before anything is done. Raises SpecError."""
    if not _NAME.match(name):
        item.fail(f"{name!r} is no name for a user", reason="entity")
    uid = machine.text(item, "uid")
    if uid and not uid.isdecimal():
        item.fail(f"uid must be a number, not {uid!r}", reason="wrong-type")
    primary_group = machine.text(item, "primary_group")
    for digits in (uid, primary_group):
        if digits.isdecimal():
            number(digits, item)
    home = machine.text(item, "homedir")
    system = item.boolean("system")
    given = item.get("passwd")
    password = None if given is None else machine.render(machine.text_of(given, "passwd"), given.place)
    keys = item.get("ssh_authorized_keys")
    return _Account(
        name, home, machine.text(item, "gecos"), machine.text(item, "shell"), uid, primary_group,
        machine.texts(item, "groups"), password, item.boolean("lock_passwd"), system, item.boolean("no_user_group"),
        item.boolean("no_create_home") or (system and not home), None if keys is None else _read_keys(keys, machine),
    )  # fmt: skip


def _user(wanted: _Account, machine: Machine) -> None:
    root = machine.root
    table = Table(root, PASSWD)
    old = table.find(wanted.name)
    home = wanted.home or (old.get("homedir") if old is not None else f"/home/{wanted.name}")
    uid = _uid(wanted, old, home, table, machine)
    gid = _main_group(wanted, old, uid, machine)
    fields = {"username": wanted.name, "uid": str(uid), "gid": str(gid), "homedir": home}
    if wanted.gecos or old is None:
        fields["info"] = wanted.gecos
    if wanted.shell or old is None:
        fields["shell"] = wanted.shell or "/bin/sh"
    table.put(fields)
    table.save()
    _password(wanted, machine)
    for group in wanted.groups:
        _join(wanted.name, group, machine)
    if not wanted.no_home:
        _home(home, uid, gid, machine)
    if wanted.keys is not None:
        _add_keys(wanted.name, wanted.keys, machine)


def _uid(wanted: _Account, old: Entry | None, home: str, table: Table, machine: Machine) -> int:
    """Given, else the account's own, else that of whom an existing home belongs to, else a free one."""
    if wanted.uid:
        return int(wanted.uid)
    if old is not None and old.number("uid") >= 0:
        return old.number("uid")
    there = machine.root.locate(home)
    if there.is_dir():
        owner = there.stat().st_uid
        if owner and all(entry.number("uid") != owner for entry in table.entries()):
            return owner
    return table.free_id(system=wanted.system)


def _main_group(wanted: _Account, old: Entry | None, uid: int, machine: Machine) -> int:
    groups = Table(machine.root, GROUP)
    if wanted.primary_group:
        found = groups.find(wanted.primary_group)
        if wanted.primary_group.isdecimal() and found is None:
            return int(wanted.primary_group)
        if found is None:
            raise TreebuildError(f"user {wanted.name}: there is no group {wanted.primary_group}", reason="no-account")
        return found.number("gid")
    if old is not None and old.number("gid") >= 0:
        return old.number("gid")
    if wanted.no_user_group:
        shared = groups.find("users")
        return shared.number("gid") if shared is not None else 100
    own = groups.find(wanted.name)
    if own is not None:
        return own.number("gid")
    taken = {entry.number("gid") for entry in groups.entries()}
    gid = uid if uid not in taken else groups.free_id(system=wanted.system)
    groups.put({"group_name": wanted.name, "gid": str(gid)})
    groups.save()
    return gid


def _password(wanted: _Account, machine: Machine) -> None:
    """The line in shadow. Ageing stays; without a password a new account is locked, an old one keeps its own."""
    shadow = Table(machine.root, SHADOW)
    old = shadow.find(wanted.name)
    before = "" if old is None else old.get("password")
    password = hashed(wanted.password, wanted.name, before.lstrip("!")) if wanted.password else before or "!"
    if wanted.locked:
        password = password if password.startswith("!") else f"!{password}"
    fields = {"username": wanted.name, "password": password}
    if password != before:
        fields["last_changed"] = str(today(machine))
    shadow.put(fields)
    shadow.save()


def _join(name: str, group: str, machine: Machine) -> None:
    groups = Table(machine.root, GROUP)
    found = groups.find(group)
    if found is None:
        found = groups.put({"group_name": group, "gid": str(groups.free_id(system=True))})
    members = [member for member in found.get("users").split(",") if member]
    if name not in members:
        members.append(name)
    groups.put({"group_name": group, "users": ",".join(members)})
    groups.save()


def _home(home: str, uid: int, gid: int, machine: Machine) -> None:
    if machine.root.locate(home).is_dir():
        return
    machine.root.make_folders(str(Path(home).parent))
    machine.root.make_folders(home, 0o700, owner=(uid, gid))


def add_keys(name: str, keys: Node, machine: Machine) -> None:
    """Adds what is missing to ~/.ssh/authorized_keys. Raises TreebuildError for an unknown user."""
    _add_keys(name, _read_keys(keys, machine), machine)


def _read_keys(keys: Node, machine: Machine) -> tuple[tuple[str, Place], ...]:
    """Keys, and names of keys that are fetched (github:NAME, gitlab:NAME, a URL). A bad one is left out, and said."""
    found = []
    for item in keys.items("keys"):
        with machine.attempt(item.place):
            found.append((machine.render(machine.text_of(item, "a key").strip(), item.place), item.place))
    return tuple(found)


def _add_keys(name: str, keys: tuple[tuple[str, Place], ...], machine: Machine) -> None:
    root = machine.root
    entry = Table(root, PASSWD).find(name)
    if entry is None:
        raise TreebuildError(f"there is no user {name} to give keys to", reason="no-account")
    wanted: list[str] = []
    for key, place in keys:
        with machine.attempt(place):
            wanted += _fetched(key, machine) if key.startswith(FETCHED) else key.splitlines()
    folder = f"{entry.get('homedir').rstrip('/')}/.ssh"
    file = f"{folder}/authorized_keys"
    old = root.read_text(file).removesuffix("\n")
    there = old.split("\n") if old else []
    missing = [key for key in dict.fromkeys(wanted) if key and key not in there]
    owner = (entry.number("uid"), entry.number("gid"))
    root.make_folders(folder, 0o700, owner=(-1, -1) if root.exists(folder) else owner)
    if missing:
        text = "".join(f"{line}\n" for line in [*there, *missing])
        root.write_text(file, text, mode=0o600, owner=owner)


def is_key(line: str) -> bool:
    """Whether a line of authorized_keys is a key and nothing but a key: no options, no second line."""
    return _KEY.match(line) is not None


def _fetched(word: str, machine: Machine) -> list[str]:
    """The keys of a person at a forge, or those behind a URL. Raises TransportError, TreebuildError for other lines."""
    forge, _, person = word.partition(":")
    if forge in _FORGES and not _PERSON.match(person):
        raise TreebuildError(f"{person!r} is no name of {forge}", reason="url")
    url = f"{_FORGES[forge]}/{person}.keys" if forge in _FORGES else word
    lines = machine.fetch(Ask(url, limit_bytes=_MAX_KEYS)).decode("utf-8", "replace").splitlines()
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    other = next((key for key in keys if not is_key(key)), None)
    if other is not None:  # a page that says something else must not let anybody in
        raise TreebuildError(f"{shown(url)} holds a line that is no key: {other[:40]!r}", reason="keys")
    return keys
