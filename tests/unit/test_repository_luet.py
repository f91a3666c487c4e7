"""What luet wrote is read: packages that it built, repositories that it composed (luet.md §5.3, §6.2)."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.unit.repository_parts import Workshop, archive, workshop
from treebuilder.model.package import PackageId, PackageRef
from treebuilder.nodes.writing import write_yaml
from treebuilder.repository import RepositoryPackages
from treebuilder.repository.metadata import _document

_REF = """{pad}- id: 0
{pad}  name: two
{pad}  version: '>=2'
{pad}  category: lib
{pad}  useflags: []
{pad}  state: ""
{pad}  packagerequires: []
{pad}  packageconflicts: []
{pad}  provides: []
{pad}  hidden: false
{pad}  annotations: {{}}
{pad}  path: ""
{pad}  description: ""
{pad}  uri: []
{pad}  license: ""
{pad}  buildtimestamp: ""
{pad}  labels: {{}}
{pad}  treedir: ""
{pad}  origindockerfile: ""
"""
_PACKAGE = """{pad}id: 0
{pad}name: one
{pad}version: 1.10+2
{pad}category: app
{pad}useflags: []
{pad}state: ""
{pad}packagerequires:
{refs}{pad}packageconflicts: []
{pad}provides: []
{pad}hidden: false
{pad}annotations:
{pad}    a.b: c
{pad}path: ""
{pad}description: 'a: b'
{pad}uri:
{pad}- https://example.org
{pad}license: MIT
{pad}buildtimestamp: 2026-11-21 02:14:12.328 +0000 UTC m=+0.20
{pad}labels: {{}}
{pad}treedir: /tmp/tree
{pad}origindockerfile: ""
"""


def metadata(sha256: str) -> str:
    """As luet's yaml writes it: four columns deep, lists flush with their keys."""
    inner = _PACKAGE.format(pad="        ", refs=_REF.format(pad="        ") * 2)
    outer = _PACKAGE.format(pad="    ", refs=_REF.format(pad="    "))
    return f"""path: /work/build/one-app-1.10+2.package.tar.gz
dependencies: []
compilespec:
    steps:
    - |
        echo a
        echo b
    - echo "c: d" > /x
    env: []
    prelude: []
    image: alpine
    seed: ""
    package:
{inner}    sourceassertion:
    - package:
            id: 0
            name: two
      value: true
      hash:
        buildhash: aa
        packagehash: bb
    package_dir: ""
    retrieve: []
    outputpath: /tmp/x
    unpack: false
    includes: []
    excludes:
    - ^/var/.*
    buildoptions:
        pushimagerepository: quay.io/x/cache
        pullimagerepository: []
        pullfirst: false
        buildvalues:
        - a: "1"
        context: null
    copy: []
    requires_final_images: false
checksums:
    sha256: {sha256}
sourceassertion: []
compressiontype: gzip
files:
- usr/bin/one
packagecacheimage: ""
runtime:
{outer}"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with workshop(tmp_path) as made:
        yield made


ID = PackageId("app", "one", "1.10+2")


def test_a_package_that_luet_built_is_taken_in(shop: Workshop) -> None:
    data = archive({"usr": None, "usr/bin": None, "usr/bin/one": b"1"}, "gzip")
    shop.build.mkdir()
    shop.tree.mkdir()
    (shop.build / "one-app-1.10+2.package.tar.gz").write_bytes(data)
    (shop.build / "one-app-1.10+2.metadata.yaml").write_text(metadata(hashlib.sha256(data).hexdigest()))
    shop.create(from_metadata=True)
    packages = RepositoryPackages([shop.synced()])
    package = packages.find(ID)
    assert package is not None
    assert package.requires == (PackageRef("lib", "two", ">=2"),)
    assert (package.annotations, package.description, package.license) == ((("a.b", "c"),), "a: b", "MIT")
    found = packages.artifact(ID)
    assert found is not None
    assert (found.files, found.compression) == (("usr/bin/one",), "gzip")
    assert found.build_time == "2026-11-21 02:14:12.328 +0000 UTC m=+0.20"
    assert shop.synced().fetch(found).read_bytes() == data


def _tar(path: Path, files: dict[str, str]) -> str:
    with tarfile.open(path, "w:gz" if path.name.endswith(".gz") else "w") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return hashlib.sha256(path.read_bytes()).hexdigest()


_DEFINITION = """annotations: null
category: app
conflicts: null
description: a tool
id: 0
labels:
  x: "1"
