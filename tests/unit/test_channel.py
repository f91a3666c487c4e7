"""Channels: who is offered what and when, what is refused of a document, and the verb that publishes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from tests import schemas
from tests.unit.repository_parts import Workshop, workshop
from treebuilder.channel.document import (
    MAX_DOCUMENT_BYTES,
    channel_bytes,
    channel_json,
    percentage,
    read_channel,
    share_of,
)
from treebuilder.channel.rules import (
    WHOLE,
    Channel,
    Counts,
    Limit,
    Step,
    Verdict,
    goes_back,
    must_halt,
    place,
    share_at,
    verdict,
)
from treebuilder.cli.main import main
from treebuilder.errors import IntegrityError
from treebuilder.model.digest import Digest
from treebuilder.records import replace
from treebuilder.trust.keys import read_public

CHANNEL = Channel(
    "stable", 3, "system/sampleOS", "s7", Digest.of(b"index"), "2.0", 1000, minimum_version="1.0", share=WHOLE
)


# who is offered what -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changed", "running", "place", "now", "expected"),
    [
        ({}, "1.0", 0, 500, Verdict.OFFERED),
        ({}, "2.0", 0, 500, Verdict.NOT_NEWER),
        ({}, "2.1", 0, 500, Verdict.NOT_NEWER),
        ({}, "0.9", 0, 500, Verdict.TOO_OLD),
        ({"halted": True}, "1.0", 0, 500, Verdict.HALTED),
        ({}, "1.0", 0, 1000, Verdict.EXPIRED),
        ({"not_before_epoch_s": 501}, "1.0", 0, 500, Verdict.NOT_YET),
        ({"not_before_epoch_s": 500}, "1.0", 0, 500, Verdict.OFFERED),
        ({"share": 250}, "1.0", 249, 500, Verdict.OFFERED),
        ({"share": 250}, "1.0", 250, 500, Verdict.NOT_IN_SHARE),
        ({"share": 0}, "1.0", 0, 500, Verdict.NOT_IN_SHARE),
        ({"share": 0, "critical": True}, "1.0", 0, 500, Verdict.NOT_IN_SHARE),
    ],
)
def test_verdicts(changed: dict[str, Any], running: str, place: int, now: int, expected: Verdict) -> None:
    assert verdict(replace(CHANNEL, **changed), running, place, now) is expected


def test_a_rollout_grows_by_its_steps() -> None:
    channel = replace(CHANNEL, share=0, steps=(Step(100, 100), Step(200, 1000), Step(300, WHOLE)))
    assert [share_at(channel, now) for now in (99, 100, 250, 300, 900)] == [0, 100, 1000, WHOLE, WHOLE]
    assert share_at(replace(channel, share=500), 150) == 500


def test_places_are_spread_evenly_and_anew_for_each_snapshot() -> None:
    machines = [f"{number:032x}" for number in range(20_000)]
    first = {machine for machine in machines if place(machine, "s7") < 1000}
    second = {machine for machine in machines if place(machine, "s8") < 1000}
    assert 1800 < len(first) < 2200
    assert 1800 < len(second) < 2200
    assert 130 < len(first & second) < 280
    assert place("4c9", "s7") == place("4c9", "s7")
    assert place("0" * 32, "s7") == 5111, "a device that changes its mind when we do would be offered everything twice"


@pytest.mark.parametrize(
    ("good", "failed", "limit", "halts"),
    [
        (0, 4, Limit(5, 200), False),
        (0, 5, Limit(5, 200), True),
        (245, 5, Limit(5, 200), True),
        (246, 5, Limit(5, 200), False),
        (0, 9999, Limit(), False),
        (10**6, 5, Limit(5, 0), True),
    ],
)
def test_too_many_failures_halt(good: int, failed: int, limit: Limit, halts: bool) -> None:
    assert must_halt(Counts(good, failed), limit) is halts


def test_an_older_document_is_not_believed() -> None:
    assert goes_back(4, CHANNEL)
    assert not goes_back(3, CHANNEL)


# documents -----------------------------------------------------------------------------------------------------------
@given(some.integers(0, WHOLE))
def test_shares_are_written_and_read(share: int) -> None:
    assert share_of(str(percentage(share))) == share


texts = some.text("abcXYZ019._-", min_size=1, max_size=9).map(lambda text: f"a{text}")
versions = some.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}", fullmatch=True)
steps = some.lists(some.tuples(some.integers(0, 1 << 40), some.integers(0, WHOLE)), max_size=5).map(
    lambda items: tuple(
        Step(at, share)
        for at, share in zip(sorted({at for at, _ in items}), sorted(share for _, share in items), strict=False)
    )
)
channels = some.builds(
    Channel, texts.map(str.lower), some.integers(0, 1 << 50), texts.map(lambda text: f"{text}/x"), texts,
    some.binary(max_size=4).map(Digest.of), versions, some.integers(0, 1 << 50), some.just("") | versions,
    some.integers(0, 1 << 50), some.integers(0, WHOLE), steps, some.booleans(), some.booleans(),
    some.text("ab c\"'\\é"),
    some.just("") | texts.map(lambda text: f"https://{text}"),
    some.builds(Limit, some.integers(0, 1 << 40), some.integers(0, WHOLE)),
)  # fmt: skip


@given(channels)
@settings(max_examples=60)
def test_documents_are_written_and_read(channel: Channel) -> None:
    assert read_channel(channel_bytes(channel), "c") == channel


def said(**changed: object) -> bytes:
    return json.dumps({**channel_json(CHANNEL), **changed}).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b"{" * 4000, b"9" * 8000, b'{"a":' * 1000,
        b" " * (MAX_DOCUMENT_BYTES + 1), channel_bytes(CHANNEL)[:-9],
        said(schema="treebuild.channel/2"), said(more=1), said(name="../x"), said(name="Stable"), said(name=""),
        said(name=7), said(revision=-1), said(revision=1.5), said(revision=True), said(revision=1 << 60),
        said(revision="1"), said(package="sampleOS"), said(package="x" * 300), said(snapshot="../../etc"),
        said(snapshot=""), said(snapshot="x/y"), said(index="sha256:abc"), said(index=None), said(version=""),
        said(version="none of it"), said(minimum_version="?"), said(expires="tomorrow"), said(expires=float("nan")),
        said(percentage=101), said(percentage=-1), said(percentage=1.234), said(percentage=1e300),
        said(percentage="5"), said(percentage=None), said(steps={}), said(steps=[1]), said(steps=[{"at": 1}]),
        said(steps=[{"at": 2, "percentage": 5}, {"at": 1, "percentage": 9}]),
        said(steps=[{"at": 1, "percentage": 9}, {"at": 2, "percentage": 5}]),
        said(steps=[{"at": at, "percentage": 1} for at in range(65)]), said(critical=1), said(halted="no"),
        said(halt_reason="a\nb"), said(report_url="file:///etc/passwd"), said(report_url="javascript:1"),
        said(halt_at={"failures": 1}), said(halt_at=[]),
        channel_bytes(CHANNEL).replace(b'"halted": false', b'"halted": false, "halted": true'),
    ],
)  # fmt: skip
def test_hostile_documents_are_one_error(data: bytes) -> None:
    with pytest.raises(IntegrityError) as caught:
        read_channel(data, "channel-stable.json")
    assert caught.value.reason == "bad-channel"
    assert "channel-stable.json" in caught.value.message
    assert len(caught.value.message) < 300


@given(some.binary(max_size=40), some.integers(0, 900))
@settings(max_examples=100)
def test_broken_documents_are_read_as_they_were_or_refused(junk: bytes, at: int) -> None:
    data = channel_bytes(CHANNEL)
    try:
        found = read_channel(data[:at] + junk + data[at + len(junk) :], "c")
    except IntegrityError:
        return
    assert read_channel(channel_bytes(found), "c") == found


# the verb ------------------------------------------------------------------------------------------------------------
@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    monkeypatch.chdir(tmp_path)
    with workshop(tmp_path) as made:
        for version in ("1.0", "2.0"):
            made.package("system/os", {"etc": None, "etc/v": version.encode()}, version=version)
            made.create(snapshot=f"s{version[0]}")
        yield made


def channel(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["channel", *words, "--cache-dir", "cache", "--json"]) == 0
    value: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert schemas.faults(value, schemas.load("channel")) == []
    return value


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["channel", *words, "--cache-dir", "cache", "--json"]) != 0
    out = capsys.readouterr().out
    return str(json.loads(out)["error"]["reason"])


PUBLISH = ("publish", "candidate", "--package", "system/os", "--snapshot")


def test_a_channel_is_published_promoted_rolled_out_and_halted(
    shop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    made = channel(capsys, *PUBLISH, "s1")
    said = made["channel"]
    assert (said["version"], said["revision"], said["percentage"]) == ("1.0", 1, 100)
    assert said["index"] == str(Digest.of((shop.build / "s1-repository.yaml").read_bytes()))
    made = channel(capsys, *PUBLISH, "s2", "--steps", "1@0h,12.5@6h,100@1d", "--report-url", "https://r.example/")
    assert "nothing will halt" in made["warnings"][0]
    assert made["percentage_now"] == 1
    one, two, three = made["channel"]["steps"]
    assert (two["at"] - one["at"], three["at"] - one["at"], two["percentage"]) == (6 * 3600, 86400, 12.5)
    made = channel(capsys, "promote", "candidate", "stable", "--percentage", "5", "--halt-at", "5:2%", "--critical")
    assert (made["channel"]["name"], made["channel"]["version"], made["channel"]["critical"]) == ("stable", "2.0", True)
    assert made["channel"]["halt_at"] == {"failures": 5, "percentage": 2}
    made = channel(capsys, "rollout", "stable", "--percentage", "50", "--report-url", "https://r.example/")
    assert (made["percentage_now"], made["channel"]["revision"], made["warnings"]) == (50, 2, [])
    made = channel(capsys, "halt", "stable", "--reason", "no network")
    assert (made["percentage_now"], made["channel"]["halt_reason"]) == (0, "no network")
    assert refused(capsys, "rollout", "stable", "--percentage", "60") == "halted"
    assert refused(capsys, "promote", "stable", "other") == "halted"
    made = channel(capsys, "rollout", "stable", "--percentage", "60", "--resume")
    assert (made["channel"]["halted"], made["percentage_now"]) == (False, 60)
    assert channel(capsys, "show", "stable") == made
    assert refused(capsys, "promote", "stable", "stable") == "usage"
    assert channel(capsys, "show", "stable") == made
    on_disk = read_channel((shop.build / "channel-stable.json").read_bytes(), "c")
    assert channel_json(on_disk) == made["channel"]


def test_what_is_refused(shop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, "show", "stable") == "no-channel"
    assert refused(capsys, "show", "../stable") == "channel-name"
    assert refused(capsys, *PUBLISH, "s3") == "no-snapshot"
    assert refused(capsys, *PUBLISH, "s1", "--version", "2.0") == "no-package"
    assert refused(capsys, "publish", "c", "--package", "system/none", "--snapshot", "s1") == "no-package"
    assert refused(capsys, *PUBLISH, "../s1") == "configuration"
    assert refused(capsys, "promote", "one") == "configuration"
    assert refused(capsys, "publish", "c") == "configuration"
    for flag, text in (
        ("--percentage", "101"), ("--percentage", "-1"), ("--percentage", "1.234"), ("--steps", "1"),
        ("--steps", "5@1h,1@2h"), ("--steps", "1@2h,5@1h"), ("--expires", "5"), ("--not-before", "tomorrow"),
        ("--halt-at", "many"),
    ):  # fmt: skip
        assert refused(capsys, *PUBLISH, "s1", f"{flag}={text}") == "configuration"
    assert refused(capsys, *PUBLISH, "s1", "--report-url", "file:///x") == "bad-channel"
    assert not list(shop.build.glob("channel-*"))
    channel(capsys, *PUBLISH, "s2")
    assert refused(capsys, *PUBLISH, "s1") == "goes-back"
    assert refused(capsys, "rollout", "candidate") == "configuration"
    (shop.build / "channel-other.json").write_bytes((shop.build / "channel-candidate.json").read_bytes())
    assert refused(capsys, "show", "other") == "bad-channel"
    assert refused(capsys, "show", "stable", "--repository", "nowhere") == "no-channel"
    assert refused(capsys, "halt", "stable", "--repository", "nowhere") == "no-repository"


def test_signed_channels(shop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("team", "other"):
        assert main(["key", "new", f"{name}.key", "--quiet"]) == 0
        capsys.readouterr()
    made = channel(capsys, *PUBLISH, "s1", "--sign", "team.key")
    file = shop.build / "channel-candidate.json"
    whole = file.read_bytes()
    assert channel(capsys, "show", "candidate", "--trust", "team.key.pub") == made
    assert refused(capsys, "show", "candidate", "--trust", "other.key.pub") == "wrong-signature"
    assert refused(capsys, "show", "candidate") == "signed"
    assert refused(capsys, "halt", "candidate") == "signed"
    assert refused(capsys, "halt", "candidate", "--trust", "team.key.pub") == "configuration"
    assert refused(capsys, "halt", "candidate", "--sign", "other.key") == "wrong-signature"
    assert file.read_bytes() == whole
    for broken in (whole[:-5], whole.replace(b"payloadType", b"payloadtype"), whole + b" "):
        file.write_bytes(broken)
        assert refused(capsys, "show", "candidate", "--trust", "team.key.pub") == "wrong-signature"
    file.write_bytes(channel_bytes(CHANNEL))
    assert refused(capsys, "show", "candidate", "--trust", "team.key.pub") == "unsigned"
    file.write_bytes(whole)
    made = channel(capsys, "halt", "candidate", "--sign", "other.key", "--sign", "team.key")
    assert made["channel"]["halted"]
    assert channel(capsys, "show", "candidate", "--trust", "other.key.pub") == made
    other = read_public(Path("other.key.pub").read_bytes(), "other").id
    capsys.readouterr()
    again = ("channel", "rollout", "candidate", "--resume", "--cache-dir", "cache", "--sign", "team.key")
    assert main([*again, "--sign", "other.key"]) == 0
    assert other not in capsys.readouterr().err
    assert main([*again, "--percentage", "5"]) == 0  # a device with a threshold of two would be left behind
    assert f"was signed by {other} too" in capsys.readouterr().err


def test_as_text(shop: Workshop, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["channel", *PUBLISH, "s2", "--cache-dir", "cache", "--not-before", "2030-01-02T03:04Z"]) == 0
    out = capsys.readouterr().out
    assert "system/os@2.0" in out
    assert "2030-01-02 03:04 UTC" in out
    assert "nothing will halt" in out
