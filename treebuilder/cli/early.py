"""Loads `pathlib` and `argparse` without what they load for functions that hardly anybody calls: 2 ms of every start.

`pathlib` takes one function of `urllib.parse` (from Python 3.13 on, only when it is called), `argparse` takes two of
`gettext`, for words of which there are no translations. Whoever asks for these modules later gets the real ones.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


def quote_from_bytes(data: bytes) -> str:
    """That of `urllib.parse`, which `Path.as_uri` calls."""
    from urllib.parse import quote_from_bytes as quote

    return quote(data)


def gettext(message: str) -> str:
    return message


def ngettext(singular: str, plural: str, number: int) -> str:
    return singular if number == 1 else plural


def load() -> None:
    """To be called before anything else has loaded them; else it changes nothing."""
    if "pathlib" not in sys.modules:
        with _standing_in("urllib", "urllib.parse", quote_from_bytes=quote_from_bytes):
            import pathlib  # noqa: F401 - it is to be there
    if "argparse" not in sys.modules:
        with _standing_in("gettext", gettext=gettext, ngettext=ngettext):
            import argparse  # noqa: F401 - it is to be there


@contextmanager
def _standing_in(*names: str, **functions: object) -> Iterator[None]:
    """For a block there are modules of these names, the last with these functions, unless they are there already."""
    if not sys.modules.keys().isdisjoint(names):
        yield
        return
    made = [ModuleType(name) for name in names]
    vars(made[-1]).update(functions)
    sys.modules.update(zip(names, made, strict=True))
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
