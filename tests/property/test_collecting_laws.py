"""Whatever was published and kept: after a clean-up everything that a kept index leads to is there, and no more."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.registries import own_registry
from tests.unit.repository_parts import Workshop, workshop
from treebuilder.events import Silent
from treebuilder.oci.store import Store
from treebuilder.repository import collecting, pruning
from treebuilder.repository.copy_docker import DockerPlace, docker_references
from treebuilder.repository.copying import Source, copy_repository, read_state
from treebuilder.repository.disk import DiskBackend
from treebuilder.repository.docker import DockerBackend
from treebuilder.system.process import Cancel

_INDEX = "repository.yaml"
# of each run: the packages that are in the tree then, and whether it is a snapshot
histories = st.lists(
    st.tuples(st.sets(st.sampled_from(["a", "b", "c", "d"]), min_size=1), st.booleans()), min_size=1, max_size=4
)


def published(shop: Workshop, number: int, names: set[str], snapshot: bool) -> None:
    for path in sorted(shop.tree.rglob("*"), reverse=True) if shop.tree.is_dir() else ():
        path.rmdir() if path.is_dir() else path.unlink()
    for name in sorted(names):
        shop.package(f"app/{name}", {name: name.encode()})
    shop.create(snapshot=f"s{number}" if snapshot else "")


def whole(source: Source, reference: str) -> set[str]:
    """The files that an index leads to, every one of which can be read."""
    state = read_state(source, reference, "the repository")
    assert state is not None
    for piece in state.pieces:
        source.open(piece.name, piece.sha256, 1 << 30)
    return {piece.name for piece in state.pieces}


def kept_of(references: list[str], keep: int | None) -> list[str]:
    return references if keep is None else references[: 1 + keep]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories, st.none() | st.integers(0, 3))
def test_a_folder(history: list[tuple[set[str], bool]], keep: int | None) -> None:
    with tempfile.TemporaryDirectory() as top, workshop(Path(top)) as shop:
        references = [_INDEX]
        for number, (names, snapshot) in enumerate(history):
            published(shop, number, names, snapshot)
            if snapshot:
                references.insert(1, f"s{number}-{_INDEX}")
        pruning.delete(pruning.unreached(shop.build, shop.build, keep))
        store = Store(Path(top) / "fresh")
        backend = DiskBackend(shop.build, store, Cancel())
        kept = kept_of(references, keep)
        reached = {*kept}.union(*(whole(backend, name) for name in kept))
        store.close()
        there = {path.name for path in shop.build.iterdir() if not path.name.endswith(".metadata.yaml")}
        assert there == reached


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories, st.none() | st.integers(0, 3))
def test_a_registry(history: list[tuple[set[str], bool]], keep: int | None) -> None:
    with tempfile.TemporaryDirectory() as top, workshop(Path(top)) as shop:
        with own_registry(Path(top) / "registry") as address:
            target = DockerBackend(f"{address}/a/os", shop.store, Cancel())
            folder = DiskBackend(shop.build, shop.store, Cancel())
            for number, (names, snapshot) in enumerate(history):
                published(shop, number, names, snapshot)
                wanted = [_INDEX, *([f"s{number}-{_INDEX}"] if snapshot else [])]
                place = DockerPlace(target, shop.store, Cancel())
                copy_repository(folder, place, wanted, shop.store, Silent(), Cancel(), what="a folder")
            references = list(docker_references(target))
            collecting.delete(target, collecting.unreached(target, keep))
            kept = kept_of(references, keep)
            store = Store(Path(top) / "fresh")
            reader = DockerBackend(f"{address}/a/os", store, Cancel())
            reached = {*kept}.union(*(whole(reader, name) for name in kept))
            store.close()
            tags = {name.partition(".package.tar")[0] for name in reached}
            assert set(target.place.tags()) == tags
