"""Names of sprig's that exist, so that a template parses, but that are refused when called."""

from __future__ import annotations

from collections.abc import Callable

from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.signature import GoFunction, table

_NETWORK = "a template does not ask the network: a build must not depend on it"
_CRYPTO = "keys, certificates and password hashes are not made while rendering: make them in a step or at first boot"
_NAMES = (
    "bcrypt htpasswd genPrivateKey genCA genCAWithKey genSelfSignedCert genSelfSignedCertWithKey genSignedCert "
    "genSignedCertWithKey buildCustomCert encryptAES decryptAES derivePassword"
)


def _refuse(why: str) -> Callable[..., object]:
    def run(*_: object) -> object:
        raise TemplateFault(why)

    return run


REFUSED: dict[str, GoFunction] = table(
    ("getHostByName", "any...", _refuse(_NETWORK)), (_NAMES, "any...", _refuse(_CRYPTO))
)
