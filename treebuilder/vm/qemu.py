"""Boots an image in QEMU and watches it: a text on the serial console, a login, an answer over HTTP.

Nothing of the image is changed, every wait has an end, and no machine outlives the call.
"""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from treebuilder.annotations import Literal
from treebuilder.errors import ConfigError, Place, TreebuildError
from treebuilder.events import EventSink, Finished, LogLine, Progressed, Started
from treebuilder.records import record
from treebuilder.system.clock import monotonic_s, sleep
from treebuilder.system.process import Cancel, kill_group, require, spawn
from treebuilder.vm.accel import choose_accelerator, cpu_model
from treebuilder.vm.console import Console
from treebuilder.vm.firmware import find_uefi

_TASK = "boot"
_POLL_S = 0.2
_HTTP_TIMEOUT_S = 5.0
_IN_PATHS = "/?&=%:;,@+!$'()*~"  # said as they are; all else is quoted
_TAIL_LINES = 40
# What a machine says when it will not come up any more.
_DEAD_ENDS = ("Kernel panic - not syncing", "Entering emergency mode", "You are in emergency mode")
_LOGIN_PROMPT = "login: "


class BootFailed(TreebuildError):
    """The machine did not do what was waited for. `serial_tail` are the last lines of its console."""

    reason = "boot-failed"

    def __init__(
        self, message: str, *, serial_tail: tuple[str, ...] = (), hint: str | None = None, where: Place | None = None
    ) -> None:
        super().__init__(message, hint=hint, where=where)
        self.serial_tail = serial_tail

    def detail(self) -> tuple[str, ...]:
        return self.serial_tail


@record
class BootRequest:
    """What to boot and what to wait for; everything asked for must happen within `timeout_s`.

    `as_disk` attaches the image as a USB disk, otherwise it is a CD. `http` is (port in the guest, path). `login` is
    (user, password, text that must follow). When nothing is asked for, the login prompt is.
    """

    image: Path
    firmware: Literal["bios", "uefi"] = "bios"
    as_disk: bool = False
    memory_mb: int = 2048
    expect: str = ""
    http: tuple[int, str] | None = None
    login: tuple[str, str, str] | None = None
    timeout_s: float = 300
    accel: Literal["auto", "kvm", "tcg"] = "auto"
    cpus: int = 2


@record
class BootReport:
    """What was seen, in seconds from the machine's start; None for what was not asked for."""

    accel: str
    seconds_to_expect: float | None
    seconds_to_http: float | None
    seconds_to_login: float | None
    http_status: int | None
    http_body: str
    serial_tail: tuple[str, ...]


def boot(request: BootRequest, *, events: EventSink, cancel: Cancel) -> BootReport:
    """Runs the machine until all that was asked for was seen, then ends it.

    Raises BootFailed (time limit, panic, refused login, QEMU's own failure), MissingProgram, Cancelled.
    """
    if not request.image.is_file():
        raise ConfigError(f"there is no image {request.image}", reason="missing-image")
    accel = choose_accelerator(request.accel, cancel)
    events.emit(Started(_TASK, f"booting {request.image.name} ({request.firmware}, {accel})"))
    start = monotonic_s()
    try:
        with _machine(request, accel, events) as watch:
            report = watch.until_done(cancel)
    except BaseException:
        events.emit(Finished(_TASK, "failed", seconds=monotonic_s() - start))
        raise
    events.emit(Finished(_TASK, "ok", seconds=monotonic_s() - start))
    return report


def command_line(request: BootRequest, accel: str, folder: Path, port: int) -> list[str]:
    """QEMU's argv. `folder` takes the machine's own variables; `port` on loopback leads to the guest's HTTP port."""
    argv = [
        require("qemu-system-x86_64", "to boot an image"), "-no-user-config", "-nodefaults", "-M", "q35",
        "-accel", accel if accel == "kvm" else "tcg,thread=multi", "-cpu", cpu_model(accel),
        "-smp", str(request.cpus), "-m", str(request.memory_mb), "-no-reboot",
        "-display", "none", "-vga", "std", "-monitor", "none", "-serial", "stdio", "-device", "virtio-rng-pci",
    ]  # fmt: skip
    if request.firmware == "uefi":
        firmware = find_uefi()
        variables = folder / "variables.fd"
        shutil.copyfile(firmware.variables, variables)
        argv += ["-drive", f"if=pflash,format=raw,readonly=on,file={_escaped(firmware.code)}"]
        argv += ["-drive", f"if=pflash,format=raw,file={_escaped(variables)}"]
    image = _escaped(request.image)
    if request.as_disk:
        argv += ["-drive", f"if=none,id=image,format=raw,snapshot=on,file={image}"]
        argv += ["-device", "qemu-xhci", "-device", "usb-storage,drive=image,removable=on,bootindex=0"]
    else:
        argv += ["-drive", f"if=none,id=image,format=raw,media=cdrom,readonly=on,file={image}"]
        argv += ["-device", "ide-cd,drive=image,bootindex=0"]
    forward = f",hostfwd=tcp:127.0.0.1:{port}-:{request.http[0]}" if request.http is not None else ""
    return [*argv, "-netdev", f"user,id=net{forward}", "-device", "virtio-net-pci,netdev=net"]


