"""sprig's urlParse and urlJoin."""

from __future__ import annotations

from urllib.parse import quote, unquote, urlsplit

from treebuilder.template.faults import TemplateFault
from treebuilder.template.functions.signature import GoFunction, table

_PATH_SAFE = "/:@!$&'()*+,;=~"


def _parse(text: str) -> dict[object, object]:
    try:
        found = urlsplit(text)
        host = found.netloc.rpartition("@")[2]
        userinfo = found.netloc.rpartition("@")[0]
    except ValueError as err:
        raise TemplateFault(f"unable to parse url: {err}") from err
    opaque = bool(found.scheme) and not found.netloc and not found.path.startswith("/") and bool(found.path)
    return {
        "scheme": found.scheme,
        "host": host,
        "hostname": host.removeprefix("[").partition("]")[0] if host.startswith("[") else host.partition(":")[0],
        "path": "" if opaque else unquote(found.path),
        "query": found.query,
        "opaque": found.path if opaque else "",
        "fragment": unquote(found.fragment),
        "userinfo": userinfo,
    }


def _join(parts: dict[object, object]) -> str:
    def part(name: str) -> str:
        value = parts.get(name, "")
        if not isinstance(value, str):
            raise TemplateFault(f"unable to parse {name} key, must be of type string")
        return value

    url = f"{part('scheme')}:" if part("scheme") else ""
    if part("opaque"):
        url += part("opaque")
    else:
        userinfo = f"{part('userinfo')}@" if part("userinfo") else ""
        path = quote(part("path"), safe=_PATH_SAFE)
        if part("scheme") or part("host") or userinfo:
            if part("host") or path or userinfo:
                url += "//" if part("host") or userinfo or path.startswith("//") else ""
            url += userinfo + part("host")
        if path and not path.startswith("/") and part("host"):
            path = "/" + path
        url += path
    url += f"?{part('query')}" if part("query") else ""
    return url + (f"#{quote(part('fragment'), safe=_PATH_SAFE + '?')}" if part("fragment") else "")


URLS: dict[str, GoFunction] = table(("urlParse", "string", _parse), ("urlJoin", "map", _join))
