"""The module `git`: a repository cloned, or brought to what its branch has, by the program git.

What was changed in the folder by hand is gone then; files that git does not know stay. A folder that cannot be updated,
as after a power cut, gets a new repository in place of its old one. Names, passwords and keys are neither on a command
line nor in the repository, and passwords go to the server that the URL names alone.

A folder of another user is that user's affair, by whose settings git would run any program: git runs as that user, who
can read what `auth` says then. No hooks run.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from treebuilder.cloudconfig.ask import is_url, shown, split
from treebuilder.cloudconfig.files import path_of
from treebuilder.cloudconfig.machine import Machine
from treebuilder.errors import MissingProgram, ToolFailed, TreebuildError
from treebuilder.nodes import Node
from treebuilder.records import record
from treebuilder.system import process
from treebuilder.system.files import remove_tree

_LIMIT_S = 1800.0
_GIT, _NEW, _OLD = ".git", ".git.new", ".git.old"
_HELPER = '!f() { printf "username=%s\\npassword=%s\\n" "$YIP_GIT_NAME" "$YIP_GIT_PASSWORD"; }; f'


@record
class _Login:
    username: str = ""
    password: str = ""
    private_key: str = ""
    host_key: str = ""
    insecure: bool = False


@record
class _Wish:
    url: str
    inside: str
    branch: str
    branch_only: bool
    login: _Login


def git(node: Node, machine: Machine) -> None:
    """Raises MissingProgram, ToolFailed with what git says last."""
    wish = _read(node, machine)
    if machine.rehearsal:
        return
    program = process.which("git")
    if program is None:
        raise MissingProgram("git is needed for the module git, and is not there", hint="add it to the image")
    folder = _folder(wish.inside, machine)
    owner = folder.stat() if folder.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="yip-git-") as private:
        env = _environment(wish, Path(private))
        env["GIT_CEILING_DIRECTORIES"] = str(folder.parent)  # a repository around this one is not meant
        git = [program]
        if owner is not None and os.geteuid() == 0 and owner.st_uid != 0:
            git, env = _as(owner, program, Path(private)), {**env, "HOME": private}
        if owner is None:
            _clone(git, folder, wish, env)
        elif not any(folder.iterdir()) or any(os.path.lexists(folder / name) for name in (_GIT, _NEW, _OLD)):
            _refresh(git, folder, wish, env, machine, node)
        else:
            raise TreebuildError(f"{wish.inside} holds other things than a repository", reason="git")


def _folder(inside: str, machine: Machine) -> Path:
    """Where the folder is or will be. Raises TreebuildError (reason "path") for a user's link on the way."""
    if machine.root.locate(inside).is_dir():
        return machine.root.make_folders(inside)
    return machine.root.make_folders(str(Path(inside).parent)) / Path(inside).name


