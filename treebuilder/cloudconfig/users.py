"""The modules `users` and `authorized_keys`: accounts with home, groups and keys, without useradd."""

from __future__ import annotations

import re
from pathlib import Path

from treebuilder.cloudconfig.accounts import GROUP, PASSWD, SHADOW, Entry, Table
from treebuilder.cloudconfig.entities import hashed, today
from treebuilder.cloudconfig.machine import Machine
from treebuilder.errors import ConfigError, TreebuildError
from treebuilder.nodes import Node

_NO_ID = 0xFFFF_FFFF
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?\Z")
_REMOTE = re.compile(r"(github:|gitlab:|https?://)")


def users(node: Node, machine: Machine) -> None:
    for name, item in node.entries("users"):
        with machine.attempt(item.place):
            if not _NAME.match(name):
                item.fail(f"{name!r} is no name for a user", reason="entity")
            _user(name, item, machine)


def authorized_keys(node: Node, machine: Machine) -> None:
    for name, item in node.entries("authorized_keys"):
        with machine.attempt(item.place):
            add_keys(name, item, machine)


def _user(name: str, item: Node, machine: Machine) -> None:
    root = machine.root
    table = Table(root, PASSWD)
    old = table.find(name)
    home = machine.text(item, "homedir") or (old.get("homedir") if old is not None else f"/home/{name}")
    uid = _uid(item, old, home, table, machine)
    gid = _main_group(name, item, old, uid, machine)
    fields = {"username": name, "uid": str(uid), "gid": str(gid), "homedir": home}
    if machine.text(item, "gecos") or old is None:
        fields["info"] = machine.text(item, "gecos")
    if machine.text(item, "shell") or old is None:
        fields["shell"] = machine.text(item, "shell") or "/bin/sh"
    table.put(fields)
    table.save()
    _password(name, item, machine)
    for group in machine.texts(item, "groups"):
        _join(name, group, machine)
    if not item.boolean("no_create_home") and not (item.boolean("system") and not machine.text(item, "homedir")):
        _home(home, uid, gid, machine)
    if (keys := item.get("ssh_authorized_keys")) is not None:
        add_keys(name, keys, machine)


def _uid(item: Node, old: Entry | None, home: str, table: Table, machine: Machine) -> int:
    """Given, else the account's own, else that of whom an existing home belongs to, else a free one."""
    node = item.get("uid")
    text = "" if node is None else machine.text_of(node, "uid")
    if text:
        if not text.isdecimal() or len(text) > 10 or int(text) >= _NO_ID:
            item.fail(f"uid must be a number, not {text!r}", reason="wrong-type")
        return int(text)
    if old is not None and old.number("uid") >= 0:
        return old.number("uid")
    there = machine.root.locate(home)
    if there.is_dir():
        owner = there.stat().st_uid
        if owner and all(entry.number("uid") != owner for entry in table.entries()):
            return owner
    return table.free_id(system=item.boolean("system"))


def _main_group(name: str, item: Node, old: Entry | None, uid: int, machine: Machine) -> int:
    groups = Table(machine.root, GROUP)
    node = item.get("primary_group")
    wanted = "" if node is None else machine.text_of(node, "primary_group")
    if wanted:
        found = groups.find(wanted)
        if wanted.isdigit() and found is None:
            return int(wanted)
        if found is None:
            raise TreebuildError(f"user {name}: there is no group {wanted}", reason="entity")
        return found.number("gid")
    if old is not None and old.number("gid") >= 0:
        return old.number("gid")
    if item.boolean("no_user_group"):
        shared = groups.find("users")
        return shared.number("gid") if shared is not None else 100
    own = groups.find(name)
    if own is not None:
        return own.number("gid")
    taken = {entry.number("gid") for entry in groups.entries()}
    gid = uid if uid not in taken else groups.free_id(system=item.boolean("system"))
    groups.put({"group_name": name, "gid": str(gid)})
    groups.save()
    return gid


def _password(name: str, item: Node, machine: Machine) -> None:
    """The line in shadow. Ageing stays; without a password a new account is locked, an old one keeps its own."""
    shadow = Table(machine.root, SHADOW)
    old = shadow.find(name)
    before = "" if old is None else old.get("password")
    node = item.get("passwd")
    given = "" if node is None else machine.render(machine.text_of(node, "passwd"), node.place)
    password = hashed(given, name, before.lstrip("!")) if given else before or "!"
    if item.boolean("lock_passwd"):
        password = password if password.startswith("!") else f"!{password}"
    fields = {"username": name, "password": password}
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
    path = machine.root.locate(home)
    if path.is_dir():
        return
    machine.root.make_folders(str(Path(home).parent))
    machine.root.make_folders(home, 0o700)
    machine.root.own(path, uid, gid)


def add_keys(name: str, keys: Node, machine: Machine) -> None:
    """Adds what is missing to ~/.ssh/authorized_keys. Raises TreebuildError for an unknown user."""
    root = machine.root
    entry = Table(root, PASSWD).find(name)
    if entry is None:
        raise TreebuildError(f"there is no user {name} to give keys to", where=keys.place, reason="entity")
    wanted: list[str] = []
    for item in keys.items("keys"):
        with machine.attempt(item.place):
            key = machine.render(machine.text_of(item, "a key").strip(), item.place)
            if _REMOTE.match(key):
                raise ConfigError(f"the key {key} is not fetched: keys over the network are not supported yet")
            wanted += key.splitlines()
    folder = f"{entry.get('homedir').rstrip('/')}/.ssh"
    file = f"{folder}/authorized_keys"
    there = root.read_text(file).splitlines()
    missing = [key for key in dict.fromkeys(wanted) if key and key not in there]
    uid, gid = entry.number("uid"), entry.number("gid")
    made = not root.exists(folder)
    path = root.make_folders(folder, 0o700)
    if missing:
        written = root.write_text(file, "".join(f"{line}\n" for line in [*there, *missing]), mode=0o600)
        root.own(written, uid, gid)
    if made:
        root.own(path, uid, gid)
