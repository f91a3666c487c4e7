"""How a run of the client is told things: variables, texts with commas, files that a root's links lead to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from treebuilder.app import client_settings, settings
from treebuilder.app.client import PackageClient
from treebuilder.app.client_cleanup import cleanup
from treebuilder.app.client_repositories import NewRepository, add
from treebuilder.errors import ConfigError, TreebuildError
from treebuilder.events import Recorder, Silent, Warned
from treebuilder.system.process import Cancel

REPOSITORY = "name: {0}\ntype: disk\nenable: true\nurls: [/{0}]\n"


def load(
    file: Path, events: Recorder | None = None, *, luet: bool = True, **flags: str
) -> client_settings.ClientSettings:
    return client_settings.load(str(file), flags, events or Silent(), luet=luet)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "luet.yaml"
    file.write_text(f"system: {{rootfs: {tmp_path}/root}}\nrepos_confdir: []\n")
    return file


def test_a_variable_that_is_empty_leaves_the_file_as_it_is(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`LUET_SYSTEM__ROOTFS=` of a script must not make the machine itself the root."""
    for name in ("SYSTEM__ROOTFS", "SYSTEM__DATABASE_PATH", "GENERAL__SAME_OWNER", "GENERAL__CONCURRENCY"):
        monkeypatch.setenv(f"LUET_{name}", "")
    found = load(config)
    assert found.root.folder == config.parent / "root"
    assert (found.root.database_path, found.root.same_owner) == (client_settings.LUET_DATABASE, True)


@pytest.mark.parametrize("section", ["general", "logging", "system", "solver"])
def test_a_variable_in_the_place_of_a_section_is_named(
    config: Path, section: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"LUET_{section.upper()}", "x")
    with pytest.raises(ConfigError, match=f"LUET_{section.upper()} is 'x'"):
        client_settings.values_of(str(config), {}, Silent(), luet=True)


def test_folders_may_be_a_text_with_commas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "luet.yaml"
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "r.yaml").write_text(REPOSITORY.format(name))
    file.write_text(f"repos_confdir: '{tmp_path}/a, {tmp_path}/b'\n")
    for luet in (True, False):
        assert [found.name for found in load(file, luet=luet).repositories] == ["a", "b"]
    file.write_text("")
    monkeypatch.setenv("LUET_REPOS_CONFDIR", f"{tmp_path}/a,{tmp_path}/b")
    assert [found.name for found in load(file).repositories] == ["a", "b"]


def rooted(tmp_path: Path) -> tuple[Path, Path]:
    """A configuration for a root whose /etc/luet is a link to /usr/luet, and that root."""
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/luet").symlink_to("/usr/luet-of-the-root")
    for folder in ("repos.conf.d", "config.protect.d"):
        (root / "usr/luet-of-the-root" / folder).mkdir(parents=True)
    file = tmp_path / "luet.yaml"
    file.write_text(f"system: {{rootfs: {root}}}\nconfig_from_host: false\n")
    return file, root


def test_the_configuration_of_a_root_is_found_behind_its_links(tmp_path: Path) -> None:
    file, root = rooted(tmp_path)
    own = root / "usr/luet-of-the-root"
    (own / "repos.conf.d/near.yaml").write_text(REPOSITORY.format("near"))
    (root / "srv").mkdir()
    (root / "srv/far").write_text(REPOSITORY.format("far"))
    (own / "repos.conf.d/far.yaml").symlink_to("/srv/far")
    (own / "config.protect.d/p.yml").write_text("name: p\ndirs: [/etc/x]\n")
    found = load(file)
    assert [repository.name for repository in found.repositories] == ["far", "near"]
    assert found.protection.prefixes == ("/etc/x",)


def test_a_repository_is_added_inside_the_root(tmp_path: Path) -> None:
    file, root = rooted(tmp_path)
    (root / "usr/luet-of-the-root/repos.conf.d").rmdir()
    outside = tmp_path / "outside"
    (root / "usr/luet-of-the-root/repos.conf.d").symlink_to(outside)
    for host in ("true", "false"):
        client = PackageClient(load(file, config_from_host=host), tmp_path / "cache", Silent(), Cancel())
        path = add(client, NewRepository("one", "disk", ("/one",), "", "", 9, ""))
        assert path.is_relative_to(root)
        assert yaml.safe_load(path.read_text())["name"] == "one"
    assert not os.path.lexists(outside)


def test_a_broken_file_of_protection_takes_nothing_from_the_others(tmp_path: Path) -> None:
    protect = tmp_path / "protect"
    protect.mkdir()
    (protect / "a.yml").write_text("name: [\n")
    (protect / "b.yml").write_text("name: b\ndirs: /etc\n")
    (protect / "c.yml").write_bytes(b"\xff")
    (protect / "d.yml").mkdir()
    (protect / "e.yml").symlink_to("nowhere")
    (protect / "f.yml").write_text("name: f\ndirs: [/etc/f]\n")
    file = tmp_path / "luet.yaml"
    file.write_text(f"config_protect_confdir: {protect}\n")
    for luet in (True, False):
        events = Recorder()
        assert load(file, events, luet=luet).protection.prefixes == ("/etc/f",)
        assert len([event for event in events.events if isinstance(event, Warned)]) == 5


