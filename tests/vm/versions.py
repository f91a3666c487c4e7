"""Further versions of the system: one that is published in a registry, and images that are good, or not."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from tests.isos import VALUES, treebuild
from treebuilder.archive.compress import decompressed
from treebuilder.archive.extract import Writer
from treebuilder.archive.reading import entries
from treebuilder.records import record

HOST = "10.0.2.2"  # as machines of qemu's user network see us
CHANNEL = "stable"


@record
class Released:
    """A published version: where machines find it, and whom they trust. `image` is its package as a container image."""

    version: str
    url: str
    image: str
    public_key: str
    key: Path
    address: str

    def config(self) -> str:
        """A cloud-config file for COS_OEM: the repository, its key, and the channel to follow."""
        repository = {
            "repositories": [
                {
                    "name": "sampleOS", "type": "docker", "enable": True, "cached": True, "urls": [self.url],
                    "trust": {"keys": ["/oem/team.pub"]},
                }
            ]
        }  # fmt: skip
        files = [
            {"path": "/oem/team.pub", "permissions": 0o644, "content": self.public_key},
            {"path": "/etc/treebuild/keys.d/team.pub", "permissions": 0o644, "content": self.public_key},
            {"path": "/etc/luet/luet.yaml", "permissions": 0o644, "content": json.dumps(repository)},
        ]
        stage = {
            "directories": [{"path": "/etc/treebuild/keys.d", "permissions": 0o755}],
            "files": files,
            "environment_file": "/etc/cos-upgrade-image",
            "environment": {"CHANNEL": CHANNEL, "UPGRADE_IMAGE": "system/sampleOS", "VERIFY": "true"},
        }
        return json.dumps({"name": "where versions come from", "stages": {"initramfs": [stage]}}, indent=1)


def released(folder: Path, tree: Path, build: Path, address: str) -> Released:
    """Publishes a version to a registry, signed, and lets a channel lead to it."""
    key = folder / "team.key"
    if not key.exists():
        treebuild(folder, "key", "new", str(key))
    repository = f"{address}/os"
    treebuild(
        folder, "create-repo", "--tree", str(tree), *VALUES, "--packages", str(build), "--name", "sampleOS",
        "--type", "docker", "--output", repository, "--push-images", "--sign", str(key), "--snapshot-id", "1",
    )  # fmt: skip
    channel(folder, key, address, "publish", CHANNEL, "--snapshot", "1", "--package", "system/sampleOS")
    host = f"{HOST}:{address.rpartition(':')[2]}"
    return Released(
        "0.6.0", f"http://{host}/os", f"{host}/os:sampleOS-system-0.6.0",
        Path(f"{key}.pub").read_text(), key, address,
    )  # fmt: skip


def channel(folder: Path, key: Path, address: str, verb: str, *words: str) -> None:
    """A verb of `treebuild channel` on the repository in the registry."""
    treebuild(
        folder, "channel", verb, *words, "--type", "docker", "--repository", f"{address}/os", "--sign", str(key)
    )  # fmt: skip


def root_of(folder: Path, build: Path) -> Path:
    """The root file system of a version: its package, unpacked, once."""
    root = folder / f"root-{build.name}"
    if not root.exists():
        part = folder / f"{root.name}.part"
        shutil.rmtree(part, ignore_errors=True)
        archive = next(build.glob("sampleOS-system-*.package.tar*"))
        part.mkdir()
        with archive.open("rb") as source, Writer(str(part)) as writer:
            for entry, content in entries(decompressed(source), archive.name):
                writer.add(entry, content)
        part.rename(root)
    return root


def image_of(root: Path, out: Path, changes: dict[str, str | None]) -> Path:
    """A slot's image of a root file system in which some files are others (None: gone). Packed fast, not small."""
    copy = out.with_suffix(".root")
    subprocess.run(["cp", "-a", "--reflink=auto", root, copy], check=True)
    try:
        for name, content in changes.items():
            path = copy / name
            path.unlink(missing_ok=True)
            if content is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
                path.chmod(0o755)
        argv = ["mksquashfs", str(copy), str(out), "-comp", "gzip", "-Xcompression-level", "1", "-b", "256K", "-quiet"]
        subprocess.run([*argv, "-no-progress", "-noappend"], check=True, capture_output=True)
    finally:
        shutil.rmtree(copy)
    return out
