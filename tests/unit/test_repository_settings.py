"""What a configuration says of a repository reaches whoever fetches from it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
import yaml

from treebuilder.app import client_settings, settings
from treebuilder.app.config_keys import sections
from treebuilder.app.repositories import source_of
from treebuilder.app.trusting import TrustRules
from treebuilder.build.metadata import document
from treebuilder.errors import ConfigError
from treebuilder.events import Event, Silent, Warned
from treebuilder.model.digest import Digest
from treebuilder.model.package import Package, PackageId, Recipe
from treebuilder.nodes.writing import write_yaml
from treebuilder.trust.keys import new_key

CONFIG = """\
repositories:
- name: main
  type: http
  enable: true
  cached: true
  urls: [https://example.org/a]
  auth: {username: me, password: secret}
"""


def test_logins_and_cached_are_handed_on(tmp_path: Path) -> None:
    file = tmp_path / "luet.yaml"
    file.write_text(CONFIG)
    (found,) = settings.load(str(file), Silent()).repositories
    source = source_of(found, TrustRules())
    assert (source.auth, source.cached) == ((("password", "secret"), ("username", "me")), True)
    entry = yaml.safe_load(CONFIG)["repositories"][0]
    again = client_settings._repository(entry, tmp_path, str(file), 0, TrustRules(luet=True)).source
    assert (again.auth, again.cached) == (source.auth, source.cached)


@pytest.mark.parametrize(
    ("trust", "luet", "unsigned"),
    [("", False, "refuse"), ("", True, "warn"), ("trust: none", False, "accept"), ("trust: {keys: k.pub}", True, "")],
)
def test_both_readers_trust_alike(tmp_path: Path, trust: str, luet: bool, unsigned: str) -> None:
    key = new_key().public
    (tmp_path / "k.pub").write_bytes(key.pem)
    file = tmp_path / "luet.yaml"
    file.write_text(f"{CONFIG}  {trust}\nkeys_confdir: [none]\n")
    (found,) = settings.load(str(file), Silent()).repositories
    source = source_of(found, TrustRules((), luet=luet))
    with contextlib.chdir(tmp_path):
        (again,) = client_settings.load(str(file), {}, Silent(), luet=luet).repositories
    assert again.source.trust == source.trust
    assert (source.trust.unsigned == unsigned) if unsigned else (source.trust.keys == (key,))


def test_metadata_says_how_luet_was_told_to_build() -> None:
    package = Package(PackageId("c", "n", "1"))
    value = document(
        build_view=package, runtime=package, recipe=Recipe(), file_name="f", sha256=Digest.of(b""), compression="zstd",
        files=(), content=Digest.of(b""), epoch_s=0, seed="", extra={},
    )  # fmt: skip
    spec = yaml.safe_load(write_yaml(value))["compilespec"]
    assert spec["buildoptions"]["pullimagerepository"] == []
    assert list(spec)[-3:] == ["buildoptions", "copy", "requires_final_images"]


@pytest.mark.parametrize(
    "text",
    ["{key: [a.pub]}", "{keys: []}", "{keys: }", "{keys: ''}", "{keys: [a.pub, '']}", "{keys: a.pub, secretkey: b}",
     "{KEYS: []}", "[a.pub]", "{keys: {a: b}}"],
)  # fmt: skip
def test_a_cache_whose_trust_is_not_understood_is_refused(tmp_path: Path, text: str) -> None:
    """A misspelt or empty list would let everybody's build records count."""
    file = tmp_path / "luet.yaml"
    file.write_text(f"# ours\ncache: {text}\n")
    with pytest.raises(ConfigError) as caught:
        settings.load(str(file), Silent())
    assert caught.value.where is not None
    assert caught.value.where.line == 2


@pytest.mark.parametrize(
    ("text", "keys"), [("", 0), ("cache:", 0), ("cache: {Keys: a}", 1), ("cache: {keys: [a, b]}", 2)]
)
def test_a_cache_with_keys_and_without(tmp_path: Path, text: str, keys: int) -> None:
    file = tmp_path / "luet.yaml"
    file.write_text(text)
    assert len(settings.load(str(file), Silent()).cache_keys) == keys


def test_misspelt_keys_are_warned_of_and_luets_are_not(tmp_path: Path) -> None:
    file = tmp_path / "luet.yaml"
    file.write_text(
        "cahce: {keys: [a]}\nlogging: {level: x}\nfinalizer_envs: []\nsubsets: {}\nrepositories:\n"
        "- name: a\n  type: http\n  urls: [http://x]\n  turst: {keys: [k]}\n  verify: true\n"
    )
    seen = Kept()
    settings.load(str(file), seen)
    said = [(event.message, event.where.line) for event in seen.events if isinstance(event, Warned) and event.where]
    assert said == [
        ("the key 'cahce' means nothing; 'cache' would", 1),
        ("the key 'turst' means nothing; 'trust' would", 9),
    ]


@pytest.mark.parametrize("luet", [False, True])
def test_the_clients_misspelt_keys_too(tmp_path: Path, luet: bool) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/one.yaml").write_text("name: b\ntype: http\nurls: [http://x]\nenabel: true\n")
    file = tmp_path / "luet.yaml"
    file.write_text(
        f"repos_confdir: [{tmp_path}/conf]\nsystem:\n  rootfs: {tmp_path}\n  databse_path: /x\nimage-repository: x\n"
        "general:\n  concurency: 3\nconfig_protect_sikp: true\nfinaliser_envs: []\nrepositories:\n- name: a\n"
        "  Prioritty: 1\n"
        "Logging: {level: info, pth: /x}\nsolver: text\n"
    )
    seen = Kept()
    client_settings.load(str(file), {}, seen, luet=luet)
    said = [
        (event.message.split("'")[1::2], os.path.basename(event.where.file), event.where.line)
        for event in seen.events if isinstance(event, Warned) and event.where
    ]  # fmt: skip
    assert said == [
        (["config_protect_sikp", "config_protect_skip"], "luet.yaml", 8),
        (["finaliser_envs", "finalizer_envs"], "luet.yaml", 9),
        (["concurency", "concurrency"], "luet.yaml", 7), (["pth", "path"], "luet.yaml", 13),
        (["databse_path", "database_path"], "luet.yaml", 4), (["Prioritty", "priority"], "luet.yaml", 12),
        (["enabel", "enable"], "one.yaml", 4),
    ]  # fmt: skip


@pytest.mark.parametrize("luet", [False, True])
@pytest.mark.parametrize(
    ("text", "said", "line"),
    [
        ("\ngeneral: [1]\n", "general must be a map", 2),
        ("general:\n  concurrency: abc\n", "general.concurrency is 'abc', and not a whole number", 2),
        ("x: 1\nrepositories: {a: b}\n", "repositories must be a list", 2),
        ("repositories:\n- a\n", "an item of repositories must be a map", 2),
        ("repositories:\n- name: a\n  priority: high\n", "priority is 'high', and not a whole number", 3),
        ("finalizer_envs:\n- {key: a, value: b}\n- {value: a}\n", "an item of finalizer_envs needs a key", 3),
    ],
)
def test_what_the_client_cannot_go_by_has_its_line(tmp_path: Path, text: str, said: str, line: int, luet: bool) -> None:
    file = tmp_path / "luet.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        client_settings.load(str(file), {}, Silent(), luet=luet)
    assert said in caught.value.message
    assert caught.value.where is not None
    assert (caught.value.where.file, caught.value.where.line) == (str(file), line)


def test_a_repository_file_that_is_wrong_is_the_one_named(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/one.yaml").write_text("name: b\ntype: http\nurls: [http://x]\npriority: x\n")
    (tmp_path / "luet.yaml").write_text(f"repos_confdir: [{tmp_path}/conf]\n")
    with pytest.raises(ConfigError) as caught:
        client_settings.load(str(tmp_path / "luet.yaml"), {}, Silent(), luet=True)
    assert caught.value.where is not None
    assert (Path(caught.value.where.file).name, caught.value.where.line) == ("one.yaml", 4)


def test_an_environment_that_is_no_number_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "luet.yaml").write_text("{}\n")
    monkeypatch.setenv("LUET_GENERAL__CONCURRENCY", "x")
    with pytest.raises(ConfigError, match="LUET_GENERAL__CONCURRENCY is 'x'"):
        client_settings.load(str(tmp_path / "luet.yaml"), {}, Silent(), luet=True)


@pytest.mark.parametrize("name", ["n", "y", "no", "on", "true"])
def test_a_text_is_a_text_where_one_is_wanted(tmp_path: Path, name: str) -> None:
    (tmp_path / "conf").mkdir()
    body = f"name: {name}\n{{0}}type: http\n{{0}}enable: yes\n{{0}}urls: [http://x]\n"
    (tmp_path / "conf/one.yaml").write_text(body.format(""))
    file = tmp_path / "luet.yaml"
    file.write_text(
        f"repos_confdir: [{tmp_path}/conf]\nrepositories:\n- {body.format('  ')}"
        f"finalizer_envs: [{{key: a, value: {name}}}, {{key: b}}]\n"
    )
    found = client_settings.load(str(file), {}, Silent(), luet=True)
    assert [(item.name, item.enabled) for item in found.repositories] == [(name, True)] * 2
    assert found.finalizer_envs == (("a", name), ("b", ""))
    assert [item.name for item in settings.load(str(file), Silent()).repositories] == [name] * 2


def test_every_key_that_the_client_has_is_known() -> None:
    known = sections()
    for name, value in client_settings.DEFAULTS.items():
        assert name in known[""]
        if isinstance(value, dict):
            assert set(value) <= known[name]


class Kept:
    """Keeps events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)
