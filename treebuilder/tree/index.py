"""The index of what is known about files, so that an unchanged one is not read again."""

from treebuilder.annotations import NamedTuple, Protocol


class FileStamp(NamedTuple):
    """A file as it was: equal stamps mean equal content, unless the file was written in the very moment."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class SpecIndex(Protocol):
    """Remembers bytes by stamp. May forget. Safe from several threads."""

    def get(self, stamp: FileStamp) -> bytes | None: ...

    def put(self, stamp: FileStamp, data: bytes) -> None: ...


class MemoryIndex:
    """An index that lasts as long as the process."""

    def __init__(self) -> None:
        self._known: dict[FileStamp, bytes] = {}

    def get(self, stamp: FileStamp) -> bytes | None:
        return self._known.get(stamp)

    def put(self, stamp: FileStamp, data: bytes) -> None:
        self._known[stamp] = data
