"""The client: packages of repositories into a root, with a database inside it."""

from treebuilder.client import operations
from treebuilder.client.api import (
    Change,
    ChangeReport,
    FinalizerFailed,
    InstallReport,
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

__all__ = [
    "Change",
    "ChangeReport",
    "Client",
    "Environment",
    "FinalizerFailed",
    "InstallReport",
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
