"""The signature of a repository's index: what is signed, how it is written, and when it is believed.

Beside `repository.yaml` lies `repository.yaml.sig`: a line with the envelope of this index, and one with that of the
index before. It is written first and the index last, so whoever reads the index and then the signature finds a pair
that fits, at every instant of a publication, also of one that was killed.
"""

from __future__ import annotations

from collections.abc import Sequence

from treebuilder.errors import ConfigError, IntegrityError
from treebuilder.model.digest import Digest
from treebuilder.records import record
from treebuilder.trust.envelope import (
    MAX_ENVELOPE_BYTES,
    MAX_SIGNATURES,
    Envelope,
    canonical,
    envelope_bytes,
    read_envelope,
    read_json,
    sealed,
)
from treebuilder.trust.faults import EXPIRED, ROLLED_BACK, THRESHOLD, UNSIGNED, WRONG, fault
from treebuilder.trust.keys import PrivateKey
from treebuilder.trust.policy import Trust

MAX_BYTES = 4 * MAX_ENVELOPE_BYTES
PAYLOAD = "application/vnd.treebuild.repository.v1+json"
_SCHEMA = "treebuild.repository-signature/1"
_MAX_LINES = 4
_BIGGEST = 1 << 53  # what every JSON reader holds exactly


@record
class Statement:
    """What signers say of an index. `expires_s` is in epoch seconds, 0 for never; `threshold` keys must have signed.

    `repository` is the name in the index, `reference` the file it is read as: an index stands for no other one.
    """

    repository: str
    reference: str
    index: Digest
    revision: int
    expires_s: int
    threshold: int = 1


@record
class Signing:
    """How a repository is signed. More than one key while keys change, or where several must agree."""

    keys: tuple[PrivateKey, ...]
    expires_s: int = 0
    threshold: int = 1

    def check(self) -> None:
        """Raises ConfigError."""
        count = len({key.public.id for key in self.keys})
        if not 0 < count <= MAX_SIGNATURES:
            raise ConfigError(f"a repository is signed by 1 to {MAX_SIGNATURES} keys, not {count}")
        if not 0 < self.threshold <= count:
            raise ConfigError(f"{count} keys sign, and {self.threshold} would be needed", reason="threshold")


@record
class Seen:
    """The last that was believed of a repository."""

    revision: int
    index: Digest

    def text(self) -> bytes:
        return f"{self.revision} {self.index.hex}".encode()

    @staticmethod
    def parse(data: bytes) -> Seen:
        """Raises ValueError."""
        revision, _, index = data.decode().partition(" ")
        return Seen(int(revision), Digest(index))


@record
class Believed:
    """A statement that holds, and the trusted keys that made it."""

    statement: Statement
    signers: frozenset[str]


def statement_bytes(said: Statement) -> bytes:
    return canonical({
        "expires": said.expires_s, "index": {"sha256": said.index.hex}, "reference": said.reference,
        "repository": said.repository, "revision": said.revision, "schema": _SCHEMA, "threshold": said.threshold,
    })  # fmt: skip


def read_statement(data: bytes, what: str) -> Statement:
    """Raises IntegrityError (reason "wrong-signature") for everything that `statement_bytes` does not write."""
    value = read_json(data, what)
    try:
        numbers = [value[key] for key in ("revision", "expires", "threshold")]
        if any(type(number) is not int or not 0 <= number < _BIGGEST for number in numbers):
            raise ValueError("numbers")
        found = Statement(str(value["repository"]), str(value["reference"]), Digest(value["index"]["sha256"]), *numbers)
    except (KeyError, TypeError, ValueError) as err:
        raise fault(WRONG, f"{what}: what is signed is broken") from err
    if statement_bytes(found) != data:
        raise fault(WRONG, f"{what}: what is signed is no statement about a repository that is known here")
    return found


def signature_document(
    said: Statement, signing: Signing, before: bytes | None = None, present: Digest | None = None
) -> bytes:
    """The `.sig` file of an index. `before` is the file that is there, `present` the index that it lies beside.

    What is said of that index stays, so that it is believed until the new one takes its place. Raises ConfigError.
    """
    signing.check()
    others: dict[Digest, bytes] = {}
    for line in _lines(before or b"")[:_MAX_LINES]:
        try:
            others.setdefault(read_statement(read_envelope(line, "the signature before").payload, "it").index, line)
        except IntegrityError:
            continue  # somebody else's lines need not be kept
    others.pop(said.index, None)
    kept = [others[present]] if present in others else list(others.values())[:1]
    made = envelope_bytes(sealed(PAYLOAD, statement_bytes(said), signing.keys))
    return b"".join(line + b"\n" for line in [made, *kept])


