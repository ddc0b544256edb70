"""An API server that does what a real one will not do on demand: hang, reset, send garbage, 410, 429. Over a real socket.

Each request is answered by the next function of a script for its kind (`list`, `watch`, or the method); the last function
of a script is used again and again.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kubernetes.client.configuration import Configuration

from certmanager.kube.client import KubeClient

Json = dict[str, Any]


@dataclass
class Request:
    """What a client asked."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class Connection:
    """One client's connection, to be answered on."""

    def __init__(self, sock: socket.socket, closing: threading.Event) -> None:
        self.sock = sock
        self.closing = closing

    def answer(self, status: int, body: Json | bytes, headers: dict[str, str] | None = None) -> None:
        """A whole answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(data)}", "Content-Type: application/json"]
        lines += [f"{key}: {value}" for key, value in (headers or {}).items()]
        self.sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + data)

    def begin(self) -> None:
        """The head of a chunked answer."""
        self.sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n")

    def chunk(self, data: bytes) -> None:
        """One chunk."""
        self.sock.sendall(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def event(self, kind: str, item: Json) -> None:
        """One event of a watch."""
        self.chunk(json.dumps({"type": kind, "object": item}).encode() + b"\n")

    def end(self) -> None:
        """The end of a chunked answer."""
        self.sock.sendall(b"0\r\n\r\n")

    def reset(self) -> None:
        """A TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def hang(self) -> None:
        """Says nothing until the server is closed."""
        self.closing.wait(30)


Answer = Callable[[Connection, Request], None]


@dataclass
class Server:
    """What is answered, and what was asked."""

    scripts: dict[str, list[Answer]]
    asked: list[tuple[str, Request]] = field(default_factory=list)
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def kind(self, request: Request) -> str:
        if request.method != "GET":
            return request.method
        return "watch" if request.query.get("watch") == "true" else "list"

    def take(self, request: Request) -> Answer:
        kind = self.kind(request)
        with self.lock:
            self.asked.append((kind, request))
            script = self.scripts[kind]
            return script.pop(0) if len(script) > 1 else script[0]

    def of(self, kind: str) -> list[Request]:
        """The requests of a kind, in order."""
        with self.lock:
            return [request for name, request in self.asked if name == kind]


@contextmanager
def serving(**scripts: list[Answer]) -> Iterator[Server]:
    """A server on a free port of the loopback."""
    server = Server(dict(scripts))
    closing = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    server.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    threads: list[threading.Thread] = []
    socks: list[socket.socket] = []

    def accept() -> None:
        with suppress(OSError):
            while not closing.is_set():
                sock, _ = listener.accept()
                thread = threading.Thread(target=_serve, args=(server, sock, closing), daemon=True)
                threads.append(thread)
                socks.append(sock)
                thread.start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield server
    finally:
        closing.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(5)
        for sock in socks:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(5)


def _serve(server: Server, sock: socket.socket, closing: threading.Event) -> None:
    sock.settimeout(0.2)
    with sock, suppress(OSError):
        pending = b""
        while not closing.is_set():
            try:
                data = sock.recv(65536)
            except TimeoutError:
                continue
            if not data:
                return
            pending += data
            while (parsed := _parse(pending)) is not None:
                request, pending = parsed
                server.take(request)(Connection(sock, closing), request)


def _parse(data: bytes) -> tuple[Request, bytes] | None:
    head, separator, rest = data.partition(b"\r\n\r\n")
    if not separator:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", "0"))
    if len(rest) < length:
        return None
    method, target, _ = first.split(" ")
    url = urlsplit(target)
    query = {key: values[0] for key, values in parse_qs(url.query, keep_blank_values=True).items()}
    return Request(method, url.path, query, headers, rest[:length]), rest[length:]


class Token:
    """Credentials of a test."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens) or ["t1"]

    def header(self) -> str:
        return f"Bearer {self.tokens[0]}"

    def refused(self) -> None:
        if len(self.tokens) > 1:
            self.tokens.pop(0)


def client(server: Server, token: Token | None = None) -> KubeClient:
    """A client of the server."""
    configuration = Configuration(host=server.url)
    configuration.retries = False
    configuration.proxy = None
    return KubeClient(configuration, token or Token(), 4)


def status(code: int, message: str = "", reason: str = "") -> Json:
    """A Status object."""
    return {"kind": "Status", "apiVersion": "v1", "code": code, "message": message, "reason": reason}


def fails(code: int, message: str = "", **headers: str) -> Answer:
    """Always this error."""

    def answer(connection: Connection, _request: Request) -> None:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        connection.answer(code, status(code, message), named)

    return answer


def says(body: Json | bytes) -> Answer:
    """Always this answer."""
    return lambda connection, _request: connection.answer(200, body)


def service(name: str, version: int, **selector: str) -> Json:
    """A Service."""
    meta = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "resourceVersion": str(version)}
    return {"metadata": meta, "spec": {"selector": selector}}


def page(version: int, *items: Json, more: str = "") -> Answer:
    """A page of a list."""
    return says({"kind": "List", "metadata": {"resourceVersion": str(version), "continue": more}, "items": list(items)})


def quiet(connection: Connection, _request: Request) -> None:
    """A watch on which nothing happens."""
    connection.begin()
    connection.hang()
