"""When a registry that refuses is asked again: after what it asks for, if that is not long, and never without end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from treebuilder.cli.main import main
from treebuilder.errors import TransportError
from treebuilder.model.digest import Digest
from treebuilder.oci.connection import TRIES
from treebuilder.oci.download import Downloader
from treebuilder.oci.remote import Repository
from treebuilder.oci.store import Store
from treebuilder.repository.fetching import Fetcher
from treebuilder.serve.exchange import Exchange, RefusedError
from treebuilder.serve.server import Listening, serving
from treebuilder.system.process import Cancel

pytestmark = pytest.mark.usefixtures("no_logins")

_LEAST_S, _MOST_S = 0.01, 60.0


class Busy:
    """Refuses so many requests, and then has a blob."""

    def __init__(self, status: int, after: Callable[[], str], times: int) -> None:
        self.status, self.after, self.left = status, after, times
        self.asked = 0

    def answer(self, exchange: Exchange) -> None:
        self.asked += 1
        if self.left > 0:
            self.left -= 1
            raise RefusedError(self.status, "TOOMANYREQUESTS", "later", {"Retry-After": self.after()})
        exchange.bytes(200, b"data", "application/octet-stream")


class Noting(Cancel):
    """Notes how long was to be waited, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []
        self.reasons: list[str] = []

    def pause(self, seconds: float, why: str = "") -> None:
        self.waits.append(seconds)
        self.reasons.append(why)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "store")
    yield made
    made.close()


def in_s(seconds: int) -> Callable[[], str]:
    """A date so far from now."""
    return lambda: format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


def said(text: str) -> Callable[[], str]:
    return lambda: text


def by_registry(address: str, store: Store, cancel: Cancel) -> None:
    Repository(address, "a", True, cancel).manifest_bytes("v1", None)


def by_download(address: str, store: Store, cancel: Cancel) -> None:
    Downloader(store, cancel).fetch(f"http://{address}/file", None)


def by_web_server(address: str, store: Store, cancel: Cancel) -> None:
    Fetcher(store, cancel, {}).fetch(f"http://{address}/file", Digest.of(b"data"), 100)


WAYS = pytest.mark.parametrize("way", [by_registry, by_download, by_web_server])


@WAYS
@pytest.mark.parametrize(
    ("after", "least", "most"),
    [
        (said("7"), 7, 7 * 1.3), (said("0"), 0, 0), (said("60"), 60, _MOST_S), (in_s(20), 18, 20 * 1.3),
        (in_s(-3600), 0, 0), (said("Sunday, 06-Nov-94 08:49:37 GMT"), 0, 0), (said("soon"), _LEAST_S, 3),
        (said("-5"), _LEAST_S, 3), (said(""), _LEAST_S, 3), (said("1e3"), _LEAST_S, 3),
    ],
)  # fmt: skip
def test_it_waits_for_as_long_as_it_is_asked_to(
    store: Store, way: Any, after: Callable[[], str], least: float, most: float
) -> None:
    cancel = Noting()
    site = Busy(429, after, 1)
    with serving(site, Listening("127.0.0.1", 0)) as address:
        way(address, store, cancel)
    assert site.asked == 2
    assert len(cancel.waits) == 1
    assert least <= cancel.waits[0] <= most


@WAYS
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "after", [said("61"), said("3600"), said("9" * 400), in_s(7200), said("Fri, 31 Dec 9999 23:59:59 GMT")]
)
def test_a_long_wait_is_told_and_not_waited_for(store: Store, way: Any, status: int, after: Callable[[], str]) -> None:
    cancel = Noting()
    site = Busy(status, after, 100)
    with (
        serving(site, Listening("127.0.0.1", 0)) as address,
        pytest.raises(TransportError, match=f"answered {status}, and asks to be left alone for") as caught,
    ):
        way(address, store, cancel)
    assert (site.asked, cancel.waits, caught.value.temporary) == (1, [], False)


@WAYS
@pytest.mark.parametrize(
    ("waits", "times", "told"), [("0", 1, [False]), ("7", 1, [True]), ("0", 3, [False, True, True])]
)
def test_who_waits_long_or_again_is_told_why(
    store: Store, way: Any, waits: str, times: int, told: list[bool]
) -> None:  # fmt: skip
    cancel = Noting()
    with serving(Busy(503, said(waits), times), Listening("127.0.0.1", 0)) as address:
        way(address, store, cancel)
    assert [bool(why) for why in cancel.reasons] == told
    for why in filter(None, cancel.reasons):
        assert address in why
        assert "answered 503; trying again in " in why


def test_the_command_line_says_why_it_waits(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with serving(Busy(503, said("0"), 100), Listening("127.0.0.1", 0)) as address:
        words = ["util", "unpack", f"{address}/a:v1", str(tmp_path / "root"), "--cache-dir", str(tmp_path / "cache")]
        assert main(words) == 2
    err = capsys.readouterr().err
    assert f"waiting: {address}/a" in err
    assert "answered 503; trying again in " in err


@WAYS
def test_it_does_not_ask_for_ever(store: Store, way: Any) -> None:
    cancel = Noting()
    site = Busy(503, said("1"), 100)
    with serving(site, Listening("127.0.0.1", 0)) as address, pytest.raises(TransportError, match="answered 503"):
        way(address, store, cancel)
    assert TRIES <= site.asked <= TRIES + 1
    assert len(cancel.waits) == site.asked - 1


class Tokens(Busy):
    """A registry that wants a token, from a place that refuses so many times."""

    address = ""

    def answer(self, exchange: Exchange) -> None:
        if exchange.path == "/token":
            if self.left > 0:
                self.left -= 1
                raise RefusedError(self.status, "UNKNOWN", "later", {"Retry-After": self.after()})
            exchange.json(200, {"token": "t"})
        elif exchange.headers.get("Authorization") != "Bearer t":
            challenge = f'Bearer realm="http://{self.address}/token",service="s"'
            raise RefusedError(401, "UNAUTHORIZED", "who are you?", {"WWW-Authenticate": challenge})
        else:
            exchange.json(200, {})


@pytest.mark.parametrize(("status", "times", "passes"), [(503, 2, True), (429, 1, True), (503, 100, False)])
def test_a_login_that_is_busy_is_tried_again(store: Store, status: int, times: int, passes: bool) -> None:
    site = Tokens(status, said("1"), times)
    with serving(site, Listening("127.0.0.1", 0)) as site.address:
        if passes:
            by_registry(site.address, store, Noting())
            return
        with pytest.raises(TransportError, match=f"the login at the registry failed: .* answered {status}") as caught:
            by_registry(site.address, store, Noting())
    assert caught.value.status == status


def test_a_login_that_says_no_is_not_tried_again(store: Store) -> None:
    site = Tokens(403, said("1"), 100)
    with serving(site, Listening("127.0.0.1", 0)) as site.address:
        with pytest.raises(TransportError, match="not allowed"):
            by_registry(site.address, store, Noting())
        assert site.left >= 98


def test_a_place_that_takes_nothing_is_named_as_one(store: Store) -> None:
    class Nothing:
        def answer(self, exchange: Exchange) -> None:
            exchange.forget_body()
            raise RefusedError(404, "NAME_UNKNOWN", "no such project")

    with (
        serving(Nothing(), Listening("127.0.0.1", 0)) as address,
        pytest.raises(TransportError, match=r"takes nothing there \(404\)"),
    ):
        Repository(address, "a", True, Noting()).push_small(b"data")
