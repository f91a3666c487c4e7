"""Keys and certificates in templates: of a seed, so equal trees say the same, and good ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from treebuilder.errors import SpecError
from treebuilder.template import Templates

EPOCH = 1_700_000_000


def render(text: str, seed: bytes = b"s") -> str:
    return Templates(epoch_s=EPOCH, seed=seed).render(text, {}, file="f")


def parts(text: str, seed: bytes = b"s") -> tuple[x509.Certificate, rsa.RSAPrivateKey]:
    certificate, key = render(f"{{{{ $c := {text} }}}}{{{{ $c.Cert }}}}|{{{{ $c.Key }}}}", seed).split("|")
    found = load_pem_private_key(key.encode(), None)
    assert isinstance(found, rsa.RSAPrivateKey)
    return x509.load_pem_x509_certificate(certificate.encode()), found


def test_a_large_key_is_good() -> None:
    key = load_pem_private_key(render('{{ genPrivateKey "" }}').encode(), None)  # checks the numbers, too
    assert isinstance(key, rsa.RSAPrivateKey)
    assert (key.key_size, key.public_key().public_numbers().e) == (4096, 65537)
    key.public_key().verify(
        key.sign(b"x", padding.PKCS1v15(), hashes.SHA256()), b"x", padding.PKCS1v15(), hashes.SHA256()
    )


@pytest.mark.parametrize(
    ("kind", "type"), [("ecdsa", ec.EllipticCurvePrivateKey), ("ed25519", ed25519.Ed25519PrivateKey)]
)
def test_small_keys(kind: str, type: type) -> None:
    text = f'{{{{ genPrivateKey "{kind}" }}}}'
    assert render(text) == render(text) != render(text, b"other")
    assert isinstance(load_pem_private_key(render(text).encode(), None), type)


def test_primes_are_drawn_anew_for_each_key() -> None:
    found = [parts('genCA "a" 1', seed)[1].private_numbers() for seed in (b"a", b"b")]
    assert len({number for item in found for number in (item.p, item.q)}) == 4


def test_an_authority_signs() -> None:
    text = (
        '{{ $ca := genCA "my ca" 365 }}'
        '{{ $c := genSignedCert "host" (list "10.0.0.1" "::1") (list "a.example") 30 $ca }}'
        "{{ $ca.Cert }}|{{ $c.Cert }}|{{ $c.Key }}"
    )
    assert render(text) == render(text)
    authority, certificate, key = render(text).split("|")
    ca, made = (x509.load_pem_x509_certificate(pem.encode()) for pem in (authority, certificate))
    made.verify_directly_issued_by(ca)
    ca.verify_directly_issued_by(ca)
    assert made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "host"
    begin = datetime.fromtimestamp(EPOCH, UTC).replace(tzinfo=None)
    assert made.not_valid_before_utc.replace(tzinfo=None) == begin
    assert made.not_valid_after_utc - made.not_valid_before_utc == timedelta(days=30)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1", "::1"]
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert ca.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert set(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == {
        ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH,
    }  # fmt: skip
    loaded = load_pem_private_key(key.encode(), None)
    assert loaded.public_key() == made.public_key()


@pytest.mark.parametrize("kind", ["ecdsa", "ed25519"])
def test_certificates_of_given_keys_are_equal_each_time(kind: str) -> None:
    text = f'{{{{ (genSelfSignedCertWithKey "a" nil nil 1 (genPrivateKey "{kind}")).Cert }}}}'
    assert render(text) == render(text)
    made = x509.load_pem_x509_certificate(render(text).encode())
    made.verify_directly_issued_by(made)


def test_ciphers_are_of_the_seed() -> None:
    text = '{{ encryptAES "k" "text" }}'
    assert render(text) == render(text) != render(text, b"other")
    assert render('{{ decryptAES "k" (encryptAES "k" "text") }}') == "text"


@pytest.mark.parametrize(
    "call",
    [
        'genPrivateKey "dsa"', 'genCA "a" 1000000000', 'decryptAES "k" "AAAA"', 'genCA "a" -1',
        "range until 9 }}{{ genCA \"a\" 1 }}{{ end",
    ],
)  # fmt: skip
def test_what_cannot_be_made(call: str) -> None:
    with pytest.raises(SpecError) as caught:
        render(f"{{{{ {call} }}}}")
    assert caught.value.reason == "template"
