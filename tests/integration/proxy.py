"""A proxy of ours between the manager and a real server: it counts, and does on demand what the server will not.

Plain HTTP/1.1 on the manager's side, plain or TLS towards the server; answers without a length (watches) are passed on as
they come. What a request gets instead of the server's answer is decided by `rule`, for each request.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP = frozenset({"transfer-encoding", "connection", "content-length", "keep-alive"})
"""Headers that belong to one connection (RFC 9110, 7.6.1); the length is written anew."""


@dataclass(frozen=True)
class Asked:
    """A request as it came; `at` is seconds of the monotonic clock."""

    method: str
    path: str
    at: float


@dataclass(frozen=True)
class Fault:
    """What a request gets instead of, or before, the server's answer.

    Attributes:
        status, body, headers: an answer of our own, when `status` is not 0.
        slow: seconds to wait before anything else.
        hang: no answer for as long as the proxy lives or until `heal`.
        reset: the connection is broken (TCP RST).
        lose: the server gets the request and acts; its answer is thrown away and the connection broken.
    """

    status: int = 0
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    slow: float = 0.0
    hang: bool = False
    reset: bool = False
    lose: bool = False


Rule = Callable[[Asked], Fault | None]


class _Server(ThreadingHTTPServer):
    proxy: Proxy
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def handle_error(self, *_args: object) -> None:
        """Broken connections are what this is for."""


class Proxy:
    """Between `start` (by `proxying`) and `stop`; `url` is what the manager is told."""

    def __init__(self, upstream: str, context: ssl.SSLContext | None = None) -> None:
        self.rule: Rule | None = None
        self.asked: list[Asked] = []
        self.highest_in_flight = 0
        """Requests at once so far, hanging ones included."""
        self._in_flight = 0
        self._upstream = urlsplit(upstream)
        self._context = context
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._healed = threading.Event()
        self._server: _Server | None = None
        self._port = 0
        self.serve()

    @property
    def url(self) -> str:
        """Plain HTTP on the loopback."""
        return f"http://127.0.0.1:{self._port}"

    def serve(self) -> None:
        """Listens, on the same port as before."""
        self._server = _Server(("127.0.0.1", self._port), _Handler)
        self._server.proxy = self
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def refuse(self) -> None:
        """Listens no more and breaks what is open: connections are refused until `serve`."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
        self.break_connections()

    def break_connections(self) -> None:
        """Breaks every connection that is open now."""
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def heal(self) -> None:
        """No faults any more; what hangs is broken."""
        self.rule = None
        self._healed.set()

    def hurt(self, rule: Rule) -> None:
        """From now on `rule` decides."""
        self._healed = threading.Event()
        self.rule = rule

    def count(self, method: str, part: str, since: float = 0.0) -> int:
        """Requests of this method with `part` in their path, since then."""
        with self._lock:
            return sum(one.method == method and part in one.path and one.at >= since for one in self.asked)

    def total(self, since: float = 0.0) -> int:
        """All requests since then."""
        with self._lock:
            return sum(one.at >= since for one in self.asked)

    def note(self, asked: Asked) -> Fault | None:
        """Counts a request and says what it gets."""
        with self._lock:
            self.asked.append(asked)
        rule = self.rule
        return None if rule is None else rule(asked)

    @contextlib.contextmanager
    def in_flight(self) -> Iterator[None]:
        """A request that has come and is not answered yet."""
        with self._lock:
            self._in_flight += 1
            self.highest_in_flight = max(self.highest_in_flight, self._in_flight)
        try:
            yield
        finally:
            with self._lock:
                self._in_flight -= 1

    def connect(self) -> http.client.HTTPConnection:
        """A connection to the server."""
        host, port = self._upstream.hostname or "", self._upstream.port
        made: http.client.HTTPConnection
        if self._context is None:
            made = http.client.HTTPConnection(host, port, timeout=400)
        else:
            made = http.client.HTTPSConnection(host, port, timeout=400, context=self._context)
        made.connect()
        assert made.sock is not None
        made.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.track(made.sock)
        return made

    def track(self, sock: socket.socket) -> None:
        """Remembers an open connection."""
        with self._lock:
            self._open.add(sock)

    def forget(self, sock: socket.socket) -> None:
        """A connection has ended."""
        with self._lock:
            self._open.discard(sock)

    def wait_healed(self) -> None:
        """Until `heal`."""
        self._healed.wait(120)


class _Handler(BaseHTTPRequestHandler):
    """One connection of the manager, with one connection to the server behind it."""

    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 65536  # head and body in one segment

    def setup(self) -> None:
        super().setup()
        self.server.proxy.track(self.request)
        self.upstream: http.client.HTTPConnection | None = None

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()
        self.server.proxy.forget(self.request)
        if self.upstream is not None:
            if self.upstream.sock is not None:
                self.server.proxy.forget(self.upstream.sock)
            self.upstream.close()

    def log_message(self, *_args: object) -> None:
        """Silent: tests say what matters."""

    def handle_any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else None
        fault = self.server.proxy.note(Asked(self.command, self.path, time.monotonic())) or Fault()
        with self.server.proxy.in_flight():
            self.respond(body, fault)

    def respond(self, body: bytes | None, fault: Fault) -> None:
        time.sleep(fault.slow)
        if fault.hang:
            self.server.proxy.wait_healed()
        if fault.hang or fault.reset:
            self.break_off()
        elif fault.status:
            self.answer(fault.status, fault.headers, fault.body)
        else:
            self.forward(body, lose=fault.lose)

    def forward(self, body: bytes | None, *, lose: bool) -> None:
        headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP | {"host"}}
        try:
            if self.upstream is None:
                self.upstream = self.server.proxy.connect()
            self.upstream.request(self.command, self.path, body, headers)
            response = self.upstream.getresponse()
            if response.length is None and not lose:
                self.stream(response)
                return
            data = response.read()
        except (OSError, http.client.HTTPException):
            self.break_off()
            return
        if lose:
            self.break_off()
        else:
            self.answer(response.status, dict(response.getheaders()), data)

    def stream(self, response: http.client.HTTPResponse) -> None:
        self.head(response.status, dict(response.getheaders()), "Transfer-Encoding: chunked")
        while piece := response.read1(65536):
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def answer(self, status: int, headers: Mapping[str, str], data: bytes) -> None:
        self.head(status, headers, f"Content-Length: {len(data)}")
        self.wfile.write(data)
        self.wfile.flush()

    def head(self, status: int, headers: Mapping[str, str], length: str) -> None:
        lines = [f"HTTP/1.1 {status} {http.client.responses.get(status, 'Status')}", length]
        lines += [f"{name}: {value}" for name, value in headers.items() if name.lower() not in HOP]
        self.wfile.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.wfile.flush()

    def break_off(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.request.shutdown(socket.SHUT_RDWR)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 # the names that http.server looks for


@contextlib.contextmanager
def proxying(upstream: str, context: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    """A proxy for the length of a `with` block."""
    proxy = Proxy(upstream, context)
    try:
        yield proxy
    finally:
        proxy.heal()
        proxy.refuse()
