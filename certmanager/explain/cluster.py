"""What the cluster says of a pod, its Services, its Secret and its namespace. GET and LIST only.

Of a Secret only the metadata is asked for: no key comes to the machine of whoever asks.
"""

from __future__ import annotations

from certmanager.domain.errors import NotFound, PodcertError
from certmanager.domain.model import Pod, Service, StoredSecret
from certmanager.domain.names import secret_name
from certmanager.kube import project
from certmanager.kube.client import METADATA_ONLY, KubeClient, Options, namespaced
from certmanager.kube.fields import mappings
from certmanager.kube.namespaces import NamespaceLabels
from certmanager.kube.pods import KubePods


class Cluster:
    """One API server, asked by the user's own rights. Methods raise `NotYet`, `Refused`."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self.labels = NamespaceLabels(client)

    def pod(self, namespace: str, name: str) -> Pod | None:
        """The pod, None when it is not there."""
        return KubePods(self._client).read(namespace, name)

    def services(self, namespace: str) -> list[Service]:
        """All Services of a namespace."""
        answer = self._client.request("GET", namespaced("api/v1", "services", namespace))
        return [project.service(item) for item in mappings(answer, "items")]

    def secret(self, pod: Pod) -> StoredSecret | None:
        """Metadata of the pod's Secret; None when it is not there or not to be read by the user."""
        name = pod.annotations.get("secret-name") or secret_name(pod.name, pod.uid)
        try:
            path = namespaced("api/v1", "secrets", pod.namespace, name)
            return project.stored(self._client.request("GET", path, options=Options(accept=METADATA_ONLY)), None)
        except NotFound:
            return None
        except PodcertError:
            return None
