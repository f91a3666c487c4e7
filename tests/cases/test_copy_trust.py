"""`repo copy` brings signatures of images and channels along; nothing deletes what a channel leads to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.registries import own_registry
from tests.trees import Project, Result, requires
from treebuilder.oci.remote import Repository
from treebuilder.system.process import Cancel

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("no_logins")]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.base()
    for name in ("one", "two"):
        assert made.run("key", "new", str(tmp_path / name)).code == 0
    return made


def said(done: Result) -> Result:
    assert done.code == 0, done.stderr
    return done


def package(project: Project, version: str) -> None:
    folder = project.package(
        "t/app", requires("seed/base") + f"package_dir: /out\nsteps:\n- mkdir /out; echo {version} > /out/app\n"
    )
    (folder / "definition.yaml").write_text(json.dumps({"category": "t", "name": "app", "version": version}))
    said(project.building("t/app"))


def publish(project: Project, where: str, *words: str) -> Result:
    docker = ["--type", "docker", "--push-images"] if ":" in where else []
    return said(project.run(
        "create-repo", "--tree", "packages", "--packages", "build", "--output", where, "--name", "os", *docker, *words
    ))  # fmt: skip


def copy(project: Project, source: str, to: str, *words: str, cache: str = "mirror") -> Result:
    project.cache = cache
    done = said(project.run("repo", "copy", source, to, *words))
    project.cache = "cache"
    return done


def verify(project: Project, reference: str, key: str) -> Result:
    return project.run("key", "verify", "--key", str(project.top / f"{key}.pub"), reference)


def test_signatures_go_with_their_images(address: str, project: Project) -> None:
    source, to = f"{address}/team/os", f"{address}/mirror/os"
    package(project, "1.0")
    publish(project, source, "--sign", str(project.top / "one"))
    done = copy(project, source, to)
    assert done.value["copied"]["changed"] is True
    for tag in ("app-t-1.0", "repository.yaml"):
        found = said(verify(project, f"{to}:{tag}", "one"))
        assert {each["form"] for each in found.value["signatures"]} == {"tag", "bundle"}
        assert all(each["fault"] == "" for each in found.value["signatures"])
    places = [Repository(address, name, True, Cancel()) for name in ("team/os", "mirror/os")]
    for tag in ("app-t-1.0", "repository.yaml", "tree.tar.gz"):
        assert places[0].digest_of(tag) == places[1].digest_of(tag), "the same image, and not one like it"
    again = copy(project, source, to, cache="other")
    assert (again.value["copied"]["changed"], again.value["copied"]["bytes"]) == (False, 0)
    # A second key signs what is there; that is all that comes then.
    publish(project, source, "--sign", str(project.top / "one"), "--sign", str(project.top / "two"))
    assert verify(project, f"{to}:app-t-1.0", "two").code == 2
    assert copy(project, source, to).value["copied"]["changed"] is True
    for tag in ("app-t-1.0", "repository.yaml"):
        for key in ("one", "two"):
            said(verify(project, f"{to}:{tag}", key))


def test_a_tag_that_leads_elsewhere_is_not_carried(address: str, project: Project) -> None:
    """What is carried is what the index promises, whatever somebody put under the package's tag."""
    source, to = f"{address}/team/os", f"{address}/mirror/os"
    package(project, "1.0")
    publish(project, source, "--sign", str(project.top / "one"))
    place = Repository(address, "team/os", True, Cancel())
    other = place.manifest_bytes("tree.tar.gz", None)
    place.put_manifest("app-t-1.0", other, "application/vnd.oci.image.manifest.v1+json")
    copy(project, source, to)
    mirror = Repository(address, "mirror/os", True, Cancel())
    assert mirror.digest_of("app-t-1.0") not in (None, place.digest_of("app-t-1.0"))
    said(copy(project, to, str(project.top / "folder")))
    assert (project.top / "folder/repository.yaml").is_file()


# channels ------------------------------------------------------------------------------------------------------------
def channel(project: Project, where: str, snapshot: str, name: str = "stable") -> None:
    said(project.run(
        "channel", "publish", name, "--repository", where, "--snapshot", snapshot, "--package", "t/app",
        "--sign", str(project.top / "one"),
    ))  # fmt: skip


