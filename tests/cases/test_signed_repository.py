"""A signed repository from `key new` over `create-repo` and a web server to `repo update` and `install`."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import schemas
from tests.unit.repository_parts import Workshop, workshop
from treebuilder.app import images, workspace
from treebuilder.app.settings import Settings
from treebuilder.cli import luet
from treebuilder.cli.main import main
from treebuilder.errors import TreebuildError
from treebuilder.events import Recorder
from treebuilder.image.spec import load_iso_spec
from treebuilder.serve.folder import Folder
from treebuilder.serve.server import Listening, serving
from treebuilder.system.process import Cancel

pytestmark = pytest.mark.engine


@dataclass
class Site:
    """A publisher's folder, the server in front of it, and a machine that installs from there."""

    shop: Workshop
    url: str

    @property
    def top(self) -> Path:
        return self.shop.top

    def configure(self, trust: str = "") -> None:
        (self.top / "conf.yaml").write_text(
            f"system: {{rootfs: {self.top}/root, database_path: /var/db}}\n"
            f"keys_confdir: [{self.top}/keys.d]\n"
            f"repositories:\n- {{name: site, type: http, enable: true, urls: ['{self.url}']{trust}}}\n"
        )

    def say(self, *words: str, cache: str = "machine") -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        given = ["--config", str(self.top / "conf.yaml"), "--cache-dir", str(self.top / cache), "--quiet"]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(self.top):
            code = main([*words, *given])
        return code, out.getvalue(), err.getvalue()

    def json(self, *words: str, **more: str) -> dict[str, Any]:
        code, out, err = self.say(*words, "--json", **more)
        assert code == 0, err
        value = json.loads(out)
        assert isinstance(value, dict)
        return value

    def reason(self, *words: str) -> str:
        """Why it is refused; nothing was installed."""
        before = self.installed()
        code, out, _ = self.say(*words, "--json")
        assert code != 0
        assert self.installed() == before
        value = json.loads(out)
        assert schemas.faults(value, schemas.load("error")) == []
        return str(value["error"]["reason"])

    def publish(self, *flags: str) -> dict[str, Any]:
        made = self.json(
            "create-repo", "--tree", "tree", "--packages", "build", "--output", "build", "--name", "site", *flags,
            cache="publisher",
        )  # fmt: skip
        assert schemas.faults(made, schemas.load("create-repo")) == []
        return made

    def update(self, *flags: str) -> int:
        return int(self.json("repo", "update", *flags)["repositories"][0]["revision"])

    def installed(self) -> set[str]:
        found = (self.top / "root").rglob("*.txt")
        return {path.name for path in found}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with workshop(tmp_path) as shop:
        shop.package("app/a", {"a.txt": b"1"})
        with serving(Folder(shop.build), Listening("127.0.0.1", 0, headers={})) as address:
            made = Site(shop, f"http://{address}")
            made.configure()
            (made.top / "root").mkdir()
            for name in ("a", "b"):
                made.json("key", "new", f"{name}.key")
            yield made


def test_from_a_key_to_an_installed_package(site: Site) -> None:
    key = site.json("key", "show", "a.key")
    made = site.publish("--sign", "a.key", "--expires", "2d")
    assert made["signed"] == [key["id"]]
    site.configure(", trust: {keys: [a.key.pub]}")
    assert site.update() == 1
    site.json("install", "app/a")
    assert site.installed() == {"a.txt"}


def test_every_fault_is_refused_at_update_and_install_and_only_insecure_skips_that(site: Site) -> None:
    site.configure(", trust: {keys: [a.key.pub]}")
    index, signature = site.shop.build / "repository.yaml", site.shop.build / "repository.yaml.sig"
    site.publish()
    refused: dict[str, str] = {}

    def check(reason: str) -> None:
        assert site.reason("repo", "update") == site.reason("install", "app/a") == reason
        refused[reason] = index.read_text()

    check("unsigned")
    site.publish("--sign", "b.key")
    check("wrong-signature")
    site.publish("--sign", "a.key")
    old = index.read_bytes(), signature.read_bytes()
    index.write_bytes(old[0].replace(b"luet", b"luex"))
    check("wrong-signature")
    site.shop.package("app/b", {"b.txt": b"1"})
    index.write_bytes(old[0])
    site.publish("--sign", "a.key")
    assert site.update() == 2
    index.write_bytes(old[0])
    signature.write_bytes(old[1])
    check("rolled-back")
    site.configure(", trust: {keys: [a.key.pub, b.key.pub], threshold: 2}")
    site.publish("--sign", "a.key")
    check("threshold")
    assert set(refused) == {"unsigned", "wrong-signature", "rolled-back", "threshold"}
    signature.unlink()
    check("unsigned")
    assert site.update("--insecure") > 0
    assert site.json("install", "--insecure", "app/a")["state"] == "done"
    assert site.installed() == {"a.txt"}


