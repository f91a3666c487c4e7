"""Names of sprig's that exist, so that a template parses, but that are refused when called."""

from __future__ import annotations

from collections.abc import Callable

from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.signature import GoFunction, table

_NETWORK = "a template does not ask the network: a build must not depend on it"
_CRYPTO = "hashes of passwords are not made while rendering: make them in a step or at first boot"


def _refuse(why: str) -> Callable[..., object]:
    def run(*_: object) -> object:
        raise TemplateFault(why)

    return run


REFUSED: dict[str, GoFunction] = table(
    ("getHostByName", "any...", _refuse(_NETWORK)), ("bcrypt htpasswd", "any...", _refuse(_CRYPTO))
)
