"""Called as luet: what its users' scripts type, and what they look for in the answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from tests.cases.luet_machine import Luet, luet
from tests.golden.test_luet_hashes import FILES, A, B, C
from treebuilder.cli.main import main
from treebuilder.client.locking import locked

__all__ = ["luet"]  # fixtures
pytestmark = pytest.mark.engine


def test_a_repository_has_snapshots_and_grows(luet: Luet) -> None:
    assert len(list(luet.shop.build.glob("*-repository.yaml"))) == 1
    assert (
        luet("create-repo", "--tree=tree", "--packages=build", "--output=build", "--name=main", "--backend=img")[0] == 0
    )
    assert luet("repo", "list")[1].startswith("main\n")


def test_a_snapshot_is_named_by_the_local_time(luet: Luet, monkeypatch: pytest.MonkeyPatch) -> None:
    """luet.md §6.2. The zone is one where the hour, and mostly the day, is another than in UTC."""
    before = set(luet.shop.build.glob("*-repository.yaml"))
    with monkeypatch.context() as zone:
        zone.setenv("TZ", "FAR-13")
        time.tzset()
        began = datetime.now(UTC)
        luet.create()
        ended = datetime.now(UTC)
    time.tzset()
    (made,) = set(luet.shop.build.glob("*-repository.yaml")) - before
    shown = made.name.removesuffix("-repository.yaml")
    there = [(at + timedelta(hours=13)).strftime("%Y%m%d%H%M%S") for at in (began, ended)]
    assert there[0] <= shown <= there[1]


def test_install_and_its_messages(luet: Luet) -> None:
    code, text = luet("install", "-y", "test/c@1.0")
    assert (code, (luet.root / "c").read_bytes()) == (0, b"c")
    assert "GNU" not in text  # no banner
    head, *rows = text.splitlines()
    assert head.split() == ["Program", "Name", "Version", "License", "Repository"]
    assert rows[0].split() == ["test/c", "1.0", "main"]
    code, text = luet("install", "-y", "test/c@1.0")
    assert code == 0
    assert "No packages to install" in text
    code, text = luet("i", "--yes=true", "test/none")
    assert code == 2
    assert " ERROR " in text
    assert "package 'test/none' not found" in text
    code, text = luet("install", "-y", "none")
    assert (code, "/none" in text, "CATEGORY/NAME" in text) == (2, False, True), text
    luet.shop.package("test/d", {"c": b"d"})
    luet("create-repo", "--tree", "tree", "--packages", "build", "--output", "build")
    code, text = luet("install", "-y", "test/d")
    assert code == 2
    assert "file conflict found" in text
    assert luet("install", "-y", "--force", "test/d")[0] == 0


def test_questions(luet: Luet) -> None:
    code, text = luet("install", "test/c", answer="n\n")
    assert code == 2
    assert "Do you want to continue with this operation? [y/N]: " in text
    assert "Aborted by user" in text
    assert luet("install", "test/c", answer="")[0] == 2
    assert luet("install", "test/c", answer="Yes\n")[0] == 0
    assert luet.installed() == ["test/c-1.0"]


@pytest.mark.parametrize(
    ("words", "code", "left"),
    [
        (["test/a"], 2, ["test/a-1.0", "test/b-1.0", "test/c-1.0"]),
        (["--nodeps", "test/a"], 0, ["test/b-1.0", "test/c-1.0"]),
        (["--conflictscheck=false", "test/a"], 0, ["test/b-1.0", "test/c-1.0"]),
        (["--conflictscheck", "test/b"], 0, ["test/a-1.0", "test/c-1.0"]),
        (["--conflictscheck", "test/a"], 2, ["test/a-1.0", "test/b-1.0", "test/c-1.0"]),
        (["test/b"], 0, ["test/a-1.0", "test/c-1.0"]),
        (["--full", "test/b"], 0, ["test/c-1.0"]),
        (["--full", "test/a"], 0, ["test/a-1.0", "test/b-1.0", "test/c-1.0"]),
        (["--full-clean", "test/a"], 0, ["test/c-1.0"]),
        (["--full-clean", "test/b"], 0, ["test/c-1.0"]),
        (["test/zz"], 2, ["test/a-1.0", "test/b-1.0", "test/c-1.0"]),
    ],
)
def test_uninstall(luet: Luet, words: list[str], code: int, left: list[str]) -> None:
    assert luet("install", "-y", "test/b", "test/c")[0] == 0
    assert luet("uninstall", "-y", *words)[0] == code
    assert luet.installed() == left


def test_install_upgrades_the_system_first_unless_relaxed(luet: Luet) -> None:
    luet("install", "-y", "test/c")
    luet.shop.package("test/c", {"c": b"2"}, version="2.0")
    luet("create-repo", "--tree", "tree", "--packages", "build", "--output", "build")
    assert luet("install", "-y", "--relax", "test/a")[0] == 0
    assert luet.installed() == ["test/a-1.0", "test/c-1.0"]
    assert luet("install", "-y", "test/b")[0] == 0
    assert luet.installed() == ["test/a-1.0", "test/b-1.0", "test/c-2.0"]
    assert "Nothing to upgrade" in luet("upgrade", "-y")[1]


def test_search_forms(luet: Luet) -> None:
    luet("install", "-y", "test/c")
    code, text = luet("search", "-o", "json", "test/")
    assert code == 0
    items = json.loads(text)["packages"]
    assert [(i["name"], i["repository"], i["installed"], i["files"]) for i in items] == [
        ("a", "main", False, None), ("b", "main", False, None), ("c", "main", True, None)
    ]  # fmt: skip
    assert text.startswith('{"packages":[{"')
    code, text = luet("search", "--installed", "-o", "json", "c")
    assert json.loads(text)["packages"][0] == {
        "category": "test", "files": ["c"], "hidden": False, "installed": True, "name": "c", "repository": "system",
        "target": "test/c-1.0", "version": "1.0",
    }  # fmt: skip
    assert luet("search", "-o", "json", "nothing")[1] == '{"packages":null}\n'
    assert luet("search", "-q", "b")[1] == "test/b-1.0\n"
    assert "> test/c-1.0" in luet("search", "--installed")[1]
    assert luet("search", "-q", "--files", "etc/b")[1] == "test/b-1.0\n"
    assert luet("search", "-q", "--revdeps", "test/a")[1] == "test/b-1.0\n"
    assert luet("search", "-q", "--deps", "test/b")[1] == "test/a-1.0\n"
    assert "Package " in luet("s", "--table", "test")[1]
    assert luet("search", "a", "b")[0] == 2  # luet's own check, not that of its command line


def test_oscheck_reinstall_replace_reclaim(luet: Luet) -> None:
    luet("install", "-y", "test/b", "test/c")
    assert "All good!" in luet("oscheck")[1]
    (luet.root / "c").unlink()
    (luet.root / "a").unlink()
    assert luet("oscheck", "-q") == (0, "test/a-1.0 test/c-1.0\n")
    assert "Following packages are missing files or are incomplete:" in luet("oscheck")[1]
    code, text = luet("oscheck", "--reinstall", "-y")
    assert (code, text.index("Following packages") < text.index("installed")) == (0, True)
    assert (luet.root / "c").read_bytes() == b"c"
    assert luet("reinstall", "-y", "test/c")[0] == 0
    assert luet("reinstall", "-y", "--installed")[0] == 0
    assert luet("replace", "-y", "test/b", "--for", "test/c")[0] == 0
    assert luet.installed() == ["test/a-1.0", "test/c-1.0"]
    assert luet("database", "remove", "test/c")[0] == 0
    assert (luet.installed(), (luet.root / "c").exists()) == (["test/a-1.0"], True)
    assert luet("reclaim")[0] == 0  # luet does not ask either
    assert luet.installed() == ["test/a-1.0", "test/c-1.0"]


def test_the_database_verbs(luet: Luet) -> None:
    luet("install", "-y", "test/b")
    listed = luet.shop.top / "listed.yaml"
    assert luet("database", "get-all-installed", "--output", str(listed))[0] == 0
    assert "packagerequires:" in listed.read_text()
    assert {item["state"] for item in yaml.safe_load(listed.read_text())} == {""}
    assert "files:\n- etc/b\n" in luet("database", "get", "--files", "test/b")[1]
    assert luet("database", "get", "test/none") == (0, "")
    metadata = str(luet.shop.build / "c-test-1.0.metadata.yaml")
    assert luet("database", "create", metadata)[0] == 0
    assert luet("database", "create", metadata)[0] == 2
    assert luet.installed() == ["test/a-1.0", "test/b-1.0", "test/c-1.0"]
    files = luet("search", "--installed", "-o", "json")[1]
    (luet.shop.top / "files.json").write_text(files)
    assert luet("database", "remove", "test/a", "test/b", "test/c")[0] == 0
    assert luet.installed() == []
    assert luet("database", "import", str(listed))[0] == 0
    assert luet.installed() == ["test/a-1.0", "test/b-1.0"]
    assert luet("database", "import", "files.json")[0] == 0
    assert luet("uninstall", "-y", "test/b")[0] == 0
    assert not (luet.root / "etc/b").exists()


def test_config_environment_and_flags(luet: Luet, monkeypatch: pytest.MonkeyPatch) -> None:
    other = luet.shop.top / "other"
    monkeypatch.setenv("LUET_SYSTEM__ROOTFS", str(other))
    monkeypatch.setenv("LUET_YES", "true")
    assert luet("install", "test/c")[0] == 0
    assert (other / "c").exists()
    assert f"rootfs: {other}" in luet("config")[1]
    assert luet("--system-target", str(luet.root), "--system-engine=memory", "install", "test/c")[0] == 0
    assert (luet.root / "c").exists()
    assert luet("--system-target", str(luet.root), "search", "--installed", "-q") == (0, "")
    code, text = luet("cleanup")
    assert code == 0
    assert f"files from {other}/packages" in text
    assert list((other / "packages").iterdir()) == []


def test_a_flag_that_says_no_counts_for_more_than_the_environment(luet: Luet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUET_YES", "true")
    monkeypatch.setenv("LUET_INSTALLED", "true")
    for word in ("--yes=false", "-y=false"):
        code, text = luet("install", word, "test/c")
        assert code == 2
        assert "Aborted by user" in text
    assert luet("search", "-q") == (0, "")
    assert luet("search", "-q", "--installed=false", "test/c") == (0, "test/c-1.0\n")
    assert luet("install", "test/c")[0] == 0
    assert luet("uninstall", "--yes=false", "test/c")[0] == 2
    assert luet("uninstall", "test/c")[0] == 0


@pytest.mark.parametrize("path", [".", "..", "packages/../.."])
def test_a_cleanup_leaves_the_system_database(luet: Luet, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    luet("install", "-y", "test/a")
    monkeypatch.setenv("LUET_SYSTEM__PKGS_CACHE_PATH", path)
    code, text = luet("cleanup")
    assert (code, "the system database is there" in text) == (1, True), text
    assert luet.installed() == ["test/a-1.0"]


def test_a_cleanup_does_not_disturb_who_installs(luet: Luet) -> None:
    luet("install", "-y", "test/a")
    with locked(luet.root):
        code, text = luet("cleanup")
    assert (code, "another instance is already running" in text) == (1, True), text
    assert luet("cleanup")[0] == 0


def test_protected_configuration(luet: Luet) -> None:
    folder = luet.shop.top / "protect"
    folder.mkdir()
    (folder / "etc.yml").write_text("name: etc\ndirs:\n- /etc/\n")
    luet.config.write_text(luet.config.read_text() + f"config_protect_confdir:\n- {folder}\n")
    luet("install", "-y", "test/b")
    (luet.root / "etc/b").write_text("mine")
    luet("uninstall", "-y", "-k", "test/b")
    assert (luet.root / "etc/b").read_text() == "mine"
    luet("install", "-y", "test/b")
    assert (luet.root / "etc/._cfg0001_b").read_bytes() == b"b"
    luet("uninstall", "-y", "test/b")
    assert not (luet.root / "etc/b").exists()
    (luet.root / "etc").mkdir(exist_ok=True)
    (luet.root / "etc/b").write_text("mine")
    assert luet("install", "-y", "--skip-config-protect", "test/b")[0] == 0
    assert (luet.root / "etc/b").read_bytes() == b"b"


def test_what_a_package_protects_itself_is_skipped_too(luet: Luet) -> None:
    luet.shop.package("test/e", {"opt": None, "opt/e": b"e"})
    definition = luet.shop.tree / "test/e/1.0/definition.yaml"
    definition.write_text(json.dumps(json.loads(definition.read_text()) | {"annotations": {"config_protect": "/opt"}}))
    assert luet("create-repo", "--tree", "tree", "--packages", "build", "--output", "build")[0] == 0
    (luet.root / "opt").mkdir(parents=True)
    (luet.root / "opt/e").write_text("mine")
    assert luet("install", "-y", "test/e")[0] == 0
    assert (luet.root / "opt/e").read_text() == "mine"
    assert luet("uninstall", "-y", "test/e")[0] == 0
    (luet.root / "opt").mkdir(exist_ok=True)
    (luet.root / "opt/e").write_text("mine")
    assert luet("install", "-y", "--skip-config-protect", "test/e")[0] == 0
    assert (luet.root / "opt/e").read_bytes() == b"e"


def test_create_repo_takes_what_the_configuration_says(luet: Luet, monkeypatch: pytest.MonkeyPatch) -> None:
    luet.config.write_text(luet.config.read_text() + "  description: ours\ntree: tree\npackages: build\noutput: made\n")
    monkeypatch.setenv("LUET_REPO", "main")
    assert luet("create-repo")[0] == 0
    index = (luet.shop.top / "made/repository.yaml").read_text()
    assert "name: main\n" in index
    assert "description: ours\n" in index
    monkeypatch.setenv("LUET_REPO", "none")
    assert luet("create-repo")[0] == 2
    assert luet("create-repo", "--repo=main", "--descr", "theirs")[0] == 0
    assert "description: theirs\n" in (luet.shop.top / "made/repository.yaml").read_text()


def test_repositories_in_files_and_their_verbs(luet: Luet, tmp_path: Path) -> None:
    confdir = tmp_path / "repos.conf.d"
    text = luet.config.read_text()
    luet.config.write_text(text[: text.index("repositories:")] + f"repos_confdir:\n- {confdir}\n")
    assert luet("install", "-y", "test/c")[0] == 2
    described = tmp_path / "new.yaml"
    described.write_text(f"name: new\ntype: disk\nenable: true\ncached: true\nurls:\n- {luet.shop.build}\n")
    assert luet("repo", "add", "-y", str(described), "--dir", str(confdir))[0] == 0
    assert (luet.root / str(confdir).lstrip("/") / "new.yaml").is_file()
    confdir.symlink_to(luet.root / str(confdir).lstrip("/"))
    assert luet("repo", "list", "-q") == (0, "new\n")
    assert "Repository: new Revision: 1 - " in luet("repo", "update")[1]
    found = json.loads(luet("repo", "get", "new", "-o", "json")[1])
    assert (found["name"], found["priority"], found["urls"]) == ("new", 9999, [str(luet.shop.build)])
    assert luet("install", "-y", "test/c")[0] == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["frobnicate"], 255, "unknown command"), (["install", "--frobnicate", "x/y"], 255, "frobnicate"),
        (["uninstall", "-y"], 0, "Nothing to do"),
        (["uninstall", "--conflictscheck=", "-y", "x/y"], 255, 'invalid argument "" for "--conflictscheck"'),
        (["search", "--installed=xyz"], 255, 'invalid argument "xyz" for "--installed"'),
        (["search", "--quiet=maybe"], 255, 'invalid argument "maybe" for "--quiet"'),
        ([], 0, "Available Commands"), (["help"], 0, "Available Commands"),
        (["--version"], 0, "luet version"), (["version"], 0, "luet version"), (["help", "install"], 0, "--relax"),
        (["repo", "add"], 255, "takes one name"), (["database", "get"], 255, "needs a name"),
        (["database", "create"], 255, "needs a name"), (["util", "image-exist"], 255, "takes 1 words"),
        (["search", "--concurrency", "x"], 255, 'invalid argument "x" for "--concurrency"'),
        (["install", "--help"], 0, "--relax"), (["build"], 0, ""),
        *(([group], 0, f"luet {group}") for group in ("box", "database", "repo", "tree", "util")),
        (["repo", "--debug"], 0, "luet repo"), (["repo", "nonsense"], 255, "invalid choice"),
    ],
)  # fmt: skip
def test_usage(words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["luet", *words]) == code
    out, err = capsys.readouterr()
    assert (said in out, err) == (True, "")


def test_a_link_of_that_name_and_its_extensions(luet: Luet, tmp_path: Path) -> None:
    link = tmp_path / "bin" / "luet"
    link.parent.mkdir()
    link.write_text(f"#!{sys.executable}\nimport sys\nfrom treebuilder.cli.main import entry\nentry()\n")
    link.chmod(0o755)
    extension = link.parent / "luet-hello"
    extension.write_text('#!/bin/sh\necho "hello $*"\n')
    extension.chmod(0o755)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PATH": f"{link.parent}:{os.environ['PATH']}"}
    for words, said in (
        (["hello", "you"], "hello you\n"),
        (
            ["hello", "-d", "a", "--config", "zz", "-q", "--plugin", "p", "on"],
            "hello -d a --config zz -q --plugin p on\n",
        ),
        (["--config", "zz", "hello", "a"], "hello --config zz a\n"),
        (["search", "-q", "c", "--config", "luet.yaml"], "test/c-1.0\n"),
    ):
        done = subprocess.run([link, *words], env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, said, "")


def test_plugins_are_told(luet: Luet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    plugin = tmp_path / "bin" / "luet-teller"
    plugin.parent.mkdir()
    plugin.write_text(f'#!/bin/sh\necho "$1 $2" >> {log}\necho \'{{"state": "seen", "data": "", "error": ""}}\'\n')
    plugin.chmod(0o755)
    monkeypatch.setenv("PATH", f"{plugin.parent}:{os.environ['PATH']}")
    code, text = luet("install", "-y", "--plugin", "luet-teller", "test/b")
    assert code == 0, text
    assert "plugin luet-teller: seen" in text
    events = [line.split(" ", 1) for line in log.read_text().splitlines()]
    assert [name for name, _ in events] == ["package.install", "package.install"]
    payload = json.loads(json.loads(events[1][1])["data"])
    assert (payload["Package"]["name"], payload["Repository"]["name"]) == ("b", "main")
    log.unlink()
    luet.shop.package("test/b", {f"etc/{number:0200}": b"" for number in range(60)}, version="2.0")
    luet("create-repo", "--tree", "tree", "--packages", "build", "--output", "build")
    assert luet("upgrade", "-y", "--plugin=luet-teller")[0] == 0
    names = [line.split(" ", 1)[0] for line in log.read_text().splitlines()]
    assert names == ["package.pre.upgrade", "package.uninstall", "package.install", "package.post.upgrade"]
    assert '"data": "", "file": "/' in log.read_text()  # what is long comes in a file
    plugin.write_text('#!/bin/sh\necho \'{"error": "no"}\'\n')
    assert luet("uninstall", "-y", "--plugin", "luet-teller", "test/b")[0] == 2
    assert luet("uninstall", "-y", "--plugin", "not-there", "test/a")[0] == 2
    assert luet.installed() == ["test/a-1.0"]


def test_tree_images_has_the_names_that_luet_gives(luet: Luet, tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / "golden" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "golden" / name).write_text(text)
    code, text = luet("tree", "images", "--tree", "golden", "--image-repository", "quay.io/x", "test/c")
    assert (code, text.splitlines()) == (
        0, [f"test/a-1.0: quay.io/x:{A}", f"test/b-1.1+2: quay.io/x:{B}", f"test/c-2: quay.io/x:{C}"]
    )  # fmt: skip
    code, text = luet("tree", "images", "--tree", "golden", "test/b", "-o", "json")
    item = {"name": "b", "category": "test", "version": "1.1+2", "path": "", "image": f"luet/cache:{B}"}
    assert item in json.loads(text)["packages"]


def test_a_log_file(luet: Luet, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "luet.log"
    assert luet("install", "-y", "test/a", "--logfile", str(log))[0] == 0
    assert not log.exists()  # as luet: the path alone switches nothing on
    assert luet("uninstall", "-y", "test/a", "--enable-logfile", "--logfile", str(log))[0] == 0
    assert luet("install", "-y", "test/none", "--enable-logfile", "-l", str(log))[0] != 0
    lines = [line.split("\t") for line in log.read_text().splitlines()]
    assert {len(line) for line in lines} == {3}
    assert any(level == "ERROR" and "test/none" in text for _, level, text in lines)

    luet.config.write_text(luet.config.read_text() + "logging:\n  json_format: true\n  level: error\n")
    assert luet("install", "-y", "test/none", "--enable-logfile", "-l", str(log))[0] != 0
    added = [json.loads(line) for line in log.read_text().splitlines()[len(lines) :]]
    assert {item["level"] for item in added} == {"ERROR"}
    assert any("test/none" in item["message"] for item in added)

    code, text = luet("search", "-o", "json", "--enable-logfile", "-l", str(tmp_path))  # a folder
    assert code == 0
    json.loads(text)


def test_a_change_is_one_document(luet: Luet) -> None:
    luet("install", "-y", "test/c")
    luet.shop.package("test/c", {"c": b"2"}, version="2.0")
    luet("create-repo", "--tree", "tree", "--packages", "build", "--output", "build")
    code, text = luet("install", "-y", "-o", "json", "test/b")
    found = json.loads(text)
    assert (code, found["schema"], found["state"]) == (0, "treebuild.install/1", "done")
    assert [f"{item['name']}-{item['version']}" for item in found["installed"]] == ["c-2.0", "a-1.0", "b-1.0"]
    assert [(item["name"], item["from"], item["to"]) for item in found["exchanged"]] == [("c", "1.0", "2.0")]
    luet.shop.package("test/c", {"c": b"3"}, version="3.0")
    luet("create-repo", "--tree", "tree", "--packages", "build", "--output", "build")
    code, text = luet("install", "-y", "-o", "json", "test/none")
    assert (code, [item["version"] for item in json.loads(text)["installed"]]) == (2, ["3.0"])


def test_a_document_stays_one_where_something_is_asked(luet: Luet, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = luet("install", "-o", "json", "test/b", answer="y\n")
    assert (code, json.loads(text)["state"]) == (0, "done")
    err = capsys.readouterr().err
    assert "test/a" in err
    assert "Do you want to continue" in err


def test_repo_add_takes_what_luet_takes(luet: Luet) -> None:
    words = ("repo", "add", "-y", "new", "--type", "http", "--url", "http://x", "-o", "etc")
    assert luet(*words, "--username", "me", "--passwd", "word")[0] == 0
    file = luet.root / "etc" / "new.yaml"
    assert "auth:\n    password: word\n    username: me\n" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    code, text = luet(*words)
    assert (code, "was replaced" in text) == (0, True)
    assert "was replaced" not in luet(*words)[1]
    code, text = luet("repo", "add", "-y", "odd", "--type", "foo", "--url", "x", "-oetc")
    assert (code, "no type 'foo'" in text, (luet.root / "etc" / "odd.yaml").exists()) == (2, True, False)


def test_names_that_nobody_could_use_are_refused(luet: Luet, tmp_path: Path) -> None:
    for name in ("", "a\nb"):
        code, text = luet("create-repo", "--tree", "tree", "--packages", "build", "--output", "new", "--name", name)
        assert (code, "is no name for a repository" in text) == (2, True)
    (tmp_path / "x.tar").write_bytes(bytes(1024))
    code, text = luet("util", "pack", "BAD IMG", "x.tar", "y.tar")
    assert (code, "is no name of an image" in text, (tmp_path / "y.tar").exists()) == (1, True, False)


def test_short_flags_in_one_word_and_lists_in_parts(luet: Luet) -> None:
    assert luet("search", "-dq", "test/c") == (0, "test/c-1.0\n")
    code, text = luet("install", "-y", "--plugin", "one", "--plugin", "two", "test/a")
    assert (code, "the plugin one is not in PATH" in text) == (2, True)


def test_repositories_elsewhere_are_asked_at_once(luet: Luet) -> None:
    met = threading.Barrier(2, timeout=20)
    indexes: list[bool] = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.endswith("/repository.yaml"):
                try:
                    met.wait()
                    indexes.append(True)
                except threading.BrokenBarrierError:  # only one of them was asked
                    indexes.append(False)
            super().do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(luet.shop.build)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    text = luet.config.read_text()
    listed = "".join(
        f"- {{name: {name}, type: http, enable: true, urls: ['{url}/{dots}']}}\n"
        for name, dots in (("a", ""), ("b", "./"))
    )
    luet.config.write_text(f"{text[: text.index('repositories:')]}repositories:\n{listed}")
    try:
        code, found = luet("search", "-q", "test/c")
    finally:
        server.shutdown()
        server.server_close()
    assert (code, "test/c-1.0" in found, indexes) == (0, True, [True, True])
