"""Time and memory of reading trees of specfiles, on generated distributions. No test.

python benchmarks/tree.py [--sizes 100,1000,5000,20000]

Each figure is CPU seconds and peak memory (MB) of a whole process, start included; cold is with an empty cache, warm
the second run. Folders are seconds old when they are first read, as those of a tree that nobody is just writing.
`growth` is how much longer it takes than on the next smaller size, divided by how much larger the tree is: 1.0 is
linear.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.solver_worlds import Distribution
from treebuilder.model.package import Package, PackageRef

TREEBUILD = str(Path(sys.executable).parent / "treebuild")
ROWS = (
    ("list, cold", ["pkglist"], True), ("list, warm", ["pkglist"], False), ("list, one changed", ["pkglist"], False),
    ("compile view, cold", ["pkglist", "--buildtime"], True), ("compile view, warm", ["pkglist", "--buildtime"], False),
    ("plan of one, warm", ["graph"], False), ("plan of everything, warm", ["graph"], False),
    ("validate, warm", ["validate"], False),
)  # fmt: skip
BUILD = """\
env:
- PKG_VERSION={{ .Values.version }}
- PKG_NAME={{ .Values.name }}
prelude:
- mkdir -p /build
steps:
- mkdir -p /usr/share/{{ .Values.category }}/{{ .Values.name }}
- echo "{{ .Values.name }} {{ .Values.version }}" > /usr/share/{{ .Values.category }}/{{ .Values.name }}/info
{{- if hasKey .Values "labels" }}
- echo {{ .Values.labels.layer | default "none" | quote }}
{{- end }}
"""


def refs(key: str, found: tuple[PackageRef, ...]) -> str:
    items = "".join(f'- category: "{r.category}"\n  name: "{r.name}"\n  version: "{r.version}"\n' for r in found)
    return f"{key}:\n{items}" if items else ""


def write(package: Package, root: Path) -> None:
    """A package's specfiles in a folder of its own."""
    id = package.id
    folder = root / id.category / id.name / id.version
    folder.mkdir(parents=True)
    relations = refs("requires", package.requires) + refs("conflicts", package.conflicts)
    definition = f'category: "{id.category}"\nname: "{id.name}"\nversion: "{id.version}"\nlabels:\n  layer: "x"\n'
    (folder / "definition.yaml").write_text(definition + relations + refs("provides", package.provides))
    (folder / "build.yaml").write_text(("" if package.requires else "image: base\n") + relations + BUILD)


def run(words: list[str]) -> tuple[float, float]:
    """CPU seconds and peak memory in MB of a command."""
    process = subprocess.Popen([TREEBUILD, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{words}: {said.decode()[-500:]}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="100,1000,5000,20000")
    before: dict[str, tuple[int, float]] = {}
    print(f"{'specs':>6}  {'what':<26} {'CPU s':>8} {'MB':>6} {'growth':>7}")
    for size in map(int, parser.parse_args().sizes.split(",")):
        world = Distribution(size)
        with tempfile.TemporaryDirectory(prefix="treebuild-bench-") as name:
            root, cache = Path(name, "tree"), Path(name, "cache")
            for package in world.packages:
                write(package, root)
            app = world.applications()[-1]
            time.sleep(3)
            for what, words, cold in ROWS:
                if cold:
                    shutil.rmtree(cache, ignore_errors=True)
                if "changed" in what:
                    id = world.packages[-1].id
                    (root / id.category / id.name / id.version / "build.yaml").touch()
                one = [f"{app.category}/{app.name}"] if "plan of one" in what else []
                seconds, peak = run(["tree", *words, "--tree", str(root), "--cache-dir", str(cache), *one])
                last = before.get(what)
                growth = f"{seconds / last[1] / (size / last[0]):7.2f}" if last else ""
                before[what] = size, seconds
                print(f"{size:6}  {what:<26} {seconds:8.2f} {peak:6.0f} {growth:>7}", flush=True)


if __name__ == "__main__":
    main()
