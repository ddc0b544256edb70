"""Connects to Vault again and again, each time anew, and writes down what it sees: run as a program inside the sandbox.

    python3 tls_probe.py HOST PORT NAME CA_FILE RESULT

RESULT is a file with one JSON object, replaced twice a second: `ok`, `failed`, `errors` (the first ones), `longest` (seconds
between two successes), `serials` (hexadecimal; each once in a row). CA_FILE is read anew for each connection, NAME is verified.
It ends when there is a file RESULT.stop, or after ten minutes. Standard library only.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import time
from pathlib import Path

PERIOD = 0.05
LIMIT = 600.0
WRITE = 0.5
KEPT = 5


class Probe:
    """What was seen so far."""

    def __init__(self, address: tuple[str, int], name: str, ca_file: str) -> None:
        self._address = address
        self._name = name
        self._ca_file = ca_file
        self._last = 0.0
        self.ok = 0
        self.failed = 0
        self.longest = 0.0
        self.errors: list[str] = []
        self.serials: list[str] = []

    def once(self) -> None:
        """One connection with one request."""
        try:
            serial = self._ask()
        except (OSError, ValueError) as error:
            self.failed += 1
            self.errors = [*self.errors, f"{time.time():.1f} {type(error).__name__}: {error}"][:KEPT]
            return
        now = time.monotonic()
        self.longest = max(self.longest, now - self._last) if self._last else 0.0
        self._last = now
        self.ok += 1
        if self.serials[-1:] != [serial]:
            self.serials.append(serial)

    def _ask(self) -> str:
        """Returns the serial of a server that is active or a standby. Raises OSError, ValueError."""
        context = ssl.create_default_context(cafile=self._ca_file)
        with (
            socket.create_connection(self._address, 5) as plain,
            context.wrap_socket(plain, server_hostname=self._name) as connection,
        ):
            request = f"GET /v1/sys/health?standbyok=true HTTP/1.1\r\nHost: {self._name}\r\nConnection: close\r\n\r\n"
            connection.sendall(request.encode())
            line = connection.makefile("rb").readline().decode()
            if " 200 " not in line:
                raise ValueError(line.strip() or "no answer")
            return str((connection.getpeercert() or {})["serialNumber"])

    def write(self, result: Path) -> None:
        """What was seen, in one step."""
        names = ("ok", "failed", "longest", "errors", "serials")
        beside = result.with_suffix(".new")
        beside.write_text(json.dumps({name: getattr(self, name) for name in names}))
        beside.rename(result)


def main() -> None:
    """See the module's docstring."""
    host, port, name, ca_file, where = sys.argv[1:]
    probe, result = Probe((host, int(port)), name, ca_file), Path(where)
    began = written = time.monotonic()
    while not Path(f"{where}.stop").exists() and time.monotonic() - began < LIMIT:
        probe.once()
        if time.monotonic() - written > WRITE:
            probe.write(result)
            written = time.monotonic()
        time.sleep(PERIOD)
    probe.write(result)


if __name__ == "__main__":
    main()
