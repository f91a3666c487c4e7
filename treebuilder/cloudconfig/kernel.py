"""The modules `sysctl` and `modules`: settings of the running kernel."""

from __future__ import annotations

from treebuilder.cloudconfig.machine import Machine
from treebuilder.errors import ToolFailed, TreebuildError
from treebuilder.nodes import Node
from treebuilder.system.files import disk_errors


def sysctl(node: Node, machine: Machine) -> None:
    """Writes each value below /proc/sys, names with dots or slashes."""
    for name, item in node.entries("sysctl"):
        with machine.attempt(item.place):
            value = machine.text_of(item, name)
            path = machine.root.locate(f"/proc/sys/{name if '/' in name else name.replace('.', '/')}")
            if not path.is_file():
                raise TreebuildError(f"this kernel has no setting {name}", reason="sysctl")
            with disk_errors(f"setting {name}"):
                path.write_text(value)  # a setting of the kernel, not a file to be replaced


def modules(node: Node, machine: Machine) -> None:
    """Loads each "name parameters" by modprobe; only on the running system."""
    for item in node.items("modules"):
        with machine.attempt(item.place):
            words = machine.text_of(item, "a module").split()
            if not words:
                continue
            if not machine.root.is_host:
                machine.note(f"the module {words[0]} is not loaded: --root is not the running system", item.place)
                continue
            status = machine.run(["modprobe", "--", *words])
            if status != 0:
                raise ToolFailed(f"modprobe {words[0]} failed with exit code {status}", exit_status=status)
