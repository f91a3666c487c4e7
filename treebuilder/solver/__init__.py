"""Request and universe in, the best solution or a chain of reasons out (luet.md §8, HEAD's rules; ours are better).

`PackageSolver` decides, `why` and `why_not` explain (`Explainer` many packages of one solution), `graph` orders. PySAT
and `hard` are imported only when a search is needed, `explain` only when somebody asks.
"""

from __future__ import annotations

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.solver.solver import PackageSolver

if TYPE_CHECKING:
    from treebuilder.solver.explain import Explainer, why, why_not

__all__ = ["Explainer", "PackageSolver", "why", "why_not"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from treebuilder.solver import explain

    return getattr(explain, name)
