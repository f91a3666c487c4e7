"""ISO specs in the three dialects that exist, read into one value.

* `makeiso`: the keys of luet-makeiso (`packages`, `initramfs`, `overlay`, `image_*`, `luet.repositories`);
* the ancestor of it, with booleans written as texts and `luet.config`, a file with the repositories;
* `elemental`: a manifest with its root at `iso:`, whose inputs are URIs.

What a dialect cannot say has its default. Unknown keys are warned about, never an error.

Source: os-and-ota.md §3 (behaviour of luet-makeiso and of `elemental build-iso`).
"""

from __future__ import annotations

import re
from pathlib import Path

from treebuilder.annotations import Literal
from treebuilder.errors import ConfigError, Place, SpecError
from treebuilder.events import EventSink, Warned
from treebuilder.nodes import Node, load
from treebuilder.records import record
from treebuilder.tree.files import read_text
from treebuilder.trust.policy import TrustSetting, read_setting

DEFAULT_LABEL = "COS_LIVE"
_LABEL = re.compile(r"[A-Za-z0-9_.-]{1,32}\Z")
_FILE_NAME = re.compile(r"[^/\0]{1,200}\Z")
_ARCH = re.compile(r"[A-Za-z0-9_]{1,32}\Z")


@record
class Source:
    """One input of a tree. `value` is `category/name`, a path, or an image reference."""

    kind: Literal["package", "folder", "file", "image"]
    value: str
    where: Place


@record
class SpecRepository:
    """A repository that packages are installed from, as the spec says it. Relative URLs stay as they are."""

    name: str
    type: str
    urls: tuple[str, ...]
    priority: int
    enable: bool
    where: Place
    trust: TrustSetting = TrustSetting()


@record
class IsoSpec:
    """What an ISO is made of. The three trees are laid in the order written, overlays last.

    `kernel_file`/`initrd_file` are names under the root's /boot; empty means found by their usual names.
    `prefix` + `name` + (date of the epoch) make the file's name. `compression` are options of mksquashfs, empty for
    our default. `where` is the spec, `boot_where` the lines that name kernel and initrd.
    """

    where: Place
    boot_where: Place
    layout: Literal["makeiso", "elemental"]
    rootfs: tuple[Source, ...] = ()
    uefi: tuple[Source, ...] = ()
    image: tuple[Source, ...] = ()
    overlay_rootfs: Source | None = None
    overlay_uefi: Source | None = None
    overlay_image: Source | None = None
    keep_db: bool = False
    kernel_file: str = ""
    initrd_file: str = ""
    label: str = DEFAULT_LABEL
    title: str = ""
    repositories: tuple[SpecRepository, ...] = ()
    config: str = ""
    prefix: str = ""
    name: str = ""
    date: bool = False
    output: str = ""
    arch: str = "x86_64"
    uefi_image: str = ""
    common_dirs: bool = True
    compression: tuple[str, ...] = ()

    def file_name(self, date: str) -> str:
        """The ISO's name; `date` is YYYYMMDD and used only when the spec asks for it."""
        stem = f"{self.prefix}{self.name}"
        if self.date:
            stem += f".{date}" if self.layout == "elemental" else date
        return f"{stem or 'dev'}.iso"


def load_iso_spec(path: Path, events: EventSink) -> IsoSpec:
    """Reads a spec of any dialect. Raises SpecError with file and line."""
    try:
        text = read_text(str(path))
    except FileNotFoundError as err:
        raise SpecError(f"there is no image spec {path}", where=Place(str(path)), reason="missing-spec") from err
    except SpecError as err:
        raise SpecError(f"the image spec: {err.message}", where=err.where, reason="missing-spec") from err
    return parse_iso_spec(load(text, str(path)), events)


def parse_iso_spec(root: Node, events: EventSink) -> IsoSpec:
    """The value of a parsed spec. Raises SpecError."""
    root.entries("an image spec")
    spec = _elemental(root, events) if root.get("iso") is not None else _makeiso(root, events)
    if not spec.rootfs and spec.overlay_rootfs is None:
        raise SpecError(
            "the spec names nothing to make the root file system of", where=spec.where, reason="no-rootfs",
            hint="name packages under packages.rootfs, an image as rootfs_image, or a folder as overlay.rootfs",
        )  # fmt: skip
    return spec


# luet-makeiso and its ancestor -------------------------------------------------------------------------------------
_TOP = (
    "packages initramfs label luet repository overlay image_prefix image_name image_date arch uefi_img rootfs_image "
    "ensure_common_dirs build squash-compression squash-no-compression"
)


