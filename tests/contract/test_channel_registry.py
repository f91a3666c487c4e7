"""Channels of a repository in a registry: published by the verb, followed by a device, kept by gc, brought by copy."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests import schemas
from tests.registries import served
from tests.services import program, registry
from tests.unit.device_fleet import Fleet, answer, fleet
from tests.unit.repository_parts import Workshop, workshop
from treebuilder.channel.results import Result, device_name, result_bytes
from treebuilder.cli.main import main
from treebuilder.model.digest import Digest
from treebuilder.oci.remote import Repository
from treebuilder.records import replace
from treebuilder.repository.docker import DockerBackend
from treebuilder.serve.exchange import Exchange, RefusedError
from treebuilder.serve.registry import Registry
from treebuilder.system.process import Cancel
from treebuilder.trust.index import Signing, Statement, signature_document
from treebuilder.trust.keys import read_private

Capture = pytest.CaptureFixture[str]
TOP = Path(__file__).parents[2]
MEDIA = "application/vnd.oci.image.manifest.v1+json"
TAG = "channel-stable.json"


class Meeting:
    """A registry that lets something happen just before it answers the `turn`th request for the channel's manifest.

    Its next `refuse` replacements of that manifest are refused.
    """

    def __init__(self, site: Registry) -> None:
        self._site = site
        self.reads, self.turn, self.refuse = 0, 0, 0
        self.happens: Callable[[], object] = lambda: None

    def answer(self, exchange: Exchange) -> None:
        if exchange.path.endswith(f"/manifests/{TAG}"):
            if exchange.method == "GET":
                self.reads += 1
                if self.reads == self.turn:
                    self.happens()
            elif exchange.method == "PUT" and self.refuse:
                self.refuse -= 1
                raise RefusedError(403, "DENIED", "not now")
        self._site.answer(exchange)

    def next(self, turn: int, happens: Callable[[], object]) -> None:
        self.reads, self.turn, self.happens = 0, turn, happens


@pytest.fixture(scope="module")
def debian() -> Iterator[str]:
    with registry() as found:
        yield found


@pytest.fixture
def meeting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Meeting, str]]:
    monkeypatch.chdir(tmp_path)
    with served(tmp_path / "registry", Meeting) as (site, found):
        yield site, found


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Iterator[Workshop]:
    at_home(tmp_path, monkeypatch)
    with workshop(tmp_path) as made:
        for number in ("1", "2", "3"):
            made.package("system/os", {"v": number.encode()}, version=number)
        capsys.readouterr()
        yield made


def at_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    for name in ("team.key", "other.key"):
        assert main(["key", "new", name, "--quiet"]) == 0


def created(shop: Workshop, where: str, snapshot: str, *more: str) -> None:
    words = ["create-repo", "--tree", str(shop.tree), "--packages", str(shop.build), "--name", "os", "--type", "docker"]
    words += ["--output", where, "--push-images", "--snapshot-id", snapshot, "--cache-dir", "cache", "--quiet"]
    assert main([*words, *more]) == 0


def say(capsys: Capture, where: str, *words: str, cache: str = "cache") -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main(["channel", *words, "--type", "docker", "--repository", where, "--cache-dir", cache, "--json"])
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, value


def channel(capsys: Capture, where: str, *words: str, cache: str = "cache") -> dict[str, Any]:
    code, value = say(capsys, where, *words, cache=cache)
    assert code == 0, value
    assert schemas.faults(value, schemas.load("channel")) == []
    return value


def reason(capsys: Capture, where: str, *words: str) -> tuple[int, str]:
    code, value = say(capsys, where, *words)
    assert schemas.faults(value, schemas.load("error")) == []
    return code, str(value["error"]["reason"])


def place(where: str) -> Repository:
    address, _, name = where.partition("/")
    return Repository(address, name, True, Cancel())


SIGN = ("--sign", "team.key")
TRUST = ("--trust", "team.key.pub")


def publish(snapshot: str, *more: str, name: str = "stable") -> tuple[str, ...]:
    return "publish", name, "--package", "system/os", "--snapshot", snapshot, *more


# a device ------------------------------------------------------------------------------------------------------------
@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    program("mksquashfs", "squashfs-tools")
    at_home(tmp_path, monkeypatch)
    with fleet(tmp_path) as made:
        made.installed("1.0")
        yield made


def asked(device: Fleet, capsys: Capture, what: str, *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert device.run(what, *words) == 0
    return answer(capsys.readouterr().out, what)


def test_a_device_follows_a_channel_of_a_registry(device: Fleet, capsys: Capture, debian: str) -> None:
    where, follow = f"{debian}/a/fleet", ("upgrade", "--channel", "stable")
    device.configure(type="docker", url=where, keys=("team.key.pub",))
    device.package("2.0")
    created(device.shop, where, "s2", *SIGN)
    made = channel(capsys, where, *publish("s2", *SIGN))
    assert "--sign" not in " ".join(made["warnings"])
    said = asked(device, capsys, *follow)
    assert (said["state"], said["version"], said["source"]) == ("upgraded", "2.0", "system/os@2.0")
    assert device.boot() == "2.0"
    assert asked(device, capsys, "confirm")["state"] == "confirmed"

    device.package("3.0")
    created(device.shop, where, "s3", *SIGN)
    assert asked(device, capsys, *follow)["state"] == "up-to-date", "the newest index is not what the channel names"
    channel(capsys, where, *publish("s3", *SIGN))
    offered = place(where).manifest_bytes(TAG, None)
    channel(capsys, where, "halt", "stable", "--reason", "no network", *SIGN)
    assert asked(device, capsys, *follow)["state"] == "halted"
    assert device.versions()[0] == "2.0"

    halted = place(where).manifest_bytes(TAG, None)
    place(where).put_manifest(TAG, offered, MEDIA)
    capsys.readouterr()
    assert device.run(*follow) == 2
    assert json.loads(capsys.readouterr().out)["error"]["reason"] == "rolled-back"
    assert device.versions()[0] == "2.0"
    place(where).put_manifest(TAG, halted, MEDIA)
    channel(capsys, where, "rollout", "stable", "--resume", "--percentage", "100", *SIGN)
    assert asked(device, capsys, *follow)["version"] == "3.0"
    assert device.boot() == "3.0"


# the verb ------------------------------------------------------------------------------------------------------------
def test_a_channel_is_published_promoted_rolled_out_and_halted(shop: Workshop, capsys: Capture, debian: str) -> None:
    where = f"{debian}/a/verbs"
    for number in ("1", "2"):
        created(shop, where, f"s{number}", *SIGN)
    made = channel(capsys, where, *publish("s1", "--version", "1", *SIGN, name="candidate"))
    assert (made["channel"]["version"], made["channel"]["revision"]) == ("1", 1)
    made = channel(capsys, where, *publish("s2", *SIGN, name="candidate"))
    assert (made["channel"]["version"], made["channel"]["revision"]) == ("3", 2)
    assert reason(capsys, where, *publish("s1", "--version", "1", *SIGN, name="candidate")) == (2, "goes-back")
    made = channel(capsys, where, "promote", "candidate", "stable", "--percentage", "5", "--halt-at", "5:2%", *SIGN)
    assert (made["channel"]["name"], made["channel"]["snapshot"], made["percentage_now"]) == ("stable", "s2", 5)
    made = channel(capsys, where, "rollout", "stable", "--percentage", "50", *SIGN)
    assert (made["channel"]["revision"], made["percentage_now"]) == (2, 50)
    made = channel(capsys, where, "halt", "stable", "--reason", "no network", *SIGN)
    assert (made["percentage_now"], made["channel"]["halt_reason"]) == (0, "no network")
    assert reason(capsys, where, "rollout", "stable", "--percentage", "60", *SIGN) == (1, "halted")
    assert channel(capsys, where, "show", "stable", *TRUST, cache="another machine") == made
    assert channel(capsys, f"docker://{where}/", "show", "stable", *TRUST) == made
    assert reason(capsys, where, "show", "stable") == (1, "signed")
    assert reason(capsys, where, "show", "stable", "--trust", "other.key.pub") == (2, "wrong-signature")
    assert reason(capsys, where, "halt", "stable", "--sign", "other.key") == (2, "wrong-signature")


def test_a_channel_names_nothing_that_its_keys_do_not_vouch_for(shop: Workshop, capsys: Capture, debian: str) -> None:
    where = f"{debian}/a/vouched"
    created(shop, where, "s1")
    assert reason(capsys, where, *publish("s1", *SIGN)) == (2, "unsigned")
    created(shop, where, "s2", "--sign", "other.key")
    assert reason(capsys, where, *publish("s2", *SIGN)) == (2, "wrong-signature")
    assert TAG not in place(where).tags()
    made = channel(capsys, where, *publish("s2", *SIGN, "--trust", "other.key.pub"))
    assert made["channel"]["snapshot"] == "s2"
    signature = place(where).manifest_bytes("s2-repository.yaml.sig", None)
    created(shop, where, "s3", *SIGN)
    place(where).put_manifest("s3-repository.yaml.sig", signature, MEDIA)
    assert reason(capsys, where, *publish("s3", *SIGN, "--trust", "other.key.pub")) == (2, "wrong-signature")
    backend = DockerBackend(where, shop.store, Cancel())
    index, key = backend.index("s3-repository.yaml"), read_private(Path("team.key").read_bytes(), "team.key")
    assert index is not None
    said = Statement("os", "s3-repository.yaml", Digest.of(index), 1, 1_700_000_000)
    backend.commit("s3-repository.yaml.sig", signature_document(said, Signing((key,))))
    assert reason(capsys, where, *publish("s3", *SIGN)) == (2, "expired")
    backend.commit("s3-repository.yaml.sig", signature_document(replace(said, expires_s=0), Signing((key,))))
    assert channel(capsys, where, *publish("s3", *SIGN, name="other"))["channel"]["index"] == str(said.index)


def test_without_keys_it_works_and_says_what_that_means(shop: Workshop, capsys: Capture, debian: str) -> None:
    where = f"{debian}/a/unsigned"
    created(shop, where, "s1")
    made = channel(capsys, where, *publish("s1"))
    assert "--sign" in made["warnings"][0]
    made = channel(capsys, where, "halt", "stable")
    assert len(made["warnings"]) == 2
    assert channel(capsys, where, "show", "stable") == made
    assert reason(capsys, where, "show", "stable", *TRUST) == (2, "unsigned")


def test_what_is_refused(shop: Workshop, capsys: Capture, debian: str) -> None:
    where = f"{debian}/a/refused"
    assert reason(capsys, where, "show", "stable") == (2, "no-channel")
    assert reason(capsys, where, "halt", "stable") == (2, "no-channel")
    assert reason(capsys, where, *publish("s1")) == (2, "no-snapshot")
    assert reason(capsys, where, *publish("s1", name="../x")) == (1, "channel-name")
    for wrong in ("build", "team/os", f"{debian}/", "registry.example.org"):
        assert reason(capsys, wrong, *publish("s1")) == (1, "repository-type")
    assert reason(capsys, f"{where}:tag", *publish("s1"))[0] == 1
    assert reason(capsys, "127.0.0.1:9/a/os", "show", "stable") == (2, "transport")


def test_plain_http_is_spoken_with_who_is_named(capsys: Capture, meeting: tuple[Meeting, str]) -> None:
    host = meeting[1].replace("127.0.0.1", "0.0.0.0")  # the same machine, and no name of loopback
    assert reason(capsys, f"{host}/a/os", "show", "stable") == (2, "transport")
    assert reason(capsys, f"{host}/a/os", "show", "stable", "--insecure-registry", host) == (2, "no-channel")


# somebody else at the same moment -------------------------------------------------------------------------------------
def test_two_machines_at_once(shop: Workshop, capsys: Capture, meeting: tuple[Meeting, str]) -> None:
    site, address = meeting
    where = f"{address}/a/os"
    created(shop, where, "s1")
    channel(capsys, where, *publish("s1"))
    before = place(where).manifest_bytes(TAG, None)
    theirs = channel(capsys, where, "rollout", "stable", "--percentage", "7", cache="another machine")
    other = place(where).manifest_bytes(TAG, None)
    for turn in (2, 3):  # just before ours replaces the one that was read, and just after
        place(where).put_manifest(TAG, before, MEDIA)
        site.next(turn, lambda: place(where).put_manifest(TAG, other, MEDIA))
        assert reason(capsys, where, "rollout", "stable", "--percentage", "50") == (1, "raced")
        assert site.reads == turn
        assert channel(capsys, where, "show", "stable") == theirs
    site.next(0, lambda: None)
    assert channel(capsys, where, "rollout", "stable", "--percentage", "50")["channel"]["revision"] == 3


def test_a_machine_publishes_one_after_another(shop: Workshop, capsys: Capture, meeting: tuple[Meeting, str]) -> None:
    site, address = meeting
    where = f"{address}/a/os"
    created(shop, where, "s1")
    channel(capsys, where, *publish("s1"))
    found: list[tuple[int, str]] = []

    def other() -> None:
        words = [sys.executable, "-m", "treebuilder", "channel", "halt", "stable", "--type", "docker", "--json"]
        words += ["--repository", f"http://{where}/", "--cache-dir", "cache"]
        done = subprocess.run(words, env={**os.environ, "PYTHONPATH": str(TOP)}, capture_output=True, check=False)
        found.append((done.returncode, json.loads(done.stdout)["error"]["reason"]))

    site.next(2, other)
    made = channel(capsys, where, "rollout", "stable", "--percentage", "50")
    assert found == [(1, "lock-held")]
    assert not made["channel"]["halted"]


# watch ----------------------------------------------------------------------------------------------------------------
@contextmanager
def watching(where: str) -> Iterator[str]:
    words = [sys.executable, "-m", "treebuilder", "channel", "watch", "stable", "--type", "docker", "--repository"]
    words += [where, *SIGN, "--listen", "127.0.0.1:0", "--cache-dir", "watch-cache", "--json", "--quiet"]
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


def post(url: str, device: int, *, good: bool, snapshot: str = "s1") -> int:
    result = Result("stable", snapshot, device_name(f"machine {device}", "stable"), good, "")
    request = urllib.request.Request(url, data=result_bytes(result), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as err:
        with err:
            return err.code


def counts(url: str) -> tuple[str, int, int]:
    with urllib.request.urlopen(url, timeout=20) as reply:
        value = json.loads(reply.read())
    return value["snapshot"], value["good"], value["failed"]


def test_too_many_failures_halt_it(shop: Workshop, capsys: Capture, meeting: tuple[Meeting, str]) -> None:
    site, address = meeting
    where = f"{address}/a/os"
    for snapshot in ("s1", "s2"):
        created(shop, where, snapshot, *SIGN)
    channel(capsys, where, *publish("s1", "--halt-at", "2:1%", *SIGN))
    before = place(where).manifest_bytes(TAG, None)
    channel(capsys, where, "rollout", "stable", "--percentage", "7", *SIGN, cache="another machine")
    other = place(where).manifest_bytes(TAG, None)
    place(where).put_manifest(TAG, before, MEDIA)
    with watching(where) as url:
        site.next(0, lambda: None)
        assert [post(url, device, good=True) for device in range(5)] == [204] * 5
        assert site.reads == 0, "good results of the snapshot that is known change nothing"
        assert post(url, 5, good=False) == 204
        site.refuse = 1
        assert post(url, 6, good=False) == 500, "the device will post it again"
        assert not channel(capsys, where, "show", "stable", *TRUST)["channel"]["halted"]
        site.next(3, lambda: place(where).put_manifest(TAG, other, MEDIA))
        assert post(url, 6, good=False) == 204
        now = channel(capsys, where, "show", "stable", *TRUST)["channel"]
        assert (now["halted"], now["revision"], now["percentage"]) == (True, 3, 7), "after what was met on the way"
        assert now["halt_reason"] == "2 of 7 devices failed"
        channel(capsys, where, *publish("s2", *SIGN))
        assert post(url, 7, good=True, snapshot="s2") == 204
        assert counts(url) == ("s2", 1, 0)
        assert post(url, 6, good=False) == 204, "what is said of another snapshot halts nothing"
        assert not channel(capsys, where, "show", "stable", *TRUST)["channel"]["halted"]


def test_a_slow_registry_stops_no_counting(shop: Workshop, capsys: Capture, meeting: tuple[Meeting, str]) -> None:
    site, address = meeting
    where = f"{address}/a/os"
    created(shop, where, "s1", *SIGN)
    channel(capsys, where, *publish("s1", "--halt-at", "1000:1%", *SIGN))
    asked, answer = threading.Event(), threading.Event()

    def slow() -> None:
        asked.set()
        answer.wait(60)

    with watching(where) as url, ThreadPoolExecutor(1) as pool:
        site.next(1, slow)
        first = pool.submit(post, url, 0, good=False)
        try:
            assert asked.wait(20)
            assert [post(url, device, good=device < 3) for device in (1, 2, 3)] == [204] * 3
            assert counts(url) == ("s1", 2, 1)
            assert post(url, 4, good=True, snapshot="s2") == 503, "whether that is counted nobody can say now"
        finally:
            answer.set()
        assert first.result() == 204
        assert counts(url) == ("s1", 2, 2)


def test_who_posts_much_makes_few_requests(shop: Workshop, capsys: Capture, meeting: tuple[Meeting, str]) -> None:
    """Eight at once, and one more in two seconds."""
    site, address = meeting
    where = f"{address}/a/os"
    created(shop, where, "s1", *SIGN)
    channel(capsys, where, *publish("s1", "--halt-at", "1000:1%", *SIGN))
    with watching(where) as url:
        site.next(0, lambda: None)
        began = time.monotonic()
        said = [post(url, device, good=True, snapshot="s0") for device in range(30)]
        assert [post(url, device, good=False) for device in range(10)] == [204] * 10
        assert site.reads <= 8 + (time.monotonic() - began) / 2 + 1
        assert said == [204 if code == 204 else 503 for code in said]
        assert said.count(204) <= site.reads
        assert counts(url) == ("s1", 0, 10)


# gc and copy ----------------------------------------------------------------------------------------------------------
def test_gc_spares_it_and_copy_brings_it(shop: Workshop, capsys: Capture, meeting: tuple[Meeting, str]) -> None:
    _, address = meeting
    where = f"{address}/a/os"
    created(shop, where, "s1", *SIGN)
    made = channel(capsys, where, *publish("s1", "--percentage", "5", *SIGN))
    for snapshot in ("s2", "s3"):
        shop.package("system/os", {"v": snapshot.encode()}, version=f"{snapshot[1:]}.5")
        created(shop, where, snapshot, *SIGN)
    capsys.readouterr()
    assert main(["repo", "gc", where, "--keep", "1", "--yes", "--cache-dir", "cache", "--json"]) == 0
    gone = json.loads(capsys.readouterr().out)["collected"]["unreached"]
    left = set(place(where).tags())
    assert "s2-repository.yaml" in gone
    assert {TAG, "s1-repository.yaml", "s1-repository.yaml.sig", "s3-repository.yaml"} <= left
    assert channel(capsys, where, "show", "stable", *TRUST, cache="empty") == made
    again = channel(capsys, where, *publish("s1", *SIGN), cache="empty")
    assert again["channel"]["index"] == made["channel"]["index"], "its snapshot can still be read"

    for target in (f"{address}/b/os", "mirror"):
        assert main(["repo", "copy", where, target, "--cache-dir", "cache", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["copied"]["channels"] == [TAG]
    assert channel(capsys, f"{address}/b/os", "show", "stable", *TRUST) == again
    assert main(["channel", "show", "stable", "--repository", "mirror", *TRUST, "--json", "--cache-dir", "cache"]) == 0
    assert json.loads(capsys.readouterr().out) == again
    channel(capsys, f"{address}/b/os", "halt", "stable", *SIGN)
    assert not channel(capsys, where, "show", "stable", *TRUST)["channel"]["halted"]


# a web server ---------------------------------------------------------------------------------------------------------
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def test_behind_a_web_server_it_is_shown_and_nothing_else(shop: Workshop, capsys: Capture) -> None:
    def at(type: str, where: str, *words: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = main(["channel", *words, "--type", type, "--repository", where, "--cache-dir", "cache", "--json"])
        value: dict[str, Any] = json.loads(capsys.readouterr().out)
        return code, value

    shop.create(snapshot="s1")
    code, made = at("disk", "build", *publish("s1", "--halt-at", "1:1%", *SIGN))
    assert code == 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(shop.build))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        assert at("http", url, "show", "stable", *TRUST) == (0, made)
        assert at("http", url, "show", "other", *TRUST)[1]["error"]["reason"] == "no-channel"
        watch = ("watch", "stable", "--listen", "127.0.0.1:0", *SIGN)
        for words in (publish("s1", *SIGN), ("halt", "stable", *SIGN), ("promote", "stable", "x", *SIGN), watch):
            code, value = at("http", url, *words)
            assert (code, value["error"]["reason"]) == (1, "read-only")
        server.shutdown()
    assert at("http", "build", "show", "stable")[1]["error"]["reason"] == "repository-type"
