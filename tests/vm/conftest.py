"""Machines that install themselves: one case runs always; `make vm-test` (TREEBUILD_VM_ALL) runs all, and says a table.

A disk is installed once for each firmware; every case has a copy of it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.isos import newer
from tests.services import registry
from tests.vm.installing import install
from tests.vm.machine import Firmware
from tests.vm.versions import Released, released, root_of

_TOOK: dict[tuple[str, str], tuple[str, float]] = {}  # case and firmware: outcome and seconds


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what takes hours: it is no test of this run, so it is not skipped either."""
    if os.environ.get("TREEBUILD_VM_ALL"):
        return
    long = [item for item in items if item.get_closest_marker("every_case") is not None]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    name, _, parameters = report.nodeid.rpartition("::")[2].partition("[")
    if not report.nodeid.startswith("tests/vm/") or not parameters:
        return
    *others, firmware = parameters.rstrip("]").split("-")
    key = " ".join([name, *others]), firmware
    outcome, seconds = _TOOK.get(key, ("passed", 0.0))
    _TOOK[key] = (report.outcome if report.outcome != "passed" else outcome, seconds + report.duration)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not os.environ.get("TREEBUILD_VM_ALL") or not _TOOK:
        return
    terminalreporter.section("machines")
    for case in sorted({case for case, _ in _TOOK}):
        cells = []
        for firmware in ("bios", "efi"):
            outcome, seconds = _TOOK.get((case, firmware), ("not run", 0.0))
            cells.append(f"{firmware} {outcome:8}{seconds:6.0f} s")
        said = case.removeprefix("test_").replace("_", " ")
        terminalreporter.write_line(f"{said:72}" + "   ".join(cells))


@pytest.fixture(scope="session")
def installed(iso: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Firmware], Path]:
    """The disk that an installation by this firmware leaves."""
    folder = tmp_path_factory.mktemp("installed")
    made: dict[str, Path] = {}

    def disk(firmware: Firmware) -> Path:
        if firmware not in made:
            path = folder / f"{firmware}.img"
            install(iso, path, firmware)
            made[firmware] = path
        return made[firmware]

    return disk


@pytest.fixture
def disk(installed: Callable[[Firmware], Path], firmware: Firmware, tmp_path: Path) -> Iterator[Path]:
    """A copy of an installed disk."""
    path = tmp_path / "disk.img"
    subprocess.run(["cp", "--sparse=always", installed(firmware), path], check=True)
    yield path
    path.unlink()


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """A registry on loopback."""
    with registry() as found:
        yield found


@pytest.fixture(scope="session")
def release(iso: Path, sampleos_folder: Path, address: str) -> Released:
    """A newer version, published and signed in a registry, with a channel that leads to it."""
    assert iso.exists()
    tree, build = newer(sampleos_folder, "0.6.0")
    return released(sampleos_folder, tree, build, address)


@pytest.fixture(scope="session")
def root(iso: Path, sampleos_folder: Path) -> Path:
    """The installed version's root file system."""
    return root_of(sampleos_folder, iso.parent / "build")
