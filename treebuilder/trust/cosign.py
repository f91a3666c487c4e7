"""Signatures of images in the two forms that cosign reads: the `.sig` tag, and a sigstore bundle as a referrer.

Both are made and judged with a key alone, without a transparency log: `cosign verify --key K --insecure-ignore-tlog`.
Only ECDSA P-256 is written, for that is what every version of cosign takes.

Source: https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md,
https://github.com/sigstore/protobuf-specs (bundle v0.3), https://github.com/in-toto/attestation (statement v1).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping

from treebuilder.errors import ConfigError
from treebuilder.model.digest import Digest
from treebuilder.records import record
from treebuilder.trust.envelope import canonical, pae, read_json, sealed
from treebuilder.trust.faults import THRESHOLD, UNSIGNED, WRONG, fault
from treebuilder.trust.keys import PrivateKey, PublicKey, verifies

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
ANNOTATION = "dev.cosignproject.cosign/signature"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
BUNDLE_ANNOTATIONS = {
    "dev.sigstore.bundle.content": "dsse-envelope",
    "dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1",
}
IMAGE_KEYS = "ecdsa-p256"  # the type of keys that sign images
MAX_PAYLOAD_BYTES = 64 << 10
MAX_BUNDLE_BYTES = 256 << 10
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_EMPTY_TYPE, _EMPTY = "application/vnd.oci.empty.v1+json", b"{}"
_KIND = "cosign container image signature"
_IN_TOTO = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = BUNDLE_ANNOTATIONS["dev.sigstore.bundle.predicateType"]
MAX_SIGNATURES = 16  # signatures of one manifest that are looked at


@record
class SignatureObject:
    """What is pushed: `blobs` first, then `manifest` under `tag`; a tag of "" is pushed by digest, as a referrer."""

    manifest: bytes
    blobs: tuple[bytes, ...]
    tag: str = ""


def signature_tag(image: Digest) -> str:
    """Where cosign looks for the signatures of an image, in the image's repository."""
    return f"sha256-{image.hex}.sig"


def cosign_payload(reference: str, image: Digest) -> bytes:
    """The simple signing document of an image. `reference` is its repository, without tag and digest."""
    identity, critical = {"docker-reference": reference}, {"docker-manifest-digest": str(image)}
    return canonical({"critical": {"identity": identity, "image": critical, "type": _KIND}, "optional": None})


def signs_images(key: PublicKey) -> None:
    """Raises ConfigError (reason "key-type") for a key that cosign may not know."""
    if key.type != IMAGE_KEYS:
        raise ConfigError(
            f"images are signed with ECDSA P-256, and the key {key.id[:16]} is {key.type}",
            reason="key-type", hint="treebuild key new FILE makes one; other keys sign indexes only",
        )  # fmt: skip


def cosign_signature(payload: bytes, key: PrivateKey) -> str:
    """In base64, as the annotation `ANNOTATION` holds it. Raises ConfigError as `signs_images`."""
    signs_images(key.public)
    return base64.b64encode(key.sign(payload)).decode()


def signature_image(
    payload: bytes, signatures: Iterable[str], image: Digest, others: Iterable[Mapping[str, object]] = ()
) -> SignatureObject:
    """The image under the `.sig` tag: a layer for each signature, all with the same payload.

    `others` are layers of the image that is there, which stay: signatures of other keys, whose blobs are there too.
    """
    made, kept = tuple(signatures), [dict(layer) for layer in others]
    digests = [str(layer["digest"]) for layer in kept] + [str(Digest.of(payload))] * len(made)
    config = canonical({
        "architecture": "", "config": {}, "created": "0001-01-01T00:00:00Z",
        "history": [{"created": "0001-01-01T00:00:00Z"} for _ in digests], "os": "",
        "rootfs": {"diff_ids": digests, "type": "layers"},
    })  # fmt: skip
    manifest = canonical({
        "schemaVersion": 2, "mediaType": _MANIFEST, "config": _descriptor(_CONFIG, config),
        "layers": kept + [
            {**_descriptor(SIMPLE_SIGNING, payload), "annotations": {ANNOTATION: each}} for each in made
        ],
    })  # fmt: skip
    return SignatureObject(manifest, (payload, config), signature_tag(image))


