"""How we come into a registry: Docker's credentials and their helpers, which oras knows to ask."""

from __future__ import annotations

import os

from treebuilder.errors import ConfigError
from treebuilder.oci.reference import DOCKER_HUB

_DOCKER_HUB_LOGIN = "https://index.docker.io/v1/"


def credentials(host: str, name: str) -> str:
    """The base64 of NAME:PASSWORD that Docker keeps for a registry; "" for none. Raises ConfigError."""
    import logging

    from oras.auth.token import TokenAuth
    from oras.container import Container
    from oras.logger import logger

    logger.set_level(logging.CRITICAL)  # it prints; what matters we raise
    auth = TokenAuth()
    container = Container(f"{host}/{name}")
    container.registry = _DOCKER_HUB_LOGIN if host == DOCKER_HUB else host
    folder = os.environ.get("DOCKER_CONFIG", "")
    configs = [f"{folder}/config.json"] if folder and os.path.isfile(f"{folder}/config.json") else None
    try:
        auth.load_configs(container, configs)
        found = getattr(auth, "_basic_auth", None) or ""
        if not isinstance(found, str):
            raise TypeError("a login that is no text")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OSError) as err:
        raise ConfigError(f"Docker's config.json with the logins of registries cannot be read: {err}") from err
    return found
