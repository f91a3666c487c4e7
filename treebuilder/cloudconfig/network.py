"""The modules `dns` and `hostname`."""

from __future__ import annotations

import re
import socket

from treebuilder.cloudconfig.facts import hostname as current_name
from treebuilder.cloudconfig.machine import Machine
from treebuilder.nodes import Node

_HOSTNAME = re.compile(
    r"(?=.{1,64}\Z)[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*\Z"
)
_FIELD = re.compile(r"\{\{\s*\.?(UUID|Random|MachineID|ProtectedID)\s*\}\}")


def dns(node: Node, machine: Machine) -> None:
    """Writes resolv.conf where `nameservers` names any."""
    with machine.attempt(node.place):
        servers = machine.texts(node, "nameservers")
        if not servers:
            return
        lines = [f"nameserver {server}" for server in servers]
        for key in ("search", "options"):
            words = machine.texts(node, key)
            if words:
                lines.append(f"{key} {' '.join(words)}")
        path = machine.text(node, "path") or "/etc/resolv.conf"
        machine.root.write_text(path, "".join(f"{line}\n" for line in lines), mode=0o644)


def hostname(node: Node, machine: Machine) -> None:
    """Sets the kernel's name (on the running system), /etc/hostname and the 127.0.0.1 line of /etc/hosts."""
    with machine.attempt(node.place):
        text = _FIELD.sub(r"{{ .Values.\1 }}", machine.text_of(node, "hostname"))
        name = machine.render(text, node.place).strip()
        if not name:
            return
        if not _HOSTNAME.match(name):
            node.fail(f"{name!r} is no host name", reason="hostname")
        old = current_name(machine.root)
        machine.root.write_text("/etc/hostname", f"{name}\n", default_mode=0o644)
        hosts = machine.root.read_text("/etc/hosts")
        machine.root.write_text("/etc/hosts", with_host(hosts, name, old), default_mode=0o644)
        if machine.root.is_host:
            try:
                socket.sethostname(name)
            except PermissionError:
                machine.note("the kernel's host name stays: not allowed here", node.place)


def with_host(hosts: str, name: str, old: str) -> str:
    """/etc/hosts with `name` in its first 127.0.0.1 line, in place of the old name."""
    lines = hosts.splitlines()
    for index, line in enumerate(lines):
        words = line.partition("#")[0].split()
        if words and words[0] == "127.0.0.1":
            kept = [word for word in words[1:] if word not in (name, old, "localhost")]
            lines[index] = " ".join(["127.0.0.1", "localhost", *kept, *([name] if name != "localhost" else [])])
            break
    else:
        lines.insert(0, f"127.0.0.1 localhost {name}")
    return "".join(f"{line}\n" for line in lines)
