"""Locks: between threads, between processes, and gone with their holder."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from treebuilder.errors import Cancelled, LockHeld
from treebuilder.system.locks import exclusive, exclusive_folder, exclusive_key
from treebuilder.system.process import Cancel

HOLD = """
import sys
from treebuilder.system.locks import exclusive_key
with exclusive_key(sys.argv[1], sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_one_thread_at_a_time_holds_a_key(tmp_path: Path) -> None:
    path = str(tmp_path / "keys")
    inside: list[int] = []
    seen: list[int] = []

    def work(number: int) -> None:
        for _ in range(20):
            with exclusive_key(path, "one"):
                inside.append(number)
                seen.append(len(inside))
                inside.remove(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 80


def test_keys_do_not_bar_one_another(tmp_path: Path) -> None:
    path = str(tmp_path / "keys")
    with exclusive_key(path, "one"), exclusive_key(path, "two"), exclusive_key(str(tmp_path / "other"), "one"):
        assert Path(path).stat().st_size == 0


def test_another_process_waits_until_the_holder_is_gone(tmp_path: Path) -> None:
    path = str(tmp_path / "keys")
    words = [sys.executable, "-c", HOLD, path, "one"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        cancel = Cancel()
        cancel.set()
        with pytest.raises(Cancelled), exclusive_key(path, "one", cancel=cancel):
            pass
        with exclusive_key(path, "two"):
            pass
        holder.kill()
    with exclusive_key(path, "one"):
        pass


def test_who_has_it_is_named(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path / "sub" / "lock", "the folder"),
        pytest.raises(LockHeld, match=r"the folder is in use by pid \d+"),
        exclusive(tmp_path / "sub" / "lock", "the folder"),
    ):
        pass


def test_waiting_for_whoever_holds_a_file(tmp_path: Path) -> None:
    """It is told once who that is, and ends when he lets go, when it takes too long, or when nobody waits any more."""
    path, said, cancel = tmp_path / "lock", list[str](), Cancel()

    def heard(why: str) -> None:
        said.append(why)
        free.set()

    cancel.on_wait = heard
    free, held = threading.Event(), threading.Event()

    def hold() -> None:
        with exclusive(path, "it"):
            held.set()
            free.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(60)
    with pytest.raises(LockHeld), exclusive(path, "it"):
        pass
    with pytest.raises(LockHeld), exclusive(path, "it", cancel=cancel, patience_s=0.1):
        pass
    assert said == []
    with exclusive(path, "it", cancel=cancel, patience_s=60):
        assert said == [f"waiting for pid {os.getpid()}, by whom it is in use"]
        cancel.set()
        with pytest.raises(Cancelled), exclusive(path, "it", cancel=cancel, patience_s=60):
            pass
    holder.join()


def test_a_folder_is_held_and_nothing_is_put_there(tmp_path: Path) -> None:
    with exclusive_folder(tmp_path, "the folder"):
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(LockHeld, match=rf"the folder is in use by pid {os.getpid()}"):
            with exclusive_folder(tmp_path, "the folder"):
                pass
    with exclusive_folder(tmp_path, "the folder"):
        pass


def test_who_waited_holds_the_folder_that_is_there_now(tmp_path: Path) -> None:
    """Its holder may have put another one in its place."""
    folder, cancel, swapped = tmp_path / "it", Cancel(), threading.Event()
    folder.mkdir()
    held = threading.Event()

    def hold() -> None:
        with exclusive_folder(folder, "it"):
            held.set()
            swapped.wait(60)
            folder.rename(tmp_path / "old")
            folder.mkdir()

    cancel.on_wait = lambda _: swapped.set()
    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(60)
    with exclusive_folder(folder, "it", cancel=cancel, patience_s=60):
        with pytest.raises(LockHeld), exclusive_folder(folder, "it"):
            pass
    holder.join()