@pytest.mark.parametrize("how", ["list", "text", "variable", "default"])
def test_who_builds_as_luet_has_the_repositories_of_who_installs(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "r"
    folder.mkdir()
    (folder / "r.yaml").write_text(REPOSITORY.format("r") + "priority: 3\n")
    (folder / "broken.yaml").write_text("[")
    (folder / "unfinished.yaml").write_text("name: u\n")
    file = tmp_path / "luet.yaml"
    text = {"list": f"repos_confdir: [{folder}]\n", "text": f"repos_confdir: {folder}\n"}.get(how, "")
    file.write_text(f"general: {{concurrency: 3}}\n{text}")
    if how == "variable":
        monkeypatch.setenv("LUET_REPOS_CONFDIR", str(folder))
    if how == "default":
        monkeypatch.setitem(client_settings.DEFAULTS, "repos_confdir", [str(folder)])
    found = settings.load_as_luet(str(file), {}, Silent())
    (repository,) = found.repositories
    assert (repository.name, repository.enable, repository.urls, repository.priority) == ("r", True, ("/r",), 3)
    assert (found.file, found.concurrency) == (str(file), 3)


def test_who_builds_may_name_one_folder_of_repositories(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r/r.yaml").write_text(REPOSITORY.format("r"))
    (tmp_path / "luet.yaml").write_text("repos_confdir: r\n")
    assert [found.name for found in settings.load(str(tmp_path / "luet.yaml"), Silent()).repositories] == ["r"]


@pytest.mark.parametrize("text", [None, "a: ["])
def test_who_builds_as_luet_goes_on_without_a_file_that_is_missing_or_broken(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "luet.yaml"
    if text is not None:
        file.write_text(text)
    events = Recorder()
    found = settings.load_as_luet(str(file), {"repos_confdir": []}, events)
    assert found == settings.Settings()
    assert len([event for event in events.events if isinstance(event, Warned)]) == 1
    file.write_text("cache: {keys: []}\n")  # that could only mean less trust
    with pytest.raises(ConfigError):
        settings.load_as_luet(str(file), {"repos_confdir": []}, Silent())


@pytest.mark.parametrize(
    "text", ["priority: high\n", "trust: {keys: []}\n", "trust: some\n"], ids=["priority", "no keys", "no map"]
)
def test_what_would_end_every_command_is_not_added(tmp_path: Path, text: str) -> None:
    (tmp_path / "luet.yaml").write_text(f"system: {{rootfs: {tmp_path}/root}}\n")
    (tmp_path / "new.yaml").write_text(REPOSITORY.format("new") + text)
    client = PackageClient(load(tmp_path / "luet.yaml"), tmp_path / "cache", Silent(), Cancel())
    with pytest.raises(TreebuildError) as caught:
        add(client, NewRepository(str(tmp_path / "new.yaml"), "disk", (), "", "", 9, ""))
    assert caught.value.where is not None
    assert caught.value.where.file == str(tmp_path / "new.yaml")
    assert not (tmp_path / "root").exists()


def test_a_repository_that_would_count_for_nothing_is_added_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "luet.yaml").write_text(f"system: {{rootfs: {tmp_path}/root}}\nconfig_from_host: false\n")
    events = Recorder()
    client = PackageClient(load(tmp_path / "luet.yaml"), tmp_path / "cache", events, Cancel())
    add(client, NewRepository("new", "disk", (), "", "", 9, ""))
    assert [event.message for event in events.events if isinstance(event, Warned)] == [
        "new has no urls, and counts for nothing until it does"
    ]
    assert load(tmp_path / "luet.yaml").repositories == ()
    (tmp_path / "root/file").write_text("")
    with pytest.raises(TreebuildError, match=f"cannot go on making {tmp_path}/root/file/in"):
        add(client, NewRepository("new", "disk", (), "", "", 9, "/file/in"))


def test_a_cleanup_follows_no_link_out_of_the_root(tmp_path: Path) -> None:
    """`/var/cache -> /data` of a root is its own /data, for packages as for the database."""
    root, outside = tmp_path / "root", tmp_path / "data"
    for folder in (outside / "luet/packages", root / f"{str(outside)[1:]}/luet/packages"):
        folder.mkdir(parents=True)
        (folder / "x").write_text("")
    (root / "var").mkdir()
    (root / "var/cache").symlink_to(outside)
    (tmp_path / "luet.yaml").write_text(f"system: {{rootfs: {root}}}\nrepos_confdir: []\n")
    found = load(tmp_path / "luet.yaml")
    assert cleanup(found, "", luet=True) == (root / f"{str(outside)[1:]}/luet/packages", 1)
    assert (outside / "luet/packages/x").exists()
