"""The files of a repository, byte for byte: a change of them makes every client fetch everything anew.

`python -m tests.golden.test_repository` writes them, after a change that was meant.
"""

from __future__ import annotations

import re
import tarfile
import tempfile
from pathlib import Path

import pytest

from tests.unit.repository_parts import workshop

_HERE = Path(__file__).parent / "repository"


def made(top: Path) -> dict[str, bytes]:
    """Documents of a small repository, by name."""
    with workshop(top) as shop:
        shop.package(
            "app/one", {"usr": None, "usr/bin": None, "usr/bin/one": b"1", "usr/bin/link": "one"}, version="1.10+2",
            requires=("lib/two@>=2", "lib/three"), provides=("virtual/one@1",), conflicts=("app/other@<3",),
            finalize="install:\n- echo {{ .Values.name }}\n",
        )  # fmt: skip
        shop.package("lib/two", {"two": b"2"}, version="2.0", hidden=True)
        shop.create(urls=("https://example.org/a", "https://example.org/b"), type="http")
        found = {"repository.yaml": (shop.build / "repository.yaml").read_bytes()}
        for archive in ("tree.tar.gz", "repository.meta.yaml.tar"):
            with tarfile.open(shop.build / archive) as tar:
                for info in tar:
                    file = tar.extractfile(info)
                    if file is not None:
                        found[info.name.replace("/", "_")] = file.read()
        return {name: _without_digests(data) for name, data in found.items()}


def _without_digests(data: bytes) -> bytes:
    """Digests of archives change with the version of a compressor, and with who runs the test."""
    return re.sub(rb"'?\b[0-9a-f]{64}\b'?", b"<sha256>", re.sub(rb"m=\+0\.[0-9]{9}", b"m=<digits>", data))


def test_documents_stay_as_they_are(tmp_path: Path) -> None:
    found = made(tmp_path)
    assert set(found) == {path.name for path in _HERE.iterdir()}
    for name, data in found.items():
        assert data.decode() == (_HERE / name).read_text(encoding="utf-8"), name


@pytest.mark.parametrize("name", ["repository.yaml", "repository.meta.yaml"])
def test_they_are_here(name: str) -> None:
    assert (_HERE / name).is_file()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        _HERE.mkdir(exist_ok=True)
        for name, data in made(Path(folder)).items():
            (_HERE / name).write_bytes(data)
