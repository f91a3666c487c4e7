"""Images: specs of ISOs, and the ISOs, squashfs and FAT files made of folders without a mount."""

from treebuilder.image.api import ImageFile, Installer
from treebuilder.image.iso import compose_iso, iso_key, tool_versions
from treebuilder.image.spec import IsoSpec, Source, SpecRepository, load_iso_spec, parse_iso_spec

__all__ = [
    "ImageFile",
    "Installer",
    "IsoSpec",
    "Source",
    "SpecRepository",
    "compose_iso",
    "iso_key",
    "load_iso_spec",
    "parse_iso_spec",
    "tool_versions",
]
