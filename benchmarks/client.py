"""Time and memory of repositories and of the client: composing, syncing, searching, changing a root. No test.

python benchmarks/client.py [--sizes 100,1000,5000,20000] [--unpack FOLDER]

First a package of what lies in FOLDER (/usr/share) is unpacked, in turn by us and by `tar -x --zstd`, three times each.
Then each figure is of a whole process, start included: CPU seconds of all its processors, seconds that passed, and peak
memory (MB). `growth` is how much more CPU it takes than on the next smaller size, divided by how much larger the
repository is: 1.0 is linear, 0.0 constant.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.solver_worlds import Distribution
from benchmarks.tree import run, write
from treebuilder.build import metadata
from treebuilder.model.digest import Digest
from treebuilder.model.package import Package, Recipe, Step
from treebuilder.nodes.writing import write_yaml

_ENVIRONMENT = os.environ | {"PYTHONPATH": sys.path[0]}


def artifact(package: Package, folder: Path, more: str = "") -> None:
    """A package as a build leaves it: a small archive, with `more` in it, and its metadata."""
    id = package.id
    name = f"usr/share/{id.category}/{id.name}/info"
    content = f"{id.name} {id.version}{more}\n".encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    data = out.getvalue()
    file = f"{id.fingerprint}.package.tar"
    (folder / file).write_bytes(data)
    digest = Digest(hashlib.sha256(data).hexdigest())
    steps = (Step(f"mkdir -p /usr/share/{id.category}/{id.name}"), Step(f"echo {id.version} > /{name}"))
    described = metadata.document(
        build_view=package, runtime=package, recipe=Recipe(image="base", steps=steps), file_name=file, sha256=digest,
        compression="none", files=(name,), content=digest, epoch_s=1_700_000_000, seed="", extra={},
    )  # fmt: skip
    (folder / f"{id.fingerprint}.metadata.yaml").write_bytes(write_yaml(described))


class Table:
    """Prints one line for each figure."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[int, float]] = {}
        print(f"{'count':>6}  {'what':<28} {'CPU s':>8} {'s':>8} {'MB':>6} {'growth':>7}")

    def measure(self, size: int, what: str, words: list[str]) -> None:
        began = time.monotonic()
        seconds, peak = run(words)
        passed = time.monotonic() - began
        last = self._before.get(what)
        growth = f"{seconds / last[1] / (size / last[0]):7.2f}" if last else ""
        self._before[what] = size, seconds
        print(f"{size:6}  {what:<28} {seconds:8.2f} {passed:8.2f} {peak:6.0f} {growth:>7}", flush=True)


def measure(size: int, top: Path, table: Table) -> None:
    """All figures of one size, in the folder `top`."""
    tree, build = top / "tree", top / "build"
    build.mkdir()
    world = Distribution(size)
    for package in world.packages:
        write(package, tree)
        artifact(package, build)
    create = ["create-repo", "--tree", str(tree), "--packages", str(build), "--output", str(build), "--name", "bench"]
    cache = ["--cache-dir", str(top / "cache")]
    table.measure(size, "create-repo, new", [*create, *cache])
    table.measure(size, "create-repo, unchanged", [*create, *cache])
    artifact(world.packages[0], build)
    table.measure(size, "create-repo, one changed", [*create, *cache])
    (top / "root").mkdir(exist_ok=True)
    config = top / "config.yaml"
    repository = f"name: bench\n  type: disk\n  enable: true\n  cached: true\n  urls:\n  - {build}\n"
    config.write_text(f"repositories:\n- {repository}")
    client = ["--config", str(config), "--cache-dir", str(top / "client"), "--system-target", str(top / "root")]
    app = world.applications()[-1]
    table.measure(size, "search, first", ["search", *client, f"{app.name}-"])
    table.measure(size, "search", ["search", *client, f"{app.name}-"])
    plan = ["install", "--dry-run", "--yes", *client, f"{app.category}/{app.name}"]
    table.measure(size, "plan of one", plan)
    names = [f"{found.category}/{found.name}" for found in world.applications()]
    table.measure(size, "install of one", ["install", *client, names[-1]])
    table.measure(size, f"install of {min(100, len(names) - 1)}", ["install", "--nodeps", *client, *names[:-1][:100]])
    installed = ["--config", str(config), "--cache-dir", str(top / "client"), "--system-target", str(top / "root")]
    table.measure(size, "search --installed", ["search", "--installed", *installed, f"{app.name}-"])
    table.measure(size, "upgrade, with what they need", ["upgrade", *client])  # --nodeps brought none of it
    table.measure(size, "upgrade, nothing new, first", ["upgrade", *client])
    table.measure(size, "upgrade, nothing new", ["upgrade", *client])
    table.measure(size, "uninstall of one", ["uninstall", *installed, names[-1]])


_UNPACK = """import sys
from treebuilder.archive.compress import decompressed
from treebuilder.archive.extract import unpack_package
with open(sys.argv[1], "rb") as source:
    unpack_package(decompressed(source), sys.argv[2], "the package")
"""


def unpacking(source: Path, top: Path, rounds: int = 3) -> None:
    """Prints least CPU seconds, and seconds that passed, of both ways with the same bytes."""
    if shutil.which("zstd") is None:
        print("unpacking is not measured: tar needs the program zstd")
        return
    archive = top / "package.tar.zst"
    subprocess.run(["tar", "-C", source, "--zstd", "-cf", archive, "."], check=True)
    ways = {
        "treebuild": [sys.executable, "-c", _UNPACK, archive],
        "tar -x --zstd": ["tar", "-x", "--zstd", "-f", archive],
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, words in ways.items():
            root = top / "unpacked"
            root.mkdir()
            began = time.monotonic()
            process = subprocess.Popen(
                [*words, root] if name == "treebuild" else [*words, "-C", root], env=_ENVIRONMENT
            )
            _, status, used = os.wait4(process.pid, 0)
            taken[name].append((used.ru_utime + used.ru_stime, time.monotonic() - began))
            if status:
                sys.exit(f"{name} could not unpack {archive}")
            shutil.rmtree(root)
    for name, found in taken.items():
        cpu, passed = (min(column) for column in zip(*found, strict=True))
        print(f"{archive.stat().st_size >> 20:4} MB  unpacked by {name:<16} {cpu:8.2f} {passed:8.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="100,1000,5000,20000")
    parser.add_argument("--unpack", type=Path, default=Path("/usr/share"), metavar="FOLDER")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="treebuild-bench-") as name:
        unpacking(args.unpack, Path(name))
    table = Table()
    for size in map(int, args.sizes.split(",")):
        with tempfile.TemporaryDirectory(prefix="treebuild-bench-") as name:
            os.chmod(name, 0o755)
            measure(size, Path(name), table)


if __name__ == "__main__":
    main()
