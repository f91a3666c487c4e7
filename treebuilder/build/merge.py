"""`layering: merge`: several images over one another, refused where they disagree.

Layers are united in order, each once. If two layers, neither below the other, hold one non-directory path
differently, the order would decide silently; so that is an error which names both packages.
"""

from __future__ import annotations

from treebuilder.archive.entry import Entry, scan
from treebuilder.errors import ConflictError
from treebuilder.model.digest import Digest
from treebuilder.model.image import ImageConfig, State
from treebuilder.oci.store import Store

_IGNORED = "luetbuild/"  # every package brings its own context there


def union(states: list[tuple[str, State]], store: Store) -> State:
    """The state of all images stacked; each comes with the name of its package. Raises ConflictError."""
    if len(states) == 1:
        return states[0][1]
    layers: dict[Digest, str] = {}
    env: dict[str, str] = {}
    for name, state in states:
        for layer in state.layers:
            layers.setdefault(layer, name)
        env.update(state.config.env)
    _check(states, layers, store)
    last = states[-1][1].config
    return State(tuple(layers), ImageConfig(tuple(sorted(env.items())), last.user, last.workdir, last.shell))


def _check(states: list[tuple[str, State]], layers: dict[Digest, str], store: Store) -> None:
    private = [layer for layer in layers if sum(layer in state.layers for _, state in states) < len(states)]
    seen: dict[str, list[tuple[Digest, Entry]]] = {}
    for layer in private:
        for entry in scan(store.tree_folder(layer)):
            if entry.kind == "d" or entry.path.startswith(_IGNORED):
                continue
            for other, before in seen.get(entry.path, []):
                if not _below(other, layer, states) and not _same(before, other, entry, layer, store):
                    raise ConflictError(
                        f"{layers[other]} and {layers[layer]} both make /{entry.path}, and differently",
                        hint="let one require the other, or use `layering: chain`",
                    )
            seen.setdefault(entry.path, []).append((layer, entry))


def _below(lower: Digest, upper: Digest, states: list[tuple[str, State]]) -> bool:
    return any(lower in s.layers and upper in s.layers for _, s in states)


def _same(a: Entry, in_a: Digest, b: Entry, in_b: Digest, store: Store) -> bool:
    if a._replace(mtime=0) != b._replace(mtime=0):
        return False
    if a.kind != "f":
        return True
    left, right = store.tree_path(in_a) / a.path, store.tree_path(in_b) / b.path
    return left.read_bytes() == right.read_bytes()
