"""`--luet-cache`: what luet has pushed is taken by luet's own tags (luet.md §4.2, §4.3), and not built again."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import services
from tests.registries import stored
from tests.trees import Project, Result, requires
from treebuilder.events import Silent
from treebuilder.model.digest import Digest
from treebuilder.model.package import PackageId
from treebuilder.oci.remote import Repository
from treebuilder.plan import luethash
from treebuilder.system.process import Cancel
from treebuilder.tree import TreePackage, load_tree

pytestmark = pytest.mark.engine
IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
BASE = {"bin/": b"", "etc/": b"", "etc/os": b"base\n", "luetbuild/": b"", "luetbuild/build.yaml": b"x\n"}


@pytest.fixture
def address() -> Iterator[str]:
    with services.registry() as found:
        yield found


def layer(files: dict[str, bytes]) -> bytes:
    """As `docker build` makes them: names in any order, times of the day."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name.rstrip("/"))
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            info.mode = 0o755 if name.endswith("/") or name.startswith("bin/") else 0o644
            info.size, info.mtime = len(data), 1_900_000_000
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(out.getvalue(), mtime=0)


def push(address: str, tag: str, *layers: dict[str, bytes], env: tuple[str, ...] = ()) -> None:
    """An image as `docker push` writes it."""
    place = Repository(address.partition("/")[0], address.partition("/")[2], True, Cancel())
    plain = [layer(files) for files in layers]
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin", *env], "WorkingDir": "/luetbuild"},
        "rootfs": {"type": "layers", "diff_ids": [_sha(gzip.decompress(data)) for data in plain]},
    }).encode()  # fmt: skip
    for data in (*plain, config):
        place.push_small(data)
    items = [
        {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "digest": _sha(data), "size": len(data)}
        for data in plain
    ]
    described = {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": _sha(config)}
    value = {"schemaVersion": 2, "mediaType": IMAGE, "config": {**described, "size": len(config)}, "layers": items}
    place.put_manifest(tag, json.dumps(value).encode(), IMAGE)


def _sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def project(top: Path) -> Project:
    made = Project(top)
    top.mkdir(exist_ok=True)
    made.base()
    made.package("t/lib", requires("seed/base") + "prelude:\n- exit 7\nsteps:\n- exit 8\n")  # only luet could build it
    made.package("t/app", requires("t/lib") + "steps:\n- cat /etc/lib > /app; echo more >> /app\n")
    made.package("t/whole", requires("t/lib") + "unpack: true\nexcludes:\n- ^/luetbuild\nsteps:\n- exit 9\n")
    return made


def chain(made: Project, *names: str) -> list[TreePackage]:
    tree = load_tree([str(made.tree)], events=Silent())
    found = [tree.get(PackageId(name.partition("/")[0], name.partition("/")[2], "1.0")) for name in names]
    return [one for one in found if one is not None]


def tags(made: Project, *names: str) -> tuple[str, str]:
    """luet's tags of the last package, and of what its steps are run on."""
    order = chain(made, *names)
    return luethash.package_hash(order), luethash.builder_tag(order[-1], luethash.package_hash(order))


LIB = {"etc/": b"", "etc/lib": b"from luet\n", "etc/os": b"changed\n", "luetbuild/build.yaml": b"x\n"}


def push_lib(made: Project, repository: str, *, builder: bool = True) -> None:
    package, built_on = tags(made, "seed/base", "t/lib")
    push(repository, package, BASE, {"p": b"prelude\n"}, LIB, env=("PACKAGE_NAME=lib", "LIB=yes"))
    if builder:
        push(repository, built_on, BASE, {"p": b"prelude\n"})


def build(made: Project, repository: str, *words: str) -> Result:
    named = ["--pull-repository", repository, "--luet-cache"]
    return made.run("build", "--tree", "packages", "--destination", "build", *named, *words)


def test_a_package_of_luets_is_not_built_again(address: str, tmp_path: Path) -> None:
    made, repository = project(tmp_path / "one"), f"{address}/luet/cache"
    push_lib(made, repository)
    found = build(made, repository, "t/lib")
    assert (found.code, found.states()["t/lib"]) == (0, "pulled"), found.stderr
    assert "luet built it" in found.node("t/lib")["reason"]
    # A delta of luet's: what was there and was changed is not packed, nor what lay in the builder already.
    assert [name for name, info in made.content("lib-t-1.0").items() if info.isfile()] == ["etc/lib"]
    assert made.text("lib-t-1.0", "etc/lib") == "from luet\n"


def test_it_is_built_on(address: str, tmp_path: Path) -> None:
    """The image that luet made is what further steps see: its files and its environment, but for the package's own."""
    made, repository = project(tmp_path / "one"), f"{address}/luet/cache"
    steps = "steps:\n- read x < /etc/lib; echo $x $LIB $PACKAGE_NAME > /app\n"
    made.package("t/app", requires("t/lib") + steps)
    package, _builder = tags(made, "seed/base", "t/lib")
    shell = {"bin/": b"", "bin/sh": Path("/bin/busybox").read_bytes()}
    push(repository, package, BASE, shell, LIB, env=("PACKAGE_NAME=lib", "LIB=yes"))
    found = build(made, repository, "--only-target-package", "t/app")
    states = found.states() | {"seed/base": ""}
    assert (found.code, states) == (0, {"seed/base": "", "t/lib": "pulled", "t/app": "built"}), found.stderr
    assert made.text("app-t-1.0", "app") == "from luet yes app\n"


def test_a_whole_image_needs_no_builder(address: str, tmp_path: Path) -> None:
    made, repository = project(tmp_path / "one"), f"{address}/luet/cache"
    package, _builder = tags(made, "seed/base", "t/lib", "t/whole")
    push(repository, package, BASE, LIB)
    found = build(made, repository, "--only-target-package", "t/whole")
    assert found.code == 0, found.stderr
    names = [name for name, info in made.content("whole-t-1.0").items() if info.isfile()]
    assert names == ["etc/lib", "etc/os"]


def test_a_package_without_its_builder_is_built_here(address: str, tmp_path: Path) -> None:
    """Of one image alone nobody can say what the steps added to it: the steps are run, and here they fail."""
    made, repository = project(tmp_path / "one"), f"{address}/luet/cache"
    push_lib(made, repository, builder=False)
    found = build(made, repository, "t/lib")
    assert (found.code, found.states()["t/lib"]) == (2, "failed")


def test_what_luet_built_does_not_pass_for_ours(address: str, tmp_path: Path) -> None:
    """Without the flag the same tree and cache must build, for luet's hash does not say all that the key does."""
    made, repository = project(tmp_path / "one"), f"{address}/luet/cache"
    push_lib(made, repository)
    assert build(made, repository, "t/lib").code == 0
    assert made.building("t/lib").states()["t/lib"] == "failed"


def test_another_builder_than_the_one_it_was_made_of(address: str, tmp_path: Path) -> None:
    made, repository = project(tmp_path / "one"), f"{address}/luet/cache"
    package, built_on = tags(made, "seed/base", "t/lib")
    push(repository, package, BASE, LIB)
    push(repository, built_on, BASE, {"other": b"x"})
    found = build(made, repository, "t/lib")
    assert found.code == 2
    assert "is not made of" in found.stderr
    assert not (made.build / "lib-t-1.0.package.tar.zst").exists()


def test_a_record_of_our_own_comes_first(address: str, tmp_path: Path) -> None:
    made, repository = project(tmp_path / "one"), f"{address}/luet/cache"
    made.package("t/lib", requires("seed/base") + "steps:\n- echo ours > /lib\n")
    push_lib(made, repository)
    pushed = made.run("build", "--tree", "packages", "--destination", "build", "--image-repository", repository,
                      "--push", "t/lib")  # fmt: skip
    assert pushed.code == 0, pushed.stderr
    two = Project(tmp_path / "one", cache="cache2")
    assert build(two, repository, "t/lib").code == 0
    assert two.text("lib-t-1.0", "lib") == "ours\n"


def test_the_flag_needs_a_registry(tmp_path: Path) -> None:
    made = project(tmp_path / "one")
    found = made.run("build", "--tree", "packages", "--destination", "build", "--luet-cache", "t/lib")
    assert found.code != 0
    assert "--pull-repository" in found.stderr


def test_damaged_bytes_are_refused(tmp_path: Path) -> None:
    made = project(tmp_path / "one")
    with stored(tmp_path / "registry") as (storage, address):
        repository = f"{address}/luet/cache"
        push_lib(made, repository)
        damaged = storage.path(str(Digest.of(layer(LIB))))
        damaged.chmod(0o644)
        damaged.write_bytes(damaged.read_bytes()[:-9] + b"x" * 9)
        found = build(made, repository, "t/lib")
    assert (found.code, found.states()["t/lib"]) == (2, "failed")


def test_secrets_in_luets_environments_are_not_handed_on(address: str, tmp_path: Path) -> None:
    """luet writes `env:` into its images, and images hand it on to what is built on them."""
    value = "hunter2-hunter2"
    made, repository = project(tmp_path / "one"), f"{address}/luet/cache"
    made.package("t/lib", requires("seed/base") + f"env:\n- TOKEN={value}\nsecrets: [TOKEN]\nsteps:\n- exit 8\n")
    made.package("t/mid", requires("t/lib") + "steps:\n- exit 8\n")
    made.package("t/next", requires("t/mid") + "steps:\n- env > /env\n")
    env = (f"TOKEN={value}", f"HEADER=Bearer {value}", "OPEN=seen")
    shell = {"bin/": b"", "bin/sh": Path("/bin/busybox").read_bytes(), "bin/env": Path("/bin/busybox").read_bytes()}
    package, built_on = tags(made, "seed/base", "t/lib", "t/mid")
    push(repository, package, BASE, shell, LIB, {"etc/mid": b"mid"}, env=env)
    push(repository, built_on, BASE, shell, LIB, env=env)
    package, built_on = tags(made, "seed/base", "t/lib")
    push(repository, package, BASE, shell, LIB, env=env)
    push(repository, built_on, BASE, shell, env=env)
    found = build(made, repository, "--cache-to", str(made.top / "shared"), "t/next")
    assert (found.code, found.states()["t/mid"]) == (0, "pulled"), found.stderr
    later = made.text("next-t-1.0", "env")
    assert "OPEN=seen" in later
    assert "TOKEN" not in later
    assert "HEADER" not in later
    blobs = (made.top / "shared/blobs/sha256").iterdir()
    assert not [path for path in blobs if value.encode() in path.read_bytes()]
    assert value not in json.dumps(found.value) + found.stderr
