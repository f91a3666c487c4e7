"""What an update moves: the whole archive next to a patch from the version before, and what making and applying take.

    apt-get download linux-image-6.1.0-47-cloud-amd64 linux-image-6.1.0-50-cloud-amd64
    python benchmarks/delta.py linux-image-6.1.0-47*.deb linux-image-6.1.0-50*.deb [OLD NEW ...]

Old and new are folders, Debian packages or packages of treebuild (`.package.tar*`). "whole" is the archive as `build`
writes it, "moved" what a client downloads in its place: the patch and the list of patches of a repository with just
this one. "peak" is the whole memory of a process that applies it. The result is compared with the digest each time.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from treebuilder.archive.compress import compressor, decompressed
from treebuilder.archive.tar import write_folder
from treebuilder.model.digest import Digest
from treebuilder.oci.patch import apply_patch, make_patch
from treebuilder.repository.deltas import Patch, list_document


def digest(path: Path) -> Digest:
    with path.open("rb") as source:
        return Digest(hashlib.file_digest(source, "sha256").hexdigest())


def plain(given: Path, target: Path) -> None:
    """The canonical tar of what was given."""
    if given.suffix == ".deb":
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(["dpkg-deb", "-x", str(given), folder], check=True)
            with target.open("wb") as out:
                write_folder(folder, out)
        return
    with target.open("wb") as out:
        if given.is_dir():
            write_folder(str(given), out)
            return
        with given.open("rb") as source:
            shutil.copyfileobj(decompressed(source), out)


def packed(tar: Path, target: Path) -> None:
    with tar.open("rb") as source, target.open("wb") as out:
        packer = compressor("zstd", out)
        while data := source.read(1 << 20):
            packer.write(data)
        packer.close()


def apply(patch: Path, old: Path, before: Digest, after: Digest) -> None:
    """Run as a process of its own: prints CPU seconds and MiB."""
    began = time.process_time()
    with patch.open("rb") as data, old.open("rb") as base, open(os.devnull, "wb") as out:
        packer = compressor("zstd", out)
        apply_patch(data, base, before, after, 1 << 40, packer.write)
        packer.close()
    status = Path("/proc/self/status").read_text()  # `ru_maxrss` would tell of our parent, too
    peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    print(f"{time.process_time() - began:.2f} {int(peak) >> 10}")


def measure(old: Path, new: Path, work: Path) -> list[str]:
    one, two, patch, whole = (work / name for name in ("one", "two", "patch", "whole"))
    plain(old, one)
    plain(new, two)
    packed(two, whole)
    before, after = digest(one), digest(two)
    began = time.process_time()
    with patch.open("wb") as out:
        make_patch(one, two, before, after, out)
    made_s = time.process_time() - began
    words = [str(patch), str(one), before.hex, after.hex]
    argv = [sys.executable, __file__, "--apply", *words]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    seconds, peak = done.stdout.split()
    size, full = patch.stat().st_size, whole.stat().st_size
    moved = size + len(list_document([Patch(before, after, digest(patch), size)]))
    return [
        new.name[:40], f"{two.stat().st_size / 1e6:.1f}", f"{full / 1e6:.2f}", f"{size / 1e6:.3f}",
        f"{moved / 1e6:.3f}", f"{100 * moved / full:.1f} %", f"{made_s:.1f}", seconds, peak,
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", type=Path, metavar="OLD NEW")
    parser.add_argument("--apply", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.apply:
        patch, old, before, after = args.apply
        apply(Path(patch), Path(old), Digest(before), Digest(after))
        return
    if not args.pairs or len(args.pairs) % 2:
        parser.error("name pairs of an older and a newer version")
    rows = [["new", "tar MB", "whole MB", "patch MB", "moved MB", "of whole", "make CPU s", "apply CPU s", "peak MiB"]]
    for old, new in zip(args.pairs[::2], args.pairs[1::2], strict=True):
        with tempfile.TemporaryDirectory() as work:
            rows.append(measure(old, new, Path(work)))
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    main()
