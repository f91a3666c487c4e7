"""Whose word gets us into a registry: docker's and podman's files, helpers, nobody else's; and past which proxies."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from treebuilder.cli.main import main
from treebuilder.errors import ConfigError, TransportError
from treebuilder.oci import login
from treebuilder.oci.login import Login, credentials
from treebuilder.oci.remote import Repository
from treebuilder.oci.session import new_session
from treebuilder.repository.docker import place_of
from treebuilder.serve.exchange import Exchange
from treebuilder.serve.server import Listening, serving
from treebuilder.system.process import Cancel


def basic(words: str) -> str:
    return base64.b64encode(words.encode()).decode()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    return tmp_path


def keep(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def auths(**logins: str) -> dict[str, object]:
    return {"auths": {host.replace("_", "."): {"auth": basic(words)} for host, words in logins.items()}}


def helper(home: Path, name: str, script: str) -> None:
    path = home / f"bin/docker-credential-{name}"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_the_nearest_file_counts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert credentials("a.example", "x") == Login()
    keep(home / ".docker/config.json", auths(a_example="me:home", b_example="me:b"))
    assert credentials("a.example", "x") == Login(basic("me:home"))
    keep(home / ".config/containers/auth.json", auths(a_example="me:config"))
    assert credentials("a.example", "x") == Login(basic("me:config"))
    assert credentials("b.example", "x") == Login(basic("me:b"))
    keep(home / "run/containers/auth.json", auths(a_example="me:run"))
    assert credentials("a.example", "x") == Login(basic("me:run"))
    keep(home / "own/config.json", auths(a_example="me:own"))
    monkeypatch.setenv("DOCKER_CONFIG", str(home / "own"))
    assert credentials("a.example", "x") == Login(basic("me:own"))
    assert credentials("b.example", "x") == Login()  # what is in the home is not docker's then
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(keep(home / "chosen", auths(a_example="me:chosen"))))
    assert credentials("a.example", "x") == Login(basic("me:chosen"))


def test_entries_are_hosts_places_in_them_or_addresses(home: Path) -> None:
    kept = {
        "a.example/team": "me:team", "a.example": "me:all", "https://b.example/v1/": "me:url", "c.example:5000": "me:c",
        "https://index.docker.io/v1/": "me:hub", "localhost:5000": "me:here",
    }  # fmt: skip
    keep(home / ".docker/config.json", {"auths": {key: {"auth": basic(words)} for key, words in kept.items()}})
    found = {
        place: credentials(*place.split("/", 1)).basic
        for place in ("a.example/team/app", "a.example/teams", "b.example/x", "c.example:5000/x", "c.example/x",
                      "docker.io/library/x", "127.0.0.1:5000/x")
    }  # fmt: skip
    assert found == {
        "a.example/team/app": basic("me:team"), "a.example/teams": basic("me:all"), "b.example/x": basic("me:url"),
        "c.example:5000/x": basic("me:c"), "c.example/x": "", "docker.io/library/x": basic("me:hub"),
        "127.0.0.1:5000/x": basic("me:here"),
    }  # fmt: skip


@pytest.mark.parametrize("text", ["", " \n", "{}", '{"auths": null, "credHelpers": null, "credsStore": null}'])
def test_files_that_say_nothing(home: Path, text: str) -> None:
    (home / ".docker").mkdir()
    (home / ".docker/config.json").write_text(text)
    assert credentials("a.example", "x") == Login()


@pytest.mark.parametrize("auth", ["bm8\r\nX: y", "no base64", "/w=="])
def test_a_login_that_is_none_is_told_with_its_file(home: Path, auth: str) -> None:
    file = keep(home / ".docker/config.json", {"auths": {"a.example": {"auth": auth}}})
    with pytest.raises(ConfigError, match="is no base64 of NAME") as caught:
        credentials("a.example", "x")
    assert str(caught.value.where) == str(file)
    assert credentials("b.example", "x") == Login()


def test_helpers(home: Path) -> None:
    keep(home / ".docker/config.json", {"credHelpers": {"a.example": "one"}, "credsStore": "all"})
    helper(home, "one", 'read host; echo "{\\"Username\\": \\"one\\", \\"Secret\\": \\"$host\\"}"')
    helper(home, "all", 'read host; echo "{\\"Username\\": \\"<token>\\", \\"Secret\\": \\"$host\\"}"')
    assert credentials("a.example", "x") == Login(basic("one:a.example"))
    assert credentials("b.example", "x") == Login(identity="b.example")
    assert credentials("docker.io", "library/x") == Login(identity="https://index.docker.io/v1/")


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo the store is locked; exit 3", "the store is locked"), ("exit 3", "3"), ("echo {}", "no login"),
        ("echo '['; exit 0", "no login"), ("exec sleep 600", "docker-credential-all"),
        ("echo credentials not found in native keychain; exit 1", ""),
    ],
)  # fmt: skip
def test_what_fails_in_a_helper_is_said_to_who_is_not_let_in(
    home: Path, script: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "_HELPER_S", 1.0)
    keep(home / ".docker/config.json", {"credsStore": "all"})
    helper(home, "all", script)
    gate = Gate(401, www_authenticate='Basic realm="x"')
    with serving(gate, Listening("127.0.0.1", 0)) as address, pytest.raises(TransportError) as caught:
        Repository(address, "a/b", True, Cancel()).manifest_bytes("t", None)
    assert says in (caught.value.hint or "")
    assert ("docker login" in (caught.value.hint or "")) == (not says)


def test_a_helper_that_is_not_there(home: Path) -> None:
    keep(home / ".docker/config.json", {"credsStore": "gone"})
    assert "docker-credential-gone" in credentials("a.example", "x").fault


class Gate:
    """Notes what it is asked with."""

    def __init__(self, status: int = 200, **headers: str) -> None:
        self.status, self.more = status, headers
        self.came: list[str | None] = []

    def answer(self, exchange: Exchange) -> None:
        self.came.append(exchange.headers.get("Authorization"))
        exchange.bytes(self.status, b"{}", "application/json", **self.more)


@pytest.mark.parametrize("whose", ["docker", "repository"])
def test_an_identity_token_gets_a_token(home: Path, whose: str) -> None:
    asked: list[tuple[str, str, bytes]] = []

    class Registry:
        def answer(self, exchange: Exchange) -> None:
            asked.append((exchange.method, exchange.path, b"".join(exchange.parts())))
            if exchange.path == "/token":
                exchange.bytes(200, b'{"access_token": "t"}', "application/json")
            elif exchange.headers.get("Authorization") == "Bearer t":
                exchange.bytes(200, b"{}", "application/json")
            else:
                realm = (
                    f'Bearer realm="http://{exchange.headers["Host"]}/token",service="s",scope="repository:a/b:pull"'
                )
                exchange.bytes(401, b"{}", "application/json", www_authenticate=realm)

    with serving(Registry(), Listening("127.0.0.1", 0)) as address:
        kept = "id" if whose == "docker" else "of somebody else"
        keep(home / ".docker/config.json", {"auths": {address: {"auth": basic("<token>:"), "identitytoken": kept}}})
        place = Repository(address, "a/b", True, Cancel())
        if whose == "repository":
            place = place_of(f"{address}/a/b", Cancel(), {"identitytoken": "id", "serveraddress": address})
        assert place.manifest_bytes("t", None) == b"{}"
    assert asked[1] == (
        "POST", "/token",
        b"service=s&scope=repository%3Aa%2Fb%3Apull&grant_type=refresh_token&client_id=treebuild&refresh_token=id",
    )  # fmt: skip


def test_no_other_login_is_put_over_ours(home: Path) -> None:
    (home / ".netrc").write_text("machine 127.0.0.1 login other password wrong\ndefault login any password wrong\n")
    (home / ".netrc").chmod(0o600)
    gate = Gate()
    with serving(gate, Listening("127.0.0.1", 0)) as address, new_session() as session:
        session.get(f"http://{address}/a", headers={"Authorization": "token mine"})
        session.get(f"http://{address}/b")
    assert gate.came == ["token mine", None]


def test_a_redirect_brings_no_login_either(home: Path) -> None:
    (home / ".netrc").write_text("default login any password wrong\n")
    (home / ".netrc").chmod(0o600)
    end = Gate()
    with serving(end, Listening("127.0.0.1", 0)) as there:
        begin = Gate(307, location=f"http://{there}/x")
        with serving(begin, Listening("127.0.0.1", 0)) as address, new_session() as session:
            assert session.get(f"http://{address}/a", headers={"Authorization": "token mine"}).status_code == 200
    assert (begin.came, end.came) == (["token mine"], [None])


def test_who_speaks_to_this_machine_asks_no_proxy(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, end = Gate(), Gate()
    with serving(proxy, Listening("127.0.0.1", 0)) as between, serving(end, Listening("127.0.0.1", 0)) as address:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://{between}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        Repository(address, "a/b", True, Cancel()).manifest_bytes("t", None)
        assert (len(proxy.came), len(end.came)) == (0, 1)
        with new_session() as session:  # others are asked through it
            session.get("http://elsewhere.example/x")
        assert (len(proxy.came), len(end.came)) == (1, 1)
        sending = Gate(307, location=f"http://{address}/x")
        with serving(sending, Listening("127.0.0.1", 0)) as first, new_session() as session:
            session.get(f"http://{first}/x")
        assert (len(proxy.came), len(end.came)) == (1, 2)


@pytest.mark.parametrize(("flags", "sent"), [
    (["--auth-username", "me", "--auth-password", "pw"], f"Basic {basic('me:pw')}"),
    (["--auth-registry-token", "t"], "Bearer t"),
    ([], f"Basic {basic('of:docker')}"),
])  # fmt: skip
def test_util_unpack_comes_in_as_it_is_told(
    home: Path, flags: list[str], sent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TREEBUILD_CACHE", str(home / "cache"))
    came: list[str | None] = []

    class Registry:
        def answer(self, exchange: Exchange) -> None:
            came.append(exchange.headers.get("Authorization"))
            if came[-1] == sent:
                exchange.bytes(404, b"{}", "application/json")
            else:
                exchange.bytes(401, b"{}", "application/json", www_authenticate='Basic realm="r"')

    with serving(Registry(), Listening("127.0.0.1", 0)) as address:
        keep(home / ".docker/config.json", {"auths": {address: {"auth": basic("of:docker")}}})
        assert main(["luet", "util", "unpack", f"{address}/a/b:1", str(home / "out"), *flags]) == 1
        assert main(["util", "unpack", f"{address}/a/b:1", str(home / "out"), *flags]) == 2
    assert came[-1] == sent
    assert not (home / "out").exists()
