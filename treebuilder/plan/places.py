"""Where a specfile says something, found when an error needs it: recipes keep the file and not the line of each key."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from treebuilder.errors import Place, TreebuildError
from treebuilder.oci.layout import Layout
from treebuilder.plan.graph import BuildNode, ImageBase
from treebuilder.tree.files import read_text


def place_of(where: Place, key: str, word: str = "") -> Place:
    """The line of a key at the top of a specfile, or of the first line from there on that holds `word`.

    `where` itself, if it has a line already, or if the file (a template) does not say it in so many words.
    """
    if where.line or not where.file:
        return where
    try:
        lines = read_text(where.file).splitlines()
    except (TreebuildError, OSError):
        return where
    pattern = re.compile(rf"['\"]?{re.escape(key)}['\"]?\s*:", re.IGNORECASE)
    first = next((at for at, line in enumerate(lines) if pattern.match(line)), None) if key else 0
    if first is None:
        return where
    exact = next((at for at, line in enumerate(lines) if at >= first and word in line), first)
    return Place(where.file, exact + 1)


@contextmanager
def said_at(find: Callable[[], Place]) -> Iterator[None]:
    """Gives errors that know no place the one that `find` finds."""
    try:
        yield
    except TreebuildError as err:
        if err.where is None:
            err.where = find()
        raise


def named_images(nodes: Iterable[BuildNode]) -> dict[str, Callable[[], Place]]:
    """The images that nodes name, with a way to find where the first one says so."""
    found: dict[str, Callable[[], Place]] = {}
    for node in nodes:
        recipe, context = node.package.recipe, node.package.context
        named = [(copy.image, copy.where, "") for copy in node.copies if copy.image]
        named += [(image, recipe.where, "") for image in node.images]
        if isinstance(node.base, ImageBase):
            named.append((node.base.reference, recipe.where, "image"))
        for reference, where, key in named:
            folder = reference.removeprefix("oci:")
            word = reference if folder == reference else f"oci:{os.path.relpath(folder, context)}"
            found.setdefault(reference, partial(place_of, where, key, word))
    return found


def named_urls(nodes: Iterable[BuildNode]) -> dict[str, Callable[[], Place]]:
    """The files that nodes retrieve from the network, with a way to find where the first one says so."""
    found: dict[str, Callable[[], Place]] = {}
    for node in nodes:
        for item in node.retrieved:
            if item.url:
                found.setdefault(item.url, partial(place_of, node.package.recipe.where, "", item.url))
    return found


def look_at_layouts(nodes: Iterable[BuildNode]) -> None:
    """Reads the index of every image layout in the tree while it is known who names it.

    Raises SpecError, IntegrityError.
    """
    for reference, find in named_images(nodes).items():
        if reference.startswith("oci:"):
            with said_at(find):
                Layout(Path(reference.removeprefix("oci:"))).resolve()
