"""Health checks, results, and the commands of cOS, on a device in folders."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests import schemas
from tests.unit.device_fleet import Capture, Fleet, answer, asked, device, lay
from treebuilder.channel.results import read_result
from treebuilder.cli.main import main
from treebuilder.cli.verbs.cos import in_words_of_cos
from treebuilder.device.grubenv import decode
from treebuilder.device.states import Slot
from treebuilder.errors import StateCorrupt
from treebuilder.system import locks

__all__ = ["device"]  # a fixture

TOP = Path(__file__).parents[2]


def check(device: Fleet, name: str, script: str, mode: int = 0o755) -> None:
    path = device.root / "etc/treebuild/health.d" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script)
    path.chmod(mode)


# health ---------------------------------------------------------------------------------------------------------------
def test_checks_run_in_order_and_confirm(device: Fleet, capsys: Capture) -> None:
    asked(device, capsys, "upgrade", str(lay(device.top / "new", "2.0")))
    assert device.boot() == "2.0"
    check(device, "20-second", f"#!/bin/sh\necho second $1 >> {device.top}/ran\n")
    check(device, "10-first", f"#!/bin/sh\necho first $1 >> {device.top}/ran\necho all is well\n")
    check(device, "30-none", "#!/bin/sh\nexit 1\n", 0o644)  # cannot be run, so it is none
    said = asked(device, capsys, "confirm")
    assert (said["state"], said["on_trial"], said["reboot"]) == ("confirmed", True, False)
    assert (device.top / "ran").read_text() == "first check\nsecond check\n"
    assert said["checks"][0]["output"] == ["all is well"]
    kept = json.loads((device.state / "cOS/health.json").read_text())
    assert [each["name"] for each in kept["checks"]] == ["10-first", "20-second"]
    assert asked(device, capsys, "confirm")["state"] == "healthy"


@pytest.mark.parametrize(
    ("script", "status"), [("#!/bin/sh\necho it is broken\nexit 3\n", 3), ("#!/nowhere\n", None),
                           ("#!/bin/sh\nsleep 60\n", None)],
)  # fmt: skip
def test_a_version_that_does_not_pass_boots_again_and_ends_at_the_old_one(
    device: Fleet, capsys: Capture, script: str, status: int | None
) -> None:
    asked(device, capsys, "upgrade", str(lay(device.top / "new", "2.0")))
    check(device, "10-bad", script)
    limit = ("--time-limit", "0.3") if "sleep" in script else ()
    for _ in range(3):
        assert device.boot() == "2.0"
        said = asked(device, capsys, "confirm", *limit, code=1)
        assert (said["state"], said["reboot"], said["checks"][0]["status"]) == ("unhealthy", True, status)
    assert device.boot() == "1.0"
    assert device.slot is Slot.PASSIVE
    said = asked(device, capsys, "confirm", *limit, code=1)
    assert said["reboot"] is False  # nothing better is there to go to
    assert [each["why"] for each in asked(device, capsys, "status")["failed"]] == ["health"]
    history = [line["what"] for line in asked(device, capsys, "status")["history"]]
    assert any("health check 10-bad failed" in line for line in history)


def test_a_version_that_is_not_confirmed_in_time(device: Fleet, capsys: Capture) -> None:
    said = asked(device, capsys, "confirm", "--deadline")
    assert (said["state"], said["reboot"]) == ("healthy", False)  # what is confirmed has no deadline
    asked(device, capsys, "upgrade", str(lay(device.top / "new", "2.0")))
    for _ in range(3):
        assert device.boot() == "2.0"
        said = asked(device, capsys, "confirm", "--deadline", code=1)
        assert (said["state"], said["reboot"]) == ("unhealthy", True)
    assert device.boot() == "1.0"
    assert [each["version"] for each in asked(device, capsys, "status")["failed"]] == ["2.0"]


@pytest.mark.parametrize("verb", ["confirm", "status", "rollback"])
def test_it_waits_for_whoever_is_at_work(device: Fleet, capsys: Capture, verb: str) -> None:
    asked(device, capsys, "upgrade", str(lay(device.top / "new", "2.0")))
    assert device.boot() == "2.0"
    capsys.readouterr()
    words = [sys.executable, "-m", "treebuilder", *device.words(verb)]
    env = {**os.environ, "PYTHONPATH": str(TOP)}
    with locks.exclusive(device.state / "cOS/.lock", "it"):
        with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True) as process:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(2)
            os.rename(device.state / "cOS/.lock", device.state / "cOS/.lock-of-somebody")  # as if it were let go
            out, _ = process.communicate(timeout=60)
    said = answer(out, verb)
    if verb == "status":
        assert said["running"]["version"] == "2.0"
    else:
        assert said["state"] == {"confirm": "confirmed", "rollback": "rolled-back"}[verb]


# results --------------------------------------------------------------------------------------------------------------
class Collector(HTTPServer):
    """Takes what devices post."""

    def __init__(self) -> None:
        self.got, self.status = list[bytes](), 204
        super().__init__(("127.0.0.1", 0), _Taker)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Taker(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Collector)
        self.server.got.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_results_are_posted_once_each_and_again_until_they_are_taken(
    device: Fleet, capsys: Capture, collector: Collector
) -> None:
    device.package("2.0")
    device.publish("2.0", "--report-url", collector.url)
    assert asked(device, capsys, "upgrade", "--channel", "stable")["state"] == "upgraded"
    assert device.boot() == "2.0"
    assert collector.got == []
    collector.status = 503
    assert asked(device, capsys, "confirm")["state"] == "confirmed"  # and nothing fails by it
    collector.status = 204
    for _ in range(2):
        assert asked(device, capsys, "confirm")["state"] == "healthy"
    results = [read_result(data) for data in collector.got]
    assert [(r.channel, r.snapshot, r.good) for r in results] == [("stable", "s2.0", True)] * 2
    assert len({r.device for r in results}) == 1
    device.package("3.0")
    device.publish("3.0", "--report-url", collector.url)
    assert asked(device, capsys, "upgrade", "--channel", "stable")["version"] == "3.0"
    assert [device.boot() for _ in range(4)] == ["3.0", "3.0", "3.0", "2.0"]
    asked(device, capsys, "confirm")
    last = read_result(collector.got[-1])
    assert (last.snapshot, last.good, last.why) == ("s3.0", False, "boot")
    assert len(collector.got) == 3


@pytest.mark.parametrize("good", [True, False])
def test_a_version_is_not_told_to_be_good_before_its_checks_said_so(
    device: Fleet, capsys: Capture, collector: Collector, good: bool
) -> None:
    """Another version is what is on trial meanwhile."""
    device.package("2.0")
    device.publish("2.0", "--report-url", collector.url)
    asked(device, capsys, "upgrade", "--channel", "stable")
    assert device.boot() == "2.0"
    check(device, "10-web", f"#!/bin/sh\nexit {0 if good else 1}\n")
    asked(device, capsys, "upgrade", str(lay(device.top / "new", "3.0")))
    asked(device, capsys, "check", str(device.top / "new"))
    assert collector.got == []
    asked(device, capsys, "confirm", code=0 if good else 1)
    asked(device, capsys, "check", str(device.top / "new"))
    assert [read_result(data).good for data in collector.got] == [True] * good


def test_what_a_check_said_in_another_boot_says_nothing_of_this_one(
    device: Fleet, capsys: Capture, collector: Collector
) -> None:
    device.package("2.0")
    device.publish("2.0", "--report-url", collector.url)
    asked(device, capsys, "upgrade", "--channel", "stable")
    asked(device, capsys, "confirm")  # of 1.0
    assert device.boot() == "2.0"
    asked(device, capsys, "upgrade", str(lay(device.top / "new", "3.0")))
    (device.state / "cOS/health.json").write_text("damaged")
    asked(device, capsys, "check", str(device.top / "new"))
    assert collector.got == []


def test_nobody_answers_and_the_boot_goes_on(device: Fleet, capsys: Capture) -> None:
    device.package("2.0")
    device.publish("2.0", "--report-url", "http://127.0.0.1:9/")
    asked(device, capsys, "upgrade", "--channel", "stable")
    assert device.boot() == "2.0"
    assert asked(device, capsys, "confirm")["state"] == "confirmed"


# kills ----------------------------------------------------------------------------------------------------------------
def test_a_kill_anywhere_leaves_what_boots_and_a_rerun_completes(device: Fleet, capsys: Capture) -> None:
    """Every so often among the calls that change something, from the first to the last."""
    device.package("2.0")
    env = {**os.environ, "PYTHONPATH": str(TOP)}
    at, step, killed = 0, 23, 0
    while True:
        words = [sys.executable, "-m", "tests.unit.steps", str(at), *device.words("upgrade", "system/os")]
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        killed += 1
        assert device.boot() in ("1.0", "2.0")
        if device.versions()[0] == "2.0" and device.slot is Slot.ACTIVE:
            break
        at += step
        device.run("cancel")
    assert killed >= 4
    assert device.run("upgrade", "system/os@2.0") == 0
    assert device.versions()[0] == "2.0"
    assert device.leftovers() == []
    assert device.boot() == "2.0"


# the commands of cOS --------------------------------------------------------------------------------------------------
def called(device: Fleet, name: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Through a link of that name, as on a device."""
    link = device.top / "tools" / name
    link.parent.mkdir(exist_ok=True)
    script = f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(TOP)!r})\n"
    target = device.top / "program"
    target.write_text(script + "from treebuilder.cli.main import entry\nentry()\n")
    target.chmod(0o755)
    if not link.exists():
        link.symlink_to(target)
    more = ["--state", str(device.state), "--recovery-dir", str(device.recovery), "--slot", device.slot.value]
    more += ["--boot", f"boot-{device.boots}", "--root", str(device.root)]
    env = {**os.environ, "HOME": str(device.top), **variables}
    (device.top / ".luet.yaml").write_bytes((device.top / "luet.yaml").read_bytes())
    return subprocess.run([str(link), *words, *more], capture_output=True, text=True, check=False, env=env)