def spoken_of(before: bytes | None) -> tuple[Seen, ...]:
    """The indexes that a `.sig` file speaks of. Nothing is verified: this is for those who publish."""
    found = []
    for line in _lines(before or b"")[:_MAX_LINES]:
        try:
            said = read_statement(read_envelope(line, "the signature").payload, "it")
            found.append(Seen(said.revision, said.index))
        except IntegrityError:
            continue
    return tuple(found)


def believe(
    index: bytes, signature: bytes | None, trust: Trust, seen: Sequence[Seen], *, reference: str, name: str,
    now_s: int, what: str,
) -> Believed:  # fmt: skip
    """Whether an index is to be believed, by the keys of `trust`, after what was `seen` before, at `now_s`.

    `name` is the repository that is meant, `what` is said in errors. The cost is bounded by `MAX_BYTES`.
    Raises IntegrityError, its reason one of `faults.REASONS`.
    """
    if not signature:
        raise fault(
            UNSIGNED, f"{what} is not signed, and {_keys(trust)} would have to", "treebuild create-repo --sign KEY"
        )
    if len(signature) > MAX_BYTES:
        raise fault(WRONG, f"{what}: the signature is longer than {MAX_BYTES} bytes")
    envelope = _about(Digest.of(index), signature, what)
    signers = envelope.signers(trust.keys)
    if not signers:
        names = ", ".join(id[:16] for id, _ in envelope.signatures)
        raise fault(
            WRONG, f"{what} is signed by none of the keys that are trusted (signed: {names})",
            "treebuild key show FILE prints the id of a key",
        )  # fmt: skip
    said = read_statement(envelope.payload, what)
    needed = max(trust.threshold, said.threshold)
    if len(signers) < needed:
        raise fault(THRESHOLD, f"{what} is signed by {len(signers)} of the trusted keys, and {needed} are needed")
    wanted = trust.name or name
    if said.repository != wanted or said.reference != reference:
        raise fault(
            WRONG, f"{what}: the signature is for {said.repository}/{said.reference}, not for {wanted}/{reference}",
            "if that is the repository you mean: trust: {name: …}, or its name in the configuration",
        )  # fmt: skip
    _not_older(said, seen, what)
    if said.expires_s and said.expires_s <= now_s:
        raise fault(
            EXPIRED, f"{what}: the signature expired {_ago(now_s - said.expires_s)} ago",
            "the publisher has to sign it again; an old state may be held up to hide a new one",
        )  # fmt: skip
    return Believed(said, signers)


def _about(index: Digest, signature: bytes, what: str) -> Envelope:
    """The envelope that speaks of this index. The first fault counts where none does."""
    failure: IntegrityError | None = None
    lines = _lines(signature)
    for line in lines[:_MAX_LINES]:
        try:
            envelope = read_envelope(line, what)
            if envelope.type != PAYLOAD:
                raise fault(WRONG, f"{what}: what is signed is no repository")
            if read_statement(envelope.payload, what).index == index:
                return envelope
        except IntegrityError as err:
            failure = failure or err
    raise failure or fault(
        WRONG, f"{what}: the signature is for another index than the one that is there",
        "the publisher may be in the middle of a change: try again",
    )  # fmt: skip


def _lines(data: bytes) -> list[bytes]:
    return [line for line in data.split(b"\n") if line]


def _not_older(said: Statement, seen: Sequence[Seen], what: str) -> None:
    for last in seen:
        if said.revision < last.revision:
            raise fault(
                ROLLED_BACK, f"{what} is at revision {said.revision}, and revision {last.revision} was seen before"
            )
        if said.revision == last.revision and said.index != last.index:
            raise fault(
                ROLLED_BACK, f"{what} is at revision {said.revision} as before, with another content",
                "revisions only grow where create-repo finds the last index in --output",
            )  # fmt: skip


def _keys(trust: Trust) -> str:
    ids = [key.id[:16] for key in trust.keys]
    return f"{trust.threshold} of {', '.join(ids)}" if len(ids) > 1 else f"the key {''.join(ids)}"


def _ago(seconds: int) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"
