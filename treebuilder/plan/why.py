"""Why something is built again: the documents behind two keys, compared field by field."""

from __future__ import annotations

import json
from typing import Any


def differences(before: str, now: str) -> tuple[str, ...]:
    """One sentence for each input that differs between two key documents (canonical JSON), sorted."""
    return tuple(sorted(_differ("", json.loads(before), json.loads(now))))


def _differ(path: str, before: Any, now: Any) -> list[str]:  # noqa: ANN401 - JSON
    if before == now:
        return []
    if isinstance(before, dict) and isinstance(now, dict):
        found: list[str] = []
        for key in sorted({*before, *now}):
            found += _differ(f"{path}.{key}" if path else key, before.get(key), now.get(key))
        return found
    return [_sentence(path, before, now)]


_WORDS = {
    "base": "what it is built on changed",
    "recipe.context": "a file of its folder changed",
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