def test_cos_upgrade_by_channel_folder_and_into_recovery(device: Fleet) -> None:
    device.package("2.0")
    (device.root / "etc/cos-upgrade-image").write_text('UPGRADE_IMAGE="system/os"\nCHANNEL_UPGRADES="true"\n')
    done = called(device, "cos-upgrade")
    assert done.returncode == 0, done.stderr
    assert "Upgrade done, now you might want to reboot" in done.stdout
    assert device.versions() == ["2.0", "1.0", "1.0"]
    assert device.boot() == "2.0"
    assert device.run("confirm") == 0
    lay(device.top / "newer", "3.0")
    assert called(device, "cos-upgrade", "--directory", "newer").returncode == 0
    assert device.versions() == ["3.0", "2.0", "1.0"]
    assert called(device, "cos-upgrade", "--recovery", "--no-verify", "--directory", "newer").returncode == 0
    assert device.versions() == ["3.0", "2.0", "3.0"]


def test_cos_reset_elsewhere_and_in_recovery(device: Fleet) -> None:
    (device.root / "oem").mkdir()
    (device.root / "oem/data").touch()
    done = called(device, "cos-reset")
    assert (done.returncode, "cos-reset can be run only from recovery" in done.stderr) == (1, True)
    device.slot, device.boots = Slot.RECOVERY, device.boots + 1
    assert called(device, "cos-reset").returncode == 0
    assert (device.root / "oem/data").exists()


