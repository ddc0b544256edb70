"""Podcert installed on a cluster as its users install it: with kubectl and the files under manifests/.

Shared by the demo and the end-to-end tests, so that what is shown is what is tested.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import children
from tests.cluster.paths import ClusterError
from tests.cluster.provider import Cluster

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "manifests"
IMAGES = ("certificate-manager", "certificate-fetcher", "podcert-example", "openbao")
CERTS = "/var/run/secrets/certs"
SERVER = "server.default.svc.cluster.local"
ROOT_TOKEN = "my-root-token"
"""Of the dev server in manifests/vault-dev-deployment.yaml."""


@dataclass(frozen=True)
class Handshake:
    """What `openssl s_client` said in the client's pod."""

    status: int
    output: str

    @property
    def verified(self) -> bool:
        """The chain reaches the anchor, and the server's name is the one that was asked for."""
        return self.status == 0 and "Verify return code: 0 (ok)" in self.output and self.peername is not None

    @property
    def peername(self) -> str | None:
        """The name that openssl verified."""
        found = re.search(r"^Verified peername: (\S+)$", self.output, re.MULTILINE)
        return found[1] if found else None

    def lines(self) -> list[str]:
        """openssl's own lines that matter to a reader."""
        wanted = (
            "subject=",
            "issuer=",
            "New, TLS",
            "Verification:",
            "Verified peername:",
            "    Verify return code:",
            "Verify return",
        )
        seen: dict[str, None] = {}
        for line in self.output.splitlines():
            if line.startswith(wanted):
                seen[line.strip()] = None
        return list(seen)


