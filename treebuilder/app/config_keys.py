"""The keys of a configuration file, for both who read it: `settings` for builds, `client_settings` for the client.

luet has keys that mean nothing here, and takes flags of its verbs as keys: only what looks like a misspelt one of ours
is warned of.
"""

from __future__ import annotations

from treebuilder.annotations import TYPE_CHECKING, Any
from treebuilder.events import EventSink, Warned

if TYPE_CHECKING:
    from treebuilder.nodes import Node

_TOP = frozenset((
    "cache", "config_from_host", "config_protect_confdir", "config_protect_skip", "destination", "finalizer_envs",
    "general", "keys_confdir", "logging", "plugin", "repos_confdir", "repositories", "solver", "system", "template",
    "tree", "tree-deps", "values",
))  # fmt: skip
_SECTIONS = {
    "cache": frozenset(("keys", "secret_key")),
    "general": frozenset((
        "concurrency", "debug", "fatal_warnings", "http_timeout", "max_expansion", "quiet", "same_owner",
        "show_build_output",
    )),
    "logging": frozenset(("color", "enable_emoji", "enable_logfile", "json_format", "level", "no_spinner", "path")),
    "solver": frozenset(("discount", "implementation", "max_attempts", "options", "rate", "type")),
    "system": frozenset(("database_engine", "database_path", "pkgs_cache_path", "rootfs", "tmpdir_base")),
    "template": frozenset(("env",)),
}  # fmt: skip
_REPOSITORY = frozenset((
    "arch", "auth", "cached", "description", "enable", "name", "priority", "reference", "trust", "type", "urls",
))  # fmt: skip
_LUETS = frozenset(("config_protect", "images", "metapath", "mode", "treepath", "verify"))
_OF_TEXTS = frozenset(("finalizer_envs", "repositories"))
_NEAR = 0.75
YES, NO = ("1", "t", "true", "yes", "y", "on"), ("0", "f", "false", "no", "n", "off")
SWITCHES = {
    "": ("config_from_host", "config_protect_skip"),
    "general": ("debug", "fatal_warnings", "quiet", "same_owner", "show_build_output"),
    "logging": ("color", "enable_emoji", "enable_logfile", "json_format", "no_spinner"),
}


def is_switch(text: str) -> bool:
    """Whether it is a value that a switch can have: YES, NO, or nothing said."""
    return text.strip().lower() in (*YES, *NO, "")


def sections() -> dict[str, frozenset[str]]:
    """The known keys by their section; "" for those at the top, and those of one of `repositories`."""
    return {"": _TOP, "repositories": _REPOSITORY, **_SECTIONS}


def warn_of_misspelt(root: Node, events: EventSink) -> None:
    """Of a whole configuration, keys that are near one of ours. Raises nothing for what has another form."""
    if root.kind != "map":
        return
    _warn(root, _TOP, events)
    for name, known in _SECTIONS.items():
        section = root.get(name)
        if section is not None and section.kind == "map":
            _warn(section, known, events)
    listed = root.get("repositories")
    for item in listed.items() if listed is not None and listed.kind == "list" else ():
        warn_of_misspelt_repository(item, events)


def warn_of_misspelt_repository(node: Node, events: EventSink) -> None:
    """Of one of `repositories`, or a file of `repos_confdir`."""
    if node.kind == "map":
        _warn(node, _REPOSITORY, events)


def judge(root: Node) -> None:
    """Of a whole configuration, what the client could not go by. Raises SpecError with its line."""
    for name in ("general", "logging", "system"):  # where another form would leave something out
        section = root.get(name)
        if section is not None and section.kind != "map":
            section.fail(f"{name} must be a map, not a {section.kind}", reason="wrong-type")
    general = root.get("general")
    count = general.get("concurrency") if general is not None else None
    if count is not None:
        _judge_whole(count, "general.concurrency")
    for name, keys in SWITCHES.items():
        section = root.get(name) if name else root
        if section is not None and section.kind == "map":
            for switch in keys:
                _judge_switch(section.get(switch), f"{name}.{switch}" if name else switch)
    for item in _maps(root, "repositories"):
        judge_repository(item)
    for item in _maps(root, "finalizer_envs"):
        key = item.get("key")
        if key is None or not _text(key):
            item.fail("an item of finalizer_envs needs a key, and has a value", reason="wrong-type")


def judge_repository(node: Node) -> None:
    """Of one of `repositories`, or a file of `repos_confdir`. Raises SpecError with its line."""
    if node.kind != "map":
        return
    priority = node.get("priority")
    if priority is not None:
        _judge_whole(priority, "priority")
    for key in ("enable", "cached"):
        _judge_switch(node.get(key), key)


def as_written(node: Node, *, texts: bool = False) -> Any:  # noqa: ANN401 - whatever the configuration holds
    """The plain value. Where a text is wanted (`texts`, repositories, finalizer_envs), `name: n` is no boolean."""
    if node.kind == "map":
        return {
            key: as_written(
                item, texts=key.lower() in _OF_TEXTS or (texts and key.lower() not in ("enable", "cached", "trust"))
            )
            for key, item in node.value.items()
        }
    if node.kind == "list":
        return [as_written(item, texts=texts) for item in node.value]
    return node.written if texts and node.kind == "boolean" and node.written else node.value


def _maps(root: Node, key: str) -> tuple[Node, ...]:
    found = root.children(key)
    for item in found:
        if item.kind != "map":
            item.fail(f"an item of {key} must be a map, not a {item.kind}", reason="wrong-type")
    return found


def _judge_whole(node: Node, what: str) -> None:
    text = _text(node)
    digits = text.removeprefix("-")
    if node.kind not in ("text", "number") or not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        node.fail(f"{what} is {text or node.kind!r}, and not a whole number", reason="wrong-type")


def _judge_switch(node: Node | None, what: str) -> None:
    if node is not None and (node.kind in ("map", "list") or not is_switch(_text(node))):
        node.fail(f"{what} is {_text(node) or node.kind!r}, and neither true nor false", reason="wrong-type")


def _text(node: Node) -> str:
    return "" if node.kind in ("map", "list", "nothing") else node.written or str(node.value)


def _warn(node: Node, known: frozenset[str], events: EventSink) -> None:
    for key, place in node.unknown(known | _LUETS):
        from difflib import get_close_matches  # seldom needed

        meant = get_close_matches(key.lower(), sorted(known), 1, _NEAR)
        if meant:
            events.emit(Warned(f"the key {key!r} means nothing; {meant[0]!r} would", place))
