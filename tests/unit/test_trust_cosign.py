"""What cosign reads: the payload, the `.sig` image and the bundle, byte for byte, and judged by openssl."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec

from treebuilder.errors import ConfigError, IntegrityError
from treebuilder.model.digest import Digest
from treebuilder.trust import cosign
from treebuilder.trust.envelope import pae
from treebuilder.trust.keys import PrivateKey, new_key, read_private

IMAGE = Digest("ab" * 32)
REFERENCE = "registry.example.org/team/repo"
PAYLOAD = (
    '{"critical":{"identity":{"docker-reference":"registry.example.org/team/repo"},"image":{"docker-manifest-digest":'
    f'"sha256:{"ab" * 32}"}},"type":"cosign container image signature"}},"optional":null}}'
).encode()


def golden_key() -> PrivateKey:
    """A key that everybody knows: its secret is 5."""
    key = ec.derive_private_key(5, ec.SECP256R1())
    return read_private(
        key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()), "the golden key"
    )


KEY = golden_key()


def accepted(folder: Path, message: bytes, signature: bytes) -> bool:
    """Whether openssl says what `cosign verify --key` would."""
    for name, data in (("pub", KEY.public.pem), ("message", message), ("made", signature)):
        (folder / name).write_bytes(data)
    words = ["openssl", "dgst", "-sha256", "-verify", "pub", "-signature", "made", "message"]
    return subprocess.run(words, cwd=folder, capture_output=True, check=False).returncode == 0


def test_the_payload_is_cosigns() -> None:
    assert cosign.cosign_payload(REFERENCE, IMAGE) == PAYLOAD
    assert cosign.signature_tag(IMAGE) == f"sha256-{'ab' * 32}.sig"


def test_signatures_stay_as_they_are() -> None:
    """RFC 6979: the same key signs the same bytes alike, today and tomorrow."""
    assert KEY.public.id == "dafc418eb082e83c76a48f0c526fe45e9ca4d4ecfa82366de3fccd37099fca01"
    assert (
        cosign.cosign_signature(PAYLOAD, KEY)
        == "MEYCIQDqHucWQ8hUKZQVgsx+KidRA7w7lWSCZtzSJZ9LYAwdKwIhAPYDcfhGn+b90rzL9WwLPFmwoJz0mwmFG15dJPonSJ8f"
    )
    assert (
        Digest.of(cosign.signature_image(PAYLOAD, ["c2ln"], IMAGE).manifest).hex
        == "2c1971cd6fd45abfb94ee4ba95df30b60c1a5211e0d6902804990af8c087ea9b"
    )
    made = cosign.bundle(IMAGE, KEY)
    assert Digest.of(made).hex == "734b45e8cb99a0497e09865b2f4708210ae7f3a20cdf98aa4391211eb7f9c4f6"
    assert (
        Digest.of(cosign.bundle_referrer(made, IMAGE, size=7).manifest).hex
        == "e37e95ff2b9239445530f762f92018c6d5f8aea364f7735121e903e17276719b"
    )


def test_openssl_accepts_both_forms(tmp_path: Path) -> None:
    assert accepted(tmp_path, PAYLOAD, base64.b64decode(cosign.cosign_signature(PAYLOAD, KEY)))
    envelope = json.loads(cosign.bundle(IMAGE, KEY))["dsseEnvelope"]
    message = pae(envelope["payloadType"], base64.b64decode(envelope["payload"]))
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    assert accepted(tmp_path, message, signature)
    assert not accepted(tmp_path, message + b" ", signature)


def test_the_image_names_its_blobs() -> None:
    signatures = [cosign.cosign_signature(PAYLOAD, KEY), cosign.cosign_signature(PAYLOAD, new_key())]
    made = cosign.signature_image(PAYLOAD, signatures, IMAGE)
    manifest = json.loads(made.manifest)
    named = [manifest["config"], *manifest["layers"]]
    assert {item["digest"]: item["size"] for item in named} == {str(Digest.of(b)): len(b) for b in made.blobs}
    assert [layer["annotations"][cosign.ANNOTATION] for layer in manifest["layers"]] == signatures
    assert {layer["mediaType"] for layer in manifest["layers"]} == {cosign.SIMPLE_SIGNING}
    assert made.tag == cosign.signature_tag(IMAGE)


def test_the_referrer_names_image_and_bundle() -> None:
    made = cosign.bundle(IMAGE, KEY)
    referrer = cosign.bundle_referrer(made, IMAGE, size=7)
    manifest = json.loads(referrer.manifest)
    assert (manifest["artifactType"], manifest["subject"]["digest"]) == (cosign.BUNDLE, str(IMAGE))
    assert [layer["digest"] for layer in manifest["layers"]] == [str(Digest.of(made))]
    assert {str(Digest.of(blob)) for blob in referrer.blobs} == {
        manifest["config"]["digest"], manifest["layers"][0]["digest"]
    }  # fmt: skip
    assert referrer.tag == ""


def test_who_signed_an_image() -> None:
    other = new_key()
    made, keys = cosign.cosign_signature(PAYLOAD, KEY), (KEY.public, other.public)
    assert cosign.check_signature(PAYLOAD, made, IMAGE, keys) == {KEY.public.id}
    assert cosign.check_signature(PAYLOAD, made, IMAGE, (other.public,)) == frozenset()
    assert cosign.check_signature(PAYLOAD + b" ", made, IMAGE, keys) == frozenset()
    for nonsense in ("", "!", "AAAA", "é"):
        assert cosign.check_signature(PAYLOAD, nonsense, IMAGE, keys) == frozenset()
    bundle = cosign.bundle(IMAGE, KEY)
    assert cosign.check_bundle(bundle, IMAGE, keys) == {KEY.public.id}
    assert cosign.check_bundle(bundle, IMAGE, (other.public,)) == frozenset()


def test_signatures_of_something_else_are_refused() -> None:
    another = Digest("cd" * 32)
    signed = [PAYLOAD.replace(b"cosign container", b"other container"), b"[]", b"\xff", b"[" * 9000]
    for payload in signed:
        with pytest.raises(IntegrityError) as caught:
            cosign.check_signature(payload, cosign.cosign_signature(payload, KEY), IMAGE, (KEY.public,))
        assert caught.value.reason == "wrong-signature"
    with pytest.raises(IntegrityError):
        cosign.check_signature(PAYLOAD, cosign.cosign_signature(PAYLOAD, KEY), another, (KEY.public,))
    with pytest.raises(IntegrityError):
        cosign.check_bundle(cosign.bundle(IMAGE, KEY), another, (KEY.public,))


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"dsseEnvelope":[]}', b'{"dsseEnvelope":{"payloadType":1}}', b"x" * 300_000]
)
def test_broken_bundles_are_refused(data: bytes) -> None:
    with pytest.raises(IntegrityError) as caught:
        cosign.check_bundle(data, IMAGE, (KEY.public,))
    assert caught.value.reason == "wrong-signature"


def test_every_byte_of_a_payload_counts() -> None:
    made = cosign.cosign_signature(PAYLOAD, KEY)
    for at in range(len(PAYLOAD)):
        changed = PAYLOAD[:at] + bytes([PAYLOAD[at] ^ 1]) + PAYLOAD[at + 1 :]
        assert not cosign.check_signature(changed, made, IMAGE, (KEY.public,))


def test_images_want_ecdsa() -> None:
    for sign in (lambda key: cosign.cosign_signature(PAYLOAD, key), lambda key: cosign.bundle(IMAGE, key)):
        with pytest.raises(ConfigError) as caught:
            sign(new_key("ed25519"))
        assert caught.value.reason == "key-type"


def test_how_many_are_needed() -> None:
    cosign.require(IMAGE, {"a", "b"}, 2)
    for signers, reason in (((), "unsigned"), (("a", "a"), "threshold")):
        with pytest.raises(IntegrityError) as caught:
            cosign.require(IMAGE, signers, 2)
        assert caught.value.reason == reason
