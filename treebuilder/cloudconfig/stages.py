"""Runs a stage: the steps of all files in order, each whose conditions hold (os-and-ota.md §6.1, §6.2).

An error never stops the others: the run ends with all of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from treebuilder.cloudconfig import facts
from treebuilder.cloudconfig.ask import is_url, shown
from treebuilder.cloudconfig.classic import translated
from treebuilder.cloudconfig.conditions import applies
from treebuilder.cloudconfig.config import FURTHER, Config, Source, Step, further_document, is_classic, parse, sources
from treebuilder.cloudconfig.machine import Machine
from treebuilder.cloudconfig.modules import apply
from treebuilder.cloudconfig.names import gone_by, hooks
from treebuilder.cloudconfig.root import Root
from treebuilder.cloudconfig.schema import check
from treebuilder.errors import Place, SpecError, TreebuildError
from treebuilder.events import EventSink, Said, Silent, Warned
from treebuilder.nodes import Node
from treebuilder.records import replace

SYSTEM_PATHS = ("/system/oem", "/oem", "/usr/local/cloud-config")


class Runner:
    """Reads sources once and runs stages of them against one root. `errors` has everything that went wrong."""

    def __init__(self, root: Path, events: EventSink | None = None) -> None:
        place = Root(Path(os.path.abspath(root)))
        self._events: EventSink = events or Silent()
        self._machine = Machine(place, lambda: facts.values(place), self._events)
        self.configs: list[Config] = []

    @property
    def errors(self) -> tuple[TreebuildError, ...]:
        return tuple(self._machine.errors)

    def read(self, arguments: Iterable[str], *, stdin: str | None = None, dotted: bool = False) -> None:
        """Adds sources in the order given. What cannot be read or parsed becomes an error, the rest is kept."""
        for argument in arguments:
            with self._machine.attempt(Place(shown(argument.partition("\n")[0][:80]))):
                found, errors = sources(argument, stdin, self._machine.fetch)
                self._machine.errors += errors
                for source in found:
                    self._add(source, dotted)

    def run(self, stage: str) -> None:
        """Runs the steps of exactly this stage; then those that have gone by, of files that a step brought."""
        self._run(stage)
        arrived, self._machine.arrived = self._machine.arrived, []
        for name, text in arrived:
            self._catch_up(stage, Source(name, text))

    def _run(self, stage: str) -> None:
        for step in self.ordered(stage):
            self._events.emit(Said(f"{stage}: {step}"))
            with self._machine.attempt(step.place):
                if applies(step.node, self._machine):
                    apply(step.node, self._machine)

    def _catch_up(self, stage: str, source: Source) -> None:
        """Runs a new file for the stages of this boot up to this one. Those that follow find it among the files."""
        before, self.configs = self.configs, []
        self._add(source, dotted=False)
        for part in gone_by(stage) if self.configs else ():
            self._run(part)
        self._machine.arrived = []  # what brings itself is enough once
        self.configs = [*before, *self.configs]

    def ordered(self, stage: str) -> list[Step]:
        """The steps in the order in which they run."""
        steps: list[list[Step]] = []
        for config in self.configs:
            with self._machine.attempt(Place(config.source)):
                steps.append(list(config.steps(stage)))
        try:
            return order(steps, self._machine)
        except SpecError as err:
            self._machine.errors.append(err)
            return [step for file in steps for step in file]

    def _add(self, source: Source, dotted: bool) -> None:
        with self._machine.attempt(Place(source.name)):
            config = parse(source, dotted=dotted)
            classic = is_classic(source)
            for warning in check(config.node, classic=classic):
                self._events.emit(warning)
            extra = further_document(source)
            if extra is not None:
                self._events.emit(Warned(FURTHER, extra))
            node = translated(config.node, self._machine.errors) if classic else config.node
            self.configs.append(replace(config, node=node))


def run_stage(
    stage: str,
    paths: Sequence[str] = SYSTEM_PATHS,
    *,
    root: Path = Path("/"),
    events: EventSink | None = None,
    kernel_arguments: str = "",
) -> tuple[TreebuildError, ...]:
    """What `cos-setup STAGE` does: all `.before` steps of all paths, then all of the stage, then all `.after`.

    `paths` are URLs, and folders and files of this machine; missing ones are passed over. Each part ends with what
    `kernel_arguments` says in dot notation. Returns all errors, in order.
    """
    runner = Runner(root, events)
    runner.read(path for path in paths if is_url(path) or os.path.exists(path))
    if "stages." in kernel_arguments:
        runner.read(["-"], stdin=kernel_arguments, dotted=True)
    for part in hooks(stage):
        runner.run(part)
    return runner.errors


def order(files: list[list[Step]], machine: Machine) -> list[Step]:
    """Steps of a file follow each other; a step with `after` follows the steps that it names instead.

    Otherwise the order of files and lines is kept. Raises SpecError (reason "cycle") for a circle of `after`.
    """
    steps = [step for file in files for step in file]
    index = {id(step): number for number, step in enumerate(steps)}
    before: list[set[int]] = []
    for file in files:
        for number, step in enumerate(file):
            named = step.node.children("after")
            if named:
                before.append({i for item in named for i in _find(item, step, steps, machine)})
            else:
                before.append({index[id(file[number - 1])]} if number else set())
    done: list[int] = []
    waiting = list(range(len(steps)))
    while waiting:
        ready = next((i for i in waiting if before[i] <= set(done)), None)
        if ready is None:
            names = ", ".join(str(steps[i]) for i in waiting if steps[i].node.children("after"))
            raise SpecError(f"steps wait for each other: {names}", where=steps[waiting[0]].place, reason="cycle")
        done.append(ready)
        waiting.remove(ready)
    return [steps[i] for i in done]


def _find(item: Node, step: Step, steps: list[Step], machine: Machine) -> list[int]:
    """The steps that an item of `after` calls `FILE.STEP`, or `STEP` in the same file."""
    name, found = item.text("name"), []
    for number, other in enumerate(steps):
        file = Path(other.place.file).name
        names = {f"{owner}.{other.name}" for owner in (other.config, file, file.rpartition(".")[0])}
        if other.config == step.config:
            names.add(other.name)
        if name and name in names and other is not step:
            found.append(number)
    if not found:
        machine.warn(f"there is no step {name!r} to run after", item.place, rule="after")
    return found