def _makeiso(root: Node, events: EventSink) -> IsoSpec:
    packages = _section(root, "packages", events, "rootfs uefi isoimage initramfs keep_luet_db")
    initramfs = _section(root, "initramfs", events, "kernel_file rootfs_file")
    luet = _section(root, "luet", events, "repositories config")
    extra = _section(root, "repository", events, "packages initramfs")
    _warn_unknown(root, _TOP, events)
    first = tuple(_package(node, prefix="repository/") for node in extra.children("packages"))
    image = root.get("rootfs_image")
    rootfs = (_image(image),) if image is not None else first + _packages(packages, "rootfs")
    overlay = _overlay(root, events)
    return IsoSpec(
        where=Place(root.place.file, 1),
        boot_where=initramfs.place,
        layout="makeiso",
        rootfs=rootfs,
        uefi=_packages(packages, "uefi"),
        image=_packages(packages, "isoimage"),
        overlay_rootfs=_folder(overlay, "rootfs"),
        overlay_uefi=_folder(overlay, "uefi"),
        overlay_image=_folder(overlay, "isoimage"),
        keep_db=_flag(packages, "keep_luet_db"),
        kernel_file=_plain_name(initramfs, "kernel_file"),
        initrd_file=_plain_name(initramfs, "rootfs_file"),
        label=_label(root),
        repositories=tuple(_repository(node, "urls", 0, events) for node in luet.children("repositories")),
        config=luet.text("config"),
        prefix=_name_part(root, "image_prefix"),
        name=_name_part(root, "image_name"),
        date=_flag(root, "image_date"),
        arch=_arch(root),
        uefi_image=root.text("uefi_img"),
        common_dirs=_flag(root, "ensure_common_dirs", default=True),
        compression=_compression(root),
    )


def _overlay(root: Node, events: EventSink) -> Node:
    """`overlay:` was a boolean once, and has been a map of folders since; the boolean said nothing we need."""
    node = root.get("overlay")
    if node is None:
        return _nothing(root)
    if node.kind == "boolean" or (node.kind == "text" and node.value.lower() in ("true", "false")):
        message = "overlay: as a boolean has no meaning any more and is ignored"
        hint = "name folders: overlay.rootfs, overlay.uefi, overlay.isoimage"
        events.emit(Warned(message, where=node.place, hint=hint))
        return _nothing(root)
    return _section(root, "overlay", events, "rootfs uefi isoimage")


# elemental ---------------------------------------------------------------------------------------------------------
_MANIFEST = (
    "name date output arch platform iso repositories raw_disk squash-compression squash-no-compression cosign "
    "cosign-key local verify build"
)


def _elemental(root: Node, events: EventSink) -> IsoSpec:
    iso = _section(root, "iso", events, "rootfs uefi image label grub-entry-name bootloader-in-rootfs firmware")
    _warn_unknown(root, _MANIFEST, events)
    return IsoSpec(
        where=Place(root.place.file, 1),
        boot_where=iso.place,
        layout="elemental",
        rootfs=tuple(_uri(node) for node in iso.children("rootfs")),
        uefi=tuple(_uri(node) for node in iso.children("uefi")),
        image=tuple(_uri(node) for node in iso.children("image")),
        label=_label(iso),
        title=iso.text("grub-entry-name", "cOS"),
        repositories=tuple(_repository(node, "uri", 90, events) for node in root.children("repositories")),
        name=_name_part(root, "name") or "elemental",
        date=_flag(root, "date"),
        output=root.text("output"),
        arch=_arch(root),
        compression=_compression(root),
    )


def _uri(node: Node) -> Source:
    """`dir: file: oci: docker: channel:`; a bare `category/name` is a package, anything else bare an image."""
    text = node.as_text("a source")
    scheme, colon, rest = text.partition(":")
    rest = rest.removeprefix("//")
    if colon and scheme in ("dir", "file", "oci", "docker", "channel") and not rest:
        node.fail(f"{text!r} names nothing after its scheme", reason="bad-source")
    if colon and scheme == "dir":
        return Source("folder", rest, node.place)
    if colon and scheme == "file":
        return Source("file", rest, node.place)
    if colon and scheme == "channel":
        return Source("package", rest.partition("@")[0] + _at_version(rest), node.place)
    if colon and scheme in ("oci", "docker"):
        return Source("image", _tagged(rest), node.place)
    if re.fullmatch(r"[A-Za-z0-9_-]+/[A-Za-z0-9_.+-]+", text):
        return Source("package", text, node.place)
    return Source("image", _tagged(text), node.place)


def _at_version(rest: str) -> str:
    version = rest.partition("@")[2]
    return f"@{version}" if version else ""


# shared ------------------------------------------------------------------------------------------------------------
def _nothing(root: Node) -> Node:
    return Node("nothing", root.place, None)


def _section(root: Node, key: str, events: EventSink, known: str) -> Node:
    node = root.get(key)
    if node is None:
        return _nothing(root)
    node.entries(key)
    _warn_unknown(node, known, events, f"{key}.")
    return node


