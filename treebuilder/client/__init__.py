"""The client: packages of repositories into a root, with a database inside it."""

from treebuilder.client.api import FinalizerFailed, InstallReport, InstallRequest, Planned, Record, SystemRoot
from treebuilder.client.database import SystemDatabase
from treebuilder.client.install import Installer

__all__ = [
    "FinalizerFailed",
    "InstallReport",
    "InstallRequest",
    "Installer",
    "Planned",
    "Record",
    "SystemDatabase",
    "SystemRoot",
]
