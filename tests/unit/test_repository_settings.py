"""What a configuration says of a repository reaches whoever fetches from it."""

from __future__ import annotations

from pathlib import Path

import yaml

from treebuilder.app import client_settings, settings
from treebuilder.app.repositories import source_of
from treebuilder.app.trusting import TrustRules
from treebuilder.build.metadata import document
from treebuilder.events import Silent
from treebuilder.model.digest import Digest
from treebuilder.model.package import Package, PackageId, Recipe
from treebuilder.nodes.writing import write_yaml

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


def test_metadata_says_how_luet_was_told_to_build() -> None:
    package = Package(PackageId("c", "n", "1"))
    value = document(
        build_view=package, runtime=package, recipe=Recipe(), file_name="f", sha256=Digest.of(b""), compression="zstd",
        files=(), content=Digest.of(b""), epoch_s=0, seed="", extra={},
    )  # fmt: skip
    spec = yaml.safe_load(write_yaml(value))["compilespec"]
    assert spec["buildoptions"]["pullimagerepository"] == []
    assert list(spec)[-3:] == ["buildoptions", "copy", "requires_final_images"]
