"""When the signature of a repository's index is believed, and each way in which it is not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from treebuilder.errors import ConfigError, IntegrityError
from treebuilder.model.digest import Digest
from treebuilder.records import replace
from treebuilder.trust.envelope import canonical, envelope_bytes, read_envelope, sealed
from treebuilder.trust.index import (
    MAX_BYTES,
    PAYLOAD,
    Believed,
    Seen,
    Signing,
    Statement,
    believe,
    read_statement,
    signature_document,
    spoken_of,
    statement_bytes,
)
from treebuilder.trust.keys import PrivateKey, new_key
from treebuilder.trust.policy import Trust

NOW = 1_800_000_000
INDEX = b"name: r\nrevision: 7\n"
OLD, NEW, OTHER = new_key(), new_key("ed25519"), new_key()
SAID = Statement("r", "repository.yaml", Digest.of(INDEX), 7, NOW + 60)
TRUST = Trust((OLD.public,))


def signed(*keys: PrivateKey, said: Statement = SAID, threshold: int = 1, before: bytes | None = None) -> bytes:
    chosen = keys or (OLD,)
    return signature_document(replace(said, threshold=threshold), Signing(chosen, said.expires_s, threshold), before)


def judged(
    signature: bytes | None, trust: Trust = TRUST, seen: Sequence[Seen] = (), *, index: bytes = INDEX,
    reference: str = "repository.yaml", now_s: int = NOW,
) -> Believed:  # fmt: skip
    return believe(index, signature, trust, seen, reference=reference, name="r", now_s=now_s, what="r")


def reason(signature: bytes | None, trust: Trust = TRUST, seen: Sequence[Seen] = (), **more: object) -> str:
    with pytest.raises(IntegrityError) as caught:
        judged(signature, trust, seen, **more)  # type: ignore[arg-type]
    return caught.value.reason


def test_a_right_signature_is_believed() -> None:
    assert judged(signed()) == Believed(SAID, frozenset({OLD.public.id}))


def test_both_keys_count_while_keys_change() -> None:
    made = signed(OLD, NEW)
    for keys in ((OLD,), (NEW,), (OLD, NEW), (NEW, OTHER)):
        trusted = Trust(tuple(key.public for key in keys))
        assert judged(made, trusted).signers == {key.public.id for key in keys if key is not OTHER}


def test_unsigned() -> None:
    assert reason(None) == reason(b"") == "unsigned"


def test_wrong_signatures() -> None:
    good = signed()
    wrong = {
        "another key": signed(OTHER),
        "another index": signed(said=replace(SAID, index=Digest.of(b"x"))),
        "another file": signed(said=replace(SAID, reference="s-repository.yaml")),
        "another repository": signed(said=replace(SAID, repository="q")),
        "too long": good + b"x" * MAX_BYTES,
        "no JSON": b"\xff\xfe",
        "deep": b"[" * 16_000,
        "a list": b"[]",
        "empty lines": b"\n\n\n",
        "other form": good.replace(b'":"', b'": "'),
        "a field more": good.replace(b'"payloadType"', b'"extra":1,"payloadType"'),
        "a field twice": good.replace(b'"payloadType"', b'"payload":"","payloadType"'),
        "another type": envelope_bytes(sealed("text/plain", statement_bytes(SAID), (OLD,))),
        "no signature": canonical({"payload": "", "payloadType": PAYLOAD, "signatures": []}),
        "numbers": canonical({"payload": 1, "payloadType": PAYLOAD, "signatures": [{"keyid": 1, "sig": 2}]}),
    }
    for name, made in wrong.items():
        assert reason(made) == "wrong-signature", name


def test_the_same_key_does_not_count_twice() -> None:
    twice = Trust((OLD.public, OLD.public), 2)
    assert reason(signed(OLD, OLD, OTHER), twice) == "threshold"
    line = signed(OLD).rstrip(b"\n")
    item = line[line.index(b'{"keyid"') : line.index(b"]")]
    assert reason(line.replace(item, item + b"," + item), twice) == "wrong-signature"


def test_too_few_keys() -> None:
    two = Trust((OLD.public, NEW.public), 2)
    assert reason(signed(OLD), two) == "threshold"
    assert reason(signed(OLD, OTHER), two) == "threshold"
    assert judged(signed(OLD, NEW), two).signers == {OLD.public.id, NEW.public.id}
    # what the publisher demands counts too
    assert reason(signed(OLD, NEW, threshold=2)) == "threshold"
    judged(signed(OLD, NEW, threshold=2), two)


def test_rolled_back() -> None:
    made = signed()
    assert reason(made, seen=[Seen(8, Digest.of(b"x"))]) == "rolled-back"
    assert reason(made, seen=[Seen(6, Digest.of(b"x")), Seen(9, Digest.of(b"x"))]) == "rolled-back"
    assert reason(made, seen=[Seen(7, Digest.of(b"x"))]) == "rolled-back"  # two indexes of one revision
    judged(made, seen=[Seen(7, Digest.of(INDEX)), Seen(6, Digest.of(b"x"))])


def test_expired() -> None:
    assert reason(signed(), now_s=NOW + 60) == "expired"
    judged(signed(), now_s=NOW + 59)
    judged(signed(said=replace(SAID, expires_s=0)), now_s=NOW * 100)


def test_a_name_of_ones_own_for_a_repository() -> None:
    made = signed(said=replace(SAID, repository="theirs"))
    judged(made, Trust((OLD.public,), name="theirs"))
    assert reason(signed(), Trust((OLD.public,), name="theirs")) == "wrong-signature"


def test_whoever_reads_between_two_writes_finds_a_pair() -> None:
    after = b"name: r\nrevision: 8\n"
    first = signed()
    both = signed(said=replace(SAID, index=Digest.of(after), revision=8), before=first)
    assert judged(both).statement.revision == 7
    assert judged(both, index=after).statement.revision == 8
    third = signed(said=replace(SAID, index=Digest.of(b"9"), revision=9), before=both)
    assert len(third.splitlines()) == 2
    assert reason(third) == "wrong-signature"
    # a publication that was killed before its index was written: the index that is there goes on to be believed
    ninth = replace(SAID, index=Digest.of(b"9"), revision=9)
    killed = signature_document(ninth, Signing((OLD,), SAID.expires_s), both, Digest.of(INDEX))
    assert judged(killed).statement.revision == 7
    # the same index signed again keeps what went before it
    again = signed(said=replace(SAID, index=Digest.of(after), revision=8, expires_s=NOW + 99), before=both)
    assert judged(again).statement.revision == 7
    assert judged(again, index=after).statement.expires_s == NOW + 99
    assert [seen.revision for seen in spoken_of(third)] == [9, 8]
    assert spoken_of(None) == spoken_of(b"nonsense\n") == ()
    assert len(signed(before=b"nonsense\n").splitlines()) == 1


def test_what_cannot_be_signed() -> None:
    for keys, threshold in (((), 1), ((OLD,), 2), ((OLD, OLD), 2), ((OLD,), 0)):
        with pytest.raises(ConfigError):
            Signing(keys, 0, threshold).check()


@pytest.mark.parametrize("change", [{"revision": -1}, {"revision": 1 << 60}, {"expires": 1.5}, {"threshold": True}])
def test_statements_of_no_sense(change: dict[str, object]) -> None:
    import json

    value = json.loads(statement_bytes(SAID)) | change
    with pytest.raises(IntegrityError):
        read_statement(canonical(value), "r")


def test_an_envelope_is_read_as_it_was_written() -> None:
    line = signed(OLD, NEW).rstrip(b"\n")
    assert envelope_bytes(read_envelope(line, "r")) == line
    assert Seen.parse(Seen(7, Digest.of(INDEX)).text()) == Seen(7, Digest.of(INDEX))
