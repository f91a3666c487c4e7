"""The use case *explain*: what a build of this package would do and why, and why these versions."""

from __future__ import annotations

from treebuilder.annotations import Any
from treebuilder.app.building import Planned, epoch_of, open_tree, prepare
from treebuilder.app.options import BuildOptions
from treebuilder.app.targets import chosen, targets_of
from treebuilder.app.workspace import Workspace
from treebuilder.errors import SpecError, TransportError, Unsatisfiable
from treebuilder.model.package import PackageRef
from treebuilder.model.solution import Request
from treebuilder.model.version import Selector, select
from treebuilder.oci.store import Store
from treebuilder.plan.why import differences
from treebuilder.solver import Explainer, PackageSolver, why_not
from treebuilder.tree import Tree


def builds(options: BuildOptions, work: Workspace) -> list[dict[str, Any]]:
    """For every node of the plan: `hit`, `build` or `may be cut off`, and the reasons.

    Raises Unsatisfiable with its chain where a target cannot be built, or not be installed; TransportError, SpecError.
    """
    tree = open_tree(options, work, epoch_of(options))
    _refuse_conflicts(options, tree)
    try:
        planned = prepare(options, work, tree=tree)
    except TransportError as err:
        err.hint = err.hint or "keys need the images' digests; --versions explains without a registry"
        raise
    verdicts: dict[str, str] = {}
    rows = []
    for id, node in planned.plan.nodes.items():
        verdict, reasons = _node(planned, id, work.store, verdicts)
        verdicts[id] = verdict
        rows.append({
            "category": node.pid.category, "name": node.pid.name, "version": node.pid.version, "verdict": verdict,
            "reasons": reasons, "plan_key": planned.keys[id].plan.hex,
        })  # fmt: skip
    return rows


def _refuse_conflicts(options: BuildOptions, tree: Tree) -> None:
    """Raises Unsatisfiable for a target that could be built and not be installed.

    What is not in the tree may be in other repositories, and is nothing against it.
    """
    universe, solver = tree.runtime(), PackageSolver()
    for target in targets_of(options, tree):
        try:
            solver.solve(Request((chosen(target, tree).id.exact,)), universe, (), order="runtime")
        except Unsatisfiable as err:
            if err.reason == Unsatisfiable.reason:
                raise


def _node(planned: Planned, id: str, store: Store, verdicts: dict[str, str]) -> tuple[str, list[str]]:
    node, keys = planned.plan.nodes[id], planned.keys[id]
    kept = store.index.get(f"doc:{keys.plan.hex}")
    last = store.index.latest("document", str(node.pid))
    if store.index.get(keys.plan.hex) is not None or store.index.get(keys.artifact.hex) is not None:
        if kept is None:
            return "hit", []
        if kept.get("ran", True):
            return "hit", [f"why it was built: {kept['why']}"]
        return "hit", [f"early cut-off: {kept['why']}, and what it stands on came out the same"]
    if last is None:
        return "build", ["never built before"]
    found = list(differences(str(last["document"]), keys.document))
    below = [verdicts.get(n, "build") for n in (*node.parents(), *node.joined())]
    if found == ["what it is built on changed"]:
        if "build" in below:
            reason = "what it is built on is built again; if that comes out the same, this is not built"
        else:
            reason = "what it is built on may be built again"
        return "may be cut off", [reason]
    return "build", found or ["its result is not in the cache any more"]


def versions(options: BuildOptions, work: Workspace, newer: PackageRef | None) -> list[str]:
    """Why each package of the solution is there in its version and in no newer one, or why not `newer`.

    Nothing is planned or locked, so nothing is asked of a registry. Raises Unsatisfiable with its chain, SpecError.
    """
    tree = open_tree(options, work, 0)
    universe = tree.compiler()
    solver = PackageSolver()
    said: list[str] = []
    for target in targets_of(options, tree):
        request = Request((chosen(target, tree).id.exact,))
        solution = solver.solve(request, universe, (), order="runtime")
        if newer is None:
            said.extend(Explainer(solution, universe).everything())
            continue
        wanted = next(iter(select(Selector.parse(newer.version), universe.versions(newer.pkgname))), None)  # the newest
        if wanted is None:
            raise SpecError(f"there is no {newer} in the tree", reason="no-version")
        said.extend(why_not(request, universe, (), wanted))
    return list(dict.fromkeys(said))
