"""Engines under test: the daemon is started once for all tests that need one. And what tests of registries share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import services
from tests.contract.lab import ENGINES, Lab
from tests.registries import served
from tests.sites import Counted
from tests.unit.repository_parts import Workshop, workshop
from treebuilder.engine.api import Engine
from treebuilder.engine.docker import DockerEngine
from treebuilder.engine.native import NativeEngine
from treebuilder.oci.store import Store


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with workshop(tmp_path / "shop") as made:
        yield made


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[tuple[Counted, str]]:
    """Our registry, behind a site that notes what it is asked for, and its address."""
    with served(tmp_path / "counted", Counted) as (site, found):
        yield site, found


@pytest.fixture(scope="session")
def docker_url() -> Iterator[str]:
    with services.docker_daemon() as url:
        yield url


@pytest.fixture(scope="session")
def labs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Lab]]:
    """Filled by `lab_of` with what tests ask for."""
    made: dict[str, Lab] = {}
    yield made
    for lab in made.values():
        lab.engine.close()
        lab.store.close()


def _engine(name: str, request: pytest.FixtureRequest) -> Engine:
    if name == "native":
        return NativeEngine()
    url: str = request.getfixturevalue("docker_url")
    return DockerEngine(url, read_upper=name == "docker")


def lab_of(name: str, request: pytest.FixtureRequest, labs: dict[str, Lab], folders: pytest.TempPathFactory) -> Lab:
    if name not in labs:
        folder = folders.mktemp(name)
        labs[name] = Lab(name, _engine(name, request), Store(folder / "store"), folder)
    return labs[name]


@pytest.fixture(params=[pytest.param(name, marks=marks) for name, marks in ENGINES.items()])
def lab(request: pytest.FixtureRequest, labs: dict[str, Lab], tmp_path_factory: pytest.TempPathFactory) -> Lab:
    name: str = request.param
    return lab_of(name, request, labs, tmp_path_factory)


@pytest.fixture(params=[pytest.param(name, marks=ENGINES[name]) for name in ("native", "docker")])
def direct_lab(request: pytest.FixtureRequest, labs: dict[str, Lab], tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Engines whose results are read in place, for tests that do not care how."""
    name: str = request.param
    return lab_of(name, request, labs, tmp_path_factory)


@pytest.fixture
def native_lab(request: pytest.FixtureRequest, labs: dict[str, Lab], tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return lab_of("native", request, labs, tmp_path_factory)


@pytest.fixture
def docker_env(direct_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lab's daemon is the one that programs find."""
    if isinstance(direct_lab.engine, DockerEngine):
        monkeypatch.setenv("DOCKER_HOST", direct_lab.engine.url)
