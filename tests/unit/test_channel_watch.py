"""Results of devices: read with care, counted once each, and too many failures halt the channel."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import schemas
from tests.unit.repository_parts import Workshop, workshop
from treebuilder.channel.results import Result, Tally, device_name, read_result, result_bytes
from treebuilder.channel.rules import Counts
from treebuilder.cli.main import main
from treebuilder.errors import IntegrityError

TOP = Path(__file__).parents[2]


def result(device: int, *, good: bool, snapshot: str = "s1", channel: str = "stable") -> Result:
    return Result(channel, snapshot, device_name(f"machine {device}", channel), good, "" if good else "boot")


def test_each_device_counts_once_by_its_last_result() -> None:
    tally = Tally("stable", "s1")
    assert tally.add(result(1, good=True))
    assert not tally.add(result(1, good=True))
    assert tally.add(result(2, good=False))
    assert tally.counts() == Counts(1, 1)
    assert tally.add(result(1, good=False))
    assert tally.counts() == Counts(0, 2)
    assert tally.add(result(2, good=True))
    assert tally.counts() == Counts(1, 1)
    assert not tally.add(result(3, good=False, snapshot="s2"))
    assert not tally.add(result(3, good=False, channel="other"))
    assert tally.counts() == Counts(1, 1)


def test_results_are_written_and_read_and_do_not_tell_the_machine_id() -> None:
    for good in (True, False):
        assert read_result(result_bytes(result(1, good=good))) == result(1, good=good)
    assert device_name("machine 1", "stable") != device_name("machine 1", "candidate")


_GOOD: dict[str, Any] = json.loads(result_bytes(result(1, good=True)))
_WRONG: list[dict[str, Any]] = [
    {"schema": "x"}, {"channel": "../x"}, {"channel": 1}, {"snapshot": "/"}, {"device": "zz"}, {"device": []},
    {"device": "A" * 32}, {"good": 1}, {"good": "yes"}, {"why": "x" * 201}, {"why": "a\nb"}, {"why": None}, {"more": 1},
]  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        b"", b"null", b"[]", b"\xff", b"[" * 1500, b"{}", b"9" * 1900, b" " * 3000,
        *(json.dumps({**_GOOD, **changed}).encode() for changed in _WRONG),
        *(json.dumps({k: v for k, v in _GOOD.items() if k != key}).encode() for key in ("schema", "device", "good")),
    ],
)  # fmt: skip
def test_hostile_results_are_one_error(data: bytes) -> None:
    with pytest.raises(IntegrityError) as caught:
        read_result(data)
    assert caught.value.reason == "bad-result"


# the verb ------------------------------------------------------------------------------------------------------------
@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Workshop]:
    monkeypatch.chdir(tmp_path)
    with workshop(tmp_path) as made:
        for number in ("1", "2"):
            made.package("system/os", {"v": number.encode()}, version=number)
            made.create(snapshot=f"s{number}")
        assert main(["key", "new", "team.key", "--quiet"]) == 0
        publish("s1", "--halt-at", "3:50%", "--report-url", "http://127.0.0.1/")
        capsys.readouterr()
        yield made


def publish(snapshot: str, *more: str) -> None:
    words = ["channel", "publish", "stable", "--package", "system/os", "--snapshot", snapshot, "--sign", "team.key"]
    assert main([*words, *more, "--cache-dir", "cache", "--quiet"]) == 0


def shown(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["channel", "show", "stable", "--trust", "team.key.pub", "--cache-dir", "cache", "--json"]) == 0
    value: dict[str, Any] = json.loads(capsys.readouterr().out)["channel"]
    return value


@contextmanager
def watching() -> Iterator[str]:
    words = [sys.executable, "-m", "treebuilder", "channel", "watch", "stable", "--sign", "team.key", "--json"]
    words += ["--listen", "127.0.0.1:0", "--results", "results", "--cache-dir", "watch-cache", "--quiet"]
    env = {**os.environ, "PYTHONPATH": str(TOP)}
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            value = json.loads(process.stdout.readline())
            assert schemas.faults(value, schemas.load("channel-watch")) == []
            yield value["url"]
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def post(url: str, data: bytes) -> int:
    request = urllib.request.Request(url, data=data, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as err:
        with err:
            return err.code


def counted(url: str) -> tuple[str, int, int]:
    with urllib.request.urlopen(url, timeout=20) as reply:
        value = json.loads(reply.read())
    return value["snapshot"], value["good"], value["failed"]


def test_too_many_failures_halt_the_channel(shop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    with watching() as url:
        for device, good in enumerate((True, True, True, False, False)):
            assert post(url, result_bytes(result(device, good=good))) == 204
        assert post(url, result_bytes(result(4, good=False))) == 204, "twice is once"
        assert post(url, b"junk") == 400
        assert post(url, b"x" * 5000) == 413
        assert counted(url) == ("s1", 3, 2)
    assert not shown(capsys)["halted"]
    with watching() as url:
        assert counted(url) == ("s1", 3, 2), "what was counted is kept"
        post(url, result_bytes(result(5, good=False)))
        now = shown(capsys)
        assert now["halted"]
        assert now["halt_reason"] == "3 of 6 devices failed"
        publish("s2")
        assert post(url, result_bytes(result(6, good=False, snapshot="s2"))) == 204
        assert counted(url) == ("s2", 0, 1), "another snapshot is counted anew"
        assert not shown(capsys)["halted"]


def test_without_a_limit_there_is_nothing_to_watch(shop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    publish("s2", "--halt-at", "0")
    capsys.readouterr()
    words = ["channel", "watch", "stable", "--sign", "team.key", "--listen", "127.0.0.1:0", "--json"]
    assert main([*words, "--cache-dir", "cache"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["reason"] == "no-limit"
