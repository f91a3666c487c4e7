"""The command `yip`: runs stages of cloud-config files.

    yip [-s STAGE]... [-d] [-a] [--with-hooks] [--root DIR] ARGUMENT...
    yip --save DIR URL...

An argument is a file, a folder (its *.yaml and *.yml, recursively), a URL, `-` for standard input, or YAML itself.
Exit code 1 if anything failed, 2 for wrong usage. This is the one file of the room that writes to the terminal.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from treebuilder import __version__
from treebuilder.cloudconfig.ask import is_url, shown
from treebuilder.cloudconfig.config import sources
from treebuilder.cloudconfig.machine import Machine
from treebuilder.cloudconfig.names import hooks
from treebuilder.cloudconfig.root import Root
from treebuilder.cloudconfig.stages import Runner
from treebuilder.errors import ConfigError, Place, TreebuildError
from treebuilder.events import Event, LogLine, Said, Warned
from treebuilder.system.files import write_atomic


class _Terminal:
    """Warnings to standard error, what commands write to standard output, the rest with --debug."""

    def __init__(self, debug: bool) -> None:
        self._debug = debug

    def emit(self, event: Event) -> None:
        match event:
            case Warned():
                place = f"{event.where}: " if event.where is not None else ""
                hint = f" ({event.hint})" if event.hint else ""
                _say(f"warning: {place}{event.message}{hint}")
            case LogLine():
                sys.stdout.write(f"{event.line}\n")
                sys.stdout.flush()
            case Said() if self._debug:
                _say(event.message)
            case _:
                pass


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _complain(err: TreebuildError) -> None:
    place = f"{err.where}: " if err.where is not None else ""
    hint = f" ({err.hint})" if err.hint else ""
    _say(f"error: {place}{err.message}{hint}")
    for line in err.detail():
        _say(f"  {line}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="yip", description="Runs a stage of cloud-config files.")
    parser.add_argument(
        "arguments", nargs="+", metavar="ARGUMENT", help="file, folder, URL, - (standard input) or YAML"
    )
    parser.add_argument("-s", "--stage", action="append", help="the stage to run (default); several run in turn")
    parser.add_argument("-d", "--dotnotation", action="store_true", help="arguments are in dot notation")
    parser.add_argument("-a", "--analyze", action="store_true", help="print the order of the steps and run nothing")
    parser.add_argument("--with-hooks", action="store_true", help="run STAGE.before and STAGE.after around it")
    parser.add_argument("--root", default="/", metavar="DIR", help="configure the system in this folder")
    parser.add_argument("--save", metavar="DIR", help="fetch the URLs into this folder, and run nothing")
    parser.add_argument("--debug", action="store_true", help="say each step")
    parser.add_argument("--version", action="version", version=f"yip {__version__}")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command with the given words (default: the process's). Returns the exit code."""
    options = _parser().parse_args(argv)
    root = Path(options.root)
    if not root.is_dir():
        _say(f"error: {root} is not a folder")
        return 2
    if options.save is not None:
        return _save(Path(options.save), options.arguments)
    stages: list[str] = options.stage or ["default"]
    runner = Runner(root, _Terminal(options.debug))
    stdin = sys.stdin.read() if "-" in options.arguments else None
    runner.read(options.arguments, stdin=stdin, dotted=options.dotnotation)
    for part in [part for stage in stages for part in (hooks(stage) if options.with_hooks else (stage,))]:
        if options.analyze:
            for number, step in enumerate(runner.ordered(part), 1):
                sys.stdout.write(f"{part} {number}: {step} ({step.place})\n")
        else:
            runner.run(part)
    for err in runner.errors:
        _complain(err)
    return 1 if runner.errors else 0


def _save(folder: Path, urls: Sequence[str]) -> int:
    """Keeps each URL as NUMBER.yaml, in their order. They may hold passwords."""
    machine = Machine(Root(Path("/")), dict)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number, url in enumerate(urls):
        with machine.attempt(Place(shown(url))):
            if not is_url(url):
                raise ConfigError(f"{url} is no http or https URL", reason="url")
            found, errors = sources(url, None, machine.fetch)
            machine.errors += errors
            for source in found:
                write_atomic(folder / f"{number:03}.yaml", source.text.encode(), mode=0o600, sync=False)
    for err in machine.errors:
        _complain(err)
    return 1 if machine.errors else 0


def entry() -> None:
    """The console script."""
    try:
        code = main()
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
