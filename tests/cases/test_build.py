"""The build, end to end with the native engine: what is built, what is not, and what comes out."""

from __future__ import annotations

import os
import time
import tracemalloc
from pathlib import Path

import pytest

from tests.trees import Project, chain, requires, write_layout

pytestmark = pytest.mark.engine


def test_a_second_build_builds_nothing(project: Project) -> None:
    chain(project, ["t/a", "t/b", "t/c"])
    first = project.building("t/c")
    assert first.code == 0, first.stderr
    assert first.value["counts"]["built"] == 4
    assert project.text("c-t-1.0", "c") == "t/c\n"
    assert "a" not in project.content("c-t-1.0")
    second = project.building("t/c")
    assert second.code == 0
    assert second.value["counts"] == {"built": 0, "cached": 4, "failed": 0, "pulled": 0, "skipped": 0}
    third = project.run("build", "--tree", "packages", "--destination", "elsewhere", "t/c")
    assert third.value["counts"]["built"] == 0
    assert (project.top / "elsewhere" / "c-t-1.0.package.tar.zst").read_bytes() == (
        project.build / "c-t-1.0.package.tar.zst"
    ).read_bytes()


def test_touching_a_file_builds_nothing(project: Project) -> None:
    chain(project, ["t/a"])
    assert project.building("t/a").code == 0
    os.utime(project.tree / "t/a/build.yaml", (1, 1))
    assert project.building("t/a").value["counts"]["built"] == 0


def test_a_comment_is_cut_off(project: Project) -> None:
    chain(project, ["t/a", "t/b", "t/c"])
    assert project.building("t/c").code == 0
    path = project.tree / "t/a/build.yaml"
    path.write_text(path.read_text() + "# says nothing new\n")
    said = project.run("explain", "--tree", "packages", "t/c").value["nodes"]
    verdicts = {n["name"]: (n["verdict"], n["reasons"]) for n in said}
    assert verdicts["a"] == ("build", ["a file of its folder changed: build.yaml"])
    assert verdicts["b"][0] == "may be cut off"
    again = project.building("t/c")
    assert again.states() == {"seed/base": "cached", "t/a": "built", "t/b": "cached", "t/c": "cached"}
    assert "early cut-off" in again.node("t/b")["reason"]
    after = project.run("explain", "--tree", "packages", "t/c").value["nodes"]
    assert {n["verdict"] for n in after} == {"hit"}
    assert "early cut-off" in next(n["reasons"][0] for n in after if n["name"] == "b")


def test_explain_names_the_files_that_changed(project: Project) -> None:
    folder = project.package("t/x", requires("seed/base") + "steps:\n- ls > /x\n", one="1", two="2", run__sh="")
    assert project.building("t/x").code == 0
    (folder / "one").write_text("3")
    (folder / "two").unlink()
    (folder / "three").mkdir()
    (folder / "run.sh").chmod(0o755)
    (node,) = [n for n in project.run("explain", "--tree", "packages", "t/x").value["nodes"] if n["name"] == "x"]
    said = "a file of its folder changed: one, run.sh, three (new), two (gone)"
    assert (node["verdict"], node["reasons"]) == ("build", [said])
    assert project.building("t/x").node("t/x")["reason"] == said
    for number in range(9):
        (folder / f"more{number}").touch()
    (node,) = [n for n in project.run("explain", "--tree", "packages", "t/x").value["nodes"] if n["name"] == "x"]
    assert node["reasons"][0].endswith("more4 (new) and 4 more")


def test_a_changed_result_is_handed_on(project: Project) -> None:
    chain(project, ["t/a", "t/b"], "steps:\n- test -e /a && cat /a > /{short} || echo first > /{short}\n")
    assert project.building("t/b").code == 0
    before = project.text("b-t-1.0", "b")
    path = project.tree / "t/a/build.yaml"
    path.write_text(path.read_text().replace("echo first", "echo other"))
    again = project.building("t/b")
    assert again.states()["t/b"] == "built"
    assert before == "first\n"
    assert project.text("b-t-1.0", "b") == "other\n"


