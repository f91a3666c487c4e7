"""From a tree to a root and to an ISO, by the commands; and a second author's tree on a published repository."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from tests.trees import Project, requires

pytestmark = pytest.mark.engine


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "project")
    made.top.mkdir()
    made.base()
    return made


def create(project: Project, *words: str) -> dict[str, Any]:
    done = project.run("create-repo", "--tree", "packages", "--name", "mine", *words)
    assert done.code == 0, done.stderr
    return done.value


def system(project: Project) -> None:
    """Just enough of a system for an ISO."""
    steps = [
        "mkdir -p /sbin /boot", "echo init > /sbin/init", "echo NAME=x > /etc/os-release",
        "echo kernel > /boot/vmlinuz", "echo initrd > /boot/initrd",
    ]  # fmt: skip
    project.package("os/tiny", requires("seed/base") + "steps:\n" + "".join(f"- {step}\n" for step in steps))
    loader = "- mkdir -p /boot/syslinux && head -c 4096 /dev/zero > /boot/syslinux/isolinux.bin\n"
    project.package("live/loader", requires("seed/base") + f"steps:\n{loader}includes:\n- ^/boot/\n")
    (project.top / "iso.yaml").write_text(
        "packages: {rootfs: [os/tiny], isoimage: [live/loader]}\n"
        "initramfs: {kernel_file: vmlinuz, rootfs_file: initrd}\n"
        "image_prefix: tiny\n"
        "luet: {repositories: [{name: mine, type: disk, urls: [build]}]}\n"
    )
    assert project.building("os/tiny", "live/loader").code == 0


def test_a_tree_becomes_a_root(project: Project) -> None:
    project.package("lib/a", requires("seed/base") + "steps:\n- echo a > /usr/a\n")
    project.package("app/b", requires("lib/a") + "steps:\n- echo b > /usr/b\n", definition=requires("lib/a"))
    assert project.building("app/b").code == 0
    report = create(project)
    assert (report["revision"], report["changed"]) == (1, True)
    assert create(project)["changed"] is False
    (project.top / "root").mkdir()
    done = project.run("install", "--system-target", "root", "--local", "build", "app/b")
    assert done.code == 0, done.stderr
    assert [(p["name"], p["repository"], p["files"]) for p in done.value["installed"]] == [
        ("a", "mine", 1), ("b", "mine", 1)
    ]  # fmt: skip
    assert (project.top / "root/usr/b").read_text() == "b\n"
    again = project.run("install", "--system-target", "root", "--local", "build", "app/b")
    assert (again.code, again.value["installed"]) == (0, [])


def test_refusals_have_their_reasons(project: Project) -> None:
    (project.top / "root").mkdir()
    for words, code, reason in (
        (("install", "--system-target", "root", "app/x"), 2, "no-repository"),
        (("install", "--system-target", "root", "--local", "nothing", "app/x"), 2, "no-repository"),
        (("create-repo", "--tree", "packages", "--packages", "nothing"), 2, "missing-packages"),
        (("create-repo", "--tree", "packages", "--packages", ".", "--type", "docker"), 1, "repository-type"),
        (("iso", "nothing.yaml"), 2, "missing-spec"),
        (("boot", "nothing.iso"), 1, "missing-image"),
        (("boot", "nothing.iso", "--http", "path"), 1, "configuration"),
    ):
        done = project.run(*words)
        assert (done.code, done.value["error"]["reason"]) == (code, reason), (words, done.stderr)


def test_an_iso_is_made_once(project: Project) -> None:
    system(project)
    create(project)
    first = project.run("iso", "iso.yaml")
    assert first.code == 0, first.stderr
    (image,) = first.value["images"]
    path = project.top / "tiny.iso"
    assert (image["path"], image["state"]) == ("tiny.iso", "built")
    assert image["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    before = path.stat().st_mtime_ns
    second = project.run("iso", "iso.yaml", "--local", "build").value["images"][0]
    assert (second["state"], second["sha256"]) == ("cached", image["sha256"])
    assert path.stat().st_mtime_ns == before
    with path.open("r+b") as out:
        out.seek(40_000)
        out.write(b"rot")
    third = project.run("iso", "iso.yaml").value["images"][0]
    assert (third["state"], third["sha256"]) == ("built", image["sha256"])


def test_an_iso_follows_its_inputs(project: Project) -> None:
    system(project)
    create(project)
    first = project.run("iso", "iso.yaml", "-o", "out/a.iso").value["images"][0]
    assert first["path"] == "out/a.iso"
    spec = project.top / "iso.yaml"
    (project.top / "extra").mkdir()
    (project.top / "extra/file").write_text("1")
    spec.write_text(spec.read_text() + "overlay: {rootfs: extra}\n")
    overlaid = project.run("iso", "iso.yaml", "-o", "out/a.iso").value["images"][0]
    assert overlaid["state"] == "built"
    assert overlaid["sha256"] != first["sha256"]
    (project.top / "extra/file").write_text("2")
    changed = project.run("iso", "iso.yaml", "-o", "out/a.iso").value["images"][0]
    assert changed["sha256"] not in (first["sha256"], overlaid["sha256"])


def test_a_local_repository_comes_before_one_that_is_not_there_yet(project: Project) -> None:
    system(project)
    create(project)
    os.rename(project.build, project.top / "elsewhere")
    missing = project.run("iso", "iso.yaml")
    assert missing.value["error"]["reason"] == "no-repository"
    assert missing.value["error"]["where"]["file"] == "iso.yaml"
    assert project.run("iso", "iso.yaml", "--local", "elsewhere").code == 0


def test_an_image_layout_can_be_the_root(project: Project) -> None:
    from tests.trees import write_layout

    system(project)
    create(project)
    files = dict.fromkeys(("sbin/init", "usr/lib/os-release", "boot/vmlinuz", "boot/initrd"), b"x")
    write_layout(project.top / "image", files)
    done = project.run("iso", "iso.yaml", "--image", "oci:image", "-o", "image.iso")
    assert done.code == 0, done.stderr
    assert project.run("iso", "iso.yaml", "--image", "quay.io/x/y").value["error"]["reason"] == "image"


def derivative(project: Project, tmp_path: Path) -> Project:
    """A second author, with a cache of their own, on the first one's repository."""
    create(project)
    other = Project(tmp_path / "other")
    other.top.mkdir()
    (other.top / ".luet.yaml").write_text(
        f"repositories:\n- {{name: mine, type: disk, enable: true, urls: [{project.build}]}}\n"
    )
    return other


