"""How we come into a registry: Docker's credentials and their helpers, and the token dance, through oras."""

from __future__ import annotations

import os
from typing import Any

from treebuilder.errors import ConfigError
from treebuilder.oci.reference import DOCKER_HUB

_TIMEOUT_S = (15.0, 60.0)
_DOCKER_HUB_LOGIN = "https://index.docker.io/v1/"


def session_for(host: str, name: str, plain: bool) -> tuple[Any, Any]:
    """A session whose requests all have time limits, and oras's way to log in with Docker's credentials."""
    import logging
    from http.cookiejar import DefaultCookiePolicy

    import requests
    from oras.auth import get_auth_backend
    from oras.container import Container
    from oras.logger import logger

    class TimedSession(requests.Session):
        def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:  # noqa: ANN401
            kwargs.setdefault("timeout", _TIMEOUT_S)
            return super().request(method, url, *args, **kwargs)

    logger.set_level(logging.CRITICAL)  # it prints; what matters we raise
    session = TimedSession()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    auth = get_auth_backend("token", session, plain)
    key = _DOCKER_HUB_LOGIN if host == DOCKER_HUB else host
    container = Container(f"{host}/{name}")
    container.registry = key
    folder = os.environ.get("DOCKER_CONFIG", "")
    configs = [f"{folder}/config.json"] if folder and os.path.isfile(f"{folder}/config.json") else None
    try:
        auth.load_configs(container, configs)
    except ValueError as err:
        raise ConfigError(f"Docker's config.json with the logins of registries cannot be read: {err}") from err
    return session, auth
