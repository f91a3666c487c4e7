"""The specfile index: an unchanged folder is not read again, and what it says is what reading would."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.indexes import Damaged
from treebuilder.errors import SpecError
from treebuilder.events import Recorder, Warned
from treebuilder.model.package import PackageId
from treebuilder.tree import FileStamp, MemoryIndex, Tree, load_tree
from treebuilder.tree import snapshot as snapshots
from treebuilder.tree.foldercells import PREFIX
from treebuilder.tree.walks import PREFIX as WALK
from treebuilder.tree.wholetree import PREFIX as WHOLE

BUILD = """\
image: alpine
requires:
- {category: c, name: base, version: ">=1"}
steps:
- echo {{ .Values.name }}
surprise: 1
"""


def write(root: Path, name: str, definition: str, build: str = "") -> Path:
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "definition.yaml").write_text(definition)
    if build:
        (folder / "build.yaml").write_text(build)
    return folder


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(snapshots, "_YOUNG_NS", -(10**18))  # nothing is young
    monkeypatch.setattr(snapshots, "_YOUNG_COARSE_NS", -(10**18))
    root = tmp_path / "tree"
    write(root, "a", 'name: a\ncategory: c\nversion: "1"\nrequires:\n- {category: c, name: b, version: ">=0"}\n', BUILD)
    subs = "image: x\nsubpackages:\n- {name: doc, category: c, version: '1'}\n"
    write(root, "b", 'name: b\ncategory: c\nversion: "1"\nprovides:\n- {category: v, name: x}\n', subs)
    items = "packages:\n- &a {name: m, category: c, version: '1'}\n- {<<: *a, version: '2', extra: {k: [1]}}\n"
    folder = write(root, "m", "name: alone\ncategory: c\n", "image: z\nsteps:\n- echo {{ .Values.version }}\n")
    (folder / "collection.yaml").write_text(items)
    (folder / "finalize.yaml").write_text("install:\n- echo\n")
    return root


def load(root: Path, index: MemoryIndex | None, *, recipes: bool = True, salt: str = "") -> tuple[Tree, list[str]]:
    events = Recorder()
    tree = load_tree([root], events=events, index=index, recipes=recipes, salt=salt)
    _ = tree.packages if recipes else ()
    return tree, [event.message for event in events.events if isinstance(event, Warned)]


def everything(tree: Tree) -> object:
    sets = tree.runtime(), tree.compiler()
    return (
        tree.packages, tree.ids,
        [[(name, s.versions(name), s.providers(name)) for name in (*s.names(), "v/x", "no/such")] for s in sets],
    )  # fmt: skip


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("second", [True, False])
def test_the_index_says_what_the_files_say(root: Path, first: bool, second: bool) -> None:
    plain, warned = load(root, None)
    assert len(plain.packages) == 5
    assert len(warned) == 1
    index = MemoryIndex()
    load(root, index, recipes=first)
    again, _ = load(root, index, recipes=second)
    assert everything(again) == everything(plain)
    third, said = load(root, index)
    assert everything(third) == everything(plain)
    assert said == warned


def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of files as they are opened."""
    opened: list[str] = []
    real = os.open

    def opening(path: str, flags: int) -> int:
        opened.append(path)
        return real(path, flags)

    monkeypatch.setattr(os, "open", opening)
    return opened


def test_nothing_is_read_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = MemoryIndex()
    first = everything(load(root, index)[0])
    opened = watched(monkeypatch)
    assert everything(load(root, index)[0]) == first
    assert opened == []


def test_a_listing_renders_nothing(root: Path) -> None:
    write(root, "bad", "name: bad\ncategory: c\n", "steps:\n- {{ nonsense }}\n")
    tree, _ = load(root, None, recipes=False)
    assert PackageId("c", "bad", "") in tree.ids
    assert tree.runtime().find(PackageId("c", "doc", "1")) is not None
    with pytest.raises(SpecError, match="nonsense"):
        tree.get(PackageId("c", "bad", ""))
    with pytest.raises(SpecError, match="nonsense"):
        load(root, None)


@pytest.mark.parametrize("name", ["definition.yaml", "build.yaml"])
def test_a_changed_file_is_read(root: Path, name: str) -> None:
    index = MemoryIndex()
    load(root, index)
    path = root / "a" / name
    path.write_text(path.read_text().replace(">=", ">"))
    assert everything(load(root, index)[0]) == everything(load(root, None)[0])


def test_another_salt_reads_anew(root: Path) -> None:
    index = MemoryIndex()
    load(root, index, salt="1")
    known = of_kind(index, PREFIX)
    load(root, index, salt="2")
    assert len(of_kind(index, PREFIX)) == 2 * len(known) > 0


def of_kind(index: MemoryIndex, prefix: str) -> list[FileStamp]:
    return [stamp for stamp in index._known if stamp.path.startswith(prefix)]


