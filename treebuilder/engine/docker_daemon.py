"""The few things we ask of a Docker daemon, typed, and its errors as ours.

Everything we make carries labels that say which process made it, so that the leftovers of a killed run can be told
from the work of a living one.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING, Any
from treebuilder.errors import EngineUnavailable, NoSpace, TreebuildError
from treebuilder.records import record

if TYPE_CHECKING:
    from docker import APIClient

LABEL, HOST_LABEL, BOOT_LABEL, LAYERS_LABEL = "treebuild", "treebuild.host", "treebuild.boot", "treebuild.layers"
BASE_NAME = "treebuild-base"
_TIMEOUT_S = 1800  # a load or commit of gigabytes may be silent for long
_PROBE_TIMEOUT_S = 5


@record
class Server:
    """What a daemon says of itself. `plain_upper`: a container's upper folder on this machine is all it changed."""

    version: str
    url: str
    local: bool
    plain_upper: bool


@record
class Wish:
    """A container to create."""

    image: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    user: str
    groups: tuple[int, ...]
    network: bool
    binds: tuple[tuple[str, str], ...]
    hostname: str
    capabilities: tuple[str, ...]


@contextmanager
def daemon_errors(what: str) -> Iterator[None]:
    """Maps docker-py's and requests' errors; `what` completes "docker cannot …"."""
    import requests
    from docker import errors

    try:
        yield
    except errors.APIError as err:
        said = str(err.explanation or err).strip()
        if "no space left" in said:
            raise NoSpace(f"docker cannot {what}: {said}", hint="docker system prune") from err
        raise TreebuildError(f"docker cannot {what}: {said}", reason="docker") from err
    except (errors.DockerException, requests.RequestException) as err:
        raise EngineUnavailable(f"docker cannot {what}: {err}", hint="is the docker daemon running?") from err


def own_labels() -> dict[str, str]:
    """Labels that name this process on this boot of this machine."""
    return {LABEL: str(os.getpid()), HOST_LABEL: socket.gethostname(), BOOT_LABEL: _boot_id()}


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def made_by_the_dead(labels: Mapping[str, str]) -> bool:
    """Whether labels name a process of this machine that is gone."""
    if labels.get(HOST_LABEL) != socket.gethostname() or not labels.get(LABEL, "").isdigit():
        return False
    return labels.get(BOOT_LABEL) != _boot_id() or not os.path.isdir(f"/proc/{labels[LABEL]}")


