"""A web server whose answers the test gives, for what cloud-config fetches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

Answer = tuple[int, dict[str, str], bytes]


class Web:
    """`pages` by path; `asked` has each request as METHOD PATH, `headers` those of each path's last request."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes | Answer | list[Answer]] = {}
        self.asked: list[str] = []
        self.headers: dict[str, dict[str, str]] = {}
        self.port = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def answer(self, method: str, path: str, headers: dict[str, str]) -> Answer:
        self.asked.append(f"{method} {path}")
        self.headers[path] = headers
        page = self.pages.get(path, (404, {}, b"not here"))
        if isinstance(page, list):
            page = page.pop(0)
        return (200, {}, page) if isinstance(page, bytes) else page


@contextmanager
def web() -> Iterator[Web]:
    site = Web()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, more, body = site.answer(self.command, self.path, headers)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **more}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_CONNECT = _do  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
