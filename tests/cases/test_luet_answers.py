"""Called as luet: exit codes, what is shown, and flags that meet."""

from __future__ import annotations

import json
import os
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.cases.luet_machine import Luet, luet
from treebuilder.cli.main import main

__all__ = ["luet"]  # fixtures
pytestmark = pytest.mark.engine


def without_repositories(luet: Luet) -> None:
    text = luet.config.read_text()
    luet.config.write_text(text[: text.index("repositories:")])


def test_without_a_repository_nothing_is_found_and_nothing_to_upgrade(luet: Luet) -> None:
    assert luet("install", "-y", "test/c")[0] == 0
    without_repositories(luet)
    warning = " WARNING  no repository is configured and enabled"
    assert luet("search", "-o", "json") == (0, '{"packages":null}\n')
    code, text = luet("upgrade", "-y")
    assert (code, "Nothing to upgrade" in text, warning in text) == (0, True, True)
    code, text = luet("upgrade", "-y", "--universe", "--clean")  # which would take everything away
    assert (code, "no repository is configured" in text) == (2, True)
    assert luet.installed() == ["test/c-1.0"]
    assert main(["search", "--config", str(luet.config)]) == 2  # as treebuild: something is missing


def test_what_no_repository_has_goes_with_universe_and_clean_only(luet: Luet) -> None:
    assert luet("install", "-y", "test/b", "test/c")[0] == 0
    luet.shop.forget("test/c")
    luet.create()
    warning = " WARNING  --clean has no effect without --universe"
    for words, said in ((("--universe",), False), (("--clean",), True)):
        code, text = luet("upgrade", "-y", *words)
        assert (code, "Nothing to upgrade" in text, warning in text) == (0, True, said), text
    code, text = luet("upgrade", "-y", "--universe", "--clean")
    assert (code, warning in text) == (0, False), text
    assert luet.installed() == ["test/a-1.0", "test/b-1.0"]


@pytest.mark.parametrize("flags", [(), ("--universe",)])
def test_an_upgrade_follows_a_new_name(luet: Luet, flags: tuple[str, ...]) -> None:
    assert luet("install", "-y", "test/c")[0] == 0
    luet.shop.forget("test/c")
    luet.shop.package("test/y", {"y": b"y"}, version="2.0", provides=("test/c@>=0",))
    luet.create()
    assert luet("upgrade", "-y", *flags)[0] == 0
    assert luet.installed() == ["test/y-2.0"]
    assert not (luet.root / "c").exists()


def test_an_upgrade_that_looks_at_no_dependencies(luet: Luet) -> None:
    assert luet("install", "-y", "test/a")[0] == 0
    luet.shop.package("test/a", {"a": b"2"}, version="2.0", requires=("test/none",))
    luet.create()
    code, text = luet("upgrade", "-y")
    assert (code, "Nothing to upgrade" in text) == (0, True), text
    assert luet("upgrade", "-y", "--nodeps")[0] == 0
    assert luet.installed() == ["test/a-2.0"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["database", "create", "/missing"], 2), (["reinstall", "-y"], 2), (["repo", "add", "-y", ".hidden"], 2),
        (["install", "-y", "test/c", "--finalizer-env", "none"], 2), (["install", "-y", "--fatal", "test/none"], 2),
        (["replace", "-y", "test/c"], 2), (["repo", "get", "none"], 2),
    ],
)  # fmt: skip
def test_what_is_wrong_with_words_is_no_wrong_configuration(luet: Luet, words: list[str], code: int) -> None:
    found, text = luet(*words)
    assert (found, " ERROR  " in text) == (code, True), text


