"""The use case *channel watch*: results of devices are counted, and too many failures halt the channel."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

from treebuilder.app import channels
from treebuilder.app.workspace import Workspace
from treebuilder.channel import files, places
from treebuilder.channel.places import Place
from treebuilder.channel.results import MAX_RESULT_BYTES, Result, Tally, read_result, result_bytes
from treebuilder.channel.rules import Channel, Counts, must_halt
from treebuilder.errors import ConfigError, IntegrityError, LockHeld
from treebuilder.events import Warned
from treebuilder.serve.exchange import Exchange
from treebuilder.serve.server import Listening, Server, run
from treebuilder.system import clock
from treebuilder.system.files import disk_errors

_TURNS, _TURN_S = 50, 0.1
_TEXT = "text/plain; charset=utf-8"


class Watch:
    """Implements `serve.server.Site`: POST of a result, at any path; GET says how it stands.

    The channel is read again for each result, so one that is published meanwhile is counted anew; over a network only
    where the result is a failure, or of another snapshot. `results` is a file to which counted results are added, and
    from which they are taken at the beginning.
    """

    def __init__(
        self, work: Workspace, place: Place, name: str, results: Path | None, said: Callable[[str], None]
    ) -> None:
        self._work, self._place, self._name, self._said = work, place, name, said
        self._guard = threading.Lock()
        self._backend = channels.opened(work, place)
        channel = self._channel = self._read()
        self._tally = Tally(name, channel.snapshot)
        self._snapshot = channel.snapshot
        self._file: IO[bytes] | None = None
        if results is not None:
            with disk_errors(f"reading {results}", results.parent):
                self._take(results.read_bytes() if results.exists() else b"")
                self._file = results.open("ab")
        self._judge(channel)

    def answer(self, exchange: Exchange) -> None:
        if exchange.method in ("GET", "HEAD"):
            with self._guard:
                counts = self._tally.counts()
            value = {"channel": self._name, "snapshot": self._snapshot, "good": counts.good, "failed": counts.failed}
            exchange.json(200, value)
            return
        if exchange.method != "POST":
            exchange.bytes(405, b"results are posted\n", _TEXT, allow="GET, HEAD, POST")
            return
        try:
            data = exchange.body(MAX_RESULT_BYTES)
            result = read_result(data)
        except IntegrityError:
            exchange.bytes(400, b"this is no result\n", _TEXT)
            return
        with self._guard:
            channel = self._current(result)
            if channel.snapshot != self._snapshot:
                self._tally, self._snapshot = Tally(self._name, channel.snapshot), channel.snapshot
            added = self._tally.add(result)
            if added and self._file is not None:
                self._file.write(result_bytes(result) + b"\n")
                self._file.flush()
            if added or not result.good:  # posted again, where the halt failed
                self._judge(channel)
        exchange.empty(204)

    def counts(self) -> Counts:
        with self._guard:
            return self._tally.counts()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _read(self) -> Channel:
        return files.load(self._backend, self._name, self._place.seal)

    def _current(self, result: Result) -> Channel:
        if not (self._place.remote and result.good and result.snapshot == self._channel.snapshot):
            self._channel = self._read()
        return self._channel

    def _take(self, data: bytes) -> None:
        for line in data.splitlines():
            try:
                self._tally.add(read_result(line))
            except IntegrityError:
                continue  # a line that a crash tore

    def _judge(self, channel: Channel) -> None:
        counts = self._tally.counts()
        if channel.halted or not must_halt(counts, channel.limit):
            return
        reason = f"{counts.failed} of {counts.failed + counts.good} devices failed"
        for turn in range(_TURNS):
            try:
                self._channel = channels.halt(
                    self._work, self._place, self._name, reason, snapshot=channel.snapshot
                )  # fmt: skip
                break
            except LockHeld:  # its author publishes at this moment
                if turn + 1 == _TURNS:
                    raise
                clock.sleep(_TURN_S)
        self._said(f"{self._name} is halted: {reason}")


def watch(
    work: Workspace, place: Place, name: str, results: Path | None, listening: Listening, ready: Callable[[str], None],
) -> Counts:  # fmt: skip
    """Counts until the work is cancelled or the thread interrupted. `ready` is told the address.

    Raises ConfigError (reason "no-limit": nothing would ever be too much; reason "read-only"), SpecError,
    IntegrityError, TransportError.
    """
    places.check_writable(place)
    if channels.show(work, place, name).limit.least == 0:
        raise ConfigError(
            f"{name} says not how many failures are too many", reason="no-limit",
            hint=f"treebuild channel rollout {name} --halt-at 5:2%",
        )  # fmt: skip
    if place.remote and not place.keys:
        work.events.emit(Warned(channels.UNSIGNED))
    site = Watch(work, place, name, results, listening.log)
    try:
        run(Server(site, listening), ready, work.cancel)
    finally:
        site.close()
    return site.counts()
