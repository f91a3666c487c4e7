"""Debian and its relatives, through apt (to resolve) and mmdebstrap (to install).

Resolving asks apt in a folder of its own for the exact package files; installing gives mmdebstrap a local repository
that holds just those files, so the same lock always gives the same base, and without network once they are stored.
"""

from __future__ import annotations

import email.utils
import os
import re
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from treebuilder.container.sandbox import Sandbox
from treebuilder.container.sandbox import run as run_in_sandbox
from treebuilder.errors import SpecError, ToolFailed, TransportError
from treebuilder.events import EventSink, Finished, LogLine, Progressed, Started
from treebuilder.model.digest import Digest
from treebuilder.model.locked import LockedBase, LockedPackage
from treebuilder.model.package import Bootstrap
from treebuilder.oci.download import Downloader
from treebuilder.oci.seal import Sealed, seal
from treebuilder.oci.store import Store
from treebuilder.oci.view import StackView
from treebuilder.system.files import remove_tree
from treebuilder.system.process import Cancel, environment, require, run

DEFAULT_MIRROR = "http://deb.debian.org/debian"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_VARIANTS = {
    "extract": (), "custom": (), "essential": ("?essential",), "apt": ("?essential", "apt"),
    "minbase": ("?essential", "apt", "?priority(required)"),
    "important": ("?essential", "apt", "?priority(required)", "?priority(important)"),
    "standard": ("?essential", "apt", "?priority(required)", "?priority(important)", "?priority(standard)"),
}  # fmt: skip
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.\-]*(:[a-z0-9]+)?([=/][A-Za-z0-9][A-Za-z0-9.+~:\-]*)?\Z")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/\-]*\Z")
_MIRROR = re.compile(r"(https?|file|copy)://?[A-Za-z0-9._~:/@%+\-]+\Z")
_KEYRING_PATH = re.compile(r"/[A-Za-z0-9._/+\-]+\Z")
_ARCHITECTURE = re.compile(r"[a-z0-9]*\Z")
_URI = re.compile(r"^'(?P<url>[^']+)' (?P<file>\S+) (?P<size>\d+) SHA256:(?P<sha>[0-9a-f]{64})$")
# mmdebstrap copies the host's own into the base, and systemd-resolved keeps a copy of that.
_HOST_FILES = ("etc/hostname", "etc/resolv.conf", "etc/.resolv.conf.systemd-resolved.bak")


def host_architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


