"""Signed documents: DSSE envelopes, as in-toto, TUF's tools and sigstore write them.

Signed are type and bytes of the payload together, so a signature of one kind of document is none of another. An
envelope is only read in the one form in which we write it: not a byte of it may differ.

Source: https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Sequence

from treebuilder.annotations import Any
from treebuilder.records import record
from treebuilder.trust.faults import WRONG, fault
from treebuilder.trust.keys import MAX_SIGNATURE_BYTES, PrivateKey, PublicKey, verifies

MAX_ENVELOPE_BYTES = 16 << 10
MAX_SIGNATURES = 16


@record
class Envelope:
    """A payload and who says to have signed it: pairs of key id and signature. Nothing is verified yet."""

    type: str
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]

    def signers(self, keys: Iterable[PublicKey]) -> frozenset[str]:
        """The ids of those `keys` whose signature is right. A key counts once."""
        message = pae(self.type, self.payload)
        offered = dict(self.signatures)
        known = {key.id: key for key in keys}
        return frozenset(id for id, key in known.items() if id in offered and verifies(key, message, offered[id]))


def pae(type: str, payload: bytes) -> bytes:
    """What is signed: DSSE's pre-authentication encoding."""
    name = type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)


def canonical(value: object) -> bytes:
    """JSON with sorted keys, without spaces, in ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def sealed(type: str, payload: bytes, keys: Sequence[PrivateKey]) -> Envelope:
    """Signs for each key, in the order of their ids; one that is given twice signs once."""
    message = pae(type, payload)
    signers = {key.public.id: key for key in keys}
    return Envelope(type, payload, tuple((id, signers[id].sign(message)) for id in sorted(signers)))


def envelope_bytes(envelope: Envelope) -> bytes:
    """One line of JSON, without its end."""
    return canonical({
        "payload": _b64(envelope.payload),
        "payloadType": envelope.type,
        "signatures": [{"keyid": id, "sig": _b64(made)} for id, made in envelope.signatures],
    })  # fmt: skip


def read_envelope(data: bytes, what: str) -> Envelope:
    """Raises IntegrityError (reason "wrong-signature") for everything that `envelope_bytes` does not write."""
    if len(data) > MAX_ENVELOPE_BYTES:
        raise fault(WRONG, f"{what}: the signature is longer than {MAX_ENVELOPE_BYTES} bytes")
    value = read_json(data, what)
    try:
        items = value["signatures"]
        if not isinstance(items, list) or not 0 < len(items) <= MAX_SIGNATURES:
            raise ValueError("the number of signatures")
        pairs = tuple((str(item["keyid"]), _plain(item["sig"])) for item in items)
        if any(len(made) > MAX_SIGNATURE_BYTES for _, made in pairs) or len(dict(pairs)) < len(pairs):
            raise ValueError("the signatures")
        if not str(value["payloadType"]).isascii():
            raise ValueError("the type")
        found = Envelope(str(value["payloadType"]), _plain(value["payload"]), pairs)
    except (KeyError, TypeError, ValueError) as err:
        raise fault(WRONG, f"{what}: the signature is broken") from err
    if envelope_bytes(found) != data:
        raise fault(WRONG, f"{what}: the signature is not in the form in which signatures are written")
    return found


def read_json(data: bytes, what: str) -> dict[str, Any]:
    """A small JSON object. Raises IntegrityError (reason "wrong-signature")."""
    try:
        value = json.loads(data.decode("ascii"))
    except (ValueError, RecursionError) as err:
        raise fault(WRONG, f"{what}: the signature is no JSON") from err
    if not isinstance(value, dict):
        raise fault(WRONG, f"{what}: the signature is no JSON object")
    return value


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _plain(text: object) -> bytes:
    """Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError("no text")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as err:
        raise ValueError("no base64") from err