def test_steps_see_their_context_and_their_names(project: Project) -> None:
    project.package(
        "t/x",
        requires("seed/base") + "env:\n- 'GREETING=\"hello $PACKAGE_NAME\"'\n- PATH=$PATH:/opt/bin\n"
        "prelude:\n- cd /etc; export LOST=1\n- 'pwd > /prelude; echo \"lost=$LOST\" >> /prelude'\n"
        "steps:\n- cp note.txt /note\n"
        '- echo "$GREETING $PACKAGE_VERSION $PACKAGE_CATEGORY $BASE $PATH" > /said\n',
        version="2.5+1", note__txt="from the context\n",
    )  # fmt: skip
    assert project.building("t/x").code == 0
    assert project.text("x-t-2.5+1", "note") == "from the context\n"
    said = project.text("x-t-2.5+1", "said")
    assert said == "hello x 2.5+1 t yes /bin:/usr/bin:/opt/bin:/opt/bin\n"
    assert set(project.content("x-t-2.5+1")) == {"note", "said"}


def test_delta_counts_what_it_leaves_out(project: Project) -> None:
    steps = "steps:\n- echo changed > /etc/conf\n- rm /etc/gone\n- echo new > /etc/fresh\n"
    project.package("t/under", requires("seed/base") + "steps:\n- echo 1 > /etc/conf; echo 2 > /etc/gone\n")
    project.package("t/additions", requires("t/under") + steps)
    project.package("t/changes", requires("t/under") + "delta: changes\n" + steps)
    assert project.building("t/additions", "t/changes").code == 0
    assert set(project.content("additions-t-1.0")) == {"etc", "etc/fresh"}
    assert left_out(project, "additions-t-1.0") == ["etc/conf", "etc/gone"]
    assert left_out(project, "changes-t-1.0") == ["etc/gone"]
    assert set(project.content("changes-t-1.0")) == {"etc", "etc/fresh", "etc/conf"}


def left_out(project: Project, fingerprint: str) -> list[str]:
    import yaml

    metadata = yaml.safe_load((project.build / f"{fingerprint}.metadata.yaml").read_text())
    return list(metadata["treebuild"]["left_out"])


def test_filters_package_dir_and_subpackages(project: Project) -> None:
    make = "steps:\n- mkdir -p /out/bin /out/doc; echo b > /out/bin/b; echo d > /out/doc/d; ln /out/bin/b /out/bin/b2\n"
    project.package("t/dir", requires("seed/base") + make + "package_dir: /out\n")
    project.package("t/inc", requires("seed/base") + make + "includes: [/out/bin]\nexcludes: [b2$]\n")
    subs = "subpackages:\n- {category: t, name: doc, version: '1', includes: [/out/doc]}\n"
    project.package("t/sub", requires("seed/base") + make + subs)
    done = project.building("t/dir", "t/inc", "t/sub")
    assert done.code == 0, done.stderr
    assert set(project.content("dir-t-1.0")) == {"bin", "bin/b", "bin/b2", "doc", "doc/d"}
    assert project.content("dir-t-1.0")["bin/b2"].linkname == "bin/b"
    assert set(project.content("inc-t-1.0")) == {"out", "out/bin", "out/bin/b"}
    assert set(project.content("doc-t-1")) == {"out", "out/doc", "out/doc/d"}
    assert "out/bin/b" in project.content("sub-t-1.0")


def test_a_package_dir_that_is_not_there_is_a_warning(project: Project) -> None:
    project.package("t/x", requires("seed/base") + "steps:\n- echo > /x\npackage_dir: /usr/bim\n")
    done = project.building("t/x")
    assert done.code == 0
    assert "warning: packages/t/x/build.yaml:5: t/x-1.0: package_dir /usr/bim holds nothing" in done.stderr
    assert project.content("x-t-1.0") == {}


