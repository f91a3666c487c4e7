"""The registries that everything has to work with: our own, and Debian's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import services
from treebuilder.serve.registry import Registry
from treebuilder.serve.server import Listening, serving
from treebuilder.serve.storage import Storage


@contextmanager
def own_registry(folder: Path) -> Iterator[str]:
    """Ours, in this process, on loopback; yields `127.0.0.1:PORT`."""
    storage = Storage(folder)
    try:
        with serving(Registry(storage), Listening("127.0.0.1", 0)) as found:
            yield found
    finally:
        storage.close()


@pytest.fixture(params=["ours", "debian"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty registry of each kind."""
    with services.registry() if request.param == "debian" else own_registry(tmp_path / "registry") as found:
        yield found
