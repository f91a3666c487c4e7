"""`cache.keys` and `--sign`: whose build records count; `--wait`: records that others are about to push."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import services
from tests.trees import Project, Result, requires

pytestmark = pytest.mark.engine


@pytest.fixture
def address() -> Iterator[str]:
    with services.registry() as found:
        yield found


def project(top: Path, *keys: str, text: str = "app") -> Project:
    """A machine that believes in the owners of `keys`, files beside its folder."""
    top.mkdir(exist_ok=True)
    made = Project(top, flags=["--config", str(top / "config.yaml")])
    made.base()
    made.package("t/app", requires("seed/base") + f"steps:\n- echo {text} > /app\n")
    (top / "config.yaml").write_text(
        "cache:\n  keys:\n" + "".join(f"  - ../{key}.pub\n" for key in keys) if keys else ""
    )
    return made


def build(made: Project, *words: str) -> Result:
    return made.run("build", "--tree", "packages", "--destination", "build", *words, "t/app")


def state(found: Result) -> str:
    assert found.code == 0, found.stderr
    return str(found.node("t/app")["state"])


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    made = Project(tmp_path)
    for name, kind in (("one", "ecdsa-p256"), ("two", "ed25519")):
        assert made.run("key", "new", "--type", kind, f"{tmp_path}/{name}").code == 0
    return tmp_path


@pytest.mark.parametrize("where", ["registry", "folder"])
def test_only_signed_records_are_taken(address: str, keys: Path, where: str) -> None:
    at = [str(keys / "shared")] if where == "folder" else ["--image-repository", f"{address}/cache"]
    push = ["--cache-to", *at] if where == "folder" else [*at, "--push"]
    pull = ["--cache-from", *at] if where == "folder" else [*at, "--pull"]
    writer = project(keys / "writer")
    assert state(build(writer, *push)) == "built"
    assert state(build(project(keys / "reader1", "one"), *pull)) == "built"
    # An unsigned record was first, and keeps nobody from signing one.
    assert state(build(writer, *push, "--sign", str(keys / "two"))) == "cached"
    assert state(build(project(keys / "reader2", "one"), *pull)) == "built"
    assert state(build(writer, *push, "--sign", str(keys / "one"))) == "cached"
    reader = project(keys / "reader3", "two", "one")
    assert state(build(reader, *pull)) == "pulled"
    assert reader.plain("app-t-1.0") == writer.plain("app-t-1.0")
    assert state(build(project(keys / "reader4"), *pull)) == "pulled", "without keys all records count"


def test_one_push_with_two_keys_serves_both(address: str, keys: Path) -> None:
    at = ["--image-repository", f"{address}/cache"]
    sign = ["--sign", str(keys / "one"), "--sign", str(keys / "two")]
    assert state(build(project(keys / "writer"), *at, "--push", *sign)) == "built"
    for key in ("one", "two"):
        assert state(build(project(keys / f"reader-{key}", key), *at, "--pull")) == "pulled"


@pytest.mark.parametrize("where", ["registry", "folder"])
def test_what_is_signed_is_signed_once(address: str, keys: Path, where: str) -> None:
    at = ["--cache-to", str(keys / "shared")] if where == "folder" else ["--image-repository", f"{address}/c", "--push"]
    writer = project(keys / "writer")
    assert state(build(writer, *at, "--sign", str(keys / "one"))) == "built"
    assert state(build(writer, *at, "--sign", str(keys / "one"))) == "cached"
    if where == "folder":  # a broken one does not end a build
        for tag, path in _manifests(keys / "shared").items():
            if "." in tag:
                path.write_bytes(b"{")
        assert state(build(project(keys / "reader", "one"), "--cache-from", str(keys / "shared"))) == "built"
        assert state(build(writer, *at, "--sign", str(keys / "one"))) == "cached"
        mended = build(project(keys / "reader2", "one"), "--cache-from", str(keys / "shared"))
        assert state(mended) == "pulled", "and is written again"


def _manifests(folder: Path) -> dict[str, Path]:
    """The files of records' manifests in an OCI layout, by tag."""
    index = json.loads((folder / "index.json").read_text())
    return {
        item["annotations"]["org.opencontainers.image.ref.name"]: folder / "blobs/sha256" / item["digest"][7:]
        for item in index["manifests"]
    }


def test_a_signature_of_another_record_counts_nothing(keys: Path) -> None:
    """Who may write to the cache moves a signature to a record of their own, and it is not used."""
    shared = keys / "shared"
    writer = project(keys / "writer")
    assert state(build(writer, "--cache-to", str(shared), "--sign", str(keys / "one"))) == "built"
    index = json.loads((shared / "index.json").read_text())
    named = {item["annotations"]["org.opencontainers.image.ref.name"]: item for item in index["manifests"]}
    swapped: dict[str, str] = {}
    for kind in ("artifact-", "node-", "build-"):
        one, two = sorted(tag for tag in named if tag.startswith(kind) and "." in tag)
        swapped |= {one: two, two: one}
    for item in index["manifests"]:
        names = item["annotations"]
        tag = names["org.opencontainers.image.ref.name"]
        names["org.opencontainers.image.ref.name"] = swapped.get(tag, tag)
    (shared / "index.json").write_text(json.dumps(index))
    reader = project(keys / "reader", "one")
    found = build(reader, "--cache-from", str(shared))
    assert state(found) == "built"
    assert any("the signature is of another record" in warning["message"] for warning in found.value["warnings"])
    assert reader.plain("app-t-1.0") == writer.plain("app-t-1.0")


