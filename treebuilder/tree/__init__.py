"""Specfiles to a `Tree`: walk, definitions, rendered recipes, contexts.

`snapshot` walks, `definition`, `recipe` and `finalizer` read, `values` merges, `context` digests, `loader` joins it.
Importing this room reads no YAML or template library: `tree_fingerprint` is the fast path of a run without work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from treebuilder.tree.context import ContextFile
from treebuilder.tree.index import FileStamp, MemoryIndex, SpecIndex
from treebuilder.tree.snapshot import tree_fingerprint
from treebuilder.tree.tree import Tree, TreePackage, build_view

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Literal

    from treebuilder.events import EventSink

__all__ = [
    "ContextFile",
    "FileStamp",
    "MemoryIndex",
    "SpecIndex",
    "Tree",
    "TreePackage",
    "build_view",
    "load_tree",
    "tree_fingerprint",
]


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
) -> Tree:
    """Walks the roots and reads every specfile (`loader.load_tree`). Raises SpecError with file and line."""
    from treebuilder.tree import loader

    return loader.load_tree(
        roots, values_files=values_files, events=events, index=index, template_env=template_env, epoch_s=epoch_s,
        dockerfiles=dockerfiles, layering=layering,
    )  # fmt: skip
