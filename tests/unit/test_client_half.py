"""Repositories of which only some can be had: an index without its tree, one of two that have one name, a full disk."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.repository_parts import Workshop, workshop
from tests.unit.system_parts import in_private_mounts
from tests.unit.verb_parts import typed
from treebuilder.serve.folder import Folder
from treebuilder.serve.server import Listening, serving


@contextmanager
def two(tmp_path: Path) -> Iterator[Workshop]:
    """Folders `whole` (t/a, t/b-1.0), `newer` (t/b-2.0 as well)."""
    with workshop(tmp_path) as shop:
        shop.package("t/a", {"a": b"a"})
        shop.package("t/b", {"b": b"1"})
        shop.create()
        shutil.copytree(shop.build, tmp_path / "whole")
        shop.package("t/b", {"b": b"2"}, version="2.0")
        shop.create()
        shutil.copytree(shop.build, tmp_path / "newer")
        yield shop


def configured(top: Path, *repositories: tuple[str, list[str]], **more: object) -> tuple[str, ...]:
    """Flags for a machine with repositories (name, urls), the first preferred."""
    found = [
        {"name": name, "type": "http" if urls[0].startswith("http") else "disk", "urls": urls, "priority": at,
         "enable": True, "trust": "none", **more}
        for at, (name, urls) in enumerate(repositories)
    ]  # fmt: skip
    (top / "root").mkdir(exist_ok=True)
    value = {"system": {"rootfs": str(top / "root")}, "repositories": found, "config_from_host": False}
    (top / "conf.json").write_text(json.dumps(value))
    return ("--config", str(top / "conf.json"), "--cache-dir", str(top / "cache of it"), "--progress=plain")


def gone(folder: Path) -> None:
    (folder / "tree.tar.gz").unlink()


def damaged(folder: Path) -> None:
    (folder / "repository.meta.yaml.tar").write_bytes(b"x")


@pytest.mark.parametrize("hurt", [gone, damaged])
def test_a_repository_whose_index_is_all_there_is_is_left_out(tmp_path: Path, hurt: Callable[[Path], None]) -> None:
    with two(tmp_path):
        newer, whole = tmp_path / "newer", tmp_path / "whole"
        hurt(newer)
        flags = configured(tmp_path, ("half", [str(newer)]), ("whole", [str(whole)]))
        code, _, err = typed("install", "t/b", *flags)
        assert code == 0, err
        assert "the repository half is left out: " in err
        assert (tmp_path / "root/b").read_bytes() == b"1"
        assert typed("upgrade", "--clean", *flags)[0] == 2  # what it has would be taken for gone
        code, out, err = typed("repo", "list", *flags)
        assert (code, out.count("Revision")) == (0, 2), err


def test_of_a_signed_repository_that_somebody_changed_nothing_is_had_from_elsewhere(tmp_path: Path) -> None:
    with two(tmp_path) as shop:
        newer, whole, key = tmp_path / "newer", tmp_path / "whole", str(tmp_path / "team.key")
        words = ("--tree", str(shop.tree), "--packages", str(newer), "--output", str(newer), "--name", "newer")
        for asked in (("key", "new", key), ("create-repo", *words, "--sign", key)):
            code, _, err = typed(*asked)
            assert code == 0, err
        trusted: dict[str, object] = {"trust": {"keys": [f"{key}.pub"]}}
        alone = configured(tmp_path, ("newer", [str(newer)]), **trusted)
        assert typed("install", "t/a", *alone)[0] == 0
        shutil.rmtree(tmp_path / "cache of it")
        damaged(newer)
        flags = configured(tmp_path, ("newer", [str(newer)]), ("whole", [str(whole)]), **trusted)
        value = json.loads((tmp_path / "conf.json").read_text())
        value["repositories"][1]["trust"] = "none"
        (tmp_path / "conf.json").write_text(json.dumps(value))
        code, _, err = typed("install", "t/b", *flags)
        assert code == 2, err
        assert "repository.meta.yaml.tar" in err
        assert not (tmp_path / "root/b").exists()


@pytest.mark.parametrize("hurt", [gone, damaged])
def test_a_mirror_that_is_half_done_is_passed_over(tmp_path: Path, hurt: Callable[[Path], None]) -> None:
    with two(tmp_path):
        newer, whole = tmp_path / "newer", tmp_path / "whole"
        hurt(newer)
        flags = configured(tmp_path, ("mirrored", [str(newer), str(whole)]))
        for words in (("install", "t/b"), ("repo", "update"), ("search", ".")):
            code, _, err = typed(*words, *flags)
            assert code == 0, err
            assert "the next mirror is asked" in err
        assert (tmp_path / "root/b").read_bytes() == b"1"


def test_of_a_cached_repository_that_is_half_done_what_was_whole_counts(tmp_path: Path) -> None:
    with two(tmp_path):
        site = tmp_path / "site"
        shutil.copytree(tmp_path / "whole", site)
        with serving(Folder(site), Listening("127.0.0.1", 0)) as address:
            flags = configured(tmp_path, ("one", [f"http://{address}"]), cached=True)
            assert typed("repo", "update", *flags)[0] == 0
            shutil.copytree(tmp_path / "newer", site, dirs_exist_ok=True)
            gone(site)
            for _ in range(2):  # what cannot be had is not what was last read
                code, out, err = typed("search", ".", "--json", *flags)
                assert code == 0, err
                assert [found["target"] for found in json.loads(out)["packages"]] == ["t/a-1.0", "t/b-1.0"]
                assert "what was last read of it counts" in err
            assert typed("repo", "update", *flags)[0] == 2


def test_an_update_of_what_does_not_answer_has_failed(tmp_path: Path) -> None:
    """What was last read counts for all that ask for packages, and is no update."""
    with two(tmp_path):
        with serving(Folder(tmp_path / "whole"), Listening("127.0.0.1", 0)) as address:
            away, there = ("away", [f"http://{address}"]), ("there", [str(tmp_path / "newer")])
            flags = configured(tmp_path, away, there, cached=True)
            assert typed("repo", "update", *flags)[0] == 0
        assert typed("search", "t/a", *flags)[0] == 0
        for words, said in ((("repo", "update"), "there: "), (("repo", "update", "away"), "")):
            code, out, err = typed(*words, *flags)
            assert (code, out, address in err, said in err) == (2, "", True, True), err
        code, out, err = typed("repo", "update", "--ignore-errors", *flags)
        assert (code, out) == (0, "there: revision 2\n"), err
        assert "warning: away: " in err
        code, out, _ = typed("repo", "list", *flags)
        assert (code, out.count("Revision")) == (0, 2)


def test_what_is_updated_without_names(tmp_path: Path) -> None:
    with two(tmp_path):
        flags = configured(tmp_path, ("one", [str(tmp_path / "whole")]), ("kept", [str(tmp_path / "newer")]))
        value = json.loads((tmp_path / "conf.json").read_text())
        value["repositories"][1]["cached"] = True
        (tmp_path / "conf.json").write_text(json.dumps(value))
        updated = [line.partition(":")[0] for line in typed("repo", "update", *flags)[1].splitlines()]
        assert updated == ["one", "kept"]
        said = typed("luet", "repo", "update", "--config", str(tmp_path / "conf.json"))[1]
        assert ("Repository: kept " in said, "Repository: one " in said) == (True, False)
        assert "Repository: one " in typed("luet", "repo", "update", "one", "--config", str(tmp_path / "conf.json"))[1]


def test_a_type_that_nobody_knows_is_left_out_and_named(tmp_path: Path) -> None:
    with two(tmp_path):
        flags = configured(tmp_path, ("odd", [str(tmp_path / "newer")]), ("whole", [str(tmp_path / "whole")]))
        value = json.loads((tmp_path / "conf.json").read_text())
        value["repositories"][0]["type"] = "ftp"
        (tmp_path / "conf.json").write_text(json.dumps(value))
        code, _, err = typed("install", "t/b", *flags)
        assert code == 0, err
        said = [line for line in err.splitlines() if "unknown type 'ftp'" in line]
        assert ["odd" in line and "conf.json" in line for line in said] == [True], err
        assert (tmp_path / "root/b").read_bytes() == b"1"
        assert typed("upgrade", "--clean", *flags)[0] == 1  # what it has would be taken for gone
        for words in (("repo", "update"), ("repo", "update", "odd")):
            code, _, err = typed(*words, *flags)
            assert (code, "odd: " in err, "conf.json: " in err) == (1, True, True), err
        value["repositories"].pop()
        (tmp_path / "conf.json").write_text(json.dumps(value))
        code, _, err = typed("install", "t/a", *flags)
        assert (code, "odd: " in err, "conf.json: " in err) == (1, True, True), err


def test_all_repositories_of_one_name_are_updated(tmp_path: Path) -> None:
    with two(tmp_path):
        flags = configured(tmp_path, ("one", [str(tmp_path / "whole")]), ("one", [str(tmp_path / "newer")]))
        for words in (("repo", "update"), ("repo", "update", "one")):
            code, out, err = typed(*words, "--json", *flags)
            assert code == 0, err
            assert [found["name"] for found in json.loads(out)["repositories"]] == ["one", "one"]


@pytest.mark.engine
def test_a_full_disk_leaves_no_repository_out(tmp_path: Path) -> None:
    with two(tmp_path) as shop:
        one, more = ("one", [str(tmp_path / "whole")]), ("more", [str(shop.build)])
        (tmp_path / "cache of it").mkdir()
        noise = os.urandom(400_000).hex()
        shop.package("t/c", {"c": b""}, finalize=f"install: ['# {noise}']\n")
        shop.create()
        code = f"""
from tests.unit.test_client_half import configured
from treebuilder.cli.main import main
assert main(["search", ".", *configured(top, {one!r})]) == 0
cache = top / "cache of it"
with (cache / "full").open("wb") as out:
    os.posix_fallocate(out.fileno(), 0, (os.statvfs(cache).f_bavail - 50) * 4096)
print(main(["search", ".", *configured(top, {one!r}, {more!r})]))
"""
        done = in_private_mounts(shop, f"mount -t tmpfs -o size=8m none '{tmp_path}/cache of it'", code)
        assert "no space left" in done.stderr
        assert done.stdout.splitlines()[-1:] == ["2"]
