"""`env` and `expandenv`: of the caller's environment a template sees what it was given, nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping

from treebuilder.template.functions.signature import GoFunction, table

_VARIABLE = re.compile(r"\$(?:\{([^}]*)\}|([A-Za-z_][A-Za-z0-9_]*|[0-9*#$@!?-]))")


def environment(env: Mapping[str, str]) -> dict[str, GoFunction]:
    """The functions over these variables; one that is missing is empty, as in Go."""

    def expand(text: str) -> str:
        return _VARIABLE.sub(lambda found: env.get(found.group(1) or found.group(2) or "", ""), text)

    return table(("env", "string", lambda name: env.get(name, "")), ("expandenv", "string", expand))
