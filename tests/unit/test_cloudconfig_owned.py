"""What root writes below folders of users: no link of theirs leads it anywhere else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.services import need
from treebuilder.cloudconfig.root import Root
from treebuilder.cloudconfig.stages import Runner
from treebuilder.cloudconfig.users import is_key
from treebuilder.errors import TreebuildError

ANN = 12345
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG ann"
SECRET = "root:$6$secret:1::::::\n"
KEYS = f"authorized_keys: {{ann: ['{KEY}']}}"
USERS = f"users: {{ann: {{ssh_authorized_keys: ['{KEY}']}}}}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    need(os.geteuid() == 0, "only root gives files away")
    made = tmp_path / "root"
    for name in ("etc", "root/.ssh", "home/ann"):
        (made / name).mkdir(parents=True)
    (made / "etc/passwd").write_text(f"root:x:0:0::/root:/bin/sh\nann:x:{ANN}:{ANN}::/home/ann:/bin/sh\n")
    (made / "etc/group").write_text(f"ann:x:{ANN}:\n")
    (made / "etc/shadow").write_text(SECRET)
    (made / "etc/shadow").chmod(0o600)
    os.chown(made / "home/ann", ANN, ANN)
    return made


def apply(root: Path, step: str) -> list[str]:
    runner = Runner(root)
    runner.read([f"stages: {{default: [{{{step}}}]}}"])
    runner.run("default")
    return [err.message for err in runner.errors]


def linked(at: Path, target: str, owner: int = ANN) -> None:
    at.parent.mkdir(exist_ok=True)
    at.symlink_to(target)
    os.chown(at, owner, owner, follow_symlinks=False)
    if at.parent.name == ".ssh":
        os.chown(at.parent, ANN, ANN)


def unharmed(root: Path) -> bool:
    """What is root's is as it was; `users` may have added a line for ann."""
    info = (root / "etc/shadow").stat()
    kept = (root / "etc/shadow").read_text().startswith(SECRET)
    inside = root / "root/.ssh"
    return kept and info.st_uid == 0 and inside.stat().st_uid == 0 and not list(inside.iterdir())


@pytest.mark.parametrize("step", [KEYS, USERS])
@pytest.mark.parametrize(
    ("at", "target"), [(".ssh/authorized_keys", "/etc/shadow"), (".ssh/authorized_keys", "../../../etc/shadow"),
                       (".ssh/authorized_keys", "/root/.ssh/authorized_keys"), (".ssh", "/root/.ssh"), (".ssh", "/etc")]
)  # fmt: skip
def test_keys_go_through_no_link_of_a_user(root: Path, step: str, at: str, target: str) -> None:
    linked(root / "home/ann" / at, target)
    assert apply(root, step) == [f"{root}/home/ann/{at} is left alone: it is a link that a user can have made"]
    assert unharmed(root)
    assert os.readlink(root / "home/ann" / at) == target


def test_a_link_that_root_made_in_a_folder_of_a_user_is_no_better(root: Path) -> None:
    linked(root / "home/ann/.ssh", "/root/.ssh", owner=0)
    assert len(apply(root, KEYS)) == 1
    assert unharmed(root)


def test_no_file_that_has_another_name_is_copied_and_no_pipe_is_waited_for(root: Path) -> None:
    folder = root / "home/ann/.ssh"
    folder.mkdir()
    os.chown(folder, ANN, ANN)
    (folder / "authorized_keys").hardlink_to(root / "etc/shadow")
    assert apply(root, KEYS) == [f"{folder}/authorized_keys is left alone: it is no file of its own"]
    (folder / "authorized_keys").unlink()
    os.mkfifo(folder / "authorized_keys")
    assert apply(root, KEYS) == [f"{folder}/authorized_keys is left alone: it is no file of its own"]
    assert unharmed(root)


def test_keys_are_given_away_with_their_folder(root: Path) -> None:
    assert apply(root, KEYS) == []
    file = root / "home/ann/.ssh/authorized_keys"
    assert file.read_text() == f"{KEY}\n"
    for path, mode in ((file, 0o600), (file.parent, 0o700)):
        info = path.stat()
        assert (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)) == (ANN, ANN, mode)


