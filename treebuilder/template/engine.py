"""Go text/template with sprig and luet's functions, compiled to jinja2's AST and run in its sandbox.

A text without `{{` and without shared texts is itself and costs nothing: jinja2 is not imported for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress

from treebuilder.annotations import TYPE_CHECKING, TypeVar
from treebuilder.errors import Place, SpecError
from treebuilder.records import record
from treebuilder.template.faults import LocatedFault, TemplateFault, TooDeep

if TYPE_CHECKING:
    from treebuilder.template.functions.world import Randomness
    from treebuilder.template.runtime import Run
    from treebuilder.template.shared import Shared, Template
    from treebuilder.template.source import Source

_Result = TypeVar("_Result")


@record
class Rendered:
    """A rendered text. `lines[i]` is the line of the rendered file that output line i+1 comes from, 0 for none."""

    text: str
    lines: tuple[int, ...]


class Templates:
    """Renders texts that share a set of files.

    `shared` are (file name, text) of `templates/*.yaml`, glued in front of every rendered text without a separator
    (luet.md §3.1); of a name that files of several `ranks` define, that of the lowest counts. `env` is all that `env`
    and `expandenv` see, `epoch_s` what `now` says; the random functions start anew for each text, from `seed`, the
    text and its values. Safe to use from one thread at a time.
    """

    def __init__(
        self,
        *,
        shared: tuple[tuple[str, str], ...] = (),
        env: Mapping[str, str] | None = None,
        epoch_s: int = 0,
        seed: bytes = b"",
        ranks: tuple[int, ...] = (),
    ) -> None:
        self._shared = shared
        self._ranks = ranks
        self._env = dict(env or {})
        self._epoch_s = epoch_s
        self._seed = seed
        self._before: Shared | None = None

    def render(self, text: str, values: Mapping[str, object], *, file: str) -> str:
        """The rendered text; `.Values` is `values`. Raises SpecError (reason "template") with file and line."""
        return self.render_mapped(text, values, file=file).text

    def render_mapped(
        self, text: str, values: Mapping[str, object], *, file: str, seed: Callable[[], bytes] | None = None
    ) -> Rendered:
        """Like `render`, and says which line of the file wrote which line of the output.

        `seed` stands for that of all texts; it is asked when the text draws something random, and may raise.
        """
        seed = seed or self._own_seed
        if "{{" not in text and not self._shared:
            return Rendered(text, tuple(range(1, text.count("\n") + 2)))
        from treebuilder.template.shared import Shared

        if self._before is None:
            self._before = Shared(self._shared, self._ranks)
        shared = self._before
        with suppress(LocatedFault, TemplateFault, RecursionError, SyntaxError, MemoryError):  # said by the long way
            found = shared.short_cut(text)
            if found is not None:
                return self._executed(*found, text, values, seed)
        source = shared.source(file, text)
        try:
            return self._run(lambda: self._executed(shared.parsed(source, text), source, text, values, seed))
        except LocatedFault as fault:
            where = source.place(fault.mark)
            caller = f" (called in {Place(file, fault.caller)})" if fault.caller and where.file != file else ""
            raise SpecError(f"template: {fault.message}{caller}", where=where, reason="template") from fault
        except TemplateFault as fault:
            raise SpecError(f"template: {fault}", where=Place(file), reason="template") from fault
        except (RecursionError, SyntaxError, MemoryError) as err:
            where = source.place(err.mark) if isinstance(err, TooDeep) else Place(file)
            raise SpecError("template: nested too deeply", where=where, reason="template") from err

    def origins(
        self, text: str, values: Mapping[str, object], *, file: str, seed: Callable[[], bytes] | None = None
    ) -> Mapping[int, Place]:
        """Which lines of the output, counted from 1, the shared files wrote, and where they stand there.

        For a text that can be rendered: it is rendered again, which is for errors only.
        """
        if not self._shared:
            return {}
        from treebuilder.template.shared import Shared

        shared = self._before or Shared(self._shared, self._ranks)
        source = shared.source(file, text)

        def lines() -> Mapping[int, Place]:
            template = shared.parsed(source, text)
            run = self._started(template, source, self._random(text, values, seed or self._own_seed), traces=True)
            run.execute_program(template.main, template.slots, {"Values": dict(values)})
            return {line + 1: source.place(mark) for line, mark in run.output.marks.items()}

        return self._run(lines)

    def _run(self, work: Callable[[], _Result]) -> _Result:
        """Runs on this thread's stack; what does not fit there starts anew on a large one."""
        try:
            return work()
        except RecursionError:
            from treebuilder.template.deep import with_deep_stack

            return with_deep_stack(work)

    def _own_seed(self) -> bytes:
        return self._seed

    def _executed(
        self, template: Template, source: Source, text: str, values: Mapping[str, object], seed: Callable[[], bytes]
    ) -> Rendered:
        run = self._started(template, source, self._random(text, values, seed))
        run.execute_program(template.main, template.slots, {"Values": dict(values)})
        *lines, last = run.output.lines
        # the empty line behind a final newline is the file's last
        return Rendered("".join(run.output.pieces), (*lines, last or text.count("\n") + 1))

    def _random(self, text: str, values: Mapping[str, object], seed: Callable[[], bytes]) -> Randomness:
        from treebuilder.template.functions.world import Randomness
        from treebuilder.template.values import text_of

        def whole() -> bytes:
            shared = "".join(part for _, part in self._shared)
            given = f"{shared}{text}\0{text_of(dict(values))}".encode("utf-8", "surrogatepass")
            return hashlib.sha256(hashlib.sha256(seed()).digest() + given).digest()

        return Randomness(whole)

    def _started(self, template: Template, source: Source, random: Randomness, *, traces: bool = False) -> Run:
        from treebuilder.template.functions import Functions
        from treebuilder.template.functions.world import World
        from treebuilder.template.runtime import Run

        def include(name: str, value: object) -> str:
            return run.include(name, value)

        run = Run(
            source, template.named, Functions(World(self._env, self._epoch_s, random, include)).find, traces=traces
        )
        return run
