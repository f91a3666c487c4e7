"""Kills, interrupts, damage, two runs at once: the cache is old or new, never half, and nothing is left behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.services import privately
from tests.trees import Project, chain, requires

pytestmark = pytest.mark.engine

BUILD = ("build", "--tree", "packages", "--destination", "build")


def make(top: Path) -> Project:
    top.mkdir(exist_ok=True)
    project = Project(top)
    project.base()
    chain(project, ["t/a", "t/b", "t/c", "t/d"])
    project.package("t/wide", requires("seed/base") + "steps:\n- 'for i in $(seq 200); do echo $i > /w$i; done'\n")
    return project


def packages(project: Project) -> dict[str, bytes]:
    found = {p.name: p.read_bytes() for p in sorted(project.build.iterdir())}
    assert found
    return found


def leftovers(project: Project) -> list[str]:
    """Processes, mounts and work folders that mention the project's cache."""
    found = [
        f"mount {line.split()[1]}" for line in Path("/proc/mounts").read_text().splitlines() if str(project.top) in line
    ]
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if str(project.top).encode() in words and int(entry.name) != os.getpid():
            found.append(f"process {words!r}")
    return found


def settle(project: Project) -> list[str]:
    """What is still there a moment later: the kernel takes a killed container down asynchronously."""
    for _ in range(100):
        if not leftovers(project):
            return []
        time.sleep(0.05)
    return leftovers(project)


