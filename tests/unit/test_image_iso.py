"""ISOs of small trees: what lies where, what is refused before anything slow, and that bytes repeat."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import services
from treebuilder.errors import Place, SpecError, TreebuildError, Unsatisfiable
from treebuilder.events import Finished, Recorder, Warned
from treebuilder.image import IsoSpec, compose_iso, iso_key, load_iso_spec
from treebuilder.model.digest import Digest
from treebuilder.records import replace
from treebuilder.system.process import Cancel

EPOCH_S = 1_700_000_000
PROGRAMS = {
    "mksquashfs": "squashfs-tools", "unsquashfs": "squashfs-tools", "xorriso": "xorriso",
    "mkfs.vfat": "dosfstools", "mmd": "mtools", "mcopy": "mtools",
}  # fmt: skip
needs_tools = pytest.mark.usefixtures("tools")


@pytest.fixture
def tools() -> None:
    for name, package in PROGRAMS.items():
        services.program(name, package)


SPEC = """\
packages:
  rootfs: [system/os]
  uefi: [live/efi, live/menu]
  isoimage: [live/bios, live/menu]
initramfs:
  kernel_file: vmlinuz
  rootfs_file: initrd
image_prefix: "tiny-"
image_name: "1"
label: "TINY"
"""


class FolderInstaller:
    """Installs `category/name` by copying the folder that is given for it."""

    def __init__(self, packages: dict[str, Path]) -> None:
        self._packages = packages
        self.requests: list[tuple[str, ...]] = []

    def install(self, packages: tuple[str, ...], target: Path, keep_db: bool) -> None:
        self.requests.append(packages)
        for name in packages:
            if name not in self._packages:
                raise Unsatisfiable(f"there is no package {name}")
            shutil.copytree(self._packages[name], target, symlinks=True, dirs_exist_ok=True)

    def unpack(self, reference: str, target: Path, where: Place) -> None:
        self.install((reference,), target, False)


class Kitchen:
    """Packages as folders, a spec, and a place for what is made of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.events = Recorder()
        self.file("os/boot/vmlinuz-6", b"kernel" * 999)
        self.file("os/boot/initrd-6", b"initrd" * 999)
        (folder / "os/boot/vmlinuz").symlink_to("vmlinuz-6")
        (folder / "os/boot/initrd").symlink_to("/boot/initrd-6")
        self.file("os/usr/lib/systemd/systemd", b"init")
        (folder / "os/usr/sbin").mkdir()
        (folder / "os/usr/sbin/init").symlink_to("/lib/systemd/systemd")
        (folder / "os/sbin").symlink_to("usr/sbin")
        (folder / "os/lib").symlink_to("usr/lib")
        self.file("os/usr/lib/os-release", b"ID=tiny\n")
        self.file("efi/EFI/BOOT/BOOTX64.EFI", b"efi" * 999)
        self.file("bios/boot/syslinux/isolinux.bin", bytes(2048))
        self.file("bios/boot/syslinux/isohdpfx.bin", bytes(432))
        self.file("menu/loader/entry.conf", b"options root=live:CDLABEL=COS_LIVE quiet CDLABEL=COS_LIVE2\n")
        self.installer = FolderInstaller(
            {name: folder / name.split("/")[1] for name in ("system/os", "live/efi", "live/bios", "live/menu")}
        )

    def file(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def spec(self, text: str = SPEC) -> IsoSpec:
        (self.folder / "iso.yaml").write_text(text)
        return load_iso_spec(self.folder / "iso.yaml", self.events)

    def compose(self, spec: IsoSpec, cancel: Cancel | None = None) -> Path:
        made = compose_iso(
            spec, self.installer, out_dir=self.out, work=self.folder / "work", epoch_s=EPOCH_S, events=self.events,
            cancel=cancel or Cancel(),
        )  # fmt: skip
        data = made.path.read_bytes()
        assert (made.size_bytes, made.sha256) == (len(data), Digest.of(data))
        return made.path

    def unpacked(self, iso: Path) -> Path:
        back = self.folder / "back"
        subprocess.run(
            ["xorriso", "-osirrox", "on", "-indev", iso, "-extract", "/", back], check=True, capture_output=True
        )
        return back

    def leftovers(self) -> list[str]:
        return os.listdir(self.folder / "work") if (self.folder / "work").exists() else []


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(tmp_path)


@needs_tools
def test_everything_is_where_boot_menus_look_for_it(kitchen: Kitchen) -> None:
    iso = kitchen.compose(kitchen.spec())
    assert iso.name == "tiny-1.iso"
    back = kitchen.unpacked(iso)
    assert (back / "boot/kernel.xz").read_bytes() == b"kernel" * 999
    assert (back / "boot/rootfs.xz").read_bytes() == b"initrd" * 999
    esp = back / "boot/uefi.img"
    for name, data in (
        ("EFI/BOOT/BOOTX64.EFI", b"efi" * 999),
        ("minimal/x86_64/kernel.xz", b"kernel" * 999),
        ("minimal/x86_64/rootfs.xz", b"initrd" * 999),
        ("loader/entry.conf", b"options root=live:CDLABEL=TINY quiet CDLABEL=COS_LIVE2\n"),
    ):
        copied = subprocess.run(["mtype", "-i", esp, f"::{name}"], check=True, capture_output=True)
        assert copied.stdout == data, name
    assert b"CDLABEL=TINY quiet" in (back / "loader/entry.conf").read_bytes()
    subprocess.run(["unsquashfs", "-q", "-n", "-d", back / "sq", back / "rootfs.squashfs"], check=True)
    assert {"proc", "sys", "dev", "run", "tmp", "usr"} <= set(os.listdir(back / "sq"))
    assert (back / "sq/usr/lib/os-release").read_bytes() == b"ID=tiny\n"
    assert kitchen.leftovers() == []
    assert kitchen.installer.requests == [("system/os",), ("live/bios", "live/menu"), ("live/efi", "live/menu")]


@needs_tools
def test_it_starts_by_bios_and_uefi_from_cd_and_disk(kitchen: Kitchen) -> None:
    iso = kitchen.compose(kitchen.spec())
    report = subprocess.run(
        ["xorriso", "-indev", iso, "-report_el_torito", "plain", "-report_system_area", "plain"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert re.search(r"El Torito boot img :\s+1\s+BIOS", report)
    assert re.search(r"El Torito boot img :\s+2\s+UEFI", report)
    assert "MBR partition" in report
    assert "GPT partition name" in report
    assert iso.read_bytes()[0x8028:0x8048].strip() == b"TINY"
    assert iso.read_bytes()[510:512] == b"\x55\xaa"


@needs_tools
def test_equal_inputs_give_equal_bytes_and_a_sum_that_can_be_checked(kitchen: Kitchen, tmp_path: Path) -> None:
    first = kitchen.compose(kitchen.spec()).read_bytes()
    other = Kitchen(tmp_path / "elsewhere")
    for path in sorted((tmp_path / "elsewhere").rglob("*")):
        os.utime(path, (EPOCH_S + 77, EPOCH_S + 77), follow_symlinks=False)
    assert other.compose(other.spec()).read_bytes() == first
    text = (other.out / "tiny-1.iso.sha256").read_text()
    assert text == f"{hashlib.sha256(first).hexdigest()}  tiny-1.iso\n"
    subprocess.run(["sha256sum", "--quiet", "-c", "tiny-1.iso.sha256"], cwd=other.out, check=True)


@pytest.mark.parametrize("gone", ["boot/vmlinuz-6", "boot/initrd-6", "usr/lib/systemd/systemd", "usr/lib/os-release"])
@needs_tools
def test_a_root_that_cannot_boot_is_refused_before_anything_slow(kitchen: Kitchen, gone: str) -> None:
    (kitchen.folder / "os" / gone).unlink()
    with pytest.raises(SpecError) as caught:
        kitchen.compose(kitchen.spec())
    assert caught.value.reason == "missing-kernel"
    assert caught.value.where is not None
    assert (caught.value.where.file, caught.value.where.line) == (str(kitchen.folder / "iso.yaml"), 5)
    tasks = [event.task for event in kitchen.events.events if isinstance(event, Finished)]
    assert tasks == ["iso install"]
    assert os.listdir(kitchen.out) == []
    assert kitchen.leftovers() == []


@needs_tools
def test_an_image_that_would_start_nowhere_is_refused(kitchen: Kitchen) -> None:
    with pytest.raises(SpecError) as caught:
        kitchen.compose(kitchen.spec("packages: {rootfs: [system/os]}\n"))
    assert caught.value.reason == "no-boot-loader"


@needs_tools
def test_one_loader_is_enough_and_the_missing_one_is_said(kitchen: Kitchen) -> None:
    spec = kitchen.spec()
    kitchen.compose(replace(spec, uefi=(), name="bios"))
    kitchen.compose(replace(spec, image=(), name="uefi"))
    said = [event.message for event in kitchen.events.events if isinstance(event, Warned)]
    assert ["UEFI" in message for message in said] == [True, False]
    assert sorted(os.listdir(kitchen.out)) == [
        "tiny-bios.iso", "tiny-bios.iso.sha256", "tiny-uefi.iso", "tiny-uefi.iso.sha256"
    ]  # fmt: skip


@needs_tools
def test_an_elemental_manifest_gets_its_own_layout(kitchen: Kitchen) -> None:
    spec = kitchen.spec(
        "name: el\niso:\n  rootfs: [system/os, 'dir:more']\n  uefi: [live/efi]\n  image: ['dir:bios', 'file:note']\n"
        "squash-compression: ['-comp gzip']\n"
    )
    kitchen.file("more/etc/added", b"yes")
    kitchen.file("note", b"note")
    back = kitchen.unpacked(kitchen.compose(spec))
    assert (back / "boot/kernel").read_bytes() == b"kernel" * 999
    assert (back / "boot/initrd").read_bytes() == b"initrd" * 999
    assert (back / "note").read_bytes() == b"note"
    subprocess.run(["unsquashfs", "-q", "-n", "-d", back / "sq", back / "rootfs.squashfs"], check=True)
    assert (back / "sq/etc/added").read_bytes() == b"yes"


@needs_tools
def test_a_failure_keeps_the_old_image(kitchen: Kitchen) -> None:
    spec = kitchen.spec()
    iso = kitchen.compose(spec)
    before = iso.read_bytes()
    cancel = Cancel()
    cancel.set()
    with pytest.raises(TreebuildError) as caught:
        kitchen.compose(spec, cancel)
    assert caught.value.reason == "cancelled"
    with pytest.raises(Unsatisfiable):
        kitchen.compose(replace(spec, rootfs=(replace(spec.rootfs[0], value="system/none"),)))
    assert iso.read_bytes() == before
    assert sorted(os.listdir(kitchen.out)) == ["tiny-1.iso", "tiny-1.iso.sha256"]
    assert kitchen.leftovers() == []


@needs_tools
def test_what_a_killed_run_left_of_this_image_goes(kitchen: Kitchen) -> None:
    kitchen.out.mkdir(parents=True, exist_ok=True)
    for name in (".tiny-1.iso.0123456789abcdef", ".other.iso.0123456789abcdef"):
        (kitchen.out / name).touch()
    kitchen.compose(kitchen.spec())
    assert sorted(os.listdir(kitchen.out)) == [".other.iso.0123456789abcdef", "tiny-1.iso", "tiny-1.iso.sha256"]


def test_a_package_cannot_write_outside_by_a_link(kitchen: Kitchen, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    shutil.rmtree(kitchen.folder / "menu")
    (kitchen.folder / "menu").mkdir()
    (kitchen.folder / "menu" / "minimal").symlink_to(victim)
    with pytest.raises(SpecError):
        kitchen.compose(kitchen.spec())
    assert os.listdir(victim) == []


def test_the_key_knows_every_input_and_no_comment(kitchen: Kitchen) -> None:
    spec = kitchen.spec()
    tools, inputs = (("xorriso", "1"),), (("system/os", Digest.of(b"os")),)
    key = iso_key(spec, tools, inputs, EPOCH_S)
    assert iso_key(kitchen.spec("# a comment\n" + SPEC), tools, inputs, EPOCH_S) == key
    others = {
        iso_key(kitchen.spec(SPEC.replace("TINY", "TINY2")), tools, inputs, EPOCH_S),
        iso_key(kitchen.spec(SPEC.replace("live/efi, ", "")), tools, inputs, EPOCH_S),
        iso_key(spec, (("xorriso", "2"),), inputs, EPOCH_S),
        iso_key(spec, tools, (("system/os", Digest.of(b"other")),), EPOCH_S),
        iso_key(spec, tools, inputs, EPOCH_S + 1),
    }
    assert len(others) == 5
    assert key not in others
