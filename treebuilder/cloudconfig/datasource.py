"""The module `datasource`: user data from where this machine runs (os-and-ota.md §6.4).

Providers on volumes and files are asked first, in the order written; then all services at once, of which the first in
the order written that answers is taken. The data goes to PATH/userdata, also to PATH/userdata.yaml where it is
cloud-config, and is run where it begins with `#!`. A name and keys go to /run/config, and are applied. Cloud-config
that was not there when this boot began is run for the stages that have gone by (`stages.Runner`).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from pathlib import Path
from threading import Thread

from treebuilder.cloudconfig.ask import Ask, is_url
from treebuilder.cloudconfig.config import Source, is_classic, parse, shlex_words
from treebuilder.cloudconfig.files import SECRET, unzip
from treebuilder.cloudconfig.machine import Machine
from treebuilder.cloudconfig.metadata import NOT_DONE, SERVICES, Instance, ask_service
from treebuilder.cloudconfig.network import hostname
from treebuilder.cloudconfig.users import add_keys, is_key
from treebuilder.cloudconfig.volumes import cdrom, config_drive, from_seed
from treebuilder.errors import Cancelled, Place, SpecError, ToolFailed, TransportError, TreebuildError
from treebuilder.nodes import Node
from treebuilder.records import record
from treebuilder.system.clock import monotonic_s, sleep
from treebuilder.system.files import sync_folder

_LOCAL = ("cdrom", "config-drive", "file")
_KNOWN = (*_LOCAL, "cmdline", *SERVICES)
_FOLDER = "/run/config"
_ROUNDS = 3  # a service may start after the network
_PAUSE_S = 2.0
_ROUND_S = 150.0  # more than any service takes; the resolver of names has no limit that could be set
_SEED = re.compile(r"nocloud(-net)?(;.*)?\Z")


@record
class _Wish:
    providers: tuple[str, ...]
    path: str
    name: str
    place: Place


def datasource(node: Node, machine: Machine) -> None:
    wish = _read(node, machine)
    if machine.rehearsal:
        return
    found = _local(wish, machine) or _remote(wish, machine)
    if found is None:
        raise TreebuildError(f"no provider has data: {', '.join(wish.providers)}", reason="datasource")
    with machine.attempt(wish.place):
        _keep_instance(found, wish.place, machine)
    if found.userdata:
        _keep_data(found.userdata, wish, machine)


def _read(node: Node, machine: Machine) -> _Wish:
    providers = []
    for item in node.children("providers"):
        with machine.attempt(item.place):
            name = machine.text_of(item, "a provider")
            if name in NOT_DONE:
                item.fail(f"the provider {name} is not there: {NOT_DONE[name]}", reason="unsupported")
            if name not in _KNOWN:
                item.fail(f"there is no provider {name!r}", hint=f"one of {', '.join(_KNOWN)}", reason="provider")
            providers.append(name)
    if not node.children("providers"):
        node.fail("datasource needs providers", hint=f"some of {', '.join(_KNOWN)}", reason="missing-key")
    path = machine.render(machine.text(node, "path"), node.place) or _FOLDER
    name = machine.text(node, "userdata_name") or "userdata"
    if "/" in name or name.startswith("."):
        node.fail(f"userdata_name {name!r} is no name of a file", reason="path")
    return _Wish(tuple(providers), path.rstrip("/"), name, node.place)


# asking -------------------------------------------------------------------------------------------------------------
def _local(wish: _Wish, machine: Machine) -> Instance | None:
    for provider in wish.providers:
        if provider not in _LOCAL:
            continue
        try:
            if provider != "file":
                return cdrom() if provider == "cdrom" else config_drive()
            data = machine.root.read(f"{wish.path}/{wish.name}")
            if data is not None:
                return Instance(provider, data)
        except Cancelled:
            raise
        except Exception as err:
            _pass_over(provider, _told(err), wish, machine)
    return None


def _remote(wish: _Wish, machine: Machine) -> Instance | None:
    asked = [provider for provider in wish.providers if provider not in _LOCAL]
    for number in range(_ROUNDS if asked else 0):
        if number:
            sleep(_PAUSE_S)
        answers = _ask_all(asked, machine)
        for provider in asked:
            answer = answers[provider]
            if isinstance(answer, Instance):
                return answer
            if number == _ROUNDS - 1 and isinstance(answer, TreebuildError):
                _pass_over(provider, answer, wish, machine)
    return None


def _ask_all(providers: list[str], machine: Machine) -> dict[str, Instance | TreebuildError]:
    answers: dict[str, Instance | TreebuildError] = {}

    def ask(provider: str) -> None:
        def get(wanted: Ask) -> bytes:
            return machine.fetch(wanted, tries=1)

        try:
            found = _cmdline(machine, get) if provider == "cmdline" else ask_service(provider, get)
            if found.userdata.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
                raise TreebuildError("it answers a page: something on the way is in its place", reason="metadata")
            answers[provider] = found
        except Exception as err:  # nothing that one of them answers ends the others
            answers[provider] = _told(err)

    threads = [Thread(target=ask, args=(provider,), daemon=True) for provider in providers]
    for thread in threads:
        thread.start()
    until = monotonic_s() + _ROUND_S
    for thread in threads:
        thread.join(max(0.0, until - monotonic_s()))
    late = TreebuildError("no answer in time", reason="metadata")
    return {provider: answers.get(provider, late) for provider in providers}


def _told(err: Exception) -> TreebuildError:
    return err if isinstance(err, TreebuildError) else TreebuildError(f"{type(err).__name__}: {err}", reason="metadata")


def _cmdline(machine: Machine, get: Callable[[Ask], bytes]) -> Instance:
    """The kernel's words cloud-config-url=URL, or ds=nocloud;s=URL/ as cloud-init has them."""
    for word in shlex_words(machine.root.read_text("/proc/cmdline")):
        key, _, value = word.partition("=")
        if key == "cloud-config-url" and is_url(value):
            return Instance("cmdline", get(Ask(value)))
        if key in ("ds", "ci.ds") and _SEED.match(value):
            fields = dict(field.partition("=")[::2] for field in value.split(";")[1:])
            seed = fields.get("s") or fields.get("seedfrom") or ""
            if is_url(seed):
                return from_seed("cmdline", get(Ask(f"{seed}user-data")), _optional(get, f"{seed}meta-data"))
    raise TreebuildError("the kernel's command line names no URL", reason="datasource")


