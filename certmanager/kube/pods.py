"""Pods one by one: what the watch on labelled pods cannot tell, namely whether a pod that left it is gone or unlabelled."""

from __future__ import annotations

from certmanager.domain.errors import NotFound
from certmanager.domain.model import Pod
from certmanager.kube import project
from certmanager.kube.client import KubeClient, namespaced


class KubePods:
    """Implements the port `PodReader`."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    def read(self, namespace: str, name: str) -> Pod | None:
        """GET, labelled or not; None when it is not there. Raises `NotYet`, `Refused`."""
        try:
            return project.pod(self._client.request("GET", namespaced("api/v1", "pods", namespace, name)))
        except NotFound:
            return None
