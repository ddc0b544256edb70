"""What a cluster can do, whoever provides it: the demo, the tests and the benchmark know only these names.

Provider `local` (local.py) starts everything from parts, `kind` (kind.py) in Docker, `existing` (existing.py) uses a cluster
that somebody names; `choice` tells which one is meant.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Spec:
    """What is asked for.

    Attributes:
        name: 1 to 20 lower-case letters, digits, dashes; clusters of different names run side by side.
        node: with a node, pods run in containers; without one there is an API server and nothing more.
        images: names of this project's images (`images.NAMES`) to build and load before the cluster counts as ready.
        pod_certificates: switch on the API of native pod certificates (PodCertificateRequest).
        audit: the API server writes what the manager asked for into `audit.log` beside the parts' logs.
        quiet: no lines on stderr about the start.
    """

    name: str = "podcert"
    node: bool = True
    images: Sequence[str] = ()
    pod_certificates: bool = False
    audit: bool = False
    quiet: bool = False


class Cluster(Protocol):
    """A running cluster."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig with all rights."""

    @property
    def apiserver_url(self) -> str:
        """Address of the API server, `https://…`."""

    @property
    def ca_file(self) -> Path:
        """The CA that the API server's certificate chains to, PEM."""

    @property
    def logs_dir(self) -> Path:
        """Folder with the parts' logs."""

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True, timeout: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl with all rights; with `check` a failure raises ClusterError with kubectl's own words."""

    def kubectl_command(self) -> list[str]:
        """Return the words that start kubectl with all rights, for programs that run it themselves."""

    def token(self, namespace: str, service_account: str, seconds: int = 3600) -> str:
        """Return a token of a ServiceAccount."""

    def load_images(self, images: Iterable[str]) -> None:
        """Build this project's images (`images.NAMES`) where needed and bring them to the node."""

    def keep(self) -> None:
        """Let it outlive this process."""

    def describe(self) -> str:
        """What runs, as JSON."""

    def down(self) -> None:
        """End it; returns when nothing is left."""


class Provider(Protocol):
    """Makes clusters."""

    @property
    def name(self) -> str:
        """What --provider calls it."""

    def missing(self, *, node: bool) -> str | None:
        """What keeps it from working here and how to mend that, or None."""

    def up(self, spec: Spec) -> Cluster:
        """Start a cluster that ends with this process."""

    def attach(self, name: str) -> Cluster:
        """Return a cluster that runs."""

    def down(self, name: str) -> bool:
        """End a cluster by name; False when none ran."""

    def names(self) -> list[str]:
        """Return the names of the running clusters."""