class DebianBootstrapper:
    """Debian suites by apt and mmdebstrap."""

    def resolve(self, wish: Bootstrap, store: Store, events: EventSink, cancel: Cancel) -> LockedBase:
        check(wish)
        if wish.variant not in _VARIANTS:
            raise SpecError(
                f"bootstrap: unknown variant {wish.variant!r}", where=wish.where, hint=f"known: {', '.join(_VARIANTS)}",
                reason="bootstrap",
            )  # fmt: skip
        apt = require("apt-get", "to resolve Debian packages")
        task = f"resolve {wish.suite}"
        events.emit(Started(task, f"asking {wish.mirror or DEFAULT_MIRROR} for {wish.suite}"))
        with store.scratch() as work:
            options = _apt_options(wish, work)
            try:
                run([apt, *options, "-qq", "update"], cancel=cancel, timeout_s=600)
            except ToolFailed as err:
                said = "; ".join(err.tail[-3:])
                fault = TransportError(f"cannot read {wish.suite} from {wish.mirror or DEFAULT_MIRROR}: {said}")
                fault.where = wish.where
                raise fault from err
            wanted = [*_VARIANTS[wish.variant], *wish.packages]
            try:
                done = run(
                    [apt, *options, "-qq", "--print-uris", "-y", "install", "--", *wanted], cancel=cancel, timeout_s=600
                )
            except ToolFailed as err:
                said = next((line for line in err.tail if line.startswith("E:")), "; ".join(err.tail[-3:]))
                raise SpecError(f"bootstrap: {said.removeprefix('E: ')}", where=wish.where, reason="bootstrap") from err
            packages = _parse_uris(done.stdout.decode(), wish)
            date = _release_date(work / "lists")
        events.emit(Finished(task, text=f"{len(packages)} packages"))
        return LockedBase(packages, date)

    def install(
        self,
        wish: Bootstrap,
        base: LockedBase,
        epoch_s: int,
        store: Store,
        events: EventSink,
        cancel: Cancel,
        task: str,
    ) -> Sealed:
        check(wish)
        fetch_all(base, wish, store, events, cancel, task)
        tool = require("mmdebstrap", "to bootstrap Debian")
        arch = wish.architecture or host_architecture()
        with store.scratch() as work:
            repository = work / "repository"
            _write_repository(repository, wish, base, store, cancel)
            (work / "tmp").mkdir()
            root = work / "root"
            include = ",".join(f"{p.name}={p.version}" for p in base.packages)
            argv = (
                tool, "--mode=root", f"--variant={wish.variant}", f"--architectures={arch}", "--format=directory",
                f"--include={include}", "--skip=check/empty", "--skip=output/dev", *_hooks(wish, base),
                '--aptopt=Acquire::Languages "none"', wish.suite, str(root), f"deb [trusted=yes] copy:{repository} ./",
            )  # fmt: skip
            env = {**environment(), "TMPDIR": str(work / "tmp"), "SOURCE_DATE_EPOCH": str(epoch_s)}
            box = Sandbox(
                Path("/"), argv, env, cwd=str(work), devices=True, mounts=True, root_writable=False, network=False,
                extra=("--bind", str(work / "tmp"), "/tmp", "--dev-bind", str(work), str(work)),
            )  # fmt: skip
            lines: list[str] = []

            def log(data: bytes) -> None:
                for line in data.decode("utf-8", "replace").splitlines():
                    lines.append(line)
                    events.emit(LogLine(task, line))

            events.emit(Progressed(task, text=f"installing {len(base.packages)} packages"))
            status = run_in_sandbox(box, log=log, cancel=cancel, timeout_s=3600)
            if status != 0:
                raise ToolFailed(f"{task}: mmdebstrap failed", exit_status=status, tail=tuple(lines[-25:]))
            _clean(root, wish)
            sealed = seal(str(root), StackView(()), epoch_s)
            store.add_tree(root, sealed.content, sealed.listing)
            return sealed


def check(wish: Bootstrap) -> None:
    """A tree's words reach apt's command line and its sources; they must not be more than words.

    Raises SpecError (reason "bootstrap"). Names follow Debian Policy 5.6.1, with apt's `=version` and `/suite`.
    """
    faults = [f"the package {name!r}" for name in wish.packages if not _PACKAGE.match(name)]
    faults += [f"the component {word!r}" for word in wish.components if not _WORD.match(word)]
    faults += [f"the suite {wish.suite!r}"] if not _WORD.match(wish.suite) else []
    faults += [f"the mirror {wish.mirror!r}"] if wish.mirror and not _MIRROR.match(wish.mirror) else []
    faults += [f"the keyring {wish.keyring!r}"] if wish.keyring and not _KEYRING_PATH.match(wish.keyring) else []
    faults += [f"the architecture {wish.architecture!r}"] if not _ARCHITECTURE.match(wish.architecture) else []
    if faults:
        raise SpecError(f"bootstrap: {faults[0]} is not a name apt knows", where=wish.where, reason="bootstrap")


def _hooks(wish: Bootstrap, base: LockedBase) -> tuple[str, ...]:
    """`usr-is-merged` refuses to be installed unless /usr is merged already, which mmdebstrap's own hook does."""
    merged = any(package.name == "usr-is-merged" for package in base.packages)
    if not merged or wish.variant in ("extract", "custom"):
        return ()
    return ("--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",)


def fetch_all(base: LockedBase, wish: Bootstrap, store: Store, events: EventSink, cancel: Cancel, task: str) -> None:
    """Brings every package file into the store. What a mirror no longer has is an error that names it."""
    missing = [p for p in base.packages if not store.verify_blob(p.sha256)]
    if not missing:
        return
    download = Downloader(store, cancel)
    total = sum(p.size_bytes for p in missing)
    events.emit(Progressed(task, text=f"fetching {len(missing)} packages ({total >> 20} MiB)"))

    def fetch(package: LockedPackage) -> None:
        cancel.check()
        try:
            download.fetch(package.url, package.sha256)
        except TransportError as err:
            gone = err.status in (404, 410)
            fault = TransportError(
                f"the mirror {'no longer has' if gone else 'does not give'} {package.name} {package.version} ({err})",
                status=err.status,
                hint="treebuild lock --update moves the lock to what the mirror has now" if gone
                else "try again when it can be reached; what was fetched is kept",
            )  # fmt: skip
            fault.where = wish.where
            raise fault from err

    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(fetch, missing):
            continue


