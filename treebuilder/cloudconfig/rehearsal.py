"""Steps gone through without doing anything, for the linter: the code that runs them reads them, so both agree.

Each step works on a folder of its own, which has a name and nothing else. No program is started and nothing is fetched.
What is kept is what is wrong with the text; that this machine lacks a user, a unit or a setting is not.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from treebuilder.annotations import ClassVar
from treebuilder.cloudconfig import conditions, facts, modules
from treebuilder.cloudconfig.ask import Ask, split
from treebuilder.cloudconfig.machine import Machine
from treebuilder.cloudconfig.root import Root
from treebuilder.errors import Place, SpecError, TreebuildError
from treebuilder.nodes import Node
from treebuilder.records import record

_SOME_MACHINE = {
    "/etc/hostname": "device\n", "/etc/machine-id": f"{1:032x}\n", "/etc/timezone": "Etc/UTC\n",
    "/etc/os-release": "ID=os\nNAME=os\nPRETTY_NAME=os\nVERSION_ID=1\n",
}  # fmt: skip
_OF_THE_MACHINE = ("unknown-owner",)
_OF_THE_TEXT = ("entity", "unit-name", "url", "unsupported", "cycle")


@record(order=True)
class Fault:
    """`rule` is value, template, after, cycle or unsupported."""

    file: str
    line: int
    rule: str
    message: str
    hint: str

    @property
    def where(self) -> Place:
        return Place(self.file, self.line)


class Rehearsal(Machine):
    """A machine that does nothing. `faults` has what is wrong, in the order found."""

    rehearsal: ClassVar[bool] = True

    def __init__(self, folder: Path) -> None:
        root = Root(folder)
        super().__init__(root, lambda: facts.values(root))
        self._warned: list[Fault] = []

    def faults(self) -> list[Fault]:
        found = list(self._warned)
        for err in self.errors:
            if _is_of_the_text(err):
                rule = err.reason if err.reason in ("unsupported", "cycle") else "value"
                found.append(fault(rule, err.message, err.where, err.hint))
        return found

    def warn(self, message: str, place: Place, hint: str | None = None, *, rule: str = "value") -> None:
        self._warned.append(fault(rule, message, place, hint))

    def note(self, message: str, place: Place, hint: str | None = None) -> None:
        return

    def run(
        self, argv: Sequence[str], *, quiet: bool = False, timeout_s: float | None = None,
        env: Mapping[str, str] | None = None,
    ) -> int:  # fmt: skip
        return 0

    def fetch(self, ask: Ask, *, tries: int = 3) -> bytes:
        split(ask.url)
        return b""


def rehearse(step: Node) -> list[Fault]:
    """What is wrong with a step."""
    with tempfile.TemporaryDirectory(prefix="treebuild-lint-") as folder:
        machine = Rehearsal(Path(folder))
        for name, text in _SOME_MACHINE.items():  # a template that asks for its name gets one
            machine.root.write_text(name, text)
        conditions.read_all(step, machine)
        modules.apply(step, machine)
        return machine.faults()


def fault(rule: str, message: str, where: Place | None, hint: str | None = None) -> Fault:
    place = where or Place("")
    return Fault(place.file, place.line, rule, message, hint or "")


def _is_of_the_text(err: TreebuildError) -> bool:
    if isinstance(err, SpecError):
        return err.reason not in _OF_THE_MACHINE
    return err.reason in _OF_THE_TEXT
