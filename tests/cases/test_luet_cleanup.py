"""Cleaning up: packages go, and what is known of cached repositories stays."""

from __future__ import annotations

from pathlib import Path

from tests.cases.luet_machine import Luet, luet
from treebuilder.model.digest import Digest
from treebuilder.oci.store import Store
from treebuilder.serve.folder import Folder
from treebuilder.serve.server import Listening, serving

__all__ = ["luet"]  # fixtures
LISTED = "test/a-1.0\ntest/b-1.0\ntest/c-1.0\n"


def over_http(luet: Luet, address: str, key: str = "") -> None:
    trust = f"  trust: {{keys: [{key}]}}\n" if key else "  trust: none\n"
    text = luet.config.read_text().partition("repositories:")[0]
    luet.config.write_text(
        f"{text}repositories:\n- name: main\n  type: http\n  enable: true\n  cached: true\n"
        f"  urls:\n  - http://{address}\n{trust}"
    )


def seen(folder: Path) -> dict[str, bytes]:
    store = Store(folder)
    try:
        return store.index.notes("repository-index")
    finally:
        store.close()


def test_what_is_known_of_a_cached_repository_stays(luet: Luet) -> None:
    with serving(Folder(luet.shop.build), Listening("127.0.0.1", 0)) as address:
        over_http(luet, address)
        assert luet("repo", "update")[0] == 0
        assert luet("install", "-y", "test/b")[0] == 0
    packages = luet.root / "packages"
    (packages / "00").mkdir()
    (packages / "00/of-luet").touch()
    blobs = packages / "treebuild/blobs/sha256"
    archives = {Digest.of(path.read_bytes()).hex for path in luet.shop.build.glob("*.package.tar*")}
    fetched = {path.name for path in blobs.iterdir()}
    assert len(fetched & archives) == 2
    code, text = luet("cleanup")
    assert (code, "files from" in text) == (0, True), text
    assert {path.name for path in blobs.iterdir()} < fetched - archives  # what is made of tree and meta goes too
    assert not (packages / "00").exists()
    assert luet("search", "-q") == (0, LISTED)
    code, text = luet("install", "-y", "test/c")
    assert code == 2, text  # nobody has its archive
    assert luet.installed() == ["test/a-1.0", "test/b-1.0"]


def test_which_revision_was_seen_stays(luet: Luet) -> None:
    from treebuilder.cli.main import main

    key = str(luet.shop.top / "team.key")
    assert main(["key", "new", key]) == 0
    words = ["--tree", "tree", "--packages", "build", "--output", "build", "--name", "main", "--sign", key]
    assert main(["create-repo", *words]) == 0
    with serving(Folder(luet.shop.build), Listening("127.0.0.1", 0)) as address:
        over_http(luet, address, f"{key}.pub")
        assert luet("repo", "update")[0] == 0
        before = seen(luet.root / "packages/treebuild")
        assert any(name.startswith("seen ") for name in before)
        assert luet("cleanup")[0] == 0
        assert seen(luet.root / "packages/treebuild") == before
        text = luet.config.read_text()
        luet.config.write_text(text.replace("  cached: true\n", ""))  # what was seen of it stays all the same
        assert luet("cleanup")[0] == 0
        left = sorted(path.name for path in (luet.root / "packages/treebuild").iterdir())
        assert left == ["VERSION", "index.sqlite"]
        assert seen(luet.root / "packages/treebuild") == before


def test_a_cache_that_cannot_be_read_is_emptied(luet: Luet) -> None:
    with serving(Folder(luet.shop.build), Listening("127.0.0.1", 0)) as address:
        over_http(luet, address)
        assert luet("repo", "update")[0] == 0
        for path in (luet.root / "packages/treebuild").glob("index.sqlite*"):
            path.write_bytes(b"no index at all" * 1000)
        assert luet("search", "-q")[0] == 2
        assert luet("cleanup")[0] == 0
        assert list((luet.root / "packages").iterdir()) == []
        assert luet("search", "-q") == (0, LISTED)


def test_what_a_copy_fetched_stays_where_it_describes_a_cached_repository(luet: Luet, tmp_path: Path) -> None:
    from treebuilder.cli.main import main

    cache = ["--cache-dir", str(tmp_path / "cache")]
    given = ["--config", str(luet.config), *cache]
    with serving(Folder(luet.shop.build), Listening("127.0.0.1", 0)) as address:
        over_http(luet, address)
        assert main(["repo", "copy", f"http://{address}", str(tmp_path / "mirror"), *given]) == 0
        assert main(["repo", "update", *given]) == 0
    for _ in range(2):
        assert main(["cleanup", *given]) == 0
        assert len(list((tmp_path / "cache/blobs/sha256").iterdir())) == 4  # trees, meta, and what is made of them
        assert main(["search", *given]) == 0
