"""Whatever is changed of a signed index, of its signature or of the key, it is not believed any more."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treebuilder.errors import ConfigError, IntegrityError
from treebuilder.model.digest import Digest
from treebuilder.trust.faults import REASONS
from treebuilder.trust.index import Signing, Statement, believe, read_statement, signature_document
from treebuilder.trust.index import statement_bytes as written
from treebuilder.trust.keys import PrivateKey, new_key, read_public
from treebuilder.trust.policy import Trust

INDEX = b"name: r\nrevision: 7\nrepo_files: {}\n"
KEYS: dict[str, PrivateKey] = {key.public.type: key for key in (new_key(), new_key("ed25519"))}
SAID = Statement("r", "repository.yaml", Digest.of(INDEX), 7, 100)
MADE = {type: signature_document(SAID, Signing((key,), 100)) for type, key in KEYS.items()}


def believed(index: bytes, signature: bytes, type: str) -> None:
    trust = Trust((KEYS[type].public,))
    believe(index, signature, trust, (), reference="repository.yaml", name="r", now_s=1, what="r")


def flipped(data: bytes, at: int, by: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ by]) + data[at + 1 :]


@pytest.mark.parametrize("type", KEYS)
def test_every_byte_of_a_signature_counts(type: str) -> None:
    believed(INDEX, MADE[type], type)
    for at in range(len(MADE[type])):
        with pytest.raises(IntegrityError) as caught:
            believed(INDEX, flipped(MADE[type], at, 1), type)
        assert caught.value.reason in REASONS


@given(st.integers(0), st.integers(1, 255), st.sampled_from(sorted(KEYS)), st.booleans())
def test_a_flipped_byte_is_refused(at: int, by: int, type: str, of_index: bool) -> None:
    index, signature = INDEX, MADE[type]
    if of_index:
        index = flipped(index, at, by)
    else:
        signature = flipped(signature, at, by)
    with pytest.raises(IntegrityError) as caught:
        believed(index, signature, type)
    assert caught.value.reason in REASONS


@given(st.binary(max_size=300), st.sampled_from(sorted(KEYS)))
def test_anything_for_a_signature_is_one_clear_error(data: bytes, type: str) -> None:
    with pytest.raises(IntegrityError) as caught:
        believed(INDEX, data, type)
    assert caught.value.reason in REASONS


@settings(max_examples=50)
@given(st.integers(0), st.integers(1, 255), st.sampled_from(sorted(KEYS)))
def test_another_key_does_not_help(at: int, by: int, type: str) -> None:
    pem = flipped(KEYS[type].public.pem, at, by)
    try:
        key = read_public(pem, "k")
    except ConfigError:
        return
    if key != KEYS[type].public:
        with pytest.raises(IntegrityError):
            believe(
                INDEX, MADE[type], Trust((key,)), (), reference="repository.yaml", name="r", now_s=1, what="r"
            )  # fmt: skip


@given(
    st.builds(
        Statement, st.text(), st.text(), st.binary().map(Digest.of), st.integers(0, 1 << 52), st.integers(0, 1 << 52),
        st.integers(0, 16),
    )
)  # fmt: skip
def test_a_statement_is_read_as_it_was_written(said: Statement) -> None:
    assert read_statement(written(said), "r") == said
