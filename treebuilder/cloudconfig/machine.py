"""What modules work on: the root, the sink of events, the errors so far, templates and programs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from treebuilder.annotations import IO, ClassVar
from treebuilder.cloudconfig.ask import Ask
from treebuilder.cloudconfig.root import Root
from treebuilder.errors import Cancelled, Place, TreebuildError
from treebuilder.events import EventSink, LogLine, Silent, Warned
from treebuilder.nodes import Node
from treebuilder.system import process
from treebuilder.system.clock import now_epoch_s

_TASK = "cloud-config"


class Machine:
    """One run. An error is kept and does not stop what comes after it; `errors` has them in order.

    `values` is what templates see as `.Values`; it is asked for only when a text has `{{`. A `rehearsal` reads all that
    a module reads, and does nothing outside of its root: no program, no network, no disk.
    """

    rehearsal: ClassVar[bool] = False

    def __init__(self, root: Root, values: Callable[[], Mapping[str, object]], events: EventSink | None = None) -> None:
        self.root = root
        self.errors: list[TreebuildError] = []
        self.arrived: list[tuple[str, str]] = []  # cloud-config that a module brought: name and text
        self._values = values
        self._known_values: Mapping[str, object] | None = None
        self._events: EventSink = events or Silent()

    # what happened ----------------------------------------------------------------------------------------------
    @contextmanager
    def attempt(self, place: Place) -> Iterator[None]:
        """Keeps an error of the block instead of raising it; `place` is said where the error names none."""
        try:
            yield
        except Cancelled:
            raise
        except TreebuildError as err:
            err.where = err.where or place
            self.errors.append(err)
        except UnicodeError as err:
            self.errors.append(TreebuildError(f"not text: {err}", where=place, reason="encoding"))
        except OSError as err:
            name = f": {err.filename}" if err.filename else ""
            self.errors.append(TreebuildError(f"{err.strerror or err}{name}", where=place, reason="files"))
        except Exception as err:  # a boot goes on, whatever one step meets
            self.errors.append(TreebuildError(f"{type(err).__name__}: {err}", where=place, reason="unexpected"))

    def warn(self, message: str, place: Place, hint: str | None = None, *, rule: str = "value") -> None:
        """About what the file says. `rule` is for the linter: what kind of fault it is."""
        self._events.emit(Warned(message, place, hint))

    def note(self, message: str, place: Place, hint: str | None = None) -> None:
        """About this machine, which cannot do what the file says."""
        self._events.emit(Warned(message, place, hint))

    # texts --------------------------------------------------------------------------------------------------------
    @property
    def values(self) -> Mapping[str, object]:
        if self._known_values is None:
            self._known_values = self._values()
        return self._known_values

    def render(self, text: str, place: Place) -> str:
        """The text as a template; where that fails the raw text is kept, with a warning (yip does the same)."""
        if "{{" not in text:
            return text
        try:
            from treebuilder.template import Templates

            templates = Templates(epoch_s=self.now_s(), seed=os.urandom(16))
            return templates.render(text, self.values, file=place.file)
        except TreebuildError as err:
            self.warn(f"{err.message}; the text is used as it stands", place, err.hint, rule="template")
        except ModuleNotFoundError as err:
            self.note(f"templates need {err.name}; the text is used as it stands", place, "install python3-jinja2")
        return text

    @staticmethod
    def now_s() -> int:
        """SOURCE_DATE_EPOCH in builds, else the time."""
        given = os.environ.get("SOURCE_DATE_EPOCH", "")
        return int(given) if given.isdigit() else now_epoch_s()

    @staticmethod
    def text_of(node: Node, what: str) -> str:
        """A scalar as text, as it is written: yip reads `1.10`, `yes` and `0644` as these very letters."""
        if node.written or node.kind in ("boolean", "number"):
            return node.written or str(node.value)
        return node.as_text(what)

    def text(self, item: Node, key: str) -> str:
        """A scalar under a key as text, empty when it is missing."""
        node = item.get(key)
        return "" if node is None else self.text_of(node, key)

    def texts(self, item: Node, key: str) -> tuple[str, ...]:
        """A list of scalars under a key as texts, empty when it is missing."""
        return tuple(self.text_of(one, f"an item of {key}") for one in item.children(key))

    # programs -----------------------------------------------------------------------------------------------------
    def run(
        self, argv: Sequence[str], *, quiet: bool = False, timeout_s: float | None = None,
        env: Mapping[str, str] | None = None,
    ) -> int:  # fmt: skip
        """Runs a program of this machine with this process's environment and `env`; returns its exit code.

        What it writes becomes log lines. Raises MissingProgram, ToolFailed for a passed time limit.
        """

        def say(line: str) -> None:
            if not quiet:
                self._events.emit(LogLine(_TASK, line))

        if any("\0" in word for word in argv):
            raise TreebuildError("a command must not hold a NUL", reason="command")
        full = {**os.environ, "PATH": process.search_path(), **(env or {})}
        done = process.run(argv, env=full, check=False, on_line=say, timeout_s=timeout_s)
        return done.status

    def shell(self, command: str, *, quiet: bool = False) -> int:
        """`sh -c` in the root; `chroot` where that is not `/`. Returns the exit code."""
        words = ["sh", "-c", command]
        if not self.root.is_host:
            words = ["chroot", str(self.root.folder), "/bin/sh", "-c", command]
        return self.run(words, quiet=quiet)

    def fetch(self, ask: Ask, *, tries: int = 3) -> bytes:
        """What a URL has. Raises TransportError, ConfigError."""
        from treebuilder.cloudconfig.net import fetch

        return fetch(ask, tries=tries)

    def fetch_into(self, ask: Ask, out: IO[bytes], *, tries: int = 3) -> None:
        """The same to an open file. Raises TransportError, ConfigError."""
        from treebuilder.cloudconfig.net import fetch_into

        fetch_into(ask, out, tries=tries)

    @property
    def booted_with_systemd(self) -> bool:
        """Whether a running systemd listens for this root."""
        return self.root.is_host and Path("/run/systemd/system").is_dir()
