"""Finalizers: when they run, what ends them, and what is there for them."""

from __future__ import annotations

import pytest

from tests.unit.repository_parts import Workshop
from tests.unit.system_parts import System, box, in_private_mounts, shop, system
from treebuilder.errors import TreebuildError
from treebuilder.model.package import Finalizer

__all__ = ["shop", "system"]  # fixtures


@pytest.mark.engine
def test_uninstall_commands_run_at_the_end_and_equal_ones_once(shop: Workshop, system: System) -> None:
    run = "uninstall:\n- test ! -e /a; echo gone >> /log; busybox chown 7:8 /log\n"
    shop.package("t/box", box())
    shop.package("t/a", {"a": b""}, requires=("t/box",), finalize=run)
    shop.package("t/b", {"b": b""}, requires=("t/box",), finalize=run)
    system.install("t/a", "t/b")
    assert not (system.root / "log").exists()
    system.uninstall("t/a", "t/b")
    assert (system.root / "log").read_text() == "gone\n"
    info = (system.root / "log").stat()
    assert (info.st_uid, info.st_gid) == (7, 8)


@pytest.mark.engine
def test_a_finalizer_that_hangs_is_ended(shop: Workshop, system: System) -> None:
    from treebuilder.client import Environment, FinalizerFailed, Manner

    shop.package("t/a", box(), finalize="install:\n- while true; do busybox sleep 1; done\n")
    with pytest.raises(FinalizerFailed) as caught:
        system.install("t/a", manner=Manner(environment=Environment(more=(("K", "v"),), timeout_s=0.5)))
    assert "took longer" in caught.value.message
    assert system.installed() == ["t/a-1.0"]


_LATE = """
with workshop(top) as shop:
    system = System(shop, top / "root")
    packages = shop.packages()
    shop.packages = lambda: packages
    begun, late = [], []
    def note(event, args):
        if event == "os.rename" and str(args[1]).endswith("journal.json"):
            begun.append(True)
        if event == "import" and begun:
            late.append(args[0])
    sys.addaudithook(note)
    system.install("t/a")
    print(bool(begun), late, (system.root / "log").read_text())
"""


@pytest.mark.engine
def test_nothing_is_loaded_once_files_are_switched(shop: Workshop, system: System) -> None:
    """A change may bring another Python, or another treebuild, whose modules are none of ours."""
    shop.package("t/a", box(), finalize="install:\n- echo ran > /log\n")
    done = in_private_mounts(shop, "true", _LATE)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "True [] ran\n\n")


def test_a_record_keeps_what_runs_when_its_package_goes(shop: Workshop, system: System) -> None:
    shop.package("t/a", {"a": b""}, finalize="uninstall:\n- echo bye\n")
    system.install("t/a")
    database = system.database()
    (record,) = database.records(entries=True)
    database.close()
    assert record.finalizer == Finalizer(("sh", "-c"), (), ("echo bye",))
    with pytest.raises(TreebuildError):  # there is no shell in this root
        system.uninstall("t/a")
    assert (system.installed(), system.listing()) == ([], {"mine": b"m"})


def test_one_that_no_kernel_starts_fails_once_and_not_for_ever(shop: Workshop, system: System) -> None:
    from treebuilder.client import FinalizerFailed

    shop.package("t/long", {"long": b""}, finalize=f"install:\n- '{'echo ' + 'x' * 200_000}'\n")
    shop.package("t/b", {"b": b""})
    with pytest.raises(FinalizerFailed, match="cannot be started: Argument list too long"):
        system.install("t/long")
    assert system.install("t/b").state == "done"


_WITHOUT = """
with workshop(top) as shop:
    system = System(shop, top / "root")
    try:
        system.install("t/a")
    except MissingProgram as err:
        print(err.message, system.installed(), system.listing())
    system.install("t/a", manner=Manner(finalize=False))
    try:
        system.install("t/b")
    except TreebuildError as err:
        print(err.reason, system.installed(), (system.root / "log").exists())
    os.system("umount $BWRAP")
    system.install("t/c")
    print((system.root / "log").read_text())
"""


@pytest.mark.engine
def test_without_a_sandbox_none_is_lost(shop: Workshop, system: System) -> None:
    """A change that needs one is refused, and what an earlier change left to run waits."""
    shop.package("t/a", box(), finalize="install:\n- echo ran >> /log\n")
    shop.package("t/b", {"b": b""})
    shop.package("t/c", {"c": b""})
    gone = 'export BWRAP=$(command -v bwrap) && mount --bind /dev/null "$BWRAP"'
    done = in_private_mounts(shop, gone, f"from treebuilder.client import Manner\n{_WITHOUT}")
    told = "bwrap is needed to run finalizers, and is not installed [] {'mine': b'm'}\n"
    told += "finalizer-waits ['t/a-1.0', 't/b-1.0'] False\nran\n\n"
    assert (done.returncode, done.stderr, done.stdout) == (0, "", told)
