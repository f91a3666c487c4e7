"""What pushes and pulls come to when the network, the registry, the disk or the process fails under them. No test.

python benchmarks/registry_faults.py [--points 20] [--seed 1]

Some blobs and a manifest are pushed to a registry, or pulled from it, by a process of its own; at a random byte or
request one fault happens. What failed is run again. `again` are runs that were needed beyond the first; `finished` are
cases that came to their end; `wrong` are bytes under a name that is not theirs, looked for after every run; `lost` is
what was there before, or was said to be there, and is not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.faulty_proxy import Proxy
from treebuilder.errors import TreebuildError
from treebuilder.model.digest import Digest
from treebuilder.oci import session
from treebuilder.oci.remote import Progress, Repository
from treebuilder.serve.exchange import BodyError, Exchange, RefusedError
from treebuilder.serve.registry import Registry
from treebuilder.serve.server import Listening, serving
from treebuilder.serve.storage import Storage
from treebuilder.system.process import Cancel

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
NAME = "some/thing"
STALL_LIMIT_S = 1.0  # the client's own limit is a minute, which is long to wait for in a benchmark
RUNS = 5
BYTES = ("reset", "stall", "truncated", "flipped byte", "client killed", "registry killed")
REQUESTS = ("429, Retry-After", "500", "503", "wrong length", "token expired")
FAULTS = (*BYTES, *REQUESTS, "disk full")


# the process that works ----------------------------------------------------------------------------------------------
class Silent:
    def emit(self, event: object) -> None:
        return


def work(kind: str, address: str, folder: Path) -> int:
    """Pushes all files of a folder, or pulls all that a manifest names into it; files appear under their digests."""
    session.TIMEOUT_S = (STALL_LIMIT_S, STALL_LIMIT_S)
    place = Repository(address, NAME, True, Cancel())
    try:
        if kind == "push":
            items = []
            for file in sorted(folder.iterdir()):
                size = file.stat().st_size
                place.push_blob(Digest(file.name), size, lambda file=file: file.open("rb", buffering=0))  # type: ignore[misc]
                items.append({"mediaType": "x/layer", "digest": f"sha256:{file.name}", "size": size})
            place.put_manifest("new", manifest(items), MANIFEST)
            return 0
        _, value = place.manifest("new", None)
        for item in value["layers"]:
            digest = Digest.parse(item["digest"])
            if not (folder / digest.hex).exists():
                part = folder / f"{digest.hex}.part"
                place.blob(digest, item["size"], part, Progress("x", Silent()))
                part.rename(folder / digest.hex)
        (folder / "done").write_bytes(b"")
    except (TreebuildError, OSError) as err:
        sys.stderr.write(f"{err}\n")
        return 2
    return 0


def manifest(items: list[dict[str, object]]) -> bytes:
    value = {"schemaVersion": 2, "mediaType": MANIFEST, "config": items[0], "layers": items}
    return json.dumps(value, sort_keys=True).encode()


# the registry --------------------------------------------------------------------------------------------------------
class Faulty:
    """A registry that does one wrong thing at one request. With `token` it wants one."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.asked = 0
        self.at = -1
        self.fault = ""
        self.token = ""

    def answer(self, exchange: Exchange) -> None:
        if exchange.path == "/token":
            exchange.json(200, {"token": self.token})
            return
        self.asked += 1
        now = self.asked == self.at
        if now and self.fault == "token expired":
            self.token = secrets.token_hex(8)
        if self.token and exchange.headers.get("Authorization") != f"Bearer {self.token}":
            realm = f'Bearer realm="http://{exchange.headers["Host"]}/token",service="x",scope="repository:{NAME}:pull,push"'
            raise RefusedError(401, "UNAUTHORIZED", "a token is needed", {"WWW-Authenticate": realm})
        if now and self.fault.split(",")[0] in ("429", "500", "503"):
            later = {"Retry-After": "1"} if "Retry-After" in self.fault else {}
            raise RefusedError(int(self.fault[:3]), "UNKNOWN", "not now", later)
        if now and self.fault == "wrong length":
            exchange.forget_body()
            status = {"GET": 200, "POST": 202, "PATCH": 202, "PUT": 201}.get(exchange.method)
            if status is not None:
                exchange._head(status, {"Content-Length": "100000"})
                exchange._handler.wfile.write(b"too little")
            raise BodyError("on purpose")
        self._registry.answer(exchange)


@contextmanager
def here(folder: Path) -> Iterator[tuple[Faulty, int]]:
    storage = Storage(folder)
    site = Faulty(Registry(storage))
    with serving(site, Listening("127.0.0.1", 0)) as address:
        yield site, int(address.rpartition(":")[2])
    storage.close()