class Asked(MemoryIndex):
    """Says what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.paths: list[str] = []

    def get(self, stamp: FileStamp) -> bytes | None:
        self.paths.append(stamp.path)
        return super().get(stamp)


@pytest.mark.parametrize("recipes", [True, False])
def test_an_unchanged_tree_is_one_record(root: Path, recipes: bool) -> None:
    index = Asked()
    first = load_tree([root], events=Recorder(), index=index, recipes=recipes).ids
    index.paths.clear()
    again = load_tree([root], events=Recorder(), index=index, recipes=recipes)
    assert again.ids == first
    assert [cell.definition().id for cell in again.cells] == list(first)
    # And the records of folders that are warned of.
    assert [path.startswith((WALK, WHOLE)) for path in index.paths] == [True, True, *[False] * recipes]


def test_of_a_changed_tree_only_what_changed_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = MemoryIndex()
    load(root, index, recipes=False)
    path = root / "a" / "definition.yaml"
    path.write_text(path.read_text().replace(">=", ">"))
    write(root, "new", "name: new\ncategory: c\n")
    (root / "b" / "definition.yaml").unlink()
    opened = watched(monkeypatch)
    tree, _ = load(root, index, recipes=False)
    monkeypatch.undo()
    assert {path.split("/")[-2] for path in opened} == {"a", "new"}
    assert everything(tree) == everything(load(root, None, recipes=False)[0])


def test_the_record_of_a_tree_outlives_those_of_its_folders(root: Path) -> None:
    index = MemoryIndex()
    load(root, index)
    for stamp in of_kind(index, PREFIX):
        del index._known[stamp]
    assert of_kind(index, WHOLE)
    assert everything(load(root, index)[0]) == everything(load(root, None)[0])


def test_of_one_tree_there_is_one_record(root: Path) -> None:
    index = MemoryIndex()
    for number in range(3):
        write(root, f"more{number}", f"name: more{number}\ncategory: c\n")
        load(root, index)
    assert len(of_kind(index, WHOLE)) == 1


def test_damage_is_no_answer(root: Path) -> None:
    index = Damaged()
    first = everything(load(root, index)[0])
    assert index._known
    assert everything(load(root, index)[0]) == first


def test_twins_are_found_in_the_index_too(root: Path) -> None:
    index = MemoryIndex()
    load(root, index)
    write(root, "twin", 'name: a\ncategory: c\nversion: "1"\n')
    for recipes in (True, False):
        tree, _ = load(root, index, recipes=recipes)
        first, second = tree.doubled["a-c-1"]
        assert (first.file[-17:], first.line) == ("a/definition.yaml", 1)
        assert second.file.endswith("twin/definition.yaml")


def drawn(root: Path, index: MemoryIndex | None) -> list[str]:
    tree, _ = load(root, index)
    found = [tree.get(PackageId("c", "r", version)) for version in ("1", "2")]
    return [package.recipe.steps[0].command for package in found if package is not None]


def test_what_is_random_follows_the_files_of_the_folder(root: Path, tmp_path: Path) -> None:
    write(root, "r/sub", "name: below\ncategory: c\n")
    items = "packages:\n- {name: r, category: c, version: '1'}\n- {name: r, category: c, version: '2'}\n"
    (root / "r/collection.yaml").write_text(items)
    (root / "r/build.yaml").write_text("steps:\n- echo {{ randAlphaNum 20 }}\n")
    (root / "r/sub/file").write_text("a")
    index = MemoryIndex()
    first = drawn(root, index)
    assert len(set(first)) == 2
    assert drawn(root, index) == drawn(root, None) == first
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(root, elsewhere, symlinks=True)
    assert drawn(elsewhere, index) == first
    (root / "a" / "file").write_text("not in the folder")
    assert drawn(root, index) == first
    (root / "r/sub/file").write_text("b")
    second = drawn(root, index)
    assert drawn(root, None) == second
    assert not set(second) & set(first)


def test_a_context_that_cannot_be_built_is_no_fault_of_the_tree(root: Path) -> None:
    """What is random in it follows its text alone; building it is what is refused."""
    (root / "a/out").symlink_to("/etc")
    (root / "a/build.yaml").write_text("steps:\n- echo {{ uuidv4 }}\n")
    index = MemoryIndex()
    assert everything(load(root, index)[0]) == everything(load(root, None)[0])


def test_what_is_warned_of_is_warned_of_each_time(root: Path) -> None:
    (root / "a/build.yaml").write_text("image: x\nunpak: true\n")
    index = MemoryIndex()
    for recipes in (True, True, False, True):
        events = Recorder()
        load_tree([root], events=events, index=index, recipes=recipes)
        said = [event for event in events.events if isinstance(event, Warned) and "unpak" in event.message]
        assert len(said) == recipes
