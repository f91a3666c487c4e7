"""Several repositories are asked at once: all of them, said of in their order, and one that fails hides none."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.unit.repository_parts import workshop
from treebuilder.cli.main import main
from treebuilder.serve.exchange import Exchange
from treebuilder.serve.folder import Folder
from treebuilder.serve.server import Listening, serving

COUNT = 3
_PATIENCE_S = 300


@dataclass
class Site:
    """A repository at /0 to /2. Its first mirror, /N/bad, answers when all were asked, the last one first."""

    folder: Folder
    all_asked: threading.Barrier = field(default_factory=lambda: threading.Barrier(COUNT))
    went_on: list[threading.Event] = field(default_factory=lambda: [threading.Event() for _ in range(COUNT)])
    meanwhile: Callable[[], object] = lambda: None

    def answer(self, exchange: Exchange) -> None:
        _, at, rest = exchange.path.split("/", 2)
        if rest == "bad/repository.yaml":
            self.all_asked.wait(_PATIENCE_S)
            self.meanwhile()
            if int(at) < COUNT - 1:
                self.went_on[int(at) + 1].wait(_PATIENCE_S)
            exchange.bytes(200, b"[", "text/yaml")
            return
        if rest == "repository.yaml":
            self.went_on[int(at)].set()
        exchange.path = f"/{rest}"
        self.folder.answer(exchange)


@dataclass
class Machine:
    top: Path
    site: Site
    address: str

    def configure(self, *urls: list[str]) -> None:
        found = [
            {"name": f"r{at}", "type": "http", "enable": True, "urls": mirrors, "trust": "none"}
            for at, mirrors in enumerate(urls)
        ]  # fmt: skip
        value = {"system": {"rootfs": str(self.top / "root")}, "repositories": found, "config_from_host": False}
        (self.top / "conf.yaml").write_text(json.dumps(value))

    def mirrors(self, at: int) -> list[str]:
        return [f"http://{self.address}/{at}/bad", f"http://{self.address}/{at}"]

    def say(self, *words: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        given = ["--config", str(self.top / "conf.yaml"), "--cache-dir", str(self.top / "cache")]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([*words, *given, "--progress=plain"])
        return code, out.getvalue(), err.getvalue()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    (tmp_path / "root").mkdir()
    (tmp_path / "none").mkdir()
    with workshop(tmp_path / "shop") as shop:
        shop.package("t/a", {"a": b"a"})
        shop.create()
        site = Site(Folder(shop.build))
        with serving(site, Listening("127.0.0.1", 0)) as address:
            made = Machine(tmp_path, site, address)
            made.configure(*map(made.mirrors, range(COUNT)))
            yield made


@pytest.mark.parametrize(
    "words",
    [
        ("repo", "update"), ("repo", "list"), ("search", "."),
        ("create-repo", "--from-repositories", "-t", "none", "--packages", "none", "--output", "made"),
    ],
)  # fmt: skip
def test_all_are_asked_at_once_and_told_of_in_their_order(
    machine: Machine, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(machine.top)
    code, out, err = machine.say(*words)
    assert code == 0, err
    told = [line for line in err.splitlines() if "the next mirror is asked" in line]
    assert [f" r{at}: " in line for at, line in enumerate(told)] == [True] * COUNT, err
    if words == ("repo", "update"):
        assert [line.partition(":")[0] for line in out.splitlines()] == ["r0", "r1", "r2"]


def test_a_failure_hides_no_other_and_stops_no_other(machine: Machine) -> None:
    nowhere, other = (f"http://{machine.address}/{at}/none" for at in (0, 1))
    machine.configure([nowhere], [f"http://{machine.address}/2"], [other])
    code, out, err = machine.say("repo", "update")
    assert (code, out) == (2, "")
    assert nowhere in err
    assert f"r2: there is no repository r2 at {other}" in err
    assert "r1: revision 1" in err
    code, out, err = machine.say("repo", "update", "--ignore-errors")
    assert (code, out) == (0, "r1: revision 1\n"), err
    assert err.index("warning: r0: ") < err.index("warning: r2: ")


def test_an_interrupt_ends_the_waiting(machine: Machine) -> None:
    end = threading.Event()
    once = threading.Lock()

    def meanwhile() -> None:
        if once.acquire(blocking=False):
            os.kill(os.getpid(), signal.SIGINT)
        end.wait(_PATIENCE_S)

    machine.site.meanwhile = meanwhile
    try:
        code, _, err = machine.say("repo", "update")
    finally:
        end.set()
        for event in machine.site.went_on:
            event.set()
    assert (code, "interrupted" in err) == (130, True), err


def test_repositories_are_listed_where_nothing_can_be_kept(machine: Machine) -> None:
    (machine.top / "cache").write_text("in the way")
    code, out, err = machine.say("repo", "list")
    assert code == 0, err
    assert [line for line in out.splitlines() if not line.startswith(" ")] == ["r0", "r1", "r2"]
    (machine.top / "cache").unlink()
    machine.configure()
    assert machine.say("repo", "list")[:2] == (0, "")
    assert not (machine.top / "cache").exists()
