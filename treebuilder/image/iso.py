"""ISO images that start by BIOS and by UEFI, from a CD and from a stick. No mount, no loop device.

The layout is luet-makeiso's (os-and-ota.md §3.1), so boot menus written for it work unchanged; manifests of the
elemental dialect get theirs (§3.2). Where a menu names the label COS_LIVE, it gets the spec's.

The same trees, spec and epoch give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from treebuilder.annotations import NoReturn
from treebuilder.errors import SpecError
from treebuilder.events import EventSink, Finished, LogLine, Started, Warned
from treebuilder.image.api import ImageFile, Installer
from treebuilder.image.esp import make_esp
from treebuilder.image.inside import is_file, lay_over, place_for
from treebuilder.image.spec import DEFAULT_LABEL, IsoSpec, Source
from treebuilder.image.squashfs import make_squashfs
from treebuilder.model.digest import Digest
from treebuilder.records import asdict, record
from treebuilder.system.clock import monotonic_s, utc
from treebuilder.system.files import disk_errors, remove_tree, remove_unfinished, replacing, write_atomic
from treebuilder.system.inside import resolve
from treebuilder.system.process import Cancel, require, run

_KERNELS = ("uImage", "Image", "zImage", "vmlinuz", "image")
_INITRDS = ("initrd", "initramfs")
_MENUS = (".cfg", ".conf", ".nsh")
_MENU_LIMIT = 1 << 20
_COMMON = (("dev", 0o755), ("run", 0o755), ("proc", 0o555), ("sys", 0o555), ("tmp", 0o1777))


@record
class _Names:
    """Where a dialect wants kernel, initrd and the EFI image on the ISO."""

    kernel: str
    initrd: str


_LAYOUTS = {
    "makeiso": _Names("boot/kernel.xz", "boot/rootfs.xz"),
    "elemental": _Names("boot/kernel", "boot/initrd"),
}


def tool_versions() -> tuple[tuple[str, str], ...]:
    """The programs whose versions may change an ISO's bytes, each with the first line it says about itself."""
    asked = (("mksquashfs", "-version"), ("xorriso", "-version"), ("mkfs.vfat", "--help"), ("mcopy", "--version"))
    found = []
    for name, flag in asked:
        done = run([require(name, "to make an ISO"), flag], check=False)
        lines = done.stdout.decode("utf-8", "replace").splitlines() or list(done.tail)
        found.append((name, next((line.strip() for line in lines if line.strip()), "")))
    return tuple(found)


def iso_key(
    spec: IsoSpec, tools: tuple[tuple[str, str], ...], inputs: tuple[tuple[str, Digest], ...], epoch_s: int
) -> Digest:
    """What an ISO depends on, as one digest. `inputs` name everything laid into its trees. Lines of the spec do not
    count: a comment changes nothing."""
    document = {
        "schema": 1,
        "spec": _without_places(asdict(spec)),
        "tools": sorted(tools),
        "inputs": sorted((name, str(digest)) for name, digest in inputs),
        "epoch": epoch_s,
    }
    return Digest.of(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())


def _without_places(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_places(item) for key, item in value.items() if key not in ("where", "boot_where")}
    if isinstance(value, list | tuple):
        return [_without_places(item) for item in value]
    return value


def compose_iso(
    spec: IsoSpec, installer: Installer, *, out_dir: Path, work: Path, epoch_s: int, events: EventSink, cancel: Cancel
) -> ImageFile:
    """Makes the ISO and its .sha256 in `out_dir`, whole or not at all; `work` holds gigabytes meanwhile.

    Raises SpecError (reason "missing-kernel" before anything slow, when the root has no kernel, initrd, init or
    os-release), ToolFailed, MissingProgram, NoSpace, Cancelled, and what the installer raises.
    """
    for program in ("mksquashfs", "xorriso", "mkfs.vfat", "mmd", "mcopy"):
        require(program, "to make an ISO")
    with disk_errors(f"preparing {work}", work):
        work.mkdir(parents=True, exist_ok=True)
        out_dir.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=work, prefix="iso-"))
    try:
        return _Composer(spec, installer, scratch, epoch_s, events, cancel).compose(out_dir)
    finally:
        remove_tree(scratch)


