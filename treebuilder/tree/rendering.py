"""Rendering build files, remembered: the same text with the same values renders to the same, so it is done once.

Rendering is pure (`template`), so what it depends on is the key; a hit neither parses nor imports jinja2.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from treebuilder import __version__
from treebuilder.template import Rendered, Templates
from treebuilder.tree.index import FileStamp, SpecIndex
from treebuilder.tree.values import Values, canonical

_SCHEMA = "rendered 1"  # raise it when the template language changes its mind


class Renderer:
    """Templates with the shared texts of all roots, and the index in front of them."""

    def __init__(
        self,
        shared: tuple[tuple[str, str], ...],
        env: Mapping[str, str],
        epoch_s: int,
        index: SpecIndex | None,
    ) -> None:
        self._templates = Templates(shared=shared, env=env, epoch_s=epoch_s)
        self._index = index
        self._has_shared = bool(shared)
        given = json.dumps([_SCHEMA, __version__, shared, sorted(env.items()), epoch_s])
        self._base = hashlib.sha256(given.encode("utf-8", "surrogatepass"))

    def render(self, text: str, values: Values, *, file: str) -> Rendered:
        """The rendered text and where its lines come from. Raises SpecError (reason "template")."""
        if self._index is None or ("{{" not in text and not self._has_shared):
            return self._templates.render_mapped(text, values, file=file)
        stamp = self._stamp(text, values)
        known = self._index.get(stamp)
        if known is not None:
            made, lines = json.loads(known)
            return Rendered(str(made), tuple(int(line) for line in lines))
        rendered = self._templates.render_mapped(text, values, file=file)
        self._index.put(stamp, json.dumps([rendered.text, rendered.lines]).encode())
        return rendered

    def _stamp(self, text: str, values: Values) -> FileStamp:
        key = self._base.copy()
        key.update(f"{canonical(values)}\0{text}".encode("utf-8", "surrogatepass"))
        return FileStamp(f"rendered//{key.hexdigest()}", len(text), 0, 0, 0)
