"""Cookies that servers give are neither kept nor sent back, also when they come with a redirect."""

from __future__ import annotations

import pytest

from treebuilder.oci.remote import Repository
from treebuilder.oci.session import new_session
from treebuilder.serve.exchange import Exchange
from treebuilder.serve.server import Listening, serving
from treebuilder.system.process import Cancel


class Baker:
    """Gives a cookie with everything, and notes those that come back."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.back: list[str] = []

    def answer(self, exchange: Exchange) -> None:
        self.paths.append(exchange.path)
        self.back += exchange.headers.get_all("Cookie", [])
        where = {} if exchange.path.endswith("to") else {"location": "/v2/a/b/manifests/to"}
        exchange.bytes(307 if where else 200, b"{}", "application/json", set_cookie="who=you; Path=/", **where)


def test_cookies_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    baker = Baker()
    with serving(baker, Listening("127.0.0.1", 0)) as address:
        place = Repository(address, "a/b", True, Cancel())
        for _ in range(2):
            place.manifest_bytes("from", None)
        with new_session() as session:
            assert session.get(f"http://{address}/to").status_code == 200
            assert session.get(f"http://{address}/to").headers["Set-Cookie"] == "who=you; Path=/"
            assert len(session.cookies) == 0
    assert len(baker.paths) == 6
    assert baker.back == []
