"""Time and memory of solving, on generated distributions and on worlds that are hard on purpose. No test.

python benchmarks/solver.py [--sizes 100,1000,5000,20000] [--rounds 3]

Each row is measured in processes of its own, with the world in memory as records. `solve` is the whole answer with
edges and order, in seconds of CPU, the median of the rounds; `encode` is what making all clauses takes (a plan that the
best candidates answer makes none); `memory` is the peak above the world itself. `growth` is how much longer it takes
than on the next smaller size, divided by how much larger the world is: 1.0 is linear.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.solver_worlds import HARD, Distribution, ref
from treebuilder.app.soundness import troubles
from treebuilder.errors import Unsatisfiable
from treebuilder.model.package import Package, PackageRef
from treebuilder.model.packageset import MemoryPackages
from treebuilder.model.solution import Request
from treebuilder.plan.planner import exact
from treebuilder.solver import PackageSolver
from treebuilder.solver.encode import Encoding
from treebuilder.solver.oracle import ENGINES
from treebuilder.solver.world import World

QUESTIONS = ("one", "hundred", "everything", "add one", "upgrade all", "impossible")
ALL = ("each alone", "validate")  # questions about all packages: their plans one by one, and whether they can be had
TARGETS = {("one", 20000): 0.25, ("everything", 20000): 3.0, ("validate", 20000): 10.0}  # seconds
HARD_SIZES = (
    ("queens", 8), ("queens", 16), ("permutation", 20), ("clauses", 50), ("clauses", 200), ("diamonds", 20),
    ("diamonds", 200), ("chain", 100), ("chain", 1000), ("hidden", 50), ("hidden", 2000), ("enemies", 2000),
    ("tight", 40), ("tight", 120), ("pigeons", 6), ("pigeons", 9), ("pigeons", 12),
)  # fmt: skip
Row = dict[str, float]


def older(world: Distribution) -> list[Package]:
    """The world before the newest version of four in ten names was there."""
    versions: dict[str, list[Package]] = {}
    for package in world.packages:
        versions.setdefault(package.id.pkgname, []).append(package)
    rng = random.Random(4)
    late = {id(found[-1]) for found in versions.values() if len(found) > 1 and rng.random() < 0.4}
    return [package for package in world.packages if id(package) not in late]


def question(world: Distribution, what: str) -> tuple[list[PackageRef], tuple[Package, ...]]:
    """The request and what is installed."""
    apps = world.applications()
    some = random.Random(3).sample(apps, len(apps) // 3)
    if what == "one":
        return apps[-1:], ()
    if what == "hundred":
        return random.Random(5).sample(apps, min(100, len(apps))), ()
    if what == "everything":
        return world.everything(), ()
    if what == "impossible":
        first, second = next((i, j) for i, j in world.quarrels.items() if i != j)
        return [*apps, *(ref(world.names[i], category="app") for i in (first, second))], ()
    installed = PackageSolver().solve(Request(tuple(some)), MemoryPackages(older(world)), (), order="runtime").packages
    if what == "add one":
        return [next(app for app in apps if app not in some)], installed
    return [PackageRef(p.id.category, p.id.name, ">=0") for p in installed], installed


def memory(word: str) -> float:
    """A line of /proc/self/status, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(word)) / 1024


def measure_all(world: Distribution, what: str) -> Row:
    """One question about all packages, in this process."""
    universe = MemoryPackages(world.packages)
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the peak
    began = time.process_time()
    if what == "validate":
        names = len(world.packages) - len(troubles(world.packages, universe, "build"))
    else:
        solver = PackageSolver()
        names = sum(len(solver.solve(Request((exact(p.id),)), universe, ()).order) for p in world.packages)
    took = time.process_time() - began
    peak = memory("VmHWM") - before
    count = len(world.packages)
    return {"wanted": count, "names": names, "solve": took, "encode": 0.0, "clauses": 0, "memory": peak}


