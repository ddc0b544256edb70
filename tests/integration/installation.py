"""An install variant as its users apply it, and the manager run with exactly what the variant gives it.

The control plane has no node, so the Deployment's pod never runs; the same command runs as a process instead, with the
Deployment's own environment, the rights of its ServiceAccount and tokens of the audience that its volumes name. Only
addresses and folders of this machine are put in.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import pki
from tests.cluster.paths import REPOSITORY, ClusterError
from tests.cluster.running import LocalCluster
from tests.integration import fence
from tests.integration.manager import Launch

MANIFESTS = REPOSITORY / "manifests"
KUSTOMIZATIONS = sorted(
    path.parent.relative_to(MANIFESTS).as_posix()
    for path in MANIFESTS.rglob("kustomization.yaml")
    if yaml.safe_load(path.read_text())["kind"] == "Kustomization"
)
"""Everything that `kubectl apply -k` takes; components are only parts of these."""
PLAIN = sorted(
    path.relative_to(MANIFESTS).as_posix()
    for path in MANIFESTS.rglob("*.yaml")
    if path.relative_to(MANIFESTS).parts[0] not in {"base", "components", "overlays", "monitoring", "vault"}
)
"""Everything that `kubectl apply -f` takes on any cluster; monitoring/ is for Prometheus and its operator."""
RIGHTS = ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
FENCE = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")

Pair = tuple[str, str, str]
"""(API group, resource, verb)."""


def build(cluster: LocalCluster, kustomization: str) -> list[dict[str, Any]]:
    """Return the objects of a kustomization under manifests/, as kubectl builds them."""
    return list(yaml.safe_load_all(cluster.kubectl("kustomize", str(MANIFESTS / kustomization)).stdout))


def of_kind(objects: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    """Return those of these kinds."""
    return [each for each in objects if each["kind"] in kinds]


def pairs(rules: list[dict[str, Any]]) -> set[Pair]:
    """Return every pair of resource and verb that a Role's rules allow."""
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@dataclass(frozen=True)
class Installed:
    """A variant that is applied."""

    cluster: LocalCluster
    objects: list[dict[str, Any]]

    @property
    def allowed(self) -> set[Pair]:
        """What its (one) ClusterRole or Role allows."""
        (role,) = of_kind(self.objects, "ClusterRole", "Role")
        return pairs(role["rules"])

    @property
    def pod(self) -> dict[str, Any]:
        """The spec of the manager's pods."""
        (deployment,) = of_kind(self.objects, "Deployment")
        spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
        return spec

    @property
    def environment(self) -> dict[str, str]:
        """The environment that the manifest gives the manager."""
        return {each["name"]: each["value"] for each in self.pod["containers"][0]["env"]}

    def launch(self, vault_url: str, token_file: Path, folder: Path) -> Launch:
        """Return how to run this variant's manager here; `token_file` need not exist where no Vault token is needed."""
        account = self.pod["serviceAccountName"]
        kubeconfig, login = folder / "kubeconfig", folder / "vault-login"
        pki.write(kubeconfig, _kubeconfig(self.cluster, self.cluster.token("podcert", account)))
        own = {"VAULT_ADDR": vault_url, "PODCERT_TOKEN_FILE": str(token_file)}
        for volume in self.pod["volumes"]:
            for source in volume.get("projected", {}).get("sources", []):
                wanted = source["serviceAccountToken"]
                flags = [f"--audience={wanted['audience']}", f"--duration={wanted['expirationSeconds']}s"]
                jwt = self.cluster.kubectl("create", "token", account, "--namespace=podcert", *flags).stdout
                pki.write(login, jwt.encode())
                own["PODCERT_AUTH_JWT_FILE"] = str(login)
        settings = {name: own.get(name, value) for name, value in self.environment.items()}
        return Launch(kubeconfig, vault_url, token_file, folder, settings)


@contextlib.contextmanager
def installed(cluster: LocalCluster, kustomization: str) -> Iterator[Installed]:
    """Apply a variant for a `with` block, with its fence in force; rights and fence are taken away again for the next one."""
    cluster.kubectl("apply", "-f", str(MANIFESTS / "base" / "namespace.yaml"))
    objects = build(cluster, kustomization)
    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))
    try:
        if of_kind(objects, *FENCE):
            fence.wait(cluster)
        yield Installed(cluster, objects)
    finally:
        rights = yaml.safe_dump_all(of_kind(objects, *RIGHTS, *FENCE))
        cluster.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=rights)


class Audit:
    """What the manager asked the API server for since this was made, in the API server's own words."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._file = cluster.logs_dir / "audit.log"
        self._begin = self._file.stat().st_size

    def events(self) -> list[dict[str, Any]]:
        """Return its requests, oldest first; an unfinished last line is left out."""
        with self._file.open("rb") as log:
            log.seek(self._begin)
            return [json.loads(line) for line in log.read().split(b"\n")[:-1]]

    def pairs(self) -> set[Pair]:
        """Return every pair of resource and verb that was asked for; a request for no resource has an empty one."""
        found = ((event.get("objectRef", {}), event["verb"]) for event in self.events())
        return {(where.get("apiGroup", ""), _resource(where), verb) for where, verb in found}

    def namespaces(self) -> set[str]:
        """Return the namespaces that were asked for; empty is the whole cluster."""
        return {event.get("objectRef", {}).get("namespace", "") for event in self.events()}

    def forbidden(self) -> list[str]:
        """Return the requests that were refused for want of a right."""
        return [event["requestURI"] for event in self.events() if event.get("responseStatus", {}).get("code") == 403]


def eventually(what: str, fact: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until `fact` is true, or raise ClusterError with `what` did not come about."""
    end = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > end:
            raise ClusterError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.05)


def _resource(where: dict[str, str]) -> str:
    """As a rule names it, a subresource after a slash."""
    return "/".join(part for part in (where.get("resource", ""), where.get("subresource", "")) if part)


def _kubeconfig(cluster: LocalCluster, token: str) -> bytes:
    server = {"server": cluster.apiserver_url, "certificate-authority": str(cluster.ca_file)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": server}],
        "users": [{"name": "manager", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "manager"}}],
        "current-context": "test",
    }
    return json.dumps(config).encode()