def test_a_repository_stands_in_for_what_is_joined(project: Project, tmp_path: Path) -> None:
    project.package("lib/a", requires("seed/base") + "steps:\n- echo a > /usr/a\n")
    project.package("app/b", requires("lib/a") + "steps:\n- echo b > /usr/b\n", definition=requires("lib/a"))
    project.package("os/box", "image: oci:box\nunpack: true\n")
    from tests.trees import write_layout

    write_layout(project.tree / "os/box/box")
    assert project.building("app/b", "os/box").code == 0
    other = derivative(project, tmp_path)
    recipe = (
        requires("app/b", "os/box") + "requires_final_images: true\nunpack: true\nsteps:\n- cat /usr/a /usr/b > /both\n"
    )
    other.package("my/os", recipe)
    done = other.run("build", "--from-repositories", "--tree", "packages", "my/os")
    assert done.code == 0, done.stderr
    assert done.states() == {"my/os": "built"}
    assert other.text("os-my-1.0", "both") == "a\nb\n"
    again = other.run("build", "--from-repositories", "--tree", "packages", "--all")
    assert again.states() == {"my/os": "cached"}


def test_recipes_of_a_repository_are_built_on(project: Project, tmp_path: Path) -> None:
    project.package("lib/a", requires("seed/base") + "steps:\n- echo a > /usr/a\n")
    assert project.building("lib/a").code == 0
    other = derivative(project, tmp_path)
    other.package("my/app", requires("lib/a") + "steps:\n- cat /usr/a > /usr/mine\n")
    done = other.run("build", "--from-repositories", "--tree", "packages", "my/app")
    assert done.code == 0, done.stderr
    assert other.text("app-my-1.0", "usr/mine") == "a\n"
    assert [path.name for path in other.build.glob("*.package.*")] == ["app-my-1.0.package.tar.zst"]


