"""The solver's rules one by one: candidates, preferences, what is installed, orders, explanations."""

from __future__ import annotations

import random
import re
import subprocess
import sys

import pytest

from benchmarks import solver_worlds
from treebuilder.errors import Place, SpecError, Unsatisfiable
from treebuilder.model.package import NOWHERE, Package, PackageId, PackageRef
from treebuilder.model.packageset import MemoryPackages
from treebuilder.model.solution import Request, Solution
from treebuilder.solver import Explainer, PackageSolver, why, why_not

_REF = re.compile(r"(?P<name>[a-z0-9]+)(?P<version>[^a-z].*)?\Z")


def ref(text: str, where: Place = NOWHERE) -> PackageRef:
    """`lib>=2` or `lib 2` is c/lib at that version; `lib` is any."""
    found = _REF.match(text)
    assert found is not None, text
    return PackageRef("c", found["name"], (found["version"] or "").strip(), where)


def package(text: str) -> Package:
    """`app 1: lib>=2, x; !y; +virtual>=0` requires lib and x, conflicts with y and provides virtual."""
    head, _, rest = text.partition(":")
    name, version = head.split()
    place = Place(f"packages/{name}/definition.yaml", 4)
    words = [word.strip() for part in rest.split(";") for word in part.split(",") if word.strip()]
    return Package(
        PackageId("c", name, version),
        requires=tuple(ref(w, place) for w in words if w[0] not in "!+"),
        conflicts=tuple(ref(w[1:], place) for w in words if w[0] == "!"),
        provides=tuple(ref(w[1:], place) for w in words if w[0] == "+"),
        where=place,
    )


def world(text: str) -> tuple[Package, ...]:
    """One package per line."""
    return tuple(package(line.strip()) for line in text.strip().splitlines() if line.strip())


def request(wanted: str, held: str = "", unwanted: str = "") -> Request:
    def refs(text: str) -> tuple[PackageRef, ...]:
        return tuple(ref(word.strip()) for word in text.split(",") if word.strip())

    return Request(refs(wanted), refs(held), refs(unwanted))


def solve(text: str, wanted: str, installed: str = "", *, held: str = "", unwanted: str = "") -> Solution:
    universe = MemoryPackages(world(text))
    return PackageSolver().solve(request(wanted, held, unwanted), universe, world(installed), order="runtime")


def names(solution: Solution) -> str:
    return " ".join(f"{p.id.name}-{p.id.version}" for p in solution.packages)


# candidates ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "wanted", "expected"),
    [
        pytest.param("a 1\na 2\nb 1", "a", "a-2", id="newest"),
        pytest.param("a 1\na 2\na 3", "a<3", "a-2", id="selector"),
        pytest.param("a 1\na 2", "a 1", "a-1", id="exact"),
        pytest.param("a v1.0\na 2", "a 1.0", "a-v1.0", id="exact, written otherwise"),
        pytest.param("a 1.0\na v1.0", "a v1.0", "a-v1.0", id="exact prefers the very text"),
        pytest.param("a 1: b>=0\nb 1\nb 2", "a", "a-1 b-2", id="requires newest"),
        pytest.param("a 1: b, d\nb 1: c\nb 2: c<2\nc 1\nc 2\nd 1: c>=2", "a", "a-1 b-1 c-2 d-1", id="backtracks"),
        pytest.param("a 1: v\nv 1\np 9: +v>=0", "a", "a-1 v-1", id="real name before providers"),
        pytest.param("a 1: v, b\nv 1\nb 1: p\np 9: +v>=0", "a", "a-1 b-1 p-9 v-1", id="real before later provider"),
        pytest.param("a 1: v\np 9: +v>=0\nq 1: +v", "a", "a-1 p-9", id="providers by name"),
        pytest.param("a 1: v\nv 1: !a\np 9: +v", "a", "a-1 p-9", id="provider where the real one cannot be"),
        pytest.param("a 1: v 1.5\np 9: +v>=1", "a", "a-1 p-9", id="version in the provided selector"),
        pytest.param("a 1: v>=1\np 9: +v 1.5", "a", "a-1 p-9", id="provided version in the selector"),
        pytest.param("a 1: v>=0\np 9: +v>=0", "a", "a-1 p-9", id="equal selectors"),
        pytest.param("a 1: v, b; +v\nb 1", "a", "a-1 b-1", id="answers itself"),
        pytest.param("a 1: v; !v, +v>=0", "a", "a-1", id="no conflict with oneself"),
        pytest.param("a 1: b\na 2: missing\nb 1", "a", "a-1 b-1", id="newest cannot be had"),
        pytest.param("a 1: b\nb 1: a", "a", "a-1 b-1", id="circle at run time"),
        pytest.param("a 1: x\na 2\nx 1", "a", "a-2", id="nothing unreachable"),
    ],
)  # fmt: skip
def test_choice(text: str, wanted: str, expected: str) -> None:
    assert names(solve(text, wanted)) == expected


