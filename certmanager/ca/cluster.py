"""The enrolled pods, their Secrets' metadata and, where that matters, their workloads. GET and LIST only.

No key comes to the machine of whoever asks: of Secrets only the metadata is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from certmanager.domain.ca_pods import Member
from certmanager.domain.errors import PodcertError
from certmanager.domain.model import ENROLL_LABEL, MANAGED_LABEL, Owner, StoredSecret, Workload
from certmanager.domain.pod_status import secret_of
from certmanager.kube import project
from certmanager.kube.client import KubeClient, Options, namespaced
from certmanager.kube.fields import Obj, mappings, metadata, text
from certmanager.kube.workloads import KubeWorkloads

_PAGE: Final = "500"
_METADATA: Final = Options(accept="application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
"""Only the metadata of what is listed comes back."""


@dataclass(slots=True)
class Pods:
    """What the cluster has.

    Attributes:
        members: pods with a Secret of the mount.
        without: pods that have no certificate yet, as `namespace/name`.
        notes: what could not be looked at.
    """

    members: list[Member]
    without: list[str]
    notes: list[str] = field(default_factory=list)


class Cluster:
    """One API server, asked by the user's own rights. Methods raise `NotYet`, `Refused`."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._workloads = KubeWorkloads(client)

    def pods(self, mount: str, namespace: str | None) -> Pods:
        """Living pods with the label, of all namespaces or one, with their Secret if it is of that mount.

        A Secret counts under its pod's namespace and the name that its pod's has: whoever may write Secrets elsewhere says
        nothing about somebody else's pod.
        """
        secrets: dict[tuple[str, str], StoredSecret] = {}
        for item in self._all("secrets", namespace, f"{MANAGED_LABEL}=true", _METADATA):
            secret = project.stored(item, None)
            secrets[secret.key] = secret
        found = Pods([], [])
        for item in self._all("pods", namespace, f"{ENROLL_LABEL}=true", Options()):
            pod = project.pod(item)
            if pod.finished:
                continue
            own = secret_of(pod, secrets)
            if own is None:
                if not pod.deleting:
                    found.without.append(f"{pod.namespace}/{pod.name}")
            elif own.annotations.get("mount", mount) == mount:
                found.members.append(Member(pod, own))
        return found

    def workloads(self) -> Workloads:
        """A look at workloads that lasts for one round."""
        return Workloads(self._workloads)

    def _all(self, resource: str, namespace: str | None, selector: str, options: Options) -> Iterator[Obj]:
        query = {"labelSelector": selector, "limit": _PAGE}
        path = namespaced("api/v1", resource, namespace)
        while True:
            answer = self._client.request("GET", path, query, None, options)
            yield from mappings(answer, "items")
            further = text(metadata(answer), "continue")
            if not further:
                return
            query = {**query, "continue": further}


class Workloads:
    """The workloads of pods, each read once."""

    def __init__(self, reader: KubeWorkloads) -> None:
        self._reader = reader
        self._owners: dict[str, Owner | None] = {}
        self._known: dict[tuple[str, str, str], Workload | None] = {}
        self.notes: dict[str, None] = {}

    def of(self, member: Member) -> Member:
        """With the pod's Deployment, StatefulSet or DaemonSet, or with the word that there is none that made it.

        As it was when they cannot be read; then a note says so.
        """
        pod = member.pod
        if pod.owner is None:
            return member
        try:
            workload = self._read(pod.namespace, pod.owner)
        except PodcertError as error:
            self.notes[f"workloads were not looked at: {error.message}"] = None
            return member
        return replace(member, workload=workload, orphan=workload is None)

    def _read(self, namespace: str, owner: Owner) -> Workload | None:
        """None for an owner that is gone, or of a kind that Podcert does not roll: an operator's own, a lone ReplicaSet."""
        top = self._top(namespace, owner)
        if top is None:
            return None
        key = (namespace, top.kind, top.name)
        if key not in self._known:
            self._known[key] = self._reader.read(*key)
        found = self._known[key]
        return found if found is not None and found.uid == top.uid else None

    def _top(self, namespace: str, owner: Owner) -> Owner | None:
        if owner.kind != "ReplicaSet":
            return owner
        if owner.uid not in self._owners:
            self._owners[owner.uid] = self._reader.controller(namespace, owner)
        return self._owners[owner.uid]
