"""What only the Docker engine does: it tidies up after itself and others, and sends each layer once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.contract.lab import EPOCH_S, Recorder, add_layer, make_base
from treebuilder.engine import docker_base, factory
from treebuilder.engine.api import Job, RunOptions
from treebuilder.engine.docker import DockerEngine
from treebuilder.engine.docker_daemon import BOOT_LABEL, HOST_LABEL, LABEL, Daemon, made_by_the_dead, own_labels
from treebuilder.errors import BuildFailed, EngineUnavailable
from treebuilder.model.digest import Digest
from treebuilder.oci.store import Store
from treebuilder.system.process import Cancel

if TYPE_CHECKING:
    from docker import APIClient

pytestmark = [pytest.mark.engine, pytest.mark.docker]


@pytest.fixture
def api(docker_url: str) -> Iterator[APIClient]:
    import docker

    client = docker.APIClient(base_url=docker_url, version="auto")
    yield client
    client.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "store")
    yield made
    made.close()


def job(layers: tuple[Digest, ...], *commands: str) -> Job:
    return Job("docker", layers, commands, (), EPOCH_S, network=False)


def run(engine: DockerEngine, store: Store, wanted: Job, tmp_path: Path) -> Digest:
    return engine.run(wanted, store, RunOptions(tmp_path / "logs"), Recorder(), Cancel()).layer.content


def tags(api: APIClient) -> set[str]:
    return {str(tag) for image in api.images() for tag in image["RepoTags"] or []}


def sent(daemon: Daemon, sizes: list[int]) -> None:
    """Notes how many bytes each load sends."""
    load = daemon.load

    def counting(archive: Iterator[bytes]) -> None:
        def count() -> Iterator[bytes]:
            size = 0
            for data in archive:
                size += len(data)
                yield data
            sizes.append(size)

        load(count())

    daemon.load = counting  # type: ignore[method-assign]


def test_each_layer_is_sent_once(docker_url: str, store: Store, tmp_path: Path) -> None:
    engine = DockerEngine(docker_url)
    base = add_layer(store, make_base).content

    def big(folder: Path) -> None:
        (folder / "big").write_bytes(bytes(range(256)) * 20_000)
        (folder / "unique").write_text(str(tmp_path))

    layers: tuple[Digest, ...] = (base, add_layer(store, big, (base,)).content)
    daemon = engine._daemon()
    sizes: list[int] = []
    sent(daemon, sizes)
    layers += (run(engine, store, job(layers, "echo 1 > /one"), tmp_path),)
    layers += (run(engine, store, job(layers, "echo 2 > /two"), tmp_path),)
    run(engine, store, job(layers, "cat /big /one /two > /three"), tmp_path)
    run(engine, store, job(layers, "true"), tmp_path)
    engine.close()
    assert len(sizes) == 3
    assert sizes[0] > 5_000_000
    assert max(sizes[1:]) < 100_000


def test_a_base_that_vanishes_is_loaded_again(docker_url: str, api: APIClient, store: Store, tmp_path: Path) -> None:
    engine = DockerEngine(docker_url)
    base = add_layer(store, make_base).content
    run(engine, store, job((base,), "true"), tmp_path)
    with store.scratch() as work:
        tag = docker_base.base_image((base,), store, work).tag
    assert tag in tags(api)
    daemon = engine._daemon()
    create, calls = daemon.create, []

    def create_late(wish: object) -> str | None:
        calls.append(wish)
        if len(calls) == 1:
            api.remove_image(tag, force=True)
        return create(wish)  # type: ignore[arg-type]

    daemon.create = create_late  # type: ignore[method-assign]
    run(engine, store, job((base,), "echo x > /x"), tmp_path)
    assert len(calls) == 2
    engine.close()


def test_bases_that_a_run_did_not_use_are_forgotten(
    docker_url: str, api: APIClient, store: Store, tmp_path: Path
) -> None:
    base = add_layer(store, make_base).content
    other = add_layer(store, lambda folder: (folder / "other").mkdir(), (base,)).content
    first = DockerEngine(docker_url)
    run(first, store, job((base,), "true"), tmp_path)
    run(first, store, job((base, other), "true"), tmp_path)
    first.close()
    with store.scratch() as work:
        kept = docker_base.base_image((base,), store, work).tag
    with store.scratch() as work:
        gone = docker_base.base_image((base, other), store, work).tag
    assert {kept, gone} <= tags(api)
    idle = DockerEngine(docker_url)
    assert idle.probe().usable
    idle.close()
    assert {kept, gone} <= tags(api)
    second = DockerEngine(docker_url)
    run(second, store, job((base,), "true"), tmp_path)
    second.close()
    assert kept in tags(api)
    assert gone not in tags(api)


def test_leftovers_of_killed_runs_are_removed(docker_url: str, api: APIClient, store: Store, tmp_path: Path) -> None:
    engine = DockerEngine(docker_url)
    base = add_layer(store, make_base).content
    run(engine, store, job((base,), "true"), tmp_path)
    with store.scratch() as work:
        tag = docker_base.base_image((base,), store, work).tag
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead = {**own_labels(), LABEL: str(ended.pid)}
    elsewhere = {**dead, HOST_LABEL: "another-machine"}
    made = {}
    for name, labels in {"dead": dead, "living": own_labels(), "elsewhere": elsewhere}.items():
        made[name] = str(api.create_container(tag, ["/bin/sleep", "100"], labels=labels)["Id"])
    api.start(made["dead"])
    api.commit(made["dead"], "treebuild-result", "dead", conf={"Labels": dead})
    fresh = DockerEngine(docker_url)
    assert fresh.probe().usable
    fresh.close()
    try:
        left = {str(c["Id"]) for c in api.containers(all=True)}
        assert left == {made["living"], made["elsewhere"]}
        assert "treebuild-result:dead" not in tags(api)
    finally:
        for name in ("living", "elsewhere"):
            api.remove_container(made[name], force=True)
        engine.close()


def test_who_is_dead() -> None:
    own = own_labels()
    assert not made_by_the_dead(own)
    assert made_by_the_dead({**own, BOOT_LABEL: "an earlier boot"})
    assert made_by_the_dead({**own, LABEL: "4194399"})
    assert not made_by_the_dead({**own, HOST_LABEL: "elsewhere", LABEL: "4194399"})
    assert not made_by_the_dead({})
    assert not made_by_the_dead({**own, LABEL: "../.."})


def test_a_kept_failure_can_be_entered(docker_url: str, api: APIClient, store: Store, tmp_path: Path) -> None:
    engine = DockerEngine(docker_url)
    base = add_layer(store, make_base).content
    wanted = job((base,), "echo left > /left; exit 3")
    with pytest.raises(BuildFailed) as caught:
        engine.run(wanted, store, RunOptions(tmp_path / "logs", tmp_path / "kept"), Recorder(), Cancel())
    image = str(caught.value.hint).split()[-1]
    assert image in tags(api)
    made = api.create_container(image, ["/bin/cat", "/left"])
    try:
        api.start(made["Id"])
        api.wait(made["Id"])
        assert api.logs(made["Id"]) == b"left\n"
    finally:
        api.remove_container(made["Id"], force=True)
        api.remove_image(image)
        engine.close()


def test_a_daemon_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = DockerEngine(f"unix://{tmp_path}/none.sock")
    probe = engine.probe()
    assert not probe.usable
    assert "docker cannot be reached" in probe.said
    with pytest.raises(EngineUnavailable):
        engine._daemon()
    engine.close()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(EngineUnavailable, match="docker"):
        factory.make("docker")


def test_the_factory_finds_the_daemon_of_the_environment(docker_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", docker_url)
    engine = factory.make("docker")
    assert engine.name == "docker"
    assert engine.probe().usable
    engine.close()
