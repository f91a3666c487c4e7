"""Channels that are signed: the file is a DSSE envelope around the document."""

from __future__ import annotations

from treebuilder.records import record
from treebuilder.trust.envelope import envelope_bytes, read_envelope, sealed
from treebuilder.trust.faults import THRESHOLD, UNSIGNED, WRONG, fault
from treebuilder.trust.keys import PrivateKey, PublicKey

PAYLOAD = "application/vnd.treebuild.channel.v1+json"


@record
class Signed:
    """Implements `Seal`. At least `threshold` of `trusted` must have signed what is read."""

    keys: tuple[PrivateKey, ...]
    trusted: tuple[PublicKey, ...]
    threshold: int = 1

    def wrap(self, document: bytes) -> bytes:
        assert self.keys
        return envelope_bytes(sealed(PAYLOAD, document, self.keys))

    def unwrap(self, data: bytes, what: str) -> bytes:
        """Raises IntegrityError (reasons unsigned, wrong-signature, threshold)."""
        if not looks_signed(data):
            raise fault(UNSIGNED, f"{what} is not signed")
        envelope = read_envelope(data, what)
        if envelope.type != PAYLOAD:
            raise fault(WRONG, f"{what}: what is signed is no channel")
        signers = envelope.signers(self.trusted)
        if not signers:
            raise fault(WRONG, f"{what} is signed by nobody who is trusted")
        if len(signers) < self.threshold:
            raise fault(THRESHOLD, f"{what} is signed by {len(signers)} of the {self.threshold} that are needed")
        return envelope.payload


def missing_signers(before: bytes, after: bytes) -> tuple[str, ...]:
    """The ids of keys that signed one file of a channel and not the next one."""
    if not (looks_signed(before) and looks_signed(after)):
        return ()
    signed = [dict(read_envelope(data, "the channel").signatures) for data in (before, after)]
    return tuple(sorted(signed[0].keys() - signed[1].keys()))


def looks_signed(data: bytes) -> bool:
    """True for an envelope, whatever it is worth: documents are indented."""
    return data.startswith(b'{"payload":')
