"""What can be wrong with a signature, each fault with its own reason."""

from __future__ import annotations

from treebuilder.errors import IntegrityError

UNSIGNED = "unsigned"  # there is no signature at all
WRONG = "wrong-signature"  # there is one: broken, of other bytes, or of keys that are not trusted
ROLLED_BACK = "rolled-back"  # older than what was seen before
EXPIRED = "expired"
THRESHOLD = "threshold"  # right, of too few keys
REASONS = frozenset({UNSIGNED, WRONG, ROLLED_BACK, EXPIRED, THRESHOLD})


def fault(reason: str, message: str, hint: str | None = None) -> IntegrityError:
    """The error for one of `REASONS`."""
    return IntegrityError(message, reason=reason, hint=hint)
