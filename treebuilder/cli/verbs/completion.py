"""Prints a completion script.

examples:
  treebuild completion bash > /etc/bash_completion.d/treebuild
  treebuild completion zsh > "${fpath[1]}/_treebuild"
  treebuild completion fish > ~/.config/fish/completions/treebuild.fish
  treebuild luet completion bash > /etc/bash_completion.d/luet
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from importlib import import_module

from treebuilder.cli.catalogue import ALIASES, VERBS
from treebuilder.cli.session import Session, add_global_flags, add_output_flags
from treebuilder.records import record

_NAMING = ("build", "explain", "lock", "tree")  # their words are packages of a tree
_TREES = ("-t", "--tree", "--tree-deps")
_FILED = (*_TREES, "--values", "--destination", "--lock", "--config", "--cache-dir", "-f", "-o", "--output")
_PKGLIST = "tree pkglist --buildtime --quiet"  # what can be built: sub-packages are no targets
_BASH = """\
_PROGRAM_packages() {
  local at flag value trees=()
  for ((at = 1; at < COMP_CWORD; at++)); do
    flag="${COMP_WORDS[at]}" value="${COMP_WORDS[at+1]}"
    [ "$value" != "=" ] || value="${COMP_WORDS[at+2]}"
    case "$flag" in
    TREES) trees+=("$flag" "$value");;
    EQUALS) trees+=("$flag");;
    esac
  done
  PROGRAM PKGLIST "${trees[@]}" 2>/dev/null
}
_PROGRAM() {
  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" words=
  if [ "$word" = "=" ]; then word=
  elif [ "$before" = "=" ]; then before="${COMP_WORDS[COMP_CWORD-2]}"; fi
  if [ "$COMP_CWORD" -eq 1 ]; then words='VERBS'; else
  case "${COMP_WORDS[1]}" in
FLAGS
  esac
  [ "$COMP_CWORD" -ne 2 ] || case "${COMP_WORDS[1]}" in
FIRSTS
  esac
  case "$word:$before:${COMP_WORDS[1]}:$COMP_CWORD" in
  -*|*:tree:2) ;;
  *:FILED:*) words=;;
  *:NAMING:*) words="$(_PROGRAM_packages)";;
  esac; fi
  COMPREPLY=( $(compgen -W "$words" -- "$word") )
}
complete -o default -F _PROGRAM PROGRAM
"""  # a shell parts --tree=t into three words, or not
_FISH_TREES = """\
function __PROGRAM_trees
    set -l words (commandline -opc)
    for at in (seq 1 (count $words))
        if string match -qr -- '^(EQUALS)=' $words[$at]
            printf '%s\\n' $words[$at]
        else if contains -- $words[$at] TREES; and test $at -lt (count $words)
            printf '%s\\n' $words[$at] $words[(math $at + 1)]
        end
    end
end"""


@record
class _Program:
    """Whom a script is for: its name, its verbs with their text and flags, and other names of verbs."""

    name: str
    verbs: Mapping[str, str]
    flags: Mapping[str, str]
    aliases: Mapping[str, str]


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))
    add_output_flags(parser)


def flags_of(verb: str) -> list[str]:
    """The long flags of a verb, sorted."""
    parser = argparse.ArgumentParser(prog=verb)
    import_module(f"treebuilder.cli.verbs.{VERBS[verb][0]}").configure(parser)
    add_global_flags(parser)
    shown = (action for action in parser._actions if action.help != argparse.SUPPRESS)
    return sorted(s for action in shown for s in action.option_strings if s.startswith("--"))


def run(args: argparse.Namespace, session: Session) -> int:
    from treebuilder.ui import tables

    made = _program(luet=bool(getattr(args, "luet", False)))
    script = {"bash": _bash, "zsh": _zsh, "fish": _fish}[args.shell](made)
    value = {"schema": "treebuild.completion/1", "shell": args.shell, "script": script}
    tables.write(value, session.output, script.rstrip("\n"))
    return 0


def _program(*, luet: bool) -> _Program:
    """Called as luet, the script is luet's."""
    verbs = {verb: text for verb, (_, text) in VERBS.items()}
    flags = {verb: flags_of(verb) for verb in VERBS}
    if not luet:
        return _Program("treebuild", verbs, {verb: " ".join(found) for verb, found in flags.items()}, ALIASES)
    from treebuilder.cli import luet_words

    more = [flag for flag in luet_words.PERSISTENT if flag.startswith("--")]
    all_flags = {verb: " ".join(sorted({*found, *more})) for verb, found in flags.items()}
    return _Program("luet", verbs, all_flags, luet_words.ALIASES)


def words_of(verb: str) -> list[str]:
    """What may stand first behind a verb: the words of its first argument, if that has some of its own."""
    parser = argparse.ArgumentParser(prog=verb)
    import_module(f"treebuilder.cli.verbs.{VERBS[verb][0]}").configure(parser)
    first = next((action for action in parser._actions if not action.option_strings), None)
    return sorted(first.choices) if first is not None and first.choices else []


def _bash(made: _Program) -> str:
    names = {
        verb: "|".join([verb, *(alias for alias, of in made.aliases.items() if of == verb)]) for verb in made.verbs
    }
    behind = {verb: words_of(verb) for verb in made.verbs}
    parts = {
        "FLAGS": "\n".join(f"    {names[verb]}) words='{words}';;" for verb, words in made.flags.items()),
        "FIRSTS": "\n".join(f"    {names[v]}) words='{' '.join(words)}';;" for v, words in behind.items() if words),
        "VERBS": " ".join([*made.verbs, *made.aliases]), "EQUALS": "|".join(f"{flag}=*" for flag in _TREES[1:]),
        "TREES": "|".join(_TREES), "FILED": ":*|*:".join(_FILED), "NAMING": ":*|*:".join(_NAMING),
    }  # fmt: skip
    return _filled(_BASH, made.name, parts)


def _filled(text: str, program: str, parts: Mapping[str, str]) -> str:
    for key, part in {"PROGRAM": program, "PKGLIST": _PKGLIST, **parts}.items():
        text = text.replace(key, part)
    return text


def _zsh(made: _Program) -> str:
    return f"#compdef {made.name}\nautoload -U bashcompinit && bashcompinit\n{_bash(made)}"


def _fish(made: _Program) -> str:
    complete = f"complete -c {made.name}"
    lines = [f"{complete} -n __fish_use_subcommand -a {verb} -d '{text}'" for verb, text in made.verbs.items()]
    for verb, words in made.flags.items():
        for word in words.split():
            lines.append(f"{complete} -n '__fish_seen_subcommand_from {verb}' -l {word[2:]}")
        if words_of(verb):
            choices = " ".join(words_of(verb))
            lines.append(f"{complete} -f -n '__fish_seen_subcommand_from {verb}' -a '{choices}'")
    parts = {"EQUALS": "|".join(_TREES[1:]), "TREES": " ".join(_TREES)}
    lines.append(_filled(_FISH_TREES, made.name, parts))
    asked = f"({made.name} {_PKGLIST} (__{made.name}_trees) 2>/dev/null)"
    lines.append(f"{complete} -f -n '__fish_seen_subcommand_from {' '.join(_NAMING)}' -a '{asked}'")
    return "\n".join(lines) + "\n"
