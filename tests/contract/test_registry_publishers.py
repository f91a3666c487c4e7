"""Two publishers of one repository at once, one of whom is held back on the way: no index is replaced in silence."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests import services
from tests.contract.docker_parts import client, publish
from tests.contract.registry_client import MANIFEST, Client, code, sha
from tests.registries import own_registry, registry_of, served
from tests.sites import Counted, hand_back, hand_on
from tests.trees import Project
from tests.unit.repository_parts import Workshop, workshop
from treebuilder.errors import IntegrityError, TransportError
from treebuilder.events import Warned
from treebuilder.model.digest import Digest
from treebuilder.oci.remote import Repository
from treebuilder.repository import docker_publish
from treebuilder.repository.api import INDEX_NAME
from treebuilder.repository.docker import DockerBackend
from treebuilder.serve.exchange import Exchange, RefusedError
from treebuilder.serve.server import Listening, serving
from treebuilder.system.process import Cancel

pytestmark = pytest.mark.usefixtures("no_logins")

_POINTER = f"/manifests/{INDEX_NAME}"


class Relay:
    """Hands requests on. The first of two who would write an index waits: `asked` is set when it does, and it goes on
    when `go` is set. What is asked after the second one wrote waits for the first."""

    def __init__(self, registry: str) -> None:
        self.registry = registry
        self.lock = threading.Lock()
        self.written = 0
        self.asked, self.go, self.done = threading.Event(), threading.Event(), threading.Event()

    def answer(self, exchange: Exchange) -> None:
        writes = exchange.method == "PUT" and exchange.path.endswith(_POINTER)
        body = b"".join(exchange.parts())
        with self.lock:
            self.written += writes
            number = self.written if writes else 0
        if number == 1:
            self.asked.set()
            assert self.go.wait(60)
        elif exchange.path.endswith(_POINTER) and self.written == 2 and number == 0:
            assert self.done.wait(60)
        hand_back(exchange, *hand_on(exchange, self.registry, body))
        if number == 2:
            self.go.set()
        elif number == 1:
            self.done.set()


@pytest.fixture
def shops(tmp_path: Path) -> Iterator[tuple[Workshop, Workshop]]:
    with ExitStack() as stack:
        made = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            made.append(stack.enter_context(workshop(tmp_path / name)))
            made[-1].package(f"app/{name}", {name: name.encode()})
        yield made[0], made[1]


@contextmanager
def relayed(kind: str, tmp_path: Path) -> Iterator[tuple[Relay, str]]:
    with registry_of(kind, tmp_path / "registry") as registry:
        site = Relay(registry)
        with serving(site, Listening("127.0.0.1", 0)) as found:
            yield site, found


@pytest.mark.parametrize("kind", ["ours", "debian"])
def test_of_two_who_looked_at_the_same_index_one_is_told(
    kind: str, shops: tuple[Workshop, Workshop], tmp_path: Path
) -> None:
    """The first has looked and is on its way; the second writes; then the first arrives."""
    with relayed(kind, tmp_path) as (site, address), ThreadPoolExecutor(1) as pool:
        first = pool.submit(publish, shops[0], address)
        assert site.asked.wait(60)
        told = []
        try:
            publish(shops[1], address)
        except IntegrityError as err:
            told.append(err)
        found = first.exception(60)
        if found is not None:
            assert isinstance(found, IntegrityError)
            told.append(found)
        assert [err.reason for err in told] == ["changed"]
        with client(tmp_path, address) as reader:
            assert [id.name for id in reader.artifacts] == ["two" if kind == "ours" else "one"]


def test_an_index_that_took_long_is_told_of(
    shops: tuple[Workshop, Workshop], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_publish, "SETTLE_S", 0.0)
    with services.registry() as address:
        publish(shops[0], address)
        publish(shops[0], address)
    said = [event.message for event in shops[0].events.events if isinstance(event, Warned)]
    assert [message.partition(" on its way")[1] for message in said] == [" on its way"]


@pytest.mark.parametrize(
    ("condition", "there", "status"),
    [
        ({"If_None_Match": "*"}, False, 201), ({"If_None_Match": "*"}, True, 412),
        ({"If_Match": "*"}, False, 412), ({"If_Match": "*"}, True, 201),
        ({"If_Match": '"OLD"'}, True, 201), ({"If_Match": '"sha256:0", "OLD"'}, True, 201),
        ({"If_Match": '"OLD"'}, False, 412), ({"If_Match": '"sha256:0"'}, True, 412),
    ],
)  # fmt: skip
def test_our_registry_compares(tmp_path: Path, condition: dict[str, str], there: bool, status: int) -> None:
    with own_registry(tmp_path / "registry") as address:
        asking = Client(address)
        old = asking.image("a", "v1" if there else "other", [b"old"])
        new = asking.image("a", "new", [b"new"])
        headers = {name: value.replace("OLD", sha(old)) for name, value in condition.items()}
        reply = asking.ask("PUT", "/v2/a/manifests/v1", new, Content_Type=MANIFEST, **headers)
        assert reply[0] == status
        assert (reply[1].get("treebuild-compared") == "yes") == (status == 201)
        if status == 412:
            assert code(reply) == (412, "DENIED")
        led = asking.ask("GET", "/v2/a/manifests/v1")[2]
        assert led == (new if status == 201 else old) or (not there and status == 412)


def test_an_answer_that_was_lost_is_none_of_somebody_elses(tmp_path: Path) -> None:
    """The manifest is stored, and asked for again with the condition that it no longer fulfils."""
    with own_registry(tmp_path / "registry") as address:
        place = Repository(address, "a", True, Cancel())
        data = Client(address).image("a", "v1", [b"new"])
        assert place.replace_manifest("v1", data, MANIFEST, Digest.of(b"before"))
        other = Client(address).image("a", "other", [b"other"])
        with pytest.raises(TransportError) as caught:
            place.replace_manifest("v1", other, MANIFEST, None)
        assert caught.value.status == 412


class OwnTags(Counted):
    """A registry whose manifests have ETags that are no digests; unless `moves`, one whose tags stay."""

    moves = True

    def answer(self, exchange: Exchange) -> None:
        if exchange.method == "PUT" and (exchange.headers.get("If-Match") or not self.moves):
            b"".join(exchange.parts())
            raise RefusedError(412, "DENIED", "no")
        super().answer(exchange)


def test_a_registry_with_conditions_of_its_own(shops: tuple[Workshop, Workshop], tmp_path: Path) -> None:
    """It is published to a second time, and looked at as one that does not compare."""
    with served(tmp_path / "registry", OwnTags) as (site, address):
        for shop in shops:
            publish(shop, address)
        with client(tmp_path, address) as reader:
            assert [id.name for id in reader.artifacts] == ["two"]
        target = DockerBackend(f"{address}/a/repo", shops[0].store, Cancel())
        assert target.index(INDEX_NAME) is not None
        took_s = target.replace(INDEX_NAME, b"other")
        assert took_s is not None
        site.moves = False
        with pytest.raises(TransportError) as caught:
            target.replace(INDEX_NAME, b"again")
        assert caught.value.status == 412, "nobody else published"


def test_a_copy_does_not_replace_what_was_published_meanwhile(shops: tuple[Workshop, Workshop], tmp_path: Path) -> None:
    """Packages may take long to bring: whether the index may be replaced was looked at before."""
    other = [shops[1]]

    class Site(Counted):
        def answer(self, exchange: Exchange) -> None:
            if other and exchange.method == "POST":
                publish(other.pop(), address)
            super().answer(exchange)

    project, folder = Project(tmp_path), str(shops[0].build)
    words = ("--tree", str(shops[0].tree), "--packages", str(shops[0].build), "--name", "test", "--type", "disk")
    assert project.run("create-repo", *words, "--output", folder).code == 0
    with served(tmp_path / "registry", Site) as (_, address):
        done = project.run("repo", "copy", folder, f"{address}/a/repo")
        assert (done.code, done.value["error"]["reason"]) == (2, "changed"), done.stderr
        with client(tmp_path, address) as reader:
            assert [id.name for id in reader.artifacts] == ["two"]
        again = project.run("repo", "copy", folder, f"{address}/a/repo")
        assert (again.code, again.value["error"]["reason"]) == (1, "rolled-back")


@contextmanager
def interrupted(tmp_path: Path, at: str, other: list[Callable[[str], object]]) -> Iterator[str]:
    """A registry. What comes first to a path that ends so waits until the other one, if there is one, is done."""

    class Site(Counted):
        def answer(self, exchange: Exchange) -> None:
            if other and exchange.method == "PUT" and exchange.path.endswith(at):
                other.pop()(address)
            super().answer(exchange)

    with served(tmp_path / "registry", Site) as (_, address):
        yield address


@pytest.mark.parametrize("source", ["a folder", "a registry"])
@pytest.mark.parametrize("at", ["/manifests/repository.yaml.sig", _POINTER, "/manifests/tree.tar.gz"])
def test_a_copy_leaves_what_was_published_last_moment_and_its_signature(
    shops: tuple[Workshop, Workshop], tmp_path: Path, at: str, source: str
) -> None:
    """Who publishes between any two requests of the copy shows, or is told; clients take what shows."""
    project = Project(tmp_path)
    assert project.run("key", "new", str(tmp_path / "k")).code == 0
    told: list[str] = []

    def words(shop: Workshop, kind: str, to: str) -> tuple[str, ...]:
        trees = ("--tree", str(shop.tree), "--packages", str(shop.build), "--name", "test", "--type", kind)
        push = ("--push-images",) if kind == "docker" else ()
        return ("create-repo", *trees, *push, "--output", to, "--sign", str(tmp_path / "k"))

    def publish_signed(address: str) -> None:  # a process of its own, for it is another thread that asks for it
        process = project.process(*words(shops[1], "docker", f"{address}/a/repo"))
        out, _ = process.communicate(timeout=60)
        told.append(json.loads(out)["error"]["reason"] if process.returncode else "")

    other: list[Callable[[str], object]] = []
    with interrupted(tmp_path, at, other) as address:
        kind = "docker" if source == "a registry" else "disk"
        origin = f"{address}/a/origin" if kind == "docker" else str(shops[0].build)
        assert project.run(*words(shops[0], kind, origin)).code == 0
        assert project.run("repo", "copy", origin, f"{address}/a/repo").code == 0
        shops[0].package("app/three", {"three": b"3"})
        assert project.run(*words(shops[0], kind, origin)).code == 0
        other.append(publish_signed)
        done = project.run("repo", "copy", origin, f"{address}/a/repo")
        assert (done.code, done.value["error"]["reason"]) == (2, "changed"), done.stderr
        assert not other
        where = {"name": "test", "type": "docker", "enable": True, "urls": [f"{address}/a/repo"]}
        trust = {"trust": {"keys": [str(tmp_path / "k.pub")]}}
        root = {"rootfs": str(tmp_path / "root"), "database_path": "/var/db"}
        (tmp_path / "root").mkdir()
        (tmp_path / "luet.yaml").write_text(json.dumps({"system": root, "repositories": [where | trust]}))
        project.cache = "reader"
        found = project.run("repo", "update", "--config", str(tmp_path / "luet.yaml"))
        assert found.code == 0, found.stderr
        if told == [""]:
            with client(tmp_path, address) as reader:
                assert [id.name for id in reader.artifacts] == ["two"]
