"""Whether a step applies. All conditions must hold; a step that does not apply is no error (os-and-ota.md §6.3)."""

from __future__ import annotations

from collections.abc import Callable

from treebuilder.cloudconfig.facts import architecture, hostname, os_release
from treebuilder.cloudconfig.machine import Machine
from treebuilder.model.patterns import compile_pattern
from treebuilder.nodes import Node


def applies(step: Node, machine: Machine) -> bool:
    """Asks the conditions, the cheap ones first. Raises SpecError for a wrong pattern or type."""
    for key, holds in _CONDITIONS:
        node = step.get(key)
        if node is not None and not holds(node, machine):
            return False
    return True


def read_all(step: Node, machine: Machine) -> None:
    """Asks every condition, whatever the others say; faults are kept by the machine."""
    for key, holds in _CONDITIONS:
        node = step.get(key)
        if node is not None:
            with machine.attempt(node.place):
                holds(node, machine)


def _matches(node: Node, key: str, *words: str) -> bool:
    text = Machine.text_of(node, key)
    if not text:
        return True
    pattern = compile_pattern(text)
    return any(pattern.search(word) for word in words)


def _node(node: Node, machine: Machine) -> bool:
    return _matches(node, "node", hostname(machine.root))


def _os(node: Node, machine: Machine) -> bool:
    release = os_release(machine.root)
    return _matches(node, "only_os", *(release[key] for key in ("PRETTY_NAME", "NAME", "ID") if key in release))


def _os_version(node: Node, machine: Machine) -> bool:
    release = os_release(machine.root)
    return _matches(node, "only_os_version", release.get("VERSION_ID", ""), release.get("VERSION", ""))


def _arch(node: Node, machine: Machine) -> bool:
    return _matches(node, "only_arch", architecture())


def _service_manager(node: Node, machine: Machine) -> bool:
    wanted = machine.text_of(node, "only_service_manager").strip().lower()
    if not wanted:
        return True
    if wanted not in ("systemd", "openrc"):
        machine.warn(f"only_service_manager {wanted} is never true", node.place, "systemd or openrc")
        return False
    systemd = any(machine.root.exists(path) for path in ("/usr/bin/systemctl", "/bin/systemctl", "/sbin/systemctl"))
    openrc = any(machine.root.exists(path) for path in ("/sbin/openrc", "/usr/sbin/openrc"))
    if systemd == openrc:  # neither, or no telling which one runs
        return False
    return wanted == ("systemd" if systemd else "openrc")


def _files(node: Node, machine: Machine) -> bool:
    node.entries("if_files")
    there = {
        key: [machine.root.exists(machine.render(path, node.place)) for path in machine.texts(node, key)]
        for key in ("any", "all", "none")
    }
    return (not there["any"] or any(there["any"])) and all(there["all"]) and not any(there["none"])


def _shell(node: Node, machine: Machine) -> bool:
    command = machine.text_of(node, "if")
    return not command or machine.shell(machine.render(command, node.place), quiet=True) == 0


_CONDITIONS: tuple[tuple[str, Callable[[Node, Machine], bool]], ...] = (
    ("only_os", _os), ("only_os_version", _os_version), ("only_arch", _arch),
    ("only_service_manager", _service_manager), ("node", _node), ("if_files", _files), ("if", _shell),
)  # fmt: skip
