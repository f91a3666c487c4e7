"""Definitions and recipes of the plainest kind, from flat data to the encoded records of the index in one step.

They mean what `definition` and `recipe` would read from nodes. Whatever those would refuse, warn of, or read in
another way is None here, and theirs to read.
"""

from __future__ import annotations

from collections.abc import Sequence

from treebuilder.annotations import Any, TypeAlias
from treebuilder.model.package import Package, PackageId, PackageRef, Recipe, Step
from treebuilder.nodes.flat import Flat, Form, flat_of, read_flat, read_form, texts_of
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
_MAX_KEPT = 2_000
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
    if not _is_id(id):
        raise _Odd
    made[stored.ID] = [made[stored.ID][0], *id]
    first, _ = next(iter(found.values()))
    made[_IN_PACKAGE["where"]] = [_PLACE, file, first + 1]
    return made


class Definitions:
    """Reads definition.yaml files; of those of one form, which differ in their values only, it remembers what is where.

    A tree of 20,000 packages has some dozens of forms.
    """

    def __init__(self) -> None:
        self._known: dict[Form, _Where | None] = {}

    def read(self, text: str, file: str) -> Encoded | None:
        """What `plain_package` gives for the text."""
        found = read_form(text)
        if found is None:
            return None
        form, values = found
        if form not in self._known:
            if len(self._known) > _MAX_KEPT:
                self._known.clear()
            self._known[form] = _where(form)
        where = self._known[form]
        texts = None if where is None else texts_of(values)
        if where is None or texts is None:
            flat = read_flat(text)
            return None if flat is None else plain_package(flat, file)
        return where.filled(texts, file)


class _Where:
    """Where the parts of a package stand in files of one form: in which lines, or the last one for none."""

    def __init__(self, found: Encoded) -> None:
        """`found` is the package of such a file, with the number of its line for each value."""
        at = [int(number) if number else -1 for number in found[stored.ID][1:]]
        self._id = (at[0], at[1], at[2])
        self._first: int = found[_IN_PACKAGE["where"]][2]
        self._refs = [
            (_IN_PACKAGE[key], [(*(int(part) if part else -1 for part in ref[1:4]), ref[4][2]) for ref in refs])
            for key in sorted(_REFS)
            if (refs := found[_IN_PACKAGE[key]])
        ]
        self._maps = [
            (_IN_PACKAGE[key], [(name, int(number)) for name, number in pairs])
            for key in sorted(_MAPS)
            if (pairs := found[_IN_PACKAGE[key]])
        ]
        self._texts = [(slot, int(found[slot])) for key in sorted(_TEXT) if found[slot := _IN_PACKAGE[key]]]
        self._lists = [
            (_IN_PACKAGE[key], [int(number) for number in numbers])
            for key in sorted(_TEXTS)
            if (numbers := found[_IN_PACKAGE[key]])
        ]

    def filled(self, texts: list[str], file: str) -> Encoded | None:
        """The package of a file with these texts, by line."""
        texts.append("")
        category, name, version = self._id
        id = texts[category], texts[name], texts[version]
        if not _is_id(id):
            return None
        made = _BLANK_PACKAGE.copy()
        made[stored.ID] = [made[stored.ID][0], *id]
        for slot, refs in self._refs:
            made[slot] = tuple([[_REF, texts[c], texts[n], texts[v], [_PLACE, file, line]] for c, n, v, line in refs])
        for slot, pairs in self._maps:
            made[slot] = tuple([(key, texts[line]) for key, line in pairs])
        for slot, line in self._texts:
            made[slot] = texts[line]
        for slot, lines in self._lists:
            made[slot] = tuple([texts[line] for line in lines])
        made[stored.WHERE] = [_PLACE, file, self._first]
        return made


def _where(form: Form) -> _Where | None:
    """None where some value is read as more than a text."""
    flat = flat_of(form)
    found = None if flat is None else plain_package(flat, "")
    return None if found is None else _Where(found)


def plain_recipe(found: Flat, file: str, lines: Sequence[int]) -> Encoded | None:
    """An encoded `Recipe`; `found` is the whole of a rendered build.yaml, whose lines come from `lines` of the file."""
    try:
        return _recipe(found, file, lines)
    except _Odd:
        return None


def _recipe(found: Flat, file: str, lines: Sequence[int]) -> Encoded:
    made = _BLANK_RECIPE.copy()
    for key, (_, value) in found.items():
        if key in _REFS:
            made[_IN_RECIPE[key]] = _refs(value, file, lines)
        elif key in _RECIPE_STEPS:
            made[_IN_RECIPE[key]] = tuple(
                [[_STEP, _some(text), _place(line, file, lines)] for line, text in _lines(value)]
            )
        elif key in _RECIPE_TEXTS:
            made[_IN_RECIPE[key]] = tuple([_some(text) for _, text in _lines(value)])
        elif key in _RECIPE_TEXT:
            made[_IN_RECIPE[key]] = _text(value)
        elif key in _RECIPE_WORDS:
            made[_IN_RECIPE[key]] = _word(value)
        elif key not in _IGNORED:
            raise _Odd
    env, includes, excludes = (made[_IN_RECIPE[key]] for key in ("env", "includes", "excludes"))
    if (env or includes or excludes) and any(recipe_faults(Recipe(env=env, includes=includes, excludes=excludes))):
        raise _Odd
    made[_IN_RECIPE["where"]] = [_PLACE, file, 0]
    return made


def _is_id(id: Sequence[str]) -> bool:
    """Whether these can be category, name and version, as `definition` has it, and there is a name."""
    for part in id:
        if "/" in part or "\\" in part or part in (".", ".."):
            return False
    return id[1] != ""


def _place(line: int, file: str, lines: Sequence[int] | None) -> Encoded:
    """A place, encoded, as `nodes` finds it."""
    if lines is None:
        return [_PLACE, file, line + 1]
    return [_PLACE, file, lines[line if line < len(lines) else -1]]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _Odd
    return value


def _some(text: str) -> str:
    if not text.strip():
        raise _Odd
    return text


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
            elif lines is not None or key not in PACKAGE_KEYS:
                raise _Odd  # luet's hashes know what is said of what a recipe refers to
        found.append([_REF, *parts, _place(line, file, lines)])
    return tuple(found)
