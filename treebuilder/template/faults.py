"""What goes wrong inside a template, before it is known where: the engine adds file and line."""

from __future__ import annotations


class TemplateFault(Exception):
    """A message without a place, raised by functions and values."""


class LocatedFault(Exception):
    """A message at a mark of the source (`source.Source`).

    `caller` is the line of the rendered file that was running, 0 while nobody knows.
    """

    def __init__(self, message: str, mark: int) -> None:
        super().__init__(message)
        self.message = message
        self.mark = mark
        self.caller = 0


class TooDeep(RecursionError):
    """The stack did not suffice for what stands at a mark."""

    def __init__(self, mark: int) -> None:
        super().__init__()
        self.mark = mark
