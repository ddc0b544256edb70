"""The fence around the manager on a real API server: put in force, and a place to try what it forbids and allows."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from kubernetes.client.configuration import Configuration

from certmanager.domain.errors import PodcertError
from certmanager.kube.client import KubeClient, Options
from tests.cluster.paths import REPOSITORY
from tests.cluster.running import LocalCluster
from tests.contract.kube_server import Token
from tests.integration.world import eventually

FOLDER = REPOSITORY / "manifests" / "components" / "fence"
MANAGER = "system:serviceaccount:podcert:certificate-manager"
POLICIES = ("secrets", "workloads", "roles", "rolebindings", "evictions", "rest")
LABEL = "podcert.io/managed"
ENROLL = "podcert.io/enroll"
RESTARTED = "podcert.io/restarted-for"
_numbers = itertools.count(1)

Object = dict[str, Any]

# For each policy a write that it forbids, to see whether it is in force: nothing of it is ever carried out.
PROBES = {
    "secrets": ("/api/v1/namespaces/default/secrets", {}),
    "workloads": ("/apis/apps/v1/namespaces/default/deployments", None),
    "roles": ("/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", {}),
    "rolebindings": (
        "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
        {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}},
    ),
    "evictions": ("/api/v1/namespaces/default/pods/probe/eviction", {}),
    "rest": ("/api/v1/namespaces/default/configmaps", {}),
}


def documents() -> list[Object]:
    """The objects of the component."""
    (kustomization,) = yaml.safe_load_all((FOLDER / "kustomization.yaml").read_text())
    return [each for file in kustomization["resources"] for each in yaml.safe_load_all((FOLDER / file).read_text())]


def enforce(cluster: LocalCluster) -> None:
    """Apply the fence, and wait until it is in force."""
    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(documents()))
    wait(cluster)


def wait(cluster: LocalCluster) -> None:
    """Wait until the API server goes by every policy of the fence: it takes new ones up within seconds."""
    for policy in POLICIES:
        eventually(lambda policy=policy: in_force(cluster, policy), 30, f"policy {policy}")  # type: ignore[misc]


def in_force(cluster: LocalCluster, policy: str) -> bool:
    """Whether the policy refuses its probe."""
    path, body = PROBES[policy]
    whole = workload("Deployment", "probe") if body is None else {"metadata": {"name": "probe"}, **body}
    return f"podcert-fence-{policy}" in answer(cluster, path, whole)


def answer(cluster: LocalCluster, path: str, body: Object) -> str:
    """What a manager with every right would be told if it created `body`; nothing is created."""
    command = ["create", "--raw", f"{path}?dryRun=All", "-f", "-", f"--as={MANAGER}", "--as-group=system:masters"]
    done = cluster.kubectl(*command, stdin=json.dumps(body), check=False)
    return done.stdout + done.stderr


def client(cluster: LocalCluster, token: str) -> KubeClient:
    """The manager's own client, with any token."""
    configuration = Configuration(host=cluster.apiserver_url)
    configuration.ssl_ca_cert = str(cluster.ca_file)
    configuration.proxy = None
    return KubeClient(configuration, Token(token), 4)


def certificate(name: str, uid: str, **changes: Any) -> Object:
    """A Secret as Podcert writes it, with these fields of its `metadata` or of its top changed; None leaves one out."""
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "web-0", "uid": uid}
    meta: Object = {
        "name": name,
        "labels": {LABEL: "true"},
        "annotations": {"podcert.io/pod-uid": uid},
        "ownerReferences": [owner],
    }
    top: Object = {"type": "kubernetes.io/tls", "data": {"tls.crt": "", "tls.key": "", "ca.crt": ""}}
    meta |= {key: value for key, value in changes.items() if key in {*meta, "finalizers"}}
    top |= {key: value for key, value in changes.items() if key not in meta}
    kept = {key: value for key, value in meta.items() if value is not None}
    return {"metadata": kept, **{key: value for key, value in top.items() if value is not None}}


def role(name: str, **changes: Any) -> Object:
    """A Role as Podcert writes it, with `labels`, or fields of its one rule, changed."""
    labels = changes.pop("labels", {LABEL: "true"})
    names = ["web-0-cert-1a2b3c4d"]
    rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": names, "verbs": ["get", "watch"]}
    rule = {key: value for key, value in (rule | changes).items() if value is not None}
    return {"metadata": {"name": name, "labels": labels}, "rules": [rule]}


def binding(name: str, namespace: str, **changes: Any) -> Object:
    """A RoleBinding as Podcert writes it, with `labels`, `role` (kind and name) or `subjects` changed."""
    kind, wanted = changes.get("role", ("Role", name))
    return {
        "metadata": {"name": name, "labels": changes.get("labels", {LABEL: "true"})},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": wanted},
        "subjects": changes.get("subjects", [{"kind": "ServiceAccount", "name": "web", "namespace": namespace}]),
    }


