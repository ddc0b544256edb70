"""Where a test of the whole manager happens: a namespace and a PKI mount of its own, on the real API server and OpenBao.

What a test reads back it reads with all rights and judges with nothing of the manager's own code.
"""

from __future__ import annotations

import base64
import json
import time
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.bench.counters import total
from tests.cluster import pki
from tests.cluster.openbao import DevServer
from tests.cluster.paths import REPOSITORY, ClusterError
from tests.cluster.running import LocalCluster
from tests.integration.manager import Launch

ENROLL = "podcert.io/enroll"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
SIGN_ROLE = {"allowed_domains": "svc.cluster.local", "allow_subdomains": True, "require_cn": False, "max_ttl": "72h"}


def eventually(fact: Callable[[], Any], seconds: float = 30.0, what: str = "") -> float:
    """Waits until `fact()` is true; returns how long that took. The time limit is for a hung test only."""
    began = time.monotonic()
    while not fact():
        if time.monotonic() - began > seconds:
            pytest.fail(f"not within {seconds:.0f} s: {what or 'it did not come about'}", pytrace=False)
        time.sleep(0.02)
    return time.monotonic() - began


@dataclass(frozen=True)
class World:
    """One namespace, one mount, one token for the manager.

    Attributes:
        kubeconfig: of the manager's own ServiceAccount.
        token_file: its Vault token, of a policy with the paths of manifests/policies/pods.hcl.
    """

    cluster: LocalCluster
    vault: DevServer
    namespace: str
    mount: str
    folder: Path
    kubeconfig: Path = field(init=False)
    token_file: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kubeconfig", self.folder / "manager.kubeconfig")
        object.__setattr__(self, "token_file", self.folder / "vault-token")

    # Setting up

    def launch(self, *, vault_url: str = "", kubeconfig: Path | None = None, **settings: str) -> Launch:
        """How to start a manager here, for this namespace alone (other tests have theirs)."""
        everything = {"PODCERT_NAMESPACES": self.namespace, "PODCERT_MOUNT": self.mount, **settings}
        url = vault_url or self.vault.url
        return Launch(kubeconfig or self.kubeconfig, url, self.token_file, self.folder, everything)

    def write_kubeconfig(self, path: Path, server: str) -> Path:
        """A kubeconfig with a token of the manager's ServiceAccount."""
        token = self.cluster.token("podcert", "certificate-manager", 24 * 3600)
        where = {"server": server}
        if server.startswith("https"):
            where["certificate-authority"] = str(self.cluster.ca_file)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": where}],
            "users": [{"name": "manager", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "manager"}}],
            "current-context": "test",
        }
        pki.write(path, json.dumps(config).encode())
        return path

    def set_up(self) -> None:
        """Namespace, two ServiceAccounts, mount, root, roles, policy, token."""
        self.create("/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        for account in ("web", "db"):
            self.create(f"{self.core}/serviceaccounts", {"metadata": {"name": account}})
        self.write_kubeconfig(self.kubeconfig, self.cluster.apiserver_url)
        self.ask("POST", f"sys/mounts/{self.mount}", {"type": "pki", "config": {"max_lease_ttl": "87600h"}})
        root = {"common_name": f"root of {self.mount}", "key_type": "ec", "key_bits": 256, "ttl": "87600h"}
        self.ask("POST", f"{self.mount}/root/generate/internal", root)
        self.role("pods", key_type="any")
        self.role("pods-issue", key_type="ec", key_bits=256)
        self.policy()
        self.put_token(self.new_token())

    def role(self, name: str, **fields: object) -> None:
        """Writes a role: the usual one with these fields changed."""
        self.ask("POST", f"{self.mount}/roles/{name}", {**SIGN_ROLE, **fields})

    def policy(self, text: str | None = None) -> None:
        """Writes the manager's policy: the one in the manifests, for this mount, or another."""
        if text is None:
            text = (REPOSITORY / "manifests/policies/pods.hcl").read_text().replace('"pki/', f'"{self.mount}/')
        self.ask("PUT", f"sys/policies/acl/{self.namespace}", {"policy": text})

    def new_token(self, **fields: object) -> str:
        """A Vault token with the manager's policy."""
        made = self.ask("POST", "auth/token/create", {"policies": [self.namespace], "ttl": "24h", **fields})
        return str(made["auth"]["client_token"])

    def put_token(self, token: str) -> None:
        """Puts a token into the manager's token file, in one step, as Vault Agent does."""
        fresh = self.token_file.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        pki.write(fresh, token.encode())
        fresh.rename(self.token_file)

    def token(self) -> str:
        """The token that is in the file."""
        return self.token_file.read_text()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """OpenBao with all rights; what it refuses is an error of the test."""
        status, answer = self.vault.call(method, path, body)
        if status >= 300:
            raise ClusterError(f"{method} {path}: {status} {answer}")
        return answer

    def vault_signs(self) -> float:
        """OpenBao's own count of `sign` and `issue` calls on this mount, whatever came of them."""
        address = f"{self.vault.url}/v1/sys/metrics?format=prometheus"
        request = urllib.request.Request(address, headers={"X-Vault-Token": self.vault.root_token})  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the same
            text = answer.read().decode()
        name = f"vault_{self.mount.replace('-', '_')}"
        return total(text, f"{name}_sign_count") + total(text, f"{name}_issue_count")

    # Objects

    @property
    def core(self) -> str:
        """The path of the namespace's core objects."""
        return f"/api/v1/namespaces/{self.namespace}"

    def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST with all rights."""
        return self.cluster.api.create(path, body)

    def get(self, path: str) -> Any:
        """GET with all rights; None when it is not there."""
        status, body = self.cluster.api.call("GET", path, timeout=30)
        if status == 404:
            return None
        assert status == 200, f"GET {path}: {status} {body}"
        return body

    def service(self, name: str, app: str) -> None:
        """A Service that selects `app`."""
        spec = {"selector": {"app": app}, "ports": [{"port": 443}]}
        self.create(f"{self.core}/services", {"metadata": {"name": name}, "spec": spec})

    def pod(
        self, name: str, annotations: dict[str, str] | None = None, *, account: str = "web", label: str | None = "true"
    ) -> dict[str, Any]:
        """An enrolled pod with a fetcher and the label `app: <name>`; no node will run it. Returns it with its uid."""
        labels = {"app": name} | ({} if label is None else {ENROLL: label})
        given = {f"podcert.io/{key}": value for key, value in (annotations or {}).items()}
        mounts = [{"name": "certs", "mountPath": "/var/run/secrets/certs"}]
        body = {
            "metadata": {"name": name, "labels": labels, "annotations": given},
            "spec": {
                "serviceAccountName": account,
                "automountServiceAccountToken": False,
                "initContainers": [{"name": "certificate-fetcher", "image": "none", "volumeMounts": mounts}],
                "containers": [{"name": "application", "image": "none", "volumeMounts": mounts}],
                "volumes": [{"name": "certs", "emptyDir": {"medium": "Memory"}}],
            },
        }
        status, made = self.cluster.api.call("POST", f"{self.core}/pods", body)
        assert status == 201, made
        return dict(made)

    def pods(self, count: int, prefix: str = "pod", lanes: int = 4) -> None:
        """Many pods."""
        with ThreadPoolExecutor(lanes) as pool:
            list(pool.map(lambda number: self.pod(f"{prefix}-{number}"), range(count)))

    def patch(self, path: str, body: object) -> None:
        """A merge patch, with kubectl's rights."""
        kind, _, name = path.partition("/")
        self.kubectl("patch", kind, name, "--type=merge", "-p", json.dumps(body))

    def annotate(self, pod: str, **annotations: str | None) -> None:
        """Sets annotations without the prefix (`_` for `-`); None removes one."""
        given = {f"podcert.io/{name.replace('_', '-')}": value for name, value in annotations.items()}
        self.patch(f"pod/{pod}", {"metadata": {"annotations": given}})

    def delete_pod(self, name: str) -> None:
        """Deletes a pod at once."""
        self.cluster.api.call("DELETE", f"{self.core}/pods/{name}", {"gracePeriodSeconds": 0})

    def kubectl(self, *arguments: str) -> str:
        """Kubectl in the namespace, with all rights; its output."""
        return self.cluster.kubectl("-n", self.namespace, *arguments).stdout

    # Reading back

    def secrets(self) -> list[dict[str, Any]]:
        """Our Secrets in the namespace."""
        query = "?labelSelector=podcert.io/managed%3Dtrue"
        return list(self.get(f"{self.core}/secrets{query}")["items"])

    def secret_of(self, pod: str) -> dict[str, Any] | None:
        """The Secret that was made for a pod of that name which lives."""
        there = self.get(f"{self.core}/pods/{pod}")
        uid = there["metadata"]["uid"] if there else ""
        found = [one for one in self.secrets() if one["metadata"]["annotations"].get("podcert.io/pod-uid") == uid]
        assert len(found) <= 1, [one["metadata"]["name"] for one in found]
        return found[0] if found else None

    def enrolled(self, *pods: str, seconds: float = 30.0) -> float:
        """Waits for the pods' Secrets; returns how long that took."""
        wanted = set(pods)

        def there() -> bool:
            return wanted <= {one["metadata"]["annotations"].get("podcert.io/pod") for one in self.secrets()}

        return eventually(there, seconds, f"Secrets of {', '.join(sorted(wanted)[:5])}")

    def events(self, pod: str, kind: str = "Warning") -> dict[str, str]:
        """Reason and message of the pod's Events of a type."""
        items = self.get(f"{self.core}/events?fieldSelector=involvedObject.name%3D{pod}")["items"]
        return {one["reason"]: one["message"] for one in items if one["type"] == kind}

    def warned(self, pod: str, reason: str, seconds: float = 30.0) -> str:
        """Waits for a Warning of that reason; returns it as `kubectl describe pod` shows it to a user."""
        eventually(lambda: reason in self.events(pod), seconds, f"Warning {reason} on {pod}: {self.events(pod)}")
        message = self.events(pod)[reason]
        described = self.kubectl("describe", "pod", pod)
        assert reason in described
        assert message in described, "kubectl describe shows the whole message"
        return message

    def readable(self, account: str = "web") -> set[str]:
        """The names in the Roles of a ServiceAccount that are bound to it."""
        roles = {
            role["metadata"]["name"]: set(role["rules"][0]["resourceNames"])
            for role in self.get(f"{RBAC}/namespaces/{self.namespace}/roles")["items"]
        }
        names: set[str] = set()
        for binding in self.get(f"{RBAC}/namespaces/{self.namespace}/rolebindings")["items"]:
            subjects = {(one["namespace"], one["name"]) for one in binding["subjects"]}
            if (self.namespace, account) in subjects:
                names |= roles.get(binding["roleRef"]["name"], set())
        return names

    def leaf(self, pod: str) -> x509.Certificate:
        """The certificate in a pod's Secret."""
        secret = self.secret_of(pod)
        assert secret is not None
        return x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["tls.crt"]))

    def judge(self, pods: Sequence[str]) -> None:
        """Every pod has exactly one whole Secret whose key fits, whose chain is signed, and which its Role names."""
        listed = self.get(f"{self.core}/pods")["items"]
        uids = {pod["metadata"]["uid"]: pod["metadata"]["name"] for pod in listed}
        secrets = self.secrets()
        owners = [one["metadata"]["annotations"]["podcert.io/pod-uid"] for one in secrets]
        assert sorted(uids[uid] for uid in owners if uid in uids) == sorted(pods)
        assert len(set(owners)) == len(owners), "two Secrets for one pod"
        for secret in secrets:
            whole(secret)
        names = {one["metadata"]["name"] for one in secrets}
        eventually(lambda: self.readable() == names, 30, "the Role names exactly these Secrets")


def whole(secret: dict[str, Any]) -> None:
    """The three files are there, key and certificate are a pair, and the anchor has signed the certificate."""
    data = {name: base64.b64decode(value) for name, value in secret["data"].items()}
    assert set(data) == {"tls.crt", "tls.key", "ca.crt"}
    assert secret["type"] == "kubernetes.io/tls"
    leaf = x509.load_pem_x509_certificates(data["tls.crt"])[0]
    key = load_pem_private_key(data["tls.key"], None)
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert key.public_key().public_bytes(*form) == leaf.public_key().public_bytes(*form)
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificates(data["ca.crt"])[0])
    uid = secret["metadata"]["annotations"]["podcert.io/pod-uid"]
    assert [one["uid"] for one in secret["metadata"]["ownerReferences"]] == [uid]
