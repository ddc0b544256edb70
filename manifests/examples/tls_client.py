"""A TLS client that connects anew all the time and verifies the server's chain, name and validity; it says what went wrong.

python3 tls_client.py HOST:PORT… [--rate 1] [--present]

The trust anchors are read from its own ca-cert.pem for each connection, with --present its certificate and key too: so it
follows every renewal. Each REPORT seconds it prints one line of JSON per target with counts and the serials that it has
seen; each failure is a line of its own at once. Standard library only, Python 3.11 or later.
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import threading
import time

CERTS = "/var/run/secrets/certs"
REPORT = 2.0
"""Seconds between two lines."""


class Target:
    """One server, and what was seen of it."""

    def __init__(self, address: str, certs: str, present: bool) -> None:
        self.address = address
        self.host, _, port = address.rpartition(":")
        self.port = int(port)
        self.certs = certs
        self.present = present
        self.seen = {"ok": 0, "failed": 0, "expired": 0}
        self.serials: dict[str, list[float]] = {}

    def connect(self) -> None:
        """One fresh connection: handshake, one request, its answer."""
        try:
            context = ssl.create_default_context(cafile=f"{self.certs}/ca-cert.pem")
            if self.present:
                self.load_pair(context)
            plain = socket.create_connection((self.host, self.port), timeout=10)
            with plain, context.wrap_socket(plain, server_hostname=self.host) as secure:
                self.note(secure)
                secure.sendall(f"GET / HTTP/1.0\r\nHost: {self.host}\r\n\r\n".encode())
                if not secure.recv(4096).startswith((b"HTTP/1.0 200", b"HTTP/1.1 200")):
                    raise OSError("the answer is not 200")
            self.seen["ok"] += 1
        except (OSError, ssl.SSLError) as error:
            self.seen["failed"] += 1
            self.seen["expired"] += "expired" in str(error)
            self.say(error=f"{type(error).__name__}: {error}")

    def load_pair(self, context: ssl.SSLContext) -> None:
        """Certificate and key. When a renewal comes between the two reads they do not fit: both are read again."""
        for attempt in (1, 2, 3):
            try:
                context.load_cert_chain(f"{self.certs}/cert.pem", f"{self.certs}/key.pem")
                return
            except ssl.SSLError:
                if attempt == 3:
                    raise

    def note(self, secure: ssl.SSLSocket) -> None:
        """Remembers serial, end, first and last sight, and the least time that the certificate had left."""
        leaf = secure.getpeercert() or {}
        end, now = ssl.cert_time_to_seconds(str(leaf["notAfter"])), time.time()
        first = self.serials.get(str(leaf["serialNumber"]), [now])[0]
        self.serials[str(leaf["serialNumber"])] = [first, now, end]

    def say(self, **more: object) -> None:
        """One line of JSON."""
        print(json.dumps({"time": round(time.time(), 3), "target": self.address, **self.seen, **more}), flush=True)

    def run(self, rate: float) -> None:
        """Connects `rate` times a second for ever; a slow server makes it late, and it catches up."""
        due = reported = time.monotonic()
        while True:
            self.connect()
            now = time.monotonic()
            if now - reported >= REPORT:
                reported = now
                self.say(serials=self.serials)
            due = max(due + 1 / rate, now - 1.0)
            time.sleep(max(0.0, due - now))


def main() -> None:
    """One thread for each target."""
    parser = argparse.ArgumentParser(description="A TLS client that connects all the time.")
    parser.add_argument("targets", nargs="+", metavar="HOST:PORT")
    parser.add_argument("--rate", type=float, default=1.0, help="connections a second to each target")
    parser.add_argument("--certs", default=CERTS)
    parser.add_argument("--present", action="store_true", help="show the own certificate (mutual TLS)")
    options = parser.parse_args()
    targets = [Target(each, options.certs, options.present) for each in options.targets]
    for target in targets:
        threading.Thread(target=target.run, args=(options.rate,)).start()


if __name__ == "__main__":
    main()
