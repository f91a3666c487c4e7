"""What the package client is told (luet.md §9): flags over `LUET_…` over the configuration over defaults.

Two dialects read the same files: `treebuild` and `luet`. They differ in defaults, and in how a file that cannot be
read is met: luet goes on without it, and so does its dialect, with a warning.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING, Any
from treebuilder.app.config_files import find_config
from treebuilder.app.config_keys import SWITCHES, YES, is_switch
from treebuilder.app.trusting import KEYS_FOLDER, TrustRules
from treebuilder.archive.bounds import TIMES, Bound
from treebuilder.client.api import SystemRoot
from treebuilder.client.places import Places
from treebuilder.client.protect import Protection, prefixes
from treebuilder.errors import ConfigError, Place, TreebuildError
from treebuilder.events import EventSink, Warned
from treebuilder.records import record, replace
from treebuilder.trust.policy import TrustSetting, read_setting

if TYPE_CHECKING:
    from treebuilder.client import Environment
    from treebuilder.nodes import Node
    from treebuilder.repository import RepositorySource

_GO_ARCH = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "riscv64": "riscv64"}
_FILE_PRIORITY = 9999
DEFAULTS: dict[str, Any] = {
    "logging": {
        "path": "/var/log/luet.log", "enable_logfile": False, "json_format": False, "level": "info",
        "enable_emoji": True, "color": True, "no_spinner": False,
    },
    "general": {
        "same_owner": True, "concurrency": 0, "debug": False, "quiet": False, "fatal_warnings": False,
        "show_build_output": True, "http_timeout": 360, "max_expansion": TIMES,
    },
    "system": {
        "database_engine": "boltdb", "database_path": "/var/lib/treebuild", "rootfs": "",
        "pkgs_cache_path": "packages", "tmpdir_base": "",
    },
    "solver": {"type": "", "rate": 0.7, "discount": 1.0, "max_attempts": 9000, "implementation": 0},
    "repos_confdir": ["/etc/luet/repos.conf.d"],
    "keys_confdir": [KEYS_FOLDER],
    "config_protect_confdir": ["/etc/luet/config.protect.d"],
    "config_protect_skip": False,
    "config_from_host": True,
    "repositories": [],
    "finalizer_envs": [],
    "plugin": [],
}  # fmt: skip
LUET_DATABASE = "/var/cache/luet"


@record
class ConfiguredRepository:
    """A repository as a configuration describes it; `file` is the one it stands in.

    Names of key files in `trust` are relative to `base`; `rules` count where it says nothing.
    """

    name: str
    type: str
    urls: tuple[str, ...]
    priority: int
    reference: str
    description: str
    enabled: bool
    cached: bool
    auth: tuple[tuple[str, str], ...]
    file: str
    trust: TrustSetting = TrustSetting()
    base: str = ""
    rules: TrustRules = TrustRules()

    @property
    def source(self) -> RepositorySource:
        """Raises ConfigError (reason "bad-key")."""
        from treebuilder.repository import RepositorySource

        where = Place(self.file)
        return RepositorySource(
            self.name, self.type, self.urls, self.priority, self.reference, where, self.auth, self.cached,
            self.rules.settle(self.trust, self.type, self.base, where),
        )  # fmt: skip


@record
class ClientSettings:
    """`values` are all keys as they came out, for `config`. `cache` is where packages are kept as luet."""

    values: Mapping[str, Any]
    file: str
    root: SystemRoot
    cache: Path
    repositories: tuple[ConfiguredRepository, ...]
    protection: Protection
    finalizer_envs: tuple[tuple[str, str], ...]
    confdirs: tuple[Path, ...]

    def enabled(self) -> tuple[RepositorySource, ...]:
        return tuple(found.source for found in self.repositories if found.enabled)

    def environment(self, epoch_s: int, more: tuple[tuple[str, str], ...] = ()) -> Environment:
        from treebuilder.client import Environment

        return Environment(epoch_s, (*self.finalizer_envs, *more))

    def value(self, key: str) -> Any:  # noqa: ANN401 - whatever the configuration holds
        """The value of a dotted key; None when there is none."""
        found: Any = self.values
        for part in key.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return found

    def plugins(self) -> tuple[str, ...]:
        """Programs that are told of events."""
        return plugins_of(self.values)

    @property
    def bound(self) -> Bound:
        """How far what others packed may expand. Raises ConfigError."""
        said = str(self.value("general.max_expansion") or TIMES)
        if not (said.isascii() and said.isdigit() and 0 < len(said) < 8):
            raise ConfigError(f"general.max_expansion is {said!r}, and not a number above 0", where=Place(self.file))
        return Bound(int(said) or TIMES)

    @property
    def concurrency(self) -> int:
        """How many packages are fetched at once, 0 where nothing says so."""
        return max(0, int(str(self.value("general.concurrency") or 0)))

    def flag(self, key: str) -> bool:
        return _true(self.value(key))


def load(
    explicit: str, flags: Mapping[str, Any], events: EventSink, *, luet: bool, insecure: bool = False
) -> ClientSettings:
    """`flags` are dotted keys that the command line sets; `insecure`: no signature is looked at. Raises ConfigError."""
    path = _find(explicit, events, luet=luet)
    values = _values(path, flags, events, luet=luet)
    try:
        return _settled(values, path, events, TrustRules(luet=luet, insecure=insecure))
    except (TypeError, ValueError, AttributeError, KeyError) as err:
        where = Place(str(path) if path is not None else "the environment")
        raise ConfigError(f"the configuration cannot be understood: {err}", where=where) from err


def values_of(explicit: str, flags: Mapping[str, Any], events: EventSink, *, luet: bool) -> dict[str, Any]:
    """All keys as they come out, nothing looked into. Raises ConfigError."""
    return _values(_find(explicit, events, luet=luet), flags, events, luet=luet)


def plugins_of(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of programs, by configuration or flags."""
    return tuple(name for item in _listed(values.get("plugin")) for name in str(item).split(",") if name)


