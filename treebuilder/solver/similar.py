"""Which known names somebody may have meant by one that nobody has."""

from __future__ import annotations

from collections.abc import Sequence

_MOST = 3
_LIKE = 0.75
_COMPARISONS = 250_000  # three seconds: whoever misses thousands of names misses a whole tree


class Similar:
    """Remembers what it was asked; after many comparisons only names of another category are found."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._left = _COMPARISONS
        self._found: dict[str, list[str]] = {}
        self._by_short: dict[str, list[str]] = {}
        for name in names:
            self._by_short.setdefault(name.rpartition("/")[2], []).append(name)

    def to(self, pkgname: str) -> list[str]:
        """Those of the same name in another category, or else those that are written nearly so."""
        found = self._found.get(pkgname)
        if found is None:
            same = self._by_short.get(pkgname.rpartition("/")[2])
            found = self._found[pkgname] = same[:_MOST] if same else self._close(pkgname)
        return found

    def _close(self, pkgname: str) -> list[str]:
        if self._left <= 0:
            return []
        import difflib

        self._left -= len(self._names)
        return difflib.get_close_matches(pkgname, self._names, n=_MOST, cutoff=_LIKE)
