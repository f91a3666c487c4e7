"""What publishing to a registry costs: requests and bytes, and its speed beside `skopeo copy`. No test.

python benchmarks/registry.py [--sizes 1,1000,5000] [--megabytes 200]

Requests and bytes are counted between `create-repo --type docker --push-images` and a registry: the first time,
unchanged, with one package changed, and of a client that asks for what is new. The speed is that of one image pushed to
and pulled from Debian's registry, by a process of ours and by skopeo in turns; the median of five.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.client import artifact
from benchmarks.faulty_proxy import Proxy
from benchmarks.registry_faults import MANIFEST, NAME, Silent, manifest
from benchmarks.solver_worlds import Distribution
from benchmarks.tree import run, write
from tests import services
from treebuilder.model.digest import Digest
from treebuilder.serve.exchange import Exchange
from treebuilder.serve.registry import Registry
from treebuilder.serve.server import Listening, serving
from treebuilder.serve.storage import Storage

ROUNDS = 5
LAYERS = 4
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


class Counting:
    """A registry that counts what it is asked for."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.asked = 0

    def answer(self, exchange: Exchange) -> None:
        self.asked += 1
        self._registry.answer(exchange)


@contextmanager
def counted(folder: Path) -> Iterator[tuple[Counting, Proxy]]:
    storage = Storage(folder)
    site = Counting(Registry(storage))
    with serving(site, Listening("127.0.0.1", 0)) as address, Proxy(int(address.rpartition(":")[2])) as proxy:
        yield site, proxy
    storage.close()


def publishing(size: int, top: Path) -> None:
    """All figures of a repository of so many packages, in the folder `top`."""
    tree, build = top / "tree", top / "build"
    build.mkdir()
    packages = Distribution(max(size, 20)).packages[:size]
    for package in packages:
        write(package, tree)
        artifact(package, build)
    with counted(top / "registry") as (site, proxy):
        where = f"127.0.0.1:{proxy.port}/bench/repo"
        create = ["create-repo", "--tree", str(tree), "--packages", str(build), "--output", where, "--name", "bench"]
        create += ["--type", "docker", "--push-images", "--cache-dir", str(top / "cache")]
        config = top / "config.yaml"
        config.write_text(
            "repositories:\n- name: bench\n  type: docker\n  enable: true\n  cached: true\n  trust: none\n"
            f"  urls:\n  - {where}\n"
        )
        client = ["repo", "update", "--config", str(config), "--cache-dir", str(top / "client")]

        def measure(what: str, words: list[str]) -> None:
            asked, (up, down) = site.asked, proxy.moved
            seconds, _ = run(words)
            sent, read = ((after - before) / 1e3 for after, before in zip(proxy.moved, (up, down), strict=True))
            figures = f"{site.asked - asked:9} {sent:10.1f} {read:10.1f} {seconds:8.2f}"
            print(f"{size:6}  {what:<26} {figures}", flush=True)

        measure("publish, new", create)
        measure("publish, unchanged", create)
        measure("client, first", client)
        measure("client, nothing new", client)
        last = packages[-1]
        (build / f"{last.id.fingerprint}.package.tar").unlink()
        (build / f"{last.id.fingerprint}.metadata.yaml").unlink()
        artifact(last, build, " again")
        measure("publish, one changed", create)
        measure("client, one changed", client)