def _values(path: Path | None, flags: Mapping[str, Any], events: EventSink, *, luet: bool) -> dict[str, Any]:
    values: dict[str, Any] = _copied(DEFAULTS)
    if luet:
        values["system"] |= {"database_path": LUET_DATABASE, "rootfs": "/"}
    if path is not None:
        _merge(values, _read(path, events, luet=luet))
    if luet:
        for name, text in sorted(os.environ.items()):
            if name.startswith("LUET_") and text:  # an empty one says nothing, as to luet
                _judge_variable(name, text)
                _set(values, _key_of(name), text)
    for key, value in flags.items():
        _set(values, key, value)
    return values


def _judge_variable(name: str, text: str) -> None:
    """Raises ConfigError for a variable LUET_… that the configuration could not go by."""
    key = _key_of(name)
    section, _, last = key.rpartition(".")
    wrong, hint = "", None
    if key == "general.concurrency" and not _is_whole(text):
        wrong = "not a whole number"
    elif last in SWITCHES.get(section, ()) and not is_switch(text):
        wrong = "neither true nor false"
    elif key in ("finalizer_envs", "repositories"):
        wrong, hint = f"{key} is a list of maps", "it can only stand in a file"
    elif isinstance(DEFAULTS.get(key), dict):
        wrong, hint = f"{key} is a section", f"{name}__KEY sets one of its keys"
    if wrong:
        raise ConfigError(f"{name} is {text!r}, and {wrong}", where=Place("the environment"), hint=hint)


def _find(explicit: str, events: EventSink, *, luet: bool) -> Path | None:
    if luet and explicit and not os.path.isfile(explicit):
        events.emit(Warned(f"there is no configuration file {explicit}: defaults count"))
        return None
    return find_config(explicit, events)


def _read(path: Path, events: EventSink, *, luet: bool, repository: bool = False) -> dict[str, Any]:
    """A configuration, or a file with one repository. What cannot be read is nothing to luet; what is wrong is."""
    try:
        node = _parsed(path)
    except TreebuildError as err:
        if not luet:
            raise ConfigError(err.message, where=err.where, hint=err.hint) from err
        events.emit(Warned(f"{path} cannot be read and is left out: {err.message}", err.where))
        return {}
    if node.kind != "map":
        return {}
    from treebuilder.app.config_keys import (
        as_written,
        judge,
        judge_repository,
        warn_of_misspelt,
        warn_of_misspelt_repository,
    )

    (warn_of_misspelt_repository if repository else warn_of_misspelt)(node, events)
    try:
        (judge_repository if repository else judge)(node)
    except TreebuildError as err:
        raise ConfigError(err.message, where=err.where, hint=err.hint) from err
    value: dict[str, Any] = as_written(node, texts=repository)
    return value


def _parsed(path: Path) -> Node:
    from treebuilder.nodes import load as load_yaml

    try:
        text = path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"the configuration cannot be read: {err}", where=Place(str(path))) from err
    return load_yaml(text, str(path))


def _copied(value: Any) -> Any:  # noqa: ANN401 - any configuration
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return list(value) if isinstance(value, list) else value


def _merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    for name, value in other.items():
        key = str(name).lower()
        if isinstance(into.get(key), dict):
            if isinstance(value, Mapping):
                _merge(into[key], value)
        elif value is not None:
            into[key] = value


def _key_of(variable: str) -> str:
    """`LUET_SYSTEM__ROOTFS` is system.rootfs; a hyphen of a key may be written as an underscore."""
    return variable.removeprefix("LUET_").lower().replace("__", ".")


def _set(values: dict[str, Any], key: str, value: Any) -> None:  # noqa: ANN401 - a flag's value
    *folders, last = key.split(".")
    at = values
    for part in folders:
        inner = at.setdefault(part, {})
        if not isinstance(inner, dict):
            return
        at = inner
    known = at.get(last)
    at[last] = value.replace(",", " ").split() if isinstance(known, list) and isinstance(value, str) else value


def _true(value: Any) -> bool:  # noqa: ANN401 - from a file or an environment
    return value.strip().lower() in YES if isinstance(value, str) else bool(value)


