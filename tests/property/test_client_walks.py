"""Anything asked of a package client in any order: the root holds what the database says, or nothing has changed."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.repository_parts import Workshop, ref, workshop
from tests.unit.system_parts import System
from treebuilder.client import InstallRequest
from treebuilder.client import operations as ops
from treebuilder.client.installed import matching
from treebuilder.client.needs import broken
from treebuilder.client.uninstall import autoremove
from treebuilder.errors import IntegrityError, StateCorrupt, TreebuildError, UnsafeArchive

Files = dict[str, str | bytes | None]
NAMES, VERSIONS = "abcde", ("1.0", "2.0", "3.0")
OPERATIONS = ("install", "install", "uninstall", "full", "users", "upgrade", "clean", "autoremove", "exchange", "again")


def files_of(name: str, version: str, chance: random.Random) -> Files:
    """What changes its place and its kind from version to version, and sometimes what another package may have too."""
    mark = f"{name}-{version}".encode()
    found: Files = {f"usr/{name}/f{number}": mark for number in range(4) if chance.random() < 0.6}
    match chance.randrange(3):  # behind the link to this folder, below, the name of what may lie in the link's place
        case 0:
            found[f"usr/{name}/inner"] = mark
        case 1:
            found[f"usr/{name}/inner/deep"] = mark
        case _:
            pass
    match chance.randrange(5):
        case 0:
            found[f"opt/{name}"] = mark
        case 1:
            found[f"opt/{name}/inner"] = mark
        case 2:
            found[f"opt/{name}"] = f"../usr/{name}"
        case 3:
            found[f"opt/{name}/inner/deep"] = mark
        case _:
            pass
    if chance.random() < 0.3:
        found[f"etc/shared{chance.randrange(2)}"] = mark
    if chance.random() < 0.2:
        found[f"usr/empty-{name}"] = None
    return found or {f"usr/{name}/f0": mark}


def world(shop: Workshop, chance: random.Random) -> dict[str, Files]:
    """Packages of the names, each of which may need and exclude earlier ones; by their ids what they hold."""
    made: dict[str, Files] = {}
    for position, name in enumerate(NAMES):
        for version in VERSIONS:
            before = NAMES[:position]
            needs = [f"p/{other}" for other in before if chance.random() < 0.35]
            needs = [f"{need}@>={chance.choice(VERSIONS)}" if chance.random() < 0.5 else need for need in needs]
            against = [f"p/{other}@{chance.choice(VERSIONS)}" for other in before if chance.random() < 0.12]
            files = files_of(name, version, chance)
            id = shop.package(f"p/{name}", files, version=version, requires=tuple(needs), conflicts=tuple(against))
            made[str(id)] = files
    return made


def step(system: System, what: str, chance: random.Random) -> None:
    """Asks for something: mostly of packages that are there, where that is what is asked for."""
    there = [id.rpartition("-")[0] for id in system.installed()]
    word, other = (f"p/{chance.choice(NAMES)}" for _ in range(2))
    chosen = f"{other}@{chance.choice(VERSIONS)}" if chance.random() < 0.5 else other
    if there and chance.random() < 0.8:
        word = chance.choice(there)
    steps: dict[str, Callable[[], object]] = {
        "old": lambda: system.install(f"{other}@{chance.choice(VERSIONS[:-1])}"),
        "install": lambda: system.install(chosen),
        "uninstall": lambda: system.uninstall(word),
        "full": lambda: system.uninstall(word, full=True),
        "users": lambda: system.uninstall(word, users_too=True),
        "upgrade": lambda: system.upgrade(),
        "clean": lambda: system.upgrade(clean=True, missing=True),
        "autoremove": lambda: system.run("autoremove", lambda _, d: autoremove(d)),
        "exchange": lambda: system.run(
            "replace",
            lambda p, d: ops.replace_packages((ref(word),), InstallRequest((ref(chosen),)), p, d, check=True,
                                              force=False),
        ),
        "again": lambda: system.run("reinstall", lambda p, d: ops.reinstall((ref(word),), p, d, force=False)),
    }  # fmt: skip
    steps[what]()


def check(system: System, made: dict[str, Files]) -> None:
    there, expected = system.listing(), {"mine": b"m"}
    for id in system.installed():
        for path, content in made[id].items():
            if content is not None:
                assert path not in expected, f"two packages have {path}"
                expected[path] = content  # type: ignore[assignment]
            else:
                assert there[path] is None
    assert {path: content for path, content in there.items() if content is not None} == expected
    database = system.database()
    try:
        installed = database.packages()
        assert not broken({}, installed)
        for package in installed:
            for excluded in package.conflicts:
                assert not matching(excluded, installed), f"{package.id} and {excluded}"
    finally:
        database.close()


def test_the_root_is_what_the_database_says() -> None:
    changed: Counter[str] = Counter()

    @settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
    @given(st.integers(0, 1 << 30), st.lists(st.sampled_from(OPERATIONS), min_size=5, max_size=10))
    def walks(seed: int, steps: list[str]) -> None:
        walk(seed, steps, changed)

    walks()
    for some in (("install",), ("upgrade", "clean", "exchange"), ("uninstall", "full", "users")):
        assert any(changed[what] for what in some), f"refused each time, or nothing to do: {some}"


def walk(seed: int, steps: list[str], changed: Counter[str]) -> None:
    """Takes steps and looks after each. Those that changed what is installed are counted."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as top, workshop(Path(top)) as shop:
        made = world(shop, chance)
        root = Path(top) / "root"
        root.mkdir()
        (root / "mine").write_bytes(b"m")
        system = System(shop, root)
        for what in ("old", "old", "old", *steps):  # upgrades and removals need something to work on
            before, said = (system.installed(), system.listing()), ""
            try:
                step(system, what, chance)
            except (IntegrityError, StateCorrupt, UnsafeArchive):
                raise
            except TreebuildError as err:
                said = err.message
                assert (system.installed(), system.listing()) == before
            assert " folder" not in said, "what is in the way goes"
            changed[what] += system.installed() != before[0]
            check(system, made)
