"""Repositories and final images in a registry, from the command line: published, installed, upgraded, run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import schemas, services
from tests.registries import own_registry
from tests.trees import Project, Result, requires
from treebuilder.model.digest import Digest
from treebuilder.oci.arriving import UNSEEN

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("no_logins")]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.base()
    made.package("t/root", requires("seed/base") + "unpack: true\nsteps:\n- echo hello > /hello\n")
    return made


def configure(project: Project, address: str, more: str = "trust: none") -> None:
    (project.top / ".luet.yaml").write_text(
        f"repositories:\n- {{name: os, type: docker, enable: true, urls: ['{address}/team/os'], {more}}}\n"
    )


def publish(project: Project, address: str, *words: str) -> Result:
    return project.run(
        "create-repo", "--tree", "packages", "--packages", "build", "--name", "os", "--type", "docker",
        "--output", f"{address}/team/os", *words,
    )  # fmt: skip


def change(project: Project, *words: str) -> Result:
    (project.top / "root").mkdir(exist_ok=True)
    project.cache = "client"
    done = project.run(*words, "--system-target", "root")
    project.cache = "cache"
    assert done.code == 0, done.stderr
    return done


def package(project: Project, version: str, text: str) -> None:
    folder = project.package(
        "t/app", requires("seed/base") + f"package_dir: /out\nsteps:\n- mkdir /out; echo {text} > /out/app\n"
    )
    (folder / "definition.yaml").write_text(json.dumps({"category": "t", "name": "app", "version": version}))


def test_published_installed_and_upgraded(address: str, project: Project) -> None:
    configure(project, address)
    package(project, "1.0+1", "one")
    assert project.building("t/app").code == 0
    first = publish(project, address, "--push-images")
    assert (first.code, first.value["changed"], first.value["pushed"]) == (0, True, 2), first.stderr  # with seed/base
    again = publish(project, address, "--push-images")
    assert (again.value["changed"], again.value["pushed"]) == (False, 0)
    change(project, "install", "t/app")
    assert (project.top / "root/app").read_text() == "one\n"
    package(project, "1.1", "two")
    assert project.building("t/app").code == 0
    assert publish(project, address, "--push-images", "--snapshot-id", "may").value["revision"] == 2
    change(project, "upgrade")
    assert (project.top / "root/app").read_text() == "two\n"


def test_nothing_is_sent_unless_told(address: str, project: Project) -> None:
    configure(project, address)
    package(project, "1.0", "one")
    assert project.building("t/app").code == 0
    prepared = publish(project, address)
    assert (prepared.code, prepared.value["pushed"]) == (0, 0)
    assert "--push-images" in prepared.stderr
    done = project.run("search", "app")
    assert done.value["error"]["reason"] == "no-repository"


def test_final_images(address: str, project: Project) -> None:
    words = ["--push-final-images", "--push-final-images-repository", f"{address}/team/images"]
    done = project.building("t/root", *words, "--cmd", "/bin/cat /hello")
    assert done.code == 0, done.stderr
    from treebuilder.oci.remote import Repository
    from treebuilder.system.process import Cancel

    place = Repository(address, "team/images", True, Cancel())
    runs = {}
    for name in ("base-seed-1.0", "root-t-1.0"):
        config = place.manifest(name, None)[1]["config"]
        file = place.blob(Digest.parse(config["digest"]), config["size"], project.top / name, UNSEEN)
        runs[name] = json.loads(file.read_bytes())["config"].get("Cmd")
    assert runs == {"base-seed-1.0": None, "root-t-1.0": ["/bin/cat", "/hello"]}
    assert {"root-t-1.0", "root-t-1.0.metadata.yaml"} <= set(place.tags())
    before = place.digest_of("root-t-1.0")
    where = f"{address}/team/images"
    assert [image["reference"] for image in done.value["images"]] == [f"{where}:base-seed-1.0", f"{where}:root-t-1.0"]
    assert done.value["images"][1]["digest"] == str(before)
    assert schemas.faults(done.value, schemas.load("build")) == []
    project.package("t/root", requires("seed/base") + "unpack: true\nsteps:\n- echo other > /hello\n")
    kept = project.building("t/root", *words)
    assert kept.code == 0, kept.stderr
    assert place.digest_of("root-t-1.0") == before
    assert kept.value["images"] == done.value["images"][:1]
    forced = project.building("t/root", *words, "--push-final-images-force")
    assert forced.code == 0, forced.stderr
    after = place.digest_of("root-t-1.0")
    assert forced.value["images"][1]["digest"] == str(after) != str(before)


@pytest.mark.docker
def test_docker_runs_a_final_image(tmp_path: Path, project: Project) -> None:
    import docker

    with own_registry(tmp_path / "registry") as address, services.docker_daemon() as url:
        words = ["--push-final-images", "--image-repository", f"{address}/team/images", "--cmd", "/bin/cat /hello"]
        done = project.building("t/root", *words)
        assert done.code == 0, done.stderr
        client = docker.DockerClient(base_url=url, version="auto")
        try:
            image = f"{address}/team/images:root-t-1.0"
            client.images.pull(image)
            assert client.containers.run(image, network_mode="none", remove=True) == b"hello\n"
            said: Any = client.containers.run(image, ["/bin/echo", "hi"], network_mode="none", remove=True)
            assert said == b"hi\n"
        finally:
            client.close()
