"""What a solver is asked and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from treebuilder.model.package import Package, PackageRef
from treebuilder.model.packageset import PackageSet


@dataclass(frozen=True, slots=True)
class Request:
    """`wanted` in the order given. `relaxed` names may be unknown: they are then left out with a warning."""

    wanted: tuple[PackageRef, ...]


@dataclass(frozen=True, slots=True)
class Solution:
    """`packages` sorted by (category, name). `edges` maps each package to the ones that answer its requires.

    `order` is luet's build order (luet.md §4.1): depth-first from each request, edges by ascending fingerprint,
    post-order; only packages reachable from the request.
    """

    packages: tuple[Package, ...]
    edges: tuple[tuple[Package, tuple[Package, ...]], ...]
    order: tuple[Package, ...]


class Solver(Protocol):
    def solve(self, request: Request, universe: PackageSet, installed: tuple[Package, ...]) -> Solution:
        """The best solution. Raises Unsatisfiable (reasons: "unknown-package", "no-version", "unsatisfiable",
        "cycle") with a chain of sentences that name packages, versions and the files that say so."""
        ...
