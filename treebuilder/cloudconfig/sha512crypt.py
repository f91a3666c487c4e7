"""sha512-crypt (`$6$`), the hash of /etc/shadow. Python's `crypt` is gone since 3.13.

Source: https://www.akkadia.org/drepper/SHA-crypt.txt
"""

from __future__ import annotations

import hashlib
import hmac

_LETTERS = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ROUNDS = 5000
_LEAST, _MOST = 1000, 999_999_999
_SALT = 16  # characters that count


def hash_password(password: str, salt: str, rounds: int | None = None) -> str:
    """`$6$[rounds=N$]salt$hash`. Only the first 16 characters of the salt count."""
    key = password.encode()
    count = _ROUNDS if rounds is None else min(max(rounds, _LEAST), _MOST)
    short = salt.split("$")[0][:_SALT]
    digest = _digest(key, short.encode(), count)
    note = "" if rounds is None else f"rounds={count}$"
    return f"$6${note}{short}${_encode(digest)}"


def verify(password: str, hashed: str) -> bool:
    """Whether `hashed` is a sha512-crypt of `password`; False for every other kind of hash."""
    parts = hashed.split("$")
    if len(parts) not in (4, 5) or parts[:2] != ["", "6"]:
        return False
    rounds: int | None = None
    if len(parts) == 5:
        name, _, number = parts[2].partition("=")
        if name != "rounds" or not number.isdigit():
            return False
        rounds = int(number[:10])
    return hmac.compare_digest(hash_password(password, parts[-2], rounds), hashed)


def _digest(key: bytes, salt: bytes, rounds: int) -> bytes:
    other = hashlib.sha512(key + salt + key).digest()
    first = hashlib.sha512(key + salt + _repeat(other, len(key)))
    bits = len(key)
    while bits:
        first.update(other if bits & 1 else key)
        bits >>= 1
    digest = first.digest()
    p = _repeat(hashlib.sha512(key * len(key)).digest(), len(key))
    s = _repeat(hashlib.sha512(salt * (16 + digest[0])).digest(), len(salt))
    for index in range(rounds):
        step = hashlib.sha512(p if index & 1 else digest)
        if index % 3:
            step.update(s)
        if index % 7:
            step.update(p)
        step.update(digest if index & 1 else p)
        digest = step.digest()
    return digest


def _repeat(data: bytes, length: int) -> bytes:
    return (data * (length // len(data) + 1))[:length]


def _encode(digest: bytes) -> str:
    """The specification's own base64: 21 triples whose bytes stand 21 apart and rotate, then the last byte."""
    out = []
    for index in range(21):
        triple = [index, index + 21, index + 42]
        turn = index % 3
        a, b, c = triple[turn:] + triple[:turn]
        out.append(_letters(digest[a] << 16 | digest[b] << 8 | digest[c], 4))
    out.append(_letters(digest[63], 2))
    return "".join(out)


def _letters(value: int, count: int) -> str:
    return "".join(_LETTERS[value >> 6 * i & 63] for i in range(count))
