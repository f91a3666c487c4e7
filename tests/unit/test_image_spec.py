"""Image specs: the three dialects, and what is wrong with a spec said with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from treebuilder.errors import SpecError
from treebuilder.events import Recorder, Warned
from treebuilder.image import IsoSpec, load_iso_spec, parse_iso_spec
from treebuilder.nodes import load
from treebuilder.trust.policy import TrustSetting

ROOT = Path(__file__).resolve().parents[2]

MAKEISO = """\
packages:
  rootfs:
  - system/sampleOS
  uefi:
  - live/systemd-boot
  - live/boot
  isoimage:
  - live/syslinux
  keep_luet_db: true
initramfs:
  kernel_file: "vmlinuz"
  rootfs_file: "initrd"
overlay:
  rootfs: files/root
image_prefix: "sampleOS-0."
image_date: true
label: "MY_LIVE"
luet:
  repositories:
  - name: here
    enable: true
    type: disk
    urls: [build]
"""

ANCESTOR = """\
packages:
  rootfs: [system/old]
initramfs: {kernel_file: bzImage, rootfs_file: rootfs.cpio.xz}
overlay: "true"
image_prefix: "Old-"
image_date: "true"
image_name: S
label: OLD
luet:
  config: build/conf.yaml
"""

MANIFEST = """\
iso:
  rootfs:
  - system/cos
  - dir:files/root
  uefi: ["channel:live/grub2-efi-image@2.06"]
  image: ["oci:registry.example.org/live/grub2", "file:README"]
  label: "COS"
  grub-entry-name: "Ours"
name: "ours"
date: true
repositories:
- uri: quay.io/costoolkit/releases-green
- uri: https://example.org/repo
  priority: 3
