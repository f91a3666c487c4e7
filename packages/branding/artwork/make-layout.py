"""Writes `pictures/`, an OCI image layout with one layer, out of `files/`. The same bytes every time.

Usage: python3 make-layout.py
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
LAYOUT = HERE / "pictures"
EPOCH_S = 1_700_000_000
CREATED = "2023-11-14T22:13:20Z"


def put(data: bytes) -> tuple[str, int]:
    """Stores a blob; its digest and size."""
    digest = hashlib.sha256(data).hexdigest()
    folder = LAYOUT / "blobs" / "sha256"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / digest).write_bytes(data)
    return f"sha256:{digest}", len(data)


def layer() -> bytes:
    """A tar with /artwork and what lies in files/, sorted, owned by root."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        folder = tarfile.TarInfo("artwork")
        folder.type, folder.mode, folder.mtime = tarfile.DIRTYPE, 0o755, EPOCH_S
        tar.addfile(folder)
        for path in sorted((HERE / "files").iterdir()):
            data = path.read_bytes()
            entry = tarfile.TarInfo(f"artwork/{path.name}")
            entry.size, entry.mode, entry.mtime = len(data), 0o644, EPOCH_S
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def document(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def main() -> None:
    shutil.rmtree(LAYOUT, ignore_errors=True)
    layer_digest, layer_size = put(layer())
    config_digest, config_size = put(
        document(
            {
                "architecture": "amd64",
                "os": "linux",
                "created": CREATED,
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
            }
        )
    )
    manifest_digest, manifest_size = put(
        document(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {
                    "mediaType": "application/vnd.oci.image.config.v1+json",
                    "digest": config_digest,
                    "size": config_size,
                },
                "layers": [
                    {
                        "mediaType": "application/vnd.oci.image.layer.v1.tar",
                        "digest": layer_digest,
                        "size": layer_size,
                    }
                ],
            }
        )
    )
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": manifest_digest,
                "size": manifest_size,
                "platform": {"architecture": "amd64", "os": "linux"},
            }
        ],
    }
    (LAYOUT / "index.json").write_bytes(document(index) + b"\n")
    (LAYOUT / "oci-layout").write_bytes(document({"imageLayoutVersion": "1.0.0"}) + b"\n")


if __name__ == "__main__":
    main()
