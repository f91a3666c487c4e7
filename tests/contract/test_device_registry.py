"""A device in folders and a real registry: images and packages, signed and not, and a registry that dies midway."""

from __future__ import annotations

import io
import json
import os
import socket
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.docker_parts import publish
from tests.services import program, registry
from tests.unit.device_fleet import Fleet, answer, fleet, lay
from treebuilder.device.contents import machine as go_machine
from treebuilder.oci.remote import Repository
from treebuilder.system.process import Cancel
from treebuilder.trust.keys import new_key

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with registry() as found:
        yield found


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> Iterator[Fleet]:
    program("mksquashfs", "squashfs-tools")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with fleet(tmp_path) as made:
        made.installed("1.0")
        made.package("2.0")
        capsys.readouterr()
        yield made


def asked(device: Fleet, capsys: Capture, *words: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert device.run(*words) == code
    return answer(capsys.readouterr().out, words[0])


def refused(device: Fleet, capsys: Capture, *words: str) -> str:
    capsys.readouterr()
    assert device.run(*words) in (1, 2)
    assert device.versions() == ["1.0", "1.0", "1.0"]
    return str(json.loads(capsys.readouterr().out)["error"]["reason"])


def test_the_newest_package_of_a_registry(device: Fleet, capsys: Capture, address: str) -> None:
    publish(device.shop, address)
    url = f"{address}/a/repo"
    device.configure(type="docker", url=url)
    assert refused(device, capsys, "upgrade", "system/os") == "no-keys"
    device.configure(type="docker", url=url, trust="none")
    assert asked(device, capsys, "upgrade", "system/os")["version"] == "2.0"
    assert device.boot() == "2.0"


def test_the_image_of_a_package_by_its_reference(device: Fleet, capsys: Capture, address: str) -> None:
    publish(device.shop, address, force=True)
    reference = f"{address}/a/repo:os-system-2.0"
    assert refused(device, capsys, "upgrade", reference) == "no-keys"
    said = asked(device, capsys, "upgrade", reference, "--no-verify")
    assert (said["state"], said["version"]) == ("upgraded", "2.0")
    assert device.boot() == "2.0"


def test_an_image_named_by_its_digest_needs_no_key(device: Fleet, capsys: Capture, address: str) -> None:
    publish(device.shop, address, force=True)
    host, digest = f"{address}/a/repo", Repository(address, "a/repo", True, Cancel()).digest_of("os-system-2.0")
    assert asked(device, capsys, "upgrade", f"{host}@{digest}")["version"] == "2.0"  # its os-release says so


def test_images_are_signed_by_whom_the_device_trusts(
    device: Fleet, capsys: Capture, address: str
) -> None:  # fmt: skip
    team, other = new_key("ecdsa-p256"), new_key("ecdsa-p256")
    keys = device.top / "keys.d"
    keys.mkdir()
    (keys / "team.pub").write_bytes(team.public.pem)
    reference = f"{address}/a/repo:os-system-2.5"
    device.package("2.5")
    publish(device.shop, address, force=True)
    assert refused(device, capsys, "upgrade", reference) == "unsigned"
    publish(device.shop, address, force=True, keys=(other,))
    assert refused(device, capsys, "upgrade", reference) == "wrong-signature"
    publish(device.shop, address, force=True, keys=(team,))
    said = asked(device, capsys, "upgrade", reference)
    assert said["version"] == "2.5"
    assert "@sha256:" in said["source"]


def test_an_image_for_another_machine_is_not_even_fetched(device: Fleet, capsys: Capture, address: str) -> None:
    place = Repository(address, "a/foreign", True, Cancel())
    layer = place.push_small(b"nobody reads this")
    config = place.push_small(json.dumps({"architecture": "riscv64", "os": "linux", "config": {}}).encode())
    media = "application/vnd.oci.image.manifest.v1+json"
    manifest = {
        "schemaVersion": 2, "mediaType": media,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": str(config), "size": 60},
        "layers": [
            {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": str(layer), "size": 17},
        ],
    }  # fmt: skip
    place.put_manifest("1.5", json.dumps(manifest).encode(), media)
    assert refused(device, capsys, "upgrade", f"{address}/a/foreign:1.5", "--no-verify") == "architecture"


def push_image(place: Repository, folder: Path, version: str, base: Path) -> str:
    """An image of two layers: a base, and the version's own name; its digest."""
    own = folder / version
    (own / "etc").mkdir(parents=True)
    (own / "etc/os-release").write_text(f'ID=test\nIMAGE_VERSION="{version}"\n')
    layers = []
    for tree in (base, own):
        with io.BytesIO() as out:
            with tarfile.open(fileobj=out, mode="w") as tar:
                for name in sorted(os.listdir(tree)):
                    tar.add(tree / name, name)
            layers.append(out.getvalue())
    config = json.dumps({"architecture": go_machine(), "os": "linux", "config": {}}).encode()
    documents = [("config", config), *(("layer", layer) for layer in layers)]
    media = {"config": "application/vnd.oci.image.config.v1+json", "layer": "application/vnd.oci.image.layer.v1.tar"}
    items = [
        {"mediaType": media[kind], "digest": str(place.push_small(data)), "size": len(data)} for kind, data in documents
    ]
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": items[0], "layers": items[1:]}
    return str(place.put_manifest(version, json.dumps(manifest).encode(), kind))


def test_layers_of_the_last_image_are_not_fetched_again(
    device: Fleet, capsys: Capture, address: str, tmp_path: Path
) -> None:
    place, base = Repository(address, "a/layers", True, Cancel()), lay(tmp_path / "base", "1.0")
    (base / "usr/share/filler").write_bytes(os.urandom(3_000_000))
    for version in ("3.0", "4.0", "5.0"):
        push_image(place, tmp_path / "versions", version, base)
    work = tmp_path / "work"
    work.mkdir()
    between = Dying(address, 1 << 40)

    def moved(version: str) -> int:
        before = between.left
        words = ("upgrade", f"{between.address}/a/layers:{version}", "--no-verify", "--work", str(work))
        said = asked(device, capsys, *words)
        assert said["version"] == version
        # beside layers there are headers and manifests
        assert 0 < said["fetched_bytes"] <= before - between.left <= said["fetched_bytes"] + 20_000
        assert said["image_bytes"] > 3_000_000
        assert device.boot() == version
        assert asked(device, capsys, "confirm")["state"] == "confirmed"
        return before - between.left

    try:
        assert moved("3.0") > 3_000_000
        assert moved("4.0") < 100_000
        base_blob = max(
            (work / ".treebuild-upgrade/store/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size
        )
        with base_blob.open("r+b") as file:  # a disk that rots: found, and fetched anew
            file.seek(2_000_000)
            file.write(b"not what it was")
        assert moved("5.0") > 3_000_000
    finally:
        between.close()


class Dying:
    """Stands before a registry, and ends every connection once so many bytes have come back."""

    def __init__(self, target: str, after: int) -> None:
        host, _, port = target.partition(":")
        self._target, self.left = (host, int(port)), after
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            if self.left <= 0:
                near.close()
                continue
            far = socket.create_connection(self._target)
            for source, sink, counted in ((near, far, False), (far, near, True)):
                threading.Thread(target=self._pass, args=(source, sink, counted), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        try:
            while data := source.recv(8192):
                if counted:
                    self.left -= len(data)
                    if self.left <= 0:
                        break
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)  # closing alone would let its thread wait on
        self._server.close()


def test_a_registry_that_dies_midway_and_one_that_comes_back(device: Fleet, capsys: Capture, address: str) -> None:
    publish(device.shop, address, force=True)
    between = Dying(address, 30_000)
    try:
        reference = f"{between.address}/a/repo:os-system-2.0"
        capsys.readouterr()
        assert device.run("upgrade", reference, "--no-verify") == 2
        out = capsys.readouterr()
        assert json.loads(out.out)["error"]["reason"] == "transport"
        assert out.err.count("error:") == 1
        assert device.versions() == ["1.0", "1.0", "1.0"]
        assert device.boot() == "1.0"
        between.left = 1 << 40
        assert asked(device, capsys, "upgrade", reference, "--no-verify")["state"] == "upgraded"
    finally:
        between.close()
    assert device.boot() == "2.0"
    assert device.leftovers() == []


def test_the_newest_package_when_the_registry_is_gone(device: Fleet, capsys: Capture) -> None:
    device.configure(type="docker", url="127.0.0.1:9/a/repo", trust="none")
    assert refused(device, capsys, "upgrade", "system/os") == "transport"
