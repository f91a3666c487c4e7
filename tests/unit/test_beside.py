"""Work that a copy of this process does."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from treebuilder.system.beside import beside

HELD = """
import fcntl, os, sys, time
from treebuilder.system.beside import beside
held = open(sys.argv[1], "w")
fcntl.flock(held, fcntl.LOCK_EX)
with beside(lambda: open(sys.argv[2], "w").write(str(os.getpid())) and time.sleep(60) or b"") as result:
    print(result())
"""

pytestmark = pytest.mark.usefixtures("two_processors")


def test_what_came_of_it_is_given_once_and_again() -> None:
    with beside(lambda: f"{os.getpid()}".encode() * 1_000_000) as result:
        found = result()
        assert found is not None
        assert result() == found
    assert found != f"{os.getpid()}".encode() * 1_000_000


def _fails() -> bytes:
    raise ValueError


def _dies() -> bytes:
    os.kill(os.getpid(), 9)
    return b""


@pytest.mark.parametrize("work", [_fails, _dies])
def test_nothing_comes_of_what_fails(work: object, capfd: pytest.CaptureFixture[str]) -> None:
    assert callable(work)
    with beside(work) as result:
        assert result() is None
    assert capfd.readouterr() == ("", "")


def test_the_copy_ends_with_the_block(tmp_path: Path) -> None:
    note = tmp_path / "note"

    def work() -> bytes:
        note.write_text(str(os.getpid()))
        time.sleep(60)
        return b""

    with pytest.raises(KeyError), beside(work):
        while not note.exists() or not note.read_text():
            time.sleep(0.01)
        raise KeyError
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


def test_it_is_not_begun_with_one_processor_or_beside_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        with beside(lambda: b"x") as result:
            assert result() is None
    finally:
        end.set()
        thread.join()
    with beside(lambda: b"x") as result:
        assert result() == b"x"
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    with beside(lambda: b"x") as result:
        assert result() is None


def test_locks_of_the_caller_end_with_it(tmp_path: Path) -> None:
    held, note = tmp_path / "held", tmp_path / "note"
    caller = subprocess.Popen([sys.executable, "-c", HELD, held, note])
    try:
        while not note.exists() or not note.read_text():
            assert caller.poll() is None
            time.sleep(0.01)
        caller.kill()
        caller.wait()
        copy = int(note.read_text())
        os.kill(copy, 0)
        with held.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        caller.kill()
        if note.exists():
            os.kill(int(note.read_text()), 9)
