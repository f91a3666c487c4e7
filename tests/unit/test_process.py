"""Programs and what they leave behind."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from treebuilder.errors import Cancelled, ToolFailed
from treebuilder.system.process import Cancel, run


def sleepers(seconds: str) -> list[str]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", seconds.encode()]:
            found.append(pid)
    return found


def test_what_a_program_says_is_kept() -> None:
    done = run(["sh", "-c", "cat; echo said; echo tail >&2"], input=b"given\n")
    assert (done.status, done.stdout, done.tail) == (0, b"given\nsaid\n", ("tail",))


@pytest.mark.parametrize("merged", [True, False])
def test_a_child_that_holds_the_pipes_is_ended_with_its_program(merged: bool) -> None:
    seconds = f"3{os.getpid()}"
    lines: list[str] = []
    with pytest.raises(ToolFailed) as caught:
        run(["sh", "-c", f"sleep {seconds} & echo why >&2; exit 3"], on_line=lines.append if merged else None)
    assert caught.value.exit_status == 3
    assert caught.value.tail == ("why",)
    end = time.monotonic() + 10
    while sleepers(seconds) and time.monotonic() < end:
        time.sleep(0.05)
    assert sleepers(seconds) == []


def test_a_child_in_a_session_of_its_own_holds_nobody_up() -> None:
    seconds = f"4{os.getpid()}"
    try:
        assert run(["sh", "-c", f"setsid sleep {seconds} & echo"]).status == 0
        assert sleepers(seconds)
    finally:
        for pid in sleepers(seconds):
            os.kill(int(pid), 9)


def test_a_signal_may_end_a_pause_at_any_instant() -> None:
    """Its handler runs in the thread that waits, wherever that is: a lock there would be waited for, for ever."""
    before = signal.getsignal(signal.SIGALRM)
    try:
        for delay_us in range(50, 3000, 50):
            cancel = Cancel()
            signal.signal(signal.SIGALRM, lambda *_, cancel=cancel: cancel.set())
            signal.setitimer(signal.ITIMER_REAL, delay_us / 1e6)
            with pytest.raises(Cancelled):
                cancel.pause(600)
            assert cancel.is_set()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_pause_lasts_as_long_as_it_was_said() -> None:
    said: list[str] = []
    cancel = Cancel()
    cancel.on_wait = said.append
    begun = time.monotonic()
    cancel.pause(0.12, "somebody else is first")
    assert time.monotonic() - begun >= 0.12
    assert said == ["somebody else is first"]
