"""Signed images from the command line: published, verified by `key verify`, refused with a reason."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests import schemas
from tests.trees import Project, requires
from treebuilder.cli.main import main
from treebuilder.oci.layerimage import MANIFEST
from treebuilder.oci.remote import Repository
from treebuilder.system.process import Cancel
from treebuilder.trust import cosign

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("no_logins")]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path)
    made.base()
    made.package("t/root", requires("seed/base") + "unpack: true\nsteps:\n- echo hello > /hello\n")
    for name, words in (("team", ()), ("else", ()), ("index", ("--type", "ed25519"))):
        key(tmp_path, "new", f"{name}.key", *words)
    return made


def key(top: Path, *words: str) -> tuple[int, dict[str, Any], str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(top):
        code = main(["key", *words, "--quiet", "--json"])
    return code, json.loads(out.getvalue() or "{}"), err.getvalue()


def reason(top: Path, *words: str) -> str:
    code, value, err = key(top, "verify", *words)
    assert code == 2, err
    return str(value["error"]["reason"])


def test_a_published_repository_is_verified(address: str, project: Project) -> None:
    assert project.building("t/root").code == 0
    where = f"{address}/team/os"
    words = (
        "create-repo", "--tree", "packages", "--packages", "build", "--name", "os", "--type", "docker",
        "--output", where, "--push-images", "--sign",
    )  # fmt: skip
    only_index = project.run(*words, "index.key")
    assert only_index.code == 0, only_index.stderr
    assert "no image" in only_index.stderr
    assert reason(project.top, "--key", "team.key.pub", f"{where}:root-t-1.0") == "unsigned"

    done = project.run(*words, "team.key", "--sign", "index.key")
    assert done.code == 0, done.stderr
    assert len(done.value["signed"]) == 2
    assert project.run(*words, "team.key", "--sign", "index.key").value["pushed"] == 0
    for tag in ("root-t-1.0", "repository.yaml"):
        code, value, err = key(project.top, "verify", "--key", "team.key.pub", f"{where}:{tag}")
        assert code == 0, err
        assert schemas.faults(value, schemas.load("key-verify")) == []
        assert [each["form"] for each in value["signatures"]] == ["tag", "bundle"]
        code, again, err = key(project.top, "verify", "--key", "team.key", f"{where}@{value['image']}")
        assert (code, again["signers"]) == (0, value["signers"]), err
    assert reason(project.top, "--key", "else.key.pub", f"{where}:root-t-1.0") == "wrong-signature"


def test_final_images_are_signed(address: str, project: Project) -> None:
    where = f"{address}/team/images"
    words = ("--push-final-images", "--push-final-images-repository", where)
    refused = project.building("t/root", *words, "--sign", "index.key")
    assert (refused.code, refused.value["error"]["reason"]) == (1, "key-type")
    done = project.building("t/root", *words, "--sign", "team.key")
    assert done.code == 0, done.stderr
    code, _, err = key(project.top, "verify", "--key", "team.key.pub", f"{where}:root-t-1.0")
    assert code == 0, err

    # another image under its tag, with the first one's signature beside it
    place = Repository(address, "team/images", True, Cancel())
    signed, manifest = place.manifest("root-t-1.0", None)
    other = place.put_manifest("root-t-1.0", json.dumps(manifest, indent=1).encode(), MANIFEST)
    assert reason(project.top, "--key", "team.key.pub", f"{where}:root-t-1.0") == "unsigned"
    _, signature = place.manifest(cosign.signature_tag(signed), None)
    signature["layers"] *= 40
    place.put_manifest(cosign.signature_tag(other), json.dumps(signature).encode(), MANIFEST)
    assert reason(project.top, "--key", "team.key.pub", f"{where}:root-t-1.0") == "wrong-signature"
    _, said, _ = key(project.top, "verify", "--key", "team.key.pub", f"{where}:root-t-1.0")
    assert len(str(said["error"]["message"])) < 600, "each reason is named once"

    # a tag that is kept is not signed as if it were ours
    assert project.building("t/root", *words, "--sign", "team.key").code == 0
    assert reason(project.top, "--key", "team.key.pub", f"{where}:root-t-1.0") == "wrong-signature"


def test_bad_input_is_told(address: str, project: Project) -> None:
    assert key(project.top, "verify", f"{address}/a/b:c")[0] == 1  # no key
    assert key(project.top, "verify", "--key", "none.pub", f"{address}/a/b:c")[0] == 1
    assert key(project.top, "show", "team.key", "--key", "team.key.pub")[0] == 1
    assert key(project.top, "verify", "--key", "team.key.pub", f"{address}/a/b:c")[0] == 2  # no image
    assert key(project.top, "verify", "--key", "team.key.pub", "not a reference")[0] == 2
    unused = project.building("t/root", "--sign", "team.key")
    assert unused.code == 0
    assert "--sign has no effect without --push-final-images, --push or --cache-to" in unused.stderr
