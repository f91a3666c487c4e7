"""The keys of a configuration file, for both who read it: `settings` for builds, `client_settings` for the client.

luet has keys that mean nothing here, and takes flags of its verbs as keys: only what looks like a misspelt one of ours
is warned of.
"""

from __future__ import annotations

from treebuilder.annotations import TYPE_CHECKING
from treebuilder.events import EventSink, Warned

if TYPE_CHECKING:
    from treebuilder.nodes import Node

_TOP = frozenset((
    "cache", "config_from_host", "config_protect_confdir", "config_protect_skip", "destination", "finalizer_envs",
    "general", "keys_confdir", "logging", "plugin", "repos_confdir", "repositories", "solver", "system", "template",
    "tree", "values",
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
_NEAR = 0.75


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


def _warn(node: Node, known: frozenset[str], events: EventSink) -> None:
    for key, place in node.unknown(known | _LUETS):
        from difflib import get_close_matches  # seldom needed

        meant = get_close_matches(key.lower(), sorted(known), 1, _NEAR)
        if meant:
            events.emit(Warned(f"the key {key!r} means nothing; {meant[0]!r} would", place))
