"""Installing into a root: whole or not at all, nothing outside it, nothing twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.repository_parts import Workshop, ref, workshop
from treebuilder.client import ChangeReport, Client, Installer, InstallRequest, Manner, SystemDatabase, SystemRoot
from treebuilder.client import operations as ops
from treebuilder.client.locking import locked
from treebuilder.client.uninstall import autoremove
from treebuilder.errors import (
    ConfigError,
    ConflictError,
    IntegrityError,
    LockHeld,
    StateCorrupt,
    UnsafeArchive,
    Unsatisfiable,
)
from treebuilder.events import Warned
from treebuilder.system.process import Cancel


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with workshop(tmp_path) as made:
        (tmp_path / "root").mkdir()
        yield made


def install(shop: Workshop, *words: str, nodeps: bool = False, record: bool = True) -> ChangeReport:
    installer = Installer(shop.packages(), shop.events, Cancel())
    request = InstallRequest(tuple(map(ref, words)), nodeps)
    return installer.install(request, SystemRoot(shop.top / "root", record=record))


def names(report: ChangeReport) -> list[str]:
    return [str(id) for id, _, _ in report.installed]


def database(shop: Workshop) -> SystemDatabase:
    return SystemDatabase(shop.top / "root/var/lib/treebuild/system.db")


def installed(shop: Workshop) -> list[str]:
    found = database(shop)
    try:
        return [str(package.id) for package in found.packages()]
    finally:
        found.close()


def listing(root: Path) -> dict[str, bytes | str | None]:
    """Everything in a root: bytes of files, targets of links, None for folders; without the database."""
    found: dict[str, bytes | str | None] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if name.startswith("var/lib/treebuild"):
            continue
        found[name] = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
    return found


def test_what_is_required_comes_first_and_is_recorded(shop: Workshop) -> None:
    shop.package("app/a", {"usr": None, "usr/bin": None, "usr/bin/a": b"a"}, requires=("lib/b",))
    shop.package("lib/b", {"usr": None, "usr/lib": None, "usr/lib/b": b"b", "usr/lib/l": "b"})
    shop.package("lib/unrelated", {"x": b""})
    report = install(shop, "app/a")
    assert names(report) == ["lib/b-1.0", "app/a-1.0"]
    assert [count for _, _, count in report.installed] == [2, 1]
    root = shop.top / "root"
    assert (root / "usr/bin/a").read_bytes() == b"a"
    assert os.readlink(root / "usr/lib/l") == "b"
    assert not (root / "x").exists()
    assert sorted(path.name for path in root.iterdir()) == ["usr", "var"]
    assert installed(shop) == ["app/a-1.0", "lib/b-1.0"]
    found = database(shop)
    (b,) = [p.id for p in found.packages() if p.id.name == "b"]
    record = found.record(b)
    assert record is not None
    assert record.entries == (("usr", "d"), ("usr/lib", "d"), ("usr/lib/b", "f"), ("usr/lib/l", "l"))
    assert record.repository == "test"
    assert found.owner("usr/lib/b") == b
    assert found.owner("usr/lib") is None
    found.close()


def test_what_is_there_is_not_installed_again(shop: Workshop) -> None:
    shop.package("app/a", {"a": b"a"})
    install(shop, "app/a")
    (shop.top / "root/a").write_bytes(b"changed by the owner of the machine")
    assert names(install(shop, "app/a")) == []
    assert (shop.top / "root/a").read_bytes().startswith(b"changed")
    shop.package("app/a", {"a": b"newer"}, version="2.0")
    assert names(install(shop, "app/a")) == []  # installing does not upgrade


def test_without_dependencies(shop: Workshop) -> None:
    shop.package("app/a", {"a": b"a"}, requires=("lib/b",))
    shop.package("lib/b", {"b": b"b"})
    assert names(install(shop, "app/a", nodeps=True)) == ["app/a-1.0"]


def test_a_second_installation_joins_the_first(shop: Workshop) -> None:
    shop.package("app/a", {"usr": None, "usr/a": b"a"})
    shop.package("app/b", {"usr": None, "usr/b": b"b", "usr/c": "b", "etc": None, "etc/b": b"b"}, requires=("app/a",))
    install(shop, "app/a")
    (shop.top / "root/usr").chmod(0o750)
    assert names(install(shop, "app/b")) == ["app/b-1.0"]
    root = shop.top / "root"
    assert (root / "usr/b").read_bytes() == b"b"
    assert (root / "usr").stat().st_mode & 0o777 == 0o750
    assert sorted(path.name for path in root.iterdir()) == ["etc", "usr", "var"]
    assert installed(shop) == ["app/a-1.0", "app/b-1.0"]


def test_a_root_without_a_record_keeps_none(shop: Workshop) -> None:
    shop.package("app/a", {"a": b"a"})
    shop.package("app/b", {"b": b"b"})
    install(shop, "app/a", record=False)
    install(shop, "app/b", record=False)
    assert listing(shop.top / "root") == {"a": b"a", "b": b"b"}


def test_files_go_through_links_inside_the_root_and_never_out(shop: Workshop) -> None:
    root, outside = shop.top / "root", shop.top / "outside"
    outside.mkdir()
    (root / "usr/lib").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    (root / "opt").symlink_to(outside)
    (root / "srv").symlink_to("../../../../../../../../../..")
    shop.package("app/a", {"lib": None, "lib/x": b"x", "opt": None, "opt/x": b"x", "srv/x": b"x"})
    with pytest.raises(ConflictError):  # /opt leads to a folder that is not there, inside
        install(shop, "app/a")
    (root / "opt").unlink()
    install(shop, "app/a")
    assert (root / "usr/lib/x").read_bytes() == b"x"
    assert os.readlink(root / "lib") == "usr/lib"
    assert (root / "x").read_bytes() == b"x"
    assert list(outside.iterdir()) == []


def test_a_database_behind_a_link_is_refused(shop: Workshop) -> None:
    root = shop.top / "root"
    (root / "var/lib/treebuild").mkdir(parents=True)
    (root / "var/lib/treebuild/system.db").symlink_to(shop.top / "elsewhere.db")
    shop.package("app/a", {"a": b"a"})
    with pytest.raises(StateCorrupt):
        install(shop, "app/a")
    assert not (shop.top / "elsewhere.db").exists()


def test_two_packages_with_one_file_are_refused(shop: Workshop) -> None:
    shop.package("app/a", {"same": b"a"})
    shop.package("app/b", {"same": b"b"})
    with pytest.raises(ConflictError) as caught:
        install(shop, "app/a", "app/b")
    assert "/same" in caught.value.message
    assert listing(shop.top / "root") == {}


@pytest.mark.parametrize("hidden", [False, True])
def test_a_file_of_an_installed_package_is_not_replaced(shop: Workshop, hidden: bool) -> None:
    shop.package("app/a", {"same": b"a"})
    install(shop, "app/a")
    before = listing(shop.top / "root")
    shop.package("app/b", {"new": b"b", "same": b"b"}, hidden=hidden)
    with pytest.raises(ConflictError):
        install(shop, "app/b")
    assert listing(shop.top / "root") == before
    assert installed(shop) == ["app/a-1.0"]


@pytest.mark.parametrize("first", [True, False])
def test_a_list_that_lies_is_found_out(shop: Workshop, first: bool) -> None:
    """An index may leave out what an archive brings."""
    shop.package("app/a", {"same": b"a"})
    shop.package("app/b", {"new": b"b", "same": b"b"}, listed=("new",))
    if not first:
        install(shop, "app/a")
    before = listing(shop.top / "root")
    with pytest.raises(ConflictError):
        install(shop, "app/a", "app/b") if first else install(shop, "app/b")
    assert listing(shop.top / "root") == before


def test_a_file_where_the_system_has_a_folder_is_refused(shop: Workshop) -> None:
    root = shop.top / "root"
    (root / "etc/mine").mkdir(parents=True)
    (root / "etc/mine/data").write_text("precious")
    shop.package("app/a", {"a": b"a", "etc/mine": b"file"})
    before = listing(root)
    with pytest.raises(ConflictError):
        install(shop, "app/a")
    assert listing(root) == before


@pytest.mark.parametrize("empty", [True, False])
@pytest.mark.parametrize("file_first", [True, False])
def test_one_package_s_file_is_no_other_s_folder(shop: Workshop, empty: bool, file_first: bool) -> None:
    """Whichever comes first. In an empty root the folder took the place of the file once, and nothing was said."""
    root = shop.top / "root"
    if not empty:
        (root / "mine").write_text("x")
    before = listing(root)
    shop.package("app/a" if file_first else "app/b", {"etc": None, "etc/foo": b"file"})
    shop.package("app/b" if file_first else "app/a", {"etc": None, "etc/foo": None, "etc/foo/x": b"x"})
    with pytest.raises(ConflictError) as caught:
        install(shop, "app/a", "app/b")
    folder, other = ("app/b", "app/a") if file_first else ("app/a", "app/b")
    assert caught.value.message == f"/etc/foo is a folder in {folder}-1.0, and no folder in {other}-1.0"
    assert listing(root) == before


@pytest.mark.parametrize("empty", [True, False])
def test_a_folder_may_be_another_s_link(shop: Workshop, empty: bool) -> None:
    root = shop.top / "root"
    if not empty:
        (root / "mine").write_text("x")
    shop.package("app/a", {"lib": "usr/lib", "usr": None, "usr/lib": None})
    shop.package("app/b", {"lib": None, "lib/x": b"x"}, requires=("app/a",))
    install(shop, "app/b")
    assert ((root / "usr/lib/x").read_bytes(), os.readlink(root / "lib")) == (b"x", "usr/lib")


@pytest.mark.parametrize("empty", [True, False])
def test_a_damaged_package_changes_nothing(shop: Workshop, empty: bool) -> None:
    root = shop.top / "root"
    if not empty:
        (root / "mine").write_text("x")
    shop.package("app/a", {"a": b"a"})
    shop.package("app/b", {"b": b"b" * 1000}, requires=("app/a",))
    packages = shop.packages()
    archive = shop.build / "b-app-1.0.package.tar.zst"
    archive.write_bytes(archive.read_bytes()[:-3])
    before = listing(root)
    installer = Installer(packages, shop.events, Cancel())
    with pytest.raises(IntegrityError):
        installer.install(InstallRequest((ref("app/b"),)), SystemRoot(root))
    assert listing(root) == before


def test_an_archive_that_leads_out_changes_nothing(shop: Workshop) -> None:
    shop.package("app/a", {"ok": b"a", "../evil": b"x"})
    with pytest.raises(UnsafeArchive):
        install(shop, "app/a")
    assert listing(shop.top / "root") == {}
    assert not (shop.top / "evil").exists()


def test_what_does_not_exist_is_explained(shop: Workshop) -> None:
    shop.package("app/a", {"a": b"a"}, requires=("lib/none",))
    for word in ("app/nothing", "app/a"):
        with pytest.raises(Unsatisfiable):
            install(shop, word)
    assert listing(shop.top / "root") == {}


def test_a_root_that_is_not_there_is_said(shop: Workshop) -> None:
    shop.package("app/a", {"a": b"a"})
    (shop.top / "root").rmdir()
    with pytest.raises(ConfigError):
        install(shop, "app/a")


def test_one_installation_at_a_time(shop: Workshop) -> None:
    shop.package("app/a", {"a": b"a"})
    with locked(shop.top / "root"), pytest.raises(LockHeld) as caught:
        install(shop, "app/a")
    assert f"pid {os.getpid()}" in caught.value.message


def test_a_broken_database_is_said_and_nothing_changed(shop: Workshop) -> None:
    shop.package("app/a", {"a": b"a"})
    place = shop.top / "root/var/lib/treebuild"
    place.mkdir(parents=True)
    (place / "system.db").write_bytes(b"this is no database, " * 100)
    with pytest.raises(StateCorrupt):
        install(shop, "app/a")
    assert listing(shop.top / "root") == {"var": None, "var/lib": None}


# killed at any moment ------------------------------------------------------------------------------------------------
_KILLED = """
import sys
from pathlib import Path
from tests.unit.repository_parts import ref, workshop
from tests.unit.steps import kill_after
from treebuilder.client import Installer, InstallRequest, SystemRoot
from treebuilder.system.process import Cancel

