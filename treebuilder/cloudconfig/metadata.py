"""Metadata services of clouds that answer plain HTTP: user data, the host's name, the keys of who owns it.

Each is asked at its fixed address, never through a proxy, with short limits. A service is there when it names this
machine in its own form: a network's log-in page answers every request, too. What a service does not have is empty. What
it says is not trusted to have the right form.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping

from treebuilder.annotations import Final
from treebuilder.cloudconfig.ask import Ask
from treebuilder.errors import TransportError, TreebuildError
from treebuilder.records import record

Get = Callable[[Ask], bytes]
_LIMIT_BYTES = 4 << 20
_LINK = "http://169.254.169.254"
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}\Z")
_INSTANCE = re.compile(r"i-[A-Za-z0-9]{1,64}\Z")
_NUMBER = re.compile(r"[0-9]{1,32}\Z")
_TOKEN = re.compile(r"[!-;=-~]{1,4096}\Z")


@record
class Instance:
    """What a source knows of this machine; empty where it says nothing."""

    provider: str
    userdata: bytes = b""
    hostname: str = ""
    keys: tuple[str, ...] = ()


@record
class Service:
    """Asks one service below a base URL. All requests carry `headers`."""

    name: str
    base: str
    get: Get
    headers: Mapping[str, str]

    def need(self, path: str, method: str = "GET", more: Mapping[str, str] | None = None) -> bytes:
        """Raises TransportError."""
        headers = {**self.headers, **(more or {})}
        return self.get(Ask(
            f"{self.base}{path}", headers, method, limit_bytes=_LIMIT_BYTES, socket_s=3.0, total_s=8.0, proxied=False
        ))  # fmt: skip

    def maybe(self, path: str) -> bytes:
        """Empty where the service answers that it has none. Raises TransportError."""
        try:
            return self.need(path)
        except TransportError as err:
            if err.status in (404, 410):
                return b""
            raise

    def json(self, path: str) -> object:
        """Raises TransportError, TreebuildError for what is no JSON."""
        data = self.need(path)
        try:
            value: object = json.loads(data)
        except (ValueError, RecursionError) as err:
            raise TreebuildError(f"{self.name} answers no JSON: {err}", reason="metadata") from err
        return value

    def about(self, path: str, *names: str) -> object:
        """JSON in which one of `names` is a word: the machine's. Raises as `json`."""
        value = self.json(path)
        if not any(_WORD.match(_text(value, name)) for name in names):
            raise TreebuildError(f"{self.name} does not say which machine this is", reason="metadata")
        return value

    def word(self, path: str, form: re.Pattern[str] = _WORD) -> str:
        """One word, and nothing else. Raises TransportError, TreebuildError."""
        text = self.need(path).decode("utf-8", "replace").strip()
        if not form.match(text):
            raise TreebuildError(f"{self.name} answers at {path} what it never says", reason="metadata")
        return text


def aws(service: Service) -> Instance:
    """EC2: version 2 with its token, version 1 where there is no such thing."""
    try:
        token = service.need("/latest/api/token", "PUT", {"X-aws-ec2-metadata-token-ttl-seconds": "300"})
        text = token.decode("utf-8", "replace").strip()
        if not _TOKEN.match(text):
            raise TreebuildError("aws answers no token", reason="metadata")
        service = _with(service, {"X-aws-ec2-metadata-token": text})
    except TransportError as err:
        if err.status not in (400, 403, 404, 405):
            raise
    service.word("/latest/meta-data/instance-id", _INSTANCE)
    keys = _lines(service.maybe("/latest/meta-data/public-keys/0/openssh-key"))
    return Instance("aws", service.maybe("/latest/user-data"), _word(service.maybe("/latest/meta-data/hostname")), keys)


def gcp(service: Service) -> Instance:
    """Keys are lines `user:key`; those that end at some time are left out, for nobody would take them away again."""
    service.word("/instance/id", _NUMBER)
    name = service.word("/instance/hostname")
    lines = _lines(
        service.maybe("/project/attributes/ssh-keys") + b"\n" + service.maybe("/instance/attributes/ssh-keys")
    )
    keys = tuple(line.partition(":")[2] for line in lines if "expireOn" not in line)
    return Instance("gcp", service.maybe("/instance/attributes/user-data"), name, keys)


