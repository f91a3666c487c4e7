"""The modules downloads and git, against a web server and real repositories."""

from __future__ import annotations

import base64
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import program
from tests.unit.cloud_parts import Web, web
from treebuilder.cloudconfig.stages import Runner


@pytest.fixture
def site() -> Iterator[Web]:
    with web() as made:
        yield made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    (made / "etc").mkdir(parents=True)
    return made


def run(root: Path, step: str) -> list[str]:
    runner = Runner(root)
    runner.read([f"stages: {{default: [{{{step}}}]}}"])
    runner.run("default")
    return [err.message for err in runner.errors]


# downloads ----------------------------------------------------------------------------------------------------------
def test_a_file_with_its_mode(root: Path, site: Web) -> None:
    site.pages = {"/a%20b.tar?x=1": b"new", "/a": b"x" * 200_000}
    (root / "opt").mkdir()
    items = (
        f"[{{path: /srv/deep/a, url: '{site.url('/a')}', permissions: 0644, owner: {os.getuid()}}},"
        f" {{path: /opt, url: '{site.url('/a%20b.tar?x=1')}', timeout: 5}}]"
    )
    assert run(root, f"downloads: {items}") == []
    assert (root / "srv/deep/a").read_bytes() == b"x" * 200_000
    assert stat.S_IMODE((root / "srv/deep/a").stat().st_mode) == 0o644
    assert (root / "opt/a b.tar").read_bytes() == b"new"
    assert stat.S_IMODE((root / "opt/a b.tar").stat().st_mode) == 0o600


def test_what_fails_leaves_what_was_there(root: Path, site: Web) -> None:
    site.pages = {"/cut": (403, {}, b"")}
    (root / "etc/a").write_text("old")
    assert run(root, f"downloads: [{{path: /etc/a, url: '{site.url('/cut')}'}}]") == [
        f"{site.url('/cut')}: the server answers 403 Forbidden"
    ]
    assert (root / "etc/a").read_text() == "old"
    assert os.listdir(root / "etc") == ["a"]


def test_what_a_power_cut_left_goes(root: Path, site: Web) -> None:
    site.pages = {"/a": b"new"}
    (root / "srv").mkdir()
    part = ".a." + "0123456789abcdef"
    for name in (part, f"{part}0", ".b.0123456789abcdef"):
        (root / "srv" / name).write_text("half")
    for path in ("/srv/a", "/srv/"):
        (root / "srv" / part).write_text("half")
        assert run(root, f"downloads: [{{path: {path}, url: '{site.url('/a')}'}}]") == []
        assert sorted(os.listdir(root / "srv")) == [f"{part}0", ".b.0123456789abcdef", "a"]


@pytest.mark.parametrize(
    ("item", "error"),
    [("path: /x", " is no http or https URL"), ("path: /x, url: 'file:///etc/passwd'", "file:///etc/passwd is no http"),
     ("url: 'http://x/'", "path is missing"), ("path: /x/, url: 'http://x/'", "http://x/ ends with no name"),
     ("path: /x/, url: 'http://x/%2e%2e'", "http://x/%2e%2e ends with no name"),
     ("path: /x, url: 'http://x', timeout: -1", "timeout must be"),
     (f"path: /x, url: 'http://x', timeout: 1{'0' * 400}", "timeout must be"),
     ("path: /x, url: 'http://x', timeout: soon", "timeout")],
)  # fmt: skip
def test_wrong_items(root: Path, item: str, error: str) -> None:
    (found,) = run(root, f"downloads: [{{{item}}}]")
    assert found.startswith(error)


# git ----------------------------------------------------------------------------------------------------------------
@pytest.fixture
def upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program("git", "git")
    for name in ("GIT_AUTHOR", "GIT_COMMITTER"):
        monkeypatch.setenv(f"{name}_NAME", "me")
        monkeypatch.setenv(f"{name}_EMAIL", "me@here")
    made = tmp_path / "upstream"
    git(tmp_path, "init", "-q", "-b", "main", str(made))
    commit(made, "one")
    git(made, "branch", "side")
    return made


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True, text=True).stdout


def commit(folder: Path, text: str) -> None:
    (folder / "file").write_text(text)
    git(folder, "add", "file")
    git(folder, "commit", "-q", "-m", text)


def test_a_clone_and_what_comes_later(root: Path, upstream: Path) -> None:
    step = f"git: {{url: 'file://{upstream}', path: /srv/it}}"
    (root / "srv/.it.clone/.git").mkdir(parents=True)  # of a run that was cut short
    assert run(root, step) == []
    assert (root / "srv/it/file").read_text() == "one"
    assert os.listdir(root / "srv") == ["it"]
    commit(upstream, "two")
    (root / "srv/it/file").write_text("changed here")
    (root / "srv/it/own").write_text("stays")
    assert run(root, step) == []
    assert (root / "srv/it/file").read_text() == "two"
    assert (root / "srv/it/own").read_text() == "stays"
    assert run(root, f"git: {{url: 'file://{upstream}', path: /srv/it, branch: side}}") == []
    assert (root / "srv/it/file").read_text() == "one"


@pytest.mark.parametrize(
    "harm",
    ["touch .git/index.lock", ": > .git/index", ": > .git/HEAD", "rm -r .git/objects", "mv .git .git.old",
     "mv .git .git.old; mkdir .git.new", "rm -r .git; mkdir .git"],
)  # fmt: skip
def test_a_repository_that_a_power_cut_left(root: Path, upstream: Path, harm: str) -> None:
    step = f"git: {{url: 'file://{upstream}', path: /srv/it}}"
    assert run(root, step) == []
    (root / "srv/it/own").write_text("stays")
    commit(upstream, "two")
    subprocess.run(["sh", "-c", harm], check=True, cwd=root / "srv/it")
    for _ in range(2):
        assert run(root, step) == []
        assert (root / "srv/it/file").read_text() == "two"
        assert sorted(os.listdir(root / "srv/it")) == [".git", "file", "own"]
        assert git(root / "srv/it", "status", "--short") == "?? own\n"


