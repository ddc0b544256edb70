"""Podcert installed on a cluster as its users install it: with kubectl and the files under manifests/.

Shared by the demo and the end-to-end tests, so that what is shown is what is tested.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.paths import ClusterError
from tests.cluster.provider import Cluster

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "manifests"
IMAGES = ("certificate-manager", "certificate-fetcher", "podcert-example", "openbao")
CERTS = "/var/run/secrets/certs"
SERVER = "server.default.svc.cluster.local"
ROOT_TOKEN = "my-root-token"
"""Of the dev server in manifests/vault-dev-deployment.yaml."""

PREPARE_CA = (
    "bao secrets enable pki",
    "bao secrets tune -max-lease-ttl=87600h pki",
    "bao write pki/root/generate/internal common_name='my app root CA' key_type=ec key_bits=256 ttl=87600h",
    "bao write pki/roles/pods allowed_domains=svc.cluster.local allow_subdomains=true key_type=any require_cn=false max_ttl=72h",
    "bao policy write pods -",
    "bao write auth/token/roles/pods allowed_policies=pods orphan=true token_period=24h",
)


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

    def vault(self, command: str, stdin: str | None = None) -> str:
        """One command of the seed's tutorial, in the Vault pod, with the root token."""
        shell = f"BAO_ADDR=http://127.0.0.1:8200 BAO_TOKEN={ROOT_TOKEN} {command}"
        return self.kubectl("exec", "-n", "vault", "-i", "deploy/vault", "--", "sh", "-c", shell, stdin=stdin or "")

    def deploy_vault(self) -> None:
        """The dev server, with the CA, the role, the policy and the token role of the tutorial."""
        self._say("Vault: manifests/vault-dev-deployment.yaml")
        self.kubectl("apply", "-f", str(MANIFESTS / "vault-dev-deployment.yaml"))
        self.kubectl("rollout", "status", "-n", "vault", "deploy/vault", "--timeout=120s", timeout=130)
        policy = (MANIFESTS / "policies" / "pods.hcl").read_text()
        for command in PREPARE_CA:
            self._say(f"  {command}")
            self.vault(command, stdin=policy if command.endswith(" -") else None)

    def deploy_manager(self) -> None:
        """The manager and its token, in a namespace that enforces the restricted Pod Security profile."""
        token = self.vault("bao token create -role=pods -field=token").strip()
        self._say("Podcert: a token of role pods as Secret vault-token, then kubectl apply -k manifests/base")
        self.kubectl("apply", "-f", str(MANIFESTS / "base" / "namespace.yaml"))
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "vault-token", "namespace": "podcert"},
            "stringData": {"VAULT_TOKEN": token},
        }
        self.kubectl("apply", "-f", "-", stdin=json.dumps(secret))
        self.kubectl("apply", "-k", str(MANIFESTS / "base"))
        self.kubectl("rollout", "status", "-n", "podcert", "deploy/certificate-manager", "--timeout=120s", timeout=130)

    def restrict(self, namespace: str) -> None:
        """Enforces the restricted Pod Security profile."""
        self.kubectl("label", "namespace", namespace, "--overwrite", "pod-security.kubernetes.io/enforce=restricted")

    def deploy_pods(self) -> None:
        """Client and server, with the fetcher as init container."""
        self._say("Pods: manifests/automatic-certificate-enrollment-2.yaml")
        self.kubectl("apply", "-f", str(MANIFESTS / "automatic-certificate-enrollment-2.yaml"))
        self.kubectl("wait", "--for=condition=Ready", "pod/server", "pod/client", "--timeout=120s", timeout=130)

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

    def metric(self, name: str) -> int:
        """How many series of that name the manager shows now."""
        return sum(line.startswith((name + "{", name + " ")) for line in self.metrics().splitlines())

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