def _as(owner: os.stat_result, program: str, private: Path) -> list[str]:
    """The words that run git as the owner of the folder, who gets our private folder, too."""
    setpriv = process.require("setpriv", "to run git as the owner of a folder")
    for path in (*private.iterdir(), private):
        os.chown(path, owner.st_uid, owner.st_gid)
    ids = [f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups", "--no-new-privs"]
    return [setpriv, *ids, program]


def _clone(git: list[str], folder: Path, wish: _Wish, env: Mapping[str, str]) -> None:
    fresh = folder.with_name(f".{folder.name}.clone")
    remove_tree(fresh)  # of a run that was cut short
    try:
        _run([*git, *_clone_words(wish), "--", wish.url, str(fresh)], wish, env)
        os.rename(fresh, folder)
    finally:
        remove_tree(fresh)


def _clone_words(wish: _Wish) -> list[str]:
    words = ["clone", "--quiet"]
    words += ["--branch", wish.branch] if wish.branch else []
    return [*words, "--single-branch"] if wish.branch_only else words


def _refresh(
    git: list[str], folder: Path, wish: _Wish, env: Mapping[str, str], machine: Machine, node: Node
) -> None:  # fmt: skip
    """An update; where that fails, a repository from anew. Cut short at any point, the next run does it again."""
    there = [*git, "-C", str(folder)]
    if os.path.lexists(folder / _GIT):
        try:
            _update(there, wish, env)
            return
        except ToolFailed as err:
            machine.note(f"{err.message}; it is cloned anew", node.place)
    fresh, old = folder / _NEW, folder / _OLD
    remove_tree(fresh)
    try:
        _run([*git, *_clone_words(wish), "--no-checkout", "--", wish.url, str(fresh)], wish, env)
        remove_tree(old)
        if os.path.lexists(folder / _GIT):
            os.rename(folder / _GIT, old)
        os.rename(fresh / ".git", folder / _GIT)
        _run([*there, "reset", "--quiet", "--hard"], wish, env)
        remove_tree(old)
    finally:
        remove_tree(fresh)


def _read(node: Node, machine: Machine) -> _Wish:
    url = machine.render(machine.text(node, "url"), node.place)
    if not url:
        node.fail("url is missing", reason="missing-key")
    if is_url(url):
        split(url)
    elif url.startswith("-") or "::" in url:
        node.fail(f"{url!r} is no URL of a repository", reason="git")
    inside = path_of(node, machine)
    branch = machine.render(machine.text(node, "branch"), node.place)
    if branch.startswith("-"):
        node.fail(f"{branch!r} is no name of a branch", reason="git")
    auth = node.get("auth")
    login = _Login() if auth is None else _Login(
        machine.text(auth, "username"), machine.text(auth, "password"), machine.text(auth, "private_key"),
        machine.text(auth, "public_key"), auth.boolean("insecure"),
    )  # fmt: skip
    return _Wish(url, inside, branch, node.boolean("branch_only"), login)


def _update(git: list[str], wish: _Wish, env: Mapping[str, str]) -> None:
    """Fetches the branch, or what the server calls HEAD, and makes the folder equal to it."""
    _run([*git, "fetch", "--quiet", "--force", "--", wish.url, wish.branch or "HEAD"], wish, env)
    if wish.branch:
        _run([*git, "checkout", "--quiet", "--force", "-B", wish.branch, "FETCH_HEAD"], wish, env)
    else:
        _run([*git, "reset", "--quiet", "--hard", "FETCH_HEAD"], wish, env)


def _run(argv: list[str], wish: _Wish, env: Mapping[str, str]) -> None:
    try:
        process.run(argv, env=env, timeout_s=_LIMIT_S)
    except ToolFailed as err:
        faults = [line for line in err.tail if line.startswith(("fatal:", "error:"))]
        said = (faults or list(err.tail[-1:]) or [""])[0]
        said = said.replace(wish.url, shown(wish.url))
        raise ToolFailed(f"git and {shown(wish.url)}: {said or err.message}", exit_status=err.exit_status) from err


def _environment(wish: _Wish, private: Path) -> dict[str, str]:
    """What git is told. It asks nobody for a password, and starts no other program than ssh to reach a server."""
    login = wish.login
    env = {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "/bin/false", "GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file"}
    settings = [("core.hooksPath", "/dev/null"), ("core.fsmonitor", "false")]
    if (login.username or login.password) and is_url(wish.url):
        parts = split(wish.url)
        server = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        settings.append((f"credential.{server}.helper", _HELPER))
        env |= {"YIP_GIT_NAME": login.username, "YIP_GIT_PASSWORD": login.password}
    if login.insecure:
        env["GIT_SSL_NO_VERIFY"] = "1"
    env["GIT_SSH_COMMAND"] = _ssh(login, private)
    env["GIT_CONFIG_COUNT"] = str(len(settings))
    for number, (key, value) in enumerate(settings):
        env |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return env


def _ssh(login: _Login, private: Path) -> str:
    """The host's key is `public_key`, else what known_hosts has; any with `insecure`. The folder is ours alone."""
    words = ["ssh", "-o BatchMode=yes", "-o ConnectTimeout=30"]
    if login.private_key:
        key = private / "key"
        key.touch(mode=0o600)
        key.write_text(login.private_key.rstrip("\n") + "\n")
        words += [f"-i {key}", "-o IdentitiesOnly=yes"]
    if login.host_key:
        known = private / "known_hosts"
        known.write_text(f"* {login.host_key.strip()}\n")
        words += [f"-o UserKnownHostsFile={known}", "-o StrictHostKeyChecking=yes"]
    elif login.insecure:
        words += ["-o UserKnownHostsFile=/dev/null", "-o StrictHostKeyChecking=no"]
    else:
        words.append("-o StrictHostKeyChecking=yes")
    return " ".join(words)
