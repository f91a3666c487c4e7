"""The command line: finds the verb, imports only its module, turns errors into messages and exit codes.

Exit codes: 0 success, 1 configuration or lock, 2 every other expected error and usage, 70 a bug, 130 interrupted.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import FrameType, ModuleType

from treebuilder import __version__
from treebuilder.annotations import NoReturn
from treebuilder.cli.catalogue import ALIASES, EXAMPLES, PROGRAMS, VERBS
from treebuilder.cli.parser import Parser
from treebuilder.cli.session import VALUED_FLAGS, Session, add_global_flags
from treebuilder.errors import Cancelled, TreebuildError
from treebuilder.ui import terminal

_DEEPEST = 20_000  # folders can be 2048 deep (a path is 4096 bytes), and some walks need several calls a level


def entry() -> None:
    """The console script."""
    gc.set_threshold(100_000, 50, 100)  # imports and parsing make many objects and hardly a cycle
    name = Path(sys.argv[0]).name
    argv = [*PROGRAMS[name].split(), *sys.argv[1:]] if name in PROGRAMS else sys.argv[1:]
    sys.setrecursionlimit(_DEEPEST)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller; no file of ours may get its number
            setattr(sys, name, open(os.devnull, "r+", encoding="utf-8"))  # noqa: SIM115 - to the end
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be any bytes
    code = main(argv, last=True)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        pass  # nobody reads on
    except OSError as err:
        code = code or 2
        terminal.say(f"error: cannot write the result: {err.strerror}", sys.stderr)
    os._exit(code)  # nothing is left to do, and tearing an interpreter down takes longer than some verbs


class _Usage(TreebuildError):
    """A command line that cannot be understood."""

    reason = "usage"


class _Parser(Parser):
    """argparse, with its errors as ours."""

    def error(self, message: str) -> NoReturn:
        raise _Usage(message, hint=f"{self.prog} --help")


def main(argv: Sequence[str], *, last: bool = False) -> int:
    """Runs one command and returns its exit code. `last`: the process ends with it."""
    words = list(argv)
    session: Session | None = None
    previous = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        if "luet" in words[:2] and (words[0] == "luet" or words[0].startswith("--config=")):
            from treebuilder.cli import luet

            return luet.main([word for at, word in enumerate(words) if at != words.index("luet")])
        if not words or words[0] in ("-h", "--help"):
            terminal.say(_overview(), sys.stdout if words else sys.stderr)
            return 0 if words else 2
        if words[0] in ("-v", "--version"):
            terminal.say(f"treebuild {__version__}")
            return 0
        module, args = _understand(words)
        session = Session(args, words, last=last)
        return int(module.run(args, session))
    except SystemExit as stop:  # --help
        return int(stop.code or 0)
    except BrokenPipeError:  # nobody reads on
        return 0
    except KeyboardInterrupt:
        if session is not None:
            session.cancel.set()
        return _fail(Cancelled("interrupted"), session, words)
    except TreebuildError as err:
        return _fail(err, session, words)
    except OSError as err:
        from treebuilder.ui.failures import of_system

        return _fail(of_system(err), session, words)
    except Exception as err:
        return _fail(
            _Bug(f"this is a bug in treebuild {__version__}: {type(err).__name__}: {err}"), session, words, err
        )
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class _Bug(TreebuildError):
    reason = "bug"
    exit_code = 70


def _verb(words: list[str]) -> int:
    """Where the verb is: the first word that is no flag and no flag's value. Raises _Usage."""
    skip = False
    for position, word in enumerate(words):
        if skip or word.startswith("-"):
            skip = not skip and word in VALUED_FLAGS
            continue
        if ALIASES.get(word, word) not in VERBS:
            raise _Usage(f"there is no verb {word!r}", hint=f"known are {', '.join(sorted(VERBS))}")
        return position
    raise _Usage("no verb is named", hint=f"known are {', '.join(sorted(VERBS))}")


def _understand(words: list[str]) -> tuple[ModuleType, argparse.Namespace]:
    """The verb's module and its arguments. Raises _Usage."""
    position = _verb(words)
    verb = ALIASES.get(words[position], words[position])
    module = import_module(f"treebuilder.cli.verbs.{VERBS[verb][0]}")
    parser = _Parser(f"treebuild {verb}", module.__doc__)
    module.configure(parser)
    add_global_flags(parser)
    parser.settle()
    given = words[:position] + words[position + 1 :]
    if any("=" in word or word in ("-a", "--backend-args") for word in given):
        from treebuilder.cli.luetflags import as_go_reads

        given = as_go_reads(parser, given)
    return module, parser.parse_intermixed_args(given)


def _fail(error: TreebuildError, session: Session | None, words: list[str], bug: Exception | None = None) -> int:
    """Says it on stderr, and on stdout in the form that was asked for. Returns the exit code."""
    from treebuilder.ui import failures

    if session is not None:
        session.close()
    if bug is not None or (session is not None and session.args.debug):
        import traceback

        terminal.say(traceback.format_exc().rstrip(), sys.stderr)
    terminal.say(failures.render(error), sys.stderr)
    output = session.output if session is not None else "json" if "--json" in words else "terminal"
    with suppress(OSError):  # stdout itself may be what failed
        failures.write(error, output)
    return error.exit_code


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _overview() -> str:
    width = max(len(name) for name in VERBS)
    verbs = "\n".join(f"  {name:<{width}}  {text}" for name, (_, text) in VERBS.items())
    return (
        "usage: treebuild VERB [flags]\n\n"
        "Builds package trees, repositories and bootable systems out of containers.\n\n"
        f"verbs:\n{verbs}\n\n{EXAMPLES}\n`treebuild VERB --help` says more."
    )
