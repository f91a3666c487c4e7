"""Where a specfile says something, found when an error needs it: recipes keep the file and not the line of each key."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
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


def look_at_layouts(nodes: Iterable[BuildNode]) -> None:
    """Reads the index of every image layout in the tree while it is known who names it.

    Raises SpecError, IntegrityError.
    """
    seen: set[str] = set()
    for node in nodes:
        recipe = node.package.recipe
        named = [(copy.image, copy.where, "") for copy in node.copies if copy.image]
        named += [(image, recipe.where, "") for image in node.images]
        if isinstance(node.base, ImageBase):
            named.append((node.base.reference, recipe.where, "image"))
        for reference, where, key in named:
            folder = reference.removeprefix("oci:")
            if folder == reference or folder in seen:
                continue
            seen.add(folder)
            try:
                Layout(Path(folder)).resolve()
            except TreebuildError as err:
                err.where = place_of(where, key, f"oci:{os.path.relpath(folder, node.package.context)}")
                raise
