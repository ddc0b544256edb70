"""Pods without a node, for load: they are enrolled like any other, and whether a container runs makes no difference to Vault."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tests.cluster.running import LocalCluster


@contextlib.contextmanager
def space(cluster: LocalCluster, name: str) -> Iterator[None]:
    """A namespace for such pods, with their ServiceAccount, for a `with` block."""
    cluster.kubectl("create", "namespace", name)
    try:
        cluster.kubectl("create", "serviceaccount", "load", "-n", name)
        yield
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false")


def create(cluster: LocalCluster, namespace: str, number: int) -> dict[str, Any]:
    """Makes the pod `load-<number>`, which no node will take; returns it as the API server stored it."""
    mounts = [{"name": "certs", "mountPath": "/var/run/secrets/certs"}]
    pod = {
        "metadata": {"name": f"load-{number}", "labels": {"podcert.io/enroll": "true"}},
        "spec": {
            "serviceAccountName": "load",
            "nodeSelector": {"for": "none"},
            "initContainers": [{"name": "certificate-fetcher", "image": "none", "volumeMounts": mounts}],
            "containers": [{"name": "application", "image": "none", "volumeMounts": mounts}],
            "volumes": [{"name": "certs", "emptyDir": {}}],
        },
    }
    return cluster.api.create(f"/api/v1/namespaces/{namespace}/pods", pod)
