"""Flags of luet's verbs that need nothing done here: taken with a warning."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from treebuilder.events import EventSink, Warned

NEEDLESS = {
    "backend_args": "our own engines do not hand words on to a program",
    "no_keep_images": "images are part of the build cache: treebuild cache gc",
    "no_privileged": "permissions of files are always kept, with or without root",
    "solver_concurrent": "the solver takes milliseconds",
    "solver_type": "there is one solver, and its answer is the best there is",
    "solver_rate": "the solver does not guess",
    "solver_discount": "the solver does not guess",
    "solver_attempts": "the solver does not guess",
}
_BARE = ("solver-concurrent", "privileged", "no-privileged", "keep-images",
         "no-keep-images")  # fmt: skip
_SOLVER = "this and luet's other --solver-... change nothing: every solution is searched, and the best one taken"
_VALUED = ("solver-type", "solver-rate", "solver-discount", "solver-attempts")


def add(parser: argparse.ArgumentParser) -> None:
    """Adds them, unseen in the help but for one of the solver's; docs/luet-compatibility/build.md lists them."""
    for flag in _BARE:
        parser.add_argument(f"--{flag}", action="store_true", help=argparse.SUPPRESS)
    for flag in _VALUED:
        parser.add_argument(f"--{flag}", metavar="X", help=_SOLVER if flag == _VALUED[0] else argparse.SUPPRESS)
    parser.add_argument("-a", "--backend-args", action="append", help=argparse.SUPPRESS)


def judge(args: argparse.Namespace, events: EventSink) -> None:
    """Warns of what has no effect."""
    for name, why in NEEDLESS.items():
        if getattr(args, name):
            events.emit(Warned(f"{flag(name)} has no effect: {why}"))


def flag(name: str) -> str:
    """As it is written; the negative of a flag is `--x=false`."""
    if name.startswith("no_"):
        return f"--{name[3:].replace('_', '-')}=false"
    return "--" + name.replace("_", "-")


def engine(name: str, events: EventSink) -> str:
    """Our engine for a backend of luet's."""
    if name not in ("img", "buildah"):
        return name
    events.emit(Warned(f"the backend {name} is not needed: our own engine builds without a daemon"))
    return "native"


def parted(values: Sequence[str]) -> tuple[str, ...]:
    """A list flag's values: it may be repeated, and each may be several, separated by commas."""
    return tuple(part for value in values for part in value.split(",") if part)


def as_go_reads(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """Go's `--flag=true` and `--flag=false` as `--flag`, `--no-flag` or nothing; words for a program joined to `-a`."""
    bare = {option for action in parser._actions if action.nargs == 0 for option in action.option_strings}
    plain: list[str] = []
    for at, word in enumerate(words):
        if word == "--":
            return [*plain, *words[at:]]
        if plain and plain[-1] in ("-a", "--backend-args"):
            plain[-1] = f"--backend-args={word}"
            continue
        name, equals, value = word.partition("=")
        if not equals or name not in bare or value.lower() not in _BOOLEANS:
            plain.append(word)
        elif _BOOLEANS[value.lower()]:
            plain.append(name)
        elif f"--no-{name[2:]}" in bare:
            plain.append(f"--no-{name[2:]}")
    return plain


_BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
