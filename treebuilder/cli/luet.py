"""The name `luet`: its verbs, flags, environment, configuration files, exit codes and messages (luet.md §1).

A link named `luet` to us, or `treebuild luet …`. Exit codes: 0 success, 1 lock or configuration, 2 errors, 255 usage.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

from treebuilder import __version__
from treebuilder.annotations import TYPE_CHECKING, Any, NoReturn
from treebuilder.cli import luet_words
from treebuilder.cli.catalogue import VERBS
from treebuilder.cli.parser import Parser
from treebuilder.cli.session import Session, add_global_flags
from treebuilder.errors import Cancelled, TreebuildError
from treebuilder.events import Warned
from treebuilder.ui import terminal

if TYPE_CHECKING:
    from treebuilder.events import EventSink
    from treebuilder.ui.logfile import LogFile

USAGE = 255
_EPOCH = "SOURCE_DATE_EPOCH"
_OWN = ("completion", "help", "exec")
_DROPPING = "qlearning"
_GROUPS = ("box", "database", "repo", "tree", "util")  # alone they say what they have
_DOCUMENTS = {
    ("database", "get"), ("database", "get-all-installed"), ("repo", "get"), ("tree", "images"), ("tree", "pkglist"),
}  # fmt: skip
_SOLVING = ("build", "replace")


class _Wrong(Exception):
    """A command line that luet would refuse too."""


class _Parser(Parser):
    def error(self, message: str) -> NoReturn:
        raise _Wrong(message)


def main(argv: Sequence[str]) -> int:
    """Runs one command as luet would. Interruptions and bugs are the caller's."""
    epoch = os.environ.get(_EPOCH)
    try:
        _extension(list(argv))
        given, words = luet_words.persistent(argv)
        return _run(list(argv), given, words)
    except (_Wrong, ValueError) as err:
        terminal.say(f"Error: {err}")
        return USAGE
    finally:
        if epoch is None:
            os.environ.pop(_EPOCH, None)


def _run(argv: list[str], given: dict[str, Any], words: list[str]) -> int:
    if words[:1] == ["help"] and len(words) > 1 and luet_words.ALIASES.get(words[1], words[1]) in VERBS:
        words = [words[1], "--help"]
    if not words or words[0] in ("-h", "--help", "help"):
        terminal.say(_overview())
        return 0
    if words[0] in ("-v", "--version") or words == ["version"]:
        terminal.say(f"luet version {__version__} (treebuild)")
        return 0
    if words[0] == "exec":  # which nobody is shown: luet's own helper
        words = ["box", *words]
    verb = luet_words.ALIASES.get(words[0], words[0])
    if verb not in VERBS:
        raise _Wrong(f'unknown command "{words[0]}" for "luet"')
    if len(words) == 1 and verb in _GROUPS:
        words = [*words, "--help"]
    module = import_module(f"treebuilder.cli.verbs.{VERBS[verb][0]}")
    return _verb(verb, module, words[1:], given, argv)


def _verb(verb: str, module: ModuleType, words: list[str], given: dict[str, Any], argv: list[str]) -> int:
    parser = _Parser(f"luet {verb}", module.__doc__)
    module.configure(parser)
    add_global_flags(parser)
    parser.settle()
    known = parser._option_string_actions
    config = str(given.pop("config", ""))
    machine, log = False, None
    try:
        from treebuilder.app import client_settings
        from treebuilder.events import Silent

        said = luet_words.own_output(verb, words)
        values = client_settings.values_of(config, given, Silent(), luet=True)
        words = luet_words.without_ignored(verb, said, known) + luet_words.bound(verb, said, values, known)
        words = _defaults(verb, words)
        args = parser.parse_intermixed_args(words)
        args.luet, args.overrides, args.config = True, given, config
        general = values["general"]
        for name in ("quiet", "debug"):  # said among other letters (`-dq`), our parser has them
            if getattr(args, name):
                given[f"general.{name}"] = True
            else:
                setattr(args, name, luet_words.is_true(str(general[name])))
        args.concurrency = max(0, int(general["concurrency"])) or args.concurrency
        session = Session(args, ["luet", *argv])
        machine = session.output != "terminal"
        level, fatal = str(values["logging"]["level"]), luet_words.is_true(str(general["fatal_warnings"]))
        sink = _sink(args, machine or _gives_yaml(verb, words), level, fatal)
        log = _log(values["logging"], sink)
        session.show_by(_logged(sink, log))
        args.some = values["solver"]["type"] == _DROPPING
        if verb in _SOLVING and args.some:
            session.events.emit(
                Warned(f"the solver {_DROPPING} is for install: what {verb} cannot have is an error, never left out")
            )
        if verb == "build" and not (args.packages or args.all or args.full):
            return 0  # nothing to build is no error to luet
        return int(module.run(args, session))
    except Cancelled:
        raise
    except SystemExit as stop:  # --help
        return int(stop.code or 0)
    except TreebuildError as err:
        from treebuilder.cli import luet_output

        if log is not None:
            log.failed(err)
        if err.reason == "arguments":
            raise _Wrong(err.message) from err
        code = luet_output.failed(err, machine=machine, verb=verb)
        return 1 if verb == "util" else code  # luet's tools know 0 and 1
    except BrokenPipeError:  # nobody reads on
        raise
    except OSError as err:
        from treebuilder.cli import luet_output
        from treebuilder.ui.failures import of_system

        error = of_system(err)
        if log is not None:
            log.failed(error)
        return luet_output.failed(error, machine=machine)


