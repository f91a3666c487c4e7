"""One at a time changes a repository in a folder."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.unit.repository_parts import EPOCH, Workshop, workshop
from treebuilder.app import mirroring, repositories
from treebuilder.app.alone import alone
from treebuilder.app.options import BuildOptions
from treebuilder.app.repositories import RepositoryReport
from treebuilder.app.settings import Settings
from treebuilder.app.workspace import StoredSpecIndex, Workspace
from treebuilder.errors import SpecError
from treebuilder.events import Event, EventSink, Recorder, Warned
from treebuilder.repository import CreateOptions
from treebuilder.system.files import replacing
from treebuilder.system.process import Cancel


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with workshop(tmp_path) as made:
        made.package("app/one", {"a": b"1"})
        made.package("app/two", {"a": b"2"})
        yield made


class Paused:
    """A sink that holds up who comes to a place between a repository's files and its index."""

    def __init__(self, until: Callable[[], object]) -> None:
        self.there = threading.Event()
        self._until = until

    def emit(self, event: Event) -> None:
        if isinstance(event, Warned) and "that is there becomes" in event.message:
            self.there.set()
            self._until()


def work(shop: Workshop, events: EventSink | None = None, told: Callable[[str], None] | None = None) -> Workspace:
    cancel = Cancel()
    cancel.on_wait = told
    return Workspace(Settings(), shop.store, StoredSpecIndex(shop.store), events or Recorder(), cancel)


def create(shop: Workshop, of: str, place: Workspace, name: str = "test", output: str = "") -> RepositoryReport:
    """With the definition of one of the packages only."""
    options = CreateOptions(name, "a test", shop.build, epoch_s=EPOCH)
    trees = BuildOptions((str(shop.tree / of),))
    return repositories.create(options, trees, output or str(shop.build), place, from_repositories=False)


def test_the_second_of_two_waits_for_the_first(shop: Workshop) -> None:
    create(shop, "app/one", work(shop), "before")
    goes_on = threading.Event()
    first = Paused(lambda: goes_on.wait(10))
    said: list[str] = []
    done: dict[str, RepositoryReport] = {}

    def heard(why: str) -> None:
        said.append(why)
        goes_on.set()

    def one() -> None:
        done["one"] = create(shop, "app/one", work(shop, first))

    def two() -> None:
        done["two"] = create(shop, "app/two", work(shop, told=heard))
        goes_on.set()

    threads = [threading.Thread(target=one), threading.Thread(target=two)]
    threads[0].start()
    assert first.there.wait(60)
    with replacing(shop.build / "three-app-1.package.tar.zst") as out:  # builds need no lock
        out.write(b"3")
    threads[1].start()
    for thread in threads:
        thread.join()
    index = yaml.safe_load((shop.build / "repository.yaml").read_bytes())
    for file in index["repo_files"].values():
        assert hashlib.sha256((shop.build / file["filename"]).read_bytes()).hexdigest() == file["checksums"]["sha256"]
    assert (done["one"].created.index.revision, done["two"].created.index.revision) == (2, 3)
    assert [str(package.id) for package in shop.synced().packages()] == ["app/two-1.0"]
    assert len(said) == 1
    assert "waiting for pid " in said[0]
    assert not [path.name for path in shop.build.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("verb", ["gc", "copy", "prune"])
def test_others_that_change_it_wait_too(shop: Workshop, verb: str) -> None:
    report = create(shop, "app/one", work(shop))
    waits = threading.Event()
    place = work(shop, told=lambda _: waits.set())
    other = shop.top / "other"
    create(shop, "app/two", work(shop), output=str(other))
    folder = str(shop.build)

    def change() -> None:
        if verb == "gc":
            mirroring.gc(folder, None, (), place, delete=True)
        elif verb == "copy":
            mirroring.copy(folder, str(other), "", (), place, force=True)
        else:
            repositories.pruned(report, CreateOptions("test", "", shop.build), 0, place)

    thread = threading.Thread(target=change)
    with alone(other if verb == "copy" else shop.build, work(shop)):
        thread.start()
        assert waits.wait(60)
    thread.join()


def test_pruning_takes_only_what_its_run_saw(shop: Workshop) -> None:
    report = create(shop, "app/one", work(shop))
    shop.package("app/late", {"a": b"3"})
    pruned = repositories.pruned(report, CreateOptions("test", "", shop.build), 0, work(shop))
    assert [Path(name).name for name in pruned.removed] == ["two-app-1.0.metadata.yaml", "two-app-1.0.package.tar.zst"]
    assert len(list(shop.build.glob("late-app-1.0.*"))) == 2


def test_gc_says_what_it_keeps_because_it_is_new(shop: Workshop) -> None:
    create(shop, "app/one", work(shop))
    place = work(shop, heard := Recorder())
    for path in shop.build.glob("two-app-1.0.*"):
        os.utime(path, (now := path.stat().st_mtime + 60, now))
    assert mirroring.gc(str(shop.build), None, (), place, delete=True).names == ()
    (warned,) = (event for event in heard.events if isinstance(event, Warned))
    assert "two-app-1.0" in warned.message


def test_a_folder_that_was_made_in_vain_goes_again(shop: Workshop) -> None:
    (shop.build / "one-app-1.0.package.tar.zst").unlink()
    with pytest.raises(SpecError):
        create(shop, "app/one", work(shop), output=str(shop.top / "new/er"))
    assert not (shop.top / "new").exists()
