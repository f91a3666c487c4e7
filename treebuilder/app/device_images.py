"""Images of a registry, before they are fetched: whether somebody we trust signed them, what for, and how large."""

from __future__ import annotations

import re
from pathlib import Path

from treebuilder.annotations import Any
from treebuilder.app.client_settings import ClientSettings
from treebuilder.app.trusting import show_key, verify_image
from treebuilder.errors import ConfigError
from treebuilder.events import EventSink, Said, Warned
from treebuilder.oci.arriving import UNSEEN
from treebuilder.oci.layout import MAX_JSON, item_digest, json_object, platform_item
from treebuilder.oci.reference import parse_reference, speaks_plain
from treebuilder.oci.remote import Repository, descriptor_size
from treebuilder.records import record
from treebuilder.system.process import Cancel

_VERSION_LABEL = "org.opencontainers.image.version"  # image-spec, annotations.md


@record
class Described:
    """`version`: by its label; "" where it has none. `size_bytes`: of its layers, packed."""

    architecture: str
    version: str
    size_bytes: int


def pinned(
    reference: str, settings: ClientSettings, events: EventSink, cancel: Cancel, *, verify: bool,
    insecure: tuple[str, ...] = (),
) -> str:  # fmt: skip
    """The reference by the digest that a trusted key signed, so that nothing else can be fetched.

    Raises ConfigError (reason "no-keys"), IntegrityError (reasons "unsigned", "wrong-signature"), TransportError.
    """
    named = parse_reference(reference)
    if not verify:
        events.emit(Warned(f"{reference} is used without being verified, as was asked"))
        return reference
    files = _keys(settings)
    if files:
        found = verify_image(reference, files, insecure, cancel)
        events.emit(Said(f"{reference} is signed by {', '.join(found.signers)}"))
        return f"{named.host}/{named.repository}@{found.image}"
    if named.digest is None:
        raise ConfigError(
            f"{reference} comes over a network, and no keys say whose word counts for it", reason="no-keys",
            hint="put a public key into /etc/treebuild/keys.d, name the image by its digest, or say --no-verify",
        )  # fmt: skip
    return reference


def _keys(settings: ClientSettings) -> tuple[str, ...]:
    """Files of the configured keys that sign images."""
    from treebuilder.trust.cosign import IMAGE_KEYS

    found = []
    named = settings.value("keys_confdir")
    for folder in (Path("/", str(name)) for name in (named if isinstance(named, list) else [named])):
        for path in sorted([*folder.glob("*.pub"), *folder.glob("*.pem")]) if folder.is_dir() else ():
            if show_key(str(path)).key.type == IMAGE_KEYS:
                found.append(str(path))
    return tuple(found)


def described(reference: str, cancel: Cancel, folder: Path, insecure: tuple[str, ...] = ()) -> Described:
    """Reads manifest and configuration; of `insecure` hosts by plain HTTP.

    Raises TransportError, IntegrityError, SpecError (no image for us).
    """
    named = parse_reference(reference)
    plain = speaks_plain(named.host, insecure)
    place = Repository(named.host, named.repository, plain, cancel)
    _, manifest = place.manifest(str(named.digest or named.tag), named.digest)
    for _ in range(3):
        if "manifests" not in manifest:
            break
        digest = item_digest(platform_item(manifest, reference), reference)
        _, manifest = place.manifest(str(digest), digest)
    file = folder / "config.json"
    config_digest = item_digest(manifest.get("config") or {}, reference)
    place.blob(config_digest, MAX_JSON, file, UNSEEN)
    config = json_object(file.read_bytes(), reference)
    labels: Any = (config.get("config") or {}).get("Labels") or {}
    version = str(labels.get(_VERSION_LABEL) or "") if isinstance(labels, dict) else ""
    layers = manifest.get("layers")
    size = sum(descriptor_size(item) for item in layers) if isinstance(layers, list) else 0
    return Described(str(config.get("architecture") or ""), version, size)


def version_of_tag(reference: str) -> str:
    """What a reference's tag says: `1.2`, `v1.2`, and of luet's `NAME-CATEGORY-1.2`; "" for a tag that says none."""
    found = re.search(r"(?:^v?|-v?)(\d[\w.+~-]*)\Z", parse_reference(reference).tag)
    return found[1] if found else ""
