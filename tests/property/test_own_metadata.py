"""Metadata of our builds, read line by line, gives what the full reader gives, or is left to it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.property.test_repository_yaml import WORDS
from treebuilder.build import metadata
from treebuilder.errors import TreebuildError
from treebuilder.model.digest import Digest
from treebuilder.model.package import Package, PackageId, PackageRef, Recipe, Step, SubPackage
from treebuilder.nodes.writing import write_yaml
from treebuilder.repository.metadata import BuiltPackage, read_built
from treebuilder.repository.ownmetadata import read_quickly

ARCHIVE = b"the archive"
NAMES = st.text("abyn01.-", min_size=1, max_size=4) | st.sampled_from(["yes", "null", "~", "é", "a b", "=1", "x'y"])
LINES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=12) | st.sampled_from([
    "", "1.0", "yes", ">=1", "- x", "a - b", "a -b", "mkdir -p /x", "echo x > /y", "a: b", "'q'", '"', "#", "x #y", "|",
    "[]",
])  # fmt: skip
TEXTS = LINES | st.sampled_from(["a\nb\n\nc\n", "a\n  b\n", "x\ty", "\n", "a\nb"])
REFS = st.lists(st.builds(PackageRef, NAMES, NAMES, LINES), max_size=3).map(tuple)
PAIRS = st.dictionaries(LINES.filter(bool), LINES, max_size=2).map(lambda found: tuple(sorted(found.items())))
PACKAGES = st.builds(
    Package, st.builds(PackageId, NAMES, NAMES, NAMES), REFS, REFS, REFS, PAIRS, PAIRS, LINES, LINES,
    st.lists(LINES, max_size=2).map(tuple), st.booleans(), st.lists(LINES, max_size=2).map(tuple),
)  # fmt: skip
LISTS = st.lists(TEXTS, max_size=2).map(tuple)
STEPS = st.lists(st.builds(Step, TEXTS), max_size=3).map(tuple)
RECIPES = st.builds(
    Recipe, image=LINES, steps=STEPS, prelude=STEPS, env=LISTS, includes=LISTS, excludes=LISTS, unpack=st.booleans(),
    package_dir=LINES, retrieve=LISTS, requires_final_images=st.booleans(),
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("built")
    (made / "x.package.tar").write_bytes(ARCHIVE)
    return made


def written(
    build: Package, runtime: Package, recipe: Recipe, files: tuple[str, ...] = ("usr/x",),
    values: dict[str, object] | None = None,
) -> bytes:  # fmt: skip
    content = Digest(hashlib.sha256(b"content").hexdigest())
    return write_yaml(metadata.document(
        build_view=build, runtime=runtime, recipe=recipe, file_name="x.package.tar", compression="none", files=files,
        sha256=Digest(hashlib.sha256(ARCHIVE).hexdigest()), content=content, epoch_s=1_700_000_000, seed="",
        extra={"content": content.hex, "plan_key": "0" * 64, "left_out": []}, values=values or {},
    ))  # fmt: skip


def same(data: bytes, folder: Path) -> bool:
    """Whether it was read quickly. Fails where that gives something else."""
    path = folder / "x.metadata.yaml"
    path.write_bytes(data)
    found = read_quickly(data)
    if found is None:
        return False
    try:
        full, archive = read_built(path, folder, Path.is_file)
    except TreebuildError as err:
        if found.archive == "x.package.tar" and found.sha256 == hashlib.sha256(ARCHIVE).hexdigest():
            pytest.fail(f"only the quick reader reads it: {err}")
        return True
    assert BuiltPackage(found.id, found.entry("x.package.tar")) == full
    assert found.archive == archive.name
    return True


@given(PACKAGES, PACKAGES, RECIPES, st.lists(LINES, max_size=3).map(tuple), st.booleans())
@settings(max_examples=150, deadline=None)
def test_what_builds_write(
    folder: Path, build: Package, runtime: Package, recipe: Recipe, files: tuple[str, ...], alike: bool
) -> None:
    same(written(runtime if alike else build, runtime, recipe, files), folder)


PLAIN = Package(
    PackageId("cat", "name", "1.0+1"), (PackageRef("cat", "other", ">=1.0"),), (PackageRef("a", "b", "1"),),
    (PackageRef("cat", "virtual", ""),), (("label", "one"),), (("note", "two"),), "What it is for.", "MIT",
    ("https://example.org",), True, ("flag",),
)  # fmt: skip
USUAL = Recipe(
    image="base:1", steps=(Step("mkdir -p /x"), Step("if true; then\n  echo x\n\nfi\n")), env=("A=b",), includes=("/x",)
)


def test_the_usual_is_read_quickly(folder: Path) -> None:
    other = Package(PackageId("cat", "name", "1.0+1"), description="x")
    assert same(written(PLAIN, PLAIN, USUAL), folder)
    assert same(written(other, PLAIN, USUAL, tuple(f"usr/{number}" for number in range(99))), folder)
    assert same(written(PLAIN, other, Recipe()), folder)
    values: dict[str, object] = {"a": {"b": 5, "c": "5", "d": [1, {"e": True}]}, "long": 1.5, "none": None}
    assert same(written(PLAIN, PLAIN, USUAL, values=values), folder)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | LINES | TEXTS,
    lambda below: st.lists(below, max_size=2) | st.dictionaries(NAMES, below, max_size=2), max_leaves=5,
)  # fmt: skip


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_what_builds_with_values_write(folder: Path, values: dict[str, object]) -> None:
    same(written(PLAIN, PLAIN, USUAL, values=values), folder)


@pytest.mark.parametrize(
    "recipe", [Recipe(subpackages=(SubPackage(PLAIN, ("/x",), ()),)), Recipe(steps=(Step("x\u2028y"),))]
)
def test_the_unusual_is_left(folder: Path, recipe: Recipe) -> None:
    assert not same(written(PLAIN, PLAIN, recipe), folder)


@given(st.lists(st.tuples(st.integers(0, 400), st.sampled_from("dtiwsp"), st.integers(0, 400), WORDS), max_size=3))
@example([(3, "w", 0, "a: b")])
@settings(max_examples=400, deadline=None)
def test_lines_that_somebody_changed(folder: Path, edits: list[tuple[int, str, int, str]]) -> None:
    lines = written(PLAIN, PLAIN, USUAL).decode().split("\n")
    for at, kind, other, word in edits:
        at, other = at % len(lines), other % len(lines)
        line = lines[at]
        match kind:
            case "d":
                del lines[at : at + 1 + other % 3]
            case "t":
                lines.insert(at, lines[other])
            case "i":
                lines[at] = f"  {line}" if other % 2 else line[2:]
            case "w":
                lines[at] = f"{line.partition(':')[0]}: {word}"
            case "s":
                lines[at], lines[other] = lines[other], line
            case _:
                lines[at] = f"{line[: len(line) - len(line.lstrip())]}- {word}"
        lines = lines or [""]
    same("\n".join(lines).encode(), folder)
