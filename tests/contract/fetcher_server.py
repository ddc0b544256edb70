"""An API server that misbehaves on demand, over real TLS sockets: what a real one does only on bad days."""

import json
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import trustme


@dataclass(frozen=True)
class Call:
    """One request as it came."""

    path: str
    query: dict[str, list[str]]
    token: str | None

    @property
    def is_watch(self) -> bool:
        """A list with `watch=1`, not a read by name."""
        return "watch" in self.query


Answer = Callable[["Handler"], None]


def status(code: int, message: str = "no", headers: dict[str, str] | None = None) -> Answer:
    """Answer with a Kubernetes Status."""
    body = json.dumps({"kind": "Status", "apiVersion": "v1", "code": code, "message": message}).encode()
    return lambda handler: handler.send(code, body, headers or {})


def body(content: dict[str, Any] | bytes) -> Answer:
    """Answer 200 with this JSON, or with these very bytes."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return lambda handler: handler.send(200, raw, {})


def raw(content: bytes) -> Answer:
    """Answer with these bytes instead of HTTP, and close."""

    def answer(handler: "Handler") -> None:
        handler.wfile.write(content)
        handler.close_connection = True

    return answer


def hang(handler: "Handler") -> None:
    """Answer nothing until the server is closed."""
    handler.fake.closing.wait(30)
    handler.close_connection = True


def events(*content: tuple[str, dict[str, Any]], then: Answer | None = None) -> Answer:
    """Answer a watch with these events, one chunk each; then end it well, or do `then` in the middle of the stream."""
    lines = [json.dumps({"type": kind, "object": found}).encode() + b"\n" for kind, found in content]

    def answer(handler: "Handler") -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for line in lines:
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(line), line))
        if then is None:
            handler.wfile.write(b"0\r\n\r\n")
        else:
            then(handler)

    return answer


class Handler(BaseHTTPRequestHandler):
    """Notes the call and gives the next answer of its kind; the last one is given for ever."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # as Go does; head and body in two writes would wait 40 ms for an acknowledgement
    fake: "FakeApiServer"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        call = Call(parts.path, parse_qs(parts.query), self.headers.get("Authorization"))
        with self.fake.lock:
            self.fake.calls.append(call)
            answers = self.fake.watches if call.is_watch else self.fake.reads
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
        answer(self)

    def send(self, code: int, content: bytes, headers: dict[str, str]) -> None:
        """Send a whole answer."""
        self.send_response(code)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server uses
        """Keep the tests' output quiet."""


class _TlsServer(ThreadingHTTPServer):
    context: ssl.SSLContext
    block_on_close = True

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Do the handshake in the request's own thread, so that one client never holds up another."""
        request.settimeout(30)
        try:
            with self.context.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)
        except OSError:  # the client went away, as many tests want
            return

    def shutdown_request(self, request: Any) -> None:
        """Close without the shutdown that a detached socket refuses."""
        request.close()


class _Ipv6Server(_TlsServer):
    address_family = socket.AF_INET6


@dataclass
class FakeApiServer:
    """Serves on loopback from `with` to its end. `reads` and `watches` are its answers, in order, the last for ever."""

    ca: trustme.CA
    host: str = "127.0.0.1"
    reads: list[Answer] = field(default_factory=lambda: [status(404)])
    watches: list[Answer] = field(default_factory=lambda: [hang])
    calls: list[Call] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        handler = type("BoundHandler", (Handler,), {"fake": self})
        kind = _Ipv6Server if ":" in self.host else _TlsServer
        self._server = kind((self.host, 0), handler)
        self._server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(self.host).configure_cert(self._server.context)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    @property
    def port(self) -> int:
        """The port on loopback."""
        return int(self._server.server_address[1])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
