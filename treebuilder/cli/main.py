"""The command line: finds the verb, imports only its module, turns errors into messages and exit codes.

Exit codes: 0 success, 1 configuration or lock, 2 every other expected error and usage, 70 a bug, 130 interrupted.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType

from treebuilder import __version__
from treebuilder.cli.catalogue import ALIASES, EXAMPLES, PROGRAMS, VERBS
from treebuilder.cli.session import Session, add_global_flags
from treebuilder.errors import TreebuildError

_BUG = 70


def entry() -> None:
    """The console script."""
    gc.set_threshold(100_000)  # imports and parsing make many objects and hardly a cycle
    name = Path(sys.argv[0]).name
    argv = [PROGRAMS[name], *sys.argv[1:]] if name in PROGRAMS else sys.argv[1:]
    code = main(argv)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # nothing is left to do, and tearing an interpreter down takes longer than some verbs


def main(argv: Sequence[str]) -> int:
    """Runs one command and returns its exit code."""
    words = list(argv)
    verb = next((word for word in words if not word.startswith("-")), "")
    verb = ALIASES.get(verb, verb)
    if not words or (verb not in VERBS and words[0] in ("-h", "--help")):
        sys.stdout.write(_overview())
        return 0 if words else 2
    if words[0] in ("-v", "--version"):
        sys.stdout.write(f"treebuild {__version__}\n")
        return 0
    if verb not in VERBS:
        known = ", ".join(sorted(VERBS))
        sys.stderr.write(f"error: there is no verb {verb or words[0]!r}\n  hint: known are {known}\n")
        return 2
    position = next(i for i, word in enumerate(words) if ALIASES.get(word, word) == verb)
    module = import_module(f"treebuilder.cli.verbs.{VERBS[verb][0]}")
    parser = argparse.ArgumentParser(
        prog=f"treebuild {verb}", description=(module.__doc__ or "").strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    module.configure(parser)
    add_global_flags(parser)
    try:
        args = parser.parse_intermixed_args(words[:position] + words[position + 1 :])
    except SystemExit as stop:
        return int(stop.code or 0)
    return _run(module, Session(args, words))


def _run(module: object, session: Session) -> int:
    args = session.args
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return int(module.run(args, session))  # type: ignore[attr-defined]
    except TreebuildError as err:
        session.close()
        if args.debug:
            import traceback

            traceback.print_exc()
        _show(err, session)
        return err.exit_code
    except KeyboardInterrupt:
        session.cancel.set()
        session.close()
        sys.stderr.write("interrupted\n")
        return 130
    except BrokenPipeError:
        return 0
    except Exception:
        import traceback

        session.close()
        traceback.print_exc()
        sys.stderr.write(f"this is a bug in treebuild {__version__}: please report the lines above\n")
        return _BUG
    finally:
        signal.signal(signal.SIGTERM, previous)


def _show(error: TreebuildError, session: Session) -> None:
    from treebuilder.ui import failures

    sys.stderr.write(failures.render(error) + "\n")
    if session.output == "json":
        sys.stdout.write(failures.render_json(error) + "\n")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _overview() -> str:
    width = max(len(name) for name in VERBS)
    verbs = "\n".join(f"  {name:<{width}}  {text}" for name, (_, text) in VERBS.items())
    return (
        "usage: treebuild VERB [flags]\n\n"
        "Builds package trees, repositories and bootable systems out of containers.\n\n"
        f"verbs:\n{verbs}\n\n{EXAMPLES}\n`treebuild VERB --help` says more.\n"
    )