def image(folder: Path, megabytes: int) -> None:
    """An image of random bytes, as an OCI layout and as bare blobs beside it."""
    layout = folder / "layout"
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)
    names = []
    for _ in range(LAYERS):
        data = os.urandom(megabytes * 1_000_000 // LAYERS)
        names.append((hashlib.sha256(data).hexdigest(), len(data)))
        (blobs / names[-1][0]).write_bytes(data)
    config = {
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{name}" for name, _ in names]},
    }  # fmt: skip
    told = put(blobs, json.dumps(config).encode())
    manifest = {
        "schemaVersion": 2, "mediaType": MANIFEST, "config": {"mediaType": CONFIG, **told},
        "layers": [{"mediaType": LAYER, "digest": f"sha256:{name}", "size": size} for name, size in names],
    }  # fmt: skip
    shutil.copytree(blobs, folder / "blobs")
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    index = {"schemaVersion": 2, "manifests": [{"mediaType": MANIFEST, **put(blobs, json.dumps(manifest).encode())}]}
    index["manifests"][0]["annotations"] = {"org.opencontainers.image.ref.name": "new"}  # type: ignore[index]
    (layout / "index.json").write_text(json.dumps(index))


def put(blobs: Path, data: bytes) -> dict[str, object]:
    name = hashlib.sha256(data).hexdigest()
    (blobs / name).write_bytes(data)
    return {"digest": f"sha256:{name}", "size": len(data)}


def move(kind: str, address: str, folder: Path) -> None:
    """Our side: the blobs of a folder sent, or those of the image fetched into it, four at a time."""
    from concurrent.futures import ThreadPoolExecutor

    from treebuilder.oci.remote import Progress, Repository
    from treebuilder.system.process import Cancel

    place = Repository(address, NAME, True, Cancel())

    def push(file: Path) -> dict[str, object]:
        size = file.stat().st_size
        place.push_blob(Digest(file.name), size, lambda: file.open("rb", buffering=0))
        return {"mediaType": LAYER, "digest": f"sha256:{file.name}", "size": size}

    def pull(item: dict[str, Any]) -> None:
        digest = Digest.parse(item["digest"])
        place.blob(digest, item["size"], folder / digest.hex, Progress("x", Silent()))

    with ThreadPoolExecutor(4) as pool:
        if kind == "push":
            items = list(pool.map(push, sorted(folder.iterdir())))
            place.put_manifest("new", manifest(items), MANIFEST)
        else:
            list(pool.map(pull, place.manifest("new", None)[1]["layers"]))


def timed(words: list[str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{words}: {done.stderr[-500:]}")
    return time.perf_counter() - began


def throughput(megabytes: int) -> None:
    """Push and pull of one image by us and by skopeo."""
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        print("no skopeo to compare with: apt-get install skopeo")
        return
    found: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="treebuild-bench-") as name:
        top = Path(name)
        image(top, megabytes)
        ours = [sys.executable, __file__, "--work"]
        for turn in range(ROUNDS):
            with services.registry() as address:
                insecure = ["--dest-tls-verify=false", "--src-tls-verify=false"]
                copy = [skopeo, "copy", "--quiet", "--insecure-policy", *insecure]
                there = f"docker://{address}/other/thing:new"
                steps = [
                    (("push", "treebuild"), [*ours, "push", address, str(top / "blobs")]),
                    (("push", "skopeo"), [*copy, f"oci:{top / 'layout'}:new", there]),
                    (("pull", "treebuild"), [*ours, "pull", address, str(top / "pulled")]),
                    (("pull", "skopeo"), [*copy, there, f"oci:{top / 'copied'}:new"]),
                ]
                for key, words in steps if turn % 2 else (steps[1], steps[0], steps[3], steps[2]):
                    (top / "pulled").mkdir(exist_ok=True)
                    found.setdefault(key, []).append(timed(words))
                    for folder in ("pulled", "copied"):
                        shutil.rmtree(top / folder, ignore_errors=True)
    for way in ("push", "pull"):
        us, them = (statistics.median(found[way, who]) for who in ("treebuild", "skopeo"))
        print(
            f"{way} of {megabytes} MB: {us:.2f} s, {megabytes / us:.0f} MB/s; skopeo {them:.2f} s, "
            f"{megabytes / them:.0f} MB/s: {them / us:.2f} x its speed"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1,1000,5000", help="packages of a repository (default: 1,1000,5000)")
    parser.add_argument("--megabytes", type=int, default=200, help="of the image that is moved (default: 200)")
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        kind, address, folder = args.work
        move(kind, address, Path(folder))
        return
    sizes = [int(size) for size in args.sizes.split(",") if size]
    if sizes:
        print(f"{'count':>6}  {'what':<26} {'requests':>9} {'KB sent':>10} {'KB read':>10} {'CPU s':>8}")
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="treebuild-bench-") as name:
            os.chmod(name, 0o755)
            publishing(size, Path(name))
    throughput(args.megabytes)


if __name__ == "__main__":
    main()
