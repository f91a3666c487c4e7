"""The verbs of the package client as `treebuild`: results as published, plans that change nothing, refusals."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import schemas
from tests.unit.repository_parts import Workshop, workshop
from tests.unit.verb_parts import Spoken, typed
from treebuilder.cli.main import main

pytestmark = pytest.mark.engine

RESULTS: dict[str, tuple[str, ...]] = {
    "uninstall": ("uninstall", "t/b"),
    "upgrade": ("upgrade",),
    "replace": ("replace", "t/b", "--for", "t/c"),
    "reinstall": ("reinstall", "--installed"),
    "reclaim": ("reclaim",),
    "autoremove": ("autoremove",),
    "oscheck": ("oscheck",),
    "hold": ("hold", "t/a"),
    "unhold": ("unhold", "t/a"),
    "search": ("search", "--files", "."),
    "database": ("database", "get-all-installed"),
    "repo": ("repo", "list"),
    "cleanup": ("cleanup",),
    "config": ("config",),
    "util": ("util", "pack", "mine", "empty.tar", "image.tar"),
    "box": ("box", "exec", "--rootfs", "/", "--entrypoint", "/bin/true"),
}


@dataclass
class Machine(Spoken):
    shop: Workshop
    root: Path

    def say(self, *words: str) -> tuple[int, str, str]:
        given = ["--config", str(self.shop.top / "conf.yaml"), "--cache-dir", str(self.shop.top / "cache"), "--quiet"]
        return typed(*words, *given)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with workshop(tmp_path) as shop:
        shop.package("t/a", {"a": b"a"})
        shop.package("t/b", {"usr": None, "usr/b": b"b"}, requires=("t/a",))
        shop.package("t/c", {"c": b"c"})
        shop.create()
        (tmp_path / "root").mkdir()
        (tmp_path / "conf.yaml").write_text(
            "system: {rootfs: ROOT}\nrepositories: [{name: mine, type: disk, enable: true, urls: [build]}]\n".replace(
                "ROOT", str(tmp_path / "root")
            )
        )
        made = Machine(shop, tmp_path / "root")
        made.json("install", "t/b")
        yield made


@pytest.mark.parametrize("name", [*RESULTS, "install"])
def test_results_are_as_published(machine: Machine, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = RESULTS.get(name, ("install", "t/c"))
    machine.shop.package("t/a", {"a": b"2"}, version="2.0")
    (machine.root / "c").write_bytes(b"c")
    monkeypatch.chdir(machine.shop.top)
    Path("empty.tar").write_bytes(bytes(10240))
    machine.shop.create()
    value = machine.json(*words)
    assert schemas.faults(value, schemas.load(name)) == []
    if name in ("upgrade", "replace", "reinstall", "uninstall", "reclaim", "install"):
        assert value["state"] == "done"


@pytest.mark.parametrize("name", ["uninstall", "replace", "reinstall", "reclaim", "upgrade"])
def test_a_dry_run_says_what_would_be_and_changes_nothing(machine: Machine, name: str) -> None:
    machine.shop.package("t/a", {"a": b"2"}, version="2.0")
    (machine.root / "c").write_bytes(b"c")
    machine.shop.create()
    before = machine.json("database", "get-all-installed")
    planned = machine.json(*RESULTS[name], "--dry-run")
    assert planned["state"] == "planned"
    assert machine.json("database", "get-all-installed") == before
    done = machine.json(*RESULTS[name])
    for key in ("installed", "removed", "adopted"):
        names = [[(item["name"], item["version"]) for item in value[key]] for value in (planned, done)]
        assert names[0] == names[1]


def test_a_table_and_a_summary(machine: Machine) -> None:
    machine.shop.package("t/a", {"a": b"2"}, version="2.0")
    machine.shop.create()
    _, out, _ = machine.say("upgrade")
    summary, fetched = out.splitlines()[-1].split("; ")
    assert summary == "1 exchanged"
    assert fetched.endswith(" B fetched")
    assert "1.0" in out
    assert "2.0" in out
    assert machine.say("upgrade")[1] == "Nothing to upgrade\n"


def test_refusals_have_their_reasons(machine: Machine) -> None:
    for words, code, reason in (
        (("uninstall", "t/a"), 2, "needed"), (("uninstall", "t/c"), 2, "not-installed"),
        (("install", "t/none"), 2, "unknown-package"), (("hold", "t/c"), 2, "not-installed"),
        (("install", "t/c", "--finalizer-env", "x"), 1, "configuration"), (("reinstall",), 1, "configuration"),
        (("repo", "get", "none"), 1, "no-repository"),
        (("install", "t/c", "--system-target", "no/where"), 1, "configuration"),
        (("search", "("), 2, "pattern"),
    ):  # fmt: skip
        got, out, err = machine.say(*words, "--json")
        assert (got, json.loads(out)["error"]["reason"]) == (code, reason), (words, err)


def test_held_packages_wait(machine: Machine) -> None:
    machine.json("hold", "t/a")
    machine.shop.package("t/a", {"a": b"2"}, version="2.0")
    machine.shop.create()
    assert machine.json("upgrade")["state"] == "nothing"
    assert machine.json("unhold", "t/a")["held"] == []
    assert machine.json("upgrade")["exchanged"] == [{"category": "t", "name": "a", "from": "1.0", "to": "2.0"}]


def test_what_was_a_dependency_and_is_asked_for_stays(machine: Machine) -> None:
    machine.json("install", "t/a")
    machine.json("uninstall", "t/b")
    assert machine.json("autoremove")["state"] == "nothing"


def test_one_repository_that_is_gone_does_not_stop_the_others(machine: Machine) -> None:
    conf = machine.shop.top / "conf.yaml"
    conf.write_text(
        conf.read_text().replace("[{name: mine", "[{name: gone, enable: true, urls: [nowhere]}, {name: mine")
    )
    code, out, err = machine.say("install", "t/c", "--json")
    assert code == 0, err
    assert "gone is left out" in err
    code, out, _ = machine.say("upgrade", "--clean", "--json")  # but what it had must not be removed
    assert (code, json.loads(out)["error"]["reason"]) == (2, "no-repository")


# what others wrote ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["../victim", "/victim", "a\0b", ".treebuild-staging/x"])
@pytest.mark.parametrize("how", ["create", "import", "reclaim"])
def test_files_outside_of_the_root_are_not_recorded(machine: Machine, path: str, how: str) -> None:
    victim = machine.root.parent / "victim"
    victim.write_text("v")
    if how == "reclaim":
        machine.shop.package("t/evil", {"usr/c": b""}, listed=("usr/c", path))
        machine.shop.create()
        (machine.root / "usr/c").write_text("there")
        words = ["reclaim"]
    elif how == "create":
        metadata = machine.shop.top / "evil.metadata.yaml"
        runtime = {"category": "t", "name": "evil", "version": "1"}
        metadata.write_text(json.dumps({"runtime": runtime, "files": ["usr/c", path]}))
        words = ["database", "create", str(metadata)]
    else:
        listed = machine.shop.top / "list.json"
        evil = {"category": "t", "name": "evil", "version": "1", "files": [path]}
        listed.write_text(json.dumps({"packages": [evil]}))
        words = ["database", "import", str(listed)]
    code, _, err = machine.say(*words)
    assert code == 2, err
    assert "which " in err
    names = [item["name"] for item in machine.json("database", "get-all-installed")["packages"]]
    assert ("evil" in names, victim.exists()) == (False, True)


def test_a_record_that_leads_out_can_be_forgotten(machine: Machine) -> None:
    db = sqlite3.connect(machine.root / "var/lib/treebuild/system.db")
    db.execute("UPDATE files SET path = CAST('../victim' AS BLOB) WHERE path = CAST('usr/b' AS BLOB)")
    db.commit()
    db.close()
    code, _, err = machine.say("uninstall", "t/b")
    assert (code, "database remove" in err) == (2, True), err
    machine.json("database", "remove", "t/b")
    names = [item["name"] for item in machine.json("database", "get-all-installed")["packages"]]
    assert names == ["a"]


def test_a_database_of_luet_itself_is_told(machine: Machine) -> None:
    other = machine.root.parent / "other"
    (other / "var/cache/luet").mkdir(parents=True)
    bolt = other / "var/cache/luet/luet.db"
    bolt.write_bytes(bytes(16) + b"\xed\xda\x0c\xed" + bytes(4076))
    code = 0
    for words in (["hold"], ["install", "t/a", "--dry-run"], ["database", "import", str(bolt)]):
        code, _, err = machine.say(*words, "--system-target", str(other))
        assert err.count("get-all-installed") == 1, (words, err)
    assert code == 1
    assert "get-all-installed" not in machine.say("hold")[2]


def test_a_root_may_be_named_by_a_link(machine: Machine) -> None:
    link = machine.root.parent / "link"
    link.symlink_to(machine.root)
    assert machine.json("uninstall", "t/b", "--system-target", str(link))["removed"][0]["name"] == "b"
    assert link.is_symlink()


def test_a_description_does_not_command_the_terminal(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.shop.package("t/esc", {"e": b""})
    definition = machine.shop.tree / "t/esc/1.0/definition.yaml"
    definition.write_text(json.dumps(json.loads(definition.read_text()) | {"license": "\x1b[31mred"}))
    machine.shop.create()
    top = machine.shop.top
    assert main(["search", "esc", "--config", str(top / "conf.yaml"), "--cache-dir", str(top / "cache")]) == 0
    out = capsys.readouterr().out
    assert "\\x1b[31mred" in out
    assert "\x1b" not in out


def test_nothing_is_replaced_by_nothing(machine: Machine) -> None:
    code, _, err = machine.say("replace", "t/b")
    assert (code, "--for" in err) == (1, True)
    assert (machine.root / "usr/b").exists()
