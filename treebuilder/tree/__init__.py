"""Specfiles to a `Tree`: walk, definitions, rendered recipes, contexts.

`snapshot` walks, `definition`, `recipe` and `finalizer` read, `values` merges, `context` digests, `loader` joins it.
Importing this room costs next to nothing: `tree_fingerprint` is the fast path of a run without work, and the other
names are looked up when they are first used.
"""

from __future__ import annotations

from importlib import import_module

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.tree.snapshot import tree_fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from treebuilder.annotations import Literal
    from treebuilder.errors import SpecError
    from treebuilder.events import EventSink
    from treebuilder.tree.cells import build_view
    from treebuilder.tree.context import ContextFile
    from treebuilder.tree.files import SPECFILES
    from treebuilder.tree.finalizer import read_finalizer
    from treebuilder.tree.index import FileStamp, MemoryIndex, SpecIndex
    from treebuilder.tree.package import TreePackage
    from treebuilder.tree.recipe import recipe_faults
    from treebuilder.tree.tree import Tree

_HOMES = {
    "SPECFILES": "files", "ContextFile": "context", "FileStamp": "index", "MemoryIndex": "index", "SpecIndex": "index",
    "Tree": "tree", "TreePackage": "package", "build_view": "cells", "read_finalizer": "finalizer",
    "recipe_faults": "recipe",
}  # fmt: skip

__all__ = [
    "SPECFILES",
    "ContextFile",
    "FileStamp",
    "MemoryIndex",
    "SpecIndex",
    "Tree",
    "TreePackage",
    "build_view",
    "load_tree",
    "read_finalizer",
    "recipe_faults",
    "tree_fingerprint",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def load_tree(
    roots: Sequence[str | Path],
    *,
    values_files: Sequence[str | Path] = (),
    events: EventSink,
    index: SpecIndex | None = None,
    template_env: Mapping[str, str] | None = None,
    epoch_s: int = 0,
    dockerfiles: bool = False,
    layering: Literal["chain", "merge"] = "chain",
    recipes: bool = True,
    salt: str = "",
    faults: list[SpecError] | None = None,
    built_with: Mapping[str, Mapping[str, dict[str, object]]] | None = None,
) -> Tree:
    """Walks the roots and reads every specfile (`loader.load_tree`). Raises SpecError with file and line."""
    from treebuilder.tree import loader

    return loader.load_tree(
        roots, values_files=values_files, events=events, index=index, template_env=template_env, epoch_s=epoch_s,
        dockerfiles=dockerfiles, layering=layering, recipes=recipes, salt=salt, faults=faults,
        built_with=built_with,
    )  # fmt: skip
