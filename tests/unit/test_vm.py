"""Machines: the console's text, the command line, and small guests (a boot sector each) that really run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import services
from treebuilder.errors import Cancelled, ConfigError, MissingProgram
from treebuilder.events import LogLine, Progressed, Recorder
from treebuilder.records import replace
from treebuilder.system.process import Cancel
from treebuilder.vm import BootFailed, BootRequest, accelerator_works, boot, choose_accelerator
from treebuilder.vm.console import Console, plain
from treebuilder.vm.firmware import find_uefi
from treebuilder.vm.qemu import command_line

needs_qemu = pytest.mark.usefixtures("qemu")
needs_xorriso = pytest.mark.usefixtures("xorriso")


@pytest.fixture
def qemu() -> None:
    services.program("qemu-system-x86_64", "qemu-system-x86")


@pytest.fixture
def xorriso() -> None:
    services.program("xorriso", "xorriso")


# 16-bit code for 0x7c00. PRINT sends what SI points to to the serial port; READ waits for a carriage return.
_PRINT = bytes.fromhex("ac 84c0 7501 c3 50 bafd03 ec a820 74f8 baf803 58 ee ebea")
_READ = bytes.fromhex("bafd03 ec a801 74f8 baf803 ec 3c0d 75f0 c3")
_HALT = bytes.fromhex("f4 ebfd")
_RESET = bytes.fromhex("b0fe e664 f4 ebfd")


def sector(*messages: str, end: bytes = _HALT) -> bytes:
    """A boot sector that prints the messages, and waits for a typed line between them."""
    start = bytes.fromhex("31c0 8ed8 8ed0 bc007c")
    body_size = len(messages) * 6 + (len(messages) - 1) * 3 + len(end)
    print_at = len(start) + body_size
    read_at = print_at + len(_PRINT)
    text_at = read_at + len(_READ)
    code, texts = start, b""

    def call(target: int) -> bytes:
        return b"\xe8" + ((target - len(code) - 3) & 0xFFFF).to_bytes(2, "little")

    for number, message in enumerate(messages):
        if number:
            code += call(read_at)
        code += b"\xbe" + (0x7C00 + text_at + len(texts)).to_bytes(2, "little")
        code += call(print_at)
        texts += message.encode() + b"\0"
    whole = code + end + _PRINT + _READ + texts
    assert len(whole) <= 510
    return whole.ljust(510, b"\0") + b"\x55\xaa"


def disk(folder: Path, *messages: str, end: bytes = _HALT) -> Path:
    path = folder / "disk, with a comma.img"
    path.write_bytes(sector(*messages, end=end).ljust(1 << 20, b"\0"))
    return path


def request(image: Path, **wishes: object) -> BootRequest:
    return replace(BootRequest(image, as_disk=True, accel="tcg", memory_mb=64, timeout_s=60), **wishes)


def running(image: Path) -> list[str]:
    """Command lines of this system's processes that speak of the image."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().decode("utf-8", "replace") if entry.name.isdigit() else ""
        except OSError:
            continue
        if str(image).replace(",", ",,") in line:
            found.append(line)
    return found


# the console --------------------------------------------------------------------------------------------------------
class Line:
    """A console at one end of a pipe, and the machine's end of it."""

    def __init__(self) -> None:
        out_read, out_write = os.pipe()
        in_read, in_write = os.pipe()
        self.lines: list[str] = []
        self.says = os.fdopen(out_write, "wb", buffering=0)
        self.hears = os.fdopen(in_read, "rb", buffering=0)
        self.console = Console(os.fdopen(out_read, "rb"), os.fdopen(in_write, "wb"), self.lines.append)

    def end(self) -> None:
        self.says.close()
        self.console.close()


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    if not made.says.closed:
        made.end()
    made.hears.close()


def test_colours_and_cut_letters_do_not_hide_a_text(line: Line) -> None:
    for piece in (b"\x1b[0;3", b"2m  OK\x1b[0m \xe2\x80", b"\xa6 log", b"in:\r\nlast"):
        line.says.write(piece)
    line.end()
    assert line.console.find("  OK … login:") > 0
    assert line.lines == ["  OK … login:", "last"]
    assert line.console.tail(1) == ("last",)


def test_a_text_is_looked_for_behind_a_position(line: Line) -> None:
    line.says.write(b"login: root\r\nlogin: ")
    line.end()
    first = line.console.find("login: ")
    second = line.console.find("login: ", first)
    assert 0 < first < second == line.console.end
    assert line.console.find("login: ", second) == -1


def test_much_output_is_forgotten_and_positions_stay(line: Line) -> None:
    line.says.write(b"early\n")
    for _ in range(40):
        line.says.write(b"x" * 65535 + b"\n")
    line.says.write(b"late\n")
    line.end()
    assert line.console.find("early") == -1
    assert line.console.find("late") == 6 + 40 * 65536 + 4


def test_typing_ends_with_return_and_into_nowhere_is_no_error(line: Line) -> None:
    line.console.type("root")
    assert line.hears.read(5) == b"root\r"
    line.hears.close()
    line.console.type("anybody?")


@pytest.mark.parametrize(
    ("raw", "text"),
    [("\x1b[?2004hroot@x:~# ", "root@x:~# "), ("a\r\nb", "a\nb"), ("\x1b(Btab\t", "tab\t"), ("\x07bell", "bell")],
)
def test_plain(raw: str, text: str) -> None:
    assert plain(raw) == text