name: one
path: /tmp/tree/app/one
provides:
- annotations: null
  category: virtual
  conflicts: null
  id: 0
  name: tool
  requires: null
  treedir: ""
  version: "1"
requires: null
treedir: /tmp/tree
version: 1.10+2
"""


def test_a_repository_that_luet_composed_is_read(shop: Workshop) -> None:
    shop.build.mkdir()
    data = archive({"one": b"1"}, "none")
    (shop.build / "one-app-1.10+2.package.tar").write_bytes(data)
    tree = _tar(shop.build / "tree.tar.gz", {
        "./app/one/1.10+2/definition.yaml": _DEFINITION,
        "./app/one/1.10+2/finalize.yaml": "install:\n- echo {{.Values.name}} {{.Values.labels.x}}\n",
    })  # fmt: skip
    meta = _tar(shop.build / "repository.meta.yaml.tar", {"repository.meta.yaml": f"""index:
- checksums:
    sha256: {hashlib.sha256(data).hexdigest()}
  compilationspec:
    build_options:
      BuildValues: null
      PushImageRepository: ""
    copy: null
    image: alpine
    package:
      annotations: null
      buildtimestamp: 2026-11-21 02:14:12.328 +0000 UTC m=+0.20
      category: app
      conflicts: null
      id: 0
      name: one
      requires: null
      treedir: ""
      version: 1.10+2
    steps:
    - |
      echo a
      - b
    unpack: false
  compressiontype: none
  dependencies: null
  files:
  - one
  package_cacheimage: ""
  path: one-app-1.10+2.package.tar
  runtime: null
"""})  # fmt: skip
    (shop.build / "repository.yaml").write_text(f"""description: t
enable: true
index: []
last_update: "1795227252"
name: luets
repo_files:
  meta:
    checksums:
      sha256: {meta}
    compressiontype: none
    filename: repository.meta.yaml.tar
  tree:
    checksums:
      sha256: {tree}
    compressiontype: gzip
    filename: tree.tar.gz
revision: 4
type: disk
urls:
- /srv
""")
    repository = shop.synced()
    packages = RepositoryPackages([repository])
    assert [str(p.id) for p in packages.versions("app/one")] == [str(ID)]
    assert [str(p.id) for p in packages.providers("virtual/tool")] == [str(ID)]
    assert packages.homes[ID] is repository
    found = repository.finalizer(ID)
    assert found is not None
    assert found.install == ("echo one 1",)
    artifact = repository.artifacts[ID]
    assert artifact.files == ("one",)
    assert repository.fetch(artifact).read_bytes() == data


@pytest.mark.parametrize("indent", [2, 4])
def test_equal_parts_of_metadata_are_read_once_and_the_same(indent: int) -> None:
    package = {"id": 0, "name": "one", "version": "1", "packagerequires": [{"name": "two", "version": "2"}]}
    value = {"path": "x", "compilespec": {"image": "a", "package": package, "unpack": False}, "runtime": package}
    other = package | {"version": "2"}
    changes: tuple[dict[str, object], ...] = (
        {}, {"files": ["a"]}, {"compilespec": {"package": package}}, {"runtime": other}, {"other": {"package": package}}
    )  # fmt: skip
    for changed in (value | change for change in changes):
        data = write_yaml(changed, indent=indent)
        assert _document(data, "x") == yaml.load(data, Loader=yaml.CBaseLoader)
