"""Layers against the kernel: our view of a stack is overlayfs's, and sealing changes nothing that shows."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from treebuilder.archive.entry import Entry, entry_of, scan
from treebuilder.build.dockerfile_squash import squash
from treebuilder.container import namespace, overlay
from treebuilder.model.digest import Digest
from treebuilder.oci.seal import seal
from treebuilder.oci.store import Store
from treebuilder.oci.view import StackView

pytestmark = pytest.mark.engine

EPOCH_S = 1_600_000_000
NAMES = ["a", "b", "c", "a/x", "a/y", "b/x", "b/x/deep", "c/x", "c/x/deep"]

KINDS = [
    "write", "mkdir", "remove", "link", "hard", "chmod", "chown", "touch", "rewrite", "rename", "remake", "xattr",
    "same",
]  # fmt: skip
operation = st.tuples(st.sampled_from(KINDS), st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(0, 3))
BASE = [
    ("mkdir", "a", "a", 0), ("write", "a/x", "a", 1), ("hard", "a/y", "a/x", 0), ("mkdir", "b/x", "b", 0),
    ("write", "b/x/deep", "b", 2), ("link", "c", "b", 0),
]  # fmt: skip


def apply(root: Path, step: tuple[str, str, str, int]) -> None:
    """One change to a mounted root; what the kernel refuses has not happened."""
    what, one, two, number = step
    path, other = root / one, root / two
    try:
        match what:
            case "write":
                path.write_text(f"{number}\n")
            case "mkdir":
                path.mkdir(parents=True)
            case "remove":
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            case "link":
                path.symlink_to(two)
            case "hard":
                os.link(other, path, follow_symlinks=False)
            case "chmod":
                path.chmod(0o600 + number)
            case "chown":
                os.chown(path, number, number, follow_symlinks=False)
            case "touch":
                os.utime(path, (number, number), follow_symlinks=False)
            case "rewrite":
                path.write_bytes(path.read_bytes())
            case "same":
                path.chmod(path.stat().st_mode & 0o7777)
            case "rename":
                path.rename(other)
            case "remake":
                shutil.rmtree(path)
                path.mkdir()
            case _:
                os.setxattr(path, "user.n", str(number).encode())
    except (OSError, shutil.Error):
        return


def plain(entry: Entry) -> tuple[object, ...]:
    """What everybody can see of an entry; times of folders are traces, and links are told by content."""
    kind = "f" if entry.kind == "h" else entry.kind
    return (entry.path, kind, entry.mode, entry.uid, entry.gid, entry.link if kind == "l" else "", entry.xattrs)


def shown(root: Path) -> Iterator[tuple[object, ...]]:
    for entry in scan(str(root)):
        full = root / entry.path
        content = full.read_bytes() if entry.kind in "fh" else b""
        yield (*plain(entry), content)


def viewed(view: StackView) -> Iterator[tuple[object, ...]]:
    for entry, real in view.walk():
        content = Path(real).read_bytes() if entry.kind in "fh" else b""
        yield (*plain(entry), content)
        found = view.find(entry.path)
        assert found is not None
        again = entry_of(found.real, entry.path, found.info)
        assert again is not None
        assert plain(again._replace(opaque=False)) == plain(entry)


def run(store: Store, layers: tuple[Digest, ...], steps: list[tuple[str, str, str, int]]) -> Digest:
    """Makes the next layer as the native engine does; checks that nothing that shows was lost."""
    lowers = [str(store.tree_path(layer)) for layer in layers]
    view = StackView(tuple(lowers))
    with store.scratch() as work:
        for name in ("empty", "upper", "work", "root"):
            (work / name).mkdir()
        stack = [str(work / "empty"), *lowers]
        with overlay.mounted(stack, work / "upper", work / "work", work / "root", unprivileged=False):
            before = list(shown(work / "root"))
            assert list(viewed(view)) == before
            for step in steps:
                apply(work / "root", step)
            after = list(shown(work / "root"))
        sealed = seal(str(work / "upper"), view, EPOCH_S)
        store.add_tree(work / "upper", sealed.content, sealed.listing)
    assert list(viewed(StackView((*lowers, str(store.tree_path(sealed.content)))))) == after
    if before == after:
        assert sealed.size_bytes == 1024, "a layer that changes nothing is empty"
    gone = {row[0] for row in before} - {row[0] for row in after}
    tops = {path for path in gone if str(path).rpartition("/")[0] not in gone}
    assert {str(path) for path in tops} <= set(sealed.deleted) | {str(path) for path in _below(tops, sealed.changed)}
    kept = {entry.path for entry in scan(str(store.tree_path(sealed.content))) if entry.kind != "w"}
    known = {str(row[0]) for row in before}
    assert kept & known == set(sealed.changed) | set(sealed.kept_folders)
    return sealed.content


def _below(paths: set[object], changed: tuple[str, ...]) -> set[object]:
    """Paths whose folder became something else."""
    return {path for path in paths if any(str(path).startswith(f"{top}/") for top in changed)}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(operation, max_size=8), min_size=1, max_size=4))
@example([[("remake", "b", "a", 0), ("write", "b/x", "a", 0)]])
@example([[("write", "b/x/deep", "a", 0)], [("remake", "b/x", "a", 0), ("write", "b/x/deep", "a", 0)]])
@example([[("remove", "b", "a", 0)], [("mkdir", "b/x", "a", 0)]])
@example([[("remove", "b", "a", 0), ("mkdir", "b/x", "a", 0)]])
@example([[("xattr", "a", "a", 0)], [("remake", "a", "a", 0)]])
def test_layers_show_what_the_kernel_shows(stages: list[list[tuple[str, str, str, int]]]) -> None:
    namespace.enter_private_mounts()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        try:
            layers: tuple[Digest, ...] = ()
            for steps in [BASE, *stages]:
                layers += (run(store, layers, steps),)
            for count in range(len(layers)):
                _squashed(store, layers[:count], layers[count:])
        finally:
            store.close()


def _squashed(store: Store, below: tuple[Digest, ...], above: tuple[Digest, ...]) -> None:
    """The upper layers as one show the same."""
    lowers = tuple(str(store.tree_path(layer)) for layer in below)
    uppers = tuple(str(store.tree_path(layer)) for layer in above)
    one = squash(store, above, StackView(lowers), EPOCH_S)
    assert list(viewed(StackView((*lowers, str(store.tree_path(one.content)))))) == list(
        viewed(StackView((*lowers, *uppers)))
    )