def _warn_unknown(node: Node, known: str, events: EventSink, prefix: str = "") -> None:
    for name, place in node.unknown(frozenset(known.split())):
        events.emit(Warned(f"unknown key {prefix}{name} is ignored", where=place))


def _flag(node: Node, key: str, default: bool = False) -> bool:
    """A boolean, or the text of one, as the oldest dialect writes it."""
    value = node.get(key)
    if value is None:
        return default
    if value.kind == "text":
        word = str(value.value).strip().lower()
        if word in ("true", "yes", "on", "1"):
            return True
        if word in ("false", "no", "off", "0", ""):
            return False
    return value.as_boolean(key)


def _packages(node: Node, key: str) -> tuple[Source, ...]:
    return tuple(_package(item) for item in node.children(key))


def _package(node: Node, prefix: str = "") -> Source:
    text = node.as_text("a package")
    if prefix and "/" not in text:
        text = prefix + text
    category, slash, name = text.partition("@")[0].partition("/")
    if not (category and slash and name):
        node.fail(f"{text!r} is not a package", hint="write it as category/name", reason="bad-package")
    return Source("package", text, node.place)


def _image(node: Node) -> Source:
    return Source("image", _tagged(node.as_text("rootfs_image")), node.place)


def _tagged(reference: str) -> str:
    last = reference.rsplit("/", 1)[-1]
    return reference if ":" in last or "@" in last else f"{reference}:latest"


def _folder(node: Node, key: str) -> Source | None:
    value = node.get(key)
    return None if value is None else Source("folder", value.as_text(f"overlay.{key}"), value.place)


def _repository(node: Node, key: str, priority: int, events: EventSink) -> SpecRepository:
    _warn_unknown(node, f"{key} name description type enable priority cached verify auth arch reference trust", events)
    if key == "urls":
        urls = node.texts("urls")
    else:
        urls = tuple(text for text in (node.text(key),) if text)
    if not urls:
        node.fail("a repository without an address", hint=f"add {key}:", reason="bad-repository")
    kind = node.text("type") or _guess_type(urls[0])
    if kind not in ("disk", "http", "docker", "oci"):
        node.fail(f"unknown type of repository {kind!r}", hint="disk, http or docker", reason="bad-repository")
    return SpecRepository(
        name=node.text("name") or urls[0],
        type=kind,
        urls=urls,
        priority=node.integer("priority", priority),
        enable=_flag(node, "enable", default=True),
        where=node.place,
        trust=_trust(node),
    )


def _trust(node: Node) -> TrustSetting:
    found = node.get("trust")
    if found is None:
        return TrustSetting()
    try:
        return read_setting(found.plain(), found.place)
    except ConfigError as err:
        found.fail(err.message, hint=err.hint, reason=err.reason)


def _guess_type(url: str) -> str:
    if url.startswith(("http://", "https://")):
        return "http"
    return "disk" if url.startswith(("/", ".")) or Path(url).is_dir() else "docker"


def _label(node: Node) -> str:
    value = node.get("label")
    if value is None:
        return DEFAULT_LABEL
    label = value.as_text("label")
    if not _LABEL.match(label):
        value.fail(
            f"{label!r} cannot be the label of an ISO", reason="bad-label",
            hint="1 to 32 letters, digits, dots, dashes and underscores: it is said on the kernel's command line",
        )  # fmt: skip
    return label


def _plain_name(node: Node, key: str) -> str:
    value = node.get(key)
    if value is None:
        return ""
    name = value.as_text(key)
    if not _FILE_NAME.match(name) or name in (".", ".."):
        value.fail(f"{key} must be the name of a file under /boot, not {name!r}", reason="bad-name")
    return name


def _name_part(node: Node, key: str) -> str:
    value = node.get(key)
    if value is None:
        return ""
    text = value.as_text(key)
    if "/" in text or "\0" in text:
        value.fail(f"{key} is a part of a file's name and cannot hold a slash", reason="bad-name")
    return text


def _arch(node: Node) -> str:
    value = node.get("arch")
    if value is None:
        return "x86_64"
    text = value.as_text("arch")
    if not _ARCH.match(text):
        value.fail(f"unknown architecture {text!r}", reason="bad-arch")
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(text, text)


def _compression(root: Node) -> tuple[str, ...]:
    words = tuple(
        word for node in root.children("squash-compression") for word in node.as_text("squash-compression").split()
    )
    if _flag(root, "squash-no-compression"):
        words = ("-no-compression",)
    squash = root.get("squash-compression")
    _check_compression(words, squash.place if squash is not None else root.place)
    return words


def _check_compression(words: tuple[str, ...], where: Place) -> None:
    """Only what says how to compress: mksquashfs has options that run programs and leave files out."""
    for word in words:
        if word.startswith("-") and not (word in ("-comp", "-b", "-no-compression") or word.startswith("-X")):
            raise SpecError(f"squash-compression cannot hold {word}", where=where, reason="bad-compression")
