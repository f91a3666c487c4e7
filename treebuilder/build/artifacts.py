"""Packs the artifacts of a node: the package and its sub-packages, under plan key and artifact key."""

from __future__ import annotations

from collections.abc import Callable

from treebuilder.annotations import Any
from treebuilder.archive.compress import prepare
from treebuilder.build.emit import files_note
from treebuilder.build.pack import Item, filtered, package_items, select, write_package
from treebuilder.build.results import ArtifactResult, NodeResult
from treebuilder.build.worker import Worker
from treebuilder.errors import NotReproducible
from treebuilder.model.digest import Digest
from treebuilder.model.package import Recipe
from treebuilder.model.patterns import compile_filter
from treebuilder.oci.store import Store
from treebuilder.oci.view import StackView
from treebuilder.plan.graph import BuildNode
from treebuilder.plan.keys import NodeKeys, artifact_key, digest_of, sub_artifact_key
from treebuilder.records import record, replace


@record
class Packages:
    """The main artifact of a node and those of its sub-packages, in the recipe's order."""

    main: ArtifactResult
    subs: tuple[ArtifactResult, ...]
    build_key: Digest

    def to_json(self) -> dict[str, object]:
        subs = [sub.to_json() for sub in self.subs]
        return {"main": self.main.to_json(), "subs": subs, "build_key": self.build_key.hex}

    @staticmethod
    def from_json(v: dict[str, Any]) -> Packages:
        subs = tuple(ArtifactResult.from_json(sub) for sub in v["subs"])
        return Packages(ArtifactResult.from_json(v["main"]), subs, Digest(v["build_key"]))

    def only(self, compression: str) -> Packages:
        """The same with the archives of one compression alone, which each must have."""
        main, *subs = (replace(one, blobs={compression: one.blobs[compression]}) for one in self.all())
        return Packages(main, tuple(subs), self.build_key)

    def all(self) -> tuple[ArtifactResult, ...]:
        return (self.main, *self.subs)


def _contents(packages: Packages) -> list[Digest]:
    return [one.content for one in packages.all()]


def recorded(store: Store, keys: NodeKeys, compression: str) -> Packages | None:
    """The artifacts of a plan key, if they are recorded and their archives are here in this compression."""
    found = store.index.get(keys.artifact.hex)
    if found is None:
        return None
    packages = Packages.from_json(found)
    if all(compression in a.blobs and store.has_blob(a.blobs[compression][0]) for a in packages.all()):
        return packages
    return None


def source_digest(recipe: Recipe, result: NodeResult) -> Digest:
    """What an artifact is made from: a whole image, or a layer and what of it was there before."""
    if recipe.unpacks:
        return digest_of(["image", [d.hex for d in result.own]])
    steps = result.steps.hex if result.steps else ""
    return digest_of(["layer", steps, [*result.changed], [*result.deleted], [*result.passed]])


def left_out_of(recipe: Recipe, result: NodeResult) -> tuple[str, ...]:
    """What the steps changed or deleted and the package does not hold."""
    if recipe.unpacks:
        return ()
    changed = () if recipe.delta == "changes" else result.changed
    return tuple(sorted({*changed, *result.deleted}))


class Packer:
    """Packs on any thread. One for a run."""

    def __init__(self, store: Store, worker: Worker, compression: str) -> None:
        self._store = store
        self._worker = worker
        self._compression = compression

    def prepare(self) -> None:
        """Makes ahead of time what packing needs."""
        prepare(self._compression)

    def pack_node(self, node: BuildNode, keys: NodeKeys, result: NodeResult) -> Packages:
        """Artifacts of a built node; packed now unless the same content was packed before."""
        recipe = node.package.recipe
        key = artifact_key(source_digest(recipe, result), recipe)
        selected: list[Item] | None = None

        def items() -> list[Item]:
            nonlocal selected
            if selected is None:
                selected = self._select(node, result)
            return selected

        main = self._one(key, items, left_out_of(recipe, result))
        subs = []
        for sub in recipe.subpackages:
            keep = compile_filter(sub.includes, sub.excludes)
            sub_key = sub_artifact_key(key, sub.includes, sub.excludes)

            def chosen(keep: Callable[[str], bool] = keep) -> list[Item]:
                return filtered(items(), lambda path: keep(f"/{path}"), "", frozenset())

            subs.append(self._one(sub_key, chosen, ()))
        packages = Packages(main, tuple(subs), result.build_key)
        before = recorded(self._store, keys, self._compression)
        if before is not None and before.build_key == result.build_key and _contents(before) != _contents(packages):
            raise NotReproducible(
                f"{node.pid}: the same inputs gave another package than the one that is recorded here",
                hint="the recorded one stays; make the steps reproducible (times, random names, caches)",
            )
        self._store.index.replace([(keys.artifact.hex, "artifact", str(node.pid), packages.to_json())])
        return packages

    def _one(self, key: Digest, items: Callable[[], list[Item]], left_out: tuple[str, ...]) -> ArtifactResult:
        with self._store.single_flight(key.hex):
            found = self._store.index.get(key.hex)
            known = ArtifactResult.from_json(found) if found is not None else None
            if known is not None:
                there = {kind: pair for kind, pair in known.blobs.items() if self._store.has_blob(pair[0])}
                if self._compression in there:
                    return known
            packed = write_package(self._store, items(), self._compression)
            blobs = {**(dict(known.blobs) if known else {}), self._compression: (packed.blob, packed.blob_size_bytes)}
            made = ArtifactResult(packed.content, packed.size_bytes, blobs, left_out)
            note = files_note(packed.content, packed.files)
            self._store.index.replace([(key.hex, "packed", "", made.to_json())], [note])
            return made

    def _select(self, node: BuildNode, result: NodeResult) -> list[Item]:
        recipe = node.package.recipe
        tree = None
        passed: frozenset[str] = frozenset()
        left_out: frozenset[str] = frozenset()
        if recipe.unpacks:
            self._worker.need(result.own)
        elif result.steps is not None:
            self._worker.need((result.steps,))
            tree = self._store.tree_path(result.steps)
            passed = frozenset(result.passed)
            if recipe.delta == "additions":
                folders = {p for p in result.changed if (tree / p).is_dir() and not (tree / p).is_symlink()}
                left_out = frozenset(result.changed) - folders
                passed |= folders
        view = StackView(tuple(self._store.tree_folder(layer) for layer in result.own))
        return select(package_items(recipe, tree, view, left_out), recipe, passed)
