"""Dockerfile's ENV: words, quotes and `$VAR` expansion, as `docker build` reads them.

Source: Dockerfile reference, "ENV" and "Environment replacement"; luet writes every `env:` item as one ENV line.
"""

from __future__ import annotations

from collections.abc import Mapping

from treebuilder.errors import SpecError


def parse(line: str, env: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The variables that one ENV line sets, values expanded with `env` as it was before the line.

    `K=V K2="a b"` sets several; `K some text` (no `=` in the first word) is the old form and sets one.
    Raises SpecError (reason "env").
    """
    found = words(line.strip())
    if not found:
        return ()
    first = found[0]
    if "=" not in first:
        value = line.strip()[len(first) :].strip()
        return ((expand(first, env), expand(value, env)),)
    pairs = []
    for word in found:
        key, equals, value = word.partition("=")
        if not equals:
            raise SpecError(f"env: {line!r}: {word!r} has no =", hint="quote a value that has spaces", reason="env")
        pairs.append((expand(key, env), expand(value, env)))
    return tuple(pairs)


def words(line: str) -> list[str]:
    """Splits at white space outside quotes; quotes and backslashes stay in the words."""
    found: list[str] = []
    word, quote, i = "", "", 0
    while i < len(line):
        char = line[i]
        if char == "\\" and quote != "'" and i + 1 < len(line):
            word += line[i : i + 2]
            i += 2
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char.isspace():
            if word:
                found.append(word)
            word = ""
            i += 1
            continue
        word += char
        i += 1
    return [*found, word] if word else found


def expand(word: str, env: Mapping[str, str]) -> str:
    """Removes quotes and replaces `$V`, `${V}`, `${V:-default}` and `${V:+other}`; nothing inside single quotes."""
    out, i, quote = "", 0, ""
    while i < len(word):
        char = word[i]
        if quote == "'":
            if char == "'":
                quote = ""
            else:
                out += char
            i += 1
        elif char == "\\" and i + 1 < len(word):
            following = word[i + 1]
            out += following if not quote or following in '"$\\' else char + following
            i += 2
        elif char == '"':
            quote = "" if quote else char
            i += 1
        elif char == "'" and not quote:
            quote = char
            i += 1
        elif char == "$":
            value, i = _variable(word, i, env)
            out += value
        else:
            out += char
            i += 1
    return out


def _variable(word: str, at: int, env: Mapping[str, str]) -> tuple[str, int]:
    if word[at + 1 : at + 2] == "{":
        end = word.find("}", at)
        if end < 0:
            return word[at:], len(word)
        inside = word[at + 2 : end]
        for operator in (":-", ":+"):
            if operator in inside:
                name, _, other = inside.partition(operator)
                value = env.get(name, "")
                chosen = (value or other) if operator == ":-" else (other if value else "")
                return expand(chosen, env) if chosen == other else chosen, end + 1
        return env.get(inside, ""), end + 1
    end = at + 1
    while end < len(word) and (word[end].isalnum() or word[end] == "_"):
        end += 1
    if end == at + 1:
        return "$", end
    return env.get(word[at + 1 : end], ""), end


def apply(
    lines: tuple[str, ...], env: tuple[tuple[str, str], ...], seen: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """`env` after the ENV lines, sorted. `seen` are further variables that the lines may use (PACKAGE_NAME …)."""
    current = dict(env)
    for line in lines:
        current.update(parse(line, {**seen, **current}))
    return tuple(sorted(current.items()))


def secret_pairs(lines: tuple[str, ...], names: tuple[str, ...]) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """Those lines that set a variable of `names`, each with what it sets of them."""
    found = []
    for line in lines if names else ():
        pairs = tuple(pair for pair in parse(line, {}) if pair[0] in names)
        if pairs:
            found.append((line, pairs))
    return tuple(found)


def secret_values(lines: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    """The values that are not to be shown anywhere."""
    pairs = (pair for _, found in secret_pairs(lines, names) for pair in found)
    return tuple(dict.fromkeys(value for _, value in pairs if value))