def measure(size: int, what: str) -> Row:
    """One question, in this process."""
    gc.set_threshold(100_000)  # as the command line has it
    world = Distribution(size)
    if what in ALL:
        return measure_all(world, what)
    wanted, installed = question(world, what)
    universe, request = MemoryPackages(world.packages), Request(tuple(wanted))
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the peak
    began = time.process_time()
    try:
        names = len(PackageSolver().solve(request, universe, installed, order="runtime").packages)
    except Unsatisfiable as err:
        names = -len(err.chain)
    took = time.process_time() - began
    peak = memory("VmHWM") - before
    began = time.process_time()
    clauses = len(Encoding(World(universe, installed), request).clauses)
    encode = time.process_time() - began
    return {"wanted": len(wanted), "names": names, "solve": took, "encode": encode, "clauses": clauses, "memory": peak}


def measured(size: int, what: str, rounds: int) -> Row:
    """The medians of some processes."""
    rows: list[Row] = []
    for _ in range(rounds):
        words = [sys.executable, __file__, "--measure", str(size), what]
        rows.append(json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout))
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def distributions(sizes: list[int], rounds: int) -> None:
    print(f"{'question':<12} {'packages':>8} {'wanted':>7} {'chosen':>7} {'solve s':>8} {'encode s':>8} {'clauses':>8} "
          f"{'memory MB':>9} {'growth':>6}  target")  # fmt: skip
    for what in (*QUESTIONS, *ALL):
        last: tuple[int, float] | None = None
        for size in sizes:
            row = measured(size, what, rounds)
            growth = f"{row['solve'] / last[1] / (size / last[0]):6.2f}" if last else f"{'':>6}"
            target = TARGETS.get((what, size))
            verdict = "" if target is None else f"  {target} s: {'met' if row['solve'] <= target else 'MISSED'}"
            chosen = f"{row['names']:7.0f}" if row["names"] >= 0 else "   none"
            print(f"{what:<12} {size:8} {row['wanted']:7.0f} {chosen} {row['solve']:8.3f} {row['encode']:8.3f} "
                  f"{row['clauses']:8.0f} {row['memory']:9.1f} {growth}{verdict}", flush=True)  # fmt: skip
            last = size, row["solve"]


def shuffles(size: int, runs: int = 12) -> None:
    """The same question in other orders of loading, on all engines in turn."""
    world = Distribution(size)
    wanted, _ = question(world, "hundred")
    answers, behind, chosen, took = set(), 0, 0, []
    newest = {p.id.pkgname: p.id.version for p in world.packages}
    for run in range(runs):
        packages = random.Random(run).sample(world.packages, len(world.packages))
        universe = MemoryPackages(packages)
        began = time.process_time()
        solver = PackageSolver(ENGINES[run % len(ENGINES)])
        found = solver.solve(Request(tuple(wanted)), universe, (), order="runtime")
        took.append(time.process_time() - began)
        answers.add((found.packages, found.order))
        chosen = len(found.packages)
        behind = sum(newest[p.id.pkgname] != p.id.version for p in found.packages)
    print(f"\n{runs} shuffles of {size} packages on {len(ENGINES)} engines: {len(answers)} answer(s), {behind} of "
          f"{chosen} packages not their newest, {statistics.median(took):.3f} s each")  # fmt: skip


def hard() -> None:
    print(f"\n{'hard world':<12} {'size':>5} {'packages':>8} {'solve s':>8}  answer")
    for family, size in HARD_SIZES:
        universe = MemoryPackages(packages := HARD[family](size))
        began = time.process_time()
        try:
            found = PackageSolver().solve(Request((ref("root"),)), universe, (), order="runtime")
            answer = f"{len(found.packages)} chosen"
        except Unsatisfiable as err:
            answer = f"{err.reason}, {len(err.chain)} sentences"
        print(f"{family:<12} {size:5} {len(packages):8} {time.process_time() - began:8.3f}  {answer}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="100,1000,5000,20000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("SIZE", "QUESTION"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(int(options.measure[0]), options.measure[1])))
        return
    sizes = [int(size) for size in options.sizes.split(",")]
    distributions(sizes, options.rounds)
    shuffles(sizes[-1])
    hard()


if __name__ == "__main__":
    main()