def test_filters_that_take_all_of_a_package_dir_are_named(project: Project) -> None:
    steps = "steps:\n- mkdir /out; echo > /out/app\npackage_dir: /out\n"
    for name, filters, said in (
        ("t/in", "includes:\n- ^/out/app$\n", "includes keep nothing of package_dir /out"),
        ("t/ex", "excludes:\n- app\n", "excludes keep nothing of package_dir /out"),
    ):
        project.package(name, requires("seed/base") + steps + filters)
        done = project.building(name)
        assert done.code == 0
        (warning,) = [line for line in done.stderr.splitlines() if "is empty" in line]
        assert f"build.yaml:6: {name}-1.0: {said}: the package is empty" in warning
        assert "/out/out/app" in warning
    project.package("t/in", requires("seed/base") + steps + "includes:\n- ^/out/out/app$\n")
    assert "is empty" not in project.building("t/in").stderr


def test_a_destination_may_have_any_name(project: Project) -> None:
    chain(project, ["t/a"])
    name = os.fsdecode(b"na\xffme")
    for state in ("built", "cached"):
        done = project.run("build", "--tree", "packages", "--destination", name, "t/a")
        assert done.states()["t/a"] == state, done.stderr
    assert (project.top / name / "a-t-1.0.package.tar.zst").is_file()


def test_unpack_is_the_whole_image(project: Project) -> None:
    project.package("t/u", requires("seed/base") + "unpack: true\nexcludes: [^/luetbuild]\nsteps:\n- echo > /x\n")
    assert project.building("t/u").code == 0
    found = project.content("u-t-1.0")
    assert {"bin/busybox", "x", "tmp"} <= set(found)
    assert not any(name.startswith("luetbuild") for name in found)
    assert found["tmp"].mode == 0o1777


def test_final_images_are_joined(project: Project) -> None:
    project.package("t/shell", requires("seed/base") + "unpack: true\nexcludes: [^/luetbuild]\n")
    project.package("t/lib", requires("seed/base") + "steps:\n- mkdir /lib; echo 1 > /lib/l\n")
    runtime = "requires:\n- {category: t, name: lib, version: '>=0'}\n"
    project.package("t/app", requires("seed/base") + "steps:\n- echo a > /app\n", runtime)
    recipe = requires("t/app", "t/shell") + "requires_final_images: true\nsteps:\n- cat /app /lib/l > /both\n"
    project.package("t/os", recipe + "unpack: true\n")
    done = project.building("t/os")
    assert done.code == 0, done.stderr
    assert project.text("os-t-1.0", "both") == "a\n1\n"


def test_copy_from_a_package_and_an_image(project: Project) -> None:
    project.package("t/tool", requires("seed/base") + "steps:\n- mkdir -p /opt/t; echo tool > /opt/t/tool\n")
    folder = project.package(
        "t/x",
        requires("seed/base") + "copy:\n- package: {category: t, name: tool, version: '>=0'}\n  source: /opt/t/.\n"
        "  destination: /usr/lib/t\n- image: oci:art\n  source: /art\n  destination: /usr/share/\n"
        "unpack: true\nincludes: [^/usr/lib, ^/usr/share]\n",
    )
    write_layout(folder / "art", {"art": b"picture"}, applets=False)
    done = project.building("t/x")
    assert done.code == 0, done.stderr
    assert project.text("x-t-1.0", "usr/lib/t/tool") == "tool\n"
    assert project.text("x-t-1.0", "usr/share/art") == "picture"


def test_retrieve_an_artifact_of_the_plan(project: Project) -> None:
    project.package("t/one", requires("seed/base") + "steps:\n- echo 1 > /one\n")
    project.package(
        "t/two", requires("seed/base") + "retrieve: ['one-t-*.package.tar*']\nsteps:\n- ls one-t-* > /list\n"
    )
    done = project.building("t/two")
    assert done.code == 0, done.stderr
    assert project.text("two-t-1.0", "list") == "one-t-1.0.package.tar.zst\n"