def _apt_options(wish: Bootstrap, work: Path) -> list[str]:
    """Options that give apt a world of its own; the host's proxies stay in force."""
    arch = wish.architecture or host_architecture()
    for folder in ("lists/partial", "cache/archives/partial"):
        (work / folder).mkdir(parents=True)
    (work / "status").touch()
    keyring = wish.keyring or _KEYRING
    source = f"deb [signed-by={keyring}] {wish.mirror or DEFAULT_MIRROR} {wish.suite} {' '.join(wish.components)}\n"
    (work / "sources.list").write_text(source, encoding="utf-8")
    settings = {
        "Dir::State": work, "Dir::State::status": work / "status", "Dir::State::lists": work / "lists",
        "Dir::Cache": work / "cache", "Dir::Etc::sourcelist": work / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null", "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null", "APT::Architecture": arch, "APT::Architectures": arch,
        "APT::Install-Recommends": "false", "Acquire::Languages": "none", "Acquire::ForceHash": "SHA256",
        "Acquire::Check-Valid-Until": "false", "Debug::NoLocking": "true", "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",
    }  # fmt: skip
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def _parse_uris(text: str, wish: Bootstrap) -> tuple[LockedPackage, ...]:
    packages = []
    for line in text.splitlines():
        match = _URI.match(line)
        if match is None:
            raise SpecError(f"bootstrap: apt answered {line[:120]!r}", where=wish.where, reason="bootstrap")
        name, version, arch = match["file"].removesuffix(".deb").rsplit("_", 2)
        packages.append(LockedPackage(
            name, urllib.parse.unquote(version), arch, Digest(match["sha"]), match["url"], int(match["size"])
        ))  # fmt: skip
    if not packages:
        raise SpecError("bootstrap: nothing to install", where=wish.where, reason="bootstrap")
    return tuple(sorted(packages))


def _release_date(lists: Path) -> int:
    """The `Date:` of the suite's Release file: when the distribution last changed."""
    for path in sorted(lists.glob("*Release")):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("Date: "):
                return int(email.utils.parsedate_to_datetime(line.removeprefix("Date: ")).timestamp())
    return 0


def _write_repository(folder: Path, wish: Bootstrap, base: LockedBase, store: Store, cancel: Cancel) -> None:
    """A flat apt repository of the locked files. Its index is made from the files themselves."""
    folder.mkdir()
    tool = require("dpkg-deb", "to read Debian packages")

    def stanza(package: LockedPackage) -> str:
        file = f"{package.name}_{package.version.replace(':', '%3a')}_{package.architecture}.deb"
        place = folder / file
        os.link(store.blob_path(package.sha256), place)
        control = run([tool, "-f", place], cancel=cancel).stdout.decode().rstrip("\n")
        return f"{control}\nFilename: ./{file}\nSize: {package.size_bytes}\nSHA256: {package.sha256.hex}\n"

    with ThreadPoolExecutor(4) as pool:
        index = "\n".join(pool.map(stanza, base.packages)).encode()
    (folder / "Packages").write_bytes(index)
    arch = wish.architecture or host_architecture()
    (folder / "Release").write_text(
        f"Suite: {wish.suite}\nCodename: {wish.suite}\nArchitectures: {arch}\nComponents: ./\n"
        f"Date: Thu, 01 Jan 1970 00:00:00 UTC\nSHA256:\n {Digest.of(index).hex} {len(index)} Packages\n",
        encoding="utf-8",
    )


def _clean(root: Path, wish: Bootstrap) -> None:
    """Takes out what came from the host, and names the real mirror as the package source."""
    for name in _HOST_FILES:
        (root / name).unlink(missing_ok=True)
    for folder in ("dev", "proc", "sys"):
        if (root / folder).is_dir():
            for child in (root / folder).iterdir():
                remove_tree(child)
    sources = root / "etc/apt/sources.list"
    remove_tree(root / "etc/apt/sources.list.d/0000mmdebstrap.list")
    if sources.parent.is_dir():
        line = f"deb {wish.mirror or DEFAULT_MIRROR} {wish.suite} {' '.join(wish.components)}\n"
        sources.write_text(line, encoding="utf-8")
