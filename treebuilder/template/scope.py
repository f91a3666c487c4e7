"""The variables that are known at a place of a template."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class Scope:
    """Names with their slots, the innermost last; its length is what `leave` takes to end those declared since."""

    def __init__(self, variables: Iterable[tuple[str, int]]) -> None:
        self._variables: list[tuple[str, int]] = []
        self._by_name: dict[str, list[int]] = {}  # else each use of a far variable is a walk over all of them
        for name, slot in variables:
            self.add(name, slot)

    def __len__(self) -> int:
        return len(self._variables)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self._variables)

    def add(self, name: str, slot: int) -> None:
        """The variable hides those of the same name."""
        self._variables.append((name, slot))
        self._by_name.setdefault(name, []).append(slot)

    def leave(self, depth: int) -> None:
        """Forgets the variables that were added since there were `depth` of them."""
        while len(self._variables) > depth:
            name, _ = self._variables.pop()
            slots = self._by_name[name]
            slots.pop()
            if not slots:
                del self._by_name[name]

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def slot(self, name: str) -> int:
        """The slot of the innermost variable of the name, which must be known."""
        return self._by_name[name][-1]
