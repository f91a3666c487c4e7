"""The modules `systemctl`, `timesyncd` and `systemd_firstboot`.

Where no systemd runs for this root, units are enabled by links: `systemctl --root` where there is one, else our own.
"""

from __future__ import annotations

from collections.abc import Callable

from treebuilder.cloudconfig import units
from treebuilder.cloudconfig.machine import Machine
from treebuilder.cloudconfig.root import Root
from treebuilder.errors import ToolFailed
from treebuilder.nodes import Node
from treebuilder.system import process

_OFFLINE: dict[str, Callable[[Root, str], None]] = {
    "enable": units.enable, "disable": units.disable, "mask": units.mask,
}  # fmt: skip


def systemctl(node: Node, machine: Machine) -> None:
    """Overrides first, so that what is started sees them; then enable, disable, mask, start."""
    node.entries("systemctl")
    for item in node.children("overrides"):
        with machine.attempt(item.place):
            _override(item, machine)
    if machine.booted_with_systemd and node.children("overrides"):
        machine.run(["systemctl", "daemon-reload"])
    for verb in ("enable", "disable", "mask", "start"):
        for item in node.children(verb):
            with machine.attempt(item.place):
                _do(verb, machine.render(machine.text_of(item, "a unit"), item.place), item, machine)


def _do(verb: str, word: str, item: Node, machine: Machine) -> None:
    name = units.unit_name(word)
    if machine.booted_with_systemd:
        argv = ["systemctl", verb, "--", name]
    elif verb == "start":
        machine.note(f"{name} is not started: systemd does not run here", item.place)
        return
    elif process.which("systemctl") is not None:
        argv = ["systemctl", f"--root={machine.root.folder}", verb, "--", name]
    else:
        _OFFLINE[verb](machine.root, name)
        return
    status = machine.run(argv)
    if status != 0:
        raise ToolFailed(f"systemctl {verb} {name} failed with exit code {status}", exit_status=status)


def _override(item: Node, machine: Machine) -> None:
    service = units.unit_name(machine.text(item, "service"))
    name = machine.text(item, "name") or "override-yip.conf"
    if "/" in name:
        item.fail(f"{name!r} is no file name", reason="path")
    if not name.endswith(".conf"):
        name += ".conf"
    content = machine.render(machine.text(item, "content"), item.place)
    folder = f"/etc/systemd/system/{service}.d"
    machine.root.write_text(f"{folder}/{name}", content, mode=0o644)


def timesyncd(node: Node, machine: Machine) -> None:
    """Writes the [Time] section of a drop-in of its own."""
    with machine.attempt(node.place):
        values = sorted((name, machine.text_of(item, name)) for name, item in node.entries("timesyncd"))
        if values:
            folder = "/etc/systemd/timesyncd.conf.d"
            text = "[Time]\n" + "".join(f"{name}={value}\n" for name, value in values)
            machine.root.write_text(f"{folder}/10-yip.conf", text, mode=0o644)


def firstboot(node: Node, machine: Machine) -> None:
    """`systemd-firstboot --key=value` for each key, sorted; the value "true" makes it a flag."""
    with machine.attempt(node.place):
        words = []
        for name, item in sorted(node.entries("systemd_firstboot"), key=lambda pair: pair[0]):
            value = machine.render(machine.text_of(item, name), item.place)
            words.append(f"--{name}" if value == "true" else f"--{name}={value}")
        if not words:
            return
        where = [] if machine.root.is_host else [f"--root={machine.root.folder}"]
        status = machine.run(["systemd-firstboot", *where, *words])
        if status != 0:
            raise ToolFailed(f"systemd-firstboot failed with exit code {status}", exit_status=status)
