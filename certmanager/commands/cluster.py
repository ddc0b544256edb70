"""What the commands ask of the API server, and the one thing that they write: annotations that ask the manager for something.

Of Secrets only the metadata is asked for and comes back: no key comes to the machine of whoever asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from certmanager.domain.errors import NotFound, PodcertError
from certmanager.domain.model import ENROLL_LABEL, MANAGED_LABEL, PREFIX, Pod, StoredSecret
from certmanager.domain.names import secret_name
from certmanager.domain.pod_status import Warned
from certmanager.domain.problems import RuleError
from certmanager.kube import project
from certmanager.kube.client import FIELD_MANAGER, MERGE_PATCH, METADATA_ONLY, Json, KubeClient, Options, namespaced
from certmanager.kube.event_object import COMPONENT
from certmanager.kube.fields import Obj, mapping, mappings, metadata, text, timestamp
from certmanager.kube.pods import KubePods

_PAGE: Final = "500"
_LISTED: Final = Options(accept="application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")


class Cluster:
    """One API server, asked by the user's own rights. Methods raise `NotYet`, `Refused`."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    def pods(self, namespace: str | None) -> list[Pod]:
        """All pods with the label, of one namespace or (None) of all."""
        return [project.pod(item) for item in self._all("pods", namespace, {"labelSelector": ENROLL_LABEL}, Options())]

    def pod(self, namespace: str, name: str) -> Pod | None:
        """The pod, None when it is not there."""
        return KubePods(self._client).read(namespace, name)

    def secrets(self, namespace: str | None) -> list[StoredSecret]:
        """The metadata of all our Secrets."""
        query = {"labelSelector": f"{MANAGED_LABEL}=true"}
        return [project.stored(item, None) for item in self._all("secrets", namespace, query, _LISTED)]

    def secret(self, pod: Pod) -> StoredSecret | None:
        """The metadata of the Secret that should be the pod's; None when it is not there."""
        try:
            name = pod.annotations.get("secret-name") or secret_name(pod.name, pod.uid)
            path = namespaced("api/v1", "secrets", pod.namespace, name)
            return project.stored(self._client.request("GET", path, options=Options(accept=METADATA_ONLY)), None)
        except (NotFound, RuleError):
            return None

    def warnings(self, namespace: str | None) -> dict[str, Warned]:
        """Our last Warning about each pod, by the pod's uid."""
        found: dict[str, Warned] = {}
        for item in self._all("events", namespace, {"fieldSelector": "type=Warning"}, Options()):
            about = mapping(item, "involvedObject")
            if text(mapping(item, "source"), "component") != COMPONENT or text(about, "kind") != "Pod":
                continue
            at = timestamp(item.get("lastTimestamp")) or 0.0
            known = found.get(text(about, "uid"))
            if known is None or known.at <= at:
                found[text(about, "uid")] = Warned(text(item, "reason"), text(item, "message"), at)
        return found

    def annotate(self, secret: StoredSecret, notes: Mapping[str, str], finalizer: str | None = None) -> None:
        """Sets annotations (without the prefix) of exactly this version, and adds a finalizer. Raises `Conflict` too."""
        meta: Json = {
            "uid": secret.uid,
            "resourceVersion": str(secret.resource_version),
            "annotations": {PREFIX + name: value for name, value in notes.items()},
        }
        if finalizer is not None and finalizer not in secret.finalizers:
            meta["finalizers"] = [*secret.finalizers, finalizer]
        path = namespaced("api/v1", "secrets", secret.namespace, secret.name)
        options = Options(content_type=MERGE_PATCH, accept=METADATA_ONLY)
        self._client.request("PATCH", path, {"fieldManager": FIELD_MANAGER}, {"metadata": meta}, options)

    def _all(self, resource: str, namespace: str | None, query: Mapping[str, str], options: Options) -> Iterator[Obj]:
        path, further = namespaced("api/v1", resource, namespace), ""
        while True:
            page = {**query, "limit": _PAGE} | ({"continue": further} if further else {})
            answer = self._client.request("GET", path, page, None, options)
            yield from mappings(answer, "items")
            further = text(metadata(answer), "continue")
            if not further:
                return


def told(error: PodcertError) -> str:
    """An error for who runs a command. What is forbidden is forbidden to him, whatever the manager may do."""
    if error.reason != "KubernetesForbidden":
        return error.message
    what, _, _ = error.message.rpartition("; ")
    return f"{what or error.message}; your rights do not allow it: docs/commands.md says what is needed"