with workshop(Path(sys.argv[1])) as shop:
    installer = Installer(shop.packages(), shop.events, Cancel())
    installer.plan(InstallRequest((ref("app/b"),)))
    kill_after(int(sys.argv[2]))
    installer.install(InstallRequest((ref("app/b"),)), SystemRoot(shop.top / "root"))
"""


@pytest.mark.parametrize("empty", [True, False])
def test_killed_anywhere_the_next_run_finds_old_or_new(shop: Workshop, empty: bool) -> None:
    """A process is killed at one system call after another; what it leaves is settled by the next installation."""
    root = shop.top / "root"
    shop.package("app/a", {"usr": None, "usr/a": b"a", "usr/l": "a"})
    shop.package("app/b", {"usr": None, "usr/b": b"b", "etc": None, "etc/b": b"b"}, requires=("app/a",))
    shop.package("app/c", {"c": b"c"})
    whole = {"usr": None, "usr/a": b"a", "usr/l": "a", "usr/b": b"b", "etc": None, "etc/b": b"b"}
    killed = 0
    for step in range(0, 200, 3):
        subprocess.run(["rm", "-rf", root], check=True)
        root.mkdir()
        if not empty:
            (root / "mine").write_bytes(b"m")
        done = subprocess.run([sys.executable, "-c", _KILLED, shop.top, str(step)], capture_output=True, check=False)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        install(shop, "app/c")
        found = listing(root)
        assert found.pop("c") == b"c"
        assert found.pop("mine", b"m") == b"m"
        for name in ("var", "var/lib"):
            assert found.pop(name) is None
        has = [name for name in installed(shop) if name != "app/c-1.0"]
        assert (found, has) in (({}, []), (whole, ["app/a-1.0", "app/b-1.0"])), f"killed at {step}"
        assert installed(shop)[-1] == "app/c-1.0"
        if done.returncode == 0:
            break
        killed += 1
    else:
        pytest.fail("the installation never ran to its end")
    assert killed > 2


# finalizers ----------------------------------------------------------------------------------------------------------
_BOX = {"bin": None, "bin/busybox": Path("/bin/busybox"), "bin/sh": "busybox", "bin/wc": "busybox"}


def _box() -> dict[str, str | bytes | None]:
    return {name: item.read_bytes() if isinstance(item, Path) else item for name, item in _BOX.items()}


@pytest.mark.engine
def test_finalizers_run_last_in_the_root_and_equal_ones_once(shop: Workshop) -> None:
    run = "install:\n- echo $PATH >> /ran\n- test -e /end\n"
    shop.package("app/a", {"etc": None, **_box()}, finalize=run)
    shop.package("app/b", {"end": b""}, requires=("app/a",), finalize=run)
    install(shop, "app/b")
    root = shop.top / "root"
    assert (root / "ran").read_text() == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
    assert not (root / "dev").exists()
    assert not (root / "proc").exists()


@pytest.mark.engine
def test_a_finalizer_sees_no_network_and_nothing_of_ours(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_CALLER", "x")
    run = "install:\n- busybox env > /env; busybox ls /sys/class/net > /net; busybox cat /proc/net/dev >> /net\n"
    shop.package("app/a", _box(), finalize=run.replace("busybox ls /sys/class/net > /net; ", ""))
    install(shop, "app/a")
    root = shop.top / "root"
    assert "SECRET" not in (root / "env").read_text()
    assert [line.split(":")[0].strip() for line in (root / "net").read_text().splitlines() if ":" in line] == ["lo"]


@pytest.mark.engine
def test_a_finalizer_that_fails_is_said_and_packages_stay(shop: Workshop) -> None:
    from treebuilder.client import FinalizerFailed

    shop.package("app/a", _box(), finalize="install:\n- echo sorry; exit 3\n")
    with pytest.raises(FinalizerFailed) as caught:
        install(shop, "app/a")
    assert caught.value.tail == ("sorry",)
    root = shop.top / "root"
    assert caught.value.message == f"the finalizer `echo sorry; exit 3` of app/a-1.0 in {root} ended with 3"
    assert installed(shop) == ["app/a-1.0"]
    assert names(install(shop, "app/a")) == []


@pytest.mark.engine
def test_a_finalizer_that_was_cut_off_runs_again(shop: Workshop) -> None:
    from treebuilder.model.package import Finalizer

    shop.package("app/a", _box())
    install(shop, "app/a")
    found = database(shop)
    found.add((), (Finalizer(install=("echo late > /late",)),))
    found.close()
    assert names(install(shop, "app/a")) == []
    assert (shop.top / "root/late").read_text() == "late\n"
    install(shop, "app/a")
    found = database(shop)
    assert found.pending() == ()
    found.close()


@pytest.mark.engine
def test_finalizers_wait_while_nothing_is_changed_or_somebody_says_so(shop: Workshop) -> None:
    run = "install:\n- echo ran >> /ran\n"
    shop.package("app/a", _box(), finalize=run)
    shop.package("app/b", {"b": b""})
    shop.package("app/c", {"c": b""})
    root = SystemRoot(shop.top / "root")
    packages, client = shop.packages(), Client(shop.events, Cancel())

    def change(name: str, manner: Manner) -> None:
        client.run("install", root, lambda d: ops.install(InstallRequest((ref(name),)), packages, d), manner)

    change("app/a", Manner(finalize=False))
    assert any("1 finalizers were not run" in e.message for e in shop.events.events if isinstance(e, Warned))
    change("app/b", Manner(dry_run=True))
    change("app/b", Manner(finalize=False))
    assert not (root.folder / "ran").exists()
    change("app/c", Manner())
    assert (root.folder / "ran").read_text() == "ran\n"


def test_a_dry_run_settles_nothing(shop: Workshop) -> None:
    shop.package("app/a", {"a": b""})
    root = shop.top / "root"
    (root / ".treebuild-filling/usr").mkdir(parents=True)
    client, packages = Client(shop.events, Cancel()), shop.packages()
    wanted = InstallRequest((ref("app/a"),))
    client.run("install", SystemRoot(root), lambda d: ops.install(wanted, packages, d), Manner(dry_run=True))
    assert (root / ".treebuild-filling/usr").is_dir()
    assert any("was interrupted" in e.message for e in shop.events.events if isinstance(e, Warned))


def test_a_root_that_is_a_file_is_no_reason_to_make_a_folder(shop: Workshop) -> None:
    file = shop.top / "file"
    file.touch()
    client = Client(shop.events, Cancel())
    with pytest.raises(ConfigError) as caught:
        client.run("autoremove", SystemRoot(file), autoremove, Manner())
    assert "mkdir" not in (caught.value.hint or "")
    assert "is no folder" in caught.value.message
