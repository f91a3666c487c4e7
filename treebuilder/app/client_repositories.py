"""The verbs of configured repositories: list, get, add, update."""

from __future__ import annotations

from pathlib import Path

from treebuilder.annotations import Any
from treebuilder.app.asking import succeeded
from treebuilder.app.client import PackageClient
from treebuilder.app.client_settings import ConfiguredRepository, inside
from treebuilder.app.config_keys import as_written, judge_repository
from treebuilder.app.trusting import show_key
from treebuilder.errors import Cancelled, ConfigError, Place, TreebuildError
from treebuilder.events import EventSink, Said
from treebuilder.nodes.writing import write_yaml
from treebuilder.records import record
from treebuilder.repository import SyncedRepository
from treebuilder.system.clock import utc
from treebuilder.system.files import disk_errors, write_atomic
from treebuilder.trust.policy import read_setting

_TYPES = ("disk", "local", "http", "docker", "oci")


@record
class Listed:
    """A configured repository, and what it was when its index was read; None when it cannot be."""

    repository: ConfiguredRepository
    synced: SyncedRepository | None

    def to_json(self) -> dict[str, Any]:
        found = self.repository
        value: dict[str, Any] = {
            "name": found.name, "description": found.description, "type": found.type,
            "urls": list(found.urls), "priority": found.priority, "enable": found.enabled,
            "cached": found.cached, "reference": found.reference, "revision": 0, "last_update": "",
        }  # fmt: skip
        if self.synced is not None:
            index = self.synced.index
            value |= {"revision": index.revision, "last_update": index.last_update}
        return value

    def text(self) -> str:
        """As luet lists it."""
        found = self.repository
        lines = [found.name, f"  {found.description or ' '.join(found.urls[:1])}"]
        if self.synced is not None:
            lines.append(f"  Revision {self.synced.index.revision} - {_date(self.synced.index.last_update)}")
        return "\n".join(lines)


def _date(last_update: str) -> str:
    """Of the seconds that an index holds as text."""
    return utc(int(last_update) if last_update.isdigit() else 0, "%Y-%m-%d %H:%M:%S +0000 UTC")


def listed(client: PackageClient, *, enabled: bool, type: str) -> list[Listed]:
    """Preferred first."""
    chosen = [
        found for found in client.settings.repositories
        if (found.enabled or not enabled) and (not type or found.type == type)
    ]  # fmt: skip
    return _look(client, chosen)


def _look(client: PackageClient, chosen: list[ConfiguredRepository]) -> list[Listed]:
    """What cannot be read, or kept, is listed all the same."""
    enabled = [found for found in chosen if found.enabled]
    try:
        results = client.ask(enabled, lambda found, events: client.sync(found.source, events, whole=False))
    except Cancelled:
        raise
    except TreebuildError:  # of the cache: nothing is known of them
        results = []
    found_of = {id(found): result for found, result in zip(enabled, results, strict=False)}
    synced = [found_of.get(id(found)) for found in chosen]
    return [
        Listed(found, None if isinstance(result, TreebuildError) else result)
        for found, result in zip(chosen, synced, strict=True)
    ]


def get(client: PackageClient, name: str) -> Listed:
    """Raises ConfigError."""
    for found in client.settings.repositories:
        if found.name == name:
            return _look(client, [found])[0]
    raise ConfigError(f"repository {name} not found", reason="no-repository")


def yaml(item: Listed) -> str:
    return write_yaml(item.to_json(), sort_keys=True).decode().rstrip("\n")


@record
class NewRepository:
    """What `repo add` was asked. `word` is a file, a URL of one, or a name.

    `folder` is where the file goes: a path of the root, or relative to the current folder; "" for the configured one.
    """

    word: str
    type: str
    urls: tuple[str, ...]
    description: str
    reference: str
    priority: int
    folder: str
    trust: tuple[str, ...] = ()  # files with public keys, or `none`
    username: str = ""
    password: str = ""


