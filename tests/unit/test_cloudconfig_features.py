"""cos-feature: links that the stage runner reads, its messages and its results."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import schemas
from treebuilder.cli.catalogue import PROGRAMS
from treebuilder.cli.main import main
from treebuilder.cloudconfig.stages import run_stage

Capture = pytest.CaptureFixture[str]
COS_SETUP = Path(__file__).parents[2] / "packages/system/cos-setup/cos-setup"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    (made / "etc/cos").mkdir(parents=True)
    for folder in ("system/features", "system/oem", "oem"):
        (made / folder).mkdir(parents=True)
    for name in ("vagrant", "carrier"):
        text = f"stages: {{boot: [{{environment_file: /log, environment: {{{name}: x}}}}]}}\n"
        (made / f"system/features/{name}.yaml").write_text(text)
    return made


def feature(root: Path, capsys: Capture, *words: str, code: int = 0) -> tuple[dict[str, tuple[bool, bool]], str]:
    """What is present and enabled by name, and what was complained of."""
    capsys.readouterr()
    assert main([*PROGRAMS["cos-feature"].split(), *words, "--root", str(root), "--json"]) == code
    out, err = capsys.readouterr()
    value: dict[str, Any] = json.loads(out)
    if "error" in value:
        return {}, str(value["error"]["reason"])
    assert schemas.faults(value, schemas.load("device-feature")) == []
    return {each["name"]: (each["present"], each["enabled"]) for each in value["features"]}, err


def boot(root: Path) -> str:
    (root / "log").unlink(missing_ok=True)
    paths = [str(root / path) for path in ("system/oem", "oem")]
    assert run_stage("boot", paths, root=root) == ()
    return (root / "log").read_text() if (root / "log").exists() else ""


def test_on_and_off(root: Path, capsys: Capture) -> None:
    off = (True, False)
    assert feature(root, capsys, "list")[0] == {"carrier": off, "vagrant": off}
    assert boot(root) == ""
    assert feature(root, capsys, "enable", "vagrant", "carrier")[0] == {
        "carrier": (True, True),
        "vagrant": (True, True),
    }
    assert os.readlink(root / "oem/features/vagrant.yaml") == "../../system/features/vagrant.yaml"
    assert boot(root) == 'carrier="x"\nvagrant="x"\n'
    assert feature(root, capsys, "disable", "carrier")[0] == {"carrier": off, "vagrant": (True, True)}
    assert boot(root) == 'vagrant="x"\n'


def test_what_cannot_be_done_is_said_and_the_rest_is_done(root: Path, capsys: Capture) -> None:
    found, said = feature(root, capsys, "enable", "nothere", "vagrant", code=1)
    assert "Feature nothere not present" in said
    assert found["vagrant"] == (True, True)
    assert "Feature vagrant already enabled" in feature(root, capsys, "enable", "vagrant", code=1)[1]
    assert "Feature carrier not enabled" in feature(root, capsys, "disable", "carrier", code=1)[1]
    assert "Feature ../x not present" in feature(root, capsys, "enable", "../x", code=1)[1]


def test_one_that_the_image_has_no_more(root: Path, capsys: Capture) -> None:
    feature(root, capsys, "enable", "vagrant")
    (root / "system/features/vagrant.yaml").unlink()
    assert feature(root, capsys, "list")[0]["vagrant"] == (False, True)
    assert boot(root) == ""
    assert "vagrant" not in feature(root, capsys, "disable", "vagrant")[0]


def test_links_of_cos_and_a_folder_of_ones_own(root: Path, capsys: Capture) -> None:
    (root / "oem/features").mkdir()
    (root / "oem/features/carrier.yaml").symlink_to("/system/features/carrier.yaml")
    assert feature(root, capsys, "list")[0]["carrier"] == (True, True)
    (root / "usr/more").mkdir(parents=True)
    (root / "usr/more/mine.yaml").write_text("stages: {}\n")
    (root / "etc/cos/config").write_text("COS_FEATURESDIR=/usr/more\n")
    assert feature(root, capsys, "enable", "mine")[0] == {"carrier": (False, True), "mine": (True, True)}
    assert (root / "oem/features/mine.yaml").resolve() == root / "usr/more/mine.yaml"


@pytest.mark.parametrize("words", [(), ("list", "x"), ("enable",), ("toggle", "x")])
def test_wrong_words(root: Path, capsys: Capture, words: tuple[str, ...]) -> None:
    assert feature(root, capsys, *words, code=1)[1] == "usage"


def test_people_are_told(root: Path, capsys: Capture) -> None:
    assert main(["cos", "feature", "enable", "vagrant", "--root", str(root)]) == 0
    assert capsys.readouterr().out == "vagrant enabled\n"
    assert main(["cos", "feature", "list", "--root", str(root)]) == 0
    assert capsys.readouterr().out == "carrier\nvagrant (enabled)\n"


# cos-setup ----------------------------------------------------------------------------------------------------------
YIP = """#!/bin/sh
echo "$*" >> TOOLS/ran
for word; do [ "$word" != - ] || cat > TOOLS/stdin; done
if [ "$1" = --save ]; then mkdir "$2" && cp TOOLS/page "$2/000.yaml"; fi
"""


def cos_setup(root: Path, tools: Path, stage: str, words: str = "") -> list[str]:
    """The words that each start of yip gets. The kernel's command line names a URL, which has TOOLS/page."""
    tools.mkdir(exist_ok=True)
    (tools / "yip").write_text(YIP.replace("TOOLS", str(tools)))
    (tools / "yip").chmod(0o755)
    (tools / "cmdline").write_text(f"quiet cos.setup=http://here.invalid/x {words}\n")
    script = COS_SETUP.read_text().replace("/proc/cmdline", str(tools / "cmdline"))
    script = script.replace('"/system/oem /oem /usr/local/cloud-config"', f'"{root}/system/oem {root}/oem"')
    script = script.replace("/run/cos-setup", str(tools / "kept"))
    assert str(root) in script
    assert str(tools / "kept") in script
    (tools / "ran").write_text("")
    env = {"PATH": f"{tools}:{os.environ['PATH']}"}
    subprocess.run(["sh", "-c", script, "cos-setup", stage], check=True, env=env, timeout=60)
    return (tools / "ran").read_text().splitlines()