def test_the_first_request_comes_first() -> None:
    text = "a 1\na 2: !b>=2\nb 1\nb 2"
    assert names(solve(text, "a, b")) == "a-2 b-1"
    assert names(solve(text, "b, a")) == "a-1 b-2"


@pytest.mark.parametrize("text", ["a 1: b; !b\nb 1", "a 1: b\nb 1: !a", "a 1: b, p\nb 1: !v\np 1: +v>=0"])
def test_conflicts_bite_both_ways_and_through_provides(text: str) -> None:
    with pytest.raises(Unsatisfiable) as caught:
        solve(text, "a")
    assert caught.value.reason == "unsatisfiable"
    assert any("conflicts with" in line for line in caught.value.chain)


def test_many_versions_and_many_conflicts() -> None:
    lines = [f"a {i}: !b>=0" for i in range(2, 30)] + ["a 1"] + [f"b {i}" for i in range(1, 30)]
    assert names(solve("\n".join(lines), "b, a")) == "a-1 b-29"


# installed -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "wanted", "installed", "expected"),
    [
        pytest.param("a 1: b\nb 1\nb 2", "a", "b 1", "a-1 b-1", id="an installed answer stays"),
        pytest.param("a 1: b>=2\nb 1\nb 2", "a", "b 1", "a-1 b-2", id="changed where it must"),
        pytest.param("a 1: v\nv 1\np 1: +v", "a", "p 1: +v", "a-1 p-1", id="an installed provider answers"),
        pytest.param("a 1: !b\nb 1", "a", "b 1\nz 1", "a-1 z-1", id="removed where it must"),
        pytest.param("a 1: p\na 2\np 1", "a", "a 1: p", "a-2", id="a request upgrades"),
        pytest.param("a 1", "a", "gone 1: nothere", "a-1 gone-1", id="what is broken is left alone"),
        pytest.param("a 1", "a", "b 1: !c\nc 1", "a-1 b-1 c-1", id="installed conflicts are left alone"),
        pytest.param("a 1: !x<2\nx 1\nx 2", "a", "x 1", "a-1 x-2", id="change rather than removal"),
        pytest.param("a 1: l>=2\nl 1\nl 2: !m<2\nl 3: !m\nm 1\nm 2", "a", "m 1\nl 1", "a-1 l-2 m-2", id="dear newest"),
    ],
)  # fmt: skip
def test_installed(text: str, wanted: str, installed: str, expected: str) -> None:
    assert names(solve(text, wanted, installed)) == expected


def test_held_packages_stay() -> None:
    text = "a 1\na 2: b>=2\nb 1\nb 2"
    assert names(solve(text, "a", "b 1")) == "a-2 b-2"
    assert names(solve(text, "a", "b 1", held="b")) == "a-1 b-1"
    with pytest.raises(Unsatisfiable) as caught:
        solve(text, "a 2", "b 1", held="b")
    assert "c/b is held at 1" in caught.value.chain


def test_unwanted_packages_go_with_all_that_needs_them() -> None:
    text = "a 1: b\nb 1\nc 1"
    installed = "a 1: b\nb 1\nc 1"
    assert names(solve(text, "", installed, unwanted="b")) == "c-1"
    assert names(solve(text, "", installed)) == "a-1 b-1 c-1"