def _settled(values: dict[str, Any], path: Path | None, events: EventSink, rules: TrustRules) -> ClientSettings:
    system = values["system"]
    root = Path(str(system["rootfs"] or "/")).absolute()
    root = Path(os.path.realpath(root)) if root.is_symlink() else root  # followed once, and never again
    database = "/" + str(system["database_path"]).strip("/")
    base = Path.cwd() if rules.luet or path is None else path.parent
    host = root if not _true(values["config_from_host"]) else Path("/")
    confdirs = _confdirs(values["repos_confdir"], host, base)
    protected = _confdirs(values["config_protect_confdir"], host, base)
    keys = tuple(map(str, _confdirs(values["keys_confdir"], host, base)))
    rules = replace(rules, folders=keys)
    repositories = [
        _repository(item, base, str(path or ""), 0, rules) for item in _listed(values["repositories"])
        if isinstance(item, Mapping)
    ]  # fmt: skip
    for folder in confdirs:
        for file in _files(folder, "*.y*ml", host):
            item = _read(file, events, luet=True, repository=True)
            if item.get("name") and item.get("urls") and item.get("type"):
                repositories.append(_repository(item, base, str(file), _FILE_PRIORITY, rules))
    skipped = _true(values["config_protect_skip"])
    return ClientSettings(
        values, str(path or ""),
        SystemRoot(root, database, str(system["database_engine"]) != "memory", _true(values["general"]["same_owner"])),
        inside(root, f"{database.rstrip('/')}/{str(system['pkgs_cache_path']).strip('/') or 'packages'}"),
        tuple(sorted(repositories, key=lambda r: (r.priority, r.name))),
        Protection(skipped=True) if skipped else Protection(_prefixes(protected, host, events)),
        tuple((str(item["key"]), _text(item.get("value"))) for item in _listed(values["finalizer_envs"])), confdirs,
    )  # fmt: skip


def _is_whole(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 10


def _text(value: Any) -> str:  # noqa: ANN401 - from a file
    return "" if value is None else str(value)


def _prefixes(folders: tuple[Path, ...], host: Path, events: EventSink) -> tuple[str, ...]:
    """A file that cannot be understood takes nothing from what the others protect."""
    found: list[str] = []
    for file in (file for folder in folders for file in _files(folder, "*.yml", host)):
        try:
            found += prefixes(file)
        except TreebuildError as err:
            events.emit(Warned(f"config protection: {err.message}", err.where))
        except (OSError, ValueError) as err:
            events.emit(Warned(f"config protection: {file} cannot be read: {err}"))
    return tuple(dict.fromkeys(found))


def _files(folder: Path, pattern: str, host: Path) -> list[Path]:
    """Of a folder of configuration, by name; links of a root lead where they would for whoever runs in it."""
    if not folder.is_dir():
        return []
    files = sorted(folder.glob(pattern))
    return files if host == Path("/") else [inside(host, str(file.relative_to(host))) for file in files]


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 - from a file
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _confdirs(value: Any, host: Path, base: Path) -> tuple[Path, ...]:  # noqa: ANN401 - from a file
    """A list of folders, or a text with commas between them."""
    named = value.split(",") if isinstance(value, str) else _listed(value)
    folders = [str(folder).strip() for folder in named]
    return tuple(base / folder if host == Path("/") else inside(host, folder) for folder in folders if folder)


def inside(root: Path, path: str) -> Path:
    """A path of a root, which its links do not lead out of; as it is where the root is the machine's own."""
    if root == Path("/"):
        return root / path
    return root / Places(root).folder(os.path.normpath(f"/{path}").lstrip("/"))


def place_in(root: Path, folder: Path) -> str:
    """Where in the root a folder really is; empty where it is elsewhere."""
    top, real = os.path.realpath(root).rstrip("/") + "/", os.path.realpath(folder)
    return real.removeprefix(top) if real.startswith(top) else ""


def _repository(
    item: Mapping[str, Any], base: Path, file: str, priority: int, rules: TrustRules
) -> ConfiguredRepository:  # fmt: skip
    kind = str(item.get("type") or "disk")
    kind = "disk" if kind == "local" else kind
    urls = tuple(str(url) for url in _listed(item.get("urls")))
    if kind == "disk":
        urls = tuple(os.path.normpath(base / url) for url in urls)
    name = str(item.get("name") or "")
    if not name:
        raise ConfigError("a repository needs a name", where=Place(file))
    given = item.get("priority")
    return ConfiguredRepository(
        name, kind, urls, int(str(given)) if given is not None else priority,
        str(item.get("reference") or "repository.yaml"), str(item.get("description") or ""),
        _true(item.get("enable", False)) or _is_here(str(item.get("arch") or "")), _true(item.get("cached", False)),
        _auth(item.get("auth")), file, read_setting(item.get("trust"), Place(file)), str(base), rules,
    )  # fmt: skip


def _auth(value: object) -> tuple[tuple[str, str], ...]:
    """luet's `auth:` map as sorted pairs."""
    return tuple(sorted((str(k), str(v)) for k, v in value.items())) if isinstance(value, dict) else ()


def _is_here(arch: str) -> bool:
    """Whether this is our machine, in Go's words."""
    machine = os.uname().machine
    return bool(arch) and arch == _GO_ARCH.get(machine, machine)