def test_two_folders_and_two_caches_give_equal_bytes(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one"), make(tmp_path / "two")
    for project in (one, two):
        assert project.building("t/d", "t/wide").code == 0
    assert packages(one) == packages(two)


def strike(project: Project, chance: random.Random, again: bool) -> str:
    """Kills a run while it builds: at a random event from the first step on, and a moment later. What it said last.

    Empty when the run ended before that, which it cannot where everything is built `again`.
    """
    more = ["--rebuild"] if again else []
    process = project.process(*BUILD, *more, "--progress", "json", "t/d", "t/wide")
    assert process.stderr is not None
    wait, last = chance.randrange(8), b""
    for line in process.stderr:
        last = line if last or b'"build ' in line else b""
        wait -= 1 if last else 0
        if wait < 0:
            break
    time.sleep(chance.uniform(0, 0.02))
    os.killpg(process.pid, signal.SIGKILL)
    out, _ = process.communicate()
    return last.decode() if process.returncode == -signal.SIGKILL and not out else ""


def test_killed_twenty_times_then_finished(tmp_path: Path) -> None:
    whole, broken = make(tmp_path / "whole"), make(tmp_path / "broken")
    assert whole.building("t/d", "t/wide").code == 0
    chance = random.Random(7)
    struck: list[str] = []
    again = False
    while len(struck) < 20:
        found = strike(broken, chance, again)
        assert found or not again, "a run that builds everything was not struck"
        again = again or not found  # what is left of a killed build carries on, until nothing is left
        struck += [found] if found else []
    assert len(set(struck)) > 5, struck  # not always the same moment
    assert settle(broken) == []
    done = broken.building("t/d", "t/wide")
    assert done.code == 0, done.stderr
    assert packages(broken) == packages(whole)
    assert list((broken.top / "cache" / "tmp").iterdir()) == []


def test_what_a_killed_run_was_writing_is_removed_by_the_next(tmp_path: Path) -> None:
    project = make(tmp_path)
    repository = ("create-repo", "--tree", "packages", "--packages", "build", "--output", "repo", "--name", "r")
    assert project.building("t/a").code == 0
    assert project.run(*repository).code == 0
    for folder in (project.build, tmp_path / "repo"):
        (folder / ".a-t-1.0.metadata.yaml.0123456789abcdef").write_text("half")
    (project.build / "a-t-1.0.package.tar.zst").unlink()
    assert project.building("t/a").code == 0
    assert project.run(*repository).code == 0
    for folder in (project.build, tmp_path / "repo"):
        assert [name for name in os.listdir(folder) if name.startswith(".")] == []
        assert len(os.listdir(folder)) > 1


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.base()
    step = f"sleep 3{os.getpid()}"  # another run of these tests has other ones
    project.package("t/slow", requires("seed/base") + f"steps:\n- {step}\n")
    process = project.process(*BUILD, "t/slow")
    while not running(step):
        assert process.poll() is None, "the step never began"
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 130, said
    assert settle(project) == []
    assert not running(step)
    assert list((project.top / "cache" / "tmp").iterdir()) == []


def running(step: str) -> bool:
    """Whether some process is that."""
    done = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return any(line.strip() == step for line in done.stdout.splitlines())


def test_two_runs_at_once_build_equal_nodes_once(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.base()
    project.package("t/x", requires("seed/base") + "steps:\n- sleep 1; echo x > /x\n")
    runs = [project.process(*BUILD[:-1], name, "t/x") for name in ("one", "two")]
    import json

    counts = []
    for run in runs:
        out, err = run.communicate(timeout=60)
        assert run.returncode == 0, err
        counts.append(json.loads(out)["counts"]["built"])
    assert sorted(counts)[0] < 2
    assert (tmp_path / "one/x-t-1.0.package.tar.zst").read_bytes() == (
        tmp_path / "two/x-t-1.0.package.tar.zst"
    ).read_bytes()


def test_damaged_archives_are_found_and_made_again(tmp_path: Path) -> None:
    project = make(tmp_path / "p")
    assert project.building("t/d").code == 0
    before = packages(project)
    for blob in (project.top / "cache/blobs/sha256").iterdir():
        blob.chmod(0o644)
        blob.write_bytes(b"damage" + blob.read_bytes()[6:])
    for path in project.build.iterdir():
        path.unlink()
    done = project.building("t/d")
    assert done.code == 0, done.stderr
    assert packages(project) == before


def test_damaged_layers_are_found_and_made_again(tmp_path: Path) -> None:
    project = make(tmp_path / "p")
    assert project.building("t/d").code == 0
    before = packages(project)
    cache = project.top / "cache"
    for tree in (cache / "trees/host/sha256").iterdir():
        for name in ("a", "b", "bin/busybox"):
            if (tree / name).is_file():
                (tree / name).write_bytes(b"")
    path = project.tree / "t/d/build.yaml"
    path.write_text(path.read_text() + "# again\n")
    for artifact in project.build.iterdir():
        artifact.unlink()
    done = project.building("t/d")
    assert done.code == 0, done.stderr
    assert {n: d for n, d in packages(project).items() if n.endswith(".zst")} == {
        n: d for n, d in before.items() if n.endswith(".zst")
    }


def test_verify_finds_a_changed_byte(tmp_path: Path) -> None:
    project = make(tmp_path / "p")
    assert project.building("t/a").code == 0
    assert project.run("cache", "verify").value["damaged"] == []
    tree = next(t for t in (project.top / "cache/trees/host/sha256").iterdir() if (t / "a").is_file())
    info = (tree / "a").stat()
    (tree / "a").write_text("t/A\n")
    os.utime(tree / "a", ns=(info.st_atime_ns, info.st_mtime_ns))
    found = project.run("cache", "verify")
    assert found.code == 2
    assert len(found.value["damaged"]) == 1
    assert project.building("t/a").code == 0


def test_collecting_keeps_what_is_used(tmp_path: Path) -> None:
    project = make(tmp_path / "p")
    assert project.building("t/d").code == 0
    assert project.run("cache", "gc", "--older-than", "1").value["entries"] == []
    assert project.run("cache", "gc", "--older-than", "0").value["entries"] != []
    assert project.building("t/d").code == 0


def test_a_full_disk_is_one_clear_error(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    project = Project(tmp_path, cache="small/cache")
    project.base()
    project.package("t/big", requires("seed/base") + "steps:\n- dd if=/dev/zero of=/big bs=1M count=64\n")
    script = (
        f"mount -t tmpfs -o size=24m tmpfs {small} && exec {sys.executable} -m treebuilder build --tree packages"
        f" --destination build --quiet --cache-dir {small}/cache t/big"
    )
    done = subprocess.run(privately(script), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "No space left" in done.stderr or "no space left" in done.stderr
    assert "Traceback" not in done.stderr
    assert f"free some space in {small}/cache" in done.stderr


def test_a_full_destination_is_named(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    project = Project(tmp_path)
    project.base()
    project.package("t/big", requires("seed/base") + "steps:\n- dd if=/dev/urandom of=/big bs=1M count=8\n")
    script = (
        f"mount -t tmpfs -o size=2m tmpfs small && exec {sys.executable} -m treebuilder build --tree packages"
        " --destination small/build --quiet --cache-dir cache t/big"
    )
    done = subprocess.run(privately(script), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "free some space in small/build" in done.stderr
    assert "cache" not in done.stderr
