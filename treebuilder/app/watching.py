"""The use case *channel watch*: results of devices are counted, and too many failures halt the channel."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from treebuilder.annotations import IO
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
_READS, _READ_EVERY_S = 8, 2.0  # over a network: that many at once, and one more each time
_AWAITED_S = 5.0  # a read that another result began
_LATER_S = 30
_TEXT = "text/plain; charset=utf-8"


class Watch:
    """Implements `serve.server.Site`: POST of a result, at any path; GET says how it stands.

    The channel is read again for each result, so one that is published meanwhile is counted anew; over a network only
    where the result is a failure, or of another snapshot, and not often, as anybody can post. Nothing waits for a
    network but the result that asks for it, and, for a while, results of other snapshots: 503 tells them to come again.
    `results` is a file to which counted results are added, and from which they are taken at the beginning.
    """

    def __init__(
        self, work: Workspace, place: Place, name: str, results: Path | None, said: Callable[[str], None]
    ) -> None:
        self._work, self._place, self._name, self._said = work, place, name, said
        self._guard = threading.Lock()  # of all that is counted; never held while a network is used
        self._reading, self._halting = threading.Lock(), threading.Lock()
        self._reads, self._refilled_s = float(_READS), clock.monotonic_s()
        self._backend = channels.opened(work, place)
        channel = self._channel = self._read()
        self._tally = Tally(name, channel.snapshot)
        self._snapshot = channel.snapshot
        self._file: IO[bytes] | None = None
        if results is not None:
            with disk_errors(f"reading {results}", results.parent):
                self._take(results.read_bytes() if results.exists() else b"")
                self._file = results.open("ab")
        self._judge()

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
        if not self._look(result):
            exchange.bytes(503, b"the channel cannot be read so often\n", _TEXT, retry_after=str(_LATER_S))
            return
        with self._guard:
            if self._channel.snapshot != self._snapshot:
                self._snapshot = self._channel.snapshot
                self._tally = Tally(self._name, self._snapshot)
            added = self._tally.add(result)
            if added and self._file is not None:
                self._file.write(result_bytes(result) + b"\n")
                self._file.flush()
        if added or not result.good:  # posted again, where the halt failed
            self._judge()
        exchange.empty(204)

    def counts(self) -> Counts:
        with self._guard:
            return self._tally.counts()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _read(self) -> Channel:
        return files.load(self._backend, self._name, self._place.seal)

    def _look(self, result: Result) -> bool:
        """Reads the channel again where a result makes that necessary. False where it was not, and the result is of
        another snapshot than the one that is known."""
        with self._guard:
            other = result.snapshot != self._channel.snapshot
        if self._place.remote and result.good and not other:
            return True
        if not self._reading.acquire(timeout=_AWAITED_S if other else 0):
            return not other
        try:
            with self._guard:
                before = self._channel
                if other and result.snapshot == before.snapshot:  # it was read meanwhile
                    return True
                if self._place.remote and not self._may_read():
                    return not other
            channel = self._read()
            with self._guard:
                if self._channel is before:  # else it was halted meanwhile, by what is newer
                    self._channel = channel
            return True
        finally:
            self._reading.release()

    def _may_read(self) -> bool:
        now = clock.monotonic_s()
        self._reads = min(float(_READS), self._reads + (now - self._refilled_s) / _READ_EVERY_S)
        self._refilled_s = now
        if self._reads < 1:
            return False
        self._reads -= 1
        return True

    def _take(self, data: bytes) -> None:
        for line in data.splitlines():
            try:
                self._tally.add(read_result(line))
            except IntegrityError:
                continue  # a line that a crash tore

    def _judge(self) -> None:
        """Halts the channel where that has to be, unless somebody does so at this moment."""
        with self._guard:
            channel, counts = self._channel, self._tally.counts()
            counted = channel.snapshot == self._snapshot
        if channel.halted or not counted or not must_halt(counts, channel.limit):
            return
        if not self._halting.acquire(blocking=False):
            return
        try:
            reason = f"{counts.failed} of {counts.failed + counts.good} devices failed"
            halted = self._halt(channel, reason)
            with self._guard:
                self._channel = halted
        finally:
            self._halting.release()
        if halted.halted:
            self._said(f"{self._name} is halted: {reason}")

    def _halt(self, channel: Channel, reason: str) -> Channel:
        for _ in range(_TURNS - 1):
            try:
                return channels.halt(self._work, self._place, self._name, reason, snapshot=channel.snapshot)
            except LockHeld:  # its author publishes at this moment
                clock.sleep(_TURN_S)
        return channels.halt(self._work, self._place, self._name, reason, snapshot=channel.snapshot)


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
