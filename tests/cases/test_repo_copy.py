"""`repo copy` and `repo gc` from the command line: folders, registries, web servers and bundles."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import schemas, services
from tests.registries import served
from tests.sites import Counted
from tests.unit.repository_parts import Workshop, workshop
from treebuilder.cli.main import main
from treebuilder.oci.reference import parse_reference
from treebuilder.oci.remote import Repository
from treebuilder.serve.folder import Folder
from treebuilder.serve.server import Listening, serving
from treebuilder.system.process import Cancel

TOP = Path(__file__).parents[2]


@dataclass
class Lab:
    """A publisher's folder and a registry that counts."""

    shop: Workshop
    registry: Counted
    address: str
    docker_at: str = ""  # another registry

    @property
    def top(self) -> Path:
        return self.shop.top

    @property
    def build(self) -> str:
        return str(self.shop.build)

    @property
    def docker(self) -> str:
        return f"{self.docker_at or self.address}/team/os"

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

    def installed(
        self, kind: str, where: str, name: str = "app/x", reference: str = "", trust: str = "none"
    ) -> set[str]:
        """The files that a machine with an empty cache has after installing from there."""
        number = len(list(self.top.iterdir()))
        root = self.top / f"root{number}"
        root.mkdir()
        more = f", reference: {reference}" if reference else ""
        (self.top / "machine.yaml").write_text(
            f"system: {{rootfs: {root}, database_path: /var/db}}\n"
            f"repositories:\n- {{name: os, type: {kind}, enable: true, urls: ['{where}'], trust: {trust}{more}}}\n"
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
        with served(tmp_path / "registry", Counted) as (site, address):
            made = Lab(shop, site, address)
            made.package("1.0", "one")
            shop.create(snapshot="may")
            made.package("2.0", "two")
            shop.create()
            yield made


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


@pytest.mark.parametrize("kind", ["registry", "folder"])
def test_snapshots_alone_are_copied_on_and_cleaned(lab: Lab, kind: str) -> None:
    to = lab.docker if kind == "registry" else str(lab.top / "to")
    lab.copy(lab.build, to, "--snapshot", "may")
    done = lab.copy(to, str(lab.top / "back"))
    assert done["references"] == ["may-repository.yaml"]
    assert lab.gc(to)["unreached"] == []
    lab.shop.create(snapshot="sept")
    lab.copy(lab.build, to, "--snapshot", "sept")
    gone = {Path(name).name for name in lab.gc(to, "--keep", "1", "--yes")["unreached"]}
    assert "may-repository.yaml" in gone
    assert not {name for name in gone if name.startswith("sept")}
    assert lab.copy(to, str(lab.top / "again"))["references"] == ["sept-repository.yaml"]


def test_a_registry_is_named_without_a_scheme(lab: Lab) -> None:
    lab.copy(lab.build, lab.docker)
    code, value, _ = lab.say("repo", "copy", f"http://{lab.docker}", str(lab.top / "to"))
    assert (code != 0, value["error"]["reason"]) == (True, "no-repository")
    assert f"without http://: {lab.docker}" in value["error"]["hint"]


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
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    code, value, _ = lab.say("repo", "copy", lab.build, where)
    assert code != 0
    assert "its repository promises" in value["error"]["message"]
    if to == "docker":
        assert "repository.yaml" not in place(lab).tags()
    else:
        assert not (Path(where) / "repository.yaml").exists()
        assert not Path(where).is_file()


def test_a_flipped_byte_of_a_bundle_is_refused(lab: Lab) -> None:
    bundle = lab.top / "os.tar"
    lab.copy(lab.build, str(bundle))
    whole = bundle.read_bytes()
    archive = next(lab.shop.build.glob("*.package.tar.zst")).read_bytes()
    data = bytearray(whole)
    data[whole.index(archive) + len(archive) // 2] ^= 1
    for broken in (bytes(data), whole[: len(whole) // 2]):
        bundle.write_bytes(broken)
        code, _, _ = lab.say("repo", "copy", str(bundle), str(lab.top / "to"), cache="fresh")
        assert code != 0
        assert not (lab.top / "to/repository.yaml").exists()


def test_what_is_damaged_in_the_destination_is_brought_again(lab: Lab) -> None:
    mirror = lab.top / "to"
    lab.copy(lab.build, str(mirror))
    before = shown(mirror)
    next(mirror.glob("*.package.tar.zst")).write_bytes(b"broken")
    assert lab.copy(lab.build, str(mirror))["packages"] == 1
    assert shown(mirror) == before


def test_a_fault_at_every_request_leaves_the_old_or_the_new(lab: Lab) -> None:
    """Signed, and the copy leaves a revision out: at no instant a client with keys refuses what is there."""
    assert lab.say("key", "new", str(lab.top / "team.key"))[0] == 0
    trust = f"{{keys: [{lab.top}/team.key.pub]}}"

    def publish() -> None:
        words = ["--tree", str(lab.shop.tree), "--packages", lab.build, "--output", lab.build, "--name", "os"]
        code, _, err = lab.say("create-repo", *words, "--sign", str(lab.top / "team.key"), cache="publisher")
        assert code == 0, err

    publish()
    lab.copy(lab.build, lab.docker)
    for version, text in (("3.0", "three"), ("4.0", "four")):
        lab.package(version, text)
        publish()
    seen = set()
    code = 1
    for limit in range(0, 80, 2):
        lab.registry.refuse_after = len(lab.registry.asked) + limit
        code, _, _ = lab.say("repo", "copy", lab.build, lab.docker)
        lab.registry.refuse_after = None
        found = lab.installed("docker", lab.docker, trust=trust)
        assert found in ({"two.txt"}, {"four.txt"})
        seen |= found
        if code == 0:
            break
    assert code == 0
    assert seen == {"two.txt", "four.txt"}
    assert len((lab.shop.build / "repository.yaml.sig").read_bytes().splitlines()) == 2
    lab.copy(lab.docker, str(lab.top / "back"), cache="fresh")
    for name in ("repository.yaml", "repository.yaml.sig"):
        assert (lab.top / "back" / name).read_bytes() == (lab.shop.build / name).read_bytes()


def test_a_folder_that_cannot_be_exchanged(lab: Lab) -> None:
    """There is no room for a longer name beside it."""
    mirror = lab.top / ("m" * 250)
    lab.copy(lab.build, str(mirror))
    lab.package("2.0", "again")
    lab.shop.create()
    assert lab.copy(lab.build, str(mirror))["changed"]
    assert not lab.copy(lab.build, str(mirror))["changed"]
    assert lab.installed("disk", str(mirror)) == {"again.txt"}
    assert not (mirror / ".incoming").exists()


def test_killed_while_a_folder_is_mirrored(lab: Lab) -> None:
    """At one call after another that changes something; files of the same names have other contents afterwards."""
    mirror = lab.top / "to"
    lab.copy(lab.build, str(mirror))
    old = shown(mirror)
    lab.package("2.0", "again")
    for number in range(20):
        lab.shop.package(f"app/more{number}", {"a.txt": os.urandom(20_000)})
    lab.shop.create()
    files = {path.name: path.read_bytes() for path in lab.shop.build.iterdir()}
    new = {name: data for name, data in {**old, **files}.items() if not name.endswith(".metadata.yaml")}
    words = ["repo", "copy", lab.build, str(mirror), "--cache-dir", str(lab.top / "kill"), "--quiet"]
    seen, step, code = [], 0, -signal.SIGKILL
    while code:
        argv = [sys.executable, "-m", "tests.unit.steps", str(step), *words]
        code = subprocess.run(argv, env={**os.environ, "PYTHONPATH": str(TOP)}, check=False).returncode
        assert code in (0, -signal.SIGKILL)
        there = {name: data for name, data in shown(mirror).items() if not name.startswith(".incoming/")}
        assert there in (old, new), step
        seen.append(there == new)
        step += 5
    assert seen == sorted(seen)
    assert seen.count(False) > 10
    assert shown(mirror) == new
    assert [path.name for path in lab.top.iterdir() if path.name.startswith(".")] == []


def test_a_snapshot_that_a_folder_cannot_hold_is_left_out(lab: Lab) -> None:
    lab.copy(lab.build, lab.docker)
    for path in lab.shop.build.glob("x-app-1*"):
        path.unlink()
    (lab.shop.build / "may-repository.yaml").unlink()
    lab.package("1.0", "other")
    lab.shop.create()
    lab.copy(lab.build, lab.docker)
    done = lab.copy(lab.docker, str(lab.top / "to"), cache="fresh")
    assert (done["references"], done["left_out"]) == (["repository.yaml"], ["may-repository.yaml"])
    assert lab.installed("disk", str(lab.top / "to")) == {"other.txt"}


# gc -------------------------------------------------------------------------------------------------------------------
def place(lab: Lab) -> Repository:
    found = parse_reference(lab.docker)
    return Repository(found.host, found.repository, True, Cancel())


def test_gc_of_a_registry(lab: Lab) -> None:
    lab.copy(lab.build, lab.docker)
    at = place(lab)
    lab.package("3.0", "three")
    lab.shop.create()
    lab.copy(lab.build, lab.docker)
    foreign = {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [],
        "config": {"mediaType": "application/x", "digest": str(at.push_small(b"{}")), "size": 2},
    }  # fmt: skip
    signature = f"sha256-{at.digest_of('x-app-2.0').hex}.sig"  # type: ignore[union-attr]
    other = f"sha256-{at.digest_of('x-app-3.0').hex}.sig"  # type: ignore[union-attr]
    for number, tag in enumerate(("mine", signature, other)):
        foreign["annotations"] = {"number": str(number)}
        at.put_manifest(tag, json.dumps(foreign).encode(), str(foreign["mediaType"]))
    before = at.tags()
    found = lab.gc(lab.docker)
    assert found["unreached"] == ["x-app-2.0", signature]
    assert found["bytes"] > 0
    assert (found["deleted"], at.tags()) == (False, before)
    done = lab.gc(lab.docker, "--yes", "--keep", "0")
    assert done["deleted"]
    assert sorted(set(before) - set(at.tags())) == sorted(done["unreached"])
    assert set(done["unreached"]) == {
        "may-repository.yaml", "may-tree.tar.gz", "may-repository.meta.yaml.tar", "may-compilertree.tar.gz",
        "x-app-1.0", "x-app-2.0", signature,
    }  # fmt: skip
    assert {"mine", other} <= set(at.tags())
    assert lab.installed("docker", lab.docker) == {"three.txt"}
    assert lab.gc(lab.docker, "--yes", "--keep", "0")["unreached"] == []


@pytest.mark.parametrize("kind", ["ours", "debian"])
def test_gc_leaves_what_somebody_elses_tag_leads_to(lab: Lab, kind: str) -> None:
    """Registries delete manifests by digest, and every tag with them."""
    with services.registry(delete=True) if kind == "debian" else contextlib.nullcontext(lab.address) as address:
        lab.docker_at = address
        lab.copy(lab.build, lab.docker)
        at = place(lab)
        data, media = at.manifest_bytes("x-app-1.0", None), "application/vnd.oci.image.manifest.v1+json"
        at.put_manifest("prod", data, media)
        old = at.manifest_bytes("may-tree.tar.gz", None)
        item = {"mediaType": media, "digest": str(at.digest_of("may-tree.tar.gz")), "size": len(old)}
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [item]}
        at.put_manifest("several", json.dumps(index).encode(), str(index["mediaType"]))
        before = at.tags()
        said = lab.gc(lab.docker, "--keep", "0")["unreached"]
        assert not {"prod", "several"} & set(said)
        assert {"x-app-1.0", "may-tree.tar.gz"} <= set(said)
        done = lab.gc(lab.docker, "--keep", "0", "--yes")["unreached"]
        assert sorted(set(before) - set(at.tags())) == sorted(done)
        assert at.manifest_bytes("prod", None) == data
        assert at.manifest_bytes(str(item["digest"]), None) == old
        kept = {"x-app-1.0", "may-tree.tar.gz"} if kind == "debian" else set()
        assert set(said) - set(done) == kept, "a tag alone is deleted where that is possible"


def test_snapshots_of_long_names_are_snapshots(lab: Lab) -> None:
    """Their tags are cut, so they do not end as others do."""
    long = "x" * 120
    lab.package("1.5", "half")
    lab.shop.create(snapshot=long)
    lab.package("2.0", "two")
    lab.shop.create()
    done = lab.copy(lab.build, lab.docker)
    assert f"{long}-repository.yaml" in done["references"]
    assert lab.gc(lab.docker, "--yes")["unreached"] == []
    assert lab.copy(lab.docker, str(lab.top / "back"))["references"] == done["references"]
    gone = lab.gc(lab.docker, "--yes", "--keep", "0")["unreached"]
    assert {"x-app-1.0", "x-app-1.5", "may-repository.yaml"} <= set(gone)
    assert len([tag for tag in gone if tag.startswith("xxx")]) == 4


def test_two_snapshots_of_one_tag_are_refused(lab: Lab) -> None:
    """The second would take the first one's place."""
    lab.shop.create(snapshot="a:b")
    lab.copy(lab.build, lab.docker)
    (lab.shop.build / "a:b-repository.yaml").unlink()
    lab.shop.create(snapshot="a-b")
    at = place(lab)
    before = {tag: at.digest_of(tag) for tag in at.tags()}
    for words in ((), ("--snapshot", "a-b")):
        code, value, _ = lab.say("repo", "copy", lab.build, lab.docker, *words)
        assert (code, value["error"]["reason"]) == (1, "same-tag")
    trees = ["--tree", str(lab.shop.tree), "--packages", lab.build, "--type", "docker", "--push-images"]
    for id in ("a-b", "a:b", "é", "ü", "x" * 120):
        code, value, _ = lab.say("create-repo", *trees, "--output", lab.docker, "--snapshot-id", id)
        assert (code, value["error"]["reason"]) == (1, "same-tag")
    assert {tag: at.digest_of(tag) for tag in at.tags()} == before


def test_gc_of_a_folder(lab: Lab) -> None:
    lab.package("3.0", "three")
    lab.shop.create()
    before = shown(lab.shop.build)
    found = lab.gc(lab.build)
    gone = {"x-app-2.0.package.tar.zst", "x-app-2.0.metadata.yaml"}
    assert {Path(name).name for name in found["unreached"]} == gone
    assert found["bytes"] == sum(len(before[name]) for name in gone)
    assert shown(lab.shop.build) == before
    assert lab.gc(lab.build, "--yes")["deleted"]
    assert set(before) - set(shown(lab.shop.build)) == gone
    assert lab.installed("disk", lab.build) == {"three.txt"}
    assert lab.installed("disk", lab.build, reference="may-repository.yaml") == {"one.txt"}


def test_gc_deletes_nothing_where_there_is_no_repository_or_a_broken_one(lab: Lab) -> None:
    for where in (str(lab.top / "tree"), lab.docker):
        code, value, _ = lab.say("repo", "gc", where, "--yes")
        assert (code != 0, value["error"]["reason"]) == (True, "no-repository")
    (lab.shop.build / "may-repository.meta.yaml.tar").write_bytes(b"broken")
    before = shown(lab.shop.build)
    assert lab.say("repo", "gc", lab.build, "--yes")[0] != 0
    assert shown(lab.shop.build) == before


def test_debians_registry(lab: Lab) -> None:
    """It holds copies as ours does; it deletes nothing unless its owner allows it, and says so."""
    with services.registry() as address:
        where = f"{address}/team/os"
        assert lab.copy(lab.build, where)["packages"] == 2
        assert not lab.copy(lab.build, where)["changed"]
        assert lab.installed("docker", where) == {"two.txt"}
        lab.copy(where, str(lab.top / "back"), cache="fresh")
        assert lab.installed("disk", str(lab.top / "back")) == {"two.txt"}
        found = lab.gc(where, "--keep", "0")
        assert "x-app-1.0" in found["unreached"]
        code, value, _ = lab.say("repo", "gc", where, "--keep", "0", "--yes")
        assert code != 0
        assert "delete: {enabled: true}" in value["error"]["hint"]
        assert lab.gc(where, "--keep", "0")["unreached"] == found["unreached"]


def test_a_repository_that_was_published_to_a_registry(lab: Lab) -> None:
    words = ["--tree", str(lab.shop.tree), "--packages", lab.build, "--name", "os", "--type", "docker", "--push-images"]

    def publish() -> None:
        code, _, err = lab.say("create-repo", *words, "--output", lab.docker, cache="publisher")
        assert code == 0, err

    publish()
    lab.package("3.0", "three")
    publish()
    assert set(lab.gc(lab.docker, "--yes")["unreached"]) == {"x-app-2.0", "x-app-2.0.metadata.yaml"}
    assert lab.installed("docker", lab.docker) == {"three.txt"}
    lab.copy(lab.docker, str(lab.top / "back"))
    assert [path.name for path in (lab.top / "back").glob("*.package.tar*")] == ["x-app-3.0.package.tar.gz"]
    assert lab.installed("disk", str(lab.top / "back")) == {"three.txt"}
