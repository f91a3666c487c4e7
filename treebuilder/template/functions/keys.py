"""sprig's keys, certificates and ciphers. What is random in Go comes from the stream that starts from a seed.

So whoever has the tree can make the same keys: they are for tests and for what is public anyhow, as the documents say.
Sources: sprig's crypto functions, RFC 8017 (RSA), FIPS 186-5 B.3.2 (keys of curves), RFC 6979 (signatures).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from treebuilder.annotations import Any
from treebuilder.records import record
from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.lists import effort
from treebuilder.template.functions.signature import GoFunction, table
from treebuilder.template.functions.world import Randomness
from treebuilder.template.values import GoObject

_E = 65537
_CERTIFICATE_BITS, _KEY_BITS = 2048, 4096
_MOST_BITS = 16384  # of all keys of one rendering: 4096 take some seconds
_ROUNDS = 20  # of Miller and Rabin; a wrong prime is then less likely than a broken machine


@record
class Certificate(GoObject):
    """`cert` and `key` in PEM; templates say `.Cert` and `.Key`."""

    cert: str
    key: str

    go_type = "sprig.certificate"

    def go_field(self, name: str) -> object:
        return {"Cert": self.cert, "Key": self.key}[name]

    def go_text(self) -> str:
        return f"{{{self.cert} {self.key}}}"

    def go_marshal(self) -> object:
        return {"Cert": self.cert, "Key": self.key}


def keys(random: Randomness, epoch_s: int) -> dict[str, GoFunction]:
    """The functions over one stream. Certificates begin at `epoch_s`."""
    made = _Makers(random, epoch_s)
    return table(
        ("genPrivateKey", "string", made.private_key),
        ("genCA", "string int", lambda name, days: made.authority(name, days, made.rsa(_CERTIFICATE_BITS))),
        ("genCAWithKey", "string int string", lambda name, days, pem: made.authority(name, days, read_key(pem))),
        ("genSelfSignedCert", "string any any int",
         lambda name, ips, dns, days: made.alone(name, ips, dns, days, made.rsa(_CERTIFICATE_BITS))),
        ("genSelfSignedCertWithKey", "string any any int string",
         lambda name, ips, dns, days, pem: made.alone(name, ips, dns, days, read_key(pem))),
        ("genSignedCert", "string any any int any",
         lambda name, ips, dns, days, ca: made.signed(name, ips, dns, days, ca, made.rsa(_CERTIFICATE_BITS))),
        ("genSignedCertWithKey", "string any any int any string",
         lambda name, ips, dns, days, ca, pem: made.signed(name, ips, dns, days, ca, read_key(pem))),
        ("buildCustomCert", "string string", custom),
        ("encryptAES", "string string", made.encrypt),
        ("decryptAES", "string string", decrypt),
        ("derivePassword", "int string string string string", derive_password),
    )  # fmt: skip


class _Makers:
    def __init__(self, random: Randomness, epoch_s: int) -> None:
        self._random = random
        self._epoch_s = epoch_s
        self._bits = 0

    # keys -------------------------------------------------------------------------------------------------------
    def private_key(self, kind: str) -> str:
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519

        match kind:
            case "" | "rsa":
                return pem_of(self.rsa(_KEY_BITS))
            case "ecdsa":
                order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256
                return pem_of(ec.derive_private_key(1 + self._random.below(order - 1), ec.SECP256R1()))
            case "ed25519":
                return pem_of(ed25519.Ed25519PrivateKey.from_private_bytes(self._random.take(32)))
            case "dsa":
                raise TemplateFault("keys of DSA are not made any more: rsa, ecdsa or ed25519")
            case _:
                return f"Unknown type {kind}"

    def rsa(self, bits: int) -> Any:  # noqa: ANN401 - a key of cryptography's
        from cryptography.hazmat.primitives.asymmetric import rsa

        self._bits += bits
        if self._bits > _MOST_BITS:
            raise TemplateFault(f"keys of RSA with more than {_MOST_BITS} bits in all")
        while True:
            p, q = self._prime(bits // 2), self._prime(bits // 2)
            if p != q:
                break
        p, q = max(p, q), min(p, q)
        d = pow(_E, -1, (p - 1) * (q - 1))
        public = rsa.RSAPublicNumbers(_E, p * q)
        return rsa.RSAPrivateNumbers(
            p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q), public
        ).private_key()

    def _prime(self, bits: int) -> int:
        """A prime whose two highest bits are set, so that the product of two has all its bits."""
        while True:
            number = int.from_bytes(self._random.take(bits // 8), "big") | 3 << (bits - 2) | 1
            if all(number % small for small in _small_primes()) and (number - 1) % _E and self._is_prime(number):
                return number

    def _is_prime(self, number: int) -> bool:
        """Miller and Rabin. The first base is 2: it tells nearly all that are none."""
        odd, twos = number - 1, 0
        while not odd & 1:
            odd, twos = odd >> 1, twos + 1
        for turn in range(_ROUNDS):
            base = 2 if turn == 0 else 2 + self._random.below(number - 3)
            power = pow(base, odd, number)
            if power in (1, number - 1):
                continue
            for _ in range(twos - 1):
                power = power * power % number
                if power == number - 1:
                    break
            else:
                return False
        return True

    # certificates -----------------------------------------------------------------------------------------------
    def authority(self, name: str, days: int, key: Any) -> Certificate:  # noqa: ANN401
        return self._certificate(name, [], [], days, key, None, authority=True)

    def alone(self, name: str, ips: object, dns: object, days: int, key: Any) -> Certificate:  # noqa: ANN401
        return self._certificate(name, ips, dns, days, key, None)

    def signed(self, name: str, ips: object, dns: object, days: int, ca: object, key: Any) -> Certificate:  # noqa: ANN401
        if not isinstance(ca, Certificate):
            raise TemplateFault("the signer is no certificate")
        return self._certificate(name, ips, dns, days, key, ca)

    def _certificate(
        self, name: str, ips: object, dns: object, days: int, key: Any, ca: Certificate | None,  # noqa: ANN401
        *, authority: bool = False,
    ) -> Certificate:  # fmt: skip
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
        signer = None if ca is None else read_certificate(ca.cert)
        begin = datetime.fromtimestamp(self._epoch_s, UTC)
        usage = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
        try:
            builder = (
                x509.CertificateBuilder()
                .subject_name(subject)
                .issuer_name(subject if signer is None else signer.subject)
                .public_key(key.public_key())
                .serial_number(1 + self._random.below((1 << 128) - 1))
                .not_valid_before(begin)
                .not_valid_after(begin + timedelta(days=days))
                .add_extension(_usage(signs=authority), critical=True)
                .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
                .add_extension(x509.BasicConstraints(authority, None), critical=True)
            )
            names: list[x509.GeneralName] = [x509.DNSName(item) for item in _texts(dns, "alternate dns name")]
            names += [x509.IPAddress(ip_address(item)) for item in _texts(ips, "ip")]
            if names:
                builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not name)
            made = _sign(builder, key if ca is None else read_key(ca.key))
        except (ValueError, TypeError, OverflowError) as err:
            raise TemplateFault(f"no certificate: {err}") from err
        return Certificate(made.public_bytes(serialization.Encoding.PEM).decode(), pem_of(key))

    # ciphers ----------------------------------------------------------------------------------------------------
    def encrypt(self, password: str, text: str) -> str:
        if not text:
            return ""
        data = text.encode("utf-8", "surrogateescape")
        padding = 16 - len(data) % 16
        start = self._random.take(16)
        encryptor = _aes(password, start).encryptor()
        return base64.b64encode(start + encryptor.update(data + bytes([padding]) * padding)).decode()


def decrypt(password: str, text: str) -> str:
    """What `encryptAES` gave, read. Raises TemplateFault."""
    if not text:
        return ""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as err:
        raise TemplateFault("illegal base64 data") from err
    if len(data) < 32 or len(data) % 16:
        raise TemplateFault("this is no text of whole blocks")
    plain: bytes = _aes(password, data[:16]).decryptor().update(data[16:])
    if plain[-1] > len(plain):
        raise TemplateFault("the padding is wrong: another password?")
    return plain[: len(plain) - plain[-1]].decode("utf-8", "surrogateescape")


def _aes(password: str, start: bytes) -> Any:  # noqa: ANN401
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    key = password.encode("utf-8", "surrogateescape")[:32].ljust(32, b"\0")
    return Cipher(algorithms.AES(key), modes.CBC(start))


# reading and writing --------------------------------------------------------------------------------------------------
def pem_of(key: Any) -> str:  # noqa: ANN401
    """A private key in PEM, in the form that Go writes for its kind."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    old = isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    form = serialization.PrivateFormat.TraditionalOpenSSL if old else serialization.PrivateFormat.PKCS8
    data: bytes = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return data.decode()


