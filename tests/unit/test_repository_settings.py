"""What a configuration says of a repository reaches whoever fetches from it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import yaml

from treebuilder.app import client_settings, settings
from treebuilder.app.repositories import source_of
from treebuilder.app.trusting import TrustRules
from treebuilder.build.metadata import document
from treebuilder.events import Silent
from treebuilder.model.digest import Digest
from treebuilder.model.package import Package, PackageId, Recipe
from treebuilder.nodes.writing import write_yaml
from treebuilder.trust.keys import new_key

CONFIG = """\
repositories:
- name: main
  type: http
  enable: true
  cached: true
  urls: [https://example.org/a]
  auth: {username: me, password: secret}
"""


def test_logins_and_cached_are_handed_on(tmp_path: Path) -> None:
    file = tmp_path / "luet.yaml"
    file.write_text(CONFIG)
    (found,) = settings.load(str(file), Silent()).repositories
    source = source_of(found, TrustRules())
    assert (source.auth, source.cached) == ((("password", "secret"), ("username", "me")), True)
    entry = yaml.safe_load(CONFIG)["repositories"][0]
    again = client_settings._repository(entry, tmp_path, str(file), 0, TrustRules(luet=True)).source
    assert (again.auth, again.cached) == (source.auth, source.cached)


@pytest.mark.parametrize(
    ("trust", "luet", "unsigned"),
    [("", False, "refuse"), ("", True, "warn"), ("trust: none", False, "accept"), ("trust: {keys: k.pub}", True, "")],
)
def test_both_readers_trust_alike(tmp_path: Path, trust: str, luet: bool, unsigned: str) -> None:
    key = new_key().public
    (tmp_path / "k.pub").write_bytes(key.pem)
    file = tmp_path / "luet.yaml"
    file.write_text(f"{CONFIG}  {trust}\nkeys_confdir: [none]\n")
    (found,) = settings.load(str(file), Silent()).repositories
    source = source_of(found, TrustRules((), luet=luet))
    with contextlib.chdir(tmp_path):
        (again,) = client_settings.load(str(file), {}, Silent(), luet=luet).repositories
    assert again.source.trust == source.trust
    assert (source.trust.unsigned == unsigned) if unsigned else (source.trust.keys == (key,))


def test_metadata_says_how_luet_was_told_to_build() -> None:
    package = Package(PackageId("c", "n", "1"))
    value = document(
        build_view=package, runtime=package, recipe=Recipe(), file_name="f", sha256=Digest.of(b""), compression="zstd",
        files=(), content=Digest.of(b""), epoch_s=0, seed="", extra={},
    )  # fmt: skip
    spec = yaml.safe_load(write_yaml(value))["compilespec"]
    assert spec["buildoptions"]["pullimagerepository"] == []
    assert list(spec)[-3:] == ["buildoptions", "copy", "requires_final_images"]
