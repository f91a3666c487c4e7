"""luet.md §4.2: hashes and tags as the real engine gave them."""

from __future__ import annotations

from pathlib import Path

import pytest

from treebuilder.errors import SpecError
from treebuilder.events import Silent
from treebuilder.model.package import PackageId, PackageRef
from treebuilder.plan import luethash
from treebuilder.plan.luettags import LuetOrders, luet_tags
from treebuilder.plan.planner import Planner, PlanOptions
from treebuilder.solver import PackageSolver
from treebuilder.tree import TreePackage, load_tree

FILES = {
    "a/definition.yaml": 'category: "test"\nname: "a"\nversion: "1.0"\n',
    "a/build.yaml": 'image: "alpine"\nprelude:\n- echo p\nsteps:\n- touch /a\n',
    "b/definition.yaml": 'category: "test"\nname: "b"\nversion: "1.1+2"\n',
    "b/build.yaml": (
        'requires:\n- category: "test"\n  name: "a"\n  version: ">=0"\nenv:\n- FOO=bar\nsteps:\n- touch /b\n'
        "excludes:\n- ^/luetbuild\n"
    ),
    "c/definition.yaml": 'category: "test"\nname: "c"\nversion: "2"\n',
    "c/build.yaml": (
        'requires:\n- category: "test"\n  name: "b"\n  version: ">=1.0"\n- category: "test"\n  name: "a"\n'
        '  version: "1.0"\nunpack: true\npackage_dir: /out\nincludes:\n- ^/out/x\ncopy:\n- image: "alpine"\n'
        "  source: /etc\n  destination: /out/x\nsteps:\n- mkdir -p /out/x\n"
    ),
}
A = "9d0e4d64dddf2e1c17c9eb3ae27a3b34f05be77e9012762f71ea362d578864bb"
B = "bb6d4afb8bf220a1f19e465c9cb12031fccf3963077186bdcd9ec201cd07488c"
C = "6073e698851747e3ab4667fc81b02ee41959d08c617d356c5f799f0677f0673d"


@pytest.fixture
def chain(tmp_path: Path) -> list[TreePackage]:
    """a, b and c, each built on those before it."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    tree = load_tree([tmp_path], events=Silent())
    found = [tree.get(PackageId("test", name, v)) for name, v in (("a", "1.0"), ("b", "1.1+2"), ("c", "2"))]
    return [package for package in found if package is not None]


def test_signatures_and_folders(chain: list[TreePackage]) -> None:
    assert [luethash.signature(found.recipe) for found in chain] == [
        6796178777148985732, 6327628852054257511, 17910473112652394357
    ]  # fmt: skip
    assert [luethash.folder_hash(found.context) for found in chain] == [
        "h1:6Dsb7ISCHiM4kQApakzwrJVFaBOQbmvURovgwSNKMak=",
        "h1:rw+uy540XkZnPcB3E71qNs3MyC4mVGCvpfh96VT0xII=",
        "h1:9HsbyxrYHZMOL9q5avVcUGcSIczSow1IA4b+/boDAEY=",
    ]


def test_packages_and_what_they_are_built_on(chain: list[TreePackage]) -> None:
    assert [luethash.package_hash(chain[:n]) for n in (1, 2, 3)] == [A, B, C]
    first = "f95ed13b3438e55867af74d564ef835a9347296609b315353211db85d1d6dffe"
    assert [luethash.build_hash(chain[:n]) for n in (1, 2, 3)] == [first, A, B]


def test_tags_of_builders(chain: list[TreePackage]) -> None:
    assert [luethash.builder_tag(found, key) for found, key in zip(chain, (A, B, C), strict=True)] == [
        "builder-46bbda5102a63be4747441f7bb346924",
        "builder-fd9de0fdfa3553c4f79251f0ddd19337",
        "builder-8f448991189785f242bf87ad80ca4f47",
    ]
    assert luethash.builder_tag(chain[1], C) == "builder-f875fbf68e4695361507e9090eabf2c6"


def test_a_name_with_a_line_end(tmp_path: Path) -> None:
    (tmp_path / "a\nb").write_text("")
    with pytest.raises(SpecError, match="line end"):
        luethash.folder_hash(str(tmp_path))


def test_tags_of_the_nodes_of_a_plan(tmp_path: Path) -> None:
    """`luet build test/c` makes exactly these for c, and for b and a on the way; a and b alone have builders too."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    tree, solver = load_tree([tmp_path], events=Silent()), PackageSolver()
    plan = Planner(tree, solver, PlanOptions(tmp_path / "build")).plan((PackageRef("test", "c", "2"),))
    found = {plan.nodes[id].pid.name: [(t.package, t.builder) for t in tags]
             for id, tags in luet_tags(plan, tree, solver).items()}  # fmt: skip
    first = "f95ed13b3438e55867af74d564ef835a9347296609b315353211db85d1d6dffe"
    assert found == {
        "a": [
            (A, "builder-46bbda5102a63be4747441f7bb346924"),
            (A, first),
        ],
        "b": [(B, "builder-fd9de0fdfa3553c4f79251f0ddd19337"), (B, "builder-f875fbf68e4695361507e9090eabf2c6")],
        "c": [(C, "builder-8f448991189785f242bf87ad80ca4f47")],
    }


