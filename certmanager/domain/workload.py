"""The name of the workload that a pod belongs to, as people know it."""

from __future__ import annotations

from certmanager.domain.model import Pod

TEMPLATE_HASH = "pod-template-hash"


def workload(pod: Pod) -> str:
    """`Deployment/web`, `StatefulSet/db`, `Pod/lone`: the kind and name of what made the pod.

    A ReplicaSet whose name is `<deployment>-<pod-template-hash>` stands for its Deployment
    (https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#pod-template-hash-label).
    """
    owner = pod.owner
    if owner is None:
        return f"Pod/{pod.name}"
    suffix = "-" + pod.labels.get(TEMPLATE_HASH, "")
    if owner.kind == "ReplicaSet" and len(suffix) > 1 and owner.name.endswith(suffix):
        return f"Deployment/{owner.name.removesuffix(suffix)}"
    return f"{owner.kind}/{owner.name}"