def test_cos_deploy_does_not_overwrite_without_force(device: Fleet) -> None:
    device.slot, device.boots = Slot.RECOVERY, device.boots + 1
    done = called(device, "cos-deploy")
    assert done.returncode == 1
    assert "There is already an active deployment in the system, use '--force' flag to overwrite it" in done.stderr
    assert called(device, "cos-deploy", "--force").returncode == 0


def test_suc_upgrade_brings_the_host_to_its_own_root_and_not_for_ever(device: Fleet) -> None:
    host = lay(device.top / "host", "1.0")
    lay(device.root, "2.0")
    env = {"HOST_DIR": str(host)}
    assert called(device, "suc-upgrade", HOST_DIR=str(device.top / "nowhere")).returncode == 1
    done = called(device, "suc-upgrade", **env)
    assert done.returncode == 1, done.stderr  # the pod is run again, unless the restart has ended it
    assert device.versions() == ["2.0", "1.0", "1.0"]
    (host / "etc/os-release").write_bytes((device.root / "etc/os-release").read_bytes())
    assert called(device, "suc-upgrade", **env).returncode == 0
    lay(device.top / "again", "1.0")
    (host / "etc/os-release").write_bytes((device.top / "again/etc/os-release").read_bytes())
    for _ in range(3):
        assert device.boot() == "2.0"
    assert device.boot() == "1.0"  # 2.0 was never confirmed
    done = called(device, "suc-upgrade", "--json", **env)
    assert (done.returncode, answer(done.stdout, "upgrade")["state"]) == (0, "failed-before")
    assert "FORCE=true" in called(device, "suc-upgrade", **env).stdout
    assert called(device, "suc-upgrade", FORCE="true", **env).returncode == 1
    assert device.boot() == "2.0"


def test_cos_rebrand_sets_the_title_and_keeps_the_rest(device: Fleet) -> None:
    from treebuilder.device.grubenv import encode

    (device.state / "grub_oem_env").write_bytes(encode({"state_label": "COS_STATE", "default_menu_entry": "cOS"}))
    (device.root / "etc/cos/config").write_text("GRUB_ENTRY_NAME='My OS'\n")
    assert called(device, "cos-rebrand").returncode == 0
    found = decode((device.state / "grub_oem_env").read_bytes(), "it")
    assert found == {"state_label": "COS_STATE", "default_menu_entry": "My OS"}


