"""Killed at any system call, a change is done or was never begun: the next command finds the old system or the new.

A child kills itself at the chosen one of the calls that change something.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.services import privately
from tests.unit.repository_parts import Workshop
from tests.unit.system_parts import System, first, in_private_mounts, second, shop, system

__all__ = ["shop", "system"]  # fixtures

_EVERY_STEP = """
import os, signal, subprocess, sys
from pathlib import Path
from tests.unit.repository_parts import workshop
from tests.unit.steps import kill_after
from tests.unit.system_parts import System, listing, owners
from treebuilder.client import Change, Client, Manner, SystemDatabase, SystemRoot
from treebuilder.events import Silent
from treebuilder.system.process import Cancel

top, operation, kept = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
root, saved = top / "root", top / "saved"

def restore():
    subprocess.run(["find", root, "-mindepth", "1", "!", "-path", kept, "-delete"], check=True)
    subprocess.run(["cp", "-a", f"{saved}/.", root], check=True)

def change(step):
    with workshop(top) as shop:
        system = System(shop, root)
        packages = shop.packages()  # the repository is there before anything is counted
        shop.packages = lambda: packages
        kill_after(step)
        {"install": lambda: system.install("t/b"), "upgrade": system.upgrade,
         "uninstall": lambda: system.uninstall("t/b", full=True)}[operation]()
        os._exit(0)

def ended(step):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            change(step)
        finally:
            os._exit(3)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, -signal.SIGKILL), (step, status)
    return status == 0

def state():
    database = SystemDatabase(root / "var/lib/treebuild/system.db")
    found = listing(root), owners(root), [str(package.id) for package in database.packages()]
    database.close()
    return found

subprocess.run(["cp", "-a", root, saved], check=True)
old = state()
assert ended(1 << 30)
new, seen, step = state(), set(), 0
assert new != old
while True:
    restore()
    if ended(step):
        break
    # whoever comes next settles it
    report = Client(Silent(), Cancel()).run("autoremove", SystemRoot(root), lambda _: Change(), Manner())
    assert report.state == "nothing"
    now = state()
    assert now in (old, new), f"{operation} killed at {step}: {now}"
    assert not list(root.glob(".treebuild*")), step
    seen.add(now == new)
    step += 1
assert state() == new
print(sorted(seen), step > 20)
"""


@pytest.mark.parametrize("operation", ["install", "upgrade", "uninstall"])
def test_killed_anywhere_the_system_is_the_old_or_the_new_one(shop: Workshop, system: System, operation: str) -> None:
    first(shop)
    if operation != "install":
        system.install("t/b")
    if operation == "upgrade":
        second(shop)
    shop.packages()
    words = [sys.executable, "-c", _EVERY_STEP, str(shop.top), operation, str(system.root)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "[False, True] True\n")


@pytest.mark.engine
def test_killed_anywhere_where_a_folder_is_another_file_system(shop: Workshop, system: System) -> None:
    """What comes there is copied, and not renamed."""
    first(shop)
    usr = system.root / "usr"
    usr.mkdir()
    start = f"mount -t tmpfs none {usr}"
    install = "with workshop(top) as shop:\n    System(shop, top / 'root').install('t/b')\n"
    made = in_private_mounts(shop, start, f"{install}os.system('cp -a {usr} {shop.top}/usr')\n")
    assert (made.returncode, made.stderr) == (0, "")
    second(shop)
    shop.packages()
    script = f'{start} && cp -a {shop.top}/usr/. {usr} && exec "$0" "$@"'
    words = privately(script, sys.executable, "-c", _EVERY_STEP, str(shop.top), "upgrade", str(usr))
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "[False, True] True\n")
