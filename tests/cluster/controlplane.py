"""Command lines of etcd, API server, controller manager and scheduler, and the files they read."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import pki
from tests.cluster.sandbox import Part

SERVICES = "10.96.0.0/16"
FIRST_SERVICE = "10.96.0.1"
PODS = "10.244.0.0/16"
ISSUER = "https://kubernetes.default.svc.cluster.local"
MANAGER = "system:serviceaccount:podcert:certificate-manager"
"""The manager's user, whose requests the API server writes down (without their bodies)."""
POD_CERTIFICATE_GATES = ("PodCertificateRequest", "ClusterTrustBundle", "ClusterTrustBundleProjection")


AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "users": [MANAGER]}, {"level": "None"}],
}


@dataclass(frozen=True)
class Plan:
    """What the control plane's command lines depend on.

    Attributes:
        kube: the binary of all parts.
        folder: the cluster's folder; certificates and kubeconfigs go to `pki` and `conf` in it.
        data: where etcd keeps its data; dies with the cluster.
        address: the IP address that the API server listens on and is reached by.
        port: its port.
        pod_certificates: switch on the API of native pod certificates.
        audit: write down what the manager asks for.
    """

    kube: Path
    folder: Path
    data: Path
    address: str
    port: int
    pod_certificates: bool = False
    audit: bool = False

    @property
    def url(self) -> str:
        """Return the API server's address as a URL."""
        return f"https://{self.address}:{self.port}"

    @property
    def audit_log(self) -> Path:
        """Return where the API server writes what the manager asked for, one JSON document a line."""
        return self.folder / "logs" / "audit.log"

    @property
    def audit_policy(self) -> Path:
        """Return the file that says whose requests are written down: only the manager's."""
        return self.folder / "conf" / "audit.json"

    @property
    def gates(self) -> str:
        """Return the value of --feature-gates, empty when none."""
        return ",".join(f"{gate}=true" for gate in POD_CERTIFICATE_GATES) if self.pod_certificates else ""


@dataclass(frozen=True)
class Credentials:
    """Every identity and kubeconfig of the control plane."""

    authority: pki.Authority
    server: pki.Identity
    kubelet_client: pki.Identity
    admin: pki.Identity
    token_key: Path
    kubeconfigs: dict[str, Path]


def credentials(plan: Plan, now: datetime.datetime, users: dict[str, pki.Subject]) -> Credentials:
    """Make the CA, the server's certificate, the admin's and one kubeconfig for each of `users`, and the audit policy."""
    authority = pki.Authority(plan.folder / "pki", now)
    (plan.folder / "conf").mkdir(mode=0o700, exist_ok=True)
    names = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", ISSUER.removeprefix("https://"))
    addresses = sorted({plan.address, "127.0.0.1", FIRST_SERVICE})
    server = authority.issue("apiserver", pki.Subject("kube-apiserver", names=names, addresses=addresses))
    kubelet_client = authority.issue("kubelet-client", pki.Subject("kube-apiserver", ("system:masters",)))
    kubeconfigs = {}
    everyone = {
        "admin": pki.Subject("admin", ("system:masters",)),
        "controller-manager": pki.Subject("system:kube-controller-manager"),
        "scheduler": pki.Subject("system:kube-scheduler"),
        **users,
    }
    identities = {}
    for user, subject in everyone.items():
        identities[user] = authority.issue(user, subject)
        kubeconfigs[user] = plan.folder / "conf" / f"{user}.kubeconfig"
        pki.write(kubeconfigs[user], pki.kubeconfig(plan.url, authority.certificate, identities[user]))
    plan.audit_policy.write_text(json.dumps(AUDIT_POLICY))
    token_key = pki.service_account_key(plan.folder / "pki" / "tokens.key")
    return Credentials(authority, server, kubelet_client, identities["admin"], token_key, kubeconfigs)


def etcd(plan: Plan) -> Part:
    """Return etcd: it serves on a Unix socket, so it needs no port and nobody else can reach it."""
    url = f"unix://{plan.folder}/etcd.sock"
    flags = {
        "name": "podcert",
        "data-dir": plan.data / "etcd",
        "listen-client-urls": url,
        "advertise-client-urls": "http://localhost:2379",
        "listen-peer-urls": f"unix://{plan.folder}/etcd-peer.sock",
        "initial-advertise-peer-urls": "http://localhost:2380",
        "initial-cluster": "podcert=http://localhost:2380",
        "unsafe-no-fsync": "true",
        "log-level": "warn",
    }
    return Part("etcd", [str(plan.kube), "etcd", *_flags(flags)])


def apiserver(plan: Plan, made: Credentials) -> Part:
    """Return the API server; NodeRestriction is on, and PodSecurity is by default."""
    flags = {
        "etcd-servers": f"unix://{plan.folder}/etcd.sock",
        "bind-address": plan.address,
        "advertise-address": plan.address,
        "secure-port": plan.port,
        "tls-cert-file": made.server.certificate,
        "tls-private-key-file": made.server.key,
        "client-ca-file": made.authority.certificate,
        "authorization-mode": "Node,RBAC",
        "allow-privileged": "true",
        "enable-admission-plugins": "NodeRestriction",
        "service-account-issuer": ISSUER,
        "service-account-key-file": made.token_key,
        "service-account-signing-key-file": made.token_key,
        "service-cluster-ip-range": SERVICES,
        "kubelet-client-certificate": made.kubelet_client.certificate,
        "kubelet-client-key": made.kubelet_client.key,
        # The node's name resolves nowhere, and without this `kubectl logs` and `exec` would try it first.
        "kubelet-preferred-address-types": "InternalIP",
        "cert-dir": plan.data / "apiserver",
        "endpoint-reconciler-type": "none" if plan.address.startswith("127.") else "lease",
        "profiling": "false",
    }
    if plan.audit:
        flags |= {"audit-policy-file": plan.audit_policy, "audit-log-path": plan.audit_log}
    if plan.pod_certificates:
        flags |= {"feature-gates": plan.gates, "runtime-config": "certificates.k8s.io/v1beta1=true"}
    return Part("apiserver", [str(plan.kube), "apiserver", *_flags(flags)])


def controller_manager(plan: Plan, made: Credentials, *, node: bool) -> Part:
    """Return the controller manager; without a node it still collects garbage and makes ServiceAccounts."""
    flags = {
        "kubeconfig": made.kubeconfigs["controller-manager"],
        "secure-port": 0,
        "leader-elect": "false",
        "use-service-account-credentials": "true",
        "kube-api-qps": 500,
        "kube-api-burst": 500,
        "service-account-private-key-file": made.token_key,
        "root-ca-file": made.authority.certificate,
        "cluster-signing-cert-file": made.authority.certificate,
        "cluster-signing-key-file": made.authority.key,
        "allocate-node-cidrs": "true" if node else "false",
        "cluster-cidr": PODS,
        "service-cluster-ip-range": SERVICES,
        "cert-dir": plan.data / "controller-manager",
    }
    if plan.pod_certificates:
        flags |= {"feature-gates": plan.gates}
    return Part("controller-manager", [str(plan.kube), "controller-manager", *_flags(flags)])


def scheduler(plan: Plan, made: Credentials) -> Part:
    """Return the scheduler."""
    flags = {
        "kubeconfig": made.kubeconfigs["scheduler"],
        "secure-port": 0,
        "leader-elect": "false",
        "cert-dir": plan.data / "scheduler",
    }
    return Part("scheduler", [str(plan.kube), "scheduler", *_flags(flags)])


def _flags(values: dict[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]
