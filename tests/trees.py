"""Small trees for tests: a busybox base in an OCI layout of the tree itself, so nothing comes from outside."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from treebuilder.cli.main import main

APPLETS = (
    "sh", "cat", "chmod", "chown", "cp", "dd", "echo", "env", "grep", "head", "id", "kill", "ln", "ls", "mkdir",
    "mkfifo", "mknod", "mv", "od", "printf", "rm", "rmdir", "sed", "seq", "sleep", "sort", "stat", "sync", "tail",
    "tar", "test", "touch", "true", "uname", "wc",
)  # fmt: skip


def write_layout(folder: Path, files: dict[str, bytes] | None = None, *, applets: bool = True) -> Path:
    """An OCI image layout of one layer: busybox with its applets, and `files` (path: content)."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for name in ("bin", "etc", "tmp", "usr", "usr/bin"):
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(info)
        if applets:
            data = Path("/bin/busybox").read_bytes()
            info = tarfile.TarInfo("bin/busybox")
            info.size, info.mode = len(data), 0o755
            tar.addfile(info, io.BytesIO(data))
            for applet in APPLETS:
                info = tarfile.TarInfo(f"bin/{applet}")
                info.type, info.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(info)
        for name, content in sorted((files or {}).items()):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o644
            tar.addfile(info, io.BytesIO(content))
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin:/usr/bin", "BASE=yes"]},
        "rootfs": {},
    }
    described = put(json.dumps(config, sort_keys=True).encode())
    manifest = {
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **described},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **put(layer.getvalue())}],
    }  # fmt: skip
    index = {
        "schemaVersion": 2,
        "manifests": [{"mediaType": manifest["mediaType"], **put(json.dumps(manifest).encode())}],
    }
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return folder


@dataclass
class Result:
    """What a command came to: exit code, the JSON on stdout, the text on stderr."""

    code: int
    value: dict[str, Any]
    stderr: str

    def states(self) -> dict[str, str]:
        return {f"{n['category']}/{n['name']}": n["state"] for n in self.value["nodes"]}

    def node(self, name: str) -> dict[str, Any]:
        found = [n for n in self.value["nodes"] if f"{n['category']}/{n['name']}" == name]
        assert found, f"{name} is not in {self.value}"
        return dict(found[-1])


@dataclass
class Project:
    """A folder with a tree, a cache and a destination of its own."""

    top: Path
    cache: str = "cache"
    flags: list[str] = field(default_factory=list)

    @property
    def tree(self) -> Path:
        return self.top / "packages"

    @property
    def build(self) -> Path:
        return self.top / "build"

    def package(self, name: str, recipe: str, definition: str = "", version: str = "1.0", **files: str) -> Path:
        """Writes a package `category/name`; `files` are further files of its folder (`a__b` is a.b)."""
        category, _, short = name.rpartition("/")
        folder = self.tree / category / short
        folder.mkdir(parents=True, exist_ok=True)
        text = f'category: "{category}"\nname: "{short}"\nversion: "{version}"\n{definition}'
        (folder / "definition.yaml").write_text(text)
        (folder / "build.yaml").write_text(recipe)
        for file, content in files.items():
            (folder / file.replace("__", ".")).write_text(content)
        return folder

    def base(self, files: dict[str, bytes] | None = None) -> None:
        """`seed/base`: busybox."""
        folder = self.package("seed/base", "image: oci:busybox\n")
        write_layout(folder / "busybox", files)

    def words(self, *words: str) -> list[str]:
        return [*words, "--cache-dir", str(self.top / self.cache), "--quiet", *self.flags]

    def run(self, *words: str) -> Result:
        """Runs a verb in this process."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(self.top):
            code = main([*self.words(*words), "--json"])
        lines = [line for line in out.getvalue().splitlines() if line.startswith("{")]
        return Result(code, json.loads(lines[-1]) if lines else {}, err.getvalue())

    def building(self, *packages: str) -> Result:
        return self.run("build", "--tree", "packages", "--destination", "build", *packages)

    def process(self, *words: str) -> subprocess.Popen[bytes]:
        """Starts a verb as a process of its own, leader of its group."""
        argv = [sys.executable, "-m", "treebuilder", *self.words(*words), "--json"]
        return subprocess.Popen(
            argv, cwd=self.top, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )

    def content(self, fingerprint: str) -> dict[str, tarfile.TarInfo]:
        """The entries of a built package by name."""
        with tarfile.open(fileobj=io.BytesIO(self.plain(fingerprint))) as tar:
            return {info.name: info for info in tar}

    def plain(self, fingerprint: str) -> bytes:
        import zstandard

        data = (self.build / f"{fingerprint}.package.tar.zst").read_bytes()
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)

    def text(self, fingerprint: str, path: str) -> str:
        with tarfile.open(fileobj=io.BytesIO(self.plain(fingerprint))) as tar:
            found = tar.extractfile(path)
            assert found is not None
            return found.read().decode()


def chain(project: Project, names: list[str], steps: str = "steps:\n- echo {name} > /{short}\n") -> None:
    """Packages each requiring the one before, the first the base."""
    before = "seed/base"
    for name in names:
        category, _, short = before.rpartition("/")
        text = f'requires:\n- category: "{category}"\n  name: "{short}"\n  version: ">=0"\n'
        project.package(name, text + steps.format(name=name, short=name.rpartition("/")[2]))
        before = name


def requires(*names: str) -> str:
    lines = [f'- {{category: "{n.rpartition("/")[0]}", name: "{n.rpartition("/")[2]}", version: ">=0"}}' for n in names]
    return "requires:\n" + "\n".join(lines) + "\n"