def test_the_repository_around_it_is_not_touched(root: Path, upstream: Path) -> None:
    git(root, "init", "-q", "-b", "main", str(root / "srv"))
    commit(root / "srv", "around")
    (root / "srv/it/.git").mkdir(parents=True)
    assert run(root, f"git: {{url: 'file://{upstream}', path: /srv/it}}") == []
    assert (root / "srv/file").read_text() == "around"
    assert (root / "srv/it/file").read_text() == "one"


def test_what_cannot_be_had_anew_stays(root: Path, upstream: Path) -> None:
    step = f"git: {{url: 'file://{upstream}', path: /srv/it}}"
    assert run(root, step) == []
    upstream.rename(upstream.with_name("gone"))
    (said,) = run(root, step)
    assert said.startswith(f"git and file://{upstream}: fatal: ")
    assert sorted(os.listdir(root / "srv/it")) == [".git", "file"]
    assert git(root / "srv/it", "status", "--short") == ""


@pytest.mark.engine
def test_a_folder_of_a_user_is_that_users(upstream: Path) -> None:
    """Settings of the repository say what git runs: it runs as its owner."""
    user = 54321
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        top.chmod(0o755)
        shutil.copytree(upstream, top / "upstream")
        (top / "root/srv/it").mkdir(parents=True)
        subprocess.run(["chown", "-R", f"{user}:{user}", top / "upstream", top / "root/srv/it"], check=True)
        step = f"git: {{url: 'file://{top}/upstream', path: /srv/it}}"
        assert run(top / "root", step) == []
        config = top / "root/srv/it/.git/config"
        config.write_text(f'{config.read_text()}[filter "x"]\n\tsmudge = "id -u > ../../../seen; cat"\n')
        (config.parent / "info/attributes").write_text("* filter=x\n")
        (top / "seen").touch()
        for path in (top / "seen", config.parent / "info/attributes"):
            os.chown(path, user, user)
        (top / "root/srv/it/file").unlink()
        assert run(top / "root", step) == []
        assert (top / "seen").read_text() == f"{user}\n"
        assert (top / "root/srv/it/file").read_text() == "one"
        assert {path.stat().st_uid for path in (top / "root/srv/it").rglob("*")} == {user}


def test_one_branch_only(root: Path, upstream: Path) -> None:
    assert run(root, f"git: {{url: 'file://{upstream}', path: /it, branch: side, branch_only: true}}") == []
    assert git(root / "it", "branch", "-a", "--format=%(refname)").split() == [
        "refs/heads/side", "refs/remotes/origin/side"
    ]  # fmt: skip


def test_git_does_not_overwrite_other_things(root: Path, upstream: Path) -> None:
    assert run(root, f"git: {{url: 'file://{upstream}', path: /etc/..}}") == [
        "/etc/.. holds other things than a repository"
    ]
    (missing,) = run(root, f"git: {{url: 'file://{upstream}/none', path: /it}}")
    assert missing.startswith(f"git and file://{upstream}/none: fatal: ")
    assert not (root / "it").exists()


def test_a_password_is_for_its_server_only(root: Path, site: Web) -> None:
    program("git", "git")
    basic = {"WWW-Authenticate": 'Basic realm="x"'}
    path = "/repo/info/refs?service=git-upload-pack"
    site.pages = {path: [(401, basic, b""), (403, {}, b"")]}
    auth = "{username: ann, password: secret}"
    (said,) = run(root, f"git: {{url: '{site.url('/repo')}', path: /it, auth: {auth}}}")
    assert "403" in said
    assert site.headers[path]["authorization"] == f"Basic {base64.b64encode(b'ann:secret').decode()}"
    with web() as other:
        other.pages = {path: [(401, basic, b""), (403, {}, b"")]}
        site.pages = {path: (302, {"Location": other.url(path)}, b"")}
        (said,) = run(root, f"git: {{url: '{site.url('/repo')}', path: /it, auth: {auth}}}")
        assert other.asked == [f"GET {path}"]
        assert "authorization" not in other.headers[path]
        assert "secret" not in said


def test_keys_are_files_that_go(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program("git", "git")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "ssh").write_text(
        f'#!/bin/sh\necho "$*" > {tools}/words\nfor w; do case $w in /*/key) stat -c %a "$w"; cat "$w";;'
        f" UserKnownHostsFile=*) cat ${{w#*=}};; esac; done > {tools}/seen\nexit 1\n"
    )
    (tools / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    auth = "{private_key: 'THE KEY', public_key: 'ssh-ed25519 HOST'}"
    run(root, f"git: {{url: 'git@127.0.0.1:x/y.git', path: /it, auth: {auth}}}")
    assert (tools / "seen").read_text() == "600\nTHE KEY\n* ssh-ed25519 HOST\n"
    words = (tools / "words").read_text()
    assert "StrictHostKeyChecking=yes" in words
    key = next(word for word in words.split() if word.endswith("/key"))
    assert not Path(key).exists()


@pytest.mark.parametrize("url", ["", "--upload-pack=x", "ext::sh -c x", "http://[x"])
def test_wrong_urls(root: Path, url: str) -> None:
    assert len(run(root, f"git: {{url: '{url}', path: /it}}")) == 1
    assert not (root / "it").exists()