class Elsewhere:
    """A registry in a process of its own, which can be killed and comes back."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder, self._port = folder, port
        self._start()

    def _start(self) -> None:
        words = [sys.executable, "-m", "treebuilder", "registry", "serve", str(self._folder), "--json", "-q"]
        self._process = subprocess.Popen(
            [*words, "--address", f"127.0.0.1:{self._port}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def again(self) -> None:
        self._process.kill()
        self._process.wait()
        self._start()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


# one case ------------------------------------------------------------------------------------------------------------
@dataclass
class Row:
    cases: int = 0
    again: int = 0
    finished: int = 0
    wrong: int = 0
    lost: int = 0
    said: set[str] = field(default_factory=set)


class Bench:
    def __init__(self, top: Path, rng: random.Random) -> None:
        self.top, self.rng = top, rng
        self.blobs = top / "blobs"
        self.blobs.mkdir()
        for size in (30_000, 700, 900_000, 250_000, 1_400_000, 60_000):
            data = rng.randbytes(size)
            (self.blobs / hashlib.sha256(data).hexdigest()).write_bytes(data)
        self.names = sorted(path.name for path in self.blobs.iterdir())
        self.total = sum(path.stat().st_size for path in self.blobs.iterdir())
        self.requests = {"push": 0, "pull": 0}

    def case(self, kind: str, fault: str, row: Row, number: int) -> None:
        top = self.top / f"{kind}-{fault.replace(' ', '-')}-{number}"
        registry, out = top / "registry", top / "out"
        for folder in (registry, out):
            folder.mkdir(parents=True)
        with ExitStack() as used:
            full = fault == "disk full"
            if full:
                small = registry if kind == "push" else out
                mount(small, 200_000 + self.rng.randrange(self.total))
                used.callback(subprocess.run, ["umount", "-l", small], check=True)
            if kind == "pull":
                self.fill(registry)
            site, port = used.enter_context(here(registry)) if fault != "registry killed" else (None, free_port())
            server = Elsewhere(registry, port) if site is None else None
            used.callback(server.stop if server is not None else lambda: None)
            proxy = used.enter_context(Proxy(port))
            if site is not None and fault in REQUESTS:
                site.at, site.fault = self.rng.randint(1, self.requests[kind]), fault
                site.token = secrets.token_hex(8) if fault == "token expired" else ""
            row.cases += 1
            for run in range(RUNS):
                words = [sys.executable, __file__, "--child", kind, f"127.0.0.1:{proxy.port}"]
                child = subprocess.Popen(
                    [*words, str(self.blobs if kind == "push" else out)], stderr=subprocess.PIPE, text=True,
                    env={**os.environ, "DOCKER_CONFIG": str(top)},
                )  # fmt: skip
                if run == 0 and fault in BYTES:
                    acts: dict[str, Callable[[], None]] = {"client killed": child.kill}
                    if server is not None:
                        acts["registry killed"] = server.again
                    proxy.arm(kind == "push", self.rng.randrange(self.total), fault, acts.get(fault))
                _, said = child.communicate()
                row.said.add(said.strip()[:150])
                row.wrong += self.wrong(registry) + self.wrong(out)
                if child.returncode == 0:
                    row.again += run
                    row.finished += 1
                    break
                if full:
                    subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
            self.requests[kind] = self.requests[kind] or (site.asked if site is not None else 0)
            proxy.settle()
            row.lost += self.missing(registry, ("old", "new") if kind == "pull" else ("new",))
            row.lost += sum(not (out / name).is_file() for name in self.names) if kind == "pull" else 0
        shutil.rmtree(top)

    def fill(self, registry: Path) -> None:
        """The registry as a push leaves it, with an older tag beside."""
        storage = Storage(registry)
        with serving(Registry(storage), Listening("127.0.0.1", 0)) as address:
            assert work("push", address, self.blobs) == 0
            first = (self.blobs / self.names[0]).stat().st_size
            item: dict[str, object] = {"mediaType": "x/l", "digest": f"sha256:{self.names[0]}", "size": first}
            Repository(address, NAME, True, Cancel()).put_manifest("old", manifest([item]), MANIFEST)
        storage.close()

    def wrong(self, folder: Path) -> int:
        """Files named by a digest that is not theirs."""
        named = [path for path in folder.rglob("*") if path.is_file() and len(path.name) == 64]
        return sum(hashlib.sha256(path.read_bytes()).hexdigest() != path.name for path in named)

    def missing(self, registry: Path, tags: tuple[str, ...]) -> int:
        """What a tag of the registry leads to and is not there; a tag that is not there counts too."""
        storage = Storage(registry)
        try:
            gone = 0
            for tag in tags:
                found = storage.manifest(NAME, tag)
                if found is None:
                    gone += 1
                    continue
                value = json.loads(storage.path(found.digest).read_bytes())
                gone += sum(not storage.has_blob(NAME, item["digest"]) for item in value["layers"])
            return gone
        finally:
            storage.close()


def mount(folder: Path, size: int) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=FAULTS, action="append")
    parser.add_argument("--child", nargs=3)
    args = parser.parse_args()
    if args.child:
        raise SystemExit(work(args.child[0], args.child[1], Path(args.child[2])))
    began = time.monotonic()
    if os.geteuid() == 0:
        from treebuilder.container import namespace

        namespace.enter_private_mounts()
    print(f"{'fault':<18}{'':6}{'points':>7}{'finished':>10}{'again':>7}{'wrong':>7}{'lost':>6}")
    bad = 0
    with tempfile.TemporaryDirectory(prefix="treebuild-faults-") as name:
        bench = Bench(Path(name), random.Random(args.seed))
        for kind in ("push", "pull"):
            bench.case(kind, "none", Row(), 0)  # counts the requests
        for fault in args.only or FAULTS:
            if fault == "disk full" and os.geteuid() != 0:
                print(f"{fault:<18}needs root")
                continue
            for kind in ("push", "pull"):
                row = Row()
                for number in range(args.points):
                    bench.case(kind, fault, row, number)
                bad += row.wrong + row.lost + row.cases - row.finished
                counts = f"{row.cases:>7}{row.finished:>10}{row.again:>7}{row.wrong:>7}{row.lost:>6}"
                print(f"{fault:<18}{kind:6}{counts}", flush=True)
    print(f"{time.monotonic() - began:.0f} s")
    raise SystemExit(1 if bad else 0)


if __name__ == "__main__":
    main()
