"""The build cache asks what a registry has by one list of its tags, which is believed in what it lacks and no more."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.registries import served
from tests.sites import Counted, hand_back, hand_on
from tests.trees import Project, Result, requires
from treebuilder.build import shared_listing
from treebuilder.serve.exchange import Exchange
from treebuilder.serve.server import Listening, serving

pytestmark = pytest.mark.engine
_ASKED = 3
_RECORDS = ("manifests/artifact-", "manifests/node-")


class Relay:
    """Hands requests to read on to a registry, and remembers them. `change` is given each list of tags.

    `patient`: when so much was not there that the tags are asked for, what else is not there is said after them.
    """

    def __init__(self, registry: str) -> None:
        self.registry = registry
        self.asked: list[tuple[str, int]] = []
        self.change: Callable[[list[str]], tuple[int, list[str]]] = lambda tags: (200, tags)
        self.patient = False
        self._listed = threading.Event()

    def answer(self, exchange: Exchange) -> None:
        status, head, data = hand_on(exchange, self.registry)
        if exchange.path.endswith("/tags/list"):
            status, tags = self.change(json.loads(data)["tags"])
            data = json.dumps({"name": "x", "tags": tags}).encode()
            head["Content-Length"] = str(len(data))
            self._listed.set()
        elif self.patient and status == 404 and self.count(404, *_RECORDS) >= _ASKED:
            assert self._listed.wait(60), "nobody asks for a list"
        self.asked.append((exchange.path.partition("/cache/x/")[2], status))
        hand_back(exchange, status, head, data)

    def count(self, status: int, *kinds: str) -> int:
        return sum(code == status and path.startswith(kinds) for path, code in self.asked)


@contextmanager
def relay(registry: str) -> Iterator[tuple[Relay, str]]:
    site = Relay(registry)
    with serving(site, Listening("127.0.0.1", 0)) as found:
        yield site, found


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_listing, "_ASKED", _ASKED)


def make(top: Path, names: list[str]) -> Project:
    top.mkdir()
    project = Project(top)
    project.base()
    for name in names:
        project.package(f"t/{name}", requires("seed/base") + f"steps:\n- echo {name} > /{name}\n")
    return project


def build(project: Project, where: str, *words: str) -> Result:
    return project.run("build", "--tree", "packages", "--image-repository", f"{where}/cache/x", "--all", *words)


def states(result: Result) -> dict[str, str]:
    assert result.code == 0, result.stderr
    return {node["name"]: node["state"] for node in result.value["nodes"]}


OLD = ["one", "two", "three"]
NEW = [f"new{number}" for number in range(5)]


def test_what_is_not_there_is_not_asked_for(address: str, tmp_path: Path) -> None:
    states(build(make(tmp_path / "a", OLD), address, "--push"))
    new = [f"new{number}" for number in range(30)]
    with relay(address) as (site, found):
        site.patient = True
        done = states(build(make(tmp_path / "b", OLD + new), found, "--pull"))
    assert {name for name, state in done.items() if state == "pulled"} >= set(OLD)
    assert {done[name] for name in new} == {"built"}
    assert site.count(200, "tags/list") == 1
    # a record and a node of each would be; some are asked for beside each other, before the list is there
    assert _ASKED <= site.count(404, *_RECORDS) <= len(new)
    assert site.count(404, "manifests/build-") <= len(new), "what is to be built is asked for freshly"


def test_what_was_pushed_after_the_list_is_not_built(address: str, tmp_path: Path) -> None:
    states(build(make(tmp_path / "a", OLD + NEW), address, "--push"))
    with relay(address) as (site, found):
        site.change = lambda tags: (200, ["node-of-a-list-that-is-old"])
        project = make(tmp_path / "b", ["x", "y", "z", *OLD, *NEW])
        done = states(build(project, found, "--pull"))
        assert site.count(200, "tags/list") == 1
    assert "built" not in {done[name] for name in OLD + NEW}


def test_what_is_listed_and_gone_is_built(address: str, tmp_path: Path) -> None:
    with relay(address) as (site, found):
        states(build(make(tmp_path / "a", ["seed"]), address, "--push"))
        project = make(tmp_path / "b", OLD + NEW)
        keys: list[str] = []
        site.change = lambda tags: (200, tags + keys)
        states(build(project, found, "--pull"))
        keys = [path.partition("/")[2] for path, _ in site.asked if path.startswith("manifests/")]
        assert len(keys) > len(OLD + NEW)
        done = states(build(make(tmp_path / "c", OLD + NEW), found, "--pull"))
        assert {done[name] for name in OLD + NEW} == {"built"}
    assert site.count(200, "tags/list") == 2


def test_a_push_of_what_is_there_asks_for_each_tag_once(tmp_path: Path) -> None:
    with served(tmp_path / "registry", Counted) as (site, found):
        project = make(tmp_path / "a", OLD)
        for _ in range(2):  # the second one compares what is there with what is here, once
            states(build(project, found, "--push"))
        site.asked.clear()
        states(build(project, found, "--push"))
        tags = [path for path in site.asked if "/manifests/" in path]
        assert len(tags) == len(set(tags)) == 3 * (len(OLD) + 1), "a node, what it was built from, its package"
        assert len(site.asked) == len(tags)


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_registry_without_lists_is_asked(address: str, tmp_path: Path, status: int) -> None:
    states(build(make(tmp_path / "a", OLD + NEW), address, "--push"))
    with relay(address) as (site, found):
        site.change = lambda tags: (status, [])
        done = states(build(make(tmp_path / "b", ["x", "y", *OLD, *NEW]), found, "--pull"))
    assert {done[name] for name in OLD + NEW} == {"pulled"}
    assert site.count(status, "tags/list") == 1
