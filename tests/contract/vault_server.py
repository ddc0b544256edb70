"""A server over a real socket for what a real Vault does not do on demand: recorded answers, hangs, resets, garbage."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parent / "vault_answers"
SERVERS = ("openbao-2.7.2", "vault-1.21.0")


@dataclass(frozen=True)
class Seen:
    """A request as the server got it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any

    @property
    def token(self) -> str | None:
        return self.headers.get("X-Vault-Token")


@dataclass(frozen=True)
class Reply:
    """What to answer; `hang` keeps the connection silent until the test ends, `reset` breaks it, `drip` sends a byte
    every 50 ms, `close` ends it after the answer without having said so."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: bool = False
    reset: bool = False
    drip: bool = False
    close: bool = False

    def raw(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


ENDLESS = Reply(200, {"data": {"ttl": 0, "renewable": False}})
"""What a server says of a token that never ends, as a development server's own."""

Route = Reply | Callable[[Seen], Reply]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_args: object) -> None:
        """A client that hangs up is what these tests are about: not worth a traceback."""


class FakeVault:
    """Answers by path (without `/v1/`); an unknown path is Vault's own 404."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {"sys/health": Reply(200, {"initialized": True, "sealed": False})}
        self.seen: list[Seen] = []
        self.connections = 0
        self.ended = threading.Event()
        self.closed = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def count(self, path: str) -> int:
        with self._lock:
            return sum(seen.path == path for seen in self.seen)

    def last(self, path: str) -> Seen:
        with self._lock:
            return [seen for seen in self.seen if seen.path == path][-1]

    def stop(self) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def reply(self, seen: Seen) -> Reply:
        with self._lock:
            self.seen.append(seen)
        route = self.routes.get(seen.path.partition("?")[0])
        if route is None:
            return Reply(404, {"errors": [f'no handler for route "{seen.path}". route entry not found.']})
        return route if isinstance(route, Reply) else route(seen)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body are two writes: 40 ms each otherwise

            def log_message(self, *_args: object) -> None:
                """Silent: tests say what matters."""

            def setup(self) -> None:
                fake.connections += 1
                super().setup()

            def finish(self) -> None:
                super().finish()
                with contextlib.suppress(OSError):
                    self.connection.shutdown(socket.SHUT_RDWR)
                fake.closed.release()

            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                raw = self.rfile.read(length)
                body = json.loads(raw) if raw else None
                headers = dict(self.headers.items())
                path = self.path.removeprefix("/v1/")
                _send(self, fake.reply(Seen(self.command, path, headers, body)), fake.ended)

            do_GET = do_POST = do_PUT = do_PATCH = handle_any  # noqa: N815 # the names that http.server looks for

        return Handler


def _send(handler: BaseHTTPRequestHandler, reply: Reply, ended: threading.Event) -> None:
    if reply.hang:
        ended.wait(30)
        handler.close_connection = True
        return
    if reply.reset:
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()
        handler.close_connection = True
        return
    raw = reply.raw()
    handler.send_response(reply.status)
    for name, value in {"Content-Length": str(len(raw)), **reply.headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.close_connection = reply.close
    pieces = [raw[at : at + 1] for at in range(len(raw))] if reply.drip else [raw]
    with contextlib.suppress(OSError):
        for piece in pieces:
            handler.wfile.write(piece)
            handler.wfile.flush()
            if reply.drip and ended.wait(0.05):
                return


def recorded(server: str, name: str) -> Reply:
    """An answer as the real server gave it."""
    found = json.loads((RECORDED / server / f"{name}.json").read_text())
    return Reply(found["status"], found["body"], found["headers"])


@contextlib.contextmanager
def fake_vault() -> Iterator[FakeVault]:
    server = FakeVault()
    try:
        yield server
    finally:
        server.stop()
