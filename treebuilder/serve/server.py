"""Listens, lets in whoever may, and hands requests to a site. The bounds of every connection are here."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from treebuilder.annotations import Protocol
from treebuilder.errors import ConfigError, NoSpace, TreebuildError
from treebuilder.records import record
from treebuilder.serve.exchange import BodyError, Exchange, RefusedError, UnfitHeaderError
from treebuilder.serve.patience import PatientHandler
from treebuilder.system.process import Cancel

_TIMEOUT_S = 60  # without a byte
_MAX_CONNECTIONS = 256
_SLOT_S = 0.1  # between looks whether the server is to stop
REGISTRY = {"Docker-Distribution-API-Version": "registry/2.0"}
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Site(Protocol):
    """What answers requests: a registry, one that faults are put in front of, a folder."""

    def answer(self, exchange: Exchange) -> None: ...


@record
class Listening:
    """Where and for whom. `users` maps names to `$6$…` hashes (sha512crypt); empty: everybody.

    `headers` go with every reply.
    """

    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None
    users: Mapping[str, str] = {}
    log: Callable[[str], None] = lambda _: None
    headers: Mapping[str, str] = REGISTRY


def read_users(path: Path) -> dict[str, str]:
    """Lines `name:$6$salt$hash` as `openssl passwd -6` makes the hash. Raises ConfigError with the line.

    A file without any user is refused too: nobody could come in, or everybody.
    """
    users: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"the users' file {path} cannot be read: {err}") from err
    for number, line in enumerate(lines, 1):
        line = line.strip()
        name, _, hashed = line.partition(":")
        if not line or line.startswith("#"):
            continue
        if not name or not hashed.startswith("$6$"):
            raise ConfigError(f"{path}:{number}: not NAME:$6$SALT$HASH", hint="openssl passwd -6 makes the hash")
        users[name] = hashed
    if not users:
        raise ConfigError(f"{path} names no user", hint="without --users everybody is let in")
    return users


class Server:
    """A site on an address. `address` is known when it is made; `run` serves until `stop`."""

    def __init__(self, site: Site, listening: Listening) -> None:
        self._listening = listening
        self._slots = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        self._stopping = threading.Event()
        self._known: dict[str, str] = {}
        outer = self

        class Handler(PatientHandler):
            protocol_version = "HTTP/1.1"
            server_version = "treebuild"
            sys_version = ""
            timeout = _TIMEOUT_S
            disable_nagle_algorithm = True
            wbufsize = 1 << 16

            def log_message(self, format: str, *args: object) -> None:
                said = (format % args).encode("ascii", "backslashreplace").decode()
                listening.log(f"{self.client_address[0]} {said}")

            def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
                """What is no request, or of an unknown method, is told as everything else is.

                Clients in Go that begin with TLS go on without it only where the answer has HTTP's first line.
                """
                self.request_version = self.protocol_version
                said = message or self.responses.get(code, ("", ""))[0]
                value = {"errors": [{"code": "UNSUPPORTED", "message": str(said), "detail": None}]}
                data = json.dumps(value).encode()
                self.close_connection = True
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Connection", "close")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            def end_headers(self) -> None:
                for name, value in listening.headers.items():
                    self.send_header(name, value)
                super().end_headers()

        def serve(handler: BaseHTTPRequestHandler) -> None:
            outer._serve(handler, site)

        for method in _METHODS:
            setattr(Handler, f"do_{method}", serve)

        class Threads(ThreadingHTTPServer):
            daemon_threads = True
            address_family = socket.AF_INET6 if ":" in listening.host else socket.AF_INET
            request_queue_size = 128

            def process_request(self, request: object, client_address: object) -> None:
                """Whoever comes when all slots are taken waits unaccepted, without a thread."""
                with outer._slot() as there:
                    if there:
                        super().process_request(request, client_address)  # type: ignore[arg-type]
                    else:
                        self.shutdown_request(request)  # type: ignore[arg-type]

            def process_request_thread(self, request: object, client_address: object) -> None:
                try:
                    super().process_request_thread(request, client_address)  # type: ignore[arg-type]
                finally:
                    outer._slots.release()

            def handle_error(self, request: object, client_address: object) -> None:
                listening.log(f"{client_address}: the connection broke")

        try:
            self._http = Threads((listening.host, listening.port), Handler)
        except OSError as err:
            raise ConfigError(f"cannot listen on {listening.host}:{listening.port}: {err.strerror}") from err
        if listening.certificate is not None:
            self._http.socket = self._tls(listening).wrap_socket(
                self._http.socket, server_side=True, do_handshake_on_connect=False
            )

    def _tls(self, listening: Listening) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(str(listening.certificate), str(listening.key) if listening.key else None)
        except (OSError, ssl.SSLError) as err:
            raise ConfigError(f"the certificate {listening.certificate} cannot be used: {err}") from err
        return context

    @property
    def address(self) -> str:
        """`host:port`, with the port that was chosen for 0."""
        host, port = str(self._http.server_address[0]), self._http.server_address[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def run(self) -> None:
        """Serves until `stop` is called from another thread."""
        self._http.serve_forever(poll_interval=0.1)

    @contextmanager
    def _slot(self) -> Iterator[bool]:
        """Waits for a slot, which the connection's thread gives back; False when the server stops before."""
        while not self._slots.acquire(timeout=_SLOT_S):
            if self._stopping.is_set():
                yield False
                return
        try:
            yield True
        except BaseException:  # there is no thread
            self._slots.release()
            raise

    def stop(self) -> None:
        self._stopping.set()
        self._http.shutdown()

    def close(self) -> None:
        """Closes the socket; requests that run are cut."""
        self._http.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler, site: Site) -> None:
        exchange = Exchange(handler)
        broken = False
        try:
            self._let_in(exchange)
            site.answer(exchange)
        except RefusedError as err:
            if not exchange.replied:
                exchange.refuse(err)
        except (BodyError, ConnectionError, TimeoutError):
            handler.close_connection = broken = True
        except NoSpace as err:
            self._fault(exchange, handler, 507, str(err))
        except (TreebuildError, OSError, ValueError, UnfitHeaderError) as err:  # also text that is no UTF-8
            self._fault(exchange, handler, 500, str(err))
        if not handler.wfile.closed:
            handler.wfile.flush()
        if handler.close_connection and not broken:
            exchange.hear_out()

    def _fault(self, exchange: Exchange, handler: BaseHTTPRequestHandler, status: int, said: str) -> None:
        """A fault of ours: the reply says no more than that there is one."""
        self._listening.log(f"error: {said}")
        handler.close_connection = True
        if not exchange.replied:
            exchange.refuse(RefusedError(status, "UNKNOWN", "the server has a problem"))

    def _let_in(self, exchange: Exchange) -> None:
        """Checks user and password. Raises RefusedError (401)."""
        users = self._listening.users
        if not users:
            return
        kind, _, given = exchange.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "basic" and self._is_known(given.strip(), users):
            return
        headers = {"WWW-Authenticate": 'Basic realm="treebuild registry"'}
        raise RefusedError(401, "UNAUTHORIZED", "a user and a password are needed", headers)

    def _is_known(self, given: str, users: Mapping[str, str]) -> bool:
        from treebuilder.cloudconfig.sha512crypt import verify

        try:
            name, _, password = base64.b64decode(given, validate=True).decode().partition(":")
        except ValueError:
            return False
        hashed = users.get(name, "$6$none$")
        if self._known.get(given) == hashed:  # hashing takes a tenth of a second on purpose
            return True
        right = verify(password, hashed)
        if right:
            self._known = {**self._known, given: hashed}
        return right


def run(server: Server, ready: Callable[[str], None], cancel: Cancel) -> None:
    """Serves until `cancel` is set or this thread is interrupted. `ready` is told the address."""
    thread = threading.Thread(target=server.run, name="serve")
    thread.start()
    try:
        ready(server.address)
        while thread.is_alive() and not cancel.is_set():
            thread.join(0.2)
    finally:
        server.stop()
        thread.join()
        server.close()


@contextmanager
def serving(site: Site, listening: Listening) -> Iterator[str]:
    """A server on a thread of its own; gives its address."""
    server = Server(site, listening)
    thread = threading.Thread(target=server.run, name="serve", daemon=True)
    thread.start()
    try:
        yield server.address
    finally:
        server.stop()
        thread.join()
        server.close()
