"""Records of a package as bytes and back, for the specfile index.

A record becomes a list that begins with the number of its class, so `marshal` (ten times as fast as JSON) can write it;
a checksum stands in front, because `marshal` trusts what it reads.
"""

from __future__ import annotations

import marshal
import zlib
from operator import attrgetter

from treebuilder.annotations import Any
from treebuilder.errors import Place
from treebuilder.model.package import Bootstrap, CopyItem, Package, PackageId, PackageRef, Recipe, Step, SubPackage
from treebuilder.records import fields

_CLASSES: tuple[type[Any], ...] = (
    Place, PackageId, PackageRef, Package, CopyItem, SubPackage, Bootstrap, Step, Recipe
)  # fmt: skip
_NUMBERS = {cls: number for number, cls in enumerate(_CLASSES)}
_NAMES = [tuple(f.name for f in fields(cls)) for cls in _CLASSES]
_GETTERS = [attrgetter(*names) for names in _NAMES]  # no class has but one field
ID, PROVIDES, WHERE = (
    1 + _NAMES[_NUMBERS[Package]].index(name) for name in ("id", "provides", "where")
)  # of a package
SHAPE = repr([(cls.__name__, names) for cls, names in zip(_CLASSES, _NAMES, strict=True)])


def slots(cls: type[Any]) -> dict[str, int]:
    """Where the fields of a record stand when it is encoded."""
    return {name: at for at, name in enumerate(_NAMES[_NUMBERS[cls]], 1)}


def encode(value: Any) -> Any:  # noqa: ANN401 - any of the records, and what is in them
    """A record, or tuples of records, as lists, tuples and plain values."""
    kind = type(value)
    if kind is tuple:
        return tuple([v if type(v) is str else encode(v) for v in value])
    number = _NUMBERS.get(kind)
    if number is None:
        return value
    return [number, *[v if type(v) is str else encode(v) for v in _GETTERS[number](value)]]


def decode(value: Any) -> Any:  # noqa: ANN401 - any of the records
    """What `encode` was given."""
    kind = type(value)
    if kind is list:
        return _CLASSES[value[0]](*[v if type(v) is str else decode(v) for v in value[1:]])
    if kind is tuple and value:
        return tuple([v if type(v) is str else decode(v) for v in value])
    return value


def dump(value: Any, before: bytes = b"") -> bytes:  # noqa: ANN401 - lists, tuples and plain values
    """Bytes for `load`, behind others that are not its own."""
    data = marshal.dumps(value)
    return b"".join((before, zlib.crc32(data).to_bytes(4, "little"), data))


def load(data: bytes, start: int = 0) -> Any:  # noqa: ANN401 - lists, tuples and plain values
    """What was dumped behind so many bytes; None for bytes that are something else."""
    inner = memoryview(data)[start + 4 :]
    if not inner or zlib.crc32(inner).to_bytes(4, "little") != data[start : start + 4]:
        return None
    return marshal.loads(inner)  # noqa: S302 - our own bytes, checked