def test_a_stage_is_run_with_its_errors_told(device: Fleet, capsys: Capture) -> None:
    (device.root / "oem").mkdir()
    good = {"files": [{"path": "/etc/there", "content": "x", "permissions": 0o644}]}
    bad = {"files": [{"path": "/etc/machine-id/x", "content": "x"}]}
    (device.root / "oem/a.yaml").write_text(json.dumps({"stages": {"boot": [bad, good]}}))
    words = ["device", "run-stage", "boot", "--root", str(device.root), "--json", "--quiet"]
    capsys.readouterr()
    assert main(words) == 0
    value = json.loads(capsys.readouterr().out)
    assert schemas.faults(value, schemas.load("device-run-stage")) == []
    assert len(value["errors"]) == 1
    assert (device.root / "etc/there").read_text() == "x"
    assert main([*words, "--strict"]) == 1


def test_this_machine_is_no_device(capsys: Capture) -> None:
    assert main(["device", "status", "--json", "--quiet"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["reason"] == "no-device"


@pytest.mark.parametrize("words", [("status", "x"), ("run-stage",), ("upgrade", "a", "b"), ("install",)])
def test_words_that_do_not_fit(device: Fleet, capsys: Capture, words: tuple[str, ...]) -> None:
    assert device.run(*words) == 1
    assert json.loads(capsys.readouterr().out)["error"]["reason"] == "usage"


# what people read -----------------------------------------------------------------------------------------------------
def said_by(device: Fleet, capsys: Capture, *words: str, code: int = 0) -> str:
    """The answer without --json."""
    capsys.readouterr()
    assert main([word for word in device.words(*words) if word != "--json"]) == code
    return capsys.readouterr().out.strip()


def test_what_is_up_to_date_is_named(device: Fleet, capsys: Capture) -> None:
    asked(device, capsys, "upgrade", str(lay(device.top / "new", "2.0")))
    assert device.boot() == "2.0"
    asked(device, capsys, "confirm")
    device.package("2.0")
    device.slot, device.boots = Slot.PASSIVE, device.boots + 1  # somebody picked it in the menu: 1.0
    for verb in ("check", "upgrade"):
        assert said_by(device, capsys, verb, "system/os") == "2.0 is up to date"
    asked(device, capsys, "upgrade", str(device.top / "new"), "--recovery-slot")
    assert said_by(device, capsys, "check", "system/os", "--recovery-slot") == "2.0 is up to date"
    device.slot, device.boots = Slot.ACTIVE, device.boots + 1
    folder = str(lay(device.top / "other", "1.5"))
    asked(device, capsys, "upgrade", folder, "--recovery-slot")
    assert said_by(device, capsys, "upgrade", folder, "--recovery-slot") == "1.5 is up to date"


def test_cancel_says_whether_there_was_anything(device: Fleet, capsys: Capture) -> None:
    assert said_by(device, capsys, "cancel") == "nothing is planned"
    assert asked(device, capsys, "cancel")["version"] == ""
    asked(device, capsys, "stage", str(lay(device.top / "new", "2.0")))
    assert said_by(device, capsys, "cancel") == "2.0, which was planned, is given up"


def test_status_says_of_what_boots_next_one_thing(device: Fleet, capsys: Capture) -> None:
    def state() -> tuple[str, str]:
        lines = dict(line.split(None, 1) for line in said_by(device, capsys, "status").splitlines())
        return lines["boots"].removeprefix("next").strip(), lines["state"]

    assert state() == ("active", "confirmed")
    asked(device, capsys, "upgrade", str(lay(device.top / "new", "2.0")))
    assert state() == ("active, 3 tries left", "a new version waits for its boot")
    asked(device, capsys, "rollback")
    assert state() == ("passive", "passive is what boots")
    for name in ("active.img", "passive.img"):
        (device.state / "cOS" / name).unlink()
    assert state() == ("recovery", "recovery is what boots")
    (device.recovery / "cOS/recovery.squashfs").unlink()
    assert state() == ("nothing", "no slot has an image")


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("COS_STATE", "State partition cannot be found"), ("COS_RECOVERY", "Recovery partition cannot be found"),
        ("COS_PERSISTENT", "Persistent partition cannot be found"), ("COS_OEM", "OEM partition cannot be found"),
        ("/dev/vda3", "the partition /dev/vda3 cannot be found on /dev/vda"),
    ],
)  # fmt: skip
def test_the_partition_that_is_missing_is_the_one_that_cos_names(label: str, said: str) -> None:
    err = StateCorrupt(f"the partition {label} cannot be found on /dev/vda", reason="no-partition")
    assert in_words_of_cos("reset", err) == said


def test_exit_codes_of_cos_are_those_that_its_help_says(device: Fleet) -> None:
    assert called(device, "cos-upgrade", "--what").returncode == 2
    assert called(device, "cos-upgrade", "none/such@1.0").returncode == 1
