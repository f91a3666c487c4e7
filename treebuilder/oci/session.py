"""HTTP sessions whose requests all have time limits, and whose redirects are looked at before they are followed.

No more than a redirect's place counts, so not much of what comes with it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urljoin, urlsplit

from treebuilder.annotations import Any
from treebuilder.errors import TransportError
from treebuilder.oci.reference import is_loopback
from treebuilder.records import record
from treebuilder.system import clock

TIMEOUT_S = (15.0, 60.0)  # to connect; between two pieces
_REDIRECTS = 10
_REDIRECT_BYTES = 1 << 16


@record
class Until:
    """A time limit of several requests, as those of a login and of redirects are: a time of the monotonic clock. None
    begins after it, and each has for its head what is left then."""

    at_s: float

    def left_s(self) -> float:
        """Raises TransportError where nothing is left."""
        left_s = self.at_s - clock.monotonic_s()
        if left_s <= 0:
            raise TransportError("the answer takes too long", temporary=True)
        return left_s


def is_plain(url: str) -> bool:
    """Whether a URL is one of plain HTTP, however it is spelled."""
    return urlsplit(url).scheme == "http"


def no_downgrade(before: str, after: str) -> None:
    """Raises TransportError where encryption would end."""
    if not is_plain(before) and is_plain(after):
        raise TransportError(f"{before}: the server sends us to {urlsplit(after).netloc} without encryption: refused")


def new_session(may: Callable[[str, str], None] = no_downgrade, *, connections: int = 10) -> Any:  # noqa: ANN401 - requests is imported only when there is something to fetch
    """A session for many threads, with so many connections to a host. `may` is given both URLs of a redirect, and
    raises for one that is not to be followed.

    Logins are the caller's: none is taken from ~/.netrc. Who speaks to this machine does so without a proxy.
    """
    from http.cookiejar import DefaultCookiePolicy

    import requests
    import urllib3

    from treebuilder.oci.patience import Adapter

    no_cookies = DefaultCookiePolicy(allowed_domains=())  # no server is to know us again

    class Session(requests.Session):
        def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
            prepared = super().prepare_request(request)
            jar = getattr(prepared, "_cookies", None)  # of this request and the redirects behind it
            if jar is not None:
                jar.set_policy(no_cookies)
            return prepared

        def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
            headers, before = prepared_request.headers, response.request.url
            if "Authorization" in headers and self.should_strip_auth(  # type: ignore[no-untyped-call]
                str(before), str(prepared_request.url)
            ):
                del headers["Authorization"]

        def merge_environment_settings(self, url: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            settings = super().merge_environment_settings(url, *args, **kwargs)
            return settings | {"proxies": _proxies(str(url), settings["proxies"])}

        def rebuild_proxies(self, prepared_request: requests.PreparedRequest, proxies: Any) -> Any:  # noqa: ANN401
            url = str(prepared_request.url)
            found = super().rebuild_proxies(prepared_request, proxies)  # type: ignore[no-untyped-call]
            return _proxies(url, found)

        def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:  # noqa: ANN401
            kwargs.setdefault("timeout", TIMEOUT_S)
            return super().request(method, url, *args, **kwargs)

        def get_redirect_target(self, resp: requests.Response) -> str | None:
            target = super().get_redirect_target(resp)
            if target is not None:
                may(resp.url, urljoin(resp.url, target))
                with suppress(urllib3.exceptions.HTTPError):  # the connection can be used again if this is all
                    resp.raw.read(_REDIRECT_BYTES, decode_content=False)
                resp.raw.close()
            return target

    session = Session()
    session.auth = _as_it_is
    session.cookies.set_policy(no_cookies)
    session.max_redirects = _REDIRECTS
    for scheme in ("http://", "https://"):
        session.mount(scheme, Adapter(pool_maxsize=connections))
    return session


def _as_it_is(request: Any) -> Any:  # noqa: ANN401
    """Stands where requests would look into ~/.netrc, whose passwords it puts over every other login."""
    return request


def _proxies(url: str, proxies: Any) -> Any:  # noqa: ANN401
    return {} if is_loopback(urlsplit(url).hostname or "") else proxies
