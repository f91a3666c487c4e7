"""The build cache in a registry: a second machine builds nothing that anybody has pushed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.registries import own_registry, stored
from tests.trees import Project, Result, requires
from treebuilder.app.options import BuildOptions
from treebuilder.app.settings import Settings
from treebuilder.app.sharing import opened
from treebuilder.app.workspace import opened as workspace
from treebuilder.build import shared
from treebuilder.events import Recorder
from treebuilder.serve.exchange import Exchange
from treebuilder.serve.server import Listening, serving
from treebuilder.serve.storage import Storage
from treebuilder.system.process import Cancel

pytestmark = pytest.mark.engine


def make(top: Path) -> Project:
    top.mkdir(exist_ok=True)
    project = Project(top)
    project.base()
    project.package("t/lib", requires("seed/base") + "steps:\n- mkdir /lib2; echo lib > /lib2/a; ln /lib2/a /lib2/b\n")
    project.package("t/app", requires("t/lib") + "prelude:\n- echo p > /p\nsteps:\n- cat /lib2/a /p > /app\n")
    project.package("t/root", requires("seed/base") + "unpack: true\n")
    joined = "requires_final_images: true\n" + requires("t/root", "t/lib", "t/app")
    project.package("t/all", joined + "steps:\n- ls / > /list\nunpack: true\n")
    return project


def build(project: Project, address: str, *words: str) -> Result:
    named = ["--image-repository", f"{address}/cache/x", *words]
    return project.run("build", "--tree", "packages", "--destination", "build", *named)


def states(result: Result) -> dict[str, str]:
    assert result.code == 0, result.stderr
    return {node["name"]: node["state"] for node in result.value["nodes"]}


def packages(project: Project) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(project.build.glob("*"))}


def test_nothing_is_built_twice(address: str, tmp_path: Path) -> None:
    one = make(tmp_path / "one")
    assert set(states(build(one, address, "--push", "t/all")).values()) == {"built"}
    two = make(tmp_path / "two")
    found = states(build(two, address, "--pull", "t/all"))
    assert found == {"all": "pulled", **{name: found[name] for name in found if name != "all"}}
    assert "built" not in found.values()
    assert packages(two)["all-t-1.0.package.tar.zst"] == packages(one)["all-t-1.0.package.tar.zst"]
    assert packages(two)["all-t-1.0.metadata.yaml"] == packages(one)["all-t-1.0.metadata.yaml"]
    assert not any((two.top / "cache/trees/host/sha256").iterdir()), "a layer was fetched that nobody needs"


def test_layers_come_when_something_is_built_on_them(address: str, tmp_path: Path) -> None:
    one = make(tmp_path / "one")
    states(build(one, address, "--push", "t/app"))
    two = make(tmp_path / "two")
    two.package("t/new", requires("t/app") + "steps:\n- cat /app > /new\n")
    found = states(build(two, address, "--pull", "t/new"))
    assert found == {"base": "pulled", "lib": "pulled", "app": "pulled", "new": "built"} | {
        name: state for name, state in found.items() if name in ("base", "lib") and state == "cached"
    }
    assert two.text("new-t-1.0", "new") == "lib\np\n"
    one.package("t/new", requires("t/app") + "steps:\n- cat /app > /new\n")
    assert one.building("t/new").code == 0
    assert packages(one)["new-t-1.0.package.tar.zst"] == packages(two)["new-t-1.0.package.tar.zst"]


def test_a_second_push_sends_nothing_and_a_cached_build_is_pushed(address: str, tmp_path: Path) -> None:
    one = make(tmp_path / "one")
    assert one.building("t/all").code == 0
    assert "built" not in states(build(one, address, "--push", "t/all")).values()
    states(build(one, address, "--push", "t/all"))
    two = make(tmp_path / "two")
    assert "built" not in states(build(two, address, "--pull", "t/all")).values()


SAME = requires("seed/base") + "steps:\n- mkdir /lib2; echo lib > /lib2/a; true; ln /lib2/a /lib2/b\n"


def test_what_comes_to_the_same_inputs_is_not_built(address: str, tmp_path: Path) -> None:
    """The early cut-off: t/lib is built by other steps and comes out the same, so t/app is what somebody pushed."""
    one = make(tmp_path / "one")
    states(build(one, address, "--push", "t/app"))
    two = make(tmp_path / "two")
    two.package("t/lib", SAME)
    done = build(two, address, "--pull", "--push", "t/app")
    assert {name: state for name, state in states(done).items() if name != "base"} == {"lib": "built", "app": "cached"}
    assert "early cut-off" in next(node["reason"] for node in done.value["nodes"] if node["name"] == "app")
    assert packages(two)["app-t-1.0.package.tar.zst"] == packages(one)["app-t-1.0.package.tar.zst"]
    three = make(tmp_path / "three")
    three.package("t/lib", SAME)
    three.package("t/more", requires("t/app") + "steps:\n- cat /app > /more\n")
    found = states(build(three, address, "--pull", "t/more"))
    assert (found["app"], found["more"]) == ("pulled", "built"), "it lies under the new plan key too"


RANDOM = requires("seed/base") + "steps:\n- cat /proc/sys/kernel/random/uuid > /random\n"


def refused(result: Result) -> str:
    assert result.code != 0
    return next(str(node["reason"]) for node in result.value["nodes"] if node["state"] == "failed")


@pytest.mark.parametrize("words", [(), ("--pull",)])
def test_what_was_pulled_and_comes_out_otherwise_is_said(tmp_path: Path, words: tuple[str, ...]) -> None:
    with own_registry(tmp_path / "registry") as address:
        one, two = make(tmp_path / "one"), make(tmp_path / "two")
        for project in (one, two):
            project.package("t/new", RANDOM)
        states(build(one, address, "--push", "t/new"))
        assert states(build(two, address, "--pull", "t/new"))["new"] == "pulled"
        done = build(two, address, "--rebuild", *words, "t/new")
        assert "the same inputs gave another" in refused(done)
        assert states(build(two, address, "t/new"))["new"] == "cached"
        assert packages(two)["new-t-1.0.package.tar.zst"] == packages(one)["new-t-1.0.package.tar.zst"]


@pytest.mark.parametrize("kind", ["registry", "folder"])
def test_what_comes_out_otherwise_is_not_pushed(tmp_path: Path, kind: str) -> None:
    """A result that was pushed stays, and whoever comes to another one is told so."""
    with own_registry(tmp_path / "registry") as address:
        to = ("--push", "--image-repository", f"{address}/cache/x")
        words = to if kind == "registry" else ("--cache-to", str(tmp_path / "shared"))
        one, two, three = make(tmp_path / "one"), make(tmp_path / "two"), make(tmp_path / "three")
        for project in (one, two, three):
            project.package("t/new", RANDOM)
        states(in_folder(one, *words, "t/new"))
        for _ in range(2):
            done = in_folder(two, *words, "t/new")
            assert (done.code, done.value["error"]["reason"]) == (2, "not-reproducible")
            assert "t/new-1.0" in done.value["error"]["message"]
        states(in_folder(one, *words, "t/new"))
        pull = ("--pull", *to[1:]) if kind == "registry" else ("--cache-from", str(tmp_path / "shared"))
        assert states(in_folder(three, *pull, "t/new"))["new"] == "pulled"
        assert packages(three) == packages(one) | {
            name: data for name, data in packages(three).items() if "base" in name
        }


@pytest.mark.parametrize("first", [("--cache-to",), ("--cache-from", "--cache-to")])
def test_a_damaged_folder_is_mended(tmp_path: Path, first: tuple[str, ...]) -> None:
    cache = tmp_path / "cache"
    one = make(tmp_path / "one")
    states(in_folder(one, "--cache-to", str(cache), "t/app"))
    for path in (cache / "blobs/sha256").iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    fresh = one if len(first) == 1 else make(tmp_path / "two")
    states(in_folder(fresh, *(word for flag in first for word in (flag, str(cache))), "t/app"))
    three = make(tmp_path / "three")
    assert "built" not in states(in_folder(three, "--cache-from", str(cache), "t/app")).values()
    assert packages(three)["app-t-1.0.package.tar.zst"] == packages(one)["app-t-1.0.package.tar.zst"]


def _damage_layers(registry: Path) -> None:
    for path in (registry / "blobs/sha256").iterdir():
        data = path.read_bytes()
        if not data.startswith(b"{"):
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def test_what_is_damaged_in_a_registrys_folder_is_mended(tmp_path: Path) -> None:
    with own_registry(tmp_path / "registry") as address:
        one = make(tmp_path / "one")
        states(build(one, address, "--push", "t/app"))
        _damage_layers(tmp_path / "registry")
        two = make(tmp_path / "two")
        assert states(build(two, address, "--pull", "--push", "t/app"))["app"] == "built"
        three = make(tmp_path / "three")
        done = build(three, address, "--pull", "t/app")
        assert (states(done)["app"], done.value["warnings"]) == ("pulled", [])


def other_inputs(config: dict[str, Any], value: dict[str, Any]) -> None:
    config["inputs"][1] = "0" * 64


def other_key(config: dict[str, Any], value: dict[str, Any]) -> None:
    config["result"]["build_key"] = "0" * 64


def no_inputs(config: dict[str, Any], value: dict[str, Any]) -> None:
    del config["inputs"]


@pytest.mark.parametrize("change", [other_inputs, other_key, no_inputs])
def test_a_record_of_other_inputs_is_not_used(tmp_path: Path, change: Any) -> None:
    with stored(tmp_path / "registry") as (storage, address):
        one = make(tmp_path / "one")
        states(build(one, address, "--push", "t/app"))
        assert _edit(storage, "build-", change) == 3
        two = make(tmp_path / "two")
        two.package("t/lib", SAME)
        done = build(two, address, "--pull", "t/app")
        assert states(done)["app"] == "built"
        assert any("is not used" in warning["message"] for warning in done.value["warnings"])


def _edit(storage: Storage, prefix: str, change: Any) -> int:
    """Changes the configs of records as somebody with access to the registry could."""
    from treebuilder.serve.manifests import MANIFEST, parse
    from treebuilder.serve.names import digest_of

    changed = 0
    for tag in storage.tags("cache/x"):
        if not tag.startswith(prefix):
            continue
        found = storage.manifest("cache/x", tag)
        assert found is not None
        value = json.loads(storage.path(found.digest).read_bytes())
        config = json.loads(storage.path(value["config"]["digest"]).read_bytes())
        change(config, value)
        data = json.dumps(config).encode()
        storage.add_bytes("cache/x", data, digest_of(data))
        value["config"] |= {"digest": digest_of(data), "size": len(data)}
        made = json.dumps(value).encode()
        storage.put_manifest("cache/x", parse(made, MANIFEST, digest_of(made)).manifest, made, [tag])
        changed += 1
    return changed


def other_document(config: dict[str, Any], value: dict[str, Any]) -> None:
    config["document"] = config["document"].replace('"epoch":', '"Epoch":')


def no_document(config: dict[str, Any], value: dict[str, Any]) -> None:
    del config["document"]


def no_result(config: dict[str, Any], value: dict[str, Any]) -> None:
    config["result"] = config["packages"] = 3


def no_layers(config: dict[str, Any], value: dict[str, Any]) -> None:
    value["layers"] = []
    config.pop("files", None)


@pytest.mark.parametrize("change", [other_document, no_document, no_result, no_layers])
def test_a_record_that_is_not_what_it_says_is_not_used(tmp_path: Path, change: Any) -> None:
    with stored(tmp_path / "registry") as (storage, address):
        one = make(tmp_path / "one")
        states(build(one, address, "--push", "t/app"))
        assert _edit(storage, "artifact-", change) == 3
        assert _edit(storage, "node-", change) == 3
        assert _edit(storage, "build-", no_inputs) == 3
        two = make(tmp_path / "two")
        done = build(two, address, "--pull", "t/app")
        assert states(done)["app"] == "built"
        assert packages(two)["app-t-1.0.package.tar.zst"] == packages(one)["app-t-1.0.package.tar.zst"]


def test_other_bytes_are_not_used(tmp_path: Path) -> None:
    with own_registry(tmp_path / "registry") as address:
        one = make(tmp_path / "one")
        states(build(one, address, "--push", "t/app"))
        _damage_layers(tmp_path / "registry")
        two = make(tmp_path / "two")
        done = build(two, address, "--pull", "t/app")
        assert states(done)["app"] == "built"
        assert any("reads as sha256" in warning["message"] for warning in done.value["warnings"])
        assert packages(two)["app-t-1.0.package.tar.zst"] == packages(one)["app-t-1.0.package.tar.zst"]


def test_no_registry_is_an_error(tmp_path: Path) -> None:
    project = make(tmp_path / "one")
    for words in (("--pull",), ("--push",), ("--push", "--pull-repository", "127.0.0.1:1/x")):
        done = project.run("build", "--tree", "packages", "t/app", *words)
        assert done.code == 1
        assert "--image-repository" in done.stderr
    done = project.run("build", "--tree", "packages", "t/app", "--push", "--image-repository", "127.0.0.1:1/x")
    assert done.code == 2
    assert "127.0.0.1:1/x" in done.stderr


def test_a_cache_is_named_without_a_tag(tmp_path: Path) -> None:
    project = make(tmp_path / "one")
    for flag in ("--pull", "--push"):
        done = project.run("build", "--tree", "packages", "t/app", flag, "--image-repository", "127.0.0.1:1/x:tag")
        assert (done.code, "without tag" in done.stderr) == (1, True)


def test_what_a_registry_that_is_away_has_is_built(tmp_path: Path) -> None:
    project = make(tmp_path / "one")
    done = project.run("build", "--tree", "packages", "t/app", "--pull", "--image-repository", "127.0.0.1:1/x")
    assert states(done)["app"] == "built"
    assert [warning["message"].split(" is ")[0] for warning in done.value["warnings"]] == ["127.0.0.1:1/x"]


@pytest.mark.parametrize("target", ["t/app", "t/more"])
def test_what_a_registry_has_lost_is_built(tmp_path: Path, target: str) -> None:
    with own_registry(tmp_path / "registry") as address:
        one = make(tmp_path / "one")
        states(build(one, address, "--push", "t/app"))
        for path in (tmp_path / "registry/blobs/sha256").iterdir():
            if not path.read_bytes().startswith(b"{"):
                path.unlink()
        two = make(tmp_path / "two")
        two.package("t/more", requires("t/app") + "steps:\n- cat /app > /more\n")
        done = build(two, address, "--pull", target)
        assert states(done)["app"] == "built"
        assert len([w for w in done.value["warnings"] if "is not asked any more" in w["message"]]) == 1
        assert packages(two)["app-t-1.0.package.tar.zst"] == packages(one)["app-t-1.0.package.tar.zst"]


def in_folder(project: Project, *words: str) -> Result:
    return project.run("build", "--tree", "packages", "--destination", "build", *words)


def test_a_folder_holds_a_cache(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    one = make(tmp_path / "one")
    first = in_folder(one, "--cache-from", str(cache), "--cache-to", str(cache), "t/all")
    assert states(first)["all"] == "built"
    assert "there is no folder" in first.value["warnings"][0]["message"]
    index = json.loads((cache / "index.json").read_bytes())
    for item in index["manifests"]:
        data = (cache / "blobs/sha256" / item["digest"].removeprefix("sha256:")).read_bytes()
        assert len(data) == item["size"]
    two = make(tmp_path / "two")
    done = in_folder(two, "--cache-from", str(cache), "t/all")
    assert "built" not in states(done).values()
    assert packages(two) == packages(one)
    two.package("t/more", requires("t/app") + "steps:\n- cat /app > /more\n")
    more = in_folder(two, "--cache-from", str(cache), "--cache-to", str(cache), "t/more")
    assert [name for name, state in states(more).items() if state == "built"] == ["more"]
    assert len(json.loads((cache / "index.json").read_bytes())["manifests"]) == len(index["manifests"]) + 3
    assert not [path for path in (cache / "blobs/sha256").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", ["index.json", "passwd", ".bashrc"])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, name: str) -> None:
    project, other = make(tmp_path / "one"), tmp_path / "other"
    other.mkdir()
    (other / name).write_text('{"my": "site"}')
    done = in_folder(project, "--cache-to", str(other), "t/app")
    assert (done.code, "nothing is written there" in done.stderr) == (1, True), done.stderr
    assert [(path.name, path.read_text()) for path in other.iterdir()] == [(name, '{"my": "site"}')]
    (other / name).unlink()
    (other / "blobs/sha256").mkdir(parents=True)  # as a run leaves it that was killed at once
    states(in_folder(project, "--cache-to", str(other), "t/app"))


def test_a_damaged_folder_gives_nothing_wrong(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    one = make(tmp_path / "one")
    states(in_folder(one, "--cache-to", str(cache), "t/app"))
    for path in (cache / "blobs/sha256").iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    two = make(tmp_path / "two")
    done = in_folder(two, "--cache-from", str(cache), "t/app")
    assert states(done)["app"] == "built"
    assert "is not what its name promises" in done.stderr
    assert packages(two)["app-t-1.0.package.tar.zst"] == packages(one)["app-t-1.0.package.tar.zst"]
    (cache / "index.json").write_text("[")
    three = make(tmp_path / "three")
    done = in_folder(three, "--cache-from", str(cache), "t/app")
    assert states(done)["app"] == "built"
    assert len([warning for warning in done.value["warnings"] if "index.json" in warning["message"]]) == 1
    assert in_folder(three, "--cache-to", str(cache), "t/app").code == 2, "nothing is written over it"


def test_an_insecure_registry_is_meant_with_all_its_ports(tmp_path: Path) -> None:
    options = BuildOptions((), insecure_registries=("a.example", "b.example:5000"))
    with workspace(Settings(), str(tmp_path), Recorder(), Cancel()) as work:
        places = [opened(f"{host}/x", options, work) for host in ("a.example:5000", "b.example:5000", "b.example:5001")]
    assert [place._url.partition(":")[0] for place in places] == ["http", "http", "https"]


def test_a_place_that_has_no_records_is_soon_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that answers everything with a page: not one warning for each address."""

    class Pages:
        asked = 0

        def answer(self, exchange: Exchange) -> None:
            self.asked += 1
            exchange.bytes(200, b"<html>Welcome!</html>", "text/html")

    monkeypatch.setattr(shared, "_MOST_BROKEN", 3)
    site = Pages()
    with serving(site, Listening("127.0.0.1", 0)) as address:
        done = build(make(tmp_path / "one"), address, "--pull", "t/all")
    assert states(done)["app"] == "built"
    said = [warning["message"] for warning in done.value["warnings"]]
    assert len(said) == 4
    assert "is not asked any more" in said[-1]
    assert "3 of its records are not what they should be" in said[-1]
    assert site.asked <= 5
