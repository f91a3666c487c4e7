"""Speed as ratios to a floor that is measured in the same run; nothing here is a test.

make bench            a no-op of 100 packages, a chain of ten, start-up
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))

from tests.trees import Project, chain, write_layout  # noqa: E402

PYTHON = sys.executable
TREEBUILD = [str(Path(PYTHON).parent / "treebuild")]


def timed(what: Callable[[], object]) -> float:
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def command(words: list[str], cwd: Path = TOP) -> None:
    done = subprocess.run(words, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode != 0:
        sys.exit(f"{words}: {done.stderr.decode()}")


def show(name: str, ours: list[float], floor: list[float], floor_name: str) -> None:
    a, b = statistics.median(ours), statistics.median(floor)
    low, high = min(ours) * 1000, max(ours) * 1000
    print(f"{name:<34} {a * 1000:8.1f} ms ({low:.1f} to {high:.1f})   {a / b:6.2f} x {floor_name} ({b * 1000:.1f} ms)")


def startup(rounds: int = 15) -> None:
    """`treebuild --help` beside the import of a popular command-line library."""
    ours, floor = [], []
    for _ in range(rounds):
        ours.append(timed(lambda: command([*TREEBUILD, "--help"])))
        floor.append(timed(lambda: command([PYTHON, "-c", "import click"])))
    show("treebuild --help", ours, floor, "python -c 'import click'")


def no_op(folder: Path, rounds: int = 9) -> None:
    """A hundred packages with a thousand context files, everything cached."""
    project = Project(folder)
    project.base()
    names = [f"t/p{i:03}" for i in range(99)]
    for name in names:
        made = project.package(name, "image: oci:busybox\n")
        for i in range(10):
            (made / f"file{i}").write_text(f"{name} {i}\n")
        write_layout(made / "busybox", applets=False)
    words = [*TREEBUILD, "build", "--tree", "packages", "--destination", "build", "--cache-dir", "cache", "--all", "-q"]
    command(words, folder)
    ours, floor = [], []
    for _ in range(rounds):
        ours.append(timed(lambda: command(words, folder)))
        floor.append(timed(lambda: command([PYTHON, "-c", "import sqlite3, argparse, json"])))
    show("no-op, 100 packages, 1000 files", ours, floor, "bare interpreter with sqlite3")


def bare_step(base: Path, work: Path, number: int) -> float:
    """Mount an overlay as mount(8) does, run one command in the same runtime, unmount; how many seconds that took."""
    from treebuilder.container import overlay
    from treebuilder.container.sandbox import Sandbox, run
    from treebuilder.system.process import Cancel

    folders = [work / f"{kind}{number}" for kind in ("upper", "work", "root")]
    for folder in folders:
        folder.mkdir()
    began = time.perf_counter()
    with overlay.mounted([str(base)], *folders, unprivileged=False, volatile=False):
        status = run(
            Sandbox(folders[2], ("/bin/sh", "-c", "echo x > /x"), {"PATH": "/bin"}), log=lambda _: None, cancel=Cancel()
        )
    took = time.perf_counter() - began
    assert status == 0
    return took


def ten_in_a_chain(folder: Path, rounds: int = 15) -> None:
    """Ten trivial packages on a base, cold, beside ten bare mount + run + unmount of the same runtime."""
    from treebuilder.container import namespace

    namespace.enter_private_mounts()
    base = folder / "floor"
    for name in ("bin", "dev", "proc", "sys", "etc"):
        (base / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", base / "bin/busybox")
    os.symlink("busybox", base / "bin/sh")
    project = Project(folder)
    project.base()
    names = [f"t/p{i}" for i in range(10)]
    chain(project, names, "steps:\n- echo {name} > /{short}\n")
    command(
        [*TREEBUILD, "build", "--tree", "packages", "--destination", "build", "-q", "--cache-dir", "warm", "seed/base"],
        folder,
    )
    ours, floor = [], []
    for turn in range(rounds):
        # Fresh folders each time, removed in the end: ext4 looks at each lately freed inode before it makes a new one.
        cache, out = f"cache{turn}", f"out{turn}"
        shutil.copytree(folder / "warm", folder / cache, symlinks=True)
        words = ["build", "--tree", "packages", "--destination", out, "-q", "--cache-dir", cache, names[-1]]
        ours.append(timed(lambda words=words: command([*TREEBUILD, *words], folder)))  # type: ignore[misc]
        work = folder / f"bare{turn}"
        work.mkdir()
        floor.append(sum(bare_step(base, work, number) for number in range(10)))
        shutil.rmtree(work)
    show("chain of ten on a base, cold", ours, floor, "ten bare overlay + run")


def main() -> None:
    startup()
    with tempfile.TemporaryDirectory(prefix="treebuild-bench-") as name:
        no_op(Path(name))
    if os.geteuid() == 0:
        with tempfile.TemporaryDirectory(prefix="treebuild-bench-") as name:
            ten_in_a_chain(Path(name))


if __name__ == "__main__":
    main()
