"""The modules `directories`, `files` and `commands`."""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import zlib
from pathlib import Path

from treebuilder.cloudconfig.accounts import GROUP, PASSWD, Table
from treebuilder.cloudconfig.machine import Machine
from treebuilder.cloudconfig.root import Root
from treebuilder.errors import ToolFailed
from treebuilder.nodes import Node

SECRET = 0o600  # yip writes mode 0 where none is given: only root reads it, and so it is here
_FOLDER = 0o755
_NO_ID = 0xFFFF_FFFF  # the kernel's (uid_t) -1
_MAX_UNPACKED = 256 << 20


def directories(node: Node, machine: Machine) -> None:
    for item in node.items("directories"):
        with machine.attempt(item.place):
            inside = path_of(item, machine)
            mode = permissions(item, machine)
            owner = owners(item, machine)
            machine.root.make_folders(inside, _FOLDER if mode is None else mode, always=mode, owner=owner)


def files(node: Node, machine: Machine) -> None:
    for item in node.items("files"):
        with machine.attempt(item.place):
            write_file(item, machine)


def write_file(item: Node, machine: Machine) -> None:
    """One item of `files`: its folder, its content, then owner and mode.

    `append` adds the content to what is there, unless it is there already. It is cloud-init's; yip does not know it.
    """
    inside = path_of(item, machine)
    mode = permissions(item, machine)
    data = decoded(item, machine)
    owner = owners(item, machine)
    if item.boolean("append"):
        old = machine.root.read(inside) or b""
        data = old if data in old else old + data
    elif mode is None:  # what is added to keeps its mode
        mode = SECRET
    make_folder_of(inside, SECRET if mode is None else mode, machine)
    machine.root.write(inside, data, mode=mode, default_mode=SECRET, owner=owner)


def make_folder_of(inside: str, mode: int, machine: Machine) -> None:
    """Who may read the file may pass through to it."""
    machine.root.make_folders(str(Path(inside).parent), 0o700 | mode & 0o055 | (mode & 0o044) >> 2)


def commands(node: Node, machine: Machine) -> None:
    for item in node.items("commands"):
        with machine.attempt(item.place):
            command = machine.render(machine.text_of(item, "a command"), item.place)
            status = machine.shell(command)
            if status != 0:
                how = f"exit code {status}" if status > 0 else f"signal {-status}"
                first = command.strip().splitlines()[0] if command.strip() else ""
                raise ToolFailed(f"the command {first!r} failed with {how}", exit_status=status)


def permissions(item: Node, machine: Machine) -> int | None:
    """A mode: a YAML octal number, or text such as "0644". None when it is not given."""
    node = item.get("permissions")
    if node is None:
        return None
    if node.kind == "text":
        text = node.as_text().removeprefix("0o")
        if not text or set(text) - set("01234567"):
            node.fail(f"permissions must be octal, not {node.value!r}", reason="wrong-type")
        mode = int(text, 8)
    else:
        mode = node.as_integer("permissions")
        if node.written.isdigit() and not node.written.startswith("0") and not set(node.written) & {"8", "9"}:
            machine.warn(f"permissions {mode} is a decimal number", node.place, f"write 0{mode}")
    if not 0 <= mode <= 0o7777:
        node.fail(f"permissions must be between 0 and 07777, not {mode}", reason="wrong-type")
    return mode


def decoded(item: Node, machine: Machine) -> bytes:
    """The content after its encoding; only plain text is a template. Raises SpecError for what cannot be decoded."""
    node = item.get("content")
    text = "" if node is None else machine.text_of(node, "content")
    place = item.place if node is None else node.place
    encoding = machine.text(item, "encoding").lower()
    if encoding in ("", "plain", "text/plain"):
        return machine.render(text, place).encode("utf-8", "surrogateescape")
    data = text.encode("utf-8", "surrogateescape")
    known = {"b64": "b", "base64": "b", "gz": "g", "gzip": "g"}
    for layer in reversed(encoding.split("+")):  # gz+b64: packed, then written in letters
        kind = known.get(layer)
        if kind is None:
            item.fail(f"unknown encoding {encoding!r}", hint="b64, gz or gz+b64", reason="encoding")
        try:
            data = base64.b64decode(b"".join(data.split()), validate=True) if kind == "b" else unzip(data)
        except (binascii.Error, OSError, EOFError, zlib.error) as err:
            item.fail(f"the content is not {layer}: {err}", reason="encoding")
    return data


def unzip(data: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as packed:
        plain = packed.read(_MAX_UNPACKED + 1)
    if len(plain) > _MAX_UNPACKED:
        raise OSError(f"more than {_MAX_UNPACKED >> 20} MiB")
    return plain


def path_of(item: Node, machine: Machine) -> str:
    path = machine.render(machine.text(item, "path"), item.place)
    if not path.strip("/"):
        item.fail("path is missing", reason="missing-key")
    return path


def owners(item: Node, machine: Machine) -> tuple[int, int]:
    """Owner and group by number, or by name through `ownerstring`; -1 for what is not said."""
    text = machine.text(item, "ownerstring")
    if text:
        return owner_of(text, machine.root, item)
    user, group = (item.integer(key) if item.get(key) is not None else -1 for key in ("owner", "group"))
    if not (-1 <= user < _NO_ID and -1 <= group < _NO_ID):
        item.fail(f"owner {user}:{group} is no pair of numbers of the system", reason="wrong-type")
    return user, group


def owner_of(text: str, root: Root, item: Node) -> tuple[int, int]:
    """`user:group` as numbers, names looked up in the root. A user alone brings its own group."""
    user, _, group = text.partition(":")
    entry = Table(root, PASSWD).find(user)
    uid = number(user, item) if user.isdecimal() else -1 if entry is None else entry.number("uid")
    gid = -1 if entry is None else entry.number("gid")
    if group:
        known = Table(root, GROUP).find(group)
        gid = number(group, item) if group.isdecimal() else -1 if known is None else known.number("gid")
    if (user and uid < 0) or (group and gid < 0):
        item.fail(f"there is no {user if uid < 0 else group} in this system", reason="unknown-owner")
    return uid, gid


def number(text: str, item: Node) -> int:
    """Decimal digits as the number of a user or a group. Raises SpecError for one that the kernel does not have."""
    if len(text) > 10 or int(text) >= _NO_ID:
        item.fail(f"{text[:20]} is no number of a user or a group", reason="wrong-type")
    return int(text)
