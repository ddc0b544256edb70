"""A TLS server that reads its certificate once, at its start, as most applications do: it needs a restart to take a new one.

python3 tls_server.py [--port 8443] [--client-ca FILE]

With --client-ca it answers only clients that show a certificate which that CA has signed (mutual TLS). SIGTERM ends it
gracefully: it takes no new connections and finishes those that it has. Standard library only, Python 3.11 or later.
"""

from __future__ import annotations

import argparse
import signal
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CERTS = "/var/run/secrets/certs"


class Hello(BaseHTTPRequestHandler):
    """Says hello, and to whom if the client has shown a certificate."""

    timeout = 10.0

    def setup(self) -> None:
        """The handshake happens here, in the connection's own thread: a slow client keeps nobody waiting."""
        self.request.settimeout(self.timeout)
        self.request.do_handshake()
        super().setup()

    def do_GET(self) -> None:
        """Any path."""
        shown = self.request.getpeercert() or {}
        names = ", ".join(value for kind, value in shown.get("subjectAltName", ()) if kind == "DNS")
        body = f"hello {names or 'client'}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        """Twenty lines a second would tell nobody anything."""


class Server(ThreadingHTTPServer):
    """Every connection has its thread, and at the end all of them are waited for."""

    daemon_threads = False
    request_queue_size = 128

    def handle_error(self, _request: object, client_address: object) -> None:
        """A probe that only opens a connection, or a client without a certificate, is no event for a stack trace."""


def listen(address: tuple[str, int], certs: str, client_ca: str | None) -> Server:
    """A server that is bound to `address` and has read its files."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_ca)
    context.load_cert_chain(f"{certs}/cert.pem", f"{certs}/key.pem")
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
    server = Server(address, Hello)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server


def main() -> None:
    """Serves until SIGTERM."""
    parser = argparse.ArgumentParser(description="A TLS server that greets.")
    parser.add_argument("--port", type=int, default=8443)
    parser.add_argument("--certs", default=CERTS)
    parser.add_argument("--client-ca", help="only clients with a certificate of this CA are served")
    options = parser.parse_args()
    with listen(("", options.port), options.certs, options.client_ca) as server:
        # shutdown() waits for the loop that this very thread runs, so another one calls it.
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        print(f"{socket.gethostname()} serves TLS on port {options.port}", flush=True)
        server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main()
