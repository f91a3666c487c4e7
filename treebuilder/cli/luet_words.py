"""luet's command line as data: persistent flags, verbs and their flags, and how its words become ours."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from treebuilder.annotations import Any
from treebuilder.app.config_keys import YES, is_switch

ALIASES = {
    "i": "install", "rm": "uninstall", "un": "uninstall", "u": "upgrade", "r": "replace", "s": "search", "c": "config",
}  # fmt: skip
# flag: (configuration key, whether it takes a value). An empty key is accepted and means nothing here.
PERSISTENT: dict[str, tuple[str, bool]] = {
    "--config": ("config", True), "-d": ("general.debug", False), "--debug": ("general.debug", False),
    "-q": ("general.quiet", False), "--quiet": ("general.quiet", False), "--fatal": ("general.fatal_warnings", False),
    "--color": ("logging.color", False), "--emoji": ("logging.enable_emoji", False),
    "--no-spinner": ("logging.no_spinner", False), "--enable-logfile": ("logging.enable_logfile", False),
    "-l": ("logging.path", True), "--logfile": ("logging.path", True),
    "--live-output": ("general.show_build_output", False), "--concurrency": ("general.concurrency", True),
    "--same-owner": ("general.same_owner", False), "--http-timeout": ("general.http_timeout", True),
    "--skip-config-protect": ("config_protect_skip", False), "--plugin": ("plugin", True),
    "--system-dbpath": ("system.database_path", True), "--system-target": ("system.rootfs", True),
    "--system-engine": ("system.database_engine", True), "--solver-type": ("solver.type", True),
    "--solver-rate": ("solver.rate", True), "--solver-discount": ("solver.discount", True),
    "--solver-attempts": ("solver.max_attempts", True),
}  # fmt: skip
# Flags that luet has and that mean nothing to us: (takes a value).
IGNORED: dict[str, dict[str, bool]] = {
    "build": {
        "--image-repository": True, "-p": True, "--pull-repository": True, "--pull": False, "--push": False,
        "--wait": False, "--push-final-images": False, "--push-final-images-force": False,
        "--push-final-images-repository": True, "--generate-final-images": False, "--backend": True, "-a": True,
        "--backend-args": True, "--keep-images": False, "--privileged": False, "--solver-concurrent": False,
    },
    "create-repo": {"--backend": True, "--force-push": False, "--push-images": False},
    "tree": {"--solver-concurrent": False},
}  # fmt: skip
# Verb flags that may stand in the configuration or in LUET_… (luet.md §1.2).
BOUND: dict[str, tuple[str, ...]] = {
    "build": (
        "tree", "destination", "all", "revdeps", "nodeps", "onlydeps", "values", "compression", "image-repository",
        "push", "pull", "wait",
    ),
    "create-repo": (
        "tree", "packages", "output", "name", "descr", "urls", "type", "tree-compression", "tree-filename",
        "meta-compression", "meta-filename", "reset-revision", "repo", "from-metadata", "force-push", "push-images",
    ),
    "tree": ("tree", "values"),
    "install": ("force", "nodeps", "onlydeps", "yes"), "uninstall": ("force", "nodeps", "yes"),
    "upgrade": ("force", "nodeps", "yes"), "replace": ("force", "nodeps", "onlydeps", "for", "yes"),
    "search": ("installed",), "reinstall": ("force", "onlydeps", "yes"), "reclaim": ("force",),
    "oscheck": ("force", "onlydeps", "yes"), "autoremove": ("force", "nodeps", "yes"),
    "pack": ("source", "destination", "compression"), "serve-repo": ("dir", "address", "port"),
}  # fmt: skip


def persistent(words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Takes the persistent flags out of a command line: their values by key, and the rest.

    Raises ValueError for one without its value.
    """
    found: dict[str, Any] = {}
    rest: list[str] = []
    waiting = list(reversed(words))
    while waiting:
        word = waiting.pop()
        if word == "--":
            return found, [*rest, word, *reversed(waiting)]
        flag, sign, value = word.partition("=")
        known = PERSISTENT.get(flag) if word.startswith("-") else None
        if known is None:
            rest.append(word)
            continue
        key, takes = known
        if takes and not sign:
            if not waiting:
                raise ValueError(f"flag needs an argument: {flag}")
            value = waiting.pop()
        if key == "plugin" and found.get(key):
            value = f"{found[key]},{value}"  # a list, which may be said in parts
        if key == "general.concurrency" and not _is_whole(value):
            raise ValueError(f'invalid argument "{value}" for "--concurrency" flag: it is no whole number')
        found[key] = value if takes else (not sign or _said(value, flag))
    return found, rest