def test_an_expired_repository_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.configure(", trust: {keys: [a.key.pub]}")
    site.publish("--sign", "a.key", "--expires", "1h")
    assert site.update() == 1
    later = os.stat(site.shop.build).st_mtime + 2 * 3600
    monkeypatch.setattr("treebuilder.system.clock.time.time", lambda: later)
    assert site.reason("repo", "update") == site.reason("install", "app/a") == "expired"
    site.publish("--sign", "a.key", "--expires", "1h")
    assert site.update() == 1


def test_a_network_repository_without_keys(site: Site) -> None:
    site.publish()
    assert site.reason("repo", "update") == site.reason("install", "app/a") == "no-keys"
    site.configure(", trust: none")
    assert site.update() == 1
    site.configure(", cached: true")
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = luet.main(["repo", "update", "--config", str(site.top / "conf.yaml")])
    assert code == 0
    assert "no keys say whose word counts" in out.getvalue() + err.getvalue()


def test_keys_of_the_machine_count_for_every_network_repository(site: Site) -> None:
    folder = site.top / "keys.d"
    folder.mkdir()
    (folder / "a.pub").write_bytes((site.top / "a.key.pub").read_bytes())
    site.publish()
    assert site.reason("repo", "update") == "unsigned"
    site.publish("--sign", "a.key")
    assert site.update() == 1
    folder.chmod(0o777)
    assert site.reason("repo", "update") == "bad-key"


def test_a_local_folder_needs_no_keys(site: Site) -> None:
    site.publish()
    site.configure(", trust: none")
    site.json("install", "--local", str(site.shop.build), "app/a")
    assert site.installed() == {"a.txt"}


def test_a_local_folder_may_want_a_signature_too(site: Site) -> None:
    site.publish()
    text = "repositories: [{name: site, type: disk, enable: true, urls: [build], trust: {keys: [a.key.pub]}}]\n"
    (site.top / "conf.yaml").write_text(f"system: {{rootfs: {site.top}/root}}\n{text}")
    assert site.reason("repo", "update") == "unsigned"
    code, _, err = site.say("repo", "update", "--insecure")
    assert (code, "without being verified" in err) == (0, True)
    site.publish("--sign", "a.key")
    assert site.update() == 1


def test_images_are_made_of_what_is_believed(site: Site) -> None:
    site.publish("--sign", "a.key")
    with workspace.opened(Settings(), str(site.top / "machine"), Recorder(), Cancel()) as work:

        def synced(trust: str) -> list[int]:
            text = f"luet: {{repositories: [{{name: site, type: http, urls: ['{site.url}']{trust}}}]}}\n"
            (site.top / "iso.yaml").write_text(f"packages: {{rootfs: [app/a]}}\n{text}")
            spec = load_iso_spec(site.top / "iso.yaml", work.events)
            return [found.index.revision for found in images._repositories(spec, site.top, (), work)]

        for trust, reason in (("", "no-keys"), (", trust: {keys: [b.key.pub]}", "wrong-signature")):
            with pytest.raises(TreebuildError) as caught:
                synced(trust)
            assert caught.value.reason == reason
        assert synced(", trust: {keys: [a.key.pub]}") == synced(", trust: none") == [1]


def test_a_forged_repository_does_not_make_another_one_count(site: Site) -> None:
    site.publish("--sign", "b.key")
    text = f"{{name: near, type: disk, enable: true, urls: ['{site.shop.build}']}}"
    site.configure(", trust: {keys: [a.key.pub]}")
    with (site.top / "conf.yaml").open("a") as out:
        out.write(f"- {text}\n")
    assert site.reason("install", "app/a") == "wrong-signature"


