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

_NAMING = ("build", "explain", "tree")  # their words are packages of a tree
_TREES = ("-t", "--tree", "--tree-deps")
_FILED = (*_TREES, "--values", "--destination", "--lock", "--config", "--cache-dir", "-f", "-o", "--output")
_FISH_TREES = f"""\
function __treebuild_trees
    set -l words (commandline -opc)
    for at in (seq 1 (math (count $words) - 1))
        if contains -- $words[$at] {" ".join(_TREES)}
            printf '%s\\n' --tree $words[(math $at + 1)]
        end
    end
end"""


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


def words_of(verb: str) -> list[str]:
    """What may stand first behind a verb: the words of its first argument, if that has some of its own."""
    parser = argparse.ArgumentParser(prog=verb)
    import_module(f"treebuilder.cli.verbs.{VERBS[verb][0]}").configure(parser)
    first = next((action for action in parser._actions if not action.option_strings), None)
    return sorted(first.choices) if first is not None and first.choices else []


def _bash(flags: dict[str, str]) -> str:
    names = {verb: "|".join([verb, *(alias for alias, of in ALIASES.items() if of == verb)]) for verb in flags}
    cases = "\n".join(f"    {names[verb]}) words='{words}';;" for verb, words in flags.items())
    behind = {verb: words_of(verb) for verb in flags}
    firsts = "\n".join(f"    {names[verb]}) words='{' '.join(words)}';;" for verb, words in behind.items() if words)
    return (
        "_treebuild_packages() {\n"  # the names come from the specfile index: stats only
        "  local at trees=()\n"
        "  for ((at = 1; at < COMP_CWORD; at++)); do\n"
        '    case "${COMP_WORDS[at]}" in\n'
        f'    {"|".join(_TREES)}) trees+=(--tree "${{COMP_WORDS[at+1]}}");;\n    esac\n  done\n'
        '  treebuild tree pkglist --quiet "${trees[@]}" 2>/dev/null\n}\n'
        "_treebuild() {\n"
        '  local word="${COMP_WORDS[COMP_CWORD]}" words=\n'
        f"  if [ \"$COMP_CWORD\" -eq 1 ]; then words='{' '.join([*VERBS, *ALIASES])}'; else\n"
        f'  case "${{COMP_WORDS[1]}}" in\n{cases}\n  esac\n'
        f'  [ "$COMP_CWORD" -ne 2 ] || case "${{COMP_WORDS[1]}}" in\n{firsts}\n  esac\n'
        f'  case "$word:${{COMP_WORDS[COMP_CWORD-1]}}:${{COMP_WORDS[1]}}:$COMP_CWORD" in\n'
        f"  -*|*:{':*|*:'.join(_FILED)}:*|*:tree:2) ;;\n"
        f'  *:{":*|*:".join(_NAMING)}:*) words="$(_treebuild_packages)";;\n'
        "  esac; fi\n"
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
        if words_of(verb):
            choices = " ".join(words_of(verb))
            lines.append(f"complete -c treebuild -f -n '__fish_seen_subcommand_from {verb}' -a '{choices}'")
    naming = f"complete -c treebuild -f -n '__fish_seen_subcommand_from {' '.join(_NAMING)}' -a "
    lines += [_FISH_TREES, f"{naming}'(treebuild tree pkglist --quiet (__treebuild_trees) 2>/dev/null)'"]
    return "\n".join(lines) + "\n"
