"""Requests for which the best candidates do not fit together: SAT decides, and says why where nothing can be had."""

from __future__ import annotations

from treebuilder.model.solution import Request
from treebuilder.solver.encode import Encoding
from treebuilder.solver.oracle import Oracle, Undecided
from treebuilder.solver.search import Infeasible, SearchChooser
from treebuilder.solver.unsat import blamed, too_hard, unsatisfiable
from treebuilder.solver.walk import Chosen, walk
from treebuilder.solver.world import World


def search(world: World, request: Request, engine: str, effort: int) -> Chosen:
    """Every decision, each asked of the SAT solver. Raises Unsatisfiable (reason "too-hard" beyond the effort)."""
    encoding = Encoding(world, request)
    oracle = Oracle(engine, encoding.clauses, effort)
    try:
        return walk(world, request, SearchChooser(encoding, oracle))
    except Infeasible:
        pass
    except Undecided:
        raise too_hard(request, effort) from None
    finally:
        oracle.close()
    raise unsatisfiable(world, blamed(encoding, engine), engine)
