"""The modules `ensure_entities` and `delete_entities`: lines of passwd, group, shadow and gshadow."""

from __future__ import annotations

import hashlib
import os
import secrets

from treebuilder.cloudconfig.accounts import GROUP, KINDS, PASSWD, SHADOW, Kind, Table
from treebuilder.cloudconfig.machine import Machine
from treebuilder.cloudconfig.sha512crypt import hash_password, verify
from treebuilder.nodes import Node, load

_SECONDS_PER_DAY = 86_400
_OTHER_NAMES = {"gecos": "info", "home": "homedir", "name": "username"}  # what people write for passwd's fields


def ensure(node: Node, machine: Machine) -> None:
    for item in node.items("ensure_entities"):
        with machine.attempt(item.place):
            kind, fields, path = _entity(item, machine)
            table = Table(machine.root, kind, path)
            key = fields.get(kind.fields[0], "")
            if kind is SHADOW and "password" in fields:
                old = table.find(key)
                before = "" if old is None else old.get("password")
                fields["password"] = hashed(fields["password"], key, before)
                if fields["password"] != before:
                    fields.setdefault("last_changed", "now")
            if fields.get("last_changed") == "now":
                fields["last_changed"] = str(today(machine))
            _numbers(kind, fields, table)
            table.put(fields)
            table.save()


def delete(node: Node, machine: Machine) -> None:
    for item in node.items("delete_entities"):
        with machine.attempt(item.place):
            kind, fields, path = _entity(item, machine)
            table = Table(machine.root, kind, path)
            table.remove(fields.get(kind.fields[0], ""))
            table.save()


def today(machine: Machine) -> int:
    """Days since 1970, as /etc/shadow counts."""
    return machine.now_s() // _SECONDS_PER_DAY


def hashed(password: str, user: str, before: str) -> str:
    """A password as shadow holds it. What begins with `$`, `!` or `*` is a hash or a lock already.

    A plain password that the old hash fits keeps that hash: a second run changes nothing. In builds
    (SOURCE_DATE_EPOCH) the salt comes from the input, so that two builds are equal.
    """
    if not password or password[0] in "$!*":
        return password
    if verify(password, before):
        return before
    if os.environ.get("SOURCE_DATE_EPOCH"):
        salt = hashlib.sha256(f"{user}\0{password}".encode()).hexdigest()[:16]
    else:
        salt = secrets.token_hex(8)
    return hash_password(password, salt)


def _numbers(kind: Kind, fields: dict[str, str], table: Table) -> None:
    """A new user or group without a number gets a free one."""
    number = {PASSWD.name: "uid", GROUP.name: "gid"}.get(kind.name)
    if number is None:
        return
    if fields.get(number) in ("", "-1"):
        del fields[number]
    if number not in fields and table.find(fields.get(kind.fields[0], "")) is None:
        fields[number] = str(table.free_id(system=False))
    if kind is PASSWD and "gid" not in fields and table.find(fields.get("username", "")) is None:
        fields["gid"] = fields["uid"]


def _entity(item: Node, machine: Machine) -> tuple[Kind, dict[str, str], str]:
    """An item's kind, its fields as texts, and the file it is for."""
    body = item.get("entity")
    if body is None:
        item.fail("entity is missing", reason="missing-key")
    if body.kind == "text":  # a document inside the document
        text = machine.render(machine.text_of(body, "entity"), body.place)
        body = load(text, body.place.file, first_line=body.place.line + 1)
    kind_node = body.get("kind")
    word = "" if kind_node is None else machine.text_of(kind_node, "kind")
    kind = KINDS.get(word)
    if kind is None:
        body.fail(f"unknown kind of entity {word!r}", hint=f"one of {', '.join(KINDS)}", reason="entity")
    fields: dict[str, str] = {}
    for name, value in body.entries("entity"):
        field = name.lower()
        if field not in kind.fields and kind is PASSWD:
            field = _OTHER_NAMES.get(field, field)
        if field in kind.fields:
            if value.kind == "list":
                fields[field] = ",".join(machine.text_of(one, name) for one in value.items())
            elif value.kind != "nothing":
                fields[field] = machine.text_of(value, name)
        elif field != "kind":
            machine.warn(f"unknown key {name} of a {kind.name}: it does nothing", value.place)
    if not fields.get(kind.fields[0]):
        body.fail(f"{kind.fields[0]} is missing", reason="missing-key")
    return kind, fields, machine.text(item, "path")