def add(client: PackageClient, new: NewRepository) -> Path:
    """Writes a repository file; where it lies. Raises ConfigError, SpecError."""
    value = _described(client, new)
    name = value.get("name")
    if not isinstance(name, str) or not name or "/" in name or name.startswith("."):
        raise ConfigError(f"{name!r} is no name for a repository")
    kind = value.get("type", "disk")
    if kind not in _TYPES:
        raise ConfigError(
            f"there is no type {kind!r} of repositories",
            hint=f"known are {', '.join(_TYPES)}",
            reason="repository-type",
        )
    folders = client.settings.confdirs
    given = Path(new.folder) if new.folder else (folders[0] if folders else Path("/etc/luet/repos.conf.d"))
    if not given.is_absolute():
        folder = Path.cwd() / given  # a folder of whoever types it, not of the root
    else:
        within = given.relative_to(client.root if given.is_relative_to(client.root) else "/")
        folder = inside(client.root, str(within))  # a link of the root leads to no folder of this machine
    read_setting(value.get("trust"), Place(new.word))
    if not (value.get("urls") and value.get("type")):
        client.warn(f"{name} has no {'type' if value.get('urls') else 'urls'}, and counts for nothing until it does")
    with disk_errors(f"making {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    text = write_yaml(value, sort_keys=True)
    if path.is_file() and path.read_bytes() != text:
        client.warn(f"{path} described a repository {name} already, and was replaced")
    write_atomic(path, text, mode=0o600 if value.get("auth") else 0o644)
    return path


def _described(client: PackageClient, new: NewRepository) -> dict[str, Any]:
    data: bytes | None = None
    if Path(new.word).is_file():
        data = Path(new.word).read_bytes()
    elif new.word.startswith(("http://", "https://")):
        data = client.download(new.word)
    if data is not None:
        from treebuilder.nodes import load

        node = load(data.decode("utf-8", "replace"), new.word)
        judge_repository(node)  # what is wrong with a file of the folder ends every command
        value = as_written(node, texts=True)
        if not isinstance(value, dict):
            raise ConfigError(f"{new.word} describes no repository")
        return {str(key): item for key, item in value.items()}
    value = {
        "name": new.word, "type": new.type, "urls": list(new.urls), "enable": True, "cached": True,
        "priority": new.priority,
    }  # fmt: skip
    if new.description:
        value["description"] = new.description
    if new.reference:
        value["reference"] = new.reference
    if new.username or new.password:
        value["auth"] = {"username": new.username, "password": new.password}
    if new.trust == ("none",):
        value["trust"] = "none"
    elif new.trust:
        value["trust"] = {"keys": [show_key(file).key.pem.decode() for file in new.trust]}
    return value


@record
class Updated:
    """What a repository has come to. `luet`: said as luet says it, for scripts that look for those words."""

    name: str
    revision: int
    last_update: str
    luet: bool = False

    def text(self) -> str:
        if self.luet:
            return f"Repository: {self.name} Revision: {self.revision} - {_date(self.last_update)}"
        return f"{self.name}: revision {self.revision}"


def update(client: PackageClient, names: tuple[str, ...], *, ignore_errors: bool) -> list[Updated]:
    """Fetches index, tree and meta of all at once; what each has come to, in their order.

    Without names that is of all that are enabled; as luet, of those that are cached: luet keeps nothing of others.
    What can be fetched is, whatever fails; one that does not answer has failed, whatever is known of it.
    Raises what syncing raises, and ConfigError for a name that is not known.
    """
    known = client.settings.repositories  # several may have one name: each is one that packages come from
    for name in names:
        if all(found.name != name for found in known):
            raise ConfigError(f"repository {name} not found", reason="no-repository")

    def fetch(found: ConfiguredRepository, events: EventSink) -> Updated:
        synced = client.sync(found.source, events, fresh=True)
        synced.known.listing()  # what is wrong with its file is said here
        return Updated(found.name, synced.index.revision, synced.index.last_update, found.rules.luet)

    wanted = [[f for f in known if f.name == name] for name in dict.fromkeys(names)]
    every = [f for f in known if f.enabled and (f.cached or not f.rules.luet)]
    chosen = [found for each in wanted for found in each] if names else every
    results = list(zip((found.name for found in chosen), client.ask(chosen, fetch), strict=True))
    failures = [(name, found) for name, found in results if isinstance(found, TreebuildError)]
    done = [found for _, found in results if not isinstance(found, TreebuildError)]
    if failures and not ignore_errors:
        for updated in done:
            client.events.emit(Said(updated.text()))
        return succeeded(results, client.events)
    for name, failure in failures:
        client.warn(f"{name}: {failure.message}")
    return done
