"""Rendering build files with the shared texts of all roots."""

from __future__ import annotations

from collections.abc import Mapping

from treebuilder.template import Rendered, Templates
from treebuilder.tree.values import Values


class Renderer:
    """Templates with the shared texts of all roots."""

    def __init__(self, shared: tuple[tuple[str, str], ...], env: Mapping[str, str], epoch_s: int) -> None:
        self.shared = shared
        self._templates = Templates(shared=shared, env=env, epoch_s=epoch_s)

    def render(self, text: str, values: Values, *, file: str) -> Rendered:
        """The rendered text and where its lines come from. Raises SpecError (reason "template")."""
        return self._templates.render_mapped(text, values, file=file)
