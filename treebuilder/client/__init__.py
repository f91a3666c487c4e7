"""The client: packages of repositories into a root, with a database inside it.

A name is imported when it is first used: looking at what is installed needs neither repositories nor a solver.
"""

from __future__ import annotations

from importlib import import_module

from treebuilder.annotations import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from treebuilder.client import operations
    from treebuilder.client.api import (
        AfterChange,
        Change,
        ChangeReport,
        FinalizerFailed,
        FinalizerWaits,
        InstallRequest,
        NotConfirmed,
        Planned,
        Record,
        SystemRoot,
    )
    from treebuilder.client.database import SystemDatabase
    from treebuilder.client.finalize import Environment
    from treebuilder.client.install import Client, Installer, Manner
    from treebuilder.client.protect import Protection

_HOMES = {
    "SystemDatabase": "database", "Environment": "finalize", "Client": "install", "Installer": "install",
    "Manner": "install", "Protection": "protect",
}  # fmt: skip

__all__ = [
    "AfterChange",
    "Change",
    "ChangeReport",
    "Client",
    "Environment",
    "FinalizerFailed",
    "FinalizerWaits",
    "InstallRequest",
    "Installer",
    "Manner",
    "NotConfirmed",
    "Planned",
    "Protection",
    "Record",
    "SystemDatabase",
    "SystemRoot",
    "operations",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever has that name
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "operations":
        return import_module("treebuilder.client.operations")
    return getattr(import_module(f"treebuilder.client.{_HOMES.get(name, 'api')}"), name)
