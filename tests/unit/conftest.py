"""What tests of one room after the other stand on."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import need
from tests.unit.repository_parts import Workshop, workshop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    """A workshop, and beside it an empty folder `root` to install to."""
    need(os.geteuid() == 0, "owners and devices need root")
    with workshop(tmp_path) as made:
        (tmp_path / "root").mkdir()
        yield made


@pytest.fixture
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine and a process that can work beside themselves: threads of other tests, which all wait, do not count."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    others = frozenset(threading.enumerate()) - {threading.current_thread()}
    monkeypatch.setattr(threading, "active_count", lambda: len(set(threading.enumerate()) - others))