def test_a_repository_is_added_with_its_keys(site: Site) -> None:
    site.publish("--sign", "a.key")
    (site.top / "conf.yaml").write_text(
        f"system: {{rootfs: {site.top}/root}}\nrepos_confdir: [/repos.d]\nconfig_from_host: false\n"
    )
    words = ("repo", "add", "site", "--type", "http", "--url", site.url)
    site.json(*words)
    assert site.reason("repo", "update") == "no-keys"
    site.json(*words, "--trust", "b.key.pub")
    assert site.reason("repo", "update") == "wrong-signature"
    site.json(*words, "--trust", "b.key.pub", "--trust", "a.key.pub")
    assert site.update() == 1
    site.json(*words, "--trust", "none")
    assert site.update() == 1
    assert site.reason(*words, "--trust", "conf.yaml") == "bad-key"


def test_builds_look_at_signatures_too(site: Site) -> None:
    site.publish()
    words = ("create-repo", "--tree", "tree", "--packages", "build", "--output", "again", "--from-repositories")
    assert site.reason(*words) == "no-keys"
    site.configure(", trust: {keys: [a.key.pub]}")
    assert site.reason(*words) == "unsigned"
    assert site.json(*words, "--insecure")["revision"] == 1
    site.publish("--sign", "a.key")
    assert site.json(*words)["name"] == "luet"


def test_keys_are_made_once_and_shown_without_their_secret(site: Site) -> None:
    value = site.json("key", "new", "e.key", "--type", "ed25519")
    assert schemas.faults(value, schemas.load("key")) == []
    assert (site.top / "e.key").stat().st_mode & 0o777 == 0o600
    before = (site.top / "e.key").read_bytes()
    assert site.reason("key", "new", "e.key") == "key-exists"
    assert (site.top / "e.key").read_bytes() == before
    (site.top / "f.key.pub").write_text("there")
    assert site.reason("key", "new", "f.key") == "key-exists"
    assert not (site.top / "f.key").exists()
    shown = site.json("key", "show", "e.key")
    assert (shown["public"], shown["private"]) == (value["public"], True)
    assert site.json("key", "show", "e.key.pub")["id"] == value["id"]
    assert "PRIVATE" not in site.say("key", "show", "e.key")[1]
    for file in ("none", "build", "tree/app/a/1.0/definition.yaml"):
        assert site.reason("key", "show", file) == "bad-key"


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--sign", "none.key"), "bad-key"),
        (("--sign", "a.key.pub"), "bad-key"),
        (("--sign", "a.key", "--expires", "soon"), "configuration"),
        (("--sign", "a.key", "--expires", "0d"), "configuration"),
        (("--sign", "a.key", "--threshold", "2"), "threshold"),
        (("--expires", "3d"), "configuration"),
        (("--threshold", "1"), "configuration"),
        (("--sign", "a.key", "--reset-revision"), "configuration"),
    ],
)
def test_what_cannot_be_signed_leaves_everything_as_it_was(site: Site, flags: tuple[str, ...], reason: str) -> None:
    site.publish("--sign", "a.key")
    before = {path.name: path.read_bytes() for path in site.shop.build.iterdir()}
    words = ("create-repo", "--tree", "tree", "--packages", "build", "--output", "build", "--name", "site")
    assert site.reason(*words, *flags) == reason
    assert {path.name: path.read_bytes() for path in site.shop.build.iterdir()} == before


@pytest.mark.parametrize(
    "trust",
    ["nobody", "[a.key.pub]", "{}", "{keys: []}", "{keys: [a.key.pub], threshold: 2}", "{keys: [7]}", "true",
     "{keys: [a.key.pub], treshold: 1}", "{keys: [a.key.pub], threshold: 0}", "{keys: [a.key.pub], name: []}"],
)  # fmt: skip
def test_trust_that_is_not_understood_is_refused(site: Site, trust: str) -> None:
    site.publish("--sign", "a.key")
    site.configure(f", trust: {trust}")
    assert site.reason("repo", "update") == "bad-trust"
    assert site.reason("create-repo", "--tree", "tree", "--packages", "build", "--from-repositories") == "bad-trust"


@pytest.mark.parametrize("key", ["none.pub", "a.key", "conf.yaml"])
def test_keys_that_cannot_be_read_are_refused(site: Site, key: str) -> None:
    site.publish("--sign", "a.key")
    site.configure(f", trust: {{keys: [{key}]}}")
    assert site.reason("repo", "update") == "bad-key"
