"""Signatures of build records, so that whoever may write to a registry cannot hand out results.

A record's signature is an annotation of its manifest: an envelope over the tag and the digests of config and layers, so
that a registry and a folder hold it alike and nothing more is asked for. A signed record lies under a tag of its own
for each key too: nobody who was there first with an unsigned one keeps others from finding it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from treebuilder.annotations import Any
from treebuilder.errors import IntegrityError
from treebuilder.model.digest import Digest
from treebuilder.oci.layout import item_digest
from treebuilder.records import record
from treebuilder.trust.envelope import canonical, envelope_bytes, read_envelope, sealed
from treebuilder.trust.keys import PrivateKey, PublicKey

ANNOTATION = "dev.treebuild.signature"
_TYPE = "application/vnd.treebuild.record.v1+json"
_ID = 16  # digits of a key's id in a tag


@record
class RecordTrust:
    """`keys`: a record counts only if one of these has signed it; without any, every record does. `signers` sign."""

    keys: tuple[PublicKey, ...] = ()
    signers: tuple[PrivateKey, ...] = ()

    def asked(self, tag: str) -> tuple[str, ...]:
        """The tags under which a record that counts may lie."""
        return tuple(f"{tag}.{key.id[:_ID]}" for key in self.keys) if self.keys else (tag,)

    def written(self, tag: str) -> tuple[str, ...]:
        """The tags under which a record is put."""
        return (tag, *dict.fromkeys(f"{tag}.{key.public.id[:_ID]}" for key in self.signers))

    def sign(self, tag: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """The manifest with the signatures of all signers."""
        if not self.signers:
            return dict(manifest)
        envelope = sealed(_TYPE, _payload(tag, manifest), self.signers)
        return {**manifest, "annotations": {ANNOTATION: envelope_bytes(envelope).decode()}}

    def check(self, tag: str, manifest: Mapping[str, Any], what: str) -> None:
        """Raises IntegrityError for a record that none of the keys has signed."""
        if self.keys:
            _check(self.keys, tag, manifest, what)

    def is_ours(self, tag: str, manifest: Mapping[str, Any]) -> bool:
        """Whether all signers have signed a record that is there."""
        try:
            for key in self.signers:
                _check((key.public,), tag, manifest, tag)
        except IntegrityError:
            return False
        return True


ANYBODY = RecordTrust()


def _check(keys: tuple[PublicKey, ...], tag: str, manifest: Mapping[str, Any], what: str) -> None:
    notes = manifest.get("annotations")
    text = notes.get(ANNOTATION) if isinstance(notes, dict) else None
    if not isinstance(text, str):
        raise IntegrityError(f"{what} is not signed", reason="unsigned")
    envelope = read_envelope(text.encode("utf-8", "replace"), what)
    if envelope.type != _TYPE or envelope.payload != _payload(tag, manifest):
        raise IntegrityError(f"{what}: the signature is of another record", reason="wrong-signature")
    if not envelope.signers(keys):
        raise IntegrityError(f"{what} is signed by none of cache.keys", reason="wrong-signature")


def _payload(tag: str, manifest: Mapping[str, Any]) -> bytes:
    """What is signed: which record this is, and all of it. Raises IntegrityError."""
    layers = manifest.get("layers")
    if not isinstance(layers, list):
        raise IntegrityError("a record without layers", reason="wrong-signature")
    digest = str(item_digest(manifest.get("config"), tag))
    # A layer is its digest and its notes; those of ours are digests too, and JSON writes all of them one way.
    text = json.dumps(layers, sort_keys=True, separators=(",", ":"))
    return canonical({"record": tag, "config": digest, "layers": str(Digest.of(text.encode()))})