def bundle(image: Digest, key: PrivateKey) -> bytes:
    """A sigstore bundle: an in-toto statement about the image in a DSSE envelope. Raises ConfigError as above."""
    statement = canonical({
        "_type": _STATEMENT, "predicate": {}, "predicateType": _PREDICATE,
        "subject": [{"digest": {"sha256": image.hex}}],
    })  # fmt: skip
    cosign_signature(b"", key)  # the same keys as for the `.sig` tag
    envelope = sealed(_IN_TOTO, statement, (key,))
    ((_, signature),) = envelope.signatures
    return canonical({
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": _hint(key.public)}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(statement).decode(), "payloadType": _IN_TOTO,
            "signatures": [{"sig": base64.b64encode(signature).decode()}],
        },
    })  # fmt: skip


def bundle_referrer(made: bytes, image: Digest, *, size: int, media_type: str = _MANIFEST) -> SignatureObject:
    """The manifest that hangs a bundle on an image. `size` and `media_type` are those of the image's manifest."""
    manifest = canonical({
        "schemaVersion": 2, "mediaType": _MANIFEST, "artifactType": BUNDLE,
        "config": _descriptor(_EMPTY_TYPE, _EMPTY), "layers": [_descriptor(BUNDLE, made)],
        "subject": {"digest": str(image), "mediaType": media_type, "size": size},
        "annotations": BUNDLE_ANNOTATIONS,
    })  # fmt: skip
    return SignatureObject(manifest, (made, _EMPTY))


def check_signature(payload: bytes, signature: str, image: Digest, keys: Iterable[PublicKey]) -> frozenset[str]:
    """The ids of the keys that signed `payload`, which must speak of `image`; empty when none of `keys` did.

    Raises IntegrityError (reason "wrong-signature") when they signed for another image.
    """
    made = decoded(signature)
    if len(payload) > MAX_PAYLOAD_BYTES or made is None:
        return frozenset()
    signers = frozenset(key.id for key in keys if verifies(key, payload, made))
    if not signers:
        return signers
    try:
        critical = json.loads(payload)["critical"]
        right = critical["type"] == _KIND and critical["image"]["docker-manifest-digest"] == str(image)
    except (ValueError, KeyError, TypeError, RecursionError):
        right = False
    if not right:
        raise fault(WRONG, f"{image}: the signature is for something else")
    return signers


def check_bundle(data: bytes, image: Digest, keys: Iterable[PublicKey]) -> frozenset[str]:
    """As `check_signature`, for a bundle. Raises IntegrityError (reason "wrong-signature") when it is broken."""
    if len(data) > MAX_BUNDLE_BYTES:
        raise fault(WRONG, f"{image}: the bundle is longer than {MAX_BUNDLE_BYTES} bytes")
    value = read_json(data, str(image))
    try:
        inner = value["dsseEnvelope"]
        kind, payload = str(inner["payloadType"]), decoded(inner["payload"])
        made = [decoded(item["sig"]) for item in inner["signatures"][:MAX_SIGNATURES]]
        if payload is None or kind != _IN_TOTO:
            raise ValueError("the payload")
        statement = json.loads(payload)
        digests = [subject["digest"]["sha256"] for subject in statement["subject"]]
        predicate = statement["predicateType"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise fault(WRONG, f"{image}: the bundle is broken") from err
    message = pae(kind, payload)
    signers = frozenset(key.id for key in keys for each in made if each is not None and verifies(key, message, each))
    if signers and (image.hex not in digests or predicate != _PREDICATE):
        raise fault(WRONG, f"{image}: the bundle is for something else")
    return signers


def require(image: Digest, signers: Iterable[str], threshold: int) -> None:
    """Raises IntegrityError (reason "unsigned" or "threshold") where fewer than `threshold` keys signed an image."""
    count = len(set(signers))
    if not count:
        raise fault(UNSIGNED, f"{image} is signed by none of the keys that are trusted")
    if count < threshold:
        raise fault(THRESHOLD, f"{image} is signed by {count} of the trusted keys, and {threshold} are needed")


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": str(Digest.of(data)), "size": len(data)}


def _hint(key: PublicKey) -> str:
    """As sigstore names a key: its digest in base64."""
    return base64.b64encode(bytes.fromhex(key.id)).decode()


def decoded(text: object) -> bytes | None:
    """Bytes of a signature or payload in base64; None for what is none, or too long."""
    if not isinstance(text, str) or len(text) > MAX_PAYLOAD_BYTES * 2:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
