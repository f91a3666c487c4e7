"""Called as luet: what scripts rely on besides the answers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from tests.cases.luet_machine import Luet, luet

__all__ = ["luet"]  # fixtures
pytestmark = pytest.mark.engine


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def http(luet: Luet) -> Iterator[Luet]:
    """Its repository comes over a network, and nobody signed it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(luet.shop.build))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        text = luet.config.read_text().replace("type: disk", "type: http")
        luet.config.write_text(text.replace(str(luet.shop.build), f"http://127.0.0.1:{server.server_address[1]}"))
        yield luet
        server.shutdown()
        thread.join()


def test_a_plugin_has_the_environment_that_we_have(luet: Luet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """luet-cosign takes its key and its password from there."""
    plugin = tmp_path / "signs"
    plugin.write_text(f"#!/bin/sh\nenv > {tmp_path}/env\necho '{{}}'\n")
    plugin.chmod(0o755)
    monkeypatch.setenv("COSIGN_PASSWORD", "secret")
    assert luet("install", "-y", "--plugin", str(plugin), "test/c")[0] == 0
    assert "COSIGN_PASSWORD=secret" in (tmp_path / "env").read_text().splitlines()


def test_fatal_warnings_are_not_those_that_luet_has_not(http: Luet) -> None:
    code, text = http("--fatal", "install", "-y", "test/c")
    assert (code, "no keys say whose word counts" in text) == (0, True), text
    http.config.write_text(f"{http.config.read_text()}repositorys: []\n")
    code, text = http("--fatal", "search")
    assert (code, " ERROR  " in text) == (2, True), text


@pytest.mark.parametrize(
    "words", [("config",), ("repo", "get", "main"), ("database", "get", "test/c"), ("database", "get-all-installed")]
)
def test_a_document_has_no_warnings_before_it(
    http: Luet, capsys: pytest.CaptureFixture[str], words: tuple[str]
) -> None:
    assert http("install", "-y", "test/c")[0] == 0
    http.config.write_text(f"{http.config.read_text()}repositorys: []\n")
    code, text = http(*words)
    assert (code, isinstance(yaml.safe_load(text), dict | list)) == (0, True), text
    assert "'repositorys'" in capsys.readouterr().err


def test_the_words_of_what_is_not_there(luet: Luet) -> None:
    assert luet("build", "--tree", "tree", "test/none")[1].startswith(
        " ERROR    Error: Candidate not found: No versions found for: test/none->=0"
    )
    said = "Failed matching solutions against repository for foo where are definitions coming from?!"
    assert said in luet("install", "-y", "foo")[1]
    assert "package 'test/none' not found" in luet("install", "-y", "test/none")[1]


def test_a_list_may_be_empty(luet: Luet) -> None:
    code, text = luet("install", "-y")
    assert (code, "No packages to install" in text) == (0, True), text
    assert luet("install", "-y", "test/c")[0] == 0
    assert luet("uninstall", "-y")[0] == 0
    assert luet.installed() == ["test/c-1.0"]


@pytest.mark.parametrize(
    "text",
    ["config_from_host: perhaps", "general: {same_owner: perhaps}", "repositories: [{name: x, enable: perhaps}]"],
)
def test_a_switch_is_true_or_false(luet: Luet, text: str) -> None:
    luet.config.write_text(f"{text}\n")
    code, said = luet("search", "--installed")
    assert (code, "'perhaps', and neither true nor false" in said) == (1, True), said


@pytest.mark.parametrize(
    ("name", "said"),
    [("CONFIG_FROM_HOST", "neither true nor false"), ("FINALIZER_ENVS", "it can only stand in a file")],
)
def test_a_variable_that_cannot_be(luet: Luet, monkeypatch: pytest.MonkeyPatch, name: str, said: str) -> None:
    monkeypatch.setenv(f"LUET_{name}", "perhaps")
    code, text = luet("search", "--installed")
    assert (code, f"LUET_{name} is 'perhaps'" in text, said in text) == (1, True, True), text


def test_the_log_says_what_came_and_went(luet: Luet, tmp_path: Path) -> None:
    log = tmp_path / "log"
    words = ("--enable-logfile", "--logfile", str(log))
    assert luet("install", "-y", *words, "test/c")[0] == 0
    assert luet("uninstall", "-y", *words, "test/c")[0] == 0
    lines = [line.split("\t")[1:] for line in log.read_text().splitlines()]
    assert ["INFO", "Package test/c-1.0 installed"] in lines
    assert ["INFO", "Package test/c-1.0 removed"] in lines


@pytest.mark.parametrize("image", ["file:///there/is/none.tar", "127.0.0.1:1/none:none"])
def test_what_cannot_be_unpacked(luet: Luet, tmp_path: Path, image: str) -> None:
    assert luet("util", "unpack", image, str(tmp_path / "out"))[0] == 1