def azure(service: Service) -> Instance:
    compute = service.about("/metadata/instance/compute?api-version=2021-01-01", "vmId")
    try:
        userdata = base64.b64decode(_text(compute, "userData"), validate=True)
    except (binascii.Error, ValueError) as err:
        raise TreebuildError(f"the user data of azure is not base64: {err}", reason="metadata") from err
    keys = tuple(_text(key, "keyData").strip() for key in _list(compute, "publicKeys"))
    return Instance("azure", userdata, _text(compute, "name"), keys)


def hetzner(service: Service) -> Instance:
    service.word("/metadata/instance-id", _NUMBER)
    name = service.word("/metadata/hostname")
    keys = _lines(service.maybe("/metadata/public-keys"))
    return Instance("hetzner", service.maybe("/userdata"), name, keys)


def openstack(service: Service) -> Instance:
    return openstack_instance("openstack", service.about("/meta_data.json", "uuid"), service.maybe("/user_data"))


def openstack_instance(provider: str, about: object, userdata: bytes) -> Instance:
    """meta_data.json, of the service or of a config drive."""
    keys = about.get("public_keys") if isinstance(about, dict) else None
    texts = _texts(list(keys.values())) if isinstance(keys, dict) else ()
    return Instance(provider, userdata, _text(about, "hostname"), _lines("\n".join(texts).encode()))


def packet(service: Service) -> Instance:
    about = service.about("/metadata", "id")
    keys = _texts(_list(about, "ssh_keys"))
    return Instance("packet", service.maybe("/userdata"), _text(about, "hostname"), keys)


def vultr(service: Service) -> Instance:
    about = service.about("/v1.json", "instanceid", "instance-v2-id")
    keys = _texts(_list(about, "public-keys"))
    return Instance("vultr", _text(about, "user-data").encode(), _text(about, "hostname"), keys)


def digitalocean(service: Service) -> Instance:
    service.word("/id", _NUMBER)
    name = service.word("/hostname")
    return Instance("digitalocean", service.maybe("/user-data"), name, _lines(service.maybe("/public-keys")))


# Name: base URL, headers, how it is asked.
SERVICES: Final[dict[str, tuple[str, dict[str, str], Callable[[Service], Instance]]]] = {
    "aws": (_LINK, {}, aws),
    "gcp": ("http://metadata.google.internal/computeMetadata/v1", {"Metadata-Flavor": "Google"}, gcp),
    "azure": (_LINK, {"Metadata": "true"}, azure),
    "hetzner": (f"{_LINK}/hetzner/v1", {}, hetzner),
    "openstack": (f"{_LINK}/openstack/latest", {}, openstack),
    "packet": ("https://metadata.packet.net", {}, packet),
    "vultr": (_LINK, {"Metadata-Token": "cloudinit"}, vultr),
    "digitalocean": (f"{_LINK}/metadata/v1", {}, digitalocean),
}

# Providers of yip that are not asked here, and why.
NOT_DONE: Final = {
    "scaleway": "it answers only to ports below 1024",
    "metaldata": "its address is not fixed",
    "maas": "it needs signed requests",
    "vmware": "it is no HTTP service: a CD labelled cidata works there",
}


def ask_service(name: str, get: Get, base: str = "") -> Instance:
    """Asks a service of SERVICES. Raises TransportError, TreebuildError (reason "metadata")."""
    usual, headers, how = SERVICES[name]
    return how(Service(name, base or usual, get, headers))


def _with(service: Service, headers: Mapping[str, str]) -> Service:
    return Service(service.name, service.base, service.get, {**service.headers, **headers})


def _word(data: bytes) -> str:
    words = data.decode("utf-8", "replace").split()
    return words[0] if words else ""


def _lines(data: bytes) -> tuple[str, ...]:
    text = data.decode("utf-8", "replace")
    if text.lstrip().startswith("["):  # some services answer a list of JSON
        try:
            value: object = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        return _texts(value) if isinstance(value, list) else ()
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _text(value: object, key: str) -> str:
    found = value.get(key) if isinstance(value, dict) else None
    return _proper(found) if isinstance(found, str) else ""


def _texts(values: list[object]) -> tuple[str, ...]:
    return tuple(_proper(value) for value in values if isinstance(value, str))


def _proper(text: str) -> str:
    """JSON may say half of a surrogate pair, which no file can hold."""
    return text.encode("utf-8", "replace").decode()


def _list(value: object, key: str) -> list[object]:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, list) else []