def read_key(pem: str) -> Any:  # noqa: ANN401
    """A private key of PEM. Raises TemplateFault."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(pem.encode("utf-8", "surrogateescape"), None)
    except Exception as err:  # ValueError, TypeError, UnsupportedAlgorithm, and what its Rust half raises
        raise TemplateFault("error parsing private key: no private key in PEM that can be used") from err


def read_certificate(pem: str) -> Any:  # noqa: ANN401
    """A certificate of PEM. Raises TemplateFault."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(pem.encode("utf-8", "surrogateescape"))
    except Exception as err:  # as above
        raise TemplateFault("error parsing certificate: unable to decode certificate") from err


def custom(certificate: str, key: str) -> Certificate:
    """A certificate and its key, given as base64 of PEM. Raises TemplateFault."""
    found = []
    for text, what in ((certificate, "certificate"), (key, "private key")):
        try:
            found.append(base64.b64decode(text, validate=True).decode("utf-8", "surrogateescape"))
        except ValueError as err:
            raise TemplateFault(f"unable to decode base64 {what}") from err
    read_certificate(found[0])
    read_key(found[1])
    return Certificate(found[0], found[1])


def _texts(value: object, what: str) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise TemplateFault(f"error parsing {what}: a list of texts is wanted")
    return value