def test_what_is_built_on_final_images_stands_on_nothing(tmp_path: Path) -> None:
    """luet.md §4.2: its hashes are made with its requires taken away, wherever it stands in a chain."""
    ref = "- {category: test, name: NAME, version: '>=0'}\n"
    files = {
        "base": "image: alpine\n",
        "joined": f"requires:\n{ref.replace('NAME', 'base')}requires_final_images: true\nsteps: [a]\n",
        "app": f"requires:\n{ref.replace('NAME', 'joined')}steps: [b]\n",
        "both": f"requires:\n{ref.replace('NAME', 'app')}{ref.replace('NAME', 'base')}steps: [c]\n",
    }
    for name, text in files.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "definition.yaml").write_text(f"category: test\nname: {name}\nversion: '1'\n")
        (tmp_path / name / "build.yaml").write_text(text)
    tree, solver = load_tree([tmp_path], events=Silent()), PackageSolver()
    ids = {name: PackageId("test", name, "1") for name in files}
    packages = {name: package for name, id in ids.items() if (package := tree.get(id)) is not None}
    orders = LuetOrders(tree, solver)
    found = {name: [one.package.id.name for one in orders.of(id)] for name, id in ids.items()}
    assert found == {
        "base": ["base"], "joined": ["joined"], "app": ["joined", "app"], "both": ["joined", "app", "base", "both"],
    }  # fmt: skip
    plan = Planner(tree, solver, PlanOptions(tmp_path / "build")).plan((PackageRef("test", "both", "1"),))
    tags = {plan.nodes[id].pid.name: own for id, (own, *_) in luet_tags(plan, tree, solver).items()}
    assert {name: tag.package for name, tag in tags.items()} == {  # luet's both is on base, ours on app
        name: luethash.package_hash([packages[one] for one in found[name]]) for name in ("base", "joined", "app")
    }


def test_luet_knows_no_join(tmp_path: Path) -> None:
    files = {
        "a": "image: alpine\n", "b": "image: alpine\n",
        "c": "join: [{category: test, name: b}]\nrequires: [{category: test, name: a}]\nsteps: [x]\n",
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "definition.yaml").write_text(f"category: test\nname: {name}\nversion: '1'\n")
        (tmp_path / name / "build.yaml").write_text(text)
    tree, solver = load_tree([tmp_path], events=Silent()), PackageSolver()
    order = LuetOrders(tree, solver).of(PackageId("test", "c", "1"))
    assert [found.package.id.name for found in order] == ["a", "c"]
    plan = Planner(tree, solver, PlanOptions(tmp_path / "build")).plan((PackageRef("test", "c", "1"),))
    tagged = {plan.nodes[id].pid.name for id in luet_tags(plan, tree, solver)}
    assert tagged == {"a", "b"}  # what luet has under the tag of c would be without b


def _signature(folder: Path, build: str) -> int:
    (folder / "definition.yaml").write_text("name: x\ncategory: c\nversion: '1'\n")
    (folder / "build.yaml").write_text(build)
    found = load_tree([folder], events=Silent()).get(PackageId("c", "x", "1"))
    assert found is not None
    return luethash.signature(found.recipe)


# computed by hashstructure itself (FormatV2) of structs with luet's fields
@pytest.mark.parametrize(
    ("build", "expected"),
    [
        ('requires:\n- {name: a, category: b, version: ">=0", labels: {k: v}}\n', 16905477694086128126),
        ("requires:\n- {name: a, category: b, hidden: true}\n- {Name: c, id: -5}\n", 14784050668418002077),
        ('requires:\n- {name: a, hidden: false, labels: {}, uri: [], license: ""}\n', 9747794647777657846),
        ("requires: [~]\n", 8722365277867461435),
        (
            "copy:\n- package: {name: a, version: 1.0, annotations: {b: c}}\n  source: /s\n- image: x\n",
            15650707742222212182,
        ),
        ("join: [{name: j}]\nrequires: [{name: r}]\nsteps: [a]\n", 8936575279957572944),
        (
            'steps: ["", a, ~]\nprelude: ["  "]\nenv: [~, "A=b"]\nincludes: [""]\nexcludes: [~]\nretrieve: [""]\n',
            9851793904912648375,
        ),
        (
            "requires:\n- name: a\n  requires: [{name: b, conflicts: [~, {name: c}]}]\n  use_flags: [u]\n  state: s\n",
            4771413353424255433,
        ),
    ],
)
def test_what_luet_sees_and_a_recipe_does_not_say(tmp_path: Path, build: str, expected: int) -> None:
    assert _signature(tmp_path, build) == expected
