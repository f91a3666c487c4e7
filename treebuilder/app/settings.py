"""Settings: flags over environment over `.luet.yaml` over defaults (luet.md §9, §1.2)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING, Any
from treebuilder.app.config_files import find_config
from treebuilder.app.config_keys import warn_of_misspelt, warn_of_misspelt_repository
from treebuilder.app.trusting import TrustRules
from treebuilder.archive.bounds import USUAL_BOUND, Bound
from treebuilder.errors import ConfigError, Place, SpecError, TreebuildError
from treebuilder.events import EventSink
from treebuilder.model.package import NOWHERE
from treebuilder.records import record
from treebuilder.trust.policy import TrustSetting, read_setting

if TYPE_CHECKING:
    from treebuilder.nodes import Node

_CACHE_KEYS = frozenset(("keys", "secret_key"))


@record
class RepositorySettings:
    """One configured repository. Paths in `urls` of type disk are absolute; those of keys are relative to `base`."""

    name: str
    type: str
    urls: tuple[str, ...]
    enable: bool = True
    priority: int = 0
    cached: bool = False
    reference: str = "repository.yaml"
    trust: TrustSetting = TrustSetting()
    where: Place = NOWHERE
    auth: tuple[tuple[str, str], ...] = ()
    base: str = ""


@record
class Settings:
    """What the user chose, before flags. `file` is the configuration that was read, if any.

    `rules` are those of trust, where a repository says nothing of its own. `cache_keys` are files of public keys of
    which one must have signed a build record of others, and `secret_key` the file of the key for `secrets:`.
    `bound` is how far what others packed may expand.
    """

    file: str = ""
    concurrency: int = 0
    repositories: tuple[RepositorySettings, ...] = ()
    template_env: tuple[str, ...] = ()
    database_path: str = "/var/lib/treebuild"
    trees: tuple[str, ...] = ()
    destination: str = ""
    values: tuple[str, ...] = ()
    rules: TrustRules = TrustRules()
    cache_keys: tuple[str, ...] = ()
    secret_key: str = ""
    bound: Bound = USUAL_BOUND
    tree_deps: tuple[str, ...] = ()


def load(explicit: str, events: EventSink) -> Settings:
    """Raises ConfigError."""
    path = find_config(explicit, events)
    if path is None:
        return Settings()
    with _of_a_configuration():
        root = _parsed(path)
        warn_of_misspelt(root, events)
        return _settled(root, path, _repositories(root, path.parent, events))


def load_as_luet(explicit: str, flags: Mapping[str, Any], events: EventSink) -> Settings:
    """By luet's rules: who builds has the repositories that who installs has, and a file that is missing or broken
    says nothing, with a warning. `flags` are dotted keys. Raises ConfigError."""
    from treebuilder.app import client_settings

    client = client_settings.load(explicit, flags, events, luet=True)
    repositories = tuple(
        RepositorySettings(
            found.name, found.type, found.urls, found.enabled, found.priority, found.cached, found.reference,
            found.trust, Place(found.file), found.auth, found.base,
        )
        for found in client.repositories
    )  # fmt: skip
    path = Path(client.file)
    try:
        root = _parsed(path) if client.file else None
    except TreebuildError:  # that was said
        root = None
    if root is None:
        return Settings(repositories=repositories)
    with _of_a_configuration():
        return _settled(root, path, repositories)


@contextmanager
def _of_a_configuration() -> Iterator[None]:
    try:
        yield
    except ConfigError:
        raise
    except TreebuildError as err:
        raise ConfigError(err.message, where=err.where, hint=err.hint) from err


def _parsed(path: Path) -> Node:
    from treebuilder.nodes import load as load_yaml
    from treebuilder.tree.files import read_text

    return load_yaml(read_text(str(path)), str(path))


def _repositories(root: Node, base: Path, events: EventSink) -> tuple[RepositorySettings, ...]:
    """Preferred first."""
    found = [_repository(node, base) for node in root.children("repositories")]
    for folder in _texts(root, "repos_confdir"):
        where = base / folder
        for file in sorted(where.glob("*.y*ml")) if where.is_dir() else []:
            # Paths in a repository file are relative to the configuration that points to it.
            node = _parsed(file)
            warn_of_misspelt_repository(node, events)
            found.append(_repository(node, base))
    return tuple(sorted(found, key=lambda r: (r.priority, r.name)))


def _settled(root: Node, path: Path, repositories: tuple[RepositorySettings, ...]) -> Settings:
    general, system, template = root.get("general"), root.get("system"), root.get("template")
    return Settings(
        str(path), max(0, general.integer("concurrency")) if general else 0,
        repositories, template.texts("env") if template else (),
        (system.text("database_path") if system else "") or "/var/lib/treebuild",
        _texts(root, "tree"), root.text("destination"), _texts(root, "values"),
        TrustRules(_texts(root, "keys_confdir")) if root.get("keys_confdir") is not None else TrustRules(),
        *_cache(root, path.parent), _bound(general.integer("max_expansion") if general else 0),
        _texts(root, "tree-deps"),
    )  # fmt: skip


def _bound(times: int) -> Bound:
    return Bound(times) if times > 0 else USUAL_BOUND


def _cache(root: object, base: Path) -> tuple[tuple[str, ...], str]:
    """`cache.keys` and `cache.secret_key`, relative to the file that says so.

    Raises SpecError: what is not understood must not end in less trust than was meant.
    """
    from treebuilder.nodes import Node

    assert isinstance(root, Node)
    node = root.get("cache")
    if node is None:
        return (), ""
    for key, place in node.unknown(_CACHE_KEYS):
        raise SpecError(f"cache: has keys and secret_key, and no {key!r}", where=place, reason="bad-trust")
    keys = _texts(node, "keys")
    said = [found for name, found in node.entries() if name.lower() == "keys"]
    if said and (not keys or not all(keys)):
        said[0].fail(
            "cache.keys names no key, so nothing of others could count, or everything", reason="bad-trust",
            hint="name a file with a public key, or leave keys out",
        )  # fmt: skip
    secret = node.text("secret_key")
    return tuple(str(base / key) for key in keys), str(base / secret) if secret else ""


def _texts(root: object, key: str) -> tuple[str, ...]:
    from treebuilder.nodes import Node

    assert isinstance(root, Node)
    node = root.get(key)
    if node is None:
        return ()
    return (node.as_text(key),) if node.kind == "text" else root.texts(key)


def _repository(node: object, base: Path) -> RepositorySettings:
    from treebuilder.nodes import Node

    assert isinstance(node, Node)
    kind = node.text("type", "disk")
    name = _written(node, "name")
    urls = tuple(
        str((base / url).absolute()) if kind in ("disk", "local") and not os.path.isabs(url) else url
        for url in node.texts("urls")
    )
    if not name:
        node.fail("a repository needs a name")
    return RepositorySettings(
        name, "disk" if kind == "local" else kind, urls, node.boolean("enable"),
        node.integer("priority"), node.boolean("cached"), node.text("reference") or "repository.yaml",
        _trust(node), node.place, node.text_map("auth"), str(base),
    )  # fmt: skip


def _written(node: object, key: str) -> str:
    """A text; `n` and `yes` are none of YAML's booleans here."""
    from treebuilder.nodes import Node

    assert isinstance(node, Node)
    found = node.get(key)
    return found.written if found is not None and found.kind == "boolean" and found.written else node.text(key)


def _trust(node: object) -> TrustSetting:
    from treebuilder.nodes import Node

    assert isinstance(node, Node)
    found = node.get("trust")
    return read_setting(found.plain() if found is not None else None, found.place if found is not None else node.place)
