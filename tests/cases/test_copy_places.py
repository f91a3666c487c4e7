"""What `repo copy` may write over: repositories and empty folders, never what somebody else put there."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.cases.test_repo_copy import Lab, lab, place, shown
from tests.services import privately
from treebuilder.oci.remote import Repository

__all__ = ["lab"]


def refused(lab: Lab, source: str, to: str) -> str:
    code, value, _ = lab.say("repo", "copy", source, to)
    assert code == 1
    return str(value["error"]["message"])


def test_an_address_without_a_text_is_none(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `"$MIRROR"` is, where nobody set it. It is not the current folder."""
    (lab.top / "here").mkdir()
    monkeypatch.chdir(lab.top / "here")
    for source, to in ((lab.build, ""), (lab.build, " "), ("", str(lab.top / "to"))):
        assert "empty" in refused(lab, source, to)
    code, value, _ = lab.say("repo", "gc", "", "--yes")
    assert (code, "empty" in value["error"]["message"]) == (1, True)
    assert list((lab.top / "here").iterdir()) == []


@pytest.mark.parametrize("files", [{"letter.txt"}, {"sub/letter.txt"}, {".hidden"}, {"repository.yaml.old"}])
def test_a_folder_of_somebody_else_is_refused(lab: Lab, files: set[str]) -> None:
    home = lab.top / "home"
    for name in files:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("dear")
    node = home.stat().st_ino
    assert "no repository" in refused(lab, lab.build, str(home))
    assert (set(shown(home)), home.stat().st_ino) == (files, node)


def test_a_file_is_refused(lab: Lab) -> None:
    (lab.top / "file").write_text("dear")
    assert "no folder" in refused(lab, lab.build, str(lab.top / "file"))
    assert (lab.top / "file").read_text() == "dear"


def tar_of(path: Path, *names: str) -> bytes:
    with tarfile.open(path, "w") as out:
        for name in names:
            out.addfile(tarfile.TarInfo(name))
    return path.read_bytes()