def test_a_changed_record_counts_nothing(keys: Path) -> None:
    import hashlib

    shared = keys / "shared"
    assert state(build(project(keys / "writer"), "--cache-to", str(shared), "--sign", str(keys / "one"))) == "built"
    index = json.loads((shared / "index.json").read_text())
    for item in index["manifests"]:
        path = shared / "blobs/sha256" / item["digest"][7:]
        value = json.loads(path.read_text())
        value["layers"] = [{**layer, "size": layer["size"] + 1} for layer in value["layers"]]
        data = json.dumps(value).encode()
        item["digest"], item["size"] = f"sha256:{hashlib.sha256(data).hexdigest()}", len(data)
        (shared / "blobs/sha256" / item["digest"][7:]).write_bytes(data)
    (shared / "index.json").write_text(json.dumps(index))
    assert state(build(project(keys / "reader", "one"), "--cache-from", str(shared))) == "built"
    assert len(_manifests(shared)) == len(index["manifests"])


def test_keys_that_are_none_are_refused(keys: Path) -> None:
    made = project(keys / "reader", "one")
    (keys / "one.pub").write_text("no key")
    found = build(made, "--cache-from", str(keys / "shared"))
    assert (found.code, found.value["error"]["reason"]) == (1, "bad-key")
    assert (
        build(project(keys / "writer"), "--cache-to", str(keys / "shared"), "--sign", str(keys / "one.pub")).code == 1
    )


def test_luets_images_are_not_signed(address: str, keys: Path) -> None:
    found = build(project(keys / "reader", "one"), "--luet-cache", "--pull-repository", f"{address}/luet")
    assert (found.code, found.value["error"]["reason"]) == (1, "unsigned")


# waiting -------------------------------------------------------------------------------------------------------------
def test_what_somebody_builds_is_waited_for(address: str, tmp_path: Path) -> None:
    """The slow one is still at work when the other begins; what both stand on is built once."""
    at = ["--image-repository", f"{address}/cache"]
    slow, other = project(tmp_path / "slow"), project(tmp_path / "other")
    for made in (slow, other):
        made.package("t/lib", requires("seed/base") + "steps:\n- sleep 2; echo lib > /lib1\n")
        made.package("t/app", requires("t/lib") + f"steps:\n- cat /lib1 > /app; echo {made.top.name} >> /app\n")
    running = slow.process(
        "build", "--tree", "packages", "--destination", "build", *at, "--push", "--only-target-package", "t/lib"
    )
    found = build(other, *at, "--pull", "--wait", "--only-target-package")
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err + out
    assert found.code == 0, found.stderr
    assert found.states() == {"seed/base": found.states()["seed/base"], "t/lib": "pulled", "t/app": "built"}
    assert "while we waited" in found.node("t/lib")["reason"]


def test_waiting_ends(address: str, tmp_path: Path) -> None:
    made = project(tmp_path / "one")
    found = build(made, "--image-repository", f"{address}/cache", "--pull", "--wait", "--wait-limit", "0.5")
    assert state(found) == "built"
    assert [w["message"] for w in found.value["warnings"]] == [
        "nobody has pushed it within 0.5 s (--wait-limit): it is built here"
    ]


def test_a_limit_without_waiting_is_told(tmp_path: Path) -> None:
    found = build(project(tmp_path / "one"), "--wait-limit", "5")
    assert state(found) == "built"
    assert [w["message"] for w in found.value["warnings"]] == ["--wait-limit has no effect without --wait"]


def test_nobody_to_ask_is_not_waited_for(tmp_path: Path) -> None:
    found = build(project(tmp_path / "one"), "--image-repository", "127.0.0.1:1/cache", "--pull", "--wait")
    assert state(found) == "built"


def test_one_limit_is_for_all() -> None:
    from treebuilder.build.waiting import Waiting
    from treebuilder.events import Silent
    from treebuilder.system.process import Cancel

    waiting = Waiting(0.4, Silent(), Cancel())
    began = time.monotonic()
    threads = [threading.Thread(target=lambda: waiting.until(lambda: None, lambda: False)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asked: list[int] = []
    assert waiting.until(lambda: asked.append(1), lambda: False) is None
    assert asked == [1], "the time is up: it is asked for once"
    assert time.monotonic() - began >= 0.4


def test_an_interrupt_ends_it() -> None:
    from treebuilder.build.waiting import Waiting
    from treebuilder.errors import Cancelled
    from treebuilder.events import Silent
    from treebuilder.system.process import Cancel

    cancel = Cancel()
    asked: list[int] = []

    def ask() -> None:
        asked.append(1)
        if len(asked) == 2:
            cancel.set()

    with pytest.raises(Cancelled):
        Waiting(3600, Silent(), cancel).until(ask, lambda: False)
    assert len(asked) == 2