def _escaped(path: Path) -> str:
    """QEMU splits options at commas; a doubled one is a comma."""
    return str(path.absolute()).replace(",", ",,")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _machine(request: BootRequest, accel: str, events: EventSink) -> Iterator[_Watch]:
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="treebuild-vm-") as folder:
        argv = command_line(request, accel, Path(folder), port)
        process = spawn(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"TMPDIR": folder})
        assert process.stdout is not None
        assert process.stdin is not None
        console = Console(process.stdout, process.stdin, lambda line: events.emit(LogLine(_TASK, line)))
        try:
            yield _Watch(request, accel, port, process, console, events)
        finally:
            kill_group(process)
            process.wait()
            console.close()


class _Watch:
    """Looks at a running machine again and again until every wish has come true."""

    def __init__(
        self,
        request: BootRequest,
        accel: str,
        port: int,
        process: subprocess.Popen[bytes],
        console: Console,
        events: EventSink,
    ) -> None:
        self._request = request
        self._accel = accel
        self._port = port
        self._process = process
        self._console = console
        self._events = events
        self._start = monotonic_s()
        self._expect_at: float | None = None
        self._http_at: float | None = None
        self._login_at: float | None = None
        self._status: int | None = None
        self._body = ""
        self._login_step = 0
        self._mark = 0

    def until_done(self, cancel: Cancel) -> BootReport:
        while True:
            cancel.check()
            self._look()
            if self._done():
                return self._report()
            self._give_up_if_hopeless()
            sleep(_POLL_S)

    # one look ------------------------------------------------------------------------------------------------------
    def _look(self) -> None:
        wanted = self._expected()
        if wanted and self._expect_at is None and self._console.find(wanted) >= 0:
            self._expect_at = self._seen(f"{wanted!r} on the console")
        if self._request.login is not None and self._login_at is None:
            self._log_in(*self._request.login)
        if self._request.http is not None and self._http_at is None:
            self._ask(self._request.http[1])

    def _expected(self) -> str:
        request = self._request
        nothing = not request.expect and request.http is None and request.login is None
        return _LOGIN_PROMPT if nothing else request.expect

    def _log_in(self, user: str, password: str, answer: str) -> None:
        prompts = (_LOGIN_PROMPT, "assword: ", answer)
        at = self._console.find(prompts[self._login_step], self._mark)
        if self._login_step == 2 and self._console.find("Login incorrect", self._mark) >= 0:
            raise BootFailed(f"the login of {user} was refused", serial_tail=self._console.tail(_TAIL_LINES))
        if at < 0:
            return
        if self._login_step == 2:
            self._login_at = self._seen(f"{user} logged in")
            return
        self._mark = at
        self._console.type((user, password)[self._login_step])
        self._login_step += 1

    def _ask(self, path: str) -> None:
        """QEMU accepts the connection before the guest listens, so only a whole answer counts."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_HTTP_TIMEOUT_S)
        try:
            connection.request("GET", quote(os.fsencode(path), safe=_IN_PATHS), headers={"Connection": "close"})
            answer = connection.getresponse()
            body = answer.read(1 << 20).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()
        self._status, self._body = answer.status, body
        if answer.status < 500:
            self._http_at = self._seen(f"HTTP {answer.status} from {path}")

    def _seen(self, what: str) -> float:
        seconds = monotonic_s() - self._start
        self._events.emit(Progressed(_TASK, text=f"{what} after {seconds:.1f} s"))
        return seconds

    # the end -------------------------------------------------------------------------------------------------------
    def _done(self) -> bool:
        request = self._request
        return not (
            (self._expected() and self._expect_at is None)
            or (request.http is not None and self._http_at is None)
            or (request.login is not None and self._login_at is None)
        )

    def _missing(self) -> str:
        request, missing = self._request, []
        if self._expected() and self._expect_at is None:
            missing.append(f"{self._expected()!r} on the serial console")
        if request.login is not None and self._login_at is None:
            missing.append(f"the login of {request.login[0]}")
        if request.http is not None and self._http_at is None:
            last = f" (last: HTTP {self._status})" if self._status is not None else ""
            missing.append(f"an answer on port {request.http[0]} at {request.http[1]}{last}")
        return " and ".join(missing)

    def _give_up_if_hopeless(self) -> None:
        name = self._request.image.name
        tail = self._console.tail(_TAIL_LINES)
        if self._process.poll() is not None:
            raise BootFailed(
                f"the machine with {name} ended by itself (exit code {self._process.returncode}); "
                f"still missing: {self._missing()}",
                serial_tail=tail,
            )
        for dead_end in _DEAD_ENDS:
            if self._console.find(dead_end) >= 0:
                raise BootFailed(f"{name} does not come up: {dead_end}", serial_tail=tail)
        if monotonic_s() - self._start > self._request.timeout_s:
            raise BootFailed(
                f"{name} was given {self._request.timeout_s:g} s ({self._request.firmware}, {self._accel}); "
                f"still missing: {self._missing()}",
                serial_tail=tail,
                hint="a machine without acceleration is slow: try a longer --timeout",
            )

    def _report(self) -> BootReport:
        return BootReport(
            accel=self._accel,
            seconds_to_expect=self._expect_at,
            seconds_to_http=self._http_at,
            seconds_to_login=self._login_at,
            http_status=self._status,
            http_body=self._body,
            serial_tail=self._console.tail(_TAIL_LINES),
        )
