"""Rendering build files with the shared texts of all roots."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from treebuilder.errors import Place
from treebuilder.template import Rendered, Templates
from treebuilder.tree.values import Values


class Renderer:
    """Templates with the shared texts of all roots."""

    def __init__(
        self, shared: tuple[tuple[str, str], ...], env: Mapping[str, str], epoch_s: int, ranks: tuple[int, ...] = ()
    ) -> None:
        self.shared = shared
        self._templates = Templates(shared=shared, env=env, epoch_s=epoch_s, ranks=ranks)

    def render(self, text: str, values: Values, *, file: str, seed: Callable[[], bytes]) -> Rendered:
        """The rendered text and where its lines come from; `seed` is asked if the text draws something random.

        Raises SpecError (reason "template"), and what `seed` raises.
        """
        return self._templates.render_mapped(text, values, file=file, seed=seed)

    def origins(self, text: str, values: Values, *, file: str, seed: Callable[[], bytes]) -> Mapping[int, Place]:
        """Where in shared texts lines of a rendered text come from, by number from 1."""
        return self._templates.origins(text, values, file=file, seed=seed)
