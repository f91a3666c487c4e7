"""Request and universe in, the best solution or a chain of reasons out (luet.md §8, HEAD's rules; ours are better).

`PackageSolver` decides, `why` and `why_not` explain (`Explainer` many packages of one solution), `graph` orders. Each
is imported when somebody asks for it (a removal needs `world` alone), PySAT and `hard` when a search is needed.
"""

from __future__ import annotations

from treebuilder.annotations import TYPE_CHECKING

if TYPE_CHECKING:
    from treebuilder.solver.explain import Explainer, why, why_not
    from treebuilder.solver.solver import PackageSolver

__all__ = ["Explainer", "PackageSolver", "why", "why_not"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from treebuilder.solver import explain, solver

    return getattr(solver if name == "PackageSolver" else explain, name)
