"""What a step can do, in the order in which it is done (os-and-ota.md §6.3, yip 1 and later).

So commands run before environment files, users and units of the same step.
"""

from __future__ import annotations

from collections.abc import Callable

from treebuilder.cloudconfig import entities, environment, files, kernel, network, systemd, users
from treebuilder.cloudconfig.machine import Machine
from treebuilder.cloudconfig.schema import UNSUPPORTED
from treebuilder.errors import TreebuildError
from treebuilder.nodes import Node

Module = Callable[[Node, Machine], None]


# Hardly any step has one of these, and a boot starts us several times: they are imported when they are asked for.
def _datasource(node: Node, machine: Machine) -> None:
    from treebuilder.cloudconfig.datasource import datasource

    datasource(node, machine)


def _downloads(node: Node, machine: Machine) -> None:
    from treebuilder.cloudconfig.downloads import downloads

    downloads(node, machine)


def _git(node: Node, machine: Machine) -> None:
    from treebuilder.cloudconfig.git import git

    git(node, machine)


def _layout(node: Node, machine: Machine) -> None:
    from treebuilder.cloudconfig.disks import layout

    layout(node, machine)


_ORDER: tuple[tuple[str, Module], ...] = (
    ("dns", network.dns),
    ("downloads", _downloads),
    ("git", _git),
    ("ensure_entities", entities.ensure),
    ("directories", files.directories),
    ("files", files.files),
    ("commands", files.commands),
    ("delete_entities", entities.delete),
    ("hostname", network.hostname),
    ("sysctl", kernel.sysctl),
    ("users", users.users),
    ("authorized_keys", users.authorized_keys),
    ("modules", kernel.modules),
    ("timesyncd", systemd.timesyncd),
    ("systemctl", systemd.systemctl),
    ("environment", environment.environment),
    ("systemd_firstboot", systemd.firstboot),
    ("datasource", _datasource),
    ("layout", _layout),
)


def apply(step: Node, machine: Machine) -> None:
    """Runs every module that the step names. Errors are kept by the machine."""
    for key, instead in UNSUPPORTED.items():
        node = step.get(key)
        if node is not None:
            with machine.attempt(node.place):
                raise TreebuildError(
                    f"{key} is not done by this program", hint=f"instead: {instead}", reason="unsupported"
                )
    for key, module in _ORDER:
        node = step.get(key)
        if node is None:
            continue
        with machine.attempt(node.place):
            module(step if key == "environment" else node, machine)
