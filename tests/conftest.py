"""What all tests share: kinds that need root or programs fail in CI when these are missing, and skip elsewhere."""

from __future__ import annotations

import os
import shutil
import signal

import hypothesis
import pytest

from tests.isos import iso, sampleos_folder
from tests.registries import address
from tests.services import need

__all__ = ["address", "iso", "sampleos_folder"]  # fixtures

hypothesis.settings.register_profile("untimed", deadline=None)  # a slow machine is no fault
hypothesis.settings.load_profile("untimed")
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # begun in the background by a shell; children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _missing(item: pytest.Item) -> str:
    if item.get_closest_marker("engine") is not None:
        if os.geteuid() != 0:
            return "containers in tests need root"
        if shutil.which("bwrap") is None:
            return "bwrap is not installed"
        if not os.path.exists("/bin/busybox"):
            return "busybox-static is not installed"
    if item.get_closest_marker("vm") is not None and shutil.which("qemu-system-x86_64") is None:
        return "qemu is not installed"
    return ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    why = _missing(item)
    need(not why, why)
