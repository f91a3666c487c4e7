"""A client that speaks the OCI distribution specification request by request."""

from __future__ import annotations

import hashlib
import http.client
import json
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"


def sha(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Client:
    """A connection that is kept, as clients keep theirs."""

    def __init__(self, address: str) -> None:
        self.connection = http.client.HTTPConnection(address, timeout=20)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        chunked = body is not None and not isinstance(body, bytes)
        self.connection.request(method, path, body, named, encode_chunked=chunked)
        reply = self.connection.getresponse()
        data = reply.read()
        return reply.status, {name.lower(): value for name, value in reply.getheaders()}, data

    def push(self, name: str, data: bytes) -> str:
        """A blob in one request."""
        status, headers, _ = self.ask("POST", f"/v2/{name}/blobs/uploads/?digest={sha(data)}", data)
        assert (status, headers["docker-content-digest"]) == (201, sha(data))
        return sha(data)

    def put(self, name: str, reference: str, value: Any, media: str = MANIFEST) -> tuple[int, dict[str, str], bytes]:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.ask("PUT", f"/v2/{name}/manifests/{reference}", data, Content_Type=media)

    def image(self, name: str, tag: str, layers: list[bytes], **more: Any) -> bytes:
        """A whole image; gives its manifest's bytes."""
        config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}})
        items = [{"mediaType": LAYER, "digest": self.push(name, d), "size": len(d)} for d in layers]
        described = {"mediaType": CONFIG, "digest": self.push(name, config.encode()), "size": len(config)}
        value = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": items, **more}
        data = json.dumps(value).encode()
        assert self.put(name, tag, data)[0] == 201
        return data


def code(reply: tuple[int, dict[str, str], bytes]) -> tuple[int, str]:
    return reply[0], str(json.loads(reply[2])["errors"][0]["code"])