def test_a_diamond_in_a_chain_and_merged(project: Project) -> None:
    chain(project, ["t/base"])
    for arm in ("left", "right"):
        project.package(f"t/{arm}", requires("t/base") + f"steps:\n- echo {arm} > /{arm}; ls / > /{arm}-saw\n")
    project.package("t/chained", requires("t/left", "t/right") + "steps:\n- cat /left /right > /both\n")
    project.package(
        "t/merged", "layering: merge\n" + requires("t/left", "t/right") + "steps:\n- cat /left /right > /b\n"
    )
    done = project.building("t/chained", "t/merged")
    assert done.code == 0, done.stderr
    assert project.text("chained-t-1.0", "both") == "left\nright\n"
    assert project.text("merged-t-1.0", "b") == "left\nright\n"
    assert "left" not in project.text("right-t-1.0", "right-saw").split()


def test_merged_arms_that_disagree_are_refused(project: Project) -> None:
    for arm in ("left", "right"):
        project.package(f"t/{arm}", requires("seed/base") + f"steps:\n- echo {arm} > /same\n")
    project.package("t/merged", "layering: merge\n" + requires("t/left", "t/right") + "steps:\n- echo > /x\n")
    done = project.building("t/merged")
    assert done.code == 2
    node = done.node("t/merged")
    assert "t/left-1.0 and t/right-1.0 both make /same" in node["reason"]
    assert node["error"]["where"] == "packages/t/merged/build.yaml:2"


def test_virtual_packages_pass_their_base_through(project: Project) -> None:
    project.package("t/virtual", "")
    project.package("t/meta", requires("seed/base", "t/virtual"))
    project.package("t/x", requires("t/meta") + "steps:\n- echo x > /x\n")
    done = project.building("t/x")
    assert done.code == 0, done.stderr
    assert set(project.content("x-t-1.0")) == {"x"}
    assert project.content("meta-t-1.0") == {}


def test_a_failure_takes_only_its_dependants(project: Project) -> None:
    project.package("t/bad", requires("seed/base") + "steps:\n- echo working\n- echo oops >&2; exit 3\n")
    project.package("t/after", requires("t/bad") + "steps:\n- echo > /after\n")
    project.package("t/good", requires("seed/base") + "steps:\n- echo > /good\n")
    done = project.building("t/after", "t/good")
    assert done.code == 2
    assert done.states() == {"seed/base": "built", "t/bad": "failed", "t/after": "skipped", "t/good": "built"}
    assert {node["name"]: node["seconds"] > 0 for node in done.value["nodes"] if node["state"] != "built"} == {
        "bad": True,
        "after": False,
    }
    assert "t/bad/build.yaml:5" in done.stderr
    assert "exit code 3" in done.stderr
    assert "oops" in done.stderr
    bad = project.tree / "t/bad/build.yaml"
    bad.write_text(bad.read_text().replace("exit 3", "exit 0"))
    again = project.building("t/after", "t/good")
    assert again.states() == {"seed/base": "cached", "t/bad": "built", "t/after": "built", "t/good": "cached"}


def test_a_failed_root_can_be_entered(project: Project) -> None:
    import subprocess

    project.package("t/bad", requires("seed/base") + "steps:\n- echo here > /trace; exit 1\n")
    words = (
        "build",
        "--tree",
        "packages",
        "--destination",
        "build",
        "--keep-failed-in",
        str(project.top / "kept"),
        "t/bad",
    )
    assert project.run(*words).code == 2
    done = project.run(*words)
    assert done.code == 2
    assert "failed with exit code 1" in done.stderr
    assert sorted(path.name for path in (project.top / "kept").iterdir()) == ["t-bad-1.0-1", "t-bad-1.0-2"]
    enter = next((project.top / "kept").glob("*/enter"))
    shown = subprocess.run([enter], input=b"cat /trace\n", capture_output=True, check=False)
    assert b"here" in shown.stdout, shown.stderr


def test_a_hanging_step_meets_its_limit(project: Project) -> None:
    project.package("t/slow", requires("seed/base") + "steps:\n- sleep 60\n")
    done = project.run("build", "--tree", "packages", "--step-timeout", "0.5", "t/slow")
    assert done.code == 2
    assert "took longer than 0.5 s" in done.stderr