def _optional(get: Callable[[Ask], bytes], url: str) -> bytes:
    try:
        return get(Ask(url))
    except TransportError as err:
        if err.status in (404, 410):
            return b""
        raise


def _pass_over(provider: str, err: TreebuildError, wish: _Wish, machine: Machine) -> None:
    machine.note(f"the provider {provider} was passed over: {err.message}", wish.place)


# keeping ------------------------------------------------------------------------------------------------------------
def _keep_instance(found: Instance, place: Place, machine: Machine) -> None:
    """The name and the keys of root, where they have the right form."""
    keys = [key for key in dict.fromkeys(found.keys) if is_key(key)]
    if len(keys) < len(set(found.keys)):
        machine.note(f"{found.provider} has keys that are none; they are left out", place)
    if found.hostname and "{" not in found.hostname:
        machine.root.write_text(f"{_FOLDER}/hostname", found.hostname, mode=SECRET)
        hostname(Node("text", place, found.hostname), machine)
    if keys:
        machine.root.write_text(f"{_FOLDER}/ssh/authorized_keys", "".join(f"{key}\n" for key in keys), mode=SECRET)
        add_keys("root", Node("list", place, [Node("text", place, key) for key in keys]), machine)


def _keep_data(data: bytes, wish: _Wish, machine: Machine) -> None:
    """Raises TreebuildError for a script that fails, and for parts in MIME, which nothing here takes apart.

    `userdata` is written last: it says that all is there, to steps that ask only where it is missing.
    """
    try:
        plain = unzip(data) if data.startswith(b"\x1f\x8b") else data
    except (OSError, EOFError, zlib.error) as err:
        raise TreebuildError(f"the user data cannot be unpacked: {err}", reason="datasource") from err
    script = plain.startswith(b"#!")
    inside = f"{wish.path}/{wish.name}"
    known = machine.root.read(inside) == plain
    config = not script and _is_config(plain)
    if not wish.name.endswith((".yaml", ".yml")):
        if config:
            machine.root.write(f"{inside}.yaml", plain, mode=SECRET)
        else:
            _forget(f"{inside}.yaml", machine)
    machine.root.write(inside, plain, mode=SECRET)
    if script:
        status = _run(plain, inside, machine)
        if status != 0:
            raise ToolFailed(f"the user data, a script, failed with exit code {status}", exit_status=status)
    elif plain.lower().startswith((b"content-type: multipart/", b"mime-version:")):
        raise TreebuildError(
            f"the user data has several parts (MIME) and was only kept: {inside}", reason="unsupported",
            hint="one part: cloud-config, or a script",
        )  # fmt: skip
    elif config and not known:  # what is known was read when this boot began
        machine.arrived.append((inside, plain.decode()))


def _forget(inside: str, machine: Machine) -> None:
    """Cloud-config of user data that was there before."""
    place = Path(inside)
    path = machine.root.make_folders(str(place.parent)) / place.name  # which follows no link of a user
    if path.is_symlink() or path.is_file():
        path.unlink()
        sync_folder(path.parent)


def _run(script: bytes, inside: str, machine: Machine) -> int:
    """As the kernel runs it, but for files that nobody may run: /run may be mounted so."""
    line = script[2:].partition(b"\n")[0].decode("utf-8", "surrogateescape").strip()
    words = [*line.split(None, 1), inside]
    return machine.run(words if machine.root.is_host else ["chroot", str(machine.root.folder), *words])


def _is_config(data: bytes) -> bool:
    try:
        source = Source("userdata", data.decode("utf-8"))
        return is_classic(source) or parse(source).node.get("stages") is not None
    except (SpecError, UnicodeDecodeError):
        return False
