"""What makes pods, and how pods are replaced: the hands of the rotation.

Called by the rotation in the engine through the port `Workloads`. Nothing is watched: a workload is read when the turn of
its pods has come. A roll is what `kubectl rollout restart` does, one annotation of the pod template, under Podcert's own
annotation and field manager; an eviction is the Eviction API's, so PodDisruptionBudgets hold
(https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/).
"""

from __future__ import annotations

from typing import Final

from certmanager.domain.errors import Conflict, NotFound
from certmanager.domain.model import PREFIX, Owner, Pod, Workload
from certmanager.kube.client import FIELD_MANAGER, METADATA_ONLY, Json, KubeClient, Options, namespaced
from certmanager.kube.fields import controller, metadata, text
from certmanager.kube.project_workload import KINDS, RESTARTED_FOR, workload

GROUP: Final = "apis/apps/v1"
API_VERSION: Final = "apps/v1"
STRATEGIC_MERGE_PATCH: Final = "application/strategic-merge-patch+json"
"""https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply: lists are merged by their keys."""

_QUERY: Final = {"fieldManager": FIELD_MANAGER}
_METADATA: Final = Options(accept=METADATA_ONLY)
_PATCH: Final = Options(content_type=STRATEGIC_MERGE_PATCH, accept=METADATA_ONLY)


class KubeWorkloads:
    """Implements the port `Workloads`.

    Args:
        client: the API server.
    """

    def __init__(self, client: KubeClient) -> None:
        self._client = client

    def read(self, namespace: str, kind: str, name: str) -> Workload | None:
        """GET; None when it is not there or of another kind than the three. Raises `NotYet`, `Refused`."""
        if kind not in KINDS:
            return None
        try:
            item = self._client.request("GET", _path(namespace, kind, name))
        except NotFound:
            return None
        return workload(item, kind)

    def controller(self, namespace: str, owner: Owner) -> Owner | None:
        """The controlling owner of a ReplicaSet, if the live ReplicaSet has `owner`'s uid; else None.

        None also for an owner that is no ReplicaSet of apps/v1, without a request. Raises `NotYet`, `Refused`.
        """
        if (owner.api_version, owner.kind) != (API_VERSION, "ReplicaSet"):
            return None
        try:
            item = self._client.request("GET", namespaced(GROUP, "replicasets", namespace, owner.name))
        except NotFound:
            return None
        meta = metadata(item)
        return controller(meta) if text(meta, "uid") == owner.uid else None

    def restart(self, workload: Workload, value: str) -> None:
        """Sets the template's annotation `podcert.io/restarted-for` to `value`; the same value again changes nothing.

        Only if the live object is still the one that was read: its uid and resourceVersion go with the patch.

        Raises:
            Conflict: it has changed since, or has been deleted and made anew.
            NotFound: it is gone.
            NotYet, Refused: as everywhere; without the right to patch, `Refused` says where the right comes from.
        """
        body: Json = {
            "metadata": {"uid": workload.uid, "resourceVersion": str(workload.resource_version)},
            "spec": {"template": {"metadata": {"annotations": {PREFIX + RESTARTED_FOR: value}}}},
        }
        path = _path(workload.namespace, workload.kind, workload.name)
        self._client.request("PATCH", path, _QUERY, body, _PATCH)

    def evict(self, pod: Pod) -> None:
        """`POST …/pods/<name>/eviction` with the pod's uid as precondition; a pod that is gone is success.

        Raises:
            NotYet: `DisruptionBudget` when a PodDisruptionBudget says no, in the API server's own words, which name it;
                `Conflict` when the pod was written at the same time.
            Refused: `DisruptionBudgetsOverlap` when several budgets select the pod; no right to evict.
        """
        body: Json = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": pod.namespace},
            "deleteOptions": {"preconditions": {"uid": pod.uid}},
        }
        path = namespaced("api/v1", "pods", pod.namespace, pod.name)
        # A pending pod of another uid would hold this worker for ten seconds, in which the API server tries it again
        # and again (measured with 1.36); the precondition stays, for a pod that is replaced just now.
        if not self._lives(pod, path):
            return
        try:
            self._client.request("POST", f"{path}/eviction", None, body)
        except NotFound:
            return
        except Conflict:
            # Over the uid, or over a write at the same time: in the answer only words tell them apart, so the pod is asked.
            if self._lives(pod, path):
                raise

    def _lives(self, pod: Pod, path: str) -> bool:
        try:
            return text(metadata(self._client.request("GET", path, None, None, _METADATA)), "uid") == pod.uid
        except NotFound:
            return False


def _path(namespace: str, kind: str, name: str) -> str:
    return namespaced(GROUP, f"{kind.lower()}s", namespace, name)