@pytest.mark.parametrize(
    "step",
    ["files: [{path: /home/ann/at, content: x, ownerstring: ann}]",
     "files: [{path: /home/ann/at, content: x, ownerstring: ann, append: true}]",
     "files: [{path: /home/ann/folder/shadow, content: x, ownerstring: ann}]",
     "directories: [{path: /home/ann/folder, ownerstring: ann, permissions: 0777}]",
     "directories: [{path: /home/ann/folder/new, ownerstring: ann}]",
     "downloads: [{path: /home/ann/at, url: 'http://127.0.0.1:1/x', ownerstring: ann}]"],
)  # fmt: skip
def test_files_and_folders_go_through_no_link_of_a_user(root: Path, step: str) -> None:
    linked(root / "home/ann/at", "/etc/shadow")
    linked(root / "home/ann/folder", "/etc")
    before = sorted(os.listdir(root / "etc")), (root / "etc").stat().st_mode
    assert [message.rpartition(": ")[2] for message in apply(root, step)] == ["it is a link that a user can have made"]
    assert unharmed(root)
    assert (sorted(os.listdir(root / "etc")), (root / "etc").stat().st_mode) == before


def test_links_where_everybody_writes(root: Path) -> None:
    """In /tmp one of root's is followed, and one of a user's is not; without the sticky bit none is."""
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    linked(root / "tmp/ours", "/etc", owner=0)
    linked(root / "tmp/hers", "/etc")
    assert Root(root).write_text("/tmp/ours/new", "x") == root / "etc/new"
    with pytest.raises(TreebuildError, match="hers is left alone"):
        Root(root).write_text("/tmp/hers/new", "y")
    (root / "tmp").chmod(0o777)
    with pytest.raises(TreebuildError, match="ours is left alone"):
        Root(root).write_text("/tmp/ours/new", "y")
    assert (root / "etc/new").read_text() == "x"


def test_a_root_that_is_a_users_own_has_its_links(root: Path) -> None:
    """Whoever owns the folder that is configured owns what is in it."""
    os.chown(root, ANN, ANN)
    linked(root / "home/ann/etc", "/etc")
    assert Root(root).write_text("/home/ann/etc/new", "x", owner=(ANN, -1)) == root / "etc/new"
    assert (root / "etc/new").stat().st_uid == ANN


def test_a_link_to_a_home_that_root_made_is_followed(root: Path) -> None:
    (root / "data").mkdir()
    (root / "home/ann").rename(root / "data/ann")
    linked(root / "home/ann", "/data/ann", owner=0)
    assert apply(root, KEYS) == []
    assert (root / "data/ann/.ssh/authorized_keys").read_text() == f"{KEY}\n"


@pytest.mark.parametrize("mark", ["\n", "\r", "\x0b", "\x0c", "\x1c", "\x1e", "\x7f", "\x85", "\u2028", "\u2029", "\0"])
def test_a_key_is_one_line(mark: str) -> None:
    assert is_key(KEY)
    assert is_key(f"{KEY} at home\tor \u00e4nywhere")
    assert not is_key(f"{KEY} a{mark}command=evil")
    assert not is_key(f"{KEY}{mark}")


@pytest.mark.parametrize("mark", ["\x0b", "\x1c", "\x85", "\u2028"])
def test_a_full_name_is_no_second_line(root: Path, mark: str) -> None:
    """A user may choose it by chfn."""
    line = f"ann:x:{ANN}:{ANN}:Ann{mark}root,,,:/home/ann:/bin/sh\n"
    (root / "etc/passwd").write_text(f"root:x:0:0::/root:/bin/sh\n{line}")
    assert apply(root, "users: {bob: {no_create_home: true}}") == []
    assert line in (root / "etc/passwd").read_text()
    assert (root / "etc/passwd").read_text().count("\n") == 3