class _Composer:
    def __init__(
        self, spec: IsoSpec, installer: Installer, scratch: Path, epoch_s: int, events: EventSink, cancel: Cancel
    ) -> None:
        self._spec = spec
        self._installer = installer
        self._epoch_s = epoch_s
        self._events = events
        self._cancel = cancel
        self._root = scratch / "root"
        self._uefi = scratch / "uefi"
        self._iso = scratch / "iso"
        self._made = scratch / "image.iso"
        for folder in (self._root, self._uefi, self._iso):
            folder.mkdir(mode=0o755)

    def compose(self, out_dir: Path) -> ImageFile:
        spec, names = self._spec, _LAYOUTS[self._spec.layout]
        with self._task("iso install", "installing the root file system"):
            self._fill(spec.rootfs, self._root, keep_db=spec.keep_db)
            self._lay(spec.overlay_rootfs, self._root)
            if spec.common_dirs:
                self._common_folders()
            kernel, initrd = self._kernel(), self._initrd()
            self._check_root()
        with self._task("iso loaders", "installing the boot loaders"):
            self._fill(spec.image, self._iso)
            self._fill(spec.uefi, self._uefi)
            self._place(kernel, self._iso, names.kernel)
            self._place(initrd, self._iso, names.initrd)
            has_esp = self._finish_uefi(kernel, initrd)
            self._lay(spec.overlay_image, self._iso)
            self._relabel(self._iso)
        boot = self._boot_options(has_esp)
        with self._task("iso squashfs", "packing the root file system"):
            make_squashfs(
                self._root, self._iso / "rootfs.squashfs", epoch_s=self._epoch_s, events=self._events,
                cancel=self._cancel, options=spec.compression,
            )  # fmt: skip
        with self._task("iso write", "writing the image"):
            self._write(boot)
            return self._publish(out_dir)

    # the trees -----------------------------------------------------------------------------------------------------
    def _fill(self, sources: tuple[Source, ...], target: Path, keep_db: bool = False) -> None:
        """Lays sources in their order; neighbouring packages are installed together, as one request."""
        waiting: list[str] = []

        def install() -> None:
            if waiting:
                self._installer.install(tuple(waiting), target, keep_db)
                waiting.clear()

        for source in sources:
            self._cancel.check()
            if source.kind == "package":
                waiting.append(source.value)
                continue
            install()
            if source.kind == "image":
                self._installer.unpack(source.value, target, source.where)
            elif source.kind == "folder":
                lay_over(self._path(source.value), target, source.where)
            else:
                path = self._path(source.value)
                if not path.is_file():
                    raise SpecError(f"there is no file {path}", where=source.where, reason="missing-file")
                shutil.copy(path, place_for(target, path.name, source.where))
        install()

    def _lay(self, overlay: Source | None, target: Path) -> None:
        if overlay is not None:
            lay_over(self._path(overlay.value), target, overlay.where)

    def _path(self, text: str) -> Path:
        """Relative paths of a spec are seen from the folder the spec lies in."""
        return Path(self._spec.where.file).parent / text

    def _common_folders(self) -> None:
        for name, mode in _COMMON:
            folder = self._root / name
            if not os.path.lexists(folder):
                folder.mkdir()
                folder.chmod(mode)

    def _finish_uefi(self, kernel: Path, initrd: Path) -> bool:
        """Completes the EFI tree and makes boot/uefi.img of it. False when the spec asks for no UEFI."""
        spec = self._spec
        if spec.uefi_image:
            path = self._path(spec.uefi_image)
            if not path.is_file():
                raise SpecError(f"there is no EFI image {path}", where=spec.where, reason="missing-file")
            self._place(path, self._iso, "boot/uefi.img")
            return True
        self._lay(spec.overlay_uefi, self._uefi)
        if not any(self._uefi.iterdir()):
            return False
        if spec.layout == "makeiso":
            self._place(kernel, self._uefi, f"minimal/{spec.arch}/kernel.xz")
            self._place(initrd, self._uefi, f"minimal/{spec.arch}/rootfs.xz")
        self._relabel(self._uefi)
        image = place_for(self._iso, "boot/uefi.img", spec.where)
        make_esp(
            self._uefi, image, label="COS_GRUB", epoch_s=self._epoch_s, where=spec.where, events=self._events,
            cancel=self._cancel,
        )  # fmt: skip
        return True

    def _relabel(self, tree: Path) -> None:
        """Gives menus that were written for the label COS_LIVE the label of this image."""
        if self._spec.label == DEFAULT_LABEL:
            return
        pattern = re.compile(rb"CDLABEL=" + DEFAULT_LABEL.encode() + rb"(?![A-Za-z0-9_.-])")
        for folder, _, files in os.walk(tree):
            for name in sorted(files):
                path = Path(folder, name)
                if path.is_symlink() or not name.lower().endswith(_MENUS) or path.stat().st_size > _MENU_LIMIT:
                    continue
                text = path.read_bytes()
                changed = pattern.sub(b"CDLABEL=" + self._spec.label.encode(), text)
                if changed != text:
                    path.write_bytes(changed)

    def _place(self, source: Path, tree: Path, name: str) -> None:
        with disk_errors(f"writing {name}"):
            shutil.copyfile(source, place_for(tree, name, self._spec.where))

    # what must be there --------------------------------------------------------------------------------------------
    def _kernel(self) -> Path:
        return self._boot_file("kernel", self._spec.kernel_file, _KERNELS)

    def _initrd(self) -> Path:
        return self._boot_file("initrd", self._spec.initrd_file, _INITRDS)

    def _boot_file(self, what: str, name: str, usual: tuple[str, ...]) -> Path:
        if name:
            found = resolve(self._root, f"boot/{name}")
            if found is not None and found.is_file():
                return found
            self._missing(what, f"/boot/{name}")
        boot = resolve(self._root, "boot")
        there = sorted(os.listdir(boot)) if boot is not None and boot.is_dir() else []
        for prefix in usual:
            for entry in there:
                found = resolve(self._root, f"boot/{entry}") if entry.startswith(prefix) else None
                if found is not None and found.is_file():
                    return found
        return self._missing(what, "/boot/" + " or /boot/".join(f"{prefix}*" for prefix in usual))

    def _check_root(self) -> None:
        if not is_file(self._root, "sbin/init"):
            self._missing("init", "/sbin/init")
        if not (is_file(self._root, "etc/os-release") or is_file(self._root, "usr/lib/os-release")):
            self._missing("os-release", "/etc/os-release")

    def _missing(self, what: str, path: str) -> NoReturn:
        boot = self._root / "boot"
        there = ", ".join(sorted(os.listdir(boot))[:10]) if boot.is_dir() else ""
        raise SpecError(
            f"the root file system has no {what}: {path} is missing", where=self._spec.boot_where,
            reason="missing-kernel",
            hint=f"/boot holds {there}" if there else "name a package that brings it under packages.rootfs",
        )  # fmt: skip

    # the image -----------------------------------------------------------------------------------------------------
    def _boot_options(self, has_esp: bool) -> list[str]:
        """What xorriso needs to know to make the image start; refuses one that would not start anywhere."""
        options: list[str] = []
        if is_file(self._iso, "boot/syslinux/isolinux.bin"):
            mbr = resolve(self._iso, "boot/syslinux/isohdpfx.bin")
            if mbr is not None:
                options += ["-isohybrid-mbr", str(mbr)]
            options += ["-c", "boot/syslinux/boot.cat", "-b", "boot/syslinux/isolinux.bin"]
            options += ["-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"]
        elif is_file(self._iso, "boot/x86_64/loader/eltorito.img"):
            mbr = resolve(self._iso, "boot/x86_64/loader/boot_hybrid.img")
            if mbr is not None:
                options += ["--grub2-mbr", str(mbr)]
            options += ["-c", "boot/boot.catalog", "-b", "boot/x86_64/loader/eltorito.img"]
            options += ["-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", "--grub2-boot-info"]
        elif not has_esp:
            raise SpecError(
                "nothing on the image would start a machine", where=self._spec.where, reason="no-boot-loader",
                hint="name a boot loader: live/syslinux under packages.isoimage, live/systemd-boot under packages.uefi",
            )  # fmt: skip
        else:
            options += ["-c", "boot/boot.catalog"]
            self._warn("the image has no boot loader for machines with a BIOS")
        if has_esp:
            options += ["-eltorito-alt-boot"] if "-b" in options else []
            options += ["-e", "boot/uefi.img", "-no-emul-boot"]
            options += ["-isohybrid-gpt-basdat"] if "-isohybrid-mbr" in options else []
        else:
            self._warn("the image has no boot loader for machines with UEFI")
        return options

    def _warn(self, message: str) -> None:
        self._events.emit(Warned(message, where=self._spec.where))

    def _write(self, boot: list[str]) -> None:
        _set_times(self._iso, self._epoch_s)
        stamp = utc(self._epoch_s, "%Y%m%d%H%M%S00")
        argv = [
            require("xorriso", "to make an ISO"), "-as", "mkisofs", "-r", "-J", "-joliet-long", "-iso-level", "3",
            "-volid", self._spec.label, f"--modification-date={stamp}", *boot, "-o", str(self._made), str(self._iso),
        ]  # fmt: skip
        run(
            argv, env={"SOURCE_DATE_EPOCH": str(self._epoch_s), "TZ": "UTC"}, cancel=self._cancel,
            on_line=lambda line: self._events.emit(LogLine("iso write", line)),
        )  # fmt: skip

    def _publish(self, out_dir: Path) -> ImageFile:
        date = utc(self._epoch_s, "%Y%m%d")
        target = out_dir / self._spec.file_name(date)
        sum_file = target.with_name(f"{target.name}.sha256")
        digest, size = hashlib.sha256(), 0
        with disk_errors(f"writing {target}", out_dir):
            remove_unfinished(out_dir, target.name)
            with self._made.open("rb") as source, replacing(target) as sink:
                while chunk := source.read(1 << 20):
                    self._cancel.check()
                    digest.update(chunk)
                    size += sink.write(chunk)
                # The old sum goes first: a sum beside an image it does not belong to would be a lie.
                sum_file.unlink(missing_ok=True)
        write_atomic(sum_file, os.fsencode(f"{digest.hexdigest()}  {target.name}\n"))
        return ImageFile(target, size, Digest(digest.hexdigest()))

    @contextmanager
    def _task(self, task: str, text: str) -> Iterator[None]:
        self._cancel.check()
        self._events.emit(Started(task, text))
        start = monotonic_s()
        try:
            yield
        except BaseException:
            self._events.emit(Finished(task, "failed", seconds=monotonic_s() - start))
            raise
        self._events.emit(Finished(task, "ok", seconds=monotonic_s() - start))


def _set_times(tree: Path, epoch_s: int) -> None:
    """Every entry gets the epoch as its time: xorriso copies them, and packages may be younger or older."""
    for folder, _, files in os.walk(tree, topdown=False):
        for name in files:
            os.utime(Path(folder, name), (epoch_s, epoch_s), follow_symlinks=False)
        os.utime(folder, (epoch_s, epoch_s))
