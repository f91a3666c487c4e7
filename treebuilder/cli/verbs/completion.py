"""Prints a completion script.

examples:
  treebuild completion bash > /etc/bash_completion.d/treebuild
  treebuild completion zsh > "${fpath[1]}/_treebuild"
  treebuild completion fish > ~/.config/fish/completions/treebuild.fish
"""

from __future__ import annotations

import argparse
from importlib import import_module

from treebuilder.cli.catalogue import ALIASES, VERBS
from treebuilder.cli.session import Session, add_global_flags, add_output_flags


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

    flags = {verb: " ".join(flags_of(verb)) for verb in VERBS}
    script = {"bash": _bash, "zsh": _zsh, "fish": _fish}[args.shell](flags)
    value = {"schema": "treebuild.completion/1", "shell": args.shell, "script": script}
    tables.write(value, session.output, script.rstrip("\n"))
    return 0


def _bash(flags: dict[str, str]) -> str:
    names = {verb: "|".join([verb, *(alias for alias, of in ALIASES.items() if of == verb)]) for verb in flags}
    cases = "\n".join(f"    {names[verb]}) words='{words}';;" for verb, words in flags.items())
    return (
        "_treebuild() {\n"
        '  local word="${COMP_WORDS[COMP_CWORD]}" words\n'
        f"  if [ \"$COMP_CWORD\" -eq 1 ]; then words='{' '.join([*VERBS, *ALIASES])}'; else\n"
        f'  case "${{COMP_WORDS[1]}}" in\n{cases}\n  esac; fi\n'
        '  COMPREPLY=( $(compgen -W "$words" -- "$word") )\n}\n'
        "complete -o default -F _treebuild treebuild\n"
    )


def _zsh(flags: dict[str, str]) -> str:
    return f"#compdef treebuild\nautoload -U bashcompinit && bashcompinit\n{_bash(flags)}"


def _fish(flags: dict[str, str]) -> str:
    lines = [f"complete -c treebuild -n __fish_use_subcommand -a {v} -d '{text}'" for v, (_, text) in VERBS.items()]
    for verb, words in flags.items():
        for word in words.split():
            lines.append(f"complete -c treebuild -n '__fish_seen_subcommand_from {verb}' -l {word[2:]}")
    return "\n".join(lines) + "\n"
