"""The parser of one verb's command line: argparse without what it does for each of fifty flags."""

from __future__ import annotations

import argparse
import sys

from treebuilder.annotations import Any

_CHECKED_WIDTH = 100


class Parser(argparse.ArgumentParser):
    """`description` is the docstring of the verb's module. `settle` comes after the last flag, before parsing."""

    def __init__(self, prog: str, description: str | None) -> None:
        # It looks for translations of its words, of which there are none, in every folder of a locale: 1.5 ms.
        argparse._ = str  # type: ignore[attr-defined]
        self._plain: argparse.HelpFormatter | None = argparse.HelpFormatter(prog, width=_CHECKED_WIDTH)
        super().__init__(
            prog=prog, description=(description or "").strip(), allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip

    def settle(self) -> None:
        """Makes the line of usage, which argparse would make of all flags each time it parses."""
        formatter = self._get_formatter()
        names = [formatter._format_args(action, action.dest) for action in self._get_positional_actions()]
        self.usage = " ".join([self.prog.replace("%", "%%"), "[flags]", *names])
        self._plain = None

    def _get_formatter(self) -> argparse.HelpFormatter:
        """argparse checks each new flag with a formatter of its own, and each of these asks for the screen's width."""
        return self._plain or super()._get_formatter()

    def _print_message(self, message: str, file: Any = None) -> None:  # noqa: ANN401 - as argparse has it
        """argparse keeps quiet when the help cannot be written."""
        (file or sys.stdout).write(message)
