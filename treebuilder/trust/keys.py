"""Keys: ECDSA P-256, which cosign and openssl know too, and Ed25519 for our own index.

They are PEM: PKCS#8 (SEC1 is read too) and SubjectPublicKeyInfo, as `cosign import-key-pair` and `cosign verify --key`
take them. A key's id is the SHA-256 of its public part in DER: `openssl pkey -pubin -outform DER | sha256sum`.
"""

from __future__ import annotations

import hashlib

from treebuilder.annotations import Any, Literal
from treebuilder.errors import ConfigError
from treebuilder.records import record

KeyType = Literal["ecdsa-p256", "ed25519"]
TYPES: tuple[KeyType, ...] = ("ecdsa-p256", "ed25519")
MAX_KEY_BYTES = 16 << 10
MAX_SIGNATURE_BYTES = 128  # 72 in DER is the longest of a P-256 key


@record
class PublicKey:
    """Who may have signed. `pem` is in our own form, whatever was read; `id` are 64 hexadecimal characters."""

    id: str
    type: KeyType
    pem: bytes


class PrivateKey:
    """Who signs. Its text is no field, so that no report, log or traceback shows it."""

    def __init__(self, public: PublicKey, key: Any) -> None:  # noqa: ANN401 - a key of `cryptography`, loaded lazily
        self.public = public
        self._key = key

    def __repr__(self) -> str:
        return f"PrivateKey({self.public.id})"

    def pem(self) -> bytes:
        """PKCS#8, not encrypted: for a file that only its owner reads."""
        from cryptography.hazmat.primitives import serialization as form

        data: bytes = self._key.private_bytes(
            form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
        )  # fmt: skip
        return data

    def sign(self, data: bytes) -> bytes:
        """ECDSA over SHA-256 in DER, with the nonce of RFC 6979: equal input gives equal bytes. Else Ed25519."""
        made: bytes
        if self.public.type == "ed25519":
            made = self._key.sign(data)
            return made
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        try:
            made = self._key.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        except UnsupportedAlgorithm:  # OpenSSL before 3.2: a random nonce is as good
            made = self._key.sign(data, ec.ECDSA(hashes.SHA256()))
        return made


def new_key(type: KeyType = "ecdsa-p256") -> PrivateKey:
    """A fresh key. Raises ConfigError for a type that is not known."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    if type not in TYPES:
        raise ConfigError(f"unknown type of key {type!r}", hint=" or ".join(TYPES))
    key = ed25519.Ed25519PrivateKey.generate() if type == "ed25519" else ec.generate_private_key(ec.SECP256R1())
    return PrivateKey(_public(key.public_key(), "a fresh key"), key)


def read_private(data: bytes, what: str) -> PrivateKey:
    """A private key in PEM. Raises ConfigError (reason "bad-key", "encrypted-key"); `what` is said then."""
    _bounded(data, what)
    if b"BEGIN ENCRYPTED " in data or b"Proc-Type: 4,ENCRYPTED" in data:
        raise ConfigError(
            f"{what} is encrypted", reason="encrypted-key",
            hint="openssl pkey -in KEY -out PLAIN reads PKCS#8; keys of cosign's own form cannot be read",
        )  # fmt: skip
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(data, None)
    except Exception as err:  # ValueError, TypeError, UnsupportedAlgorithm, and what its Rust half raises
        raise _bad(what, "no private key in PEM") from err
    return PrivateKey(_public(key.public_key(), what), key)


def read_public(data: bytes, what: str) -> PublicKey:
    """A public key in PEM. Raises ConfigError (reason "bad-key"), also for a private one: it is in the wrong place."""
    _bounded(data, what)
    if b"PRIVATE KEY" in data:
        raise _bad(what, "a private key where a public one is meant", "treebuild key show FILE prints its public part")
    return _public(_loaded(data, what), what)


def _loaded(data: bytes, what: str) -> object:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        return load_pem_public_key(data)
    except Exception as err:
        raise _bad(what, "no public key in PEM") from err


def _bounded(data: bytes, what: str) -> None:
    if len(data) > MAX_KEY_BYTES:
        raise _bad(what, f"no key: it is longer than {MAX_KEY_BYTES} bytes")


def _bad(what: str, said: str, hint: str = "treebuild key new FILE makes a pair of keys") -> ConfigError:
    return ConfigError(f"{what} is {said}", reason="bad-key", hint=hint)


def _public(key: Any, what: str) -> PublicKey:  # noqa: ANN401 - any key of `cryptography`
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    kind: KeyType
    if isinstance(key, ed25519.Ed25519PublicKey):
        kind = "ed25519"
    elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        kind = "ecdsa-p256"
    else:
        raise _bad(what, "a key of another type than ECDSA P-256 and Ed25519")
    der = key.public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
    pem = key.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(hashlib.sha256(der).hexdigest(), kind, pem)


def verifies(key: PublicKey, data: bytes, signature: bytes) -> bool:
    """Whether `key` made `signature` of `data`. False for everything else, however broken."""
    if len(signature) > MAX_SIGNATURE_BYTES:
        return False
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    loaded = _loaded(key.pem, key.id)
    try:
        if isinstance(loaded, ed25519.Ed25519PublicKey):
            loaded.verify(signature, data)
        elif isinstance(loaded, ec.EllipticCurvePublicKey):
            loaded.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        else:
            return False
    except InvalidSignature:
        return False
    return True