class Scenario:
    """Steps on one cluster.

    Args:
        cluster: a cluster with a node and this project's images.
        say: told of each step.
    """

    def __init__(self, cluster: Cluster, say: Callable[[str], None] = lambda text: None) -> None:
        self.cluster = cluster
        self._say = say

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 120.0) -> str:
        """Output of kubectl; raises ClusterError when it fails."""
        return self.cluster.kubectl(*arguments, stdin=stdin, timeout=timeout).stdout

    @contextlib.contextmanager
    def vault(self) -> Iterator[dict[str, str]]:
        """The environment in which `podcert` and `bao` reach the dev server with its root token, through a port-forward."""
        command = [*self.cluster.kubectl_command(), "port-forward", "-n", "vault", "svc/vault", ":8200"]
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=children.end_with_parent,  # noqa: PLW1509 - see there
        ) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                found = re.search(r"Forwarding from (127\.0\.0\.1:\d+)", line)
                if found is None:
                    raise ClusterError(f"kubectl port-forward to Vault: {line.strip()}")
                # What it prints for each connection has to go somewhere, or the pipe fills.
                threading.Thread(target=process.stdout.read, daemon=True).start()
                yield {**os.environ, "VAULT_ADDR": f"http://{found[1]}", "VAULT_TOKEN": ROOT_TOKEN}
            finally:
                process.terminate()
                process.wait(10)

    def deploy_vault(self) -> None:
        """The dev server."""
        self._say("Vault: kubectl apply -f manifests/vault-dev-deployment.yaml")
        self.kubectl("apply", "-f", str(MANIFESTS / "vault-dev-deployment.yaml"))
        self.kubectl("rollout", "status", "-n", "vault", "deploy/vault", "--timeout=120s", timeout=130)

    def bootstrap(self, token_file: Path) -> str:
        """`podcert bootstrap`, with the manager's token into a file; returns what it printed."""
        self._say("CA, roles, policy and the manager's token: podcert bootstrap")
        command = [sys.executable, "-m", "certmanager", "bootstrap", "--token-file", str(token_file)]
        with self.vault() as environment:
            done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ClusterError(f"podcert bootstrap: {done.stderr.strip() or done.stdout.strip()}")
        for line in done.stdout.splitlines():
            if not line.startswith(" "):
                self._say(f"  {line}")
        return done.stdout

    def deploy_manager(self) -> None:
        """The manager and its token, in a namespace that enforces the restricted Pod Security profile."""
        self.kubectl("apply", "-f", str(MANIFESTS / "base" / "namespace.yaml"))
        with tempfile.TemporaryDirectory(prefix="podcert-") as folder:
            token = Path(folder) / "VAULT_TOKEN"
            self.bootstrap(token)
            self._say("Podcert: kubectl create secret generic vault-token, kubectl apply -k manifests/base")
            create = ("create", "secret", "generic", "vault-token", "-n", "podcert", f"--from-file={token}")
            secret = self.kubectl(*create, "--dry-run=client", "-o", "yaml")
        self.kubectl("apply", "-f", "-", stdin=secret)
        self.kubectl("apply", "-k", str(MANIFESTS / "base"))
        self.kubectl("rollout", "status", "-n", "podcert", "deploy/certificate-manager", "--timeout=120s", timeout=130)

    def restrict(self, namespace: str) -> None:
        """Enforces the restricted Pod Security profile."""
        self.kubectl("label", "namespace", namespace, "--overwrite", "pod-security.kubernetes.io/enforce=restricted")

    def deploy_pods(self, manifest: int = 2, mode: str = "sign") -> None:
        """Client and server of manifest 1 (mounted Secret) or 2 (init container), with the key made by `mode`."""
        file = str(MANIFESTS / f"automatic-certificate-enrollment-{manifest}.yaml")
        self._say(f"Pods: {file.removeprefix(str(ROOT) + '/')}, podcert.io/mode={mode}")
        annotated = self.kubectl("annotate", "--local", "-f", file, "-o", "yaml", f"podcert.io/mode={mode}")
        self.kubectl("apply", "-f", "-", stdin=annotated)
        self.kubectl("wait", "--for=condition=Ready", "pod/server", "pod/client", "--timeout=120s", timeout=130)

    def remove_pods(self) -> None:
        """Deletes client and server; their Secrets go with them."""
        self.kubectl("delete", "pod", "server", "client", "--ignore-not-found", "--wait")

    def handshake(self, connect: str = f"{SERVER}:4433", name: str = SERVER) -> Handshake:
        """The seed's test procedure: openssl in the client's pod against the server's Service.

        A Service's rules reach the node a moment after its pod is ready, so a refused connection is tried again.
        """
        command = ["openssl", "s_client", "-connect", connect, "-CAfile", f"{CERTS}/ca-cert.pem"]
        command += ["-verify_hostname", name, "-verify_return_error"]
        end = time.monotonic() + 20
        while True:
            done = self.cluster.kubectl("exec", "client", "-c", "client", "--", *command, check=False)
            result = Handshake(done.returncode, done.stdout + done.stderr)
            if "CONNECTED" in result.output or time.monotonic() > end:
                return result
            time.sleep(0.2)

    def certificates(self) -> list[tuple[str, str, str, str]]:
        """Namespace/pod, names, serial and end of every certificate in the cluster."""
        found = json.loads(self.kubectl("get", "secrets", "-A", "-l", "podcert.io/managed=true", "-o", "json"))
        rows = []
        for item in found["items"]:
            notes = {key.removeprefix("podcert.io/"): value for key, value in item["metadata"]["annotations"].items()}
            where = f"{item['metadata']['namespace']}/{notes['pod']}"
            rows.append((where, notes["names"], notes["serial"][:23] + "…", notes["not-after"]))
        return sorted(rows)

    def metrics(self) -> str:
        """The manager's metrics, through the API server's proxy, as text."""
        return self.kubectl(
            "get", "--raw", "/api/v1/namespaces/podcert/services/certificate-manager:metrics/proxy/metrics"
        )

    def series(self, name: str) -> list[float]:
        """The values of all series of that name that the manager shows now."""
        lines = [line for line in self.metrics().splitlines() if line.startswith((name + "{", name + " "))]
        return [float(line.rpartition(" ")[2]) for line in lines]

    def explain(self) -> str:
        """What a person would look at when something does not start: pods, recent Events, logs."""
        commands = (
            ("get", "pods", "-A", "-o", "wide"),
            ("get", "events", "-A", "--sort-by=.lastTimestamp"),
            ("logs", "-n", "podcert", "deploy/certificate-manager", "--tail=30"),
        )
        parts = []
        for command in commands:
            done = self.cluster.kubectl(*command, check=False)
            parts.append(f"$ kubectl {' '.join(command)}\n{(done.stdout + done.stderr)[-6000:]}")
        return "\n".join(parts)


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Columns wide enough for what is in them."""
    widths = [max(len(row[index]) for row in [header, *rows]) for index in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [header, *rows]
    )


__all__ = ["CERTS", "IMAGES", "MANIFESTS", "ROOT", "SERVER", "ClusterError", "Handshake", "Scenario", "table"]
