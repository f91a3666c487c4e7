"""`repo copy` and `repo gc` from the command line: folders, registries, web servers and bundles."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import schemas
from tests.contract.docker_parts import Counted
from tests.unit.repository_parts import Workshop, workshop
from treebuilder.cli.main import main
from treebuilder.oci.reference import parse_reference
from treebuilder.oci.remote import Repository
from treebuilder.serve.folder import Folder
from treebuilder.serve.registry import Registry
from treebuilder.serve.server import Listening, serving
from treebuilder.serve.storage import Storage
from treebuilder.system.process import Cancel


@dataclass
class Lab:
    """A publisher's folder and a registry that counts."""

    shop: Workshop
    registry: Counted
    address: str

    @property
    def top(self) -> Path:
        return self.shop.top

    @property
    def build(self) -> str:
        return str(self.shop.build)

    @property
    def docker(self) -> str:
        return f"{self.address}/team/os"

    def say(self, *words: str, cache: str = "mirror") -> tuple[int, dict[str, Any], str]:
        out, err = io.StringIO(), io.StringIO()
        (self.top / "conf.yaml").write_text("{}")
        given = ["--config", str(self.top / "conf.yaml"), "--cache-dir", str(self.top / cache), "--quiet", "--json"]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([*words, *given])
        return code, json.loads(out.getvalue()), err.getvalue()

    def copy(self, source: str, to: str, *words: str, cache: str = "mirror") -> dict[str, Any]:
        code, value, err = self.say("repo", "copy", source, to, *words, cache=cache)
        assert code == 0, err
        assert schemas.faults(value, schemas.load("repo")) == []
        found = value["copied"]
        assert isinstance(found, dict)
        return found

    def gc(self, where: str, *words: str) -> dict[str, Any]:
        code, value, err = self.say("repo", "gc", where, *words)
        assert code == 0, err
        assert schemas.faults(value, schemas.load("repo")) == []
        found = value["collected"]
        assert isinstance(found, dict)
        return found

    def installed(self, kind: str, where: str, name: str = "app/x", reference: str = "") -> set[str]:
        """The files that a machine with an empty cache has after installing from there."""
        number = len(list(self.top.iterdir()))
        root = self.top / f"root{number}"
        root.mkdir()
        more = f", reference: {reference}" if reference else ""
        (self.top / "machine.yaml").write_text(
            f"system: {{rootfs: {root}, database_path: /var/db}}\n"
            f"repositories:\n- {{name: os, type: {kind}, enable: true, urls: ['{where}'], trust: none{more}}}\n"
        )
        err = io.StringIO()
        given = ["--config", str(self.top / "machine.yaml"), "--cache-dir", str(self.top / f"cache{number}")]
        with contextlib.redirect_stderr(err), contextlib.redirect_stdout(err):
            code = main(["install", name, "--yes", *given])
        assert code == 0, err.getvalue()
        return {path.name for path in root.rglob("*.txt")}

    def package(self, version: str, text: str) -> None:
        """The only package of the tree, in a new version."""
        for path in (self.shop.tree / "app/x").glob("*"):
            (path / "definition.yaml").unlink()
            path.rmdir()
        self.shop.package("app/x", {f"{text}.txt": text.encode() * 1000}, version=version)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with workshop(tmp_path) as shop:
        storage = Storage(tmp_path / "registry")
        site = Counted(Registry(storage))
        with serving(site, Listening("127.0.0.1", 0)) as address:
            made = Lab(shop, site, address)
            made.package("1.0", "one")
            shop.create(snapshot="may")
            made.package("2.0", "two")
            shop.create()
            yield made
        storage.close()


def shown(folder: Path) -> dict[str, bytes]:
    """What readers of a repository's folder get."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_way_through_all_kinds_and_back(lab: Lab) -> None:
    """folder, registry, bundle, registry, folder: the bytes are the same, and the same again moves nothing."""
    (lab.shop.build / "repository.yaml.sig").write_bytes(b"what somebody signed\n")
    bundle, back = str(lab.top / "os.tar"), str(lab.top / "back")
    second = f"{lab.address}/other/os"
    for source, to in ((lab.build, lab.docker), (lab.docker, bundle), (bundle, second), (second, back)):
        done = lab.copy(source, to, cache=f"cache-{to.replace('/', '-')}")
        assert done["references"] == ["repository.yaml", "may-repository.yaml"]
        assert (done["packages"], done["files"], done["changed"]) == (2, 6, True)
        again = lab.copy(source, to)
        assert (again["packages"], again["files"], again["bytes"], again["changed"]) == (0, 0, 0, False)
    came = shown(Path(back))
    assert came == {name: data for name, data in shown(lab.shop.build).items() if not name.endswith(".metadata.yaml")}
    assert came["repository.yaml.sig"] == b"what somebody signed\n"
    for kind, where in (("docker", lab.docker), ("docker", second), ("disk", back)):
        assert lab.installed(kind, where) == {"two.txt"}
        assert lab.installed(kind, where, reference="may-repository.yaml") == {"one.txt"}


def test_only_what_lacks_is_brought(lab: Lab) -> None:
    mirror = lab.top / "mirror-folder"
    lab.copy(lab.build, str(mirror))
    lab.copy(lab.build, lab.docker)
    (mirror / "mine.txt").write_text("stays")
    lab.package("3.0", "three")
    lab.shop.create()
    for kind, to in (("disk", str(mirror)), ("docker", lab.docker)):
        done = lab.copy(lab.build, to)
        assert done["packages"] == 1
        assert lab.installed(kind, to) == {"three.txt"}
    assert (mirror / "mine.txt").read_text() == "stays"
    assert [path.name for path in lab.top.iterdir() if path.name.startswith(".")] == []
    assert not (mirror / ".incoming").exists()


def test_one_snapshot(lab: Lab) -> None:
    done = lab.copy(lab.build, lab.docker, "--snapshot", "may")
    assert (done["references"], done["packages"]) == (["may-repository.yaml"], 1)
    assert lab.installed("docker", lab.docker, reference="may-repository.yaml") == {"one.txt"}
    code, value, _ = lab.say("repo", "copy", lab.build, lab.docker, "--snapshot", "june")
    assert (code != 0, value["error"]["reason"]) == (True, "no-repository")


def test_from_a_web_server(lab: Lab) -> None:
    with serving(Folder(lab.shop.build), Listening("127.0.0.1", 0)) as address:
        done = lab.copy(f"http://{address}", lab.docker)
        assert (done["references"], done["packages"]) == (["repository.yaml"], 1)
        code, value, _ = lab.say("repo", "copy", lab.docker, f"http://{address}")
        assert code != 0
        assert "can only be read" in value["error"]["message"]
    assert lab.installed("docker", lab.docker) == {"two.txt"}


@pytest.mark.parametrize("name", ["x-app-2.0.package.tar.zst", "tree.tar.gz", "repository.meta.yaml.tar"])
@pytest.mark.parametrize("to", ["folder", "docker", "bundle"])
def test_a_flipped_byte_is_refused(lab: Lab, name: str, to: str) -> None:
    where = {"folder": str(lab.top / "to"), "docker": lab.docker, "bundle": str(lab.top / "to.tar")}[to]
    path = lab.shop.build / name
