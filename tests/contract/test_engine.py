"""The contract of the `Engine` port: every engine does this, and all give the same digests."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from tests.contract.lab import CASES, RUNS, Lab, add_layer
from treebuilder.engine.api import Job
from treebuilder.errors import BuildFailed, Cancelled
from treebuilder.events import LogLine, Progressed
from treebuilder.model.digest import Digest
from treebuilder.system.process import Cancel


@pytest.mark.parametrize(("lab", "name"), RUNS, indirect=["lab"])
def test_leaves(lab: Lab, name: str) -> None:
    outcome = lab.outcome(name, CASES[name])
    content = outcome.layer.content
    CASES[name].check(lab.listing(content), lab.store.tree_path(content), outcome.layer)


@pytest.mark.parametrize(("lab", "name"), RUNS, indirect=["lab"])
def test_equal_layers_on_all_engines(lab: Lab, native_lab: Lab, name: str) -> None:
    ours, native = lab.outcome(name, CASES[name]).layer, native_lab.outcome(name, CASES[name]).layer
    assert ours == native


def test_two_runs_give_one_layer(lab: Lab) -> None:
    job = lab.job("echo x > /x; mkdir /d; date > /dev/null", "rm /data/file")
    assert lab.run(job).layer == lab.run(job).layer


def test_exit_code_and_tail(lab: Lab) -> None:
    with pytest.raises(BuildFailed) as caught:
        lab.run(lab.job("echo first", "echo out; echo err >&2; exit 7", "echo never"))
    error = caught.value
    assert (error.reason, error.exit_status, error.command) == ("step-failed", 7, "echo out; echo err >&2; exit 7")
    assert error.tail == ("first", "out", "err")
    log = Path(error.log).read_text()
    assert log == "+ echo first\nfirst\n+ echo out; echo err >&2; exit 7\nout\nerr\n"


def test_a_failed_job_says_where_to_look(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(BuildFailed) as caught:
        lab.run(lab.job("echo left > /left; false"), keep_failed=tmp_path)
    assert caught.value.exit_status == 1
    hint = caught.value.hint or ""
    assert hint.startswith("enter the failed root with: ")
    if lab.name == "native":
        script = Path(hint.removeprefix("enter the failed root with: "))
        assert (script.parent / "upper/left").read_text() == "left\n"
    else:
        assert " --entrypoint /bin/sh treebuild-failed:" in hint


def test_a_signal(lab: Lab) -> None:
    with pytest.raises(BuildFailed, match="killed by signal 9"):
        lab.run(lab.job("sh -c 'kill -9 $$'"))


def test_no_shell(lab: Lab) -> None:
    empty = add_layer(lab.store, lambda folder: (folder / "file").touch())
    with pytest.raises(BuildFailed) as caught:
        lab.run(lab.job("true", layers=(empty.content,)))
    assert "/bin/sh" in (caught.value.hint or "")


def test_an_unknown_user(lab: Lab) -> None:
    with pytest.raises(BuildFailed) as caught:
        lab.run(lab.job("true", user="stranger"))
    assert caught.value.reason == "no-user"


def test_another_shell(lab: Lab) -> None:
    job = lab.job("echo one; false; echo two > /two", shell=("/bin/busybox", "sh", "-e", "-c"))
    with pytest.raises(BuildFailed, match="exit code 1"):
        lab.run(job)


def test_events_follow_the_steps(lab: Lab) -> None:
    before = len(lab.events.events)
    lab.run(lab.job("echo one", "printf 'two\\r\\nthree'"))
    seen: list[str] = []
    for event in lab.events.events[before:]:
        if isinstance(event, LogLine):
            seen.append(event.line)
        elif isinstance(event, Progressed):
            seen.append(event.text)
    assert seen == ["echo one", "one", "printf 'two\\r\\nthree'", "two", "three"]


def test_step_timeout(lab: Lab) -> None:
    with pytest.raises(BuildFailed) as caught:
        lab.run(lab.job("true", "sleep 600 & sleep 600", step_timeout_s=1.0))
    assert caught.value.reason == "step-timeout"
    assert caught.value.exit_status is None
    assert caught.value.command == "sleep 600 & sleep 600"
    _nothing_left(lab)


def test_the_time_limit_is_of_one_step(lab: Lab) -> None:
    lab.run(lab.job("sleep 1.2", "sleep 1.2", "sleep 1.2", step_timeout_s=3.0))


def test_cancel_leaves_nothing(lab: Lab) -> None:
    word = f"sleep 9{os.getpid()}"
    cancel = Cancel()
    raised: list[BaseException] = []

    def work() -> None:
        try:
            lab.run(lab.job("echo ready", f"{word} & setsid {word} & {word}"), cancel)
        except Cancelled as err:
            raised.append(err)

    thread = threading.Thread(target=work)
    _ = lab.base
    thread.start()
    end = time.monotonic() + 60
    while not _processes(word) and time.monotonic() < end:
        time.sleep(0.05)
    assert _processes(word), "the step never began"
    cancel.set()
    thread.join(60)
    assert len(raised) == 1
    end = time.monotonic() + 10
    while _processes(word) and time.monotonic() < end:
        time.sleep(0.05)
    assert _processes(word) == []
    _nothing_left(lab)


def _processes(word: str) -> list[int]:
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if line.endswith(word):
            found.append(int(pid))
    return found


def _nothing_left(lab: Lab) -> None:
    """No mount, no work folder, no container, no temporary image."""
    if lab.name == "native":
        lab.engine.close()  # it cleans up behind the jobs
    lab.store.close()
    assert str(lab.folder) not in Path("/proc/self/mountinfo").read_text()
    assert list((lab.store.folder / "tmp").iterdir()) == []
    if lab.name != "native":
        import docker

        from treebuilder.engine.docker import DockerEngine

        assert isinstance(lab.engine, DockerEngine)
        api = docker.APIClient(base_url=lab.engine.url, version="auto")
        try:
            assert api.containers(all=True) == []
            tags = [str(tag) for image in api.images() for tag in image["RepoTags"] or ["<none>"]]
            assert [tag for tag in tags if not tag.startswith(("treebuild-base:", "treebuild-failed:"))] == []
        finally:
            api.close()


def test_nothing_is_left_after_success_and_failure(lab: Lab) -> None:
    lab.run(lab.job("echo x > /x"))
    with pytest.raises(BuildFailed):
        lab.run(lab.job("false"))
    _nothing_left(lab)


def _deep(lab: Lab, depth: int) -> tuple[Digest, ...]:
    layers = [lab.base]
    for number in range(depth):

        def make(folder: Path, number: int = number) -> None:
            (folder / "deep").mkdir()
            (folder / f"deep/{number}").write_text(f"{number}\n")
            (folder / "deep/last").write_text(f"{number}\n")
            if number:
                os.mknod(folder / f"deep/{number - 1}", 0o020000, 0)

        layers.append(add_layer(lab.store, make, tuple(layers)).content)
    return tuple(layers)


@pytest.mark.parametrize("depth", [70, 130])
def test_deep_stacks(lab: Lab, native_lab: Lab, depth: int) -> None:
    job = lab.job("ls /deep > /seen; cat /deep/last >> /seen; rm /deep/last", layers=_deep(lab, depth))
    outcome = lab.run(job)
    root = lab.store.tree_path(outcome.layer.content)
    assert (root / "seen").read_text() == f"{depth - 1}\nlast\n{depth - 1}\n"
    assert outcome.layer.deleted == ("deep/last",)
    _deep(native_lab, depth)
    assert native_lab.run(job).layer == outcome.layer


def test_a_repeated_layer(lab: Lab) -> None:
    one, two = _deep(lab, 2)[1:]
    outcome = lab.run(lab.job("ls /deep > /seen", layers=(lab.base, one, two, one)))
    assert (lab.store.tree_path(outcome.layer.content) / "seen").read_text() == "0\n1\nlast\n"


def test_many_threads(lab: Lab) -> None:
    layers: dict[int, Digest] = {}

    def work(number: int) -> None:
        layers[number] = lab.run(lab.job(f"echo {number} > /number; cat /data/file")).layer.content

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(layers.values())) == 6


def test_a_job_round_trips_through_json() -> None:
    job = Job(
        "build a/b-1.0 ü", (Digest.of(b"a"), Digest.of(b"b")), ("echo 'x'\n", ""), (("A", "1"), ("B", "ü=\n")), 12,
        ("/bin/bash", "-ec"), "/work", "user:group", False, 1.5,
    )  # fmt: skip
    assert Job.from_json(job.to_json()) == job
    plain = Job("a", (), (), (), 0)
    assert Job.from_json(plain.to_json()) == plain
    assert "/" not in plain.to_json().replace('"/luetbuild"', "").replace('"/bin/sh"', "")


def test_the_probe_says_what_it_found(lab: Lab) -> None:
    probe = lab.engine.probe()
    assert probe.usable
    assert probe.name == lab.engine.name
    assert probe.said