# laws ------------------------------------------------------------------------------------------------------------
KNOT = """
    app 1: lib<3, tool\n app 2: lib>=2, tool, view\n lib 1\n lib 2: core<5\n lib 3: core\n core 4\n core 5\n core 6
    tool 1: core>=5, x11\n tool 2: core>=5, x11; !lib>=3\n view 1: x11\n view 2: x11>=3\n x12 1: +x11 2\n x13 1: +x11>=1
"""


def test_shuffling_gives_the_same_answer() -> None:
    packages = list(world(KNOT))
    answers = set()
    for seed in range(50):
        random.Random(seed).shuffle(packages)
        found = PackageSolver().solve(request("app, view"), MemoryPackages(packages), (), order="runtime")
        answers.add((found.packages, found.edges, found.order))
    assert len(answers) == 1


@pytest.mark.parametrize("engine", ["glucose4", "glucose3", "minisat22"])
def test_the_answer_does_not_depend_on_the_engine(engine: str) -> None:
    found = PackageSolver(engine).solve(request("app, view"), MemoryPackages(world(KNOT)), (), order="runtime")
    assert names(found) == "app-2 core-6 lib-3 tool-1 view-1 x12-1"


def test_unrelated_packages_change_nothing() -> None:
    more = "\n zoo 1: app; !lib\n apps 1: core\n aaa 9: missing; !app; !core\n zlib 3: core 4"
    assert solve(KNOT, "app, view") == solve(KNOT + more, "app, view")


