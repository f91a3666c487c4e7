"""Specfiles as the trees of cOS, Kairos and mocaccinoOS write them: nothing of them is a fault, and all means what it
does to luet. `found/odd` has what YAML and templates allow besides."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from treebuilder.cli.main import main
from treebuilder.events import Silent
from treebuilder.tree import TreePackage, load_tree

Said = Callable[..., str]
FOUND = Path(__file__).parent / "found"
LISTED = """\
app/go-1.17.5
dev-libs/libfoo-1.2.3_p20200101-r1+2
kernel/mocaccino-full-5.10.1
kernel/mocaccino-sources-5.10.1
layers/sabayon-0.1
odd/Case-1
odd/anch-1.0
odd/bom-1
odd/dup-2
odd/dup-more-2
odd/img-1
odd/jn-1
odd/multi-2020-01-02
odd/other-3
odd/other-more-3
odd/retr-1
odd/seed-1
odd/sub-1+3
odd/sub-a-1+3
odd/sub-b-1+3
odd/tabs-1
provider-kairos/k3s-0-1.0.0+0
provider-kairos/k3s-1-1.1.0+1
provider-kairos/k3s-2-1.2.0+2
recovery/cos-0.8.14-1
recovery/cos-container-0.8.14-1
system/cos-0.8.14-1
system/cos-setup-0.4.10+3
system/meta-0.2+12
"""
REQUIRED = """\
system/cos-setup-0.4.10+3 required for recovery/cos-0.8.14-1
system/meta-0.2+12 required for recovery/cos-0.8.14-1
recovery/cos-container-0.8.14-1 required for recovery/cos-0.8.14-1
system/cos-setup-0.4.10+3 required for kernel/mocaccino-full-5.10.1
system/meta-0.2+12 required for kernel/mocaccino-full-5.10.1
kernel/mocaccino-sources-5.10.1 required for kernel/mocaccino-full-5.10.1
odd/dup-2 required for odd/jn-1
odd/img-1 required for odd/jn-1
"""


@pytest.fixture
def said(tmp_path: Path) -> Said:
    """What a command says, on both streams, where nothing is wrong."""

    def run(words: str, program: str = "treebuild") -> str:
        out = io.StringIO()
        line = ["luet"] if program == "luet" else []
        line += [*words.split(), "--tree", str(FOUND), "--cache-dir", str(tmp_path)]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), contextlib.chdir(tmp_path):
            code = main(line)
        assert code == 0, out.getvalue()
        return out.getvalue()

    return run


@pytest.fixture(scope="module")
def packages() -> dict[str, TreePackage]:
    return {str(found.package.id): found for found in load_tree([FOUND], events=Silent()).packages}


def steps(found: TreePackage) -> list[str]:
    return [step.command for step in found.recipe.steps]


@pytest.mark.parametrize("flags", ["-s", "--only-runtime", "--only-buildtime", "-s --plan"])
def test_nothing_is_wrong_with_them(said: Said, flags: str) -> None:
    assert said(f"tree validate {flags}") == "27 packages, 0 faults\n"


def test_the_packages_are_those_that_luet_finds(said: Said) -> None:
    assert said("tree pkglist -v") == LISTED
    needed = said("tree pkglist --deps -b -m recovery/cos$").split()
    assert needed == ["system/cos-setup", "system/meta", "recovery/cos-container", "recovery/cos"]


def test_what_they_are_built_on(said: Said) -> None:
    assert said("build --pretend recovery/cos kernel/mocaccino-full odd/jn") == REQUIRED
    shown = said("tree images recovery/cos", "luet").splitlines()  # it has requires_final_images
    assert [line.partition(":")[0] for line in shown] == ["recovery/cos-0.8.14-1"]


def test_templates_see_what_luets_see(packages: dict[str, TreePackage]) -> None:
    found = packages["recovery/cos-0.8.14-1"]
    assert [str(ref) for ref in found.recipe.requires] == ["system/meta >=0", "recovery/cos-container >=0.8.14-1"]
    assert [step.command for step in found.recipe.prelude] == ["zypper in -y squashfs xorriso"]
    assert steps(found)[2] == "echo folded text"
    assert 'IMAGE_NAME="cOS recovery"' in steps(packages["recovery/cos-container-0.8.14-1"])[1]
    assert [str(ref) for ref in packages["system/cos-0.8.14-1"].recipe.requires] == ["system/meta >=0"]

    found = packages["system/cos-setup-0.4.10+3"]
    assert found.recipe.image == "quay.io/costoolkit/toolchain:3"
    assert steps(found) == ["echo 0 1", "echo 1 2", "echo 2 map[c:d]"]
    assert steps(packages["app/go-1.17.5"]) == ["true"]

    found = packages["provider-kairos/k3s-2-1.2.0+2"]
    assert found.recipe.env == ("GITHUB_OWNER=kairos-io", "REPO=provider-kairos", "VERSION=1.2.0+2", "JOBS=3")
    assert steps(found)[-1] == "echo 2 2"

    assert steps(packages["kernel/mocaccino-full-5.10.1"]) == ["make x86_64", "make install"]
    assert [str(ref) for ref in packages["kernel/mocaccino-sources-5.10.1"].recipe.requires] == ["system/meta >=0"]
    found = packages["dev-libs/libfoo-1.2.3_p20200101-r1+2"]
    assert found.recipe.env == ('USE="-a"', 'EMERGE_DEFAULT_OPTS="--jobs 5"')
    assert steps(found) == ["emerge -j  =dev-libs/libfoo-1.2.3_p20200101-r1"]


def test_odd_files_are_read_as_luet_reads_them(packages: dict[str, TreePackage]) -> None:
    sabayon = packages["layers/sabayon-0.1"]
    assert (sabayon.package.description, sabayon.recipe.prelude[0].command) == ("folded text\n", "a\nb\n")
    assert packages["odd/bom-1"].recipe.image == "alpine:3.20"
    assert steps(packages["odd/multi-2020-01-02"]) == ["echo 2020-01-02"]
    assert steps(packages["odd/tabs-1"]) == ["cat <<EOF\n\ta:\tb\nEOF\n"]
    assert [str(ref) for ref in packages["odd/anch-1.0"].recipe.requires] == ["odd/dup 2"]
    assert packages["odd/jn-1"].recipe.requires_final_images
    assert (packages["odd/Case-1"].recipe.package_dir, packages["odd/seed-1"].recipe.seed) == ("/x", "alpine:3.20")
    assert [sub.package.id.version for sub in packages["odd/sub-1+3"].recipe.subpackages] == ["1+3", "1+3"]
