"""A control plane, an OpenBao and the manager's rights, for what needs no container: the manager is a process beside them."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import local
from tests.cluster.paths import REPOSITORY
from tests.cluster.running import LocalCluster
from tests.integration.tls_server import TlsServer, tls_server
from tests.integration.world import World


@dataclass(frozen=True)
class Control:
    """What runs, and a folder for files."""

    cluster: LocalCluster
    tls: TlsServer
    folder: Path

    def world(self, name: str) -> World:
        """A namespace and a PKI mount of that name."""
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        made = World(self.cluster, self.tls.server, name, f"pki-{name}", folder)
        made.set_up()
        return made


@contextlib.contextmanager
def control(name: str) -> Iterator[Control]:
    """For the length of a `with` block."""
    with (
        tempfile.TemporaryDirectory(prefix=f"podcert-{name}-") as folder,
        tls_server(Path(folder)) as tls,
        local.cluster(f"{name}-{os.getpid()}", node=False, quiet=True) as cluster,
    ):
        for manifest in ("namespace", "serviceaccount", "rbac"):
            path = REPOSITORY / "manifests" / "base" / f"{manifest}.yaml"
            cluster.kubectl("apply", "--namespace", "podcert", "-f", str(path))
        yield Control(cluster, tls, Path(folder))
