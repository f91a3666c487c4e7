"""The published schemas of specfiles know the keys that the reader knows, and what it takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from treebuilder.model.package import Package, PackageId
from treebuilder.nodes import load
from treebuilder.tree import read_finalizer
from treebuilder.tree.definition import PACKAGE_KEYS
from treebuilder.tree.recipe import BOOTSTRAP_KEYS, COPY_KEYS, RECIPE_KEYS, SUB_KEYS, read_recipe

FOLDER = Path(__file__).parents[2] / "docs" / "schemas" / "specfiles"


def keys(name: str, *path: str) -> set[str]:
    found: Any = json.loads((FOLDER / f"{name}.json").read_text())
    for step in path:
        found = found["properties"][step]
        found = found.get("items", found) if found.get("items", {}).get("properties") else found
    return set(found["properties"])


def test_the_schemas_have_the_readers_keys() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == {"definition", "collection", "build", "finalize"}
    assert keys("definition") == PACKAGE_KEYS
    assert keys("collection") == {"packages"}
    assert keys("collection", "packages") == PACKAGE_KEYS
    assert keys("build") == RECIPE_KEYS
    assert keys("build", "copy") == COPY_KEYS
    assert keys("build", "subpackages") == SUB_KEYS
    assert keys("build", "bootstrap") == BOOTSTRAP_KEYS
    assert keys("finalize") == {"shell", "install", "uninstall"}


@pytest.mark.parametrize("name", ["build", "finalize"])
def test_every_key_of_the_schema_is_read(name: str) -> None:
    """A value of the type that the schema names is taken, and no key is unknown."""
    schema = json.loads((FOLDER / f"{name}.json").read_text())
    lines = []
    for key, said in schema["properties"].items():
        kinds = [said["type"]] if isinstance(said.get("type"), str) else said.get("type", [])
        example = {"string": "x", "boolean": True, "array": [], "object": None}
        value = said["enum"][0] if "enum" in said else next((example[kind] for kind in kinds if kind != "null"), None)
        lines.append(f"{key}: {json.dumps(value)}")
    told: list[str] = []
    text = "\n".join(lines)
    if name == "build":
        assert read_recipe(load(text, "f"), lambda key, message, place: told.append(key + message)).image == "x"
    else:
        assert read_finalizer(text, Package(PackageId("c", "n", "1")), file="f").shell == ("sh", "-c")
    assert told == []


@pytest.mark.parametrize("name", ["definition", "collection", "build", "finalize"])
def test_every_key_is_described_for_editors(name: str) -> None:
    def bare(schema: dict[str, Any]) -> list[str]:
        found = [
            key
            for key, value in schema.get("properties", {}).items()
            if not value.get("description") and "$ref" not in value
        ]
        below = [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]
        return found + [key for value in below for key in bare(value)]

    schema = json.loads((FOLDER / f"{name}.json").read_text())
    assert bare(schema) == []
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
