"""The one extractor. Nothing it writes can leave its root.

Every parent is opened folder by folder with O_NOFOLLOW, so neither a `..`, nor an absolute name, nor a link that the
archive (or an earlier one) laid can lead out. Into a system that is in use, links in parents are followed *inside*
the root (`follow=True`, for merged-/usr systems); into a store they are refused.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from treebuilder.annotations import IO, Any, cast
from treebuilder.archive.bounds import USUAL_BOUND, Bound
from treebuilder.archive.entry import KEPT_XATTRS, Entry
from treebuilder.archive.folders import DIR, Folders
from treebuilder.archive.reading import entries
from treebuilder.errors import IntegrityError, TreebuildError, UnsafeArchive
from treebuilder.system.files import disk_errors

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20
_REFUSED_XATTRS = ("trusted.", "user.overlay.")  # overlayfs's own would let an archive shape the mount
_UNFINISHED = ".treebuild-folder"  # a folder until it has its owner and mode: where folders are kept, it would stay so


class Writer:
    """Writes entries below `root`. Use as a context manager; folder times are set at the end.

    `follow`: links in parents are resolved inside the root. `own`: set owners (needs root). `keep_existing_dirs`: a
    folder that is there keeps mode and owner, and nothing else takes its place, nor it that of anything but a link; a
    new one appears whole. `reserved` are names at the top that nothing may have.
    """

    def __init__(
        self, root: str, *, follow: bool = False, own: bool = True, keep_existing_dirs: bool = False,
        reserved: frozenset[str] = frozenset()
    ) -> None:  # fmt: skip
        self._root = os.open(root, DIR)
        self._follow = follow
        self._own = own
        self._keep = keep_existing_dirs
        self._reserved = reserved
        self._times: dict[str, int] = {}
        self._cached: tuple[str, int, str] = ("", os.dup(self._root), "")  # a path, the folder there, its real path
        self._folders = Folders(self._root, follow=follow, reserved=reserved, made=self._made)
        self._buffer: memoryview | None = None

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
            self._folders.forget()
            self._buffer = None
            os.close(self._cached[1])
            os.close(self._root)

    def parent(self, path: str) -> tuple[int, str]:
        """A descriptor of the folder that holds `path` (valid until the next call), and the last name."""
        folder, _, name = path.rpartition("/")
        if folder != self._cached[0]:
            fd, real = self._folders.open(folder)
            os.close(self._cached[1])
            self._cached = (folder, fd, real)
        if (name in self._reserved and not self._cached[2]) or (self._keep and name == _UNFINISHED):
            raise UnsafeArchive(f"{path} is a name that treebuild keeps for itself")
        return self._cached[1], name

    def place(self, path: str) -> str:
        """The path without links in its folders."""
        _, name = self.parent(path)
        return f"{self._cached[2]}/{name}" if self._cached[2] else name

    def _made(self, folder: str) -> None:
        """Folders that a layer implies are of the time 0, so that its content is the same whenever it is unpacked."""
        if not self._follow:
            self._times.setdefault(folder, 0)

    def remove(self, path: str) -> None:
        """Removes what stands at `path`, a folder with all it holds."""
        parent, name = self.parent(path)
        real = self.place(path)
        _remove_at(parent, name)
        self._forget()  # a folder that is gone must not be written to any more, whatever it is called
        self._times = {p: t for p, t in self._times.items() if p != real and not p.startswith(f"{real}/")}

    def opaque(self, folder: str) -> None:
        """Marks a folder of the layer opaque, made if it is not there yet."""
        if folder:
            fd, _ = self.parent(f"{folder}/x")
            set_opaque(f"/proc/self/fd/{fd}")

    def add(self, entry: Entry, content: IO[bytes] | None) -> None:
        """Creates one entry, replacing what is there (an existing folder stays a folder)."""
        parent, name = self.parent(entry.path)
        if entry.kind == "f":
            try:
                fd = os.open(name, _NEW, 0o600, dir_fd=parent)
            except FileExistsError:
                pass
            else:
                self._fill(fd, entry, content)
                return
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
                self._fill(os.open(name, _NEW, 0o600, dir_fd=parent), entry, content)
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
            if stat.S_ISLNK(existing.st_mode):  # it may have led to other folders
                self._forget()

    def _forget(self) -> None:
        os.close(self._cached[1])
        self._cached = ("", os.dup(self._root), "")
        self._folders.forget()

    def _add_folder(self, entry: Entry, parent: int, name: str, existing: os.stat_result | None) -> None:
        if existing is not None and stat.S_ISLNK(existing.st_mode) and self._follow:
            return  # /lib -> usr/lib: the system's own arrangement stays
        if existing is not None and not stat.S_ISDIR(existing.st_mode):
            if self._keep:
                raise UnsafeArchive(f"{entry.path} is no folder in the system and would be replaced by one")
            os.unlink(name, dir_fd=parent)
            existing = None
        made = name
        if existing is None:
            made = _UNFINISHED if self._keep else name
            _make_folder(parent, made, entry.path)
        elif self._keep:
            return
        fd = os.open(made, DIR, dir_fd=parent)
        try:
            if existing is not None:
                _forget_xattrs(fd, entry)
            self._finish(fd, entry)
            if entry.opaque:
                set_opaque(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)
        if made != name:
            os.rename(made, name, src_dir_fd=parent, dst_dir_fd=parent)
        self._times[self.place(entry.path)] = entry.mtime

    def _fill(self, fd: int, entry: Entry, content: IO[bytes] | None) -> None:
        """Writes a new file and closes it."""
        try:
            if content is not None and entry.size:
                if self._buffer is None:
                    self._buffer = memoryview(bytearray(_CHUNK))
                copy_sparse(content, fd, entry.size, entry.path, self._buffer)
            self._finish(fd, entry)
            os.utime(fd, (entry.mtime, entry.mtime))
        finally:
            os.close(fd)

    def _add_link(self, entry: Entry) -> None:
        folder, _, source = entry.link.rpartition("/")
        link_parent, _ = self._folders.open(folder)
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


def _make_folder(parent: int, name: str, path: str) -> None:
    """Makes a folder, `path` being what it is for; an empty one that a killed run left is the same."""
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        try:
            os.rmdir(name, dir_fd=parent)
        except OSError as err:
            raise UnsafeArchive(f"{path} cannot be made: beside it is {name}, which treebuild works with") from err
        os.mkdir(name, 0o700, dir_fd=parent)


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
    fd = os.open(name, DIR, dir_fd=parent)
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


def copy_sparse(source: IO[bytes], fd: int, size: int, path: str, buffer: memoryview) -> None:
    """Copies `size` bytes by way of `buffer`, of bytes; blocks of zeros become holes."""
    read: Callable[[memoryview], int] = cast("Any", source).readinto
    held = cast("bytearray", buffer.obj)
    done = 0
    hole = False
    while done < size:
        got = read(buffer[: size - done])
        if not got:
            raise IntegrityError(f"{path} ends too early in the archive")
        done += got
        hole = got >= 4096 and not held[0] and held.count(0, 0, got) == got
        if hole:
            os.lseek(fd, got, os.SEEK_CUR)
            continue
        written = os.write(fd, buffer[:got])
        while written < got:
            written += os.write(fd, buffer[written:got])
    if hole:
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

    `on_entry` is told of each entry, and where it will really lie, before it is written.
    """
    writer = Writer(root, follow=True, own=own, keep_existing_dirs=True, reserved=reserved)
    with _disk_errors(what, root), writer:
        for entry, content in entries(stream, what, bound):
            if on_entry is not None:
                on_entry(entry, writer.place(entry.path))
            writer.add(entry, content)
