"""Why something is built again: the documents behind two keys, compared field by field."""

from __future__ import annotations

import json

from treebuilder.annotations import Any


def differences(before: str, now: str) -> tuple[str, ...]:
    """One sentence for each input that differs between two key documents (canonical JSON), sorted."""
    old, new = json.loads(before), json.loads(now)
    files = _files(old.pop("files", None), new.pop("files", None))
    return tuple(sorted(f"{said}{files}" if said == _CONTEXT else said for said in _differ("", old, new)))


def _files(before: dict[str, str] | None, now: dict[str, str] | None) -> str:
    """Which files: `: a, b (new), c (gone), …`. Nothing where a record is too old to say."""
    if before is None or now is None:
        return ""
    names = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    said = [name + (" (new)" if name not in before else " (gone)" if name not in now else "") for name in names]
    more = f" and {len(said) - _SHOWN} more" if len(said) > _SHOWN else ""
    return f": {', '.join(said[:_SHOWN])}{more}" if said else ""


def _differ(path: str, before: Any, now: Any) -> list[str]:  # noqa: ANN401 - JSON
    if before == now:
        return []
    if isinstance(before, dict) and isinstance(now, dict):
        found: list[str] = []
        for key in sorted({*before, *now}):
            found += _differ(f"{path}.{key}" if path else key, before.get(key), now.get(key))
        return found
    return [_sentence(path, before, now)]


_SHOWN = 5
_CONTEXT = "a file of its folder changed"
_WORDS = {
    "base": "what it is built on changed",
    "recipe.context": _CONTEXT,
    "recipe.epoch": "the epoch changed",
    "recipe.images": "an image it copies from changed",
    "recipe.retrieved": "a retrieved file changed",
    "copies": "a package it copies from changed",
    "artifacts": "a package file it retrieves changed",
}


def _sentence(path: str, before: Any, now: Any) -> str:  # noqa: ANN401 - JSON
    if path in _WORDS:
        return _WORDS[path]
    name = path.removeprefix("recipe.recipe.").removeprefix("recipe.")
    if isinstance(before, list) and isinstance(now, list):
        return f"{name} changed ({len(before)} items before, {len(now)} now)"
    if isinstance(before, str | int | bool | None) and isinstance(now, str | int | bool | None):
        return f"{name} was {_short(before)} and is {_short(now)}"
    return f"{name} changed"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
