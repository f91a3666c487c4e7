"""Every function a template can call: text/template's, sprig's text functions by topic, and luet's.

A module per topic. `NAMES` is the table of all of them; those of sprig's that would make a build depend on the network
or on chance are known but refused (`refused`).
"""

from __future__ import annotations

from treebuilder.template.functions.builtins import BUILTINS
from treebuilder.template.functions.dates import dates
from treebuilder.template.functions.defaults import DEFAULTS
from treebuilder.template.functions.dicts import DICTS
from treebuilder.template.functions.encoding import ENCODING
from treebuilder.template.functions.environment import environment
from treebuilder.template.functions.keys import keys
from treebuilder.template.functions.lists import LISTS
from treebuilder.template.functions.math import MATH
from treebuilder.template.functions.paths import PATHS
from treebuilder.template.functions.randoms import randoms
from treebuilder.template.functions.refused import REFUSED
from treebuilder.template.functions.regexes import REGEXES
from treebuilder.template.functions.semver import SEMVERS
from treebuilder.template.functions.signature import GoFunction, join, table
from treebuilder.template.functions.strings import STRINGS
from treebuilder.template.functions.toml import TOML
from treebuilder.template.functions.urls import URLS
from treebuilder.template.functions.words import WORDS
from treebuilder.template.functions.world import Randomness, World

PURE: dict[str, GoFunction] = join(
    (BUILTINS, DEFAULTS, DICTS, ENCODING, LISTS, MATH, PATHS, REFUSED, REGEXES, SEMVERS, STRINGS, TOML, URLS, WORDS)
)
_COMPILED = ("and", "or", "not")


class Functions:
    """The functions of one rendering; those that depend on it are made when the first of them is called."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._made: dict[str, GoFunction] = {}

    def find(self, name: str) -> GoFunction:
        """Raises KeyError for a name that is not in `NAMES`, and for those that are compiled."""
        known = PURE.get(name)
        if known is not None:
            return known
        if not self._made:
            world = self._world
            self._made = join(
                (
                    dates(world.epoch_s),
                    environment(world.env),
                    randoms(world.random),
                    keys(world.random, world.epoch_s),
                    table(("include", "string any", world.include)),
                )
            )
        return self._made[name]

    def names(self) -> frozenset[str]:
        self.find("include")
        return frozenset((*PURE, *self._made))


def _no_include(name: str, value: object) -> str:
    raise AssertionError


NAMES: frozenset[str] = Functions(World({}, 0, Randomness(bytes), _no_include)).names() | {*_COMPILED}
