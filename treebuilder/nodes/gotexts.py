"""Numbers and truths as ghodss/yaml, through which luet reads YAML, writes them where a text is due, and keys."""

from __future__ import annotations

import math
import struct

_FEWEST, _MOST = -4, 6  # powers of ten that are written without an exponent


def go_text(value: bool | int | float) -> str:
    """What `strconv` makes of it; floats as `FormatFloat(value, 'g', -1, 32)`: with the precision of 32 bits."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    wanted = _as_float32(value)
    if math.isnan(wanted):
        return "NaN"
    if math.isinf(wanted):
        return "+Inf" if wanted > 0 else "-Inf"
    written = next(text for digits in range(9) if _as_float32(float(text := f"{wanted:.{digits}e}")) == wanted)
    mantissa, _, exponent = written.partition("e")
    if _FEWEST <= int(exponent) < _MOST:
        return f"{float(written):.{max(len(mantissa.replace('-', '').replace('.', '')) - 1 - int(exponent), 0)}f}"
    return written


def _as_float32(value: float) -> float:
    try:
        (found,) = struct.unpack("<f", struct.pack("<f", value))
    except OverflowError:
        return math.copysign(math.inf, value)
    return float(found)