squash-compression: ["-comp xz", "-Xbcj x86"]
"""


def parse(text: str) -> tuple[IsoSpec, list[str]]:
    events = Recorder()
    spec = parse_iso_spec(load(text, "iso.yaml"), events)
    return spec, [f"{event.where}: {event.message}" for event in events.events if isinstance(event, Warned)]


def values(sources: tuple[object, ...]) -> list[tuple[str, str]]:
    return [(getattr(source, "kind"), getattr(source, "value")) for source in sources]  # noqa: B009 - of a union


def test_makeiso() -> None:
    spec, warnings = parse(MAKEISO)
    assert warnings == []
    assert spec.layout == "makeiso"
    assert values(spec.rootfs) == [("package", "system/sampleOS")]
    assert values(spec.uefi) == [("package", "live/systemd-boot"), ("package", "live/boot")]
    assert values(spec.image) == [("package", "live/syslinux")]
    assert spec.keep_db
    assert (spec.kernel_file, spec.initrd_file, spec.label) == ("vmlinuz", "initrd", "MY_LIVE")
    assert spec.overlay_rootfs is not None
    assert (spec.overlay_rootfs.value, spec.overlay_rootfs.where.line) == ("files/root", 14)
    assert spec.overlay_uefi is None
    assert spec.file_name("20261121") == "sampleOS-0.20261121.iso"
    (repository,) = spec.repositories
    assert (repository.name, repository.type, repository.urls, repository.enable) == ("here", "disk", ("build",), True)


def test_a_repository_says_whose_word_counts() -> None:
    text = "packages: {rootfs: [a/b]}\nluet:\n  repositories:\n  - {urls: [http://x], trust: %s}\n"
    for written, read in (
        ("none", TrustSetting(True)), ("{keys: k.pub}", TrustSetting(True, ("k.pub",))),
        ("{keys: [a, b], threshold: 2, name: os}", TrustSetting(True, ("a", "b"), 2, "os")),
    ):  # fmt: skip
        spec, warnings = parse(text % written)
        assert warnings == []
        assert [repository.trust for repository in spec.repositories] == [read]


def test_the_ancestor_writes_booleans_as_texts() -> None:
    spec, warnings = parse(ANCESTOR)
    assert spec.date
    assert spec.file_name("20200102") == "Old-S20200102.iso"
    assert spec.config == "build/conf.yaml"
    assert spec.overlay_rootfs is None
    assert [line.partition(":")[0] for line in warnings] == ["iso.yaml"]
    assert "iso.yaml:4" in warnings[0]


def test_manifest() -> None:
    spec, warnings = parse(MANIFEST)
    assert warnings == []
    assert spec.layout == "elemental"
    assert values(spec.rootfs) == [("package", "system/cos"), ("folder", "files/root")]
    assert values(spec.uefi) == [("package", "live/grub2-efi-image@2.06")]
    assert values(spec.image) == [("image", "registry.example.org/live/grub2:latest"), ("file", "README")]
    assert spec.file_name("20261121") == "ours.20261121.iso"
    assert spec.compression == ("-comp", "xz", "-Xbcj", "x86")
    assert [(r.type, r.priority) for r in spec.repositories] == [("docker", 90), ("http", 3)]


def test_our_own_spec_is_read_without_a_warning() -> None:
    events = Recorder()
    spec = load_iso_spec(ROOT / "iso.yaml", events)
    assert events.events == []
    assert values(spec.rootfs) == [("package", "system/sampleOS")]
    assert spec.file_name("20991231").startswith("sampleOS-0.")
    assert "2099" not in spec.file_name("20991231")


def test_no_name_at_all_is_dev() -> None:
    spec, _ = parse("packages: {rootfs: [a/b]}\n")
    assert spec.file_name("20261121") == "dev.iso"


def test_an_image_takes_the_place_of_packages_and_gets_a_tag() -> None:
    spec, _ = parse("rootfs_image: localhost:5000/os\npackages: {rootfs: [a/b]}\n")
    assert values(spec.rootfs) == [("image", "localhost:5000/os:latest")]


def test_unknown_keys_are_warned_about_with_their_line() -> None:
    _, warnings = parse("packages:\n  rootfs: [a/b]\n  rotfs: [c/d]\nlabl: X\n")
    assert warnings == [
        "iso.yaml:3: unknown key packages.rotfs is ignored",
        "iso.yaml:4: unknown key labl is ignored",
    ]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("label: X\n", 1, "no-rootfs"),
        ("- a\n", 1, "wrong-type"),
        ("packages:\n  rootfs: system/x\n", 2, "wrong-type"),
        ("packages:\n  rootfs: [nonsense]\n", 2, "bad-package"),
        ("packages:\n  rootfs: [a/b]\nlabel: 'two words'\n", 3, "bad-label"),
        ("packages:\n  rootfs: [a/b]\nlabel: 5\n", 3, "wrong-type"),
        ("packages:\n  rootfs: [a/b]\nimage_date: maybe\n", 3, "wrong-type"),
        ("packages:\n  rootfs: [a/b]\nimage_prefix: ../x\n", 3, "bad-name"),
        ("packages:\n  rootfs: [a/b]\ninitramfs:\n  kernel_file: ../../etc/shadow\n", 4, "bad-name"),
        ("packages:\n  rootfs: [a/b]\narch: x86/64\n", 3, "bad-arch"),
        ("packages: {rootfs: [a/b]}\nluet:\n  repositories:\n  - name: r\n", 4, "bad-repository"),
        ("packages: {rootfs: [a/b]}\nluet:\n  repositories:\n  - {urls: [x], type: ftp}\n", 4, "bad-repository"),
        ("packages: {rootfs: [a/b]}\nluet:\n  repositories:\n  - urls: [x]\n    trust: all\n", 5, "bad-trust"),
        ("iso:\n  rootfs:\n  - 'dir:'\n", 3, "bad-source"),
        ("iso: {rootfs: [a/b]}\nsquash-compression: ['-comp zstd', '-ef /etc/passwd']\n", 2, "bad-compression"),
        ("packages: {rootfs: [a/b]\n", 2, "yaml"),
    ],
)
def test_faults_are_found_with_their_line(text: str, line: int, reason: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert caught.value.reason == reason
    assert caught.value.where is not None
    assert (caught.value.where.file, caught.value.where.line) == ("iso.yaml", line)


def test_a_spec_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load_iso_spec(tmp_path / "none.yaml", Recorder())
    assert caught.value.reason == "missing-spec"
