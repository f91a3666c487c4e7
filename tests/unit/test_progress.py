"""How far something is, in bytes: in events, and on a terminal."""

from __future__ import annotations

import io
import os
import re

import pytest

from tests.unit.repository_parts import Workshop
from tests.unit.system_parts import System
from treebuilder.events import Finished, Progressed, Said, Started
from treebuilder.oci.arriving import Total
from treebuilder.oci.store import Store
from treebuilder.ui.sinks import LiveSink


def drawn(sink: LiveSink, stream: io.StringIO) -> str:
    """The last line; a sentence lets it be drawn anew."""
    sink.emit(Said("."))
    return stream.getvalue().rpartition("\r\x1b[K")[2]


def test_a_terminal_shows_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    stream = io.StringIO()
    sink = LiveSink(stream, live_output=False)
    sink.emit(Started("fetch", "fetching 3 packages", unit="bytes"))
    assert re.fullmatch(r"fetch \ds", drawn(sink, stream))
    sink.emit(Progressed("fetch", 512))
    assert re.fullmatch(r"fetch \ds \(512 B\)", drawn(sink, stream))
    sink.emit(Progressed("fetch", 3 << 19, total=3 << 20))
    sink.emit(Progressed("fetch", text="1 of 3 packages"))
    sink.emit(Started("publish", "publishing", 7, "packages"))
    sink.emit(Progressed("publish", 2))
    shown = drawn(sink, stream)
    assert re.fullmatch(r"fetch \ds \(1 of 3 packages, 1.5 MiB of 3.0 MiB\) · publish \ds \(2 of 7 packages\)", shown)
    sink.emit(Finished("fetch"))
    assert "fetch" not in drawn(sink, stream)


def test_several_files_are_one_total() -> None:
    seen: list[tuple[int, int]] = []
    total = Total(lambda done, expected: seen.append((done, expected)))
    one, two = total.file(), total.file()
    one.expect(10)
    one.add(4)
    two.expect(100)
    one.expect(10)
    one.add(-4)  # it broke off, and comes again
    two.add(100)
    one.add(10)
    assert seen == [(0, 10), (4, 10), (4, 110), (0, 110), (100, 110), (110, 110)]


@pytest.mark.engine
def test_an_installation_counts_bytes(shop: Workshop) -> None:
    for name in ("one", "two"):
        shop.package(f"t/{name}", {name: os.urandom(3 << 20)})
    sizes = sum(path.stat().st_size for path in shop.build.glob("*.package.tar.zst"))
    shop.packages()
    shop.store = Store(shop.top / "another cache")
    shop.events.events.clear()
    System(shop, shop.top / "root").install("t/one", "t/two")
    shop.store.close()
    for task in ("fetch", "install"):
        started = [e for e in shop.events.events if isinstance(e, Started) and e.task == task]
        assert [event.unit for event in started] == ["bytes"]
        told = [e for e in shop.events.events if isinstance(e, Progressed) and e.task == task]
        done = [event.done for event in told if event.done is not None]
        assert done == sorted(done)
        assert done[-1] == sizes
        assert sizes in [started[0].total, *(event.total for event in told)]
    texts = [e.text for e in shop.events.events if isinstance(e, Progressed) and e.task == "fetch" and e.text]
    assert texts == ["1 of 2 packages", "2 of 2 packages"]
