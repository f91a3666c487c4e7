"""How we come into a registry: the logins that docker and podman keep, and their helpers.

oras knows how one configuration is asked; which are asked, in what order, what they may hold, and how long a helper may
take, is ours: oras mixes several in random order and waits without end. Sources: docker's cli/config, podman's
containers-auth.json(5), docker-credential-helpers.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from treebuilder.annotations import Any
from treebuilder.errors import ConfigError, MissingProgram, Place, ToolFailed
from treebuilder.oci.reference import DOCKER_HUB
from treebuilder.records import record
from treebuilder.system.process import run

_DOCKER_HUB_LOGIN = "https://index.docker.io/v1/"
_HELPER_S = 60.0  # it may ask a person for a password
_TOKEN_USER = "<token>"  # noqa: S105 - says that the secret is an identity token
_NO_LOGIN = "credentials not found"  # the last words of a helper that has none, which is no fault
_HELPER = re.compile(r"[\w.-]+\Z", re.ASCII)


@record
class Login:
    """`basic` is the base64 of NAME:PASSWORD, `identity` a token that gets others; "" for none.

    `fault` says why a helper gave nothing, for whoever is not let in then.
    """

    basic: str = ""
    identity: str = ""
    fault: str = ""


def credentials(host: str, name: str) -> Login:
    """The login for a repository of a registry: that of the first file which has one. Raises ConfigError."""
    fault = ""
    for path in _files():
        found = _File(path).login(host, name)
        if found.basic or found.identity:
            return found
        fault = fault or found.fault
    return Login(fault=fault)


def _files() -> Iterator[str]:
    """Where logins are kept, the nearest first. Of docker's own, DOCKER_CONFIG stands for the one in the home."""
    chosen = os.environ.get("REGISTRY_AUTH_FILE")
    docker = os.environ.get("DOCKER_CONFIG")
    home = os.path.expanduser("~")
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.getuid()}"
    config = os.environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    found = [chosen] if chosen else []
    found += [f"{docker}/config.json"] if docker else []
    found += [f"{runtime}/containers/auth.json", f"{config}/containers/auth.json"]
    found += [] if docker else [f"{home}/.docker/config.json"]
    return (path for path in found if os.path.isfile(path))


class _File:
    """One file with logins. Raises ConfigError for one that cannot be read."""

    def __init__(self, path: str) -> None:
        self._path = path
        value = self._read()
        self._auths = {
            _place(key): self._map(item, key) for key, item in self._map(value.get("auths"), "auths").items()
        }
        self._helpers = self._map(value.get("credHelpers"), "credHelpers")
        self._store = value.get("credsStore") or ""

    def login(self, host: str, name: str) -> Login:
        from oras.utils import iter_localhosts

        hosts: Sequence[str] = [host] if host == DOCKER_HUB else list(iter_localhosts(host))
        parts = name.split("/")
        within = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
        for key in [*(f"{known}/{path}" for path in within for known in hosts), *hosts]:  # the nearest first
            found = self._kept(key)
            if found.basic or found.identity:
                return found
        for known in hosts:
            helper = self._helpers.get(known) or self._helpers.get(_asked(known)) or self._store
            if helper:
                return self._helped(helper, _asked(known))
        return Login()

    def _kept(self, key: str) -> Login:
        item = self._auths.get(key, {})
        basic, identity = item.get("auth") or "", item.get("identitytoken") or ""
        if not isinstance(basic, str) or not isinstance(identity, str):
            raise self._fault(f"the login of {key} is no text")
        try:
            user = base64.b64decode(basic, validate=True).decode().partition(":")[0]
        except ValueError as err:
            raise self._fault(f"the login of {key} is no base64 of NAME:PASSWORD") from err
        return Login("" if identity or user == _TOKEN_USER else basic, identity)

    def _helped(self, helper: object, host: str) -> Login:
        """What a helper of the machine knows, asked as oras asks it."""
        from oras.auth.token import TokenAuth

        if not isinstance(helper, str) or not _HELPER.match(helper):
            raise self._fault("the name of a helper for logins is no name")
        said: list[Login] = []

        def asked(suffix: str, hostname: str) -> str | None:
            said.append(_ask(f"docker-credential-{suffix}", hostname))
            return said[-1].basic or None

        auth = TokenAuth()
        auth._get_auth_from_creds_store = asked  # its own has no time limit, and tells nobody what failed
        auth._auth_config = {"auths": {}, "credHelpers": {host: helper}}
        auth._load_auth(host)
        return said[0] if said else Login()

    def _read(self) -> dict[str, Any]:
        try:
            data = Path(self._path).read_bytes()
            value = json.loads(data) if data.strip() else {}
        except (OSError, ValueError, RecursionError) as err:
            raise self._fault(str(err) or type(err).__name__) from err
        return self._map(value, "it")

    def _map(self, value: object, what: str) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise self._fault(f"{what} is no map")
        return value

    def _fault(self, why: str) -> ConfigError:
        return ConfigError(f"{self._path} with the logins of registries cannot be read: {why}", where=Place(self._path))


def _place(key: str) -> str:
    """What an entry is for: a host, or with podman a path in one. Docker also wrote whole URLs."""
    if "://" not in key:
        return key
    host = urlsplit(key).netloc
    return DOCKER_HUB if host in ("index.docker.io", "registry-1.docker.io") else host


def _asked(host: str) -> str:
    """A registry as helpers know it."""
    return _DOCKER_HUB_LOGIN if host == DOCKER_HUB else host


def _ask(program: str, host: str) -> Login:
    try:
        done = run([program, "get"], input=host.encode(), timeout_s=_HELPER_S, check=False)
    except (MissingProgram, ToolFailed) as err:
        return Login(fault=f"the helper for logins: {err.message}")
    text = done.stdout.decode(errors="replace").strip()
    if done.status:
        said = (text or " ".join(done.tail)).strip()
        return Login() if _NO_LOGIN in said else Login(fault=f"{program} failed: {said[-200:] or done.status}")
    try:
        value = json.loads(text)
        user, secret = value["Username"], value["Secret"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return Login(fault=f"{program} gave no login, though it said that all is well")
    if user == _TOKEN_USER:
        return Login(identity=str(secret))
    return Login(base64.b64encode(f"{user}:{secret}".encode()).decode())
