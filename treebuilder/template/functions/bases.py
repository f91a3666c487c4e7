"""base64 and base32 as Go reads them: what is wrong is said with the byte at which Go notices it.

Source: https://pkg.go.dev/encoding/base64, https://pkg.go.dev/encoding/base32.
"""

from __future__ import annotations

import base64

from treebuilder.template.values import decoded

_ALPHABET64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
_ALPHABET32 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
_BREAKS = b"\r\n"
_PAD = ord("=")


def decode64(text: str) -> str:
    """The text that is encoded, or Go's words about what is wrong."""
    data = text.encode("utf-8", "surrogatepass")
    wrong = _wrong64(data)
    if wrong is not None:
        return f"illegal base64 data at input byte {wrong}"
    return decoded(base64.b64decode(data.translate(None, _BREAKS)))


def decode32(text: str) -> str:
    """The text that is encoded, or Go's words about what is wrong."""
    data = text.encode("utf-8", "surrogatepass").translate(None, _BREAKS)
    wrong = _wrong32(data)
    if wrong is not None:
        return f"illegal base32 data at input byte {wrong}"
    letters = data.partition(b"=")[0]  # Go does not look behind the padding
    return decoded(base64.b32decode(letters + b"=" * (-len(letters) % 8)))


def _wrong64(data: bytes) -> int | None:
    """Four letters at a time; line breaks between them do not count."""
    at, filled = 0, 0
    while at < len(data):
        char = data[at]
        at += 1
        if char in _ALPHABET64:
            filled = (filled + 1) % 4
        elif char in _BREAKS:
            continue
        elif char != _PAD or filled < 2:
            return at - 1
        else:
            return _wrong_end64(data, at, filled)
    return at - filled if filled else None


def _wrong_end64(data: bytes, at: int, filled: int) -> int | None:
    """What is wrong behind the first `=`."""
    if filled == 2:
        at = _behind_breaks(data, at)
        if at == len(data):
            return at
        if data[at] != _PAD:
            return at - 1
        at += 1
    at = _behind_breaks(data, at)
    return at if at < len(data) else None


def _behind_breaks(data: bytes, at: int) -> int:
    while at < len(data) and data[at] in _BREAKS:
        at += 1
    return at


def _wrong32(data: bytes) -> int | None:
    """Eight letters at a time."""
    for at, char in enumerate(data):
        filled, left = at % 8, len(data) - at - 1
        if char == _PAD and filled >= 2 and left < 8:
            if left + filled < 7:
                return len(data)
            for more in range(min(7 - filled, left)):
                if data[at + 1 + more] != _PAD:
                    return at + more
            return at if filled in (1, 3, 6) else None
        if char not in _ALPHABET32:
            return at
    return len(data) - len(data) % 8 if len(data) % 8 else None
