"""The registries that everything has to work with: our own, and Debian's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from tests import services
from treebuilder.serve.registry import Registry
from treebuilder.serve.server import Listening, Site, serving
from treebuilder.serve.storage import Storage

_Site = TypeVar("_Site", bound=Site)
_LOOPBACK = Listening("127.0.0.1", 0)


@contextmanager
def stored(folder: Path, listening: Listening = _LOOPBACK) -> Iterator[tuple[Storage, str]]:
    """Ours, in this process; yields what it stands on, for who meddles with that, and `127.0.0.1:PORT`."""
    with closing(Storage(folder)) as storage, serving(Registry(storage), listening) as address:
        yield storage, address


@contextmanager
def own_registry(folder: Path, listening: Listening = _LOOPBACK) -> Iterator[str]:
    """Ours, in this process; yields `127.0.0.1:PORT`."""
    with stored(folder, listening) as (_, address):
        yield address


@contextmanager
def served(folder: Path, wrap: Callable[[Registry], _Site]) -> Iterator[tuple[_Site, str]]:
    """Ours behind a site that `wrap` makes of it; yields the site and `127.0.0.1:PORT`."""
    with closing(Storage(folder)) as storage:
        site = wrap(Registry(storage))
        with serving(site, _LOOPBACK) as address:
            yield site, address


@contextmanager
def registry_of(kind: str, folder: Path) -> Iterator[str]:
    """An empty one, "debian" or "ours"."""
    assert kind in ("debian", "ours")
    with services.registry() if kind == "debian" else own_registry(folder) as found:
        yield found


@pytest.fixture(params=["ours", "debian"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty registry of each kind."""
    with registry_of(request.param, tmp_path / "registry") as found:
        yield found
