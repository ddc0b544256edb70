"""`/livez`, `/readyz` and `/metrics`: what the kubelet and Prometheus ask.

Liveness fails only when a restart would help: a thread is gone or hangs. It never fails because Vault or the API server
is away. Readiness says, by name, what is missing. Served by threads of their own, so a busy queue does not delay a probe.
"""

from __future__ import annotations

import json
import logging
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import parse_qs, urlsplit

from certmanager.observe.metrics import CONTENT_TYPE

Checks = Callable[[], Mapping[str, str | None]]
"""By name of the check, what is wrong, or None when nothing is."""

CLIENTS: Final = 32
"""Connections at a time; more are closed at once, so that nobody can use up the threads."""
CLIENT_SECONDS: Final = 10.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """What is served.

    Attributes:
        live: checks of `/livez`.
        ready: checks of `/readyz`.
        metrics: body of `/metrics` in the Prometheus text format.
    """

    live: Checks
    ready: Checks
    metrics: Callable[[], bytes]


class HealthServer:
    """Listens from its making on (a port in use is known at once); answers from `start` to `stop`.

    Args:
        host: address, IPv4 or IPv6; empty for all of both.
        port: 0 for a free one.
        endpoints: what is served.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(self, host: str, port: int, endpoints: Endpoints) -> None:
        self._server = _Server((host, port), endpoints)
        self.port: int = self._server.server_address[1]
        """The port that it listens on."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="health", daemon=True
        )

    def start(self) -> None:
        """Starts answering."""
        self._thread.start()

    def stop(self) -> None:
        """Stops and closes the port; a second time does nothing."""
        if self._thread.ident is not None and self._thread.is_alive():
            self._server.shutdown()
            self._thread.join(5.0)
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], endpoints: Endpoints) -> None:
        self.endpoints = endpoints
        self._free = threading.Semaphore(CLIENTS)
        everywhere = not address[0] and socket.has_dualstack_ipv6()
        if everywhere or ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        if self.address_family is socket.AF_INET6 and not self.server_address[0]:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not HTTPServer's: it asks DNS for this machine's name, which can take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "podcert", self.server_address[1]

    def process_request(self, request: object, client_address: object) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)  # type: ignore[arg-type]
        else:
            self.shutdown_request(request)  # type: ignore[arg-type]

    def process_request_thread(self, request: object, client_address: object) -> None:
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - the library's signature
        """A client that went away is no news; the library would print a traceback."""
        _log.debug("a client of the health endpoints went away")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "podcert"
    sys_version = ""
    timeout = CLIENT_SECONDS

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        endpoints = self.server.endpoints
        try:
            match url.path:
                case "/livez":
                    self._checks(endpoints.live, url.query)
                case "/readyz":
                    self._checks(endpoints.ready, url.query)
                case "/metrics":
                    self._answer(HTTPStatus.OK, CONTENT_TYPE, endpoints.metrics())
                case _:
                    self._answer(HTTPStatus.NOT_FOUND, "text/plain", b"try /livez, /readyz or /metrics\n")
        except (OSError, TimeoutError):
            raise
        except Exception as error:  # noqa: BLE001 - a check that fails is an answer, not the end of the connection
            _log.error("%s failed: bug, %s", url.path, type(error).__name__)
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", b"a check failed; see the log\n")

    def _checks(self, checks: Checks, query: str) -> None:
        results = checks()
        problems = {name: problem for name, problem in results.items() if problem is not None}
        status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
        if "application/json" in self.headers.get("Accept", ""):
            body = {"ok": not problems, "checks": {name: problem or "ok" for name, problem in results.items()}}
            self._answer(status, "application/json", json.dumps(body, sort_keys=True).encode() + b"\n")
            return
        verbose = "verbose" in parse_qs(query, keep_blank_values=True)
        shown = results if verbose else problems
        lines = [f"[+] {name}: ok" if problem is None else f"[-] {name}: {problem}" for name, problem in shown.items()]
        lines.append("not ok" if problems else "ok")
        self._answer(status, "text/plain; charset=utf-8", "\n".join(lines).encode() + b"\n")

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """A probe every few seconds is not worth a line."""
