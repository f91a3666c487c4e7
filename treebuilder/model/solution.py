"""What a solver is asked and what it answers."""

from __future__ import annotations

from treebuilder.annotations import Literal, Protocol
from treebuilder.model.package import Package, PackageRef
from treebuilder.model.packageset import PackageSet
from treebuilder.records import record


@record
class Request:
    """`wanted` in the order given: each gets its newest version before the next is looked at.

    `held`: installed packages that must stay exactly as they are.
    `unwanted`: no package of these names and versions may be in the solution (what is installed of them is removed);
    what provides their names may.
    """

    wanted: tuple[PackageRef, ...]
    held: tuple[PackageRef, ...] = ()
    unwanted: tuple[PackageRef, ...] = ()


@record
class Solution:
    """`packages` sorted by (category, name): what the request reaches, and the installed packages that stay.

    `edges` maps each package to the ones that answer its requires, by ascending fingerprint.
    `order` is luet's build order (luet.md §4.1): depth-first from each request, edges by ascending fingerprint,
    post-order; only packages reachable from the request.
    `answers` pairs each wanted reference with the package that answers it, in the order of the request.
    """

    packages: tuple[Package, ...]
    edges: tuple[tuple[Package, tuple[Package, ...]], ...]
    order: tuple[Package, ...]
    answers: tuple[tuple[PackageRef, Package], ...] = ()


class Solver(Protocol):
    def solve(
        self,
        request: Request,
        universe: PackageSet,
        installed: tuple[Package, ...],
        *,
        order: Literal["build", "runtime"] = "build",
    ) -> Solution:
        """The best solution.

        Raises Unsatisfiable (reasons: "unknown-package", "no-version", "unsatisfiable") with a chain of sentences that
        name packages, versions and the files that say so; SpecError (reason "cycle") where `order` is "build" and
        the chosen packages require each other in a circle. A "runtime" order breaks circles, always at the same place.
        """
        ...
