"""Deployments, StatefulSets and DaemonSets (apps/v1) as rolling them needs; above all, whether a roll is over.

Used by `workloads`. A roll is over when `kubectl rollout status` says so, because that is what people compare with; its
rules are those of `polymorphichelpers/rollout_status.go` in k8s.io/kubectl (0.36), and the meaning of the counters is in
https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/deployment-v1/#DeploymentStatus and its neighbours.
Pure, and tolerant as `fields` is: an object without a status has not settled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from certmanager.domain.model import Workload
from certmanager.kube.fields import (
    Obj,
    mapping,
    mappings,
    metadata,
    name,
    number,
    own_annotations,
    resource_version,
    strings,
    text,
)

RESTARTED_FOR: Final = "restarted-for"
"""The template's annotation, without the prefix, whose change rolls a workload."""


def workload(item: Obj, kind: str) -> Workload:
    """The view of an object.

    `settled` is False until the controller has seen the newest generation. Then, as `kubectl rollout status` decides:

    - Deployment: as many replicas updated as wanted, none of an older template left, all updated ones available, and the
      progress deadline not exceeded.
    - StatefulSet: all replicas ready, and those from the partition upwards updated; without a partition, the controller
      has also declared the new revision the current one.
    - DaemonSet: updated and available on every node that it wants.

    With the strategy OnDelete kubectl decides nothing, and the controller updates nothing by itself: settled means there
    that every pod is in service, of whichever template, so that the next one may be replaced.

    Args:
        item: the object's JSON.
        kind: one of `KINDS`; a single object's JSON need not tell.
    """
    meta, spec, status = metadata(item), mapping(item, "spec"), mapping(item, "status")
    template, selector = metadata(mapping(spec, "template")), mapping(spec, "selector")
    annotations = own_annotations(template)
    strategy = mapping(spec, "updateStrategy")
    wanted = number(status, "desiredNumberScheduled") if kind == "DaemonSet" else number(spec, "replicas", 1)
    return Workload(
        namespace=name(meta, "namespace"),
        kind=kind,
        name=text(meta, "name"),
        uid=text(meta, "uid"),
        resource_version=resource_version(item),
        selector=strings(selector, "matchLabels"),
        selector_is_simple=not mappings(selector, "matchExpressions"),
        template_labels=strings(template, "labels"),
        template_annotations=annotations,
        paused=kind == "Deployment" and spec.get("paused") is True,
        on_delete=strategy.get("type") == "OnDelete",
        partition=_partition(strategy) if kind == "StatefulSet" else 0,
        replicas=wanted,
        settled=_observed(meta, status) and _SETTLED[kind](spec, status),
        restarted_for=annotations.get(RESTARTED_FOR),
    )


def _observed(meta: Obj, status: Obj) -> bool:
    """The controller has seen the newest spec. Generations begin at 1."""
    return number(status, "observedGeneration") >= max(1, number(meta, "generation"))


def _partition(strategy: Obj) -> int:
    return max(0, number(mapping(strategy, "rollingUpdate"), "partition"))


def _deployment(spec: Obj, status: Obj) -> bool:
    updated = number(status, "updatedReplicas")
    return (
        not _deadline_exceeded(status)
        and updated >= number(spec, "replicas", 1)
        and number(status, "replicas") <= updated
        and number(status, "availableReplicas") >= updated
    )


def _deadline_exceeded(status: Obj) -> bool:
    return any(
        entry.get("type") == "Progressing" and entry.get("reason") == "ProgressDeadlineExceeded"
        for entry in mappings(status, "conditions")
    )


def _stateful_set(spec: Obj, status: Obj) -> bool:
    wanted, strategy = number(spec, "replicas", 1), mapping(spec, "updateStrategy")
    if number(status, "readyReplicas") < wanted:
        return False
    if strategy.get("type") == "OnDelete":
        return True
    partition = _partition(strategy)
    if number(status, "updatedReplicas") < wanted - partition:
        return False
    return partition > 0 or text(status, "currentRevision") == text(status, "updateRevision")


def _daemon_set(spec: Obj, status: Obj) -> bool:
    wanted = number(status, "desiredNumberScheduled")
    if number(status, "numberAvailable") < wanted:
        return False
    by_hand = mapping(spec, "updateStrategy").get("type") == "OnDelete"
    return by_hand or number(status, "updatedNumberScheduled") >= wanted


_SETTLED: Final[Mapping[str, Callable[[Obj, Obj], bool]]] = {
    "Deployment": _deployment,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
}

KINDS: Final = frozenset(_SETTLED)
