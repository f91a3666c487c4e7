"""A build cache that is far away: what a build needs of it is asked for at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.registries import served
from tests.sites import Slow
from tests.trees import Project, Result, requires
from treebuilder.oci.remote import Repository
from treebuilder.system.process import Cancel

pytestmark = pytest.mark.engine


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[tuple[Slow, str]]:
    with served(tmp_path / "registry", Slow) as (site, address):
        yield site, address


def make(top: Path) -> Project:
    top.mkdir()
    project = Project(top)
    project.base()
    for name in ("a", "b"):
        project.package(f"t/{name}", requires("seed/base") + f"steps:\n- echo {name} > /{name}\n")
    project.package("t/top", requires("t/a", "t/b") + "steps:\n- cat /a /b > /top\n")
    return project


def layers(address: str) -> set[str]:
    """The blobs that are layers of nodes."""
    place = Repository(address, "cache/x", True, Cancel())
    records = [place.manifest(tag, None)[1] for tag in place.tags() if tag.startswith("node-")]
    return {item["digest"] for one in records for item in one["layers"]}


def build(project: Project, address: str, *words: str) -> Result:
    named = ["--image-repository", f"{address}/cache/x", *words]
    return project.run("build", "--tree", "packages", "--destination", "build", *named)


@pytest.mark.parametrize("held", ["/manifests/artifact-", "/blobs/"])
def test_what_is_needed_is_asked_for_at_once(registry: tuple[Slow, str], tmp_path: Path, held: str) -> None:
    """Two of four records, and two archives or layers."""
    site, address = registry
    assert build(make(tmp_path / "one"), address, "--push", "t/top").code == 0
    site.hold(lambda path: held in path)
    done = build(make(tmp_path / "two"), address, "--pull", "t/top")
    assert done.code == 0, done.stderr
    assert done.value["counts"]["built"] == 0
    assert site.met
    assert len(site.asked) == 3 * 4, "a manifest, a record and an archive of each package"


def test_what_is_pushed_is_sent_at_once(registry: tuple[Slow, str], tmp_path: Path) -> None:
    """Nothing is asked for or sent twice, though all packages stand on the same layers."""
    site, address = registry
    one = make(tmp_path / "one")
    assert one.building("t/top").code == 0
    site.hold(lambda path: "/manifests/node-" in path)
    assert build(one, address, "--push", "t/top").code == 0
    assert site.met
    asked = Counter(line for line in site.asked if "/uploads/" not in line)
    assert {line: count for line, count in asked.items() if count > 1} == {}
    sent = [line for line in site.asked if line.startswith("PUT") and "/uploads/" in line]
    assert len(sent) == len([line for line in asked if line.startswith("HEAD") and "/blobs/" in line]) > 3


def test_layers_are_fetched_at_once(registry: tuple[Slow, str], tmp_path: Path) -> None:
    site, address = registry
    assert build(make(tmp_path / "one"), address, "--push", "t/top").code == 0
    two = make(tmp_path / "two")
    assert build(two, address, "--pull", "t/top").code == 0
    two.package("t/top", requires("t/a", "t/b") + "steps:\n- cat /b /a > /top\n")
    found = layers(address)
    site.hold(lambda path: path.rpartition("/")[2] in found)
    done = build(two, address, "--pull", "t/top")
    assert done.code == 0, done.stderr
    assert done.value["counts"]["built"] == 1
    assert site.met
