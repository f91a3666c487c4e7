"""What packages record of the `--values` they were built with (luet.md §3.3), so that others render the same of them.

A package is read by everybody who installs it: what a recipe of the tree calls a secret is left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from copy import copy

from treebuilder.errors import SpecError
from treebuilder.model.envline import secret_values
from treebuilder.tree import Tree, TreePackage
from treebuilder.tree.files import read_text
from treebuilder.tree.values import Values, read_files

_TELLING = 4  # letters of a value that is looked for within another


def recorded_values(files: tuple[str, ...], tree: Tree) -> Values:
    """The values of the files merged, without those that make secrets. Raises SpecError."""
    values = read_files(files)
    if not values:
        return {}
    secrets: set[str] = set()
    named: set[tuple[str, ...]] = set()
    for cell in tree.cells:
        package = copy(cell).package()  # a copy forgets what it has read
        if package.recipe.secrets:
            secrets.update(secret_values(package.recipe.env, package.recipe.secrets))
            named.update(_named(package))
    return _open(values, secrets, named, ()) if secrets or named else values


def _named(package: TreePackage) -> Iterator[tuple[str, ...]]:
    """The values that lines with a secret's name take in, as paths: their text may come out in another form."""
    try:
        lines = read_text(os.path.join(package.context, "build.yaml")).splitlines()
    except (FileNotFoundError, SpecError):
        return
    for line in lines:
        if any(name in line for name in package.recipe.secrets):
            for found in re.finditer(r"\.Values\.([\w.]+)", line):
                yield tuple(found[1].strip(".").split("."))
            for found in re.finditer(r"""index\s+\.Values((?:\.\w+)*)((?:\s+(?:"[^"]*"|`[^`]*`))+)""", line):
                keys = [quoted[1:-1] for quoted in re.findall(r'"[^"]*"|`[^`]*`', found[2])]
                yield (*found[1].split(".")[1:], *keys)


def _open(values: Mapping[str, object], secrets: set[str], named: set[tuple[str, ...]], at: tuple[str, ...]) -> Values:
    kept: Values = {}
    for key, value in values.items():
        if (*at, key) in named:
            continue
        if isinstance(value, dict):
            kept[key] = _open(value, secrets, named, (*at, key))
        elif not _tells(value, secrets):
            kept[key] = value
    return kept


def _tells(value: object, secrets: set[str]) -> bool:
    """Whether somebody who reads the value knows a secret, or a part of one."""
    if isinstance(value, (list, dict)):
        return any(_tells(item, secrets) for item in (value.values() if isinstance(value, dict) else value))
    text = str(value)
    if text in secrets:
        return True
    return any(
        (len(text) >= _TELLING and text in secret) or (len(secret) >= _TELLING and secret in text) for secret in secrets
    )
