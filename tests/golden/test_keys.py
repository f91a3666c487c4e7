"""Keys hold still where nothing changed, and move with every input."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from treebuilder.errors import Place
from treebuilder.events import Silent
from treebuilder.model.digest import Digest
from treebuilder.model.image import ImageConfig, State
from treebuilder.model.locked import LockedBase, LockedPackage
from treebuilder.model.package import (
    Bootstrap,
    CopyItem,
    Package,
    PackageId,
    PackageRef,
    Recipe,
    Step,
    SubPackage,
)
from treebuilder.plan.graph import BuildNode, EmptyBase
from treebuilder.plan.keys import artifact_key, build_key, plan_keys, recipe_document, recipe_fields
from treebuilder.plan.lock import FIRST_EPOCH_S, Lock, bootstrap_key, parse, render
from treebuilder.plan.planner import Planner, PlanOptions
from treebuilder.records import fields, replace
from treebuilder.solver import PackageSolver
from treebuilder.tree import Tree, load_tree

HERE = Path(__file__).parent
REF = PackageRef("c", "n", "1")
OTHER: dict[str, Any] = {
    "image": "alpine", "requires": (REF,), "conflicts": (REF,), "provides": (REF,), "prelude": (Step("x"),),
    "steps": (Step("x"),), "env": ("A=1",), "copy": (CopyItem(REF, "", "/a", "/b"),), "retrieve": ("x",),
    "unpack": True,
    "package_dir": "/out", "includes": ("a",), "excludes": ("a",), "requires_final_images": True,
    "subpackages": (SubPackage(Package(PackageId("a", "b", "c"))),), "dockerfile": "FROM x",
    "bootstrap": Bootstrap("debian", "s", "v", ("p",)), "layering": "merge", "delta": "changes", "network": "none",
    "secrets": ("TOKEN",),
}  # fmt: skip


def write_tree(top: Path) -> Tree:
    for name, recipe in (
        ("base", "image: scratch\n"),
        ("app", 'requires:\n- {category: t, name: base, version: ">=0"}\nsteps:\n- echo {{ .Values.name }} > /x\n'),
        ("top", 'requires:\n- {category: t, name: app, version: ">=0"}\nunpack: true\nexcludes: [^/luetbuild]\n'),
    ):
        folder = top / "packages" / name
        folder.mkdir(parents=True)
        (folder / "definition.yaml").write_text(f'category: "t"\nname: "{name}"\nversion: "1.0"\n')
        (folder / "build.yaml").write_text(recipe)
        for path in (folder / "definition.yaml", folder / "build.yaml"):
            os.chmod(path, 0o644)
        os.chmod(folder, 0o755)
    return load_tree([top / "packages"], events=Silent())


def keys_of(tree: Tree) -> dict[str, dict[str, str]]:
    planner = Planner(tree, PackageSolver(), PlanOptions(Path("/nowhere")))
    plan = planner.plan(tuple(found.package.id.exact for found in tree.packages))
    found = plan_keys(plan, tree, Lock(epoch_s=1_700_000_000))
    return {
        str(plan.nodes[id].pid): {"recipe": k.recipe.hex, "plan": k.plan.hex, "artifact": k.artifact.hex}
        for id, k in found.items()
    }


def test_keys_hold_still(tmp_path: Path) -> None:
    """Rewrite with `REWRITE=1` only together with a raised schema or semantics number."""
    found = keys_of(write_tree(tmp_path))
    golden = HERE / "keys.json"
    if os.environ.get("REWRITE"):
        golden.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    assert found == json.loads(golden.read_text())


def test_every_field_of_a_recipe_is_in_its_key(tmp_path: Path) -> None:
    tree = write_tree(tmp_path)
    found = tree.packages[0]
    lock = Lock(epoch_s=1)

    def document(recipe: Recipe) -> dict[str, Any]:
        package = replace(found, recipe=recipe)
        return recipe_document(BuildNode("id", package, EmptyBase()), tree, lock)

    plain = Recipe()
    names = {f.name for f in fields(Recipe) if f.compare} - {"has_build_file"}
    assert names == set(OTHER), "a new field needs another value here"
    for name, value in OTHER.items():
        assert getattr(plain, name) != value
        assert document(replace(plain, **{name: value})) != document(plain), name
    assert document(replace(plain, where=Place("elsewhere", 9), seed="x")) == document(plain)


def test_the_context_is_in_the_key_and_times_are_not(tmp_path: Path) -> None:
    before = keys_of(write_tree(tmp_path))
    file = tmp_path / "packages/app/build.yaml"
    os.utime(file, (5, 5))
    assert keys_of(load_tree([tmp_path / "packages"], events=Silent())) == before
    os.chmod(file, 0o600)
    moded = keys_of(load_tree([tmp_path / "packages"], events=Silent()))
    assert moded["t/app-1.0"]["plan"] != before["t/app-1.0"]["plan"]
    assert moded["t/top-1.0"]["plan"] != before["t/top-1.0"]["plan"]
    assert moded["t/base-1.0"] == before["t/base-1.0"]
    (tmp_path / "packages/app/more").write_text("x")
    assert keys_of(load_tree([tmp_path / "packages"], events=Silent()))["t/app-1.0"] != moded["t/app-1.0"]


def test_build_keys_depend_on_states_alone() -> None:
    r, a, b = (Digest(c * 64) for c in "abc")
    plain = build_key(r, State((a,)), (), ())
    assert build_key(r, State((a,)), (), ()) == plain
    env = ImageConfig((("K", "v"),))
    others = [
        build_key(a, State((a,)), (), ()), build_key(r, State((a, b)), (), ()), build_key(r, State((a,), env), (), ()),
        build_key(r, State((a,)), (State((b,)),), ()), build_key(r, State((a,)), (), (("n", b),)),
        build_key(r, State((a,)), (), (("m", b),)),
    ]  # fmt: skip
    assert len({plain, *others}) == 7


@pytest.mark.parametrize(
    "change", [{"unpack": True}, {"package_dir": "/o"}, {"includes": ("a",)}, {"delta": "changes"}]
)
def test_artifact_keys_depend_on_how_it_is_packed(change: dict[str, Any]) -> None:
    source = Digest("a" * 64)
    assert artifact_key(source, Recipe()) != artifact_key(source, replace(Recipe(), **change))
    some, other = Recipe(steps=(Step("some"),)), Recipe(steps=(Step("other"),), image="x")
    assert artifact_key(source, some) == artifact_key(source, other)


def test_a_lock_reads_what_it_wrote(tmp_path: Path) -> None:
    wish = Bootstrap("debian", "bookworm", "minbase", ("a", "b"))
    file = LockedPackage("a", "1:2.0-3", "amd64", Digest("b" * 64), "http://x/a.deb", 12)
    lock = Lock(5, {"alpine": Digest("a" * 64)}, {"http://x": Digest("c" * 64)}, {})
    lock = lock.with_bootstrap(bootstrap_key(wish), LockedBase((file,), 7, "a b"))
    assert parse(render(lock).decode(), "lock") == lock
    assert recipe_fields(Recipe(bootstrap=wish))["bootstrap"]["packages"] == ["a", "b"]


def test_a_lock_takes_the_time_that_is_said_else_its_own_else_its_newest_bootstraps() -> None:
    bare, dated = Lock(), Lock(bootstraps={"a": LockedBase((), 400_000_000), "b": LockedBase((), 500_000_000)})
    assert [lock.with_epoch(None).epoch_s for lock in (bare, dated, replace(dated, epoch_s=5))] == [
        FIRST_EPOCH_S, 500_000_000, 5,
    ]  # fmt: skip
    assert [dated.with_epoch(said).epoch_s for said in (0, 7)] == [0, 7]
