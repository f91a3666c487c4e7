"""Whatever changes in a tree: what is built with the cache of before is what is built without one."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from tests.trees import Project, requires

pytestmark = pytest.mark.engine

NAMES = ("a", "b", "c", "d")


def recipe(position: int, chance: random.Random) -> str:
    """Every key that a build depends on, now and then."""
    before = NAMES[:position]
    needed = [name for name in before if chance.random() < 0.5] or [*before[-1:]]
    text = requires(*[f"t/{name}" for name in needed] or ["seed/base"])
    name = NAMES[position]
    if chance.random() < 0.3:
        text += f"prelude:\n- echo {chance.randrange(3)} > /prelude-{name}\n"
    if chance.random() < 0.3:
        text += f"env:\n- WORD={chance.randrange(3)}\n"
    steps = [
        f"echo {chance.randrange(3)} ${{WORD:-none}} > /{name}",
        f"cat /[a-d] > /sum-{name} 2>/dev/null || true",
        f"mkdir -p /dir/{name} && cp file /dir/{name}/ && echo x > /dir/{name}/y",
        f"ln -s /{name} /link-{name}; rm -f /prelude-*",
        f"echo '{{{{ .Values.version }}}} {{{{ .Values.extra }}}}' > /rendered-{name}",
        "rm -rf /dir",
    ]
    chosen = [steps[0], *(step for step in steps[1:] if chance.random() < 0.4)]
    text += "steps:\n" + "".join(f"- {step}\n" for step in chosen)
    if chance.random() < 0.2:
        text += "excludes:\n- /sum.*\n"
    if chance.random() < 0.2:
        text += f"includes:\n- /{name}\n- /dir/.*\n"
    if chance.random() < 0.15:
        text += f"package_dir: /dir/{name}\n" if chosen[-1] != steps[-1] and steps[2] in chosen else "unpack: true\n"
    return text


def write(project: Project, name: str, chance: random.Random) -> None:
    version = chance.choice(("1.0", "1.1"))
    project.package(f"t/{name}", recipe(NAMES.index(name), chance), version=version, file=str(chance.randrange(2)))


def result(project: Project, *, cached: bool = False) -> dict[str, bytes]:
    shutil.rmtree(project.build, ignore_errors=True)
    (project.top / "values.yaml").write_text((project.top / "given").read_text())
    done = project.building(*(f"t/{name}" for name in NAMES), "--values", "values.yaml")
    assert done.code == 0, done.stderr
    assert (done.value["counts"]["cached"] > 0) is cached
    found = {path.name: path.read_bytes() for path in sorted(project.build.iterdir())}
    assert found
    return found


@pytest.mark.parametrize("seed", range(3))
def test_warm_is_cold(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    warm, cold = Project(tmp_path), Project(tmp_path, cache="cold")
    warm.base()
    (tmp_path / "given").write_text("extra: 0\n")
    for name in NAMES:
        write(warm, name, chance)
    result(warm)
    for _ in range(4):
        match chance.randrange(4):
            case 0:
                (tmp_path / "given").write_text(f"extra: {chance.randrange(3)}\n")
            case 1:
                folder = warm.tree / "t" / chance.choice(NAMES)
                (folder / "file").write_text(str(chance.randrange(9)))
            case _:
                write(warm, chance.choice(NAMES), chance)
        found = result(warm, cached=True)
        shutil.rmtree(tmp_path / "cold", ignore_errors=True)
        assert result(cold) == found
