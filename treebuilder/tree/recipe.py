"""build.yaml, rendered, to a `Recipe` (luet.md §2.5; `bootstrap`, `layering`, `delta`, `network`, `secrets` ours)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from treebuilder.annotations import Literal, cast
from treebuilder.errors import Place, SpecError
from treebuilder.model import envline
from treebuilder.model.package import Bootstrap, CopyItem, Recipe, Step, SubPackage
from treebuilder.model.patterns import compile_pattern
from treebuilder.nodes import Node
from treebuilder.records import replace
from treebuilder.tree.asluet import seen_by_luet
from treebuilder.tree.definition import (
    PACKAGE_KEYS,
    Tell,
    loose_text,
    loose_texts,
    read_package,
    read_ref,
    read_refs,
    report,
)

BOOTSTRAP_KEYS = frozenset(
    ("distribution", "suite", "variant", "packages", "mirror", "components", "keyring", "architecture")
)
COPY_KEYS = frozenset(("package", "image", "source", "destination"))
_OWN_KEYS = frozenset(
    (
        "image", "prelude", "steps", "env", "copy", "retrieve", "unpack", "package_dir", "includes", "excludes",
        "requires_final_images", "subpackages", "seed", "join", "bootstrap", "layering", "delta", "network", "secrets",
    )
)  # fmt: skip
RECIPE_KEYS = PACKAGE_KEYS | _OWN_KEYS
SUB_KEYS = PACKAGE_KEYS | {"includes", "excludes"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def read_recipe(node: Node, tell: Tell) -> Recipe:
    """A parsed build.yaml. What luet takes without a word and cannot be built is told, and refused by `recipe_faults`.

    Raises SpecError.
    """
    report(node, RECIPE_KEYS, tell)
    joined = read_refs(node, "join", tell)
    image, bootstrap = _text(node, "image", tell), _bootstrap(node, tell)
    if image and bootstrap is not None:
        raise SpecError("a package has an image or a bootstrap, not both", where=bootstrap.where, reason="two-bases")
    recipe = Recipe(
        image=image,
        requires=read_refs(node, "requires", tell) + joined,
        conflicts=read_refs(node, "conflicts", tell),
        provides=read_refs(node, "provides", tell),
        prelude=_steps(node, "prelude", tell),
        steps=_steps(node, "steps", tell),
        env=_texts(node, "env", tell),
        copy=tuple(_copy(item, tell) for item in node.children("copy")),
        retrieve=_texts(node, "retrieve", tell),
        unpack=node.boolean("unpack"),
        package_dir=_text(node, "package_dir", tell),
        seed=_text(node, "seed", tell),
        includes=_texts(node, "includes", tell),
        excludes=_texts(node, "excludes", tell),
        requires_final_images=node.boolean("requires_final_images") or bool(joined),
        subpackages=tuple(_subpackage(item, tell) for item in node.children("subpackages")),
        bootstrap=bootstrap,
        layering=cast('Literal["", "chain", "merge"]', _word(node, "layering", ("chain", "merge"), "")),
        delta=cast('Literal["additions", "changes"]', _word(node, "delta", ("additions", "changes"), "additions")),
        network=cast('Literal["host", "none"]', _word(node, "network", ("host", "none"), "host")),
        secrets=_secrets(node),
        where=Place(node.place.file),
    )
    places: dict[tuple[str, str], Place] = {}
    for fault, keys in recipe_faults(recipe):
        places = places or dict(reversed([*_places(node)]))  # of equal items the first
        tell("", fault.message, places.get(keys, node.place))
    return replace(recipe, luet=seen_by_luet(node, recipe))


def recipe_faults(recipe: Recipe) -> Iterator[tuple[SpecError, tuple[str, str]]]:
    """Why it cannot be built, though luet reads it; each with a key and a text that stand where it is said."""
    for item in recipe.env:
        name, separator, _ = item.partition("=")
        if not name.strip() or (not separator and len(item.split(None, 1)) < 2):
            yield SpecError(f"an item of env is written NAME=VALUE, not {item!r}", reason="env"), ("env", item)
            continue
        try:
            envline.parse(item, {})
        except SpecError as err:
            yield err, ("env", item)
    for number, copy in enumerate(recipe.copy):
        at = ("copy", str(number))
        if (copy.package is None) == (not copy.image):
            hint = "give one of package: and image:"
            yield SpecError("copy takes from a package or from an image", hint=hint, reason="copy"), at
        elif not copy.source or not copy.destination:
            yield SpecError("copy needs source and destination", reason="copy"), at
    includes = (*recipe.includes, *(pattern for sub in recipe.subpackages for pattern in sub.includes))
    excludes = (*recipe.excludes, *(pattern for sub in recipe.subpackages for pattern in sub.excludes))
    for key, pattern in (*(("includes", p) for p in includes), *(("excludes", p) for p in excludes)):
        try:
            compile_pattern(pattern)
        except SpecError as err:
            yield err, (key, pattern)


def _places(node: Node) -> Iterator[tuple[tuple[str, str], Place]]:
    """Where that stands which `recipe_faults` may name."""
    for number, item in enumerate(node.children("copy")):
        yield ("copy", str(number)), item.place
    for key in ("env", "includes", "excludes"):
        for part in (node, *(node.children("subpackages") if key != "env" else ())):
            for item in part.children(key):
                yield (key, item.as_loose_text()), item.place


def _text(node: Node, key: str, tell: Tell) -> str:
    found = node.get(key)
    return "" if found is None else loose_text(found, key, tell)


def _texts(node: Node, key: str, tell: Tell | None) -> tuple[str, ...]:
    return tuple(text for text in loose_texts(node, key, tell) if text)


def _steps(node: Node, key: str, tell: Tell) -> tuple[Step, ...]:
    """Lines to run; an item that a template left empty is none."""
    steps = (Step(loose_text(item, f"an item of {key}", tell), item.place) for item in node.children(key))
    return tuple(step for step in steps if step.command.strip())


def _word(node: Node, key: str, words: tuple[str, ...], default: str) -> str:
    found = node.get(key)
    if found is None:
        return default
    word = found.as_text(key)
    if word not in words:
        found.fail(f"{key} must be {' or '.join(words)}, not {word!r}", reason="wrong-word")
    return word


def _secrets(node: Node) -> tuple[str, ...]:
    """Names that `env` sets: one that it does not is a misspelt one, and what was meant would be public."""
    names: list[str] = []
    lines = _texts(node, "env", None) if node.get("secrets") is not None else ()
    known = {name for line in lines for name in _set_by(line)}
    for item in node.children("secrets"):
        name = item.as_text("an item of secrets")
        if not _NAME.match(name):
            item.fail(f"a secret is the name of a variable, not {name!r}", reason="wrong-word")
        if name not in known:
            item.fail(f"no line of env sets {name}, so nothing of that name is secret", reason="secret")
        names.append(name)
    return tuple(names)


def _set_by(line: str) -> tuple[str, ...]:
    """The variables that a line of `env` sets; none where it is refused anyway (`recipe_faults`)."""
    try:
        return tuple(name for name, _ in envline.parse(line, {}))
    except SpecError:
        return ()


def _copy(node: Node, tell: Tell) -> CopyItem:
    package = node.get("package")
    report(node, COPY_KEYS, tell)
    image, source, destination = (_text(node, key, tell) for key in ("image", "source", "destination"))
    ref = None if package is None else read_ref(package, tell, loose=True)
    return CopyItem(ref, image, source, destination, node.place)


def _subpackage(node: Node, tell: Tell) -> SubPackage:
    report(node, SUB_KEYS, tell)
    return SubPackage(read_package(node, tell), _texts(node, "includes", tell), _texts(node, "excludes", tell))


def _words(node: Node, key: str) -> tuple[str, ...]:
    """A list of texts, or one text of words separated by white space."""
    found = node.get(key)
    if found is None:
        return ()
    if found.kind == "text":
        return tuple(found.as_text(key).split())
    return tuple(word for text in node.texts(key) for word in text.split())


def _bootstrap(node: Node, tell: Tell) -> Bootstrap | None:
    found = node.get("bootstrap")
    if found is None:
        return None
    report(found, BOOTSTRAP_KEYS, tell)
    for key in ("distribution", "suite"):
        if not found.text(key):
            found.fail(f"bootstrap needs a {key}", hint="distribution: debian, suite: bookworm", reason="bootstrap")
    return Bootstrap(
        distribution=found.text("distribution"),
        suite=found.text("suite"),
        variant=found.text("variant", "minbase"),
        packages=tuple(sorted(set(_words(found, "packages")))),
        mirror=found.text("mirror"),
        components=_words(found, "components") or ("main",),
        keyring=found.text("keyring"),
        architecture=found.text("architecture"),
        where=found.place,
    )
