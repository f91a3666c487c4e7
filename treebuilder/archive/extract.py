"""The one extractor. Nothing it writes can leave its root.

Every parent is opened folder by folder with O_NOFOLLOW, so neither a `..`, nor an absolute name, nor a link that the
archive (or an earlier one) laid can lead out. Into a system that is in use, links in parents are followed *inside*
the root (`follow=True`, for merged-/usr systems); into a store they are refused.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from treebuilder.annotations import IO, TYPE_CHECKING, Any, cast
from treebuilder.archive import headers
from treebuilder.archive.bounds import USUAL_BOUND, Bound
from treebuilder.archive.entry import KEPT_XATTRS, Entry
from treebuilder.errors import IntegrityError, TreebuildError, UnsafeArchive
from treebuilder.system.files import disk_errors

if TYPE_CHECKING:
    import tarfile

_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20
_KINDS = {  # by the type byte of a header
    b"0": "f", b"\0": "f", b"S": "f", b"7": "f", b"5": "d", b"2": "l", b"1": "h", b"3": "c", b"4": "b", b"6": "p",
}  # fmt: skip
_EXTENSIONS = (b"x", b"g", b"X", b"L", b"K")
_MAX_EXTENSION = 4 << 20
_XATTR = "SCHILY.xattr."
_REFUSED_XATTRS = ("trusted.", "user.overlay.")  # overlayfs's own would let an archive shape the mount
_IDS = (1 << 32) - 1  # -1 as an id means "leave it" to chown
_YEARS = 1 << 36  # about two thousand years, far inside what file systems and time_t can say


def clean_path(name: str, what: str) -> str:
    """A name as a relative path without `.`; raises UnsafeArchive for `..`, absolute and NUL names."""
    if name.startswith("/"):
        raise UnsafeArchive(f"{what} holds the absolute name {name!r}")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name:
        raise UnsafeArchive(f"{what} holds the name {name!r}, which leads out of its root")
    return "/".join(parts)


def entries(stream: IO[bytes], what: str, bound: Bound = USUAL_BOUND) -> Iterator[tuple[Entry, IO[bytes] | None]]:
    """Reads a tar stream (already decompressed) entry by entry, names cleaned. `what` names it in errors.

    Holes that a tar only describes count against the `bound`, too. Raises IntegrityError, UnsafeArchive.
    """
    import tarfile

    reader = _members(stream, what, bound)
    while True:
        try:
            info, content = next(reader)
            entry = _entry(info, what)
        except StopIteration:
            return
        except tarfile.TarError as err:
            raise IntegrityError(f"{what} is no readable tar archive: {err}") from err
        except EOFError as err:
            raise IntegrityError(f"{what} ends too early") from err
        except (ValueError, OverflowError) as err:
            raise IntegrityError(f"{what} holds an impossible number: {err}") from err
        if entry is not None:
            yield entry, content


def _members(
    stream: IO[bytes], what: str, bound: Bound
) -> Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]:  # fmt: skip
    import tarfile

    class Member(tarfile.TarInfo):
        """Long names and attributes are read into memory whole, so they must not be as long as they like."""

        @classmethod
        def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Member:
            made = cls()
            return made if headers.read(made, bytes(buf), encoding, errors) else super().frombuf(buf, encoding, errors)

        def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
            if self.type in _EXTENSIONS and self.size > _MAX_EXTENSION:
                raise UnsafeArchive(f"{what} holds a header of {self.size} bytes")
            found: tarfile.TarInfo = super()._proc_member(tar)  # type: ignore[misc]
            return found

    holes = 0
    with tarfile.open(fileobj=stream, mode="r|", encoding="utf-8", errors="surrogateescape", tarinfo=Member) as tar:
        while (info := tar.next()) is not None:
            cast("Any", tar).members.clear()  # it would keep them all
            if info.sparse is not None:
                kept = cast("list[tuple[int, int]]", info.sparse)
                holes += info.size - sum(size for _, size in kept)
                bound.check(holes, tar.offset, what)
            content = tar.extractfile(info) if _KINDS.get(info.type) == "f" else None
            yield info, None if content is None else cast("IO[bytes]", _Content(content, what))


class _Content(io.RawIOBase):
    """What a member holds; an archive that ends in it is an error of ours, wherever it is read."""

    def __init__(self, content: IO[bytes], what: str) -> None:
        self._content, self._what = content, what

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - a writable buffer has no name in typing here
        import tarfile

        try:
            data = self._content.read(len(buffer))
        except tarfile.TarError as err:
            raise IntegrityError(f"{self._what} ends too early: {err}") from err
        buffer[: len(data)] = data
        return len(data)


def _entry(info: tarfile.TarInfo, what: str) -> Entry | None:
    """A member as an entry; None for what we do not unpack. ValueError, OverflowError for impossible numbers."""
    kind = _KINDS.get(info.type)
    path = clean_path(info.name, what)
    if kind is None or not path:
        return None
    xattrs = tuple(sorted(
        (key.removeprefix(_XATTR), value.encode("utf-8", "surrogateescape"))
        for key, value in info.pax_headers.items() if key.startswith(_XATTR)
    ))  # fmt: skip
    link = clean_path(info.linkname.lstrip("/"), what) if kind == "h" else info.linkname
    if (kind == "h" and not link) or "\0" in link:
        raise UnsafeArchive(f"{what} holds {path!r}, a link to {info.linkname!r}")
    rdev = os.makedev(info.devmajor, info.devminor) if kind in "cb" else 0
    if not (0 <= info.uid < _IDS and 0 <= info.gid < _IDS):
        raise ValueError(f"{path} belongs to {info.uid}:{info.gid}")
    mtime = int(info.mtime)
    if not -_YEARS <= mtime <= _YEARS:
        raise ValueError(f"{path} is of the time {mtime}")
    size = info.size if kind == "f" else 0
    return Entry(path, kind, info.mode & 0o7777, info.uid, info.gid, size, mtime, link, rdev, xattrs)


class Writer:
    """Writes entries below `root`. Use as a context manager; folder times are set at the end.

    `follow`: links in parents are resolved inside the root. `own`: set owners (needs root). `on_existing_dir` keeps
    an existing folder's own mode and owner when True. `reserved` are names at the top that nothing may have.
    """

    def __init__(
        self, root: str, *, follow: bool = False, own: bool = True, keep_existing_dirs: bool = False,
        reserved: frozenset[str] = frozenset()
    ) -> None:  # fmt: skip
        self._root = os.open(root, _DIR)
        self._follow = follow
        self._own = own
        self._keep = keep_existing_dirs
        self._reserved = reserved
        self._times: dict[str, int] = {}
        self._cached: tuple[str, int, str] = ("", os.dup(self._root), "")  # a path, the folder there, its real path

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            for path, mtime in list(self._times.items()) if kind is None else ():
                parent, name = self.parent(path)
                try:
                    os.utime(name, (mtime, mtime), dir_fd=parent, follow_symlinks=False)
                except FileNotFoundError:
                    continue
        finally:
            os.close(self._cached[1])
            os.close(self._root)

    def parent(self, path: str) -> tuple[int, str]:
        """A descriptor of the folder that holds `path` (valid until the next call), and the last name."""
        folder, _, name = path.rpartition("/")
        if folder != self._cached[0]:
            fd, real = self._open(folder)
            os.close(self._cached[1])
            self._cached = (folder, fd, real)
        if name in self._reserved and not self._cached[2]:
            raise UnsafeArchive(f"{path} is a name that treebuild keeps for itself")
        return self._cached[1], name

    def place(self, path: str) -> str:
        """The path without links in its folders."""
        _, name = self.parent(path)
        return f"{self._cached[2]}/{name}" if self._cached[2] else name

    def _open(self, folder: str) -> tuple[int, str]:
        """Opens (and creates, 0755 root) a folder below the root, link by link; and where it really is.

        Folders that a layer implies are of the time 0, so that its content is the same whenever it is unpacked.
        """
        stack = [os.dup(self._root)]
        parts = [part for part in reversed(folder.split("/")) if part]
        done: list[str] = []
        hops = 0
        try:
            while parts:
                part = parts.pop()
                if part == "..":
                    if len(stack) > 1:
                        os.close(stack.pop())
                        done.pop()
                    continue
                if not done and part in self._reserved:
                    raise UnsafeArchive(f"{folder} is a name that treebuild keeps for itself")
                try:
                    stack.append(os.open(part, _DIR, dir_fd=stack[-1]))
                    done.append(part)
                    continue
                except FileNotFoundError:
                    os.mkdir(part, 0o755, dir_fd=stack[-1])
                    stack.append(os.open(part, _DIR, dir_fd=stack[-1]))
                    os.fchmod(stack[-1], 0o755)  # whatever the umask is
                    done.append(part)
                    if not self._follow:
                        self._times.setdefault("/".join(done), 0)
                    continue
                except OSError as err:
                    info = os.stat(part, dir_fd=stack[-1], follow_symlinks=False)
                    if not stat.S_ISLNK(info.st_mode):
                        raise UnsafeArchive(f"{folder}: {part} is not a folder") from err
                    if not self._follow:
                        raise UnsafeArchive(f"{folder} leads through the link {part!r}") from err
                hops += 1
                if hops > 40:
                    raise UnsafeArchive(f"{folder}: too many links")
                target = os.readlink(part, dir_fd=stack[-1])
                if target.startswith("/"):
                    for fd in stack[1:]:
                        os.close(fd)
                    del stack[1:]
                    done.clear()
                parts.extend(p for p in reversed(target.split("/")) if p not in ("", "."))
            return os.dup(stack[-1]), "/".join(done)
        finally:
            for fd in stack:
                os.close(fd)

    def remove(self, path: str) -> None:
        """Removes what stands at `path`, a folder with all it holds."""
        parent, name = self.parent(path)
        _remove_at(parent, name)
        below = f"{path}/"
        if f"{self._cached[0]}/".startswith(below):  # a folder that is gone must not be written to any more
            os.close(self._cached[1])
            self._cached = ("", os.dup(self._root), "")
        self._times = {p: t for p, t in self._times.items() if p != path and not p.startswith(below)}

    def opaque(self, folder: str) -> None:
        """Marks a folder of the layer opaque, made if it is not there yet."""
        if folder:
            fd, _ = self.parent(f"{folder}/x")
            set_opaque(f"/proc/self/fd/{fd}")

    def add(self, entry: Entry, content: IO[bytes] | None) -> None:
        """Creates one entry, replacing what is there (an existing folder stays a folder)."""
        parent, name = self.parent(entry.path)
        existing = _lstat_at(parent, name)
        if entry.kind == "d":
            self._add_folder(entry, parent, name, existing)
            return
        if existing is not None:
            if stat.S_ISDIR(existing.st_mode) and self._keep:
                raise UnsafeArchive(f"{entry.path} is a folder of the system and would be replaced by a file")
            self._replace(entry.path, existing)
            parent, name = self.parent(entry.path)
        match entry.kind:
            case "f":
                self._add_file(entry, parent, name, content)
                return
            case "h":
                self._add_link(entry)
                return
            case "l":
                os.symlink(entry.link, name, dir_fd=parent)
            case "w":
                os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent)
                return
            case "p":
                os.mkfifo(name, entry.mode, dir_fd=parent)
            case _:
                _make_device(entry, parent, name)
        if self._own:
            with _owner_errors(entry):
                os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        if entry.kind != "l":
            os.chmod(name, entry.mode, dir_fd=parent)
        os.utime(name, (entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)

    def _replace(self, path: str, existing: os.stat_result) -> None:
        if stat.S_ISDIR(existing.st_mode):
            self.remove(path)
        else:
            parent, name = self.parent(path)
            os.unlink(name, dir_fd=parent)

    def _add_folder(self, entry: Entry, parent: int, name: str, existing: os.stat_result | None) -> None:
        if existing is not None and stat.S_ISLNK(existing.st_mode) and self._follow:
            return  # /lib -> usr/lib: the system's own arrangement stays
        if existing is not None and not stat.S_ISDIR(existing.st_mode):
            os.unlink(name, dir_fd=parent)
            existing = None
        if existing is None:
            os.mkdir(name, 0o700, dir_fd=parent)
        elif self._keep:
            return
        fd = os.open(name, _DIR, dir_fd=parent)
        try:
            if existing is not None:
                _forget_xattrs(fd, entry)
            self._finish(fd, entry)
            if entry.opaque:
                set_opaque(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
        self._times[entry.path] = entry.mtime

    def _add_file(self, entry: Entry, parent: int, name: str, content: IO[bytes] | None) -> None:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent)
        try:
            if content is not None:
                copy_sparse(content, fd, entry.size, entry.path)
            self._finish(fd, entry)
            os.utime(fd, (entry.mtime, entry.mtime))
        finally:
            os.close(fd)

    def _add_link(self, entry: Entry) -> None:
        folder, _, source = entry.link.rpartition("/")
        link_parent, _ = self._open(folder)
        try:
            parent, name = self.parent(entry.path)
            os.link(source, name, src_dir_fd=link_parent, dst_dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError as err:
            raise IntegrityError(f"{entry.path} is a hard link to {entry.link}, which is not there") from err
        except PermissionError as err:
            raise IntegrityError(f"{entry.path} is a hard link to {entry.link}, which is a folder") from err
        finally:
            os.close(link_parent)

    def _finish(self, fd: int, entry: Entry) -> None:
        if self._own:
            with _owner_errors(entry):
                os.fchown(fd, entry.uid, entry.gid)
        os.fchmod(fd, entry.mode)  # after chown, which clears setuid bits
        for key, value in entry.xattrs:
            if key.startswith(KEPT_XATTRS) and not key.startswith(_REFUSED_XATTRS):
                with _xattr_errors(entry, key):
                    os.setxattr(f"/proc/self/fd/{fd}", key, value)


def _make_device(entry: Entry, parent: int, name: str) -> None:
    kind = stat.S_IFCHR if entry.kind == "c" else stat.S_IFBLK
    try:
        os.mknod(name, kind | entry.mode, entry.rdev, dir_fd=parent)
    except PermissionError as err:
        raise TreebuildError(
            f"{entry.path} is a device node, which only root can make", hint="run as root", reason="permission"
        ) from err


@contextmanager
def _owner_errors(entry: Entry) -> Iterator[None]:
    """In a user namespace only mapped ids can own anything, and without one only ours."""
    try:
        yield
    except OSError as err:
        if err.errno not in (errno.EINVAL, errno.EPERM):
            raise
        raise TreebuildError(
            f"{entry.path} belongs to {entry.uid}:{entry.gid}, which cannot be given to it here",
            hint="run as root, or give the user a longer range in /etc/subuid and /etc/subgid", reason="permission",
        ) from err  # fmt: skip


def _forget_xattrs(fd: int, entry: Entry) -> None:
    """Removes what a folder had from an earlier entry; what an overlay noted about it stays."""
    path = f"/proc/self/fd/{fd}"
    wanted = {key for key, _ in entry.xattrs}
    for key in os.listxattr(path):
        if key.startswith(KEPT_XATTRS) and not key.startswith(_REFUSED_XATTRS) and key not in wanted:
            os.removexattr(path, key)


@contextmanager
def _xattr_errors(entry: Entry, key: str) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        if err.errno in (errno.EOPNOTSUPP, errno.EPERM):
            raise TreebuildError(
                f"{entry.path} has the attribute {key}, which cannot be kept here: {err.strerror}", reason="permission",
                hint="choose a --cache-dir on a file system with extended attributes",
            ) from err  # fmt: skip
        if err.errno in (errno.EINVAL, errno.ERANGE, errno.E2BIG, errno.ENAMETOOLONG):
            raise IntegrityError(f"{entry.path} has an impossible attribute {key!r}: {err.strerror}") from err
        raise


@contextmanager
def _disk_errors(what: str, root: str) -> Iterator[None]:
    with disk_errors(f"unpacking {what}", root):
        try:
            yield
        except OSError as err:
            if err.errno in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ):
                raise IntegrityError(f"{what} holds a name that cannot be: {err.strerror}") from err
            raise


def _lstat_at(parent: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _remove_at(parent: int, name: str) -> None:
    info = _lstat_at(parent, name)
    if info is None:
        return
    if not stat.S_ISDIR(info.st_mode):
        os.unlink(name, dir_fd=parent)
        return
    fd = os.open(name, _DIR, dir_fd=parent)
    try:
        for child in os.listdir(fd):
            _remove_at(fd, child)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=parent)


def set_opaque(path: str) -> None:
    """Marks a layer's folder opaque: by root's xattr, or by the one user namespaces may set."""
    try:
        os.setxattr(path, "trusted.overlay.opaque", b"y")
    except PermissionError:
        os.setxattr(path, "user.overlay.opaque", b"y")


def copy_sparse(source: IO[bytes], fd: int, size: int, path: str) -> None:
    """Copies `size` bytes; blocks of zeros become holes."""
    done = 0
    while done < size:
        data = source.read(min(_CHUNK, size - done))
        if not data:
            raise IntegrityError(f"{path} ends too early in the archive")
        if len(data) >= 4096 and data.count(0) == len(data):
            os.lseek(fd, len(data), os.SEEK_CUR)
        else:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
        done += len(data)
    os.ftruncate(fd, size)


def unpack_layer(stream: IO[bytes], root: str, what: str, *, own: bool = True, bound: Bound = USUAL_BOUND) -> None:
    """Unpacks a layer's tar into folder form: whiteout markers become overlay's own."""
    with _disk_errors(what, root), Writer(root, own=own) as writer:
        for entry, content in entries(stream, what, bound):
            folder, _, name = entry.path.rpartition("/")
            if name == ".wh..wh..opq":
                writer.opaque(folder)
            elif name.startswith(".wh."):
                if name[4:] in ("", ".", ".."):
                    raise UnsafeArchive(f"{what} holds the name {entry.path!r}, which deletes nothing in its folder")
                target = f"{folder}/{name[4:]}" if folder else name[4:]
                writer.add(entry._replace(path=target, kind="w"), None)
            else:
                writer.add(entry, content)


def unpack_package(
    stream: IO[bytes], root: str, what: str, *, own: bool = True, bound: Bound = USUAL_BOUND,
    on_entry: Callable[[Entry, str], None] | None = None, reserved: frozenset[str] = frozenset(),
) -> None:  # fmt: skip
    """Unpacks a package into a root that may be in use: existing folders keep mode and owner.

    `on_entry` is told of each entry and where it really came to lie.
    """
    writer = Writer(root, follow=True, own=own, keep_existing_dirs=True, reserved=reserved)
    with _disk_errors(what, root), writer:
        for entry, content in entries(stream, what, bound):
            writer.add(entry, content)
            if on_entry is not None:
                on_entry(entry, writer.place(entry.path))