def verb_at(words: Sequence[str]) -> int | None:
    """Where the verb is: the first word that is neither a persistent flag nor its value; None without one."""
    skip = False
    for at, word in enumerate(words):
        if word == "--":
            return None
        if not skip and not word.startswith("-"):
            return at
        skip = not skip and PERSISTENT.get(word, ("", False))[1]
    return None


def own_output(verb: str, words: Sequence[str]) -> list[str]:
    """`repo add` has a folder for `-o`, where other verbs have the form of the result."""
    if verb != "repo" or next((word for word in words if not word.startswith("-")), "") != "add":
        return list(words)
    rest: list[str] = []
    for at, word in enumerate(words):
        if word == "--":
            return [*rest, *words[at:]]
        given = word.startswith("-o") and not word.startswith("--")
        rest.append("--dir" + (f"={word[2:].removeprefix('=')}" if word != "-o" else "") if given else word)
    return rest


def is_true(text: str) -> bool:
    return text.strip().lower() in YES


def _said(text: str, flag: str) -> bool:
    """A switch's value on the command line. Raises ValueError."""
    if not text or not is_switch(text):
        raise ValueError(f'invalid argument "{text}" for "{flag}" flag: it is neither true nor false')
    return is_true(text)


def _is_whole(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 8


def without_ignored(verb: str, words: Sequence[str], known: Mapping[str, argparse.Action]) -> list[str]:
    """The words of a verb in our form: switches with `=true` or `=false` as plain ones, ignored flags left out."""
    ignored = IGNORED.get(verb, {})
    rest: list[str] = []
    waiting = list(reversed(words))
    while waiting:
        word = waiting.pop()
        if word == "--":
            return [*rest, word, *reversed(waiting)]
        flag, sign, value = word.partition("=")
        if flag in ignored and (flag not in known or flag == "--backend"):
            if ignored[flag] and not sign and waiting:
                waiting.pop()
        elif sign and flag in known and known[flag].nargs == 0:
            rest += _switched(flag, _said(value, flag), known)
        else:
            rest.append(word)
    return rest


def bound(
    verb: str, words: Sequence[str], values: Mapping[str, Any], known: Mapping[str, argparse.Action]
) -> list[str]:
    """Words for flags that the configuration or the environment sets, and `words`, as they were typed, do not."""
    said = {word.partition("=")[0] for word in words}
    found: list[str] = []
    for name in BOUND.get(verb, ()):
        flag = f"--{name}"
        action = known.get(flag)
        value = values.get(name, values.get(name.replace("-", "_")))
        if action is None or value in (None, "") or said & set(action.option_strings):
            continue
        if action.nargs == 0:
            found += _switched(flag, _said(value, flag) if isinstance(value, str) else bool(value), known)
        elif isinstance(value, list):
            found += [f"{flag}={item}" for item in value]
        else:
            found += [f"{flag}={item}" for item in (str(value).split() if _many(action) else [str(value)])]
    return found


def _switched(flag: str, on: bool, known: Mapping[str, argparse.Action]) -> list[str]:
    """The word for a switch; to leave one alone that is off anyway needs none."""
    off = f"--no-{flag[2:]}"
    return [flag] if on else [off] if off in known else []


def _many(action: argparse.Action) -> bool:
    return isinstance(action, argparse._AppendAction)
