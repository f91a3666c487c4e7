"""sprig's urlParse and urlJoin."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.signature import GoFunction, table

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NO_SCHEME = re.compile(r"(?![A-Za-z][A-Za-z0-9+.-]*:)[^/?#:]*:")
_OPAQUE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^/]")  # what follows is not looked at
_BROKEN_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")
_AUTHORITY = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//([^/?#]*)")
_HOST = re.compile(r"\[[^\]]*\](?::[0-9]*)?|[^:\[\] \\^`{|}]*|[^\[\] \\^`{|}]*:[0-9]*")
_PORT = re.compile(r":[0-9]*\Z")
_USER = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:%@-]*")
_USER_SAFE = "$&+,;="
_PATH_SAFE = "/:@$&+,;="
_FRAGMENT_SAFE = _PATH_SAFE + "?!()*"
_HOST_SAFE = "!$&'()*+,;=:[]<>\""


def _parse(text: str) -> dict[object, object]:
    _check(text)
    try:
        found = urlsplit(text)
        host = found.netloc.rpartition("@")[2]
    except ValueError as err:
        raise TemplateFault(f"unable to parse url: {err}") from err
    opaque = bool(found.scheme) and not found.netloc and not found.path.startswith("/") and bool(found.path)
    return {
        "scheme": found.scheme,
        "host": host,
        "hostname": host.removeprefix("[").partition("]")[0] if host.startswith("[") else _PORT.sub("", host),
        "path": "" if opaque else unquote(found.path),
        "query": found.query,
        "opaque": found.path if opaque else "",
        "fragment": unquote(found.fragment),
        "userinfo": _user(text),
    }


def _user(url: str) -> str:
    """Name and password of a URL that was checked, escaped as Go does."""
    authority = _AUTHORITY.match(url)
    user = authority.group(1).rpartition("@")[0] if authority else ""
    return ":".join(quote(unquote_to_bytes(part), safe=_USER_SAFE) for part in user.split(":", 1))


def _check(text: str) -> None:
    """What Go's parser refuses and Python's does not."""
    why = ""
    authority = _AUTHORITY.match(text)
    before, _, fragment = text.partition("#")
    path = "" if _OPAQUE.match(before) else before.partition("?")[0]
    if _CONTROL.search(text):
        why = "invalid control character in URL"
    elif text.startswith(":"):
        why = "missing protocol scheme"
    elif _NO_SCHEME.match(text):
        why = "first path segment in URL cannot contain colon"
    elif _BROKEN_ESCAPE.search(path) or _BROKEN_ESCAPE.search(fragment):
        why = "invalid URL escape"
    elif authority and not _HOST.fullmatch(authority.group(1).rpartition("@")[2]):
        why = "invalid host or port"
    elif authority and not _USER.fullmatch(authority.group(1).rpartition("@")[0]):
        why = "invalid userinfo"
    if why:
        raise TemplateFault(f"unable to parse url: {why}")


def _join(parts: dict[object, object]) -> str:
    def part(name: str) -> str:
        value = parts.get(name, "")
        if not isinstance(value, str):
            raise TemplateFault(f"unable to parse {name} key, must be of type string")
        return value

    userinfo = ""
    if part("userinfo"):
        given = f"proto://{part('userinfo')}@host"
        _check(given)
        userinfo = _user(given) and f"{_user(given)}@"
    url = f"{part('scheme')}:" if part("scheme") else ""
    if part("opaque"):
        url += part("opaque")
    else:
        path = "*" if part("path") == "*" else quote(part("path"), safe=_PATH_SAFE)
        if part("host") or userinfo or (part("scheme") and path):
            url += f"//{userinfo}{quote(part('host'), safe=_HOST_SAFE)}"
        if path and not path.startswith("/") and part("host"):
            path = "/" + path
        if not url and ":" in path.partition("/")[0]:  # it would be taken for a scheme
            path = f"./{path}"
        url += path
    url += f"?{part('query')}" if part("query") else ""
    return url + (f"#{quote(part('fragment'), safe=_FRAGMENT_SAFE)}" if part("fragment") else "")


URLS: dict[str, GoFunction] = table(("urlParse", "string", _parse), ("urlJoin", "map", _join))