class Daemon:
    """A connection, usable from many threads. `url` is empty for DOCKER_HOST or the default socket."""

    def __init__(self, url: str = "") -> None:
        with daemon_errors("be reached"):
            self.server = _ask(_client(url, _PROBE_TIMEOUT_S))
            self._api = _client(url, _TIMEOUT_S)

    def close(self) -> None:
        self._api.close()

    # images ------------------------------------------------------------------------------------------------------
    def bases(self) -> dict[str, tuple[str, ...]]:
        """Our base images: tag to diff ids, bottom first."""
        with daemon_errors("list its images"):
            found = self._api.images(filters={"label": [LAYERS_LABEL]})
        known = {}
        for image in found:
            layers = tuple(str((image.get("Labels") or {}).get(LAYERS_LABEL, "")).split())
            for tag in image.get("RepoTags") or []:
                if str(tag).startswith(f"{BASE_NAME}:"):
                    known[str(tag)] = layers
        return known

    def load(self, archive: Iterator[bytes]) -> None:
        with daemon_errors("load a base image"):
            for message in self._api.load_image(archive):  # type: ignore[no-untyped-call]
                if "error" in message:
                    raise TreebuildError(f"docker cannot load a base image: {message['error']}", reason="docker")

    def remove_image(self, name: str) -> None:
        """Removes an image unless it is in use or gone."""
        from docker import errors

        with daemon_errors("remove an image"):
            try:
                self._api.remove_image(name)
            except errors.APIError as err:
                if err.status_code not in (404, 409):
                    raise

    def commit(self, container: str, name: str, *, temporary: bool) -> None:
        """Makes an image of a container. A temporary one belongs to this process."""
        repository, _, tag = name.partition(":")
        conf = {"Labels": own_labels() if temporary else {}}
        with daemon_errors("commit a container"):
            self._api.commit(container, repository, tag, conf=conf)

    def save(self, name: str) -> Iterator[bytes]:
        with daemon_errors("save an image"):
            yield from self._api.get_image(name)

    # containers --------------------------------------------------------------------------------------------------
    def create(self, wish: Wish) -> str | None:
        """The new container's id; None when the image is not there (any more)."""
        from docker import errors
        from docker.types import LogConfig

        with daemon_errors("create a container"):
            host = self._api.create_host_config(
                network_mode="host" if wish.network else "none", binds=[f"{a}:{b}:ro" for a, b in wish.binds],
                cap_drop=["ALL"], cap_add=[*wish.capabilities], security_opt=["no-new-privileges"],
                extra_hosts={wish.hostname: "127.0.0.1"}, log_config=LogConfig(type="none"),
                group_add=[str(group) for group in wish.groups],
            )  # fmt: skip
            try:
                made = self._api.create_container(
                    wish.image, [*wish.argv], hostname=wish.hostname, user=wish.user or None,
                    environment=dict(wish.env), working_dir=wish.cwd, labels=own_labels(), host_config=host,
                )  # fmt: skip
            except errors.ImageNotFound:
                return None
        return str(made["Id"])

    def attach(self, container: str) -> Iterator[bytes]:
        """What a container prints from now on; must be called before it starts."""
        with daemon_errors("attach to a container"):
            return iter(self._api.attach(container, stdout=True, stderr=True, stream=True))

    def start(self, container: str) -> str:
        """Empty, or what kept the program from being started (there is no such program)."""
        from docker import errors

        with daemon_errors("start a container"):
            try:
                self._api.start(container)
            except errors.APIError as err:
                said = str(err.explanation or err)
                if "exec: " in said or "no such file or directory" in said or "permission denied" in said:
                    return said
                raise
        return ""

    def wait(self, container: str) -> int:
        with daemon_errors("wait for a container"):
            return int(self._api.wait(container)["StatusCode"])

    def remove(self, container: str) -> None:
        """Kills and removes. A container that is gone is fine."""
        from docker import errors

        with daemon_errors("remove a container"):
            try:
                self._api.remove_container(container, force=True, v=True)
            except errors.APIError as err:
                if err.status_code not in (404, 409):
                    raise

    def places(self, container: str) -> tuple[Path | None, Path | None]:
        """On this machine: the upper folder of a stopped container, and the file it saw as /etc/hostname."""
        if not self.server.plain_upper:
            return None, None
        with daemon_errors("inspect a container"):
            found = self._api.inspect_container(container)
        upper = Path(str(((found.get("GraphDriver") or {}).get("Data") or {}).get("UpperDir") or "/nowhere"))
        hostname = Path(str(found.get("HostnamePath") or "/nowhere"))
        if not os.access(upper, os.R_OK | os.X_OK):
            return None, None
        return upper, hostname if os.access(hostname, os.R_OK) else None

    def sweep(self) -> None:
        """Removes what killed runs left behind."""
        with daemon_errors("list its containers"):
            containers = self._api.containers(all=True, filters={"label": [LABEL]})
            images = self._api.images(filters={"label": [LABEL]})
        for container in containers:
            if made_by_the_dead(container.get("Labels") or {}):
                self.remove(str(container["Id"]))
        for image in images:
            if made_by_the_dead(image.get("Labels") or {}):
                for tag in image.get("RepoTags") or [image["Id"]]:
                    self.remove_image(str(tag))


def _client(url: str, timeout_s: int) -> APIClient:
    from docker import APIClient
    from docker.utils import kwargs_from_env

    options: dict[str, Any] = {"base_url": url} if url else {**kwargs_from_env()}
    return APIClient(**options, version="auto", timeout=timeout_s, max_pool_size=64)


def _ask(api: APIClient) -> Server:
    try:
        info: dict[str, Any] = api.info()
        url = str(api.base_url)
    finally:
        api.close()
    status = {str(pair[0]): str(pair[1]) for pair in info.get("DriverStatus") or []}
    security = " ".join(str(option) for option in info.get("SecurityOptions") or [])
    local = url.startswith(("http+docker://localhost", "http+unix://", "unix://"))
    shifted = "name=userns" in security or "name=rootless" in security
    plain = (
        local and not shifted and info.get("Driver") == "overlay2" and status.get("Native Overlay Diff") == "true"
        and status.get("userxattr", "false") == "false"
    )  # fmt: skip
    return Server(str(info.get("ServerVersion")), url, local, plain)
