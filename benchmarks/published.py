"""Images of a system published as packages, on a web server of this machine, for benchmarks of upgrades."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.tinyguest import TREEBUILD

PACKAGE = "system/tiny"
_HOST = "10.0.2.2"  # what QEMU calls this machine


def publish(folder: Path, images: dict[str, Path]) -> Path:
    """The folder of a repository in which each image is a version of a package, with patches between them."""
    out = folder / "build"
    if (folder / "done").exists():
        return out
    for version, image in images.items():
        source, definition = folder / f"source-{version}", folder / "tree" / version
        for made in (source, definition, out):
            made.mkdir(parents=True, exist_ok=True)
        (source / "tiny.img").hardlink_to(image)
        category, _, name = PACKAGE.partition("/")
        (definition / "definition.yaml").write_text(
            json.dumps({"category": category, "name": name, "version": version})
        )
        words = ["pack", f"{PACKAGE}@{version}", "--source", str(source), "--destination", str(out)]
        _run(folder, *words, "--definition", str(definition / "definition.yaml"), "--compression", "zstd")
        words = ["create-repo", "--tree", str(folder / "tree"), "--packages", str(out), "--output", str(out)]
        _run(folder, *words, "--type", "http", "--name", "main", "--delta-from", "1")
    (folder / "done").touch()
    return out


def _run(folder: Path, *words: str) -> None:
    done = subprocess.run(
        [*TREEBUILD, *words, "--cache-dir", str(folder / "cache"), "-q"], cwd=folder, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode != 0:
        sys.exit(done.stderr)


class Server:
    """Serves a folder on loopback, and counts the bytes of bodies that were sent."""

    def __init__(self, port: int) -> None:
        self.port, self.sent = port, 0

    def configuration(self, host: str = _HOST) -> str:
        """luet.yaml of a device that may reach it: a guest with QEMU's own network, or this machine."""
        urls = [f"http://{host}:{self.port}"]
        return json.dumps(
            {"repositories": [{"name": "main", "type": "http", "enable": True, "trust": "none", "urls": urls}]}
        )


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            return

        def copyfile(self, source: object, outputfile: object) -> None:
            while data := source.read(1 << 16):  # type: ignore[attr-defined]
                outputfile.write(data)  # type: ignore[attr-defined]
                with lock:
                    server.sent += len(data)

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                return  # the machine was killed

    lock = threading.Lock()
    handler = partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        server = Server(listening.server_address[1])
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            listening.shutdown()


def moved(folder: Path, repository: Path, versions: tuple[str, str]) -> tuple[int, int]:
    """Bytes that an upgrade of a device in folders moves: to the first version, and from that to the second."""
    for name in ("state", "recovery", "work"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    found = []
    with served(repository) as server:
        (folder / "luet.yaml").write_text(server.configuration("127.0.0.1"))
        for boot, version in enumerate(versions):
            before = server.sent
            where = ["--state", "state", "--recovery", "recovery", "--work", "work", "--boot", str(boot)]
            _run(folder, "device", "upgrade", f"{PACKAGE}@{version}", *where, "--config", "luet.yaml")
            found.append(server.sent - before)
            where[-1] = f"{boot}-after"
            _run(folder, "device", "confirm", *where, "--config", "luet.yaml")
    return found[0], found[1]
