"""Every function a template can call: text/template's, sprig's text functions by topic, and luet's."""

from __future__ import annotations

from treebuilder.template.functions.builtins import BUILTINS
from treebuilder.template.functions.defaults import DEFAULTS
from treebuilder.template.functions.dicts import DICTS
from treebuilder.template.functions.encoding import ENCODING
from treebuilder.template.functions.lists import LISTS
from treebuilder.template.functions.math import MATH
from treebuilder.template.functions.paths import PATHS
from treebuilder.template.functions.signature import GoFunction, join, table
from treebuilder.template.functions.strings import STRINGS
from treebuilder.template.functions.world import World

PURE: dict[str, GoFunction] = join((BUILTINS, DEFAULTS, DICTS, ENCODING, LISTS, MATH, PATHS, STRINGS))
_WORLDLY = ("include",)
_COMPILED = ("and", "or", "not")
NAMES: frozenset[str] = frozenset((*PURE, *_WORLDLY, *_COMPILED))


def functions(world: World) -> dict[str, GoFunction]:
    """The functions of one rendering."""
    return PURE | table(("include", "string any", world.include))