def workload(kind: str, name: str, enrolled: str = "true") -> Object:
    """A workload whose pods fit no node, with a field of every sort that a roll must leave alone."""
    labels = {"app": name}
    annotations = {"podcert.io/ttl": "24h", "note": "kept"}
    spec: Object = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": {**labels, ENROLL: enrolled}, "annotations": annotations},
            "spec": {"nodeSelector": {"none": "none"}, "containers": [{"name": "c", "image": "i"}]},
        },
        **({"serviceName": name} if kind == "StatefulSet" else {}),
    }
    if kind == "DaemonSet":
        del spec["replicas"]
    meta = {"name": name, "labels": {"team": "shop"}, "annotations": {"note": "kept"}}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": meta, "spec": spec}


@dataclass(frozen=True)
class Write:
    """A write that somebody tries.

    Attributes:
        method: of HTTP.
        path: with `{ns}` for the namespace.
        body: strings in it may have `{ns}` and `{uid}`, the uid of pod web-0.
        content_type: of a patch.
        query: of the path.
    """

    method: str
    path: str
    body: Any = None
    content_type: str = "application/json"
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Yard:
    """A namespace with things of Podcert's and of strangers, and the manager's hands with every right that RBAC knows."""

    cluster: LocalCluster
    admin: KubeClient
    manager: KubeClient
    namespace: str
    facts: Mapping[str, str] = field(default_factory=dict)

    def fill(self, value: Any) -> Any:
        """`value` with the namespace and the pod's uid put in."""
        if isinstance(value, str):
            return value.replace("{ns}", self.namespace).replace("{uid}", self.facts.get("uid", ""))
        if isinstance(value, list):
            return [self.fill(each) for each in value]
        if isinstance(value, dict):
            return {key: self.fill(each) for key, each in value.items()}
        return value

    def send(self, who: KubeClient, write: Write, **query: str) -> Object:
        """Send it; raises as the manager's client does, with the words that its users read."""
        options = Options(content_type=write.content_type)
        query = {**write.query, **query}
        return who.request(write.method, self.fill(write.path), query, self.fill(write.body), options)

    def said(self, who: KubeClient, write: Write, **query: str) -> str:
        """What was said of it; empty when it was done."""
        try:
            self.send(who, write, **query)
        except PodcertError as error:
            return f"{type(error).__name__} {error.reason}: {error.message}"
        return ""


@contextlib.contextmanager
def yard(cluster: LocalCluster) -> Iterator[Yard]:
    """A namespace for the trials. The manager's ServiceAccount has every right meanwhile: only the fence is left."""
    name = f"fence-{os.getpid()}-{next(_numbers)}"
    admin = KubeClient.from_kubeconfig(Path(cluster.kubeconfig), 4)
    manager = client(cluster, cluster.token("podcert", "certificate-manager"))
    admin.request("POST", "/api/v1/namespaces", None, {"metadata": {"name": name}})
    admin.request("POST", f"/api/v1/namespaces/{name}/serviceaccounts", None, {"metadata": {"name": "web"}})
    account = "--serviceaccount=podcert:certificate-manager"
    cluster.kubectl("create", "clusterrolebinding", name, "--clusterrole=cluster-admin", account)
    try:
        eventually(lambda: "cannot" not in _may_what(manager), what="the manager may do everything")
        yield Yard(cluster, admin, manager, name, {"uid": _furnish(admin, name)})
    finally:
        cluster.kubectl("delete", "clusterrolebinding", name)
        admin.request("DELETE", f"/api/v1/namespaces/{name}")
        manager.close()
        admin.close()


def _may_what(manager: KubeClient) -> str:
    try:
        manager.request("GET", "/api/v1/nodes")
    except PodcertError as error:
        return error.message
    return ""


def _furnish(admin: KubeClient, namespace: str) -> str:
    """Make what is there before the trials; returns the uid of pod web-0."""
    core, apps = f"/api/v1/namespaces/{namespace}", f"/apis/apps/v1/namespaces/{namespace}"
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    pod = {
        "metadata": {"name": "web-0", "labels": {ENROLL: "true"}},
        "spec": {
            "serviceAccountName": "web",
            "containers": [{"name": "c", "image": "i"}],
            "nodeSelector": {"no": "no"},
        },
    }
    uid = str(admin.request("POST", f"{core}/pods", None, pod)["metadata"]["uid"])
    for secret in (certificate("ours", uid), certificate("strangers", uid, labels={"a": "b"})):
        admin.request("POST", f"{core}/secrets", None, secret)
    for name, labels in (("podcert-ours", {LABEL: "true"}), ("podcert-strangers", {"a": "b"})):
        admin.request("POST", f"{rbac}/roles", None, role(name, labels=labels))
        admin.request("POST", f"{rbac}/rolebindings", None, binding(name, namespace, labels=labels))
    for kind in ("Deployment", "StatefulSet", "DaemonSet"):
        for name, enrolled in (("web", "true"), ("plain", "false")):
            admin.request(
                "POST", f"{apps}/{kind.lower()}s", {"fieldManager": "somebody"}, workload(kind, name, enrolled)
            )
    return uid