def test_a_local_recipe_replaces_its_equal(project: Project, tmp_path: Path) -> None:
    project.package("lib/a", requires("seed/base") + "steps:\n- echo theirs > /usr/a\n")
    assert project.building("lib/a").code == 0
    other = derivative(project, tmp_path)
    other.package("lib/a", requires("seed/base") + "steps:\n- echo ours > /usr/a\n")
    assert other.run("build", "--from-repositories", "--tree", "packages", "lib/a").code == 0
    assert other.text("a-lib-1.0", "usr/a") == "ours\n"


def test_a_target_must_be_ones_own(project: Project, tmp_path: Path) -> None:
    project.package("lib/a", requires("seed/base") + "steps:\n- echo a > /usr/a\n")
    assert project.building("lib/a").code == 0
    other = derivative(project, tmp_path)
    other.package("my/app", requires("lib/a") + "steps:\n- echo x > /x\n")
    done = other.run("build", "--from-repositories", "--tree", "packages", "lib/a")
    assert done.value["error"]["reason"] == "unknown-package"


def test_a_damaged_artifact_is_not_joined(project: Project, tmp_path: Path) -> None:
    project.package("lib/a", requires("seed/base") + "steps:\n- echo a > /usr/a\n")
    assert project.building("lib/a").code == 0
    other = derivative(project, tmp_path)
    other.package("my/os", requires("lib/a") + "requires_final_images: true\nunpack: true\n")
    archive = project.build / "a-lib-1.0.package.tar.zst"
    archive.write_bytes(archive.read_bytes()[:-1])
    done = other.run("build", "--from-repositories", "--tree", "packages", "my/os")
    assert done.code == 2
    assert not list(other.build.glob("*.package.*"))


def test_a_recipe_has_one_key_wherever_its_tree_stands(project: Project, tmp_path: Path) -> None:
    """A layout inside the tree is named by an absolute path: that path must not be in the key."""
    from tests.trees import write_layout

    project.package("lib/a", requires("seed/base") + "copy:\n- {image: 'oci:pic', source: /x, destination: /y}\n")
    write_layout(project.tree / "lib/a/pic", {"x": b"x"}, applets=False)
    first = project.building("lib/a").node("lib/a")
    os.rename(project.tree, project.top / "moved")
    done = project.run("build", "--tree", "moved", "--destination", "build", "lib/a").node("lib/a")
    assert (done["plan_key"], done["state"]) == (first["plan_key"], "cached")


@pytest.mark.parametrize(("word", "line"), [("os/none", 3), ("os/", 3)])
def test_a_package_of_a_spec_that_nobody_has(project: Project, word: str, line: int) -> None:
    system(project)
    create(project)
    (project.top / "iso.yaml").write_text(
        f"packages:\n  rootfs:\n  - {word}\n  isoimage: [live/loader]\nimage_prefix: tiny\n"
        "initramfs: {kernel_file: vmlinuz, rootfs_file: initrd}\n"
    )
    done = project.run("iso", "iso.yaml", "--local", "build")
    assert done.code == 2
    assert done.value["error"]["where"] == {"file": "iso.yaml", "line": line}, done.stderr


def test_an_iso_may_have_any_name(project: Project) -> None:
    system(project)
    create(project)
    name = os.fsdecode(b"na\xffme.iso")
    for state in ("built", "cached"):
        done = project.run("iso", "iso.yaml", "--local", "build", "--output", name)
        assert done.code == 0, done.stderr
        assert [(image["path"], image["state"]) for image in done.value["images"]] == [(name, state)]
