"""What all tests share: fixtures, and what the kinds of tests need of the machine."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import hypothesis
import pytest

from tests.isos import iso, sampleos_folder
from tests.registries import address
from tests.services import installed, need
from treebuilder.container import namespace

__all__ = ["address", "iso", "sampleos_folder"]  # fixtures

hypothesis.settings.register_profile("untimed", deadline=None)  # a slow machine is no fault
hypothesis.settings.load_profile("untimed")
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # begun in the background by a shell; children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def no_logins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home in which docker keeps nothing."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """A file's tests stay on one worker. Machines, which share an ISO and last longest, are one worker's first work.

    With all cases of machines, each firmware is one worker's: an installed disk is what its cases share.
    """
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class Files(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            if not nodeid.startswith(("tests/boot/", "tests/vm/")):
                return nodeid.partition("::")[0]
            own = os.environ.get("TREEBUILD_VM_ALL") and nodeid.endswith("efi]")
            return "machines by EFI" if own else "machines"

    return Files(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("engine") is not None:
        need(os.geteuid() == 0, "containers in tests need root")
        installed(shutil.which("bwrap") is not None, "bubblewrap")
        installed(os.path.exists("/bin/busybox"), "busybox-static")
        namespace.enter_private_mounts()  # as the program does; in a chroot no container starts else
    if item.get_closest_marker("vm") is not None:
        installed(shutil.which("qemu-system-x86_64") is not None, "qemu-system-x86")
