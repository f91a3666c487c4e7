"""A TCP proxy on loopback that fails once, at a byte of one direction."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType

_STALL_S = 3.0


class Proxy:
    """Forwards to a port. `arm` says what happens when so many bytes have gone one way over all connections."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self._seen = {True: 0, False: 0}
        self._plan: tuple[bool, int, str, Callable[[], None] | None] | None = None
        self._acting: list[threading.Thread] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()

    def arm(self, up: bool, at: int, what: str, act: Callable[[], None] | None) -> None:
        """`up`: bytes to the target. `at` counts from now."""
        with self._lock:
            self._plan = up, self._seen[up] + at, what, act

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes to the target and from it, so far."""
        with self._lock:
            return self._seen[True], self._seen[False]

    def settle(self) -> None:
        """Waits for what was begun: a registry that comes back."""
        for thread in self._acting:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            reset = threading.Event()
            for up, source, sink in ((True, client, server), (False, server, client)):
                threading.Thread(target=self._pump, args=(up, source, sink, reset), daemon=True).start()

    def _pump(self, up: bool, source: socket.socket, sink: socket.socket, reset: threading.Event) -> None:
        try:
            while data := source.recv(1 << 14):
                data, rest, fault, act = self._through(up, data)
                if data:
                    sink.sendall(data)
                if fault == "stall":
                    time.sleep(_STALL_S)
                elif fault in ("client killed", "registry killed"):
                    assert act is not None
                    thread = threading.Thread(target=act)
                    thread.start()
                    self._acting.append(thread)
                if fault == "reset":
                    reset.set()
                    for one in (source, sink):
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        one.shutdown(socket.SHUT_RD)  # wakes the other thread: while it reads, nothing is closed
                        one.close()
                    return
                if fault == "truncated":
                    break
                sink.sendall(rest)
            for one in () if reset.is_set() else (sink, source):  # HTTP keeps no connection half open
                one.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def _through(self, up: bool, data: bytes) -> tuple[bytes, bytes, str, Callable[[], None] | None]:
        """What goes on of `data` before the fault that happens, and after it."""
        with self._lock:
            before = self._seen[up]
            self._seen[up] += len(data)
            if self._plan is None or self._plan[0] != up or not before <= self._plan[1] < before + len(data):
                return data, b"", "", None
            (_, at, what, act), self._plan = self._plan, None
            at -= before
        if what == "flipped byte":
            return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :], b"", what, act
        return data[:at], data[at:], what, act
