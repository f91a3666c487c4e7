"""Finalizers: when they run, what ends them, and what is there for them."""

from __future__ import annotations

import json

import pytest

from tests.unit.repository_parts import Workshop
from tests.unit.system_parts import System, box, in_private_mounts, shop, system
from tests.unit.verb_parts import Verbs, verbs
from treebuilder.errors import ConflictError, TreebuildError
from treebuilder.events import Warned
from treebuilder.model.package import Finalizer

__all__ = ["shop", "system", "verbs"]  # fixtures


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


def left_over(shop: Workshop, system: System) -> None:
    """What runs for t/f fails, and has not been tried."""
    from treebuilder.client import Manner

    shop.package("t/f", box(), finalize="install:\n- echo ran >> /log; exit 5\n")
    system.install("t/f", manner=Manner(finalize=False))


@pytest.mark.engine
def test_one_that_was_left_fails_and_the_change_is_done(shop: Workshop, system: System) -> None:
    from treebuilder.client import FinalizerFailed

    left_over(shop, system)
    with pytest.raises(FinalizerFailed) as caught:
        system.uninstall("t/f")
    assert caught.value.message == f"the finalizer `echo ran >> /log; exit 5` of t/f-1.0 in {system.root} ended with 5"
    assert caught.value.report is not None
    assert [str(id) for id in caught.value.report.removed] == ["t/f-1.0"]
    assert system.installed() == []


@pytest.mark.engine
def test_one_that_was_left_waits_while_nothing_is_changed(shop: Workshop, system: System) -> None:
    from treebuilder.client import FinalizerFailed, Manner, NotConfirmed

    left_over(shop, system)
    shop.package("t/b", {"b": b""})
    for manner in (Manner(dry_run=True), Manner(download_only=True)):
        system.install("t/b", manner=manner)
        system.install("t/f", manner=manner)  # nothing to do
    with pytest.raises(NotConfirmed):
        system.install("t/b", manner=Manner(confirm=lambda _: False))
    with pytest.raises(TreebuildError, match="t/none"):
        system.install("t/none")
    assert not (system.root / "log").exists()
    with pytest.raises(FinalizerFailed):
        system.install("t/f")
    assert (system.root / "log").read_text() == "ran\n"
    assert system.install("t/b").state == "done"


@pytest.mark.engine
def test_one_that_was_left_is_told_where_the_change_fails_too(shop: Workshop, system: System) -> None:
    left_over(shop, system)
    shop.package("t/b", {"mine": None, "mine/b": b""})
    with pytest.raises(ConflictError):
        system.install("t/b")
    said = [event.message for event in shop.events.events if isinstance(event, Warned)]
    assert any("of t/f-1.0" in message and "ended with 5" in message for message in said)


@pytest.mark.engine
def test_all_that_fail_are_told(shop: Workshop, system: System) -> None:
    from treebuilder.client import FinalizerFailed

    left_over(shop, system)
    shop.package("t/a", {"a": b""}, requires=("t/f",), finalize="install:\n- echo why; exit 6\n")
    shop.package("t/b", {"b": b""}, requires=("t/a",), finalize="install:\n- exit 7\n")
    with pytest.raises(FinalizerFailed) as caught:
        system.install("t/b")
    root = system.root
    assert caught.value.message == "3 finalizers did not succeed"
    assert caught.value.detail() == (
        f"the finalizer `echo ran >> /log; exit 5` of t/f-1.0 in {root} ended with 5",
        f"the finalizer `echo why; exit 6` of t/a-1.0 in {root} ended with 6", "  why",
        f"the finalizer `exit 7` of t/b-1.0 in {root} ended with 7",
    )  # fmt: skip
    assert system.installed() == ["t/a-1.0", "t/b-1.0", "t/f-1.0"]


def failing(verbs: Verbs) -> None:
    """Without a shell in the root all that is to run fails."""
    for name in ("t/a", "t/b"):
        verbs.shop.package(name, {name[2:]: b""}, finalize=f"install:\n- echo {name}\n")


def test_a_document_has_what_was_changed_before_one_failed(verbs: Verbs) -> None:
    failing(verbs)
    code, out, _ = verbs.say("install", "t/a", "--json")
    value = json.loads(out)
    assert (code, value["schema"], value["state"]) == (2, "treebuild.install/1", "done")
    assert [item["name"] for item in value["installed"]] == ["a"]
    assert value["error"]["reason"] == "finalizer-failed"
    assert "t/a-1.0" in value["error"]["message"]
    code, out, err = verbs.say("luet", "install", "-y", "t/b", "-o", "json")
    value = json.loads(out)
    assert (code, [item["name"] for item in value["installed"]]) == (2, ["b"])
    assert "t/b-1.0" in err
    assert verbs.system.installed() == ["t/a-1.0", "t/b-1.0"]


def test_as_luet_what_the_upgrade_before_leaves_is_told_and_what_was_asked_for_comes(verbs: Verbs) -> None:
    failing(verbs)
    assert verbs.say("install", "t/a", "--skip-finalizers")[0] == 0
    code, out, _ = verbs.say("luet", "install", "-y", "t/b")
    assert (code, verbs.system.installed()) == (2, ["t/a-1.0", "t/b-1.0"])
    assert "Package t/b-1.0 installed" in out
    assert out.index("2 finalizers did not succeed") < out.index("of t/a-1.0") < out.index("of t/b-1.0")
