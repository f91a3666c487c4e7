"""Keys: what openssl reads of ours, what we read of openssl's, what is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from treebuilder.errors import ConfigError
from treebuilder.trust.envelope import envelope_bytes, pae, read_envelope, sealed
from treebuilder.trust.keys import TYPES, KeyType, new_key, read_private, read_public, verifies

DATA = b"what is signed"


def openssl(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["openssl", *words], input=stdin, capture_output=True, check=False)


@pytest.mark.parametrize("type", TYPES)
def test_a_key_survives_its_file(type: KeyType) -> None:
    key = new_key(type)
    again = read_private(key.pem(), "k")
    public = read_public(key.public.pem, "k.pub")
    assert again.public == public == key.public
    assert public.type == type
    assert verifies(public, DATA, again.sign(DATA))
    assert not verifies(public, DATA + b"!", again.sign(DATA))
    assert not verifies(new_key(type).public, DATA, again.sign(DATA))
    assert "PRIVATE" not in repr(key)


def test_equal_input_gives_equal_signatures() -> None:
    key = new_key()
    assert key.sign(DATA) == key.sign(DATA)


def test_an_id_is_what_openssl_says() -> None:
    key = new_key().public
    der = openssl("pkey", "-pubin", "-outform", "DER", stdin=key.pem).stdout
    assert openssl("dgst", "-sha256", "-r", stdin=der).stdout.split()[0].decode() == key.id


def test_openssl_verifies_an_envelope_as_cosign_would(tmp_path: Path) -> None:
    key = new_key()
    envelope = read_envelope(envelope_bytes(sealed("text/plain", DATA, (key,))), "x")
    for name, data in {
        "key.pub": key.public.pem, "made": envelope.signatures[0][1], "message": pae("text/plain", DATA),
        "other": pae("text/plain", DATA + b"!"),
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(data)
    words = ("dgst", "-sha256", "-verify", str(tmp_path / "key.pub"), "-signature", str(tmp_path / "made"))
    assert openssl(*words, str(tmp_path / "message")).stdout == b"Verified OK\n"
    assert openssl(*words, str(tmp_path / "other")).returncode == 1


def test_openssl_verifies_ed25519(tmp_path: Path) -> None:
    key = new_key("ed25519")
    (tmp_path / "key.pub").write_bytes(key.public.pem)
    (tmp_path / "made").write_bytes(key.sign(DATA))
    (tmp_path / "data").write_bytes(DATA)
    words = ("pkeyutl", "-verify", "-pubin", "-inkey", str(tmp_path / "key.pub"), "-rawin", "-in")
    assert openssl(*words, str(tmp_path / "data"), "-sigfile", str(tmp_path / "made")).returncode == 0


@pytest.mark.parametrize("form", ["pkcs8", "sec1"])
def test_keys_of_openssl_are_read(form: str, tmp_path: Path) -> None:
    sec1 = openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout").stdout
    assert b"BEGIN EC PRIVATE KEY" in sec1
    pem = sec1 if form == "sec1" else openssl("pkcs8", "-topk8", "-nocrypt", stdin=sec1).stdout
    key = read_private(pem, "k")
    (tmp_path / "key").write_bytes(pem)
    (tmp_path / "data").write_bytes(DATA)
    made = openssl("dgst", "-sha256", "-sign", str(tmp_path / "key"), str(tmp_path / "data")).stdout
    assert verifies(key.public, DATA, made)


def test_keys_that_cannot_be_used_are_refused() -> None:
    rsa = openssl("genrsa", "2048").stdout
    curve = openssl("ecparam", "-name", "secp384r1", "-genkey", "-noout").stdout
    shut = openssl("pkcs8", "-topk8", "-passout", "pass:x", stdin=new_key().pem()).stdout
    assert b"ENCRYPTED" in shut
    for data, reason in (
        (rsa, "bad-key"), (curve, "bad-key"), (shut, "encrypted-key"), (b"", "bad-key"), (b"\xff" * 99, "bad-key"),
        (new_key().pem()[:-60], "bad-key"), (b"x" * 20_000, "bad-key"), (new_key().public.pem, "bad-key"),
    ):  # fmt: skip
        with pytest.raises(ConfigError) as caught:
            read_private(data, "the key k")
        assert (caught.value.reason, caught.value.message[:9]) == (reason, "the key k")
    for data in (new_key().pem(), b"", b"\0" * 50, openssl("pkey", "-pubout", stdin=rsa).stdout):
        with pytest.raises(ConfigError) as caught:
            read_public(data, "k")
        assert caught.value.reason == "bad-key"


@pytest.mark.parametrize("made", [b"", b"\x30", b"\x30\x06\x02\x01\x00\x02\x01\x00", b"\0" * 64, b"x" * 5000])
@pytest.mark.parametrize("type", TYPES)
def test_nonsense_is_no_signature(type: KeyType, made: bytes) -> None:
    assert not verifies(new_key(type).public, DATA, made)
