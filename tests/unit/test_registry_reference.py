"""References of images, as Docker reads them, and who is spoken to without encryption."""

from __future__ import annotations

import pytest

from treebuilder.errors import SpecError
from treebuilder.model.digest import Digest
from treebuilder.oci.reference import Reference, is_loopback, parse_reference

D = Digest.of(b"x")


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("alpine", Reference("docker.io", "library/alpine", "latest", None)),
        ("alpine:3", Reference("docker.io", "library/alpine", "3", None)),
        ("quay.io/a/b:v1.0", Reference("quay.io", "a/b", "v1.0", None)),
        ("user/app", Reference("docker.io", "user/app", "latest", None)),
        ("index.docker.io/alpine", Reference("docker.io", "library/alpine", "latest", None)),
        ("localhost/app", Reference("localhost", "app", "latest", None)),
        ("localhost:5000/a/b/c", Reference("localhost:5000", "a/b/c", "latest", None)),
        ("[::1]:5000/app:x", Reference("[::1]:5000", "app", "x", None)),
        (f"host.org/app@{D}", Reference("host.org", "app", "latest", D)),
        (f"host.org/app:t@{D}", Reference("host.org", "app", "t", D)),
    ],
)
def test_references(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference


@pytest.mark.parametrize(
    "text",
    ["", ":", "UPPER", "a//b", "host.org/", "a:b:c", "a@md5:1", "a@sha256:12", "host.org/../x", "a b", "x/.hidden",
     "a:-t", "host.org:1x/a", "ev il.org/a", "a?b"],
)  # fmt: skip
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_reference(text)
    assert caught.value.reason == "image"


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("localhost", True), ("localhost:5000", True), ("127.0.0.1:1", True), ("127.9.9.9", True), ("[::1]:80", True),
        ("[::1]", True), ("example.org", False), ("localhost.example.org", False), ("10.0.0.1:5000", False),
        ("127.0.0.1.example.org", False), ("[fe80::1]:80", False),
    ],
)  # fmt: skip
def test_loopback(host: str, inside: bool) -> None:
    assert is_loopback(host) is inside


def test_an_image_that_a_template_left_out_is_told_as_such() -> None:
    with pytest.raises(SpecError) as caught:
        parse_reference("quay.io/x/y:<no value>")
    assert caught.value.hint is not None
    assert "--values" in caught.value.hint
