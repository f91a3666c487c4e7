"""What the image room gives and what it asks of others."""

from __future__ import annotations

from pathlib import Path

from treebuilder.annotations import Protocol
from treebuilder.errors import Place
from treebuilder.model.digest import Digest
from treebuilder.records import record


@record
class ImageFile:
    """A finished image on disk."""

    path: Path
    size_bytes: int
    sha256: Digest


class Installer(Protocol):
    """Fills folders with systems. The app wires the client and the image store behind it."""

    def install(self, packages: tuple[str, ...], target: Path, keep_db: bool) -> None:
        """Installs packages (`category/name`, also with `@version`) and what they require into an empty or filled
        root. `keep_db` keeps the record of what was installed, in var/luet/db. Raises TreebuildError."""
        ...

    def unpack(self, reference: str, target: Path, where: Place) -> None:
        """Lays a container image's files into a folder. Raises TreebuildError."""
        ...
