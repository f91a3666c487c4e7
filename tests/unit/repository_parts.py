"""Packages as a build leaves them, made without a build: real archives and real metadata, for tests of what follows."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from treebuilder.archive.compress import SUFFIXES, compressor
from treebuilder.archive.entry import Entry
from treebuilder.archive.tar import write_entries
from treebuilder.build import metadata
from treebuilder.events import Recorder
from treebuilder.model.digest import Digest
from treebuilder.model.package import Package, PackageId, PackageRef, Recipe
from treebuilder.nodes.writing import write_yaml
from treebuilder.oci.store import Store
from treebuilder.records import replace
from treebuilder.repository import (
    Created,
    CreateOptions,
    RepositoryPackages,
    RepositorySource,
    SyncedRepository,
    Trees,
    create_repository,
    sync,
)
from treebuilder.repository.disk import DiskBackend
from treebuilder.system.process import Cancel
from treebuilder.tree import load_tree, tree_fingerprint

EPOCH = 1_700_000_000


def ref(word: str) -> PackageRef:
    """`cat/name` or `cat/name@version`."""
    name, _, version = word.partition("@")
    category, _, short = name.rpartition("/")
    return PackageRef(category, short, version or ">=0")


def archive(files: dict[str, str | bytes | None], compression: str = "zstd") -> bytes:
    """Paths to content: None is a folder, text a link's target, bytes a file (those under bin/ can be run)."""
    entries: list[Entry] = []
    uid, gid = os.getuid(), os.getgid()
    for path, content in sorted(files.items(), key=lambda item: item[0].split("/")):
        if content is None:
            entries.append(Entry(path, "d", 0o755, uid, gid, 0, EPOCH))
        elif isinstance(content, str):
            entries.append(Entry(path, "l", 0o777, uid, gid, 0, EPOCH, content))
        else:
            mode = 0o755 if "bin/" in path else 0o644
            entries.append(Entry(path, "f", mode, uid, gid, len(content), EPOCH))
    out = io.BytesIO()
    packer = compressor(compression, out)

    def opener(entry: Entry) -> io.BytesIO:
        content = files[entry.path]
        assert isinstance(content, bytes)
        return io.BytesIO(content)

    write_entries(entries, packer, opener, whiteouts=False)
    packer.close()
    return out.getvalue()


@dataclass
class Workshop:
    """A tree, a folder of built packages that is the repository too, and a store."""

    top: Path
    store: Store
    events: Recorder

    @property
    def tree(self) -> Path:
        return self.top / "tree"

    @property
    def build(self) -> Path:
        return self.top / "build"

    def package(
        self, name: str, files: dict[str, str | bytes | None], *, version: str = "1.0", requires: tuple[str, ...] = (),
        provides: tuple[str, ...] = (), conflicts: tuple[str, ...] = (), finalize: str = "", hidden: bool = False,
        in_tree: bool = True, listed: tuple[str, ...] | None = None,
    ) -> PackageId:  # fmt: skip
        """Writes definition, archive and metadata. `listed` is what its metadata claims it holds."""
        self.build.mkdir(parents=True, exist_ok=True)
        self.tree.mkdir(parents=True, exist_ok=True)
        category, _, short = name.rpartition("/")
        id = PackageId(category, short, version)
        package = Package(
            id, tuple(map(ref, requires)), tuple(map(ref, conflicts)), tuple(map(ref, provides)), hidden=hidden
        )
        if in_tree:
            folder = self.tree / category / short / version
            folder.mkdir(parents=True, exist_ok=True)
            value: dict[str, Any] = {"category": category, "name": short, "version": version, "hidden": hidden}
            for key, words in (("requires", requires), ("provides", provides), ("conflicts", conflicts)):
                refs = map(ref, words)
                value[key] = [{"category": r.category, "name": r.name, "version": r.version} for r in refs]
            (folder / "definition.yaml").write_text(json.dumps(value))
            if finalize:
                (folder / "finalize.yaml").write_text(finalize)
        data = archive(files)
        file = f"{id.fingerprint}.package.tar{SUFFIXES['zstd']}"
        (self.build / file).write_bytes(data)
        content = Digest.of(archive(files, "none"))
        names = tuple(sorted(path for path, content in files.items() if content is not None))
        described = metadata.document(
            build_view=package, runtime=package, recipe=Recipe(), file_name=file, sha256=Digest.of(data),
            compression="zstd", files=() if hidden else names if listed is None else listed, content=content,
            epoch_s=EPOCH, seed="", extra={"content": content.hex, "plan_key": "0" * 64},
        )  # fmt: skip
        (self.build / f"{id.fingerprint}.metadata.yaml").write_bytes(write_yaml(described))
        return id

    def forget(self, name: str) -> None:
        """No version of a package is there any more."""
        category, _, short = name.rpartition("/")
        for path in self.build.glob(f"{short}-{category}-*"):
            path.unlink()
        shutil.rmtree(self.tree / category / short)

    def create(self, **options: Any) -> Created:
        """Composes the repository."""
        chosen = replace(CreateOptions("test", "a test", self.build, epoch_s=EPOCH), **options)
        trees = Trees(
            tree_fingerprint([self.tree]),
            (str(self.tree),),
            lambda: (load_tree([str(self.tree)], events=self.events, recipes=False), ()),
        )
        backend = DiskBackend(self.build, self.store, Cancel())
        return create_repository(chosen, trees, backend, self.events, self.store)

    def synced(self, name: str = "test", priority: int = 0) -> SyncedRepository:
        source = RepositorySource(name, "disk", (str(self.build),), priority)
        return sync(source, self.store, self.events, Cancel())

    def packages(self) -> RepositoryPackages:
        """The repository as it is now, made first."""
        self.create()
        return RepositoryPackages([self.synced()])


@contextmanager
def workshop(top: Path) -> Iterator[Workshop]:
    store = Store(top / "cache")
    try:
        yield Workshop(top, store, Recorder())
    finally:
        store.close()
