"""sprig's random functions. They draw from a stream that starts from a seed: equal builds draw equal values."""

from __future__ import annotations

import base64

from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.signature import GoFunction, table
from treebuilder.template.functions.world import Randomness
from treebuilder.template.values import MAX_TEXT

_DIGITS = "0123456789"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ASCII = "".join(chr(code) for code in range(32, 127))


def randoms(random: Randomness) -> dict[str, GoFunction]:
    """The random functions over one stream."""

    def text(count: int, letters: str) -> str:
        if not 0 <= count <= MAX_TEXT >> 4:
            raise TemplateFault(f"{count} random characters")
        return "".join(letters[random.below(len(letters))] for _ in range(count))

    def between(least: int, limit: int) -> int:
        if limit <= least:
            raise TemplateFault(f"no number from {least} up to {limit}")
        return least + random.below(limit - least)

    def raw(count: int) -> str:
        if not 0 <= count <= MAX_TEXT >> 4:
            raise TemplateFault(f"{count} random bytes")
        return base64.b64encode(random.take(count)).decode()

    def uuid() -> str:
        data = bytearray(random.take(16))
        data[6] = data[6] & 0x0F | 0x40
        data[8] = data[8] & 0x3F | 0x80
        digits = data.hex()
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def shuffle(value: str) -> str:
        letters = list(value)
        for index in range(len(letters) - 1, 0, -1):
            other = random.below(index + 1)
            letters[index], letters[other] = letters[other], letters[index]
        return "".join(letters)

    return table(
        ("randAlphaNum", "int", lambda count: text(count, _DIGITS + _LETTERS)),
        ("randAlpha", "int", lambda count: text(count, _LETTERS)),
        ("randNumeric", "int", lambda count: text(count, _DIGITS)),
        ("randAscii", "int", lambda count: text(count, _ASCII)),
        ("randInt", "int int", between),
        ("randBytes", "int", raw),
        ("uuidv4", "", uuid),
        ("shuffle", "string", shuffle),
    )