def test_plain_plans_do_without_pysat() -> None:
    program = (
        "import sys\n"
        "from treebuilder.model.package import *\n"
        "from treebuilder.model.packageset import MemoryPackages\n"
        "from treebuilder.model.solution import Request\n"
        "from treebuilder.solver import PackageSolver\n"
        "b = Package(PackageId('c', 'b', '1'), conflicts=(PackageRef('c', 'z'),))\n"
        "a = Package(PackageId('c', 'a', '1'), requires=(PackageRef('c', 'b', '>=0'),))\n"
        "s = PackageSolver().solve(Request((PackageRef('c', 'a'),)), MemoryPackages([a, b]), ())\n"
        "assert len(s.order) == 2 and 'pysat' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# order -----------------------------------------------------------------------------------------------------------
def test_build_order_is_by_fingerprint_depth_first() -> None:
    def named(category: str, name: str, *requires: str) -> Package:
        refs = tuple(PackageRef(text[0], text[2:]) for text in requires)
        return Package(PackageId(category, name, "1"), requires=refs)

    tree = [named("t", "t", "a/zz", "m/mm", "z/aa"), named("b", "base"), named("o", "other")]
    tree += [named(c, n, "b/base") for c, n in (("a", "zz"), ("m", "mm"), ("z", "aa"))]
    found = PackageSolver().solve(Request((PackageRef("t", "t"),)), MemoryPackages(tree), ())
    assert [p.id.name for p in found.order] == ["base", "aa", "mm", "zz", "t"]
    assert dict(found.edges)[tree[0]] == (tree[5], tree[4], tree[3])


def test_order_leaves_out_what_no_request_reaches() -> None:
    found = solve("a 1: b\nb 1", "a", "z 1")
    assert names(found) == "a-1 b-1 z-1"
    assert [p.id.name for p in found.order] == ["b", "a"]


def test_a_deep_chain_needs_no_deep_stack() -> None:
    lines = [f"p{i} 1: p{i + 1}" for i in range(3000)] + ["p3000 1"]
    found = PackageSolver().solve(request("p0"), MemoryPackages(world("\n".join(lines))), ())
    assert found.order[0].id.name == "p3000"
    assert len(found.order) == 3001


def test_a_build_circle_is_printed_as_a_path() -> None:
    universe = MemoryPackages(world("t 1: a\na 1: b\nb 1: c\nc 1: a"))
    with pytest.raises(SpecError) as caught:
        PackageSolver().solve(request("t"), universe, ())
    assert caught.value.reason == "cycle"
    assert "c/a-1 -> c/b-1 -> c/c-1 -> c/a-1" in caught.value.message
    assert caught.value.where == Place("packages/c/definition.yaml", 4)
    runtime = PackageSolver().solve(request("t"), universe, (), order="runtime")
    assert [p.id.name for p in runtime.order] == ["c", "b", "a", "t"]


# explanations ----------------------------------------------------------------------------------------------------
def failure(text: str, wanted: str) -> Unsatisfiable:
    with pytest.raises(Unsatisfiable) as caught:
        solve(text, wanted)
    return caught.value


def test_unknown_name_in_the_request() -> None:
    err = failure("lib 1", "lip")
    assert err.reason == "unknown-package"
    assert err.message == "c/lip: there is no package of that name"
    assert err.hint == "did you mean c/lib?"


def test_unknown_name_in_a_package() -> None:
    err = failure("app 1: lip\nlib 1", "app")
    assert err.reason == "unknown-package"
    assert err.message == "c/app-1 requires c/lip, and there is no package of that name"
    assert err.where == Place("packages/app/definition.yaml", 4)


def test_no_version() -> None:
    err = failure("app 1: lib>=3\nlib 1\nlib 2", "app")
    assert err.reason == "no-version"
    assert err.message == "c/app-1 requires c/lib >=3, but there is only 2 and 1"
    assert err.chain == (
        "c/app is wanted",
        "c/app-1 requires c/lib >=3, but there is only 2 and 1 (packages/app/definition.yaml:4)",
    )
    assert failure("lib 1", "lib>=3").message == "c/lib >=3: there is only 1"


def test_what_a_template_left_out_is_said() -> None:
    hint = "a template prints <no value> for a value that is not there: is a --values file missing?"
    assert failure("app 1: lib<no value>\nlib 1", "app").hint == hint
    nameless = PackageRef("c", "<no value>")
    with pytest.raises(Unsatisfiable) as caught:
        PackageSolver().solve(Request((nameless,)), MemoryPackages(world("lib 1")), ())
    assert caught.value.hint == hint


def test_only_a_version_that_nobody_can_read() -> None:
    said = failure("lib x-y", "lib>=0").message
    assert said.startswith("c/lib >=0: the version 'x-y'")
    assert said.endswith("cannot be read")


def test_the_core_is_minimal_and_names_everything_in_it() -> None:
    innocent = "\n".join(f"ok{i} {v}: ok{i + 1}" for i in range(40) for v in (1, 2)) + "\nok40 1"
    err = failure(f"{innocent}\napp 1: ok0, x, y\nx 1: lib>=2\ny 1: lib<2\nlib 1\nlib 2", "ok1, app")
    assert err.message == "c/app cannot be had"
    assert err.chain == (
        "c/app is wanted",
        "c/app-1 requires c/x (packages/app/definition.yaml:4)",
        "c/app-1 requires c/y (packages/app/definition.yaml:4)",
        "c/x-1 requires c/lib >=2 (packages/x/definition.yaml:4)",
        "c/y-1 requires c/lib <2 (packages/y/definition.yaml:4)",
        "only one version of c/lib can be there",
    )


def test_versions_that_say_the_same_share_a_sentence() -> None:
    err = failure("app 1: lib\napp 2: lib\nlib 1: !app", "app")
    assert "c/app-2 and c/app-1 require c/lib (packages/app/definition.yaml:4)" in err.chain
    assert "c/lib-1 conflicts with c/app (packages/lib/definition.yaml:4)" in err.chain


def test_a_conflict_with_a_provided_name_says_who_that_is() -> None:
    err = failure("app 1: p; !v\np 1: +v", "app")
    assert "c/app-1 conflicts with c/v (that is c/p-1) (packages/app/definition.yaml:4)" in err.chain


def test_two_requests_that_exclude_each_other() -> None:
    err = failure("a 1: !b\nb 1", "a, b")
    assert err.message == "c/a and c/b cannot be had together"
    assert err.chain[:2] == ("c/a is wanted", "c/b is wanted")


def test_why() -> None:
    text = "app 1: mid, old\nmid 1: lib>=2\nold 1: lib<3\nlib 1\nlib 2\nlib 3"
    universe = MemoryPackages(world(text))
    solution = PackageSolver().solve(request("app"), universe, ())
    lib = next(p for p in solution.packages if p.id.name == "lib")
    assert why(solution, universe, lib) == (
        "c/app (any version) is wanted: c/app-1",
        "c/app-1 requires c/mid (any version) (packages/app/definition.yaml:4)",
        "c/mid-1 requires c/lib >=2 (packages/mid/definition.yaml:4)",
        "c/old-1 requires c/lib <3 (packages/old/definition.yaml:4)",
        "not c/lib-3: c/old-1 requires c/lib <3 (packages/old/definition.yaml:4)",
    )
    assert why(solution, universe, package("lib 9")) == ("c/lib-9 is not in the solution",)


def test_why_of_an_installed_package() -> None:
    solution = solve("a 1", "a", "z 1")
    assert why(solution, MemoryPackages(world("a 1")), package("z 1")) == (
        "c/z-1 is installed, and nothing that is wanted needs it",
    )


@pytest.mark.parametrize(
    ("text", "wanted", "installed", "asked", "expected"),
    [
        ("a 1", "a", "", "a 1", "c/a-1 is in the solution"),
        ("a 1: l<2\nl 1\nl 2", "a", "", "l 2", "c/a-1 requires c/l <2"),
        ("a 1: l\na 2: l<2\nl 1\nl 2", "a", "", "l 2", "then c/a-1 would be there instead of c/a-2, and it is wanted"),
        ("a 1: l\nl 1\nl 2: !b\nb 1", "a", "b 1", "l 2", "then more installed packages would be removed: c/b"),
        ("a 1\nz 1", "a", "", "z 1", "nothing that is chosen needs c/z"),
        ("a 1: b, l\nb 1\nb 2: l<2\nl 1\nl 2", "a", "", "l 2", "then c/b-1 would be there instead of c/b-2"),
        ("a 1: l\nl 1.0\nl 2.0+1", "a", "", "l 1.0", "c/l-2.0+1 is newer than c/l-1.0, and nothing bars it"),
        ("a 1\na 2", "a", "", "a 1", "c/a-2 is newer than c/a-1, and nothing bars it"),
        ("a 1: l\nl 1\nl 2", "a", "l 2", "l 1", "then more installed packages would be changed: c/l"),
    ],
)
def test_why_not(text: str, wanted: str, installed: str, asked: str, expected: str) -> None:
    answer = why_not(request(wanted), MemoryPackages(world(text)), world(installed), package(asked))
    assert any(line.startswith(expected) for line in answer), answer


def test_explaining_a_whole_solution_says_the_same_as_one_by_one() -> None:
    universe = MemoryPackages(world(KNOT))
    solution = PackageSolver().solve(request("app, view"), universe, (), order="runtime")
    explainer = Explainer(solution, universe)
    alone = [why(solution, universe, p) for p in solution.packages]
    assert [explainer.why(p) for p in solution.packages] == alone
    assert explainer.everything() == tuple(dict.fromkeys(said for lines in alone for said in lines))


def test_a_deep_chain_is_gone_along_once() -> None:
    size = 10_000  # the way to each package said anew would be 50,000,000 sentences
    lines = [f"p{i} 1: p{i + 1}" for i in range(size)] + [f"p{size} 1"]
    universe = MemoryPackages(world("\n".join(lines)))
    said = Explainer(PackageSolver().solve(request("p0"), universe, ()), universe).everything()
    assert len(said) == size + 1
    assert said[0] == "c/p0 (any version) is wanted: c/p0-1"


def test_why_not_newer_names_what_the_newer_one_needs() -> None:
    text = "app 1: lib, old\nold 1: core<2\nlib 1\nlib 2: core>=2\nlib 3: core>=2, none\ncore 1\ncore 2"
    solution = solve(text, "app")
    lib = next(p for p in solution.packages if p.id.name == "lib")
    lines = why(solution, MemoryPackages(world(text)), lib)
    assert "not c/lib-2: it requires c/core >=2, and c/core-1 is there (packages/lib/definition.yaml:4)" in lines
    assert any(
        line.startswith("not c/lib-3") and "c/none (any version), which nothing answers" in line for line in lines
    )


def test_why_not_another_provider() -> None:
    text = "a 1: v\np 1: +v; !q\nq 1: +v"
    assert why_not(request("a"), MemoryPackages(world(text)), (), package("q 1")) == (
        "then c/q-1 would be there instead of c/p-1, and its decision comes first",
    )


def test_what_has_no_part_in_a_contradiction_is_not_blamed() -> None:
    crowd = "\n".join(f"x{i} 1: !x{j}" for i in range(30) for j in [i + 1] if i % 7 == 3)
    others = "\n".join(f"x{i} 1" for i in range(31) if i % 7 != 3)
    err = failure(f"{crowd}\n{others}", ", ".join(f"x{i}" for i in range(20)))
    assert err.message == "c/x3 and c/x4 cannot be had together"
    assert len(err.chain) == 3


# effort ----------------------------------------------------------------------------------------------------------
def hard(packages: list[Package], effort: int = 100_000) -> Solution:
    universe = MemoryPackages(packages)
    return PackageSolver(effort=effort).solve(Request((solver_worlds.ref("root"),)), universe, (), order="runtime")


@pytest.mark.parametrize(
    ("family", "size", "chosen"),
    [("queens", 10, 11), ("permutation", 12, 13), ("clauses", 40, 209), ("diamonds", 30, 92), ("chain", 50, 51)],
)
def test_hard_worlds_that_can_be_had(family: str, size: int, chosen: int) -> None:
    found = hard(solver_worlds.HARD[family](size)).packages
    assert len(found) == chosen
    there = {p.id for p in found}
    universe = MemoryPackages(found)
    for p in found:
        assert all(any(q.id in there for q in universe.versions(r.pkgname)) for r in p.requires)
        bitten = [q for r in p.conflicts for q in universe.versions(r.pkgname) if q.id.version == r.version]
        assert not bitten


@pytest.mark.parametrize(("family", "size", "reasons"), [("pigeons", 5, 60), ("hidden", 300, 8), ("enemies", 300, 4)])
def test_hard_worlds_that_cannot_be_had(family: str, size: int, reasons: int) -> None:
    with pytest.raises(Unsatisfiable) as caught:
        hard(solver_worlds.HARD[family](size))
    assert caught.value.reason == "unsatisfiable"
    assert len(caught.value.chain) == reasons


def test_when_the_effort_is_spent_it_says_so() -> None:
    said = set()
    for _ in range(3):
        with pytest.raises(Unsatisfiable) as caught:
            hard(solver_worlds.pigeons(9), effort=500)
        said.add((caught.value.reason, caught.value.message, caught.value.hint))
    assert len(said) == 1
    reason, message, hint = said.pop()
    assert reason == "too-hard"
    assert message == "no answer for hard/root >=0 was found within 500 conflicts, nor that there is none"
    assert hint is not None


def test_what_takes_too_long_to_explain_is_still_refused() -> None:
    with pytest.raises(Unsatisfiable) as caught:
        hard(solver_worlds.pigeons(8))
    assert caught.value.reason == "unsatisfiable"
    assert caught.value.chain == ("hard/root >=0 is wanted", "why that cannot be takes too many steps to be told")


def test_many_providers_that_exclude_each_other() -> None:
    text = "\n".join(f"p{i:03} 1: !v; +v" for i in range(400)) + "\na 1: v; !p000"
    assert names(solve(text, "a")) == "a-1 p001-1"
    err = failure(text, "p007, p399")
    assert err.chain[2] == "c/p007-1 conflicts with c/v (that is c/p399-1) (packages/p007/definition.yaml:4)"


def test_a_selector_that_nothing_can_satisfy_is_told_as_such() -> None:
    err = failure("lib 1", "lib>=x")
    assert err.reason == "no-version"
    assert err.message == "c/lib >=x: 'x' is no version that can be compared"
