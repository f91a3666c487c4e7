"""Signatures of images in real registries: written once, found again, and judged when somebody meddled with them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.contract.docker_parts import publish
from tests.sites import Counted
from tests.unit.repository_parts import Workshop
from treebuilder.errors import ConfigError, IntegrityError, TransportError
from treebuilder.model.digest import Digest
from treebuilder.oci.layerimage import MANIFEST
from treebuilder.oci.remote import Repository
from treebuilder.repository.docker import tag_of
from treebuilder.repository.image_signing import ImageSigner, find_signatures
from treebuilder.system.process import Cancel
from treebuilder.trust import cosign
from treebuilder.trust.keys import PrivateKey, new_key

pytestmark = pytest.mark.usefixtures("no_logins")

KEY, OTHER = new_key(), new_key()
KEYS = (KEY.public,)


def place_at(address: str) -> Repository:
    return Repository(address, "a/repo", True, Cancel())


def image_in(place: Repository, text: str = "one") -> tuple[Digest, int]:
    """Something that can be signed; its digest and size."""
    config = place.push_small(b"{}")
    described = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": str(config), "size": 2}
    data = json.dumps({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": [], "annotations": {"text": text}
    }).encode()  # fmt: skip
    return place.put_manifest(text, data, MANIFEST), len(data)


def sign(place: Repository, image: tuple[Digest, int], *keys: PrivateKey) -> bool:
    return ImageSigner(lambda: place, keys).sign(*image)


def tamper(place: Repository, image: Digest, payload: bytes, signature: str) -> None:
    made = cosign.signature_image(payload, [signature], image)
    for blob in made.blobs:
        place.push_small(blob)
    place.put_manifest(made.tag, made.manifest, MANIFEST)


def test_both_forms_are_found_and_not_written_again(address: str) -> None:
    place = place_at(address)
    image = image_in(place)
    assert find_signatures(place, image[0], KEYS) == ()
    assert sign(place, image, KEY)
    found = find_signatures(place, image[0], KEYS)
    assert [(each.form, each.signers, each.fault) for each in found] == [
        ("tag", (KEY.public.id,), ""), ("bundle", (KEY.public.id,), "")
    ]  # fmt: skip
    before = place.tags(), place.digest_of(cosign.signature_tag(image[0]))
    assert not sign(place, image, KEY)
    assert (place.tags(), place.digest_of(cosign.signature_tag(image[0]))) == before


def test_signatures_of_others_stay(address: str) -> None:
    place = place_at(address)
    image = image_in(place)
    assert sign(place, image, OTHER)
    assert sign(place, image, OTHER, KEY)
    both = tuple(sorted((KEY.public.id, OTHER.public.id)))
    found = find_signatures(place, image[0], (KEY.public, OTHER.public))
    assert [each.form for each in found] == ["tag", "tag", "bundle", "bundle"]
    assert tuple(sorted({id for each in found for id in each.signers})) == both
    assert len(place.referrers(image[0])) == 2


def test_foreign_and_forged_signatures_are_told(address: str) -> None:
    place = place_at(address)
    image, other = image_in(place), image_in(place, "two")
    sign(place, image, OTHER)
    found = find_signatures(place, image[0], KEYS)
    assert [(each.signers, each.fault) for each in found] == [((), "of none of the keys")] * 2

    # ours, taken from another image
    payload = cosign.cosign_payload(str(place), other[0])
    tamper(place, image[0], payload, cosign.cosign_signature(payload, KEY))
    stolen = next(each for each in find_signatures(place, image[0], KEYS) if each.form == "tag")
    assert not stolen.signers
    assert "something else" in stolen.fault

    tamper(place, image[0], cosign.cosign_payload(str(place), image[0]), "bm90IGEgc2lnbmF0dXJl")
    forged = next(each for each in find_signatures(place, image[0], KEYS) if each.form == "tag")
    assert not forged.signers

    # what is there does not keep us from signing
    assert sign(place, image, KEY)
    assert any(each.form == "tag" and each.signers for each in find_signatures(place, image[0], KEYS))


def test_a_stolen_bundle_is_told(address: str) -> None:
    place = place_at(address)
    image, other = image_in(place), image_in(place, "two")
    made = cosign.bundle_referrer(cosign.bundle(other[0], KEY), image[0], size=image[1])
    for blob in made.blobs:
        place.push_small(blob)
    place.put_referrer(made.manifest, MANIFEST, image[0], {"artifactType": cosign.BUNDLE})
    (found,) = find_signatures(place, image[0], KEYS)
    assert (found.form, found.signers) == ("bundle", ())
    assert "something else" in found.fault


def test_openssl_judges_what_is_in_the_registry(address: str, tmp_path: Path) -> None:
    import base64

    from treebuilder.events import Silent
    from treebuilder.oci.remote import Progress

    place = place_at(address)
    image = image_in(place)
    sign(place, image, KEY)
    _, manifest = place.manifest(cosign.signature_tag(image[0]), None)
    (layer,) = manifest["layers"]
    place.blob(Digest.parse(layer["digest"]), layer["size"], tmp_path / "message", Progress("t", Silent()))
    (tmp_path / "made").write_bytes(base64.b64decode(layer["annotations"][cosign.ANNOTATION]))
    (tmp_path / "pub").write_bytes(KEY.public.pem)
    words = ["openssl", "dgst", "-sha256", "-verify", "pub", "-signature", "made", "message"]
    assert subprocess.run(words, cwd=tmp_path, capture_output=True, check=False).returncode == 0


def test_other_keys_are_refused(address: str) -> None:
    place = place_at(address)
    with pytest.raises(ConfigError) as caught:
        ImageSigner(lambda: place, (KEY, new_key("ed25519")))
    assert caught.value.reason == "key-type"
    assert find_signatures(place, image_in(place)[0], KEYS) == ()


def test_a_repository_is_signed_whole(address: str, shop: Workshop) -> None:
    shop.package("app/one", {"one": b"1"})
    shop.package("app/two", {"two": b"2"})
    place = place_at(address)
    publish(shop, address)  # unsigned at first
    publish(shop, address, keys=(KEY,), snapshot="may")
    for name in ("one-app-1.0", "two-app-1.0", "repository.yaml", "may-repository.yaml"):
        image = place.digest_of(tag_of(name))
        assert image is not None
        assert [each.signers for each in find_signatures(place, image, KEYS)] == [(KEY.public.id,)] * 2, name
    meta = place.digest_of("one-app-1.0.metadata.yaml")
    assert meta is not None
    assert find_signatures(place, meta, KEYS) == ()


def test_a_signed_repository_costs_little_when_little_changed(counted: tuple[Counted, str], shop: Workshop) -> None:
    site, address = counted
    for number in range(30):
        shop.package(f"app/n{number}", {"x": str(number).encode()})
    publish(shop, address, keys=(KEY,))
    site.asked.clear()
    assert not publish(shop, address, keys=(KEY,)).changed
    assert not any(line.startswith(("PUT", "POST")) for line in site.asked)
    assert len(site.asked) < 12, site.asked

    shop.package("app/more", {"x": b"new"})
    site.asked.clear()
    publish(shop, address, keys=(KEY,))
    assert len([line for line in site.asked if line.startswith("PUT") and line.endswith(".sig")]) == 2
    assert len(site.asked) < 50, site.asked

    # another key: everything gets its signature, and nothing else is sent
    site.asked.clear()
    publish(shop, address, keys=(KEY, OTHER))
    tags = [line for line in site.asked if line.startswith("PUT") and line.endswith(".sig")]
    assert len(tags) == 32
    assert not any(line.startswith("PUT") and "-app-1.0" in line for line in site.asked)


def test_a_run_that_was_cut_off_is_ended_by_the_next(counted: tuple[Counted, str], shop: Workshop) -> None:
    site, address = counted
    for number in range(3):
        shop.package(f"app/n{number}", {"x": str(number).encode()})
    publish(shop, address)
    site.refuse_after = len(site.asked) + 30
    with pytest.raises(TransportError):
        publish(shop, address, keys=(KEY,))
    site.refuse_after = None
    publish(shop, address, keys=(KEY,))
    place = place_at(address)
    for name in ("n0-app-1.0", "n1-app-1.0", "n2-app-1.0", "repository.yaml"):
        image = place.digest_of(name)
        assert image is not None
        assert len(find_signatures(place, image, KEYS)) == 2


def test_what_a_manifest_says_is_bounded(address: str) -> None:
    place = place_at(address)
    image = image_in(place)
    payload = b"x" * (cosign.MAX_PAYLOAD_BYTES + 1)
    tamper(place, image[0], payload, cosign.cosign_signature(payload, KEY))
    (found,) = find_signatures(place, image[0], KEYS)
    assert not found.signers
    assert "longer" in found.fault
    with pytest.raises(IntegrityError):
        cosign.check_bundle(b"{" * 1000, image[0], KEYS)