@pytest.mark.parametrize(
    "wrong", ["general: [1]\n", "general:\n  concurrency: abc\n", "repositories:\n- name: x\n  priority: y\n"]
)
def test_a_wrong_configuration(luet: Luet, wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = luet.config.read_text()
    luet.config.write_text(wrong)
    code, text = luet("search", "--installed")
    assert (code, f"{luet.config}:" in text) == (1, True), text
    luet.config.write_text(before)
    monkeypatch.setenv("LUET_SYSTEM", "x")
    code, text = luet("search", "--installed")
    assert (code, "LUET_SYSTEM" in text) == (1, True), text


def test_what_the_system_refuses_is_an_error_as_any_other(luet: Luet) -> None:
    code, text = luet("pack", "--source", "x" * 300, "test/a@1.0")
    assert (code, " ERROR    Error: File name too long: xxx" in text) == (2, True), text


def test_flags_of_search_that_meet(luet: Luet, capsys: pytest.CaptureFixture[str]) -> None:
    luet("install", "-y", "test/b")
    code, text = luet("search", "--installed", "--files", "--revdeps", "-o", "json", "^etc/b$")
    assert (code, [item["name"] for item in json.loads(text)["packages"]]) == (0, ["b"])
    assert main(["search", "--installed", "--files", "--revdeps", "x", "--system-target", str(luet.root)]) == 2
    assert "--files and --revdeps are two questions" in capsys.readouterr().err


def test_a_folder_of_repositories_is_the_root_s(luet: Luet, tmp_path: Path) -> None:
    words = ["repo", "add", "-y", "--type", "http", "--url", "http://x", "--dir"]
    assert luet(*words, "etc/x", "mine")[0] == 0
    assert luet(*words, "/etc/x", "yours")[0] == 0
    assert sorted(path.name for path in (luet.root / "etc/x").iterdir()) == ["mine.yaml", "yours.yaml"]
    assert not (tmp_path / "etc").exists()


def test_levels_of_what_is_shown(luet: Luet) -> None:
    """What warns, what tells how far it is, and what it did, which is no matter of levels."""
    before = luet.config.read_text()
    for level in ("debug", "info", "warning", "error", "nonsense"):
        luet.config.write_text(f"{before}repositorys: []\nlogging:\n  level: {level}\n")
        code, text = luet("reinstall" if "test/c-1.0" in luet.installed() else "install", "-y", "test/c")
        assert (code, "Package test/c-1.0 installed" in text) == (0, True), text
        assert (" WARNING  " in text, "'repositorys'" in text) == (level != "error",) * 2, text
        assert (" INFO  changing " in text) == (level not in ("warning", "error")), text
    luet.config.write_text(before.replace("enable: true", "enable: false") + "logging:\n  level: error\n")
    code, text = luet("install", "-y", "test/a")
    assert (code, " ERROR  " in text, " WARNING" in text) == (2, True, False)


class _Counting(SimpleHTTPRequestHandler):
    """Waits with packages until as many are asked for as `at_once`, or for as long as others need to show up."""

    at_once: threading.Barrier | None = None
    lock = threading.Lock()
    now = most = 0

    def log_message(self, format: str, *args: object) -> None:
        return

    def do_GET(self) -> None:
        if "package.tar" not in self.path:
            super().do_GET()
            return
        with self.lock:
            type(self).now += 1
            type(self).most = max(self.most, self.now)
        if self.at_once is not None:
            self.at_once.wait(30)
        else:
            time.sleep(0.1)
        with self.lock:  # before it is sent: who has it asks for the next one
            type(self).now -= 1
        super().do_GET()


@pytest.mark.parametrize("count", [1, 6])
def test_so_many_packages_are_fetched_at_once(luet: Luet, count: int) -> None:
    names = [f"many/p{number}" for number in range(6)]
    for name in names:
        luet.shop.package(name, {name.replace("/", "-"): name.encode()})
    luet.create()

    class Counting(_Counting):
        at_once = threading.Barrier(6) if count == 6 else None

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Counting, directory=str(luet.shop.build))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        text = luet.config.read_text().replace("type: disk", "type: http")
        luet.config.write_text(text.replace(str(luet.shop.build), f"http://127.0.0.1:{server.server_address[1]}"))
        code, said = luet("install", "-y", "--concurrency", str(count), *names)
        server.shutdown()
    assert (code, Counting.most) == (0, count), said


def test_the_solver_that_leaves_out(luet: Luet) -> None:
    """As in luet's own script: what excludes each other, and what nobody has."""
    luet.shop.package("test/d", {"d": b"d"}, conflicts=("test/e",))
    luet.shop.package("test/e", {"e": b"e"})
    luet.shop.package("test/f", {"f": b"f"})
    luet.shop.package("test/g", {"g": b"g"}, requires=("test/e",))
    luet.create()
    wanted = ["test/d", "test/f", "test/e", "test/g"]
    assert luet("install", "-y", *wanted)[0] == 2
    assert luet.installed() == []
    code, text = luet("install", "-y", "--solver-type", "qlearning", *wanted, "test/none")
    assert (code, luet.installed()) == (0, ["test/d-1.0", "test/f-1.0"])
    for name in ("test/e", "test/g", "test/none"):
        assert f" WARNING  {name} is left out: " in text
    code, text = luet("install", "-y", "--solver-type", "qlearning", "test/none")
    assert (code, "package 'test/none' not found" in text) == (2, True)


def test_downloading_looks_for_conflicts_as_installing_does(luet: Luet) -> None:
    """An upgrade that comes first may take files of installed packages, and what is installed after it may not."""
    luet("install", "-y", "test/c")
    luet.shop.package("test/d", {"c": b"d"})
    luet.create()
    for more in ([], ["--relax"]):
        code, text = luet("install", "-y", "--download-only", *more, "test/d")
        assert (code, "file conflict found" in text, " ERROR  " in text) == (2, True, True), text
    code, text = luet("install", "-y", "--download-only", "--force", "test/d")
    assert (code, " WARNING  file conflict found" in text) == (0, True), text


def test_plugins_are_told_how_an_upgrade_ended(luet: Luet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin, log = tmp_path / "luet-teller", tmp_path / "log"
    plugin.write_text(f'#!/bin/sh\necho "$2" >> {log}\necho \'{{"state": "", "data": "", "error": ""}}\'\n')
    plugin.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    luet("install", "-y", "test/c")
    luet.shop.package("test/c", {"c": None, "c/x": b"2"}, version="2.0")
    luet.create()
    assert luet("upgrade", "-y", "--download-only", "--plugin", "luet-teller")[0] == 0
    assert not log.exists()  # nothing was changed
    (luet.root / "c").unlink()
    (luet.root / "c").mkdir()
    (luet.root / "c/x").mkdir()  # somebody's own
    assert luet("upgrade", "-y", "--plugin", "luet-teller")[0] == 2
    told = [json.loads(line) for line in log.read_text().splitlines()]
    assert [item["name"] for item in told] == ["package.pre.upgrade", "package.post.upgrade"]
    before, after = (json.loads(item["data"]) for item in told)
    assert after.pop("Error").endswith("no folder in test/c-2.0")
    assert before == after
