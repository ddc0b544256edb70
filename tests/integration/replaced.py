"""Workloads whose pods the manager replaces within seconds, because their certificates are short: each of its rights is used.

There is no node: pods stay pending, which neither a roll nor the eviction of a pending pod minds.
"""

from __future__ import annotations

from typing import Any

from tests.cluster.running import LocalCluster
from tests.integration.installation import eventually

TTL = "30s"
"""Due at about 20 s: sooner than 15 s after its issue the manager takes it for a mistake and waits."""
NODE = "none"
WORKLOADS = (
    ("deployments", "rolled", "restart"),
    ("statefulsets", "rolled", "restart"),
    ("daemonsets", "rolled", "restart"),
    ("statefulsets", "evicted", "evict"),
)
"""Resource, name, `podcert.io/rotation`."""


def roll_and_evict(cluster: LocalCluster, namespace: str) -> None:
    """Let the manager roll a workload of each kind and evict a pod, and remove them; raise ClusterError when it does not."""
    # A DaemonSet makes pods for a node that nothing can be scheduled to.
    cluster.api.create("/api/v1/nodes", {"metadata": {"name": NODE}, "spec": {"unschedulable": True}})
    apps = f"/apis/apps/v1/namespaces/{namespace}"
    for resource, name, rotation in WORKLOADS:
        cluster.api.create(f"{apps}/{resource}", _workload(resource, name, rotation))
    try:
        eventually("there is a pod to be evicted", lambda: _uid(cluster, namespace) is not None)
        first = _uid(cluster, namespace)
        for resource, name, rotation in WORKLOADS:
            if rotation == "restart":
                path = f"{apps}/{resource}/{name}"
                eventually(f"{resource} {name} is rolled", lambda path=path: _is_rolled(cluster, path), 60)  # type: ignore[misc]
        eventually("a pod is evicted", lambda: _uid(cluster, namespace) not in (None, first), 60)
    finally:
        remove(cluster, namespace)
    eventually("their pods are gone", lambda: not _pods(cluster, namespace))


def remove(cluster: LocalCluster, namespace: str) -> None:
    """Delete the workloads, and with them their pods."""
    for resource, name, _ in WORKLOADS:
        path = f"/apis/apps/v1/namespaces/{namespace}/{resource}/{name}"
        cluster.api.call("DELETE", f"{path}?propagationPolicy=Background")
    cluster.api.call("DELETE", f"/api/v1/nodes/{NODE}")


def _workload(resource: str, name: str, rotation: str) -> dict[str, Any]:
    labels = {"replaced": f"{resource}-{name}"}
    template = {
        "metadata": {
            "labels": {**labels, "replaced-by": "rotation", "podcert.io/enroll": "true"},
            "annotations": {"podcert.io/ttl": TTL, "podcert.io/rotation": rotation},
        },
        "spec": {
            "serviceAccountName": "web",
            "initContainers": [{"name": "certificate-fetcher", "image": "i"}],
            "containers": [{"name": "c", "image": "i"}],
        },
    }
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": name}, "spec": spec | ({"serviceName": name} if resource == "statefulsets" else {})}


def _is_rolled(cluster: LocalCluster, path: str) -> bool:
    _, found = cluster.api.call("GET", path)
    return "podcert.io/restarted-for" in found["spec"]["template"]["metadata"]["annotations"]


def _uid(cluster: LocalCluster, namespace: str) -> str | None:
    """The uid of the pod whose turn to be evicted comes, None while it is not there."""
    status, found = cluster.api.call("GET", f"/api/v1/namespaces/{namespace}/pods/evicted-0")
    return str(found["metadata"]["uid"]) if status == 200 else None


def _pods(cluster: LocalCluster, namespace: str) -> list[Any]:
    path = f"/api/v1/namespaces/{namespace}/pods?labelSelector=replaced-by%3Drotation"
    return list(cluster.api.call("GET", path)[1]["items"])