def test_a_tar_of_somebody_else_is_refused(lab: Lab) -> None:
    to = lab.top / "backup.tar"
    for data in (tar_of(to, "home/letter.txt"), b"no tar at all" * 100, tar_of(to, *map(str, range(500)))[:-9000]):
        to.write_bytes(data)
        assert "no bundle" in refused(lab, lab.build, str(to))
        assert to.read_bytes() == data
    to.write_bytes(b"")  # as mktemp makes it
    assert lab.copy(lab.build, str(to))["changed"]
    whole = to.read_bytes()
    to.write_bytes(whole[: len(whole) // 2])
    assert lab.copy(lab.build, str(to))["changed"], "one that was cut off on its way"
    assert to.read_bytes() == whole
    assert not lab.copy(lab.build, str(to))["changed"]


@pytest.mark.parametrize("name", ["UPPER/x:y", "team/os:latest", "team/os@sha256:0", "UPPER/x:y/z"])
def test_what_looks_like_a_reference_and_is_none_is_no_new_folder(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (lab.top / "here").mkdir()
    monkeypatch.chdir(lab.top / "here")
    code, value, _ = lab.say("repo", "copy", lab.build, name)
    assert code == 1
    assert "./" in value["error"]["hint"]
    assert list((lab.top / "here").iterdir()) == []
    assert lab.copy(lab.build, f"./{name}")["changed"]
    assert lab.copy(lab.build, name)["changed"] is False, "what is there as a folder is one"


@pytest.mark.parametrize("way", ["empty", "new", "lost+found", "cut off", "snapshot"])
def test_these_are_taken(lab: Lab, way: str) -> None:
    to = lab.top / "to"
    if way != "new":
        to.mkdir()
    if way == "lost+found":
        (to / "lost+found").mkdir()
    if way == "cut off":
        (to / ".incoming").mkdir()
        (to / "tree.tar.gz").write_bytes(b"half of it")
    if way == "snapshot":
        lab.copy(lab.build, str(to), "--snapshot", "may")
    assert lab.copy(lab.build, str(to))["changed"]
    assert lab.installed("disk", str(to)) == {"two.txt"}


def test_folders_of_what_stays_keep_their_times_and_modes(lab: Lab) -> None:
    to = lab.top / "to"
    lab.copy(lab.build, str(to))
    (to / "notes/deep").mkdir(parents=True)
    (to / "notes/deep/mine.txt").write_text("stays")
    for path, mode, stamp in ((to / "notes/deep", 0o750, 10**18), (to / "notes", 0o2775, 2 * 10**18)):
        path.chmod(mode)
        os.utime(path, ns=(stamp, stamp))
    before = to.stat().st_ino
    lab.package("3.0", "three")
    lab.shop.create()
    assert lab.copy(lab.build, str(to))["changed"]
    assert to.stat().st_ino != before, "it was exchanged"
    for path, mode, stamp in ((to / "notes/deep", 0o750, 10**18), (to / "notes", 0o2775, 2 * 10**18)):
        assert (path.stat().st_mode & 0o7777, path.stat().st_mtime_ns) == (mode, stamp)
    assert (to / "notes/deep/mine.txt").read_text() == "stays"


def test_what_is_mounted_in_the_folder_stays(lab: Lab) -> None:
    """A folder is not exchanged under a mount, and nothing is deleted through one: neither now nor when it is left
    over."""
    to, data = lab.top / "to", lab.top / "data"
    lab.copy(lab.build, str(to))
    (to / "big disk").mkdir()
    data.mkdir()
    (data / "precious").write_text("dear")
    left = lab.top / ".to.mirror-0123456789abcdef"
    (left / "inner").mkdir(parents=True)
    lab.package("3.0", "three")
    lab.shop.create()
    words = f"repo copy {lab.build} {to} --cache-dir {lab.top}/mirror --config {lab.top}/conf.yaml --quiet"
    script = (
        f"mount --bind {data} '{to}/big disk' && mount --bind {data} {left}/inner &&"
        f" {sys.executable} -m treebuilder {words} && cat '{to}/big disk/precious' &&"
        f" {sys.executable} -m treebuilder {words}"
    )
    done = subprocess.run(privately(script), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "dear" in done.stdout
    assert (data / "precious").read_text() == "dear"
    assert lab.installed("disk", str(to)) == {"three.txt"}
    assert not (to / ".incoming").exists()


# registries -----------------------------------------------------------------------------------------------------------
def led(at: Repository) -> dict[str, str]:
    return {tag: str(at.digest_of(tag)) for tag in at.tags()}


@pytest.mark.parametrize("source", ["folder", "registry"])
def test_tags_move_at_the_end(lab: Lab, source: str) -> None:
    """luet's clients go by tags: those that lead somewhere move when all else is there, and the index's last."""
    lab.copy(lab.build, lab.docker)
    at = place(lab)
    lab.package("3.0", "three")
    lab.shop.package("app/y", {"y.txt": b"y" * 5000})
    lab.shop.create()
    before = led(at)
    start = lab.build
    if source == "registry":
        start = f"{lab.address}/new/os"
        lab.copy(lab.build, start)
    asked = len(lab.registry.asked)
    lab.copy(start, lab.docker)
    stored = [
        line.rpartition("/")[2] for line in lab.registry.asked[asked:] if line.startswith("PUT /v2/team/os/manifests")
    ]
    assert {tag for tag, digest in before.items() if led(at)[tag] != digest} == {
        "tree.tar.gz", "repository.meta.yaml.tar", "compilertree.tar.gz", "repository.yaml",
    }  # fmt: skip
    assert set(stored[-4:-1]) == {"tree.tar.gz", "repository.meta.yaml.tar", "compilertree.tar.gz"}
    assert stored[-1] == "repository.yaml"
    assert before.keys().isdisjoint(stored[:-4])
    assert {"x-app-3.0", "y-app-1.0"} <= set(stored[:-4])


def test_a_broken_package_leaves_the_tags_of_a_registry(lab: Lab) -> None:
    lab.copy(lab.build, lab.docker)
    at = place(lab)
    before = led(at)
    lab.package("3.0", "three")
    lab.shop.create()
    path = next(lab.shop.build.glob("x-app-3*.package.tar.zst"))
    path.write_bytes(b"broken")
    code, _, _ = lab.say("repo", "copy", lab.build, lab.docker, cache="fresh")
    assert code != 0
    assert {tag: digest for tag, digest in led(at).items() if tag in before} == before


def test_a_snapshot_takes_no_tag_from_the_newest(lab: Lab) -> None:
    """Both have a package of one name and version, with other content."""
    other = lab.top / "other"
    lab.copy(lab.build, str(other), "--snapshot", "may")
    (lab.shop.build / "may-repository.yaml").unlink()
    lab.package("1.0", "again")
    lab.shop.create()
    lab.copy(lab.build, lab.docker)
    at = place(lab)
    before = led(at)
    assert lab.copy(str(other), lab.docker, "--snapshot", "may")["changed"]
    assert {tag: digest for tag, digest in led(at).items() if tag in before} == before
    assert lab.installed("docker", lab.docker) == {"again.txt"}
    assert lab.installed("docker", lab.docker, reference="may-repository.yaml") == {"one.txt"}


@pytest.mark.parametrize("kind", ["registry", "folder"])
def test_revisions_only_grow(lab: Lab, kind: str) -> None:
    """Who saw the newer one, or another repository's, refuses what would come then."""
    to = lab.docker if kind == "registry" else str(lab.top / "to")
    old, same, other = lab.top / "old", lab.top / "same", lab.top / "other"
    lab.copy(lab.build, str(old))
    for folder in (same, other):
        lab.copy(lab.build, str(folder))
    index = (old / "repository.yaml").read_text()
    (other / "repository.yaml").write_text(index.replace("name: test", "name: other"))
    lab.package("3.0", "three")
    lab.shop.create()
    lab.copy(lab.build, to)
    newer = (lab.shop.build / "repository.yaml").read_text()
    revision = newer.partition("revision: ")[2].partition("\n")[0]
    before = index.partition("revision: ")[2].partition("\n")[0]
    assert int(revision) > int(before)
    (same / "repository.yaml").write_text(index.replace(f"revision: {before}", f"revision: {revision}"))
    for folder, reason in ((old, "rolled-back"), (same, "rolled-back"), (other, "other-repository")):
        code, value, _ = lab.say("repo", "copy", str(folder), to)
        assert (code, value["error"]["reason"], "--force" in value["error"]["hint"]) == (1, reason, True)
        assert lab.installed("disk" if kind == "folder" else "docker", to) == {"three.txt"}
    code, value, err = lab.say("repo", "copy", str(old), to, "--force")
    assert (code, value["copied"]["changed"], "refuse what comes" in err) == (0, True, True)
    assert lab.installed("disk" if kind == "folder" else "docker", to) == {"two.txt"}


def test_what_replaces_a_signed_index_unsigned_is_warned_of(lab: Lab) -> None:
    to = str(lab.top / "to")
    lab.copy(lab.build, to)
    (lab.top / "to/repository.yaml.sig").write_bytes(b"somebody's\n")
    lab.package("3.0", "three")
    lab.shop.create()
    code, _, err = lab.say("repo", "copy", lab.build, to)
    assert (code, "is not signed" in err) == (0, True)


def test_what_a_killed_run_left_beside_a_bundle_is_swept(lab: Lab) -> None:
    left, writing, mine = (lab.top / f".os.tar.{name}" for name in ("0" * 16, "1" * 16, "notes"))
    for path in (left, writing, mine):
        path.write_bytes(b"half of it")
    with writing.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        lab.copy(lab.build, str(lab.top / "os.tar"))
    assert (left.exists(), writing.exists(), mine.exists()) == (False, True, True)
