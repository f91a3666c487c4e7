"""`create-repo --delta-from`: an upgrade downloads about what changed, and whole packages where a patch is no good."""

from __future__ import annotations

import hashlib
import json
import random
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

import pytest

from tests.registries import registry_of
from tests.services import privately
from tests.sites import Counted
from tests.trees import Project, Result, requires
from treebuilder.oci import connection
from treebuilder.oci.remote import Repository
from treebuilder.serve.exchange import Exchange
from treebuilder.serve.folder import Folder
from treebuilder.serve.server import Listening, serving
from treebuilder.system.process import Cancel

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("no_logins")]
SIZE = 400_000


def package(project: Project, version: str, changed: int = 0, *, zeros: int = 0) -> bytes:
    """A package with bytes that no compressor makes less of; `changed` of them are others in each version."""
    data = bytearray(random.Random(1).randbytes(SIZE))
    data[SIZE // 2 : SIZE // 2 + changed] = random.Random(version).randbytes(changed)
    data += bytes(zeros)
    folder = project.package("t/app", requires("seed/base") + "package_dir: /out\nsteps:\n- mkdir /out; cp data /out\n")
    (folder / "definition.yaml").write_text(json.dumps({"category": "t", "name": "app", "version": version}))
    (folder / "data").write_bytes(data)
    done = project.building("t/app")
    assert done.code == 0, done.stderr
    return bytes(data)


def publish(project: Project, where: str, *words: str) -> Result:
    docker = ["--type", "docker", "--push-images"] if ":" in where else ["--type", "http"]
    done = project.run(
        "create-repo", "--tree", "packages", "--packages", "build", "--output", where, *docker, "--delta-from", "2",
        *words,
    )  # fmt: skip
    assert done.code == 0, done.stderr
    return done


@contextmanager
def client(project: Project, kind: str, urls: str) -> Iterator[None]:
    (project.top / ".luet.yaml").write_text(
        f"repositories:\n- {{name: os, type: {kind}, enable: true, urls: ['{urls}'], trust: none}}\n"
    )
    (project.top / "root").mkdir(exist_ok=True)
    project.cache = "client"
    yield
    project.cache = "cache"


def change(project: Project, kind: str, urls: str, *words: str) -> Result:
    with client(project, kind, urls):
        done = project.run(*words, "--system-target", "root")
    assert done.code == 0, done.stderr
    return done


@contextmanager
def website(
    project: Project, ways: Mapping[str, Callable[[Exchange], None]] | None = None
) -> Iterator[tuple[str, list[str]]]:
    """The folder `site` behind a web server: packages lie beside the index."""
    site = Counted(Folder(project.build), ways)
    with serving(site, Listening("127.0.0.1", 0, headers={})) as found:
        yield f"http://{found}", site.asked


def test_an_upgrade_over_http_fetches_what_changed(project: Project) -> None:
    package(project, "1.0")
    publish(project, "build")
    with website(project) as (url, asked):
        change(project, "http", url, "install", "t/app")
        assert any(path.endswith("app-t-1.0.package.tar.zst") for path in asked)
        new = package(project, "1.1", 1000)
        publish(project, "build")
        listed = json.loads((project.build / "repository.deltas.json").read_text())["patches"]
        assert len(listed) == 1
        assert listed[0]["size"] < 4000
        asked.clear()
        change(project, "http", url, "upgrade")
        assert (project.top / "root/data").read_bytes() == new
        assert sum(path.endswith(".delta") for path in asked) == 1
        assert not any(".package.tar" in path for path in asked), "no archive was asked for"
        # What was made of a patch is what the next one is applied to, and a package that is there is not made again.
        newer = package(project, "1.2", 1000)
        publish(project, "build")
        asked.clear()
        change(project, "http", url, "upgrade")
        assert (project.top / "root/data").read_bytes() == newer
        assert not any(".package.tar" in path for path in asked)
        asked.clear()
        change(project, "http", url, "reinstall", "t/app")
        assert not any(".package.tar" in path or ".delta" in path for path in asked)


@pytest.mark.parametrize("kind", ["ours", "debian"])
def test_an_upgrade_from_a_registry_fetches_what_changed(project: Project, kind: str) -> None:
    with registry_of(kind, project.top / "registry") as address:
        where = f"{address}/team/os"
        package(project, "1.0")
        publish(project, where)
        change(project, "docker", where, "install", "t/app")
        new = package(project, "1.1", 1000)
        first = publish(project, where, "--snapshot-id", "one")
        again = publish(project, where)
        assert (first.value["pushed"], again.value["pushed"]) == (1, 0)
        change(project, "docker", where, "upgrade")
        assert (project.top / "root/data").read_bytes() == new
        # An archive was made of the old one; the layer itself never came.
        layers = {path.name for path in (project.top / "client/blobs/sha256").iterdir()}
        manifest = Repository(address, "team/os", True, Cancel()).manifest("app-t-1.1", None)[1]
        assert manifest["layers"][0]["digest"].removeprefix("sha256:") not in layers


@pytest.mark.parametrize("fault", ["flipped", "short", "empty", "gone", "list", "deep", "base", "far", "bomb", "long"])
def test_a_patch_that_is_no_good_costs_only_time(project: Project, fault: str) -> None:
    package(project, "1.0")
    publish(project, "build")
    with website(project) as (url, asked):
        change(project, "http", url, "install", "t/app")
        new = package(project, "1.1", 1000)
        publish(project, "build")
        (patch,) = (project.build / "deltas").glob("*.delta")
        listed = project.build / "repository.deltas.json"
        data = patch.read_bytes()
        if fault == "list":
            listed.write_text('{"schema": "treebuild.deltas/1", "patches": [{"from": "../../etc"}]}')
        elif fault == "deep":
            listed.write_text("[" * 200_000)
        elif fault == "gone":
            patch.unlink()
        elif fault == "base":
            for path in (project.top / "client/blobs/sha256").iterdir():
                if path.stat().st_size > SIZE:
                    path.write_bytes(b"(damaged)" + path.read_bytes()[9:])
        else:
            head = data[:80]
            broken = {
                "flipped": data[:-1] + bytes([data[-1] ^ 1]), "short": data[:-100], "empty": b"",
                "far": data[:88] + struct.pack(">Q", 1 << 59) + data[96:],
                "bomb": head + struct.pack(">Q", 5 << 30) + data[88:], "long": data,
            }[fault]  # fmt: skip
            patch.write_bytes(broken)
            value = json.loads(listed.read_text())  # the one who lies, lies well
            value["patches"][0] |= {"sha256": hashlib.sha256(broken).hexdigest(), "size": max(1, len(broken))}
            if fault == "long":
                value["patches"][0]["size"] = 15 << 30
            listed.write_text(json.dumps(value))
        asked.clear()
        done = change(project, "http", url, "upgrade")
        assert (project.top / "root/data").read_bytes() == new
        assert any(".package.tar" in path for path in asked)
        assert done.stderr.count("is not used, all of it is fetched") == 1
        if fault == "bomb":
            assert "makes an archive of more than" in done.stderr
        left = [path.name for path in (project.top / "client/partial").iterdir()]
        assert left == [], "nothing of a patch stays"


def test_where_there_is_no_room_for_a_patch_all_is_fetched(project: Project) -> None:
    """An archive of 400 KB, whose tar is 40 MB long, on 20 MB."""
    more = 40 << 20
    package(project, "1.0", zeros=more)
    publish(project, "build")
    with website(project) as (url, asked):
        change(project, "http", url, "install", "t/app")
        new = package(project, "1.1", 1000, zeros=more)
        publish(project, "build")
        asked.clear()
        script = (
            "mkdir small && mount -t tmpfs -o size=20m none small && cp -a client small/client &&"
            f" exec {sys.executable} -m treebuilder upgrade --yes --config .luet.yaml --system-target root"
            " --cache-dir small/client"
        )
        with client(project, "http", url):
            done = subprocess.run(privately(script), cwd=project.top, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "is not used, all of it is fetched" in done.stderr
        assert hashlib.sha256((project.top / "root/data").read_bytes()).digest() == hashlib.sha256(new).digest()
        assert any(".package.tar" in path for path in asked)


def test_who_does_not_answer_about_patches_is_not_waited_for(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that never comes, and one of which a byte comes now and then: asked for once."""
    monkeypatch.setattr(connection, "BRIEF_S", 0.5)
    package(project, "1.0")
    publish(project, "build")
    over = threading.Event()

    def stalled(exchange: Exchange) -> None:
        over.wait(30)

    def dripping(exchange: Exchange) -> None:
        with suppress(OSError):
            exchange._head(200, {"Content-Length": "100000"})
            while not over.wait(0.1):
                exchange._handler.wfile.write(b" ")

    for number, way in enumerate((stalled, dripping), 1):
        over.clear()
        with website(project, {"/repository.deltas.json": way}) as (url, asked):
            if number == 1:
                change(project, "http", url, "install", "t/app")
            new = package(project, f"1.{number}", 1000)
            publish(project, "build")
            asked.clear()
            done = change(project, "http", url, "upgrade")
            assert (project.top / "root/data").read_bytes() == new
            assert "is not used, all of it is fetched" in done.stderr
            assert asked.count("GET /repository.deltas.json") == 1
            over.set()


def test_patches_of_no_use_are_not_kept(project: Project) -> None:
    package(project, "1.0")
    publish(project, "build", "--snapshot-id", "a")
    package(project, "1.1", 1000)
    publish(project, "build", "--snapshot-id", "b")
    package(project, "1.2", 1000)
    publish(project, "build", "--snapshot-id", "c")
    names = {path.name for path in (project.build / "deltas").iterdir()}
    assert len(names) == 2, "from each of the two last states"
    stamps = {path.stat().st_mtime_ns for path in (project.build / "deltas").iterdir()}
    publish(project, "build")
    assert {path.name for path in (project.build / "deltas").iterdir()} == names
    assert {path.stat().st_mtime_ns for path in (project.build / "deltas").iterdir()} == stamps, "made once"
    package(project, "1.3", SIZE)
    publish(project, "build")
    listed = json.loads((project.build / "repository.deltas.json").read_text())["patches"]
    assert len(listed) == len(list((project.build / "deltas").iterdir())) <= 2
