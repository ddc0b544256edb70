"""OpenBao servers with integrated storage on the loopback, as those of manifests/vault but without a cluster around them.

Each is a part of one sandbox: killed by name, started again with its data, ended with the test.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from certmanager.servers.reach import OneServer
from certmanager.vault.config import VaultConfig
from certmanager.vault.transport import Transport
from tests.cluster import addresses, paths
from tests.cluster.openbao import PORTS, binary
from tests.cluster.sandbox import Keep, Part, Sandbox

CONFIG = """
disable_mlock = true
disable_standby_reads = true
api_addr = "http://127.0.0.1:{port}"
cluster_addr = "https://127.0.0.1:{cluster}"
listener "tcp" {{
  address = "127.0.0.1:{port}"
  tls_disable = true
}}
storage "raft" {{
  path = "{data}"
  node_id = "{name}"
  performance_multiplier = 1
  {joins}
}}
"""


@dataclass(frozen=True)
class RaftServers:
    """Running servers; a `Reach` of `podcert vault` to all of them."""

    sandbox: Sandbox
    ports: Sequence[int]

    def url(self, number: int) -> str:
        """The API of a server."""
        return f"http://127.0.0.1:{self.ports[number]}"

    def transport(self, number: int) -> Transport:
        """A new way to a server."""
        return Transport(VaultConfig(self.url(number), read_timeout=10, connect_timeout=2))

    def servers(self) -> list[OneServer]:
        """See `Reach`."""
        return [OneServer(self.transport(number)) for number in range(len(self.ports))]

    def wanted(self) -> int:
        """See `Reach`."""
        return len(self.ports)

    def close(self) -> None:
        """See `Reach`."""

    def kill(self, number: int) -> None:
        """SIGKILL, as when a node dies."""
        self.sandbox.signal(f"openbao-{number}", signal.SIGKILL)

    def start(self, number: int) -> None:
        """Starts a server that has ended, with the data that it has."""
        self.sandbox.run_again(f"openbao-{number}")


@contextlib.contextmanager
def raft_servers(count: int, seal: str = "") -> Iterator[RaftServers]:
    """That many servers without data for a `with` block, none of them initialised; `seal` is a stanza of that name."""
    claims = [addresses.claim_port(PORTS) for _ in range(count)]
    ports = [claim.number for claim in claims]
    with paths.temporary(paths.run_root() / ".openbao", "raft") as folder:
        try:
            sandbox = Sandbox.start(folder, namespaces=False, keep=Keep(locks=[claim.lock for claim in claims]))
        finally:
            for claim in claims:
                os.close(claim.lock)
        try:
            for number in range(count):
                _start(sandbox, folder, number, ports, seal)
            yield RaftServers(sandbox, ports)
        finally:
            sandbox.end()
            for each in ("logs", *(f"data-{number}" for number in range(count))):
                shutil.rmtree(folder / each, ignore_errors=True)


def _start(sandbox: Sandbox, folder: Path, number: int, ports: Sequence[int], seal: str) -> None:
    data = folder / f"data-{number}"
    data.mkdir(mode=0o700)
    joins = "".join(f'retry_join {{\n leader_api_addr = "http://127.0.0.1:{port}"\n }}\n' for port in ports)
    port = ports[number]
    values = {"port": port, "cluster": port + 1, "data": data, "name": f"server-{number}"}
    config = folder / f"{number}.hcl"
    config.write_text(seal + CONFIG.format(**values, joins=joins if len(ports) > 1 else ""))
    sandbox.run(Part(f"openbao-{number}", [str(binary()), "server", f"-config={config}"], {"HOME": str(folder)}))