# firmware, command line --------------------------------------------------------------------------------------------
def test_code_and_variables_must_belong_together(tmp_path: Path) -> None:
    for name in ("a.code", "b.code", "b.vars"):
        (tmp_path / name).touch()
    places = tuple((str(tmp_path / f"{n}.code"), str(tmp_path / f"{n}.vars")) for n in "ab")
    assert find_uefi(places).code == tmp_path / "b.code"
    with pytest.raises(MissingProgram) as caught:
        find_uefi(places[:1])
    assert caught.value.hint == "apt-get install ovmf"


@needs_qemu
def test_command_line(tmp_path: Path) -> None:
    image = tmp_path / "a,b.iso"
    as_cd = command_line(BootRequest(image, http=(8090, "/")), "tcg", tmp_path, 4711)
    assert f"if=none,id=image,format=raw,media=cdrom,readonly=on,file={tmp_path}/a,,b.iso" in as_cd
    assert "user,id=net,hostfwd=tcp:127.0.0.1:4711-:8090" in as_cd
    as_disk = command_line(BootRequest(image, as_disk=True), "kvm", tmp_path, 4711)
    assert f"if=none,id=image,format=raw,snapshot=on,file={tmp_path}/a,,b.iso" in as_disk
    assert "user,id=net" in as_disk
    assert as_disk[as_disk.index("-cpu") + 1] == "host"


# guests ------------------------------------------------------------------------------------------------------------
@needs_qemu
def test_emulation_works_and_nonsense_does_not() -> None:
    assert accelerator_works("tcg", Cancel())
    assert not accelerator_works("nonsense", Cancel())
    assert choose_accelerator("auto", Cancel()) in ("kvm", "tcg")


@needs_qemu
def test_a_text_on_the_console_is_waited_for(tmp_path: Path) -> None:
    image = disk(tmp_path, "\x1b[32mhello from the guest\r\n")
    before = image.read_bytes()
    events = Recorder()
    report = boot(request(image, expect="hello from"), events=events, cancel=Cancel())
    assert report.accel == "tcg"
    assert report.seconds_to_expect is not None
    assert report.seconds_to_login is None
    assert "hello from the guest" in report.serial_tail
    assert [e.line for e in events.events if isinstance(e, LogLine)][-1] == "hello from the guest"
    assert any(isinstance(e, Progressed) for e in events.events)
    assert running(image) == []
    assert image.read_bytes() == before


@needs_qemu
def test_somebody_logs_in(tmp_path: Path) -> None:
    image = disk(tmp_path, "host login: ", "\r\nPassword: ", "\r\nLast login: never\r\nroot@host:~# ")
    report = boot(request(image, login=("root", "secret", "root@host")), events=Recorder(), cancel=Cancel())
    assert report.seconds_to_login is not None
    assert running(image) == []


@needs_qemu
@pytest.mark.parametrize(
    ("messages", "end", "wishes", "said"),
    [
        (("nothing of interest",), _HALT, {"timeout_s": 3, "expect": "never"}, "'never' on the serial console"),
        (("Kernel panic - not syncing: oh",), _HALT, {"expect": "never"}, "does not come up"),
        (("going down\r\n",), _RESET, {"expect": "never"}, "ended by itself"),
        (
            ("login: ", "Password: ", "Login incorrect\r\n"),
            _HALT,
            {"login": ("root", "wrong", "root@")},
            "the login of root was refused",
        ),
        (("up\r\n",), _HALT, {"timeout_s": 4, "http": (80, "/x")}, "an answer on port 80 at /x"),
        (("up\r\n",), _HALT, {"timeout_s": 2, "http": (80, "/☃")}, "an answer on port 80 at /☃"),
    ],
)
def test_a_machine_that_fails_says_what_it_said_and_is_gone(
    tmp_path: Path, messages: tuple[str, ...], end: bytes, wishes: dict[str, object], said: str
) -> None:
    image = disk(tmp_path, *messages, end=end)
    with pytest.raises(BootFailed) as caught:
        boot(request(image, **wishes), events=Recorder(), cancel=Cancel())
    assert caught.value.reason == "boot-failed"
    assert said in caught.value.message
    assert messages[-1].strip() in " ".join(caught.value.serial_tail)
    assert running(image) == []


@needs_qemu
def test_a_machine_does_not_outlive_a_cancelled_run(tmp_path: Path) -> None:
    image = disk(tmp_path, "up\r\n")
    cancel = Cancel()

    class Impatient(Recorder):
        def emit(self, event: object) -> None:
            if isinstance(event, LogLine):
                cancel.set()

    with pytest.raises(Cancelled):
        boot(request(image, expect="never"), events=Impatient(), cancel=cancel)
    assert running(image) == []


@needs_qemu
@needs_xorriso
def test_a_cd_starts_too(tmp_path: Path) -> None:
    (tmp_path / "cd").mkdir()
    (tmp_path / "cd" / "boot.bin").write_bytes(sector("from a cd\r\n").ljust(2048, b"\0"))
    subprocess.run(
        [
            "xorriso", "-as", "mkisofs", "-quiet", "-b", "boot.bin", "-no-emul-boot", "-boot-load-size", "4",
            "-o", tmp_path / "x.iso", tmp_path / "cd",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    report = boot(request(tmp_path / "x.iso", as_disk=False, expect="from a cd"), events=Recorder(), cancel=Cancel())
    assert report.seconds_to_expect is not None


def test_an_image_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        boot(BootRequest(tmp_path / "none.iso"), events=Recorder(), cancel=Cancel())
    assert caught.value.reason == "missing-image"
