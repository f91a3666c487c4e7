"""What a template prints where a value is missing, and what to say of it where it does harm."""

from __future__ import annotations

NO_VALUE = "<no value>"


def novalue_hint(*texts: str) -> str | None:
    """A hint for texts that a template left a value out of; None for others."""
    if not any(NO_VALUE in text for text in texts):
        return None
    return f"a template prints {NO_VALUE} for a value that is not there: is a --values file missing?"