def _usage(*, signs: bool) -> Any:  # noqa: ANN401
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True, key_encipherment=True, key_cert_sign=signs, content_commitment=False,
        data_encipherment=False, key_agreement=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _sign(builder: Any, key: Any) -> Any:  # noqa: ANN401
    """Signs so that equal input gives equal bytes."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    if isinstance(key, ed25519.Ed25519PrivateKey):
        return builder.sign(key, None)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return builder.sign(key, hashes.SHA256(), ecdsa_deterministic=True)
    return builder.sign(key, hashes.SHA256())


_primes: list[int] = []


def _small_primes() -> list[int]:
    """Those below 10,000: nine in ten numbers are told by them."""
    if not _primes:
        for number in range(3, 10_000, 2):
            if all(number % known for known in _primes if known * known <= number):
                _primes.append(number)
    return _primes


# passwords ------------------------------------------------------------------------------------------------------------
# Source: the Master Password algorithm, version 3 (templates of its kinds of passwords, and their characters).
_KINDS = {
    "maximum": "anoxxxxxxxxxxxxxxxxx axxxxxxxxxxxxxxxxxno",
    "long": "CvcvnoCvcvCvcv CvcvCvcvnoCvcv CvcvCvcvCvcvno CvccnoCvcvCvcv CvccCvcvnoCvcv CvccCvcvCvcvno CvcvnoCvccCvcv "
    "CvcvCvccnoCvcv CvcvCvccCvcvno CvcvnoCvcvCvcc CvcvCvcvnoCvcc CvcvCvcvCvccno CvccnoCvccCvcv CvccCvccnoCvcv "
    "CvccCvccCvcvno CvcvnoCvccCvcc CvcvCvccnoCvcc CvcvCvccCvccno CvccnoCvcvCvcc CvccCvcvnoCvcc CvccCvcvCvccno",
    "medium": "CvcnoCvc CvcCvcno", "short": "Cvcn", "basic": "aaanaaan aannaaan aaannaaa", "pin": "nnnn",
}  # fmt: skip
_V, _C, _LOW_V, _LOW_C, _N = "AEIOU", "BCDFGHJKLMNPQRSTVWXYZ", "aeiou", "bcdfghjklmnpqrstvwxyz", "0123456789"
_LETTERS = _V + _LOW_V + _C + _LOW_C
_CHARACTERS = {
    "V": _V, "C": _C, "v": _LOW_V, "c": _LOW_C, "A": _V + _C, "a": _LETTERS, "n": _N,
    "o": "@&%?,=[]_:-+*$#!'^~;()/.", "x": f"{_LETTERS}{_N}!@#$%^&*()",
}  # fmt: skip
_DERIVING = 50_000  # a tenth of a second, so that a template has not many of them
_PURPOSE = b"com.lyndir.masterpassword"


def derive_password(counter: int, kind: str, password: str, user: str, site: str) -> str:
    """The password of a site, out of one for all. Raises TemplateFault for a counter that 32 bits do not hold."""
    if kind not in _KINDS:
        return f"cannot find password template {kind}"
    if not 0 <= counter < 1 << 32:
        raise TemplateFault(f"the counter {counter} is no uint32")
    effort.compared += _DERIVING
    secret, who, where = (text.encode("utf-8", "surrogateescape") for text in (password, user, site))
    salt = _PURPOSE + len(who).to_bytes(4, "big") + who
    key = hashlib.scrypt(secret, salt=salt, n=32768, r=8, p=2, dklen=64, maxmem=1 << 26)
    told = _PURPOSE + len(where).to_bytes(4, "big") + where + counter.to_bytes(4, "big")
    seed = hmac.digest(key, told, "sha256")
    forms = _KINDS[kind].split()
    form = forms[seed[0] % len(forms)]
    return "".join(_CHARACTERS[sign][seed[at] % len(_CHARACTERS[sign])] for at, sign in enumerate(form, 1))
