"""Publishing to a registry, and reading from it with an empty cache."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.unit.repository_parts import EPOCH, Workshop
from treebuilder.archive.compress import decompressed
from treebuilder.events import Silent
from treebuilder.model.package import PackageId
from treebuilder.oci.store import Store
from treebuilder.records import replace
from treebuilder.repository import Created, CreateOptions, RepositorySource, SyncedRepository, Trees, create_repository
from treebuilder.repository.api import INDEX_NAME
from treebuilder.repository.docker import DockerBackend
from treebuilder.repository.docker_publish import DockerOutput
from treebuilder.repository.synced import sync
from treebuilder.system.process import Cancel
from treebuilder.tree import load_tree, tree_fingerprint
from treebuilder.trust.keys import PrivateKey
from treebuilder.trust.policy import UNVERIFIED


def publish(
    shop: Workshop,
    address: str,
    *,
    push: bool = True,
    force: bool = False,
    keys: tuple[PrivateKey, ...] = (),
    **options: Any,
) -> Created:
    chosen = replace(CreateOptions("test", "a test", shop.build, type="docker", epoch_s=EPOCH), **options)
    trees = Trees(
        tree_fingerprint([shop.tree]),
        (str(shop.tree),),
        lambda: (load_tree([str(shop.tree)], events=shop.events, recipes=False), ()),
    )
    target = DockerBackend(f"{address}/a/repo", shop.store, Cancel(), epoch_s=EPOCH)
    output = DockerOutput(
        target, shop.build, shop.store, shop.events, Cancel(), epoch_s=EPOCH, push=push, force=force, keys=keys
    )  # fmt: skip
    return create_repository(chosen, trees, output, shop.events, shop.store, entries=output.entries)


@contextmanager
def client(tmp_path: Path, address: str, reference: str = INDEX_NAME) -> Iterator[SyncedRepository]:
    """Somebody with an empty cache."""
    store = Store(tmp_path / f"client-{len(list(tmp_path.iterdir()))}")
    try:
        source = RepositorySource("test", "docker", (f"{address}/a/repo",), reference=reference, trust=UNVERIFIED)
        yield sync(source, store, Silent(), Cancel())
    finally:
        store.close()


def content(repository: SyncedRepository, name: str, version: str = "1.0") -> dict[str, bytes]:
    path = repository.fetch(repository.artifacts[PackageId("app", name, version)])
    with path.open("rb") as source, tarfile.open(fileobj=io.BytesIO(decompressed(source).read())) as found:
        return {item.name: found.extractfile(item).read() for item in found if item.isfile()}  # type: ignore[union-attr]
