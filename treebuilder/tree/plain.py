"""Definitions and recipes of the plainest kind, from flat data to the encoded records of the index in one step.

They mean what `definition` and `recipe` would read from nodes. Whatever those would refuse, warn of, or read in
another way is None here, and theirs to read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from treebuilder.model.package import Package, PackageId, PackageRef, Recipe, Step
from treebuilder.nodes.flat import Flat
from treebuilder.tree import stored
from treebuilder.tree.definition import PACKAGE_KEYS
from treebuilder.tree.recipe import recipe_faults
from treebuilder.tree.values import Values

Encoded: TypeAlias = "list[Any]"

_PLACE = 0  # of `Place`, as `stored` numbers it
_BLANK_PACKAGE: Encoded = stored.encode(Package(PackageId("", "", "")))
_BLANK_RECIPE: Encoded = stored.encode(Recipe())
_IN_PACKAGE = stored.slots(Package)
_IN_RECIPE = stored.slots(Recipe)
_REF = stored.encode(PackageRef("", "", ""))[0]
_STEP = stored.encode(Step(""))[0]
_ID = ("category", "name", "version")
_TEXT = frozenset(("description", "license"))
_TEXTS = frozenset(("uri", "use_flags"))
_MAPS = frozenset(("labels", "annotations"))
_REFS = frozenset(("requires", "conflicts", "provides"))
_RECIPE_TEXT = frozenset(("image", "package_dir", "seed"))
_RECIPE_TEXTS = frozenset(("env", "retrieve", "includes", "excludes"))
_RECIPE_STEPS = frozenset(("prelude", "steps"))
_RECIPE_WORDS = frozenset(("unpack", "requires_final_images"))
_IGNORED = PACKAGE_KEYS - _REFS  # of a recipe


class _Odd(Exception):
    """Something for the careful readers."""


def plain_values(found: Flat) -> Values:
    """A definition as template values."""
    return {key: _bare(value) for key, (_, value) in found.items()}


def _bare(value: object) -> object:
    if isinstance(value, list):
        return [_bare(item) for _, item in value]
    if isinstance(value, dict):
        return {key: item for key, (_, item) in value.items()}
    return value


def plain_package(found: Flat, file: str) -> Encoded | None:
    """An encoded `Package`, which has a name; `found` is the whole of a definition.yaml."""
    try:
        return _package(found, file)
    except _Odd:
        return None


def _package(found: Flat, file: str) -> Encoded:
    made = _BLANK_PACKAGE.copy()
    id = ["", "", ""]
    for key, (_, value) in found.items():
        if key in _ID:
            id[_ID.index(key)] = _text(value)
        elif key in _REFS:
            made[_IN_PACKAGE[key]] = _refs(value, file, None)
        elif key in _MAPS:
            made[_IN_PACKAGE[key]] = _pairs(value)
        elif key in _TEXT:
            made[_IN_PACKAGE[key]] = _text(value)
        elif key in _TEXTS:
            made[_IN_PACKAGE[key]] = tuple([text for _, text in _lines(value)])
        elif key == "hidden":
            made[_IN_PACKAGE[key]] = _word(value)
        elif key not in PACKAGE_KEYS and key.lower() in PACKAGE_KEYS:
            raise _Odd
    for part in id:
        if "/" in part or "\\" in part or part in (".", ".."):
            raise _Odd
    if not id[1]:
        raise _Odd
    made[stored.ID] = [made[stored.ID][0], *id]
    first, _ = next(iter(found.values()))
    made[_IN_PACKAGE["where"]] = [_PLACE, file, first + 1]
    return made


def plain_recipe(found: Flat, file: str, lines: Sequence[int]) -> Encoded | None:
    """An encoded `Recipe`; `found` is the whole of a rendered build.yaml, whose lines come from `lines` of the file."""
    try:
        return _recipe(found, file, lines)
    except _Odd:
        return None


def _recipe(found: Flat, file: str, lines: Sequence[int]) -> Encoded:
    made = _BLANK_RECIPE.copy()
    joined: tuple[Encoded, ...] = ()
    for key, (_, value) in found.items():
        if key in _REFS:
            made[_IN_RECIPE[key]] = _refs(value, file, lines)
        elif key in _RECIPE_STEPS:
            made[_IN_RECIPE[key]] = tuple(
                [[_STEP, text, _place(line, file, lines)] for line, text in _lines(value) if text.strip()]
            )
        elif key in _RECIPE_TEXTS:
            made[_IN_RECIPE[key]] = tuple([text for _, text in _lines(value) if text])
        elif key in _RECIPE_TEXT:
            made[_IN_RECIPE[key]] = _text(value)
        elif key in _RECIPE_WORDS:
            made[_IN_RECIPE[key]] = _word(value)
        elif key == "join":
            joined = _refs(value, file, lines)
        elif key not in _IGNORED:
            raise _Odd
    if joined:
        made[_IN_RECIPE["requires"]] += joined
        made[_IN_RECIPE["requires_final_images"]] = True
    env, includes, excludes = (made[_IN_RECIPE[key]] for key in ("env", "includes", "excludes"))
    if (env or includes or excludes) and any(recipe_faults(Recipe(env=env, includes=includes, excludes=excludes))):
        raise _Odd
    made[_IN_RECIPE["where"]] = [_PLACE, file, 0]
    return made


def _place(line: int, file: str, lines: Sequence[int] | None) -> Encoded:
    """A place, encoded, as `nodes` finds it."""
    if lines is None:
        return [_PLACE, file, line + 1]
    return [_PLACE, file, lines[line if line < len(lines) else -1]]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _Odd
    return value


def _word(value: object) -> bool:
    if not isinstance(value, bool):
        raise _Odd
    return value


def _lines(value: object) -> list[tuple[int, str]]:
    """The texts of a list, each with its line."""
    if not isinstance(value, list) or not all(type(item) is str for _, item in value):
        raise _Odd
    return value


def _pairs(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise _Odd
    return tuple(sorted([(key, _text(text)) for key, (_, text) in value.items()]))


def _refs(value: object, file: str, lines: Sequence[int] | None) -> tuple[Encoded, ...]:
    if not isinstance(value, list):
        raise _Odd
    found = []
    for line, item in value:
        if not isinstance(item, dict):
            raise _Odd
        parts = ["", "", ""]
        for key, (_, text) in item.items():
            if key in _ID:
                parts[_ID.index(key)] = _text(text)
            elif key.lower() in _ID:
                raise _Odd
        found.append([_REF, *parts, _place(line, file, lines)])
    return tuple(found)
