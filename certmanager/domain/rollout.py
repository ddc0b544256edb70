"""The next step for a workload whose pods need new certificates: roll it, evict one pod, or hold, and why.

In the flow: a pod is to be replaced (decide) → its workload's key → *plan* → one step. Run again after its step was taken,
a plan holds until the pods are replaced: that is what makes it idempotent. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from certmanager.domain.model import Pod, Rotation, Workload
from certmanager.domain.rotation import Times

REVISION_LABELS: Final = ("pod-template-hash", "controller-revision-hash")
"""Labels by which the controllers tell the revisions of a template apart."""


def revision(pod: Pod) -> str | None:
    """The revision of the template that the pod was made from, or None when its owner does not say.

    A ReplicaSet's name ends in its revision, so there a relabelled pod cannot claim another one.
    """
    for label in REVISION_LABELS:
        value = pod.labels.get(label)
        if value and not (pod.owner and pod.owner.kind == "ReplicaSet" and not pod.owner.name.endswith(f"-{value}")):
            return value
    return None


@dataclass(frozen=True, slots=True)
class Due:
    """A pod of a workload whose certificate has to be replaced."""

    pod: Pod
    times: Times


@dataclass(frozen=True, slots=True)
class Roll:
    """Set the template's annotation to `value`: the workload's controller replaces its pods."""

    value: str


@dataclass(frozen=True, slots=True)
class Evict:
    """Ask for the eviction of one pod."""

    due: Due


@dataclass(frozen=True, slots=True)
class Hold:
    """Not now. `reason` and `message` are told to the pods' owners when `tell` is set; look again in `seconds`."""

    reason: str
    message: str
    seconds: float
    tell: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is due, and no roll is under way."""


Plan = Roll | Evict | Hold | Done

STUCK_SECONDS: Final = 15.0
"""How long a roll may be under way, when the end is near already, before it counts as stuck."""

POLL_SECONDS: Final = 1.0
WAIT_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Rollout:
    """What a plan is made from.

    Attributes:
        workload: as it is now.
        strategy: as its template says it.
        due: its pods whose certificate is to be replaced.
        pods: all its enrolled pods.
        window_opens_in: seconds until a maintenance window opens; 0 while one is open, or when there are none.
        slot: it rolls already, or may begin to.
        rolling_for: seconds since its last roll was seen first.
        now: seconds since the epoch.
    """

    workload: Workload
    strategy: Rotation
    due: Sequence[Due]
    pods: Sequence[Pod]
    window_opens_in: float
    slot: bool
    rolling_for: float
    now: float

    @property
    def urgent(self) -> bool:
        """A certificate is so near its end that nothing is waited for."""
        return any(self.now >= item.times.urgent for item in self.due)


def plan(rollout: Rollout) -> Plan:
    """The next step for one workload. Run again after it was taken, it answers `Hold` until the pods are replaced."""
    workload = rollout.workload
    if not rollout.due:
        if workload.settled or workload.on_delete:
            return Done()
        return Hold("RollInProgress", "the pods are being replaced", POLL_SECONDS)
    for check in (_paused, _outside_window, _no_slot):
        held = check(rollout)
        if held is not None:
            return held
    if rollout.strategy is Rotation.EVICT or workload.on_delete:
        return _evict(rollout)
    return _roll(rollout)


def _paused(rollout: Rollout) -> Plan | None:
    """A paused Deployment would not replace its pods, and would do it unasked when it is resumed."""
    if not rollout.workload.paused or rollout.strategy is Rotation.EVICT:
        return None
    name = f"{rollout.workload.kind} {rollout.workload.name}"
    message = f"{name} is paused, so its pods keep the certificates that they have; resume it to have them replaced"
    return Hold("WorkloadPaused", message, WAIT_SECONDS, tell=True)


def _outside_window(rollout: Rollout) -> Plan | None:
    """Outside a maintenance window only what is urgent is done."""
    if rollout.window_opens_in <= 0 or rollout.urgent:
        return None
    wait = min([rollout.window_opens_in, *(item.times.urgent - rollout.now for item in rollout.due)])
    return Hold("OutsideMaintenanceWindow", "the next maintenance window is waited for", max(1.0, min(wait, 300.0)))


def _no_slot(rollout: Rollout) -> Plan | None:
    """As many workloads as may are rolling."""
    if rollout.slot:
        return None
    return Hold("RollQueued", "other workloads are being rolled", POLL_SECONDS)


def _roll(rollout: Rollout) -> Plan:
    workload = rollout.workload
    current = _current_revisions(rollout) - {None, workload.restarted_for}
    pending = [item for item in rollout.due if revision(item.pod) in current]
    # A second roll waits for the first: a pod that only claims to be of this workload could else have it rolled on and on.
    if pending and (workload.settled or workload.restarted_for is None or rollout.urgent):
        newest = max(pending, key=lambda item: (item.pod.created_at, item.pod.name))
        value = revision(newest.pod)
        if value is not None and not _behind_partition(workload, newest.pod):
            return Roll(value)
    if any(revision(item.pod) is None for item in rollout.due):
        message = "the pods carry no label with their template's revision; restart the workload by hand"
        return Hold("NoRevision", message, WAIT_SECONDS, tell=True)
    behind = [item.pod.name for item in rollout.due if _behind_partition(workload, item.pod)]
    if behind and len(behind) == len(rollout.due):
        message = f"the StatefulSet's partition {workload.partition} keeps {', '.join(sorted(behind)[:5])} from being replaced"
        return Hold("BehindPartition", message, WAIT_SECONDS, tell=True)
    if rollout.urgent and rollout.rolling_for >= STUCK_SECONDS:
        name = f"{workload.kind} {workload.name}"
        message = f"{name} was rolled, but pods with the old certificate are still there; look at its rollout status"
        return Hold("RollStuck", message, WAIT_SECONDS / 3, tell=True)
    return Hold("RollInProgress", "the pods are being replaced", POLL_SECONDS)


def _current_revisions(rollout: Rollout) -> set[str | None]:
    """The template's revision, as far as its pods tell: that of the youngest (creation times are whole seconds).

    Pods of an older one are being replaced already: a roll for their sake would only be a second one, and the next look
    at the others a third.
    """
    pods = [pod for pod in rollout.pods if not pod.deleting and not _behind_partition(rollout.workload, pod)]
    youngest = max((pod.created_at for pod in pods), default=0.0)
    return {revision(pod) for pod in pods if pod.created_at >= youngest}


def _behind_partition(workload: Workload, pod: Pod) -> bool:
    ordinal = pod.name.rpartition("-")[2]
    return workload.kind == "StatefulSet" and ordinal.isdecimal() and int(ordinal) < workload.partition


def _evict(rollout: Rollout) -> Plan:
    """One pod at a time: the next one only when all others are ready again, unless it is urgent."""
    leaving = [item for item in rollout.due if not item.pod.deleting]
    if not leaving:
        return Hold("RollInProgress", "the evicted pods are ending", POLL_SECONDS)
    turn = min(leaving, key=lambda item: (item.times.end, item.pod.name))
    others = [pod for pod in rollout.pods if pod.name != turn.pod.name]
    busy = any(pod.deleting or not pod.ready for pod in others) or len(rollout.pods) < rollout.workload.replicas
    if busy and not rollout.urgent:
        return Hold("RollInProgress", "the pod that was evicted before is being replaced", POLL_SECONDS)
    return Evict(turn)
