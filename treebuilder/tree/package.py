"""What a tree says of one package."""

from __future__ import annotations

from treebuilder.model.package import Package, Recipe
from treebuilder.records import record


@record
class TreePackage:
    """A package of a tree.

    `package` is the definition, `recipe` its build.yaml rendered with the values files. `context` is the absolute path
    of its folder ("" for none); `folder` the same relative to `root`, the `--tree` it came from as the user wrote it.
    `finalize` is the text of finalize.yaml, not rendered ("" for none). `values` are the merged template values as
    canonical JSON.
    """

    package: Package
    recipe: Recipe
    context: str
    folder: str
    finalize: str
    finalize_file: str
    root: str
    values: str