def three(project: Project, where: str) -> None:
    """Snapshots 1, 2 and 3, each with a version of its own, and a channel that leads to the first."""
    for number in "123":
        package(project, f"{number}.0")
        publish(project, where, "--snapshot-id", number)
        if number == "1":
            channel(project, where, "1")


@pytest.mark.parametrize("through", ["folder", "bundle", "registry"])
def test_channels_are_copied(address: str, project: Project, through: str) -> None:
    three(project, "build")
    document = (project.build / "channel-stable.json").read_bytes()
    (project.build / "channel-broken.json").write_text("{}")
    middle = {"folder": "mirror1", "bundle": "mirror1.tar", "registry": f"{address}/mirror/os"}[through]
    done = copy(project, "build", middle)
    assert done.value["copied"]["channels"] == ["channel-stable.json"]
    assert "channel-broken.json" in done.stderr
    assert copy(project, "build", middle).value["copied"]["changed"] is False
    last = copy(project, middle, "end", cache="other")
    assert last.value["copied"]["channels"] == ["channel-stable.json"]
    assert (project.top / "end/channel-stable.json").read_bytes() == document
    channel(project, "build", "2")
    assert copy(project, "build", middle).value["copied"]["changed"] is True
    copy(project, middle, "end")
    assert (project.top / "end/channel-stable.json").read_bytes() == (
        project.build / "channel-stable.json"
    ).read_bytes()


def test_an_older_channel_does_not_replace_a_newer_one(address: str, project: Project) -> None:
    """Somebody published at the mirror itself, or copies from an old bundle."""
    three(project, "build")
    copy(project, "build", "old.tar")
    channel(project, "build", "2")
    document = (project.build / "channel-stable.json").read_bytes()
    for to in ("folder", f"{address}/mirror/os"):
        copy(project, "build", to)
        done = copy(project, "old.tar", to)
        assert done.value["copied"]["channels"] == []
        assert "channel-stable.json is of revision" in done.stderr
        copy(project, to, "back.tar")
        copy(project, "back.tar", "back")
        assert (project.top / "back/channel-stable.json").read_bytes() == document
        (project.top / "back.tar").unlink()
    (project.top / "back/channel-stable.json").write_text("{}")
    assert copy(project, "old.tar", "back").value["copied"]["channels"] == ["channel-stable.json"], (
        "what is broken goes"
    )


def test_a_channel_without_its_snapshot_is_not_copied(project: Project) -> None:
    three(project, "build")
    done = copy(project, "build", "alone", "--snapshot", "2")
    assert done.value["copied"]["channels"] == []
    assert not (project.top / "alone/channel-stable.json").exists()


def test_prune_keeps_what_a_channel_leads_to(project: Project) -> None:
    three(project, "build")
    publish(project, "build", "--prune", "1")
    kept = {path.name for path in project.build.iterdir()}
    assert {"1-repository.yaml", "3-repository.yaml", "channel-stable.json", "app-t-1.0.package.tar.zst"} <= kept
    assert not {"2-repository.yaml", "app-t-2.0.package.tar.zst"} & kept
    channel(project, "build", "3")
    found = said(project.run("repo", "gc", "build", "--keep", "1", "--yes"))
    assert any(name.endswith("1-repository.yaml") for name in found.value["collected"]["unreached"])
    assert not (project.build / "app-t-1.0.package.tar.zst").exists()


def test_nothing_is_deleted_beside_a_channel_that_cannot_be_read(project: Project) -> None:
    three(project, "build")
    (project.build / "channel-stable.json").write_text("{}")
    before = {path.name for path in project.build.iterdir()}
    found = project.run("repo", "gc", "build", "--keep", "0", "--yes")
    assert (found.code, found.value["error"]["reason"]) == (2, "bad-channel")
    assert {path.name for path in project.build.iterdir()} == before


def test_gc_of_a_registry_keeps_channels_and_where_they_lead(project: Project, tmp_path: Path) -> None:
    with own_registry(tmp_path / "registry") as address:
        where = f"{address}/team/os"
        three(project, "build")
        copy(project, "build", where)
        found = said(project.run("repo", "gc", where, "--keep", "1", "--yes"))
        gone = set(found.value["collected"]["unreached"])
        assert "2-repository.yaml" in gone
        assert "app-t-2.0" in gone
        place = Repository(address, "team/os", True, Cancel())
        left = set(place.tags())
        assert {"channel-stable.json", "1-repository.yaml", "app-t-1.0", "3-repository.yaml"} <= left
