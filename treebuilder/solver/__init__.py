"""Request and universe in, the best solution or a chain of reasons out (luet.md §8, HEAD's rules; ours are better).

`PackageSolver` decides, `why` and `why_not` explain (`Explainer` many packages of one solution), `graph` orders. PySAT
is imported only when a search is needed.
"""

from treebuilder.solver.explain import Explainer, why, why_not
from treebuilder.solver.solver import PackageSolver

__all__ = ["Explainer", "PackageSolver", "why", "why_not"]