def test_cos_setup_looks_into_links_and_classic_files(root: Path, tmp_path: Path, capsys: Capture) -> None:
    feature(root, capsys, "enable", "vagrant")
    tools = tmp_path / "bin"
    assert cos_setup(root, tools, "boot") == [f"-s boot {root}/oem"]
    assert cos_setup(root, tools, "fs") == []
    (root / "system/oem/c.yaml").write_text("#cloud-config\nhostname: x\n")
    assert cos_setup(root, tools, "initramfs") == [f"-s initramfs {root}/system/oem"]
    assert cos_setup(root, tools, "boot") == [f"-s boot {root}/system/oem {root}/oem"]
    assert cos_setup(root, tools, "fs") == cos_setup(root, tools, "rootfs") == []
    (root / "system/oem/c.yaml").write_text("\ufeff#cloud-config\nhostname: x\n")
    assert cos_setup(root, tools, "initramfs") == [f"-s initramfs {root}/system/oem"]


def test_cos_setup_fetches_a_url_once(root: Path, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "page").write_text("stages: {network: [{hostname: x}], network.after: [{hostname: y}]}\n")
    early = " ".join(f"-s {stage}{part}" for stage in ("initramfs", "fs", "boot") for part in (".before", "", ".after"))
    kept = tools / "kept"
    for _ in range(2):
        assert cos_setup(root, tools, "network") == [
            f"--save {kept} http://here.invalid/x", f"{early} {kept}", f"-s network {kept}", f"-s network.after {kept}"
        ]  # fmt: skip
    assert cos_setup(root, tools, "boot") == []


def test_cos_setup_has_the_steps_of_the_kernels_command_line(root: Path, tmp_path: Path) -> None:
    tools, words = tmp_path / "bin", "stages.boot[0].hostname=x stages.boot.after[0].commands[0]=true"
    assert cos_setup(root, tools, "boot", words) == ["-s boot -d -", "-s boot.after -d -"]
    assert cos_setup(root, tools, "fs", words) == []
    (root / "oem/c.yaml").write_text("stages: {boot: []}\n")
    assert cos_setup(root, tools, "boot", words)[:2] == [f"-s boot {root}/oem", "-s boot -d -"]
    assert words in (tools / "stdin").read_text()


def test_cos_setup_reads_no_pipes(root: Path, tmp_path: Path) -> None:
    os.mkfifo(root / "oem/pipe")
    (root / "oem/c.yaml").write_text("stages: {boot: []}\n")
    assert cos_setup(root, tmp_path / "bin", "boot") == [f"-s boot {root}/oem"]


# units --------------------------------------------------------------------------------------------------------------
def unit(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("stage", ["rootfs", "initramfs", "fs", "boot", "network"])
def test_no_stage_lasts_for_ever(stage: str) -> None:
    (path,) = COS_SETUP.parent.glob(f"*/cos-setup-{stage}.service")
    (limit,) = unit(path)["TimeoutStartSec"]
    assert limit.removesuffix("min").isdecimal()


def test_the_checks_wait_for_no_stage_for_ever(tmp_path: Path) -> None:
    """The system must be up, for which there is the deadline; the stage network is waited for only so long."""
    found = unit(COS_SETUP.parents[1] / "device/units/treebuild-confirm.service")
    ordered = " ".join(found["After"]).split()
    assert set(ordered) == {"multi-user.target", "network-online.target"}
    assert unit(COS_SETUP.parent / "units/cos-setup-network.service")["DefaultDependencies"] == ["no"]
    (wait,) = found["ExecStartPre"]
    words = shlex.split(wait.removeprefix("-").replace("$$", "$"))
    assert words[:2] == ["/bin/sh", "-c"]
    scripts = {
        "systemctl": f'echo "$*" >> {tmp_path}/asked\n[ -e {tmp_path}/busy ] && echo 1 job',
        "sleep": f'[ "$(wc -l < {tmp_path}/asked)" != "$UP" ] || rm {tmp_path}/busy',
    }
    for name, script in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    for up, asked in (("3", 4), ("never", 180)):
        (tmp_path / "busy").touch()
        (tmp_path / "asked").unlink(missing_ok=True)
        env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "UP": up}
        subprocess.run(words, check=False, env=env, timeout=60)
        lines = (tmp_path / "asked").read_text().splitlines()
        assert len(lines) == asked
        assert set(lines) == {"list-jobs --no-legend cos-setup-network.service"}
