"""A keep-alive HTTP/1.1 connection that costs next to nothing: the load generator must not be the bottleneck.

Bytes go out as they were built, one answer is read at a time. No redirects, no compression, no retries: whatever is not a
2xx is an error of the benchmark.
"""

from __future__ import annotations

import json
import socket
import ssl
from dataclasses import dataclass
from typing import Any

READ_SECONDS = 30.0


class Unexpected(Exception):
    """An answer that the benchmark did not ask for; the text has the status and the server's own words."""


@dataclass(frozen=True)
class Endpoint:
    """A server and who we are there.

    Attributes:
        host, port: where it listens.
        ca: its CA (a PEM file), empty for plain HTTP.
        certificate, key: PEM files of a client certificate, empty without one.
        headers: sent with each request, such as a token.
    """

    host: str
    port: int
    ca: str = ""
    certificate: str = ""
    key: str = ""
    headers: tuple[tuple[str, str], ...] = ()

    def request(self, method: str, path: str, body: bytes = b"", accept: str = "application/json") -> bytes:
        """The bytes of one request; `body` is JSON."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}", f"Accept: {accept}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if method != "GET":
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + body

    def tls(self) -> ssl.SSLContext | None:
        """The context of its connections."""
        if not self.ca:
            return None
        context = ssl.create_default_context(cafile=self.ca)
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key)
        return context


class Connection:
    """One connection; requests follow each other.

    Raises:
        OSError: nobody answers.
    """

    def __init__(self, endpoint: Endpoint, context: ssl.SSLContext | None) -> None:
        raw = socket.create_connection((endpoint.host, endpoint.port), timeout=READ_SECONDS)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket: socket.socket = raw
        if context is not None:
            self.socket = context.wrap_socket(raw, server_hostname=endpoint.host)
        self._buffer = b""

    def send(self, request: bytes) -> None:
        """Sends a request; the answer to the one before has been read."""
        self.socket.sendall(request)

    def receive(self) -> bytes | None:
        """Reads once; the answer's body when it is complete, else None.

        Raises:
            Unexpected: the status is not 2xx, or the connection has ended.
        """
        piece = self.socket.recv(1 << 16)
        if not piece:
            raise Unexpected("the server has closed the connection")
        self._buffer += piece
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        body = complete(self._buffer[:end].lower(), self._buffer[end + 4 :])
        if body is None:
            return None
        status, self._buffer = self._buffer[9:12], b""
        if not status.startswith(b"2"):
            raise Unexpected(f"HTTP {status.decode()}: {body[:300].decode(errors='replace')}")
        return body

    def exchange(self, request: bytes) -> bytes:
        """Sends a request and waits for the body of its answer."""
        self.send(request)
        while (body := self.receive()) is None:
            pass
        return body

    def call(self, endpoint: Endpoint, method: str, path: str, body: object = None) -> Any:
        """One request with a JSON body; the decoded answer."""
        data = b"" if body is None else json.dumps(body).encode()
        answer = self.exchange(endpoint.request(method, path, data))
        return json.loads(answer) if answer else None

    def close(self) -> None:
        """Ends the connection."""
        self.socket.close()


def connect(endpoint: Endpoint, count: int) -> list[Connection]:
    """`count` open connections with one TLS context."""
    context = endpoint.tls()
    return [Connection(endpoint, context) for _ in range(count)]


def complete(head: bytes, body: bytes) -> bytes | None:
    """The decoded body (RFC 9112, 6 and 7.1), or None while a part of it is missing. `head` is lower case."""
    if b"\r\ntransfer-encoding: chunked" in head:
        return _unchunked(body) if body.endswith(b"0\r\n\r\n") else None
    at = head.find(b"\r\ncontent-length:")
    length = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    return body if len(body) >= length else None


def _unchunked(data: bytes) -> bytes | None:
    found: list[bytes] = []
    at = 0
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        size = int(data[at:end].split(b";", 1)[0], 16)
        if size == 0:
            return b"".join(found)
        if len(data) < end + 2 + size:
            return None
        found.append(data[end + 2 : end + 2 + size])
        at = end + 4 + size
