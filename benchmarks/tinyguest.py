"""A system that is as small as a system with treebuild can be, for benchmarks that boot it a hundred times.

Debian's kernel, the base and the program come from the tree in packages/; init is a shell script that says which slot
it is, in which version, and does what a disk with a script tells it. Slots, boot loader and commands are the real ones.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
TREEBUILD = [sys.executable, "-m", "treebuilder"]
PACKAGES = ("distro/base", "kernel/linux", "toolchain/treebuild")
LOADERS = Path("/usr/share/OVMF")
_MODULES = (
    "crc16", "mbcache", "jbd2", "crc32c_generic", "libcrc32c", "ext4", "loop", "squashfs", "virtio", "virtio_ring",
    "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_blk", "fat", "vfat", "nls_cp437",
    "nls_ascii", "nls_iso8859-1", "failover", "net_failover", "virtio_net",
)  # fmt: skip
# What is not needed to install, to start and to upgrade; GRUB reads the image through the firmware, which is slow.
_LEFT_OUT = (
    "usr/share/doc", "usr/share/perl*", "usr/share/zoneinfo", "usr/share/i18n", "usr/share/grub", "usr/share/locale",
    "usr/bin/perl*", "usr/bin/apt*", "usr/bin/dpkg*", "usr/bin/gpgv", "usr/bin/openssl", "usr/bin/*zstd", "usr/bin/tc",
    "usr/bin/grub-mk[nrs]*", "usr/bin/grub-fstest", "usr/bin/grub-macbless", "usr/bin/grub-render-label",
    "usr/bin/grub-file", "usr/bin/grub-syslinux2cfg", "usr/bin/systemctl", "usr/bin/journalctl", "usr/lib/modules",
    "usr/lib/dracut", "usr/lib/udev", "usr/lib/apt", "usr/lib/systemd", "usr/lib/grub/x86_64-efi/monolithic",
    "usr/lib/python3", "usr/lib/python3.11/ensurepip", "usr/lib/python3.11/idlelib", "usr/lib/python3.11/lib2to3",
    "usr/lib/python3.11/pydoc_data", "usr/lib/python3.11/unittest", "usr/lib/python3.11/asyncio",
    "usr/lib/x86_64-linux-gnu/perl*", "usr/lib/x86_64-linux-gnu/gconv", "usr/lib/x86_64-linux-gnu/systemd",
    "usr/lib/x86_64-linux-gnu/libapt-*", "var/lib/dpkg", "var/cache",
)  # fmt: skip
# Of those that the program stands on, what a device needs to fetch packages.
_LIBRARIES = (
    "treebuilder", "yaml", "_yaml", "zstandard", "requests", "urllib3", "certifi", "idna", "charset_normalizer",
)  # fmt: skip

_INITRD = """\
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs run /run
for module in {modules}; do [ -e /modules/$module.ko ] && insmod /modules/$module.ko 2>/dev/null; done
ip link set lo up; ip link set eth0 up 2>/dev/null && ip addr add 10.0.2.15/24 dev eth0
image=; root=
for word in $(cat /proc/cmdline); do
  case $word in cos-img/filename=*) image=${{word#*=}} ;; root=*) root=${{word#root=}} ;; esac
done
n=0; while [ ! -b /dev/vda ] && [ $n -lt 50 ]; do sleep 0.1; n=$((n + 1)); done
if [ -n "$image" ]; then
  mkdir -p /run/initramfs/cos-state
  mount -o ro "$(findfs "$root")" /run/initramfs/cos-state || echo "TINY no state $root"
  mount -o loop,ro /run/initramfs/cos-state$image /sysroot || echo "TINY no image"
else
  mount -o ro $root /sysroot
fi
for place in dev proc sys run; do mount --move /$place /sysroot/$place; done
exec switch_root /sysroot /sbin/init
"""

_INIT = """\
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C
mount -t tmpfs tmp /tmp; mount -t tmpfs var /var; mkdir -p /var/lib /var/log /var/tmp /var/cache
slot=live
for word in $(cat /proc/cmdline); do
  case $word in cos-img/filename=*) slot=${word##*/}; slot=${slot%%.*} ;; esac
done
echo "TINY slot=$slot version=$(cat /etc/tiny-version)"
for disk in /dev/vdb /dev/vdc /dev/vdd; do
  [ -b $disk ] && [ "$(head -c 6 $disk)" = '#!tiny' ] && tr -d '\\0' < $disk > /tmp/job && . /tmp/job
done
echo "TINY end"
sync
echo o > /proc/sysrq-trigger
sleep 60
"""


@dataclass(frozen=True)
class Guest:
    """`images` are slot images by version; `kernel` and `initrd` start the live system without a loader."""

    images: dict[str, Path]
    kernel: Path
    initrd: Path


def build(folder: Path, versions: tuple[str, ...]) -> Guest:
    """Builds the packages and the images; a second call with the same folder finds them there."""
    guest = Guest({v: folder / f"tiny-{v}.img" for v in versions}, folder / "vmlinuz", folder / "initrd")
    if all(file.exists() for file in (*guest.images.values(), guest.kernel, guest.initrd)):
        return guest
    built, root = folder / "packages", folder / "root"
    words = [
        "build",
        "--tree",
        "packages",
        "--destination",
        str(built),
        "--cache-dir",
        str(folder / "cache"),
        *PACKAGES,
    ]
    subprocess.run([*TREEBUILD, *words, "--lock", str(folder / "treebuild.lock")], cwd=TOP, check=True)
    root.mkdir()
    for name in ("base-distro", "linux-kernel", "treebuild-toolchain"):
        (file,) = built.glob(f"{name}-*.package.tar.zst")
        subprocess.run(["tar", "-C", root, "--zstd", "--numeric-owner", "-xpf", file], check=True)
    _initrd(root, folder)
    shutil.copy(root / "boot/vmlinuz", guest.kernel)
    libraries = (path for path in (root / "usr/lib/treebuild").iterdir() if path.name not in _LIBRARIES)
    for path in [*libraries, *(path for pattern in _LEFT_OUT for path in root.glob(pattern))]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    for name in ("etc/cos", "oem", "usr/local", "run", "tmp", "mnt", "proc", "sys", "dev"):
        (root / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(TOP / "packages/system/immutable-rootfs/files/bootargs.cfg", root / "etc/cos/bootargs.cfg")
    shutil.copy(guest.initrd, root / "boot/initrd")
    init = root / "sbin/init"
    init.unlink(missing_ok=True)
    init.write_text(_INIT)
    init.chmod(0o755)
    for version, image in guest.images.items():
        (root / "etc/tiny-version").write_text(f"{version}\n")
        squash = ["mksquashfs", root, image, "-comp", "gzip", "-Xcompression-level", "1", "-noappend", "-quiet"]
        subprocess.run([*squash, "-no-progress", "-all-time", "0", "-mkfs-time", "0"], check=True)
    return guest


def _initrd(root: Path, folder: Path) -> None:
    """The kernel's modules that a virtual disk needs, busybox, and a script that looks for the slot."""
    inside = folder / "inside"
    for name in ("bin", "modules", "proc", "sys", "dev", "run", "sysroot"):
        (inside / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", inside / "bin/busybox")
    found = {file.stem: file for file in (root / "usr/lib/modules").rglob("*.ko")}
    for name in _MODULES:
        if name in found:
            shutil.copy(found[name], inside / "modules" / f"{name}.ko")
    (inside / "init").write_text(_INITRD.format(modules=" ".join(_MODULES)))
    (inside / "init").chmod(0o755)
    names = sorted(str(path.relative_to(inside)) for path in inside.rglob("*"))
    with (folder / "initrd").open("wb") as out:
        packed = subprocess.run(
            ["/bin/busybox", "cpio", "-o", "-H", "newc"], cwd=inside, input="\n".join(names).encode() + b"\n",
            capture_output=True, check=True,
        )  # fmt: skip
        out.write(subprocess.run(["gzip", "-9n"], input=packed.stdout, capture_output=True, check=True).stdout)


def script(text: str, file: Path) -> Path:
    """A disk that tells the guest what to do."""
    data = b"#!tiny\n" + text.encode() + b"\n"
    file.write_bytes(data.ljust(-(-len(data) // 4096) * 4096, b"\0"))
    return file


def payload(folder: Path, files: tuple[Path, ...], disk: Path) -> Path:
    """A disk with files on it, not compressed."""
    squash = ["mksquashfs", *files, disk, "-noappend", "-quiet", "-no-progress", "-noI", "-noD", "-noF", "-noX"]
    subprocess.run(squash, check=True, cwd=folder)
    return disk


def blank(file: Path, mib: int) -> Path:
    with file.open("wb") as out:
        out.truncate(mib << 20)
    return file


class Machine:
    """A virtual machine whose console is read until it says something, or ends."""

    def __init__(
        self, disks: list[str], *, efi: bool = False, kernel: tuple[Path, Path, str] | None = None, net: bool = False
    ) -> None:
        """`disks` are arguments of -blockdev, with node names d0, d1, ...; `kernel`: kernel, initrd, command line.

        `net`: it reaches this machine, as 10.0.2.2.
        """
        words = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-m", "1024", "-smp", "1", "-nodefaults"]
        words += ["-display", "none", "-serial", "stdio", "-no-user-config"]
        if efi:
            code = next(path for name in ("OVMF_CODE_4M.fd", "OVMF_CODE.fd") if (path := LOADERS / name).exists())
            words += ["-drive", f"if=pflash,format=raw,readonly=on,file={code}"]
        for at, disk in enumerate(disks):
            words += ["-blockdev", disk, "-device", f"virtio-blk-pci,drive=d{at},bootindex={at + 1}"]
        if net:
            words += ["-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0,romfile="]
        if kernel is not None:
            words += ["-kernel", str(kernel[0]), "-initrd", str(kernel[1]), "-append", kernel[2]]
        self.said: list[str] = []
        self._process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._rest = b""

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def until(self, words: tuple[str, ...], limit_s: float) -> str:
        """The first line that holds one of these; "" when the machine ended or the time did."""
        import select

        assert self._process.stdout is not None
        end = time.monotonic() + limit_s
        while (left := end - time.monotonic()) > 0:
            ready, _, _ = select.select([self._process.stdout], [], [], left)
            data = os.read(self._process.stdout.fileno(), 1 << 16) if ready else b""
            if ready and not data:
                return ""
            *lines, self._rest = (self._rest + data).split(b"\n")
            for raw in lines:
                line = raw.decode("utf-8", "replace").strip()
                self.said.append(line)
                if any(word in line for word in words):
                    return line
        return ""


def raw(file: Path, node: str, *, readonly: bool = False) -> str:
    """The argument of -blockdev for a file that is a disk."""
    return f"driver=raw,node-name={node},file.driver=file,file.filename={file},read-only={'on' if readonly else 'off'}"
