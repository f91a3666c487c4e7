"""What a verb works with: global flags, events, settings, the workspace."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from treebuilder.annotations import TYPE_CHECKING, NoReturn
from treebuilder.records import replace

if TYPE_CHECKING:
    from treebuilder.app.settings import Settings
    from treebuilder.app.workspace import Workspace
    from treebuilder.events import EventSink
    from treebuilder.ui.keeping import KeepingSink


class Session:
    """Made once for a command. Everything heavy is made when first asked for."""

    def __init__(self, args: argparse.Namespace, words: Sequence[str], *, last: bool = False) -> None:
        """`last`: the process ends with this command."""
        from treebuilder.system.process import Cancel

        self.args = args
        self._last = last
        self.words = list(words)  # the command line: verb and flags
        self.cancel = Cancel()
        self.cancel.on_wait = self._waits
        self.output: str = "json" if getattr(args, "json", False) else getattr(args, "output_format", "terminal")
        self._sink: KeepingSink | None = None

    @property
    def events(self) -> KeepingSink:
        """Where events go; it keeps the warnings."""
        if self._sink is None:
            from treebuilder.ui.keeping import KeepingSink

            self._sink = KeepingSink(self._chosen)
        return self._sink

    def _chosen(self) -> EventSink:
        from treebuilder.ui import sinks

        return sinks.make(self.args.progress, live_output=self.args.live_output, quiet=self.args.quiet)

    def _waits(self, why: str) -> None:
        from treebuilder.events import Said

        self.events.emit(Said(f"waiting: {why}"))  # of this run: no warning that a result keeps

    def show_by(self, sink: EventSink) -> None:
        """Shows events some other way than the flags say."""
        from treebuilder.ui.keeping import KeepingSink

        self._sink = KeepingSink(lambda: sink)

    def settings(self) -> Settings:
        from treebuilder.app import settings

        luet, insecure = (bool(getattr(self.args, name, False)) for name in ("luet", "insecure"))
        if luet:
            found = settings.load_as_luet(self.args.config, self.args.overrides, self.events)
        else:
            found = settings.load(self.args.config, self.events)
        if luet or insecure:
            rules = replace(found.rules, luet=luet, insecure=insecure)
            found = replace(found, rules=rules)
        if getattr(self.args, "max_expansion", 0):
            from treebuilder.archive.bounds import Bound

            found = replace(found, bound=Bound(self.args.max_expansion))
        return replace(found, concurrency=self.args.concurrency) if self.args.concurrency else found

    @contextmanager
    def workspace(self) -> Iterator[Workspace]:
        from treebuilder.app import workspace

        with workspace.opened(
            self.settings(), self.args.cache_dir, self.events, self.cancel, last=self._last
        ) as opened:
            yield opened

    def close(self) -> None:
        if self._sink is not None:
            self._sink.close()

    def needs_owners(self) -> None:
        """For work with files of many owners: starts us again in a user namespace when we are not root.

        Does not return then. Raises EngineUnavailable with the fix where that is not possible.
        """
        if os.geteuid() != 0:
            self._start_again()

    def needs_containers(self) -> None:
        """For work that mounts and runs things: like `needs_owners`, with mounts that nobody else sees."""
        from treebuilder.container import namespace

        self.needs_owners()
        namespace.enter_private_mounts()

    def _start_again(self) -> NoReturn:
        from pathlib import Path

        import treebuilder
        from treebuilder.app.config_files import find_config
        from treebuilder.container import namespace

        words = self.words
        config = find_config("", self.events) if not self.args.config else None
        if config is not None:
            words = [f"--config={config}", *words]  # inside, root's files look like anybody's
        # -P, for no `treebuilder` in the folder where we are called may take our place.
        argv = namespace.reexec_words([sys.executable, "-P", "-m", "treebuilder", *words])
        places = [str(Path(treebuilder.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
        env = {**os.environ, "PYTHONPATH": ":".join(place for place in places if place)}
        self.close()
        sys.stdout.flush()
        os.execvpe(argv[0], argv, env)  # noqa: S606 - the same program, no shell


VALUED_FLAGS = (
    "--config",
    "--cache-dir",
    "--concurrency",
    "--progress",
    "--max-expansion",
)  # they may stand before the verb


def positive(text: str) -> int:
    """A count of at least 1, and no more than anybody means."""
    if not (text.isascii() and text.isdigit() and len(text) < 8 and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return int(text)


def duration(text: str) -> float:
    """A length of time above 0, in the unit that the flag names."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no length of time")
    return value


def add_global_flags(parser: argparse.ArgumentParser) -> None:
    """Flags that every verb takes."""
    group = parser.add_argument_group("common flags")
    group.add_argument("--config", default="", metavar="FILE", help="configuration (default: .luet.yaml)")
    group.add_argument("--cache-dir", default="", metavar="DIR", help="the build cache (default: ~/.cache/treebuild)")
    group.add_argument("--concurrency", type=positive, default=0, metavar="N", help="how much runs at once")
    group.add_argument(
        "--progress", choices=("auto", "plain", "live", "json"), default="auto", help="how progress looks, on stderr"
    )
    group.add_argument("--live-output", action="store_true", help="show what steps print")
    group.add_argument("-q", "--quiet", action="store_true", help="no progress, only warnings and results")
    group.add_argument("-d", "--debug", action="store_true", help="tracebacks for expected errors too")
    group.add_argument(
        "--max-expansion", type=positive, default=0, metavar="TIMES",
        help="how far what others packed may expand beyond 256 MiB (default: 100 times its size)",
    )  # fmt: skip
    group.add_argument("--no-spinner", action="store_true", help=argparse.SUPPRESS)


def add_insecure_flag(parser: argparse.ArgumentParser) -> None:
    """For verbs that read repositories."""
    parser.add_argument("--insecure", action="store_true", help="use repositories whose signature is missing or wrong")


def add_output_flags(parser: argparse.ArgumentParser, *, short: bool = True) -> None:
    """`--json`, and luet's `-o json|yaml|terminal` where luet has it."""
    parser.add_argument("--json", action="store_true", help="the result as one JSON document on stdout")
    if short:
        parser.add_argument(
            "-o", "--output", dest="output_format", choices=("terminal", "json", "yaml"), default="terminal",
            help="form of the result (default: terminal)",
        )  # fmt: skip