def _gives_yaml(verb: str, words: list[str]) -> bool:
    """A document, or lines for a program, is what comes by itself: no warning may stand among them."""
    what = next((word for word in words if not word.startswith("-")), "")
    return verb == "config" or (verb, what) in _DOCUMENTS


def _sink(args: argparse.Namespace, machine: bool, level: str, fatal: bool) -> EventSink:
    from treebuilder.cli.luet_output import LuetSink

    return LuetSink(quiet=args.quiet, machine=machine, fatal=fatal, debug=args.debug, level=level)


def _log(logging: Mapping[str, Any], sink: EventSink) -> LogFile | None:
    """The log file that is configured; a warning when it cannot be written."""
    if not luet_words.is_true(str(logging["enable_logfile"])) or not logging["path"]:
        return None
    from treebuilder.ui.logfile import LogFile

    try:
        as_json = luet_words.is_true(str(logging["json_format"]))
        return LogFile(Path(str(logging["path"])), str(logging["level"]), as_json=as_json)
    except TreebuildError as err:
        sink.emit(Warned(err.message))
        return None


def _logged(sink: EventSink, log: LogFile | None) -> EventSink:
    if log is None:
        return sink
    from treebuilder.ui.logfile import LoggedSink

    return LoggedSink(sink, log)


def _defaults(verb: str, words: list[str]) -> list[str]:
    """What luet takes when nothing is said, where we take something else."""
    said = {word.partition("=")[0] for word in words}
    if verb in ("build", "create-repo", "tree") and not said & {"-t", "--tree"}:
        words = [*words, "--tree=."]
    words = _split_lists(words)
    if verb == "build" and "--compression" not in said:
        words = [*words, "--compression=none"]
    if verb == "create-repo":
        from treebuilder.system import clock

        now = clock.now_epoch_s()
        os.environ.setdefault(_EPOCH, str(now))
        if "--snapshot-id" not in said:
            words = [*words, f"--snapshot-id={clock.local(now, '%Y%m%d%H%M%S')}"]
    return words


def _split_lists(words: list[str]) -> list[str]:
    """`--tree a,b` is two trees."""
    found: list[str] = []
    flag = ""
    for word in words:
        if flag:
            found += [part for item in word.split(",") for part in (flag, item)]
            flag = ""
        elif word in ("-t", "--tree", "--values"):
            flag = word
        elif word.startswith(("--tree=", "--values=")):
            name, _, text = word.partition("=")
            found += [f"{name}={item}" for item in text.split(",")]
        else:
            found.append(word)
    return [*found, flag] if flag else found


def _extension(words: list[str]) -> None:
    """`luet-VERB` of PATH takes over, with every word but the verb: our flags may be its own.

    `./extensions` only counts where its folder is ours or root's.
    """
    at = luet_words.verb_at(words)
    verb = words.pop(at) if at is not None else ""
    if not verb or "/" in verb or verb in VERBS or verb in luet_words.ALIASES or verb in _OWN:
        return
    from treebuilder.system.process import which

    folder = os.path.abspath("extensions")
    trusted = os.path.isdir(folder) and os.stat(folder).st_uid in (0, os.getuid())
    for path in (which(f"luet-{verb}"), os.path.join(folder, f"luet-{verb}") if trusted else None):
        if path and os.access(path, os.X_OK) and os.path.isfile(path):
            sys.stdout.flush()
            os.execv(path, [path, *words])  # noqa: S606 - what the user put there


def _overview() -> str:
    width = max(len(name) for name in VERBS)
    verbs = "\n".join(f"  {name:<{width}}  {text}" for name, (_, text) in VERBS.items())
    return f"Usage:\n  luet [command]\n\nAvailable Commands:\n{verbs}\n\nThis is treebuild {__version__}."
