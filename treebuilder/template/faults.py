"""What goes wrong inside a template, before it is known where: the engine adds file and line."""

from __future__ import annotations


class TemplateFault(Exception):
    """A message without a place, raised by functions and values."""


class LocatedFault(Exception):
    """A message at a mark of the source (`source.Source`)."""

    def __init__(self, message: str, mark: int) -> None:
        super().__init__(message)
        self.message = message
        self.mark = mark