def test_not_reproducible_steps_are_found(project: Project) -> None:
    project.package("t/x", requires("seed/base") + "steps:\n- head -c 8 /dev/urandom > /noise\n")
    assert project.building("t/x").code == 0
    done = project.run("build", "--tree", "packages", "--destination", "build", "--rebuild", "t/x")
    assert done.code == 2
    assert "/noise" in done.node("t/x")["reason"]


def test_network_none_has_no_network(project: Project) -> None:
    project.package("t/x", requires("seed/base") + "network: none\nsteps:\n- cat /proc/net/dev > /dev.txt\n")
    assert project.building("t/x").code == 0
    lines = project.text("x-t-1.0", "dev.txt").splitlines()[2:]
    assert [line.split(":")[0].strip() for line in lines] == ["lo"]


def test_what_lies_in_the_destination_counts_for_a_retrieve(project: Project) -> None:
    project.package("t/x", requires("seed/base") + "retrieve: ['ext*']\nsteps:\n- cat ext* > /o\n")
    project.build.mkdir()
    (project.build / "ext1").write_text("one\n")
    assert project.building("t/x").code == 0
    assert project.text("x-t-1.0", "o") == "one\n"
    (project.build / "ext1").write_text("other\n")
    assert project.building("t/x").states()["t/x"] == "built"
    (project.build / "ext2").write_text("two\n")
    assert project.building("t/x").states()["t/x"] == "built"
    assert project.text("x-t-1.0", "o") == "other\ntwo\n"
    assert project.building("t/x").states()["t/x"] == "cached"


def test_a_large_file_to_retrieve_is_not_held_in_memory(project: Project) -> None:
    project.package("t/x", requires("seed/base") + "retrieve: ['large']\nsteps:\n- ls\n")
    project.build.mkdir()
    with (project.build / "large").open("wb") as file:
        file.truncate(96 << 20)
    tracemalloc.start()
    try:
        done = project.run("tree", "graph", "--tree", "packages")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert done.code == 0, done.stderr
    assert peak < 48 << 20


def test_a_context_changed_meanwhile_is_no_result(project: Project) -> None:
    project.package("t/first", requires("seed/base") + "steps:\n- sleep 2\n")
    folder = project.package("t/x", requires("t/first") + "steps:\n- cat data > /o\n", data="planned\n")
    words = ["build", "--tree", "packages", "--destination", "build", "--concurrency", "1", "t/x"]
    process = project.process(*words)  # with more threads an idle one would have taken the context before
    while not any((project.top / "cache" / "logs").glob("build-t-first*")):
        assert process.poll() is None
        time.sleep(0.01)
    (folder / "data").write_text("changed\n")
    _, said = process.communicate(timeout=300)
    assert process.returncode == 2
    assert b"was changed while the build ran" in said
    (folder / "data").write_text("planned\n")
    assert project.building("t/x").code == 0
    assert project.text("x-t-1.0", "o") == "planned\n"


def test_a_package_without_content_waits_for_what_it_names(project: Project) -> None:
    project.package("t/bad", requires("seed/base") + "steps:\n- exit 1\n")
    project.package("t/meta", requires("t/bad"))
    done = project.building("t/meta")
    assert done.code == 2
    assert done.states() == {"seed/base": "built", "t/bad": "failed", "t/meta": "skipped"}
    error = done.node("t/bad")["error"]
    assert (error["exit_status"], error["step"]) == (1, "exit 1")
    assert Path(error["log"]).is_file()


def test_a_file_changed_during_a_build_is_built_the_next_time(project: Project) -> None:
    folder = project.package("t/slow", requires("seed/base") + "steps:\n- sleep 1\n- cat data > /o\n", data="one\n")
    process = project.process("build", "--tree", "packages", "--destination", "build", "t/slow")
    while not any((project.top / "cache" / "logs").glob("build-t-slow*")):
        assert process.poll() is None
        time.sleep(0.01)
    (folder / "data").write_text("two\n")  # it was copied already
    process.communicate(timeout=300)
    assert process.returncode == 0
    assert project.text("slow-t-1.0", "o") == "one\n"
    assert project.building("t/slow").code == 0
    assert project.text("slow-t-1.0", "o") == "two\n"
