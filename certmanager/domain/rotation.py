"""How a running application comes by a new certificate: what is served, when it has to be replaced, and by whom.

In the flow: decide → *rotation* → workload. The figure that counts is the certificate that is *served*: a fetcher that has
ended leaves its files as they are, however fresh the Secret is. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from certmanager.domain.model import Pod, Rotation, StoredSecret, Workload
from certmanager.domain.renewal import due_at
from certmanager.domain.times import parse_rfc3339

ROLLABLE: Final = frozenset({"ReplicaSet", "StatefulSet", "DaemonSet"})
"""Kinds of a pod's direct owner that lead to something that can be rolled."""

REVISION_LABELS: Final = ("pod-template-hash", "controller-revision-hash")
"""Labels by which the controllers tell the revisions of a template apart."""


@dataclass(frozen=True, slots=True)
class Served:
    """The certificate that a pod's application works with.

    Attributes:
        current: it is the one in the Secret.
        started_at: when it was issued, seconds since the epoch; for one that is not in the Secret any more its end is all
            that is known, and this is the end as well.
        not_before, not_after: its validity.
    """

    current: bool
    started_at: float
    not_before: float
    not_after: float


def issued_at(secret: StoredSecret) -> float | None:
    """When the Secret's certificate was issued by our clock; None without a readable certificate."""
    if secret.bundle is None:
        return None
    noted = parse_rfc3339(secret.annotations.get("issued-at", ""))
    return secret.bundle.leaf.not_before if noted is None else noted


def renewals(secret: StoredSecret) -> int:
    """How often the Secret was renewed in place since it was created."""
    text = secret.annotations.get("renewals", "0")
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def one_shot(pod: Pod) -> bool:
    """The files are written once, by a fetcher that ends: they do not follow the Secret."""
    return pod.delivery.fetcher and not pod.delivery.sidecar


def served(pod: Pod, secret: StoredSecret) -> Served | None:
    """What the pod serves; None when the Secret has no readable certificate.

    A mounted Secret and a sidecar follow the Secret. A fetcher that has not said yet what it wrote will write what is there.
    """
    start = issued_at(secret)
    if secret.bundle is None or start is None:
        return None
    leaf = secret.bundle.leaf
    delivery = pod.delivery
    if not one_shot(pod) or delivery.served_serial is None or delivery.served_serial == leaf.serial:
        return Served(current=True, started_at=start, not_before=leaf.not_before, not_after=leaf.not_after)
    end = delivery.served_not_after if delivery.served_not_after is not None else start
    return Served(current=False, started_at=end, not_before=end, not_after=end)


@dataclass(frozen=True, slots=True)
class CertificateFact:
    """One pod's certificate, as it is served. Times are seconds since the epoch; None where they are not known.

    Attributes:
        workload: the owner, `Kind/name`.
        renewal: when it is, or was, to be replaced.
        outdated: the pod's files hold it still, and its Secret a newer one.
    """

    namespace: str
    pod: str
    workload: str
    not_before: float | None
    not_after: float
    renewal: float | None
    outdated: bool = False


@dataclass(frozen=True, slots=True)
class HeldRoll:
    """A workload (`Kind/name`) whose pods should be replaced and are not, and the `Hold`'s reason why."""

    namespace: str
    workload: str
    reason: str


@dataclass(frozen=True, slots=True)
class Times:
    """When things are due for a served certificate, seconds since the epoch.

    Attributes:
        due: from here on it is to be replaced.
        urgent: from here on nothing is waited for: the Secret is renewed in place, windows and pauses do not count.
        end: it expires.
    """

    due: float
    urgent: float
    end: float


def secret_times(pod: Pod, secret: StoredSecret, before: float) -> Times | None:
    """Of the certificate in the Secret, whoever serves it; None without a readable one.

    `before` is the request's `renew-before`, as `renewal.due_at` takes it. Urgent is half way from due to the end.
    """
    start = issued_at(secret)
    if secret.bundle is None or start is None:
        return None
    leaf = secret.bundle.leaf
    due = due_at(start, leaf.not_before, leaf.not_after, pod.uid, before)
    return Times(due=due, urgent=due + (leaf.not_after - due) / 2, end=leaf.not_after)


def served_times(pod: Pod, secret: StoredSecret, before: float) -> Times | None:
    """Of the certificate that the pod serves.

    When the files hold an older one than the Secret, they are due at once; urgent is then as long before their end as it
    is for the Secret's own certificate, for of the old one no more than its end is known.
    """
    own, current = secret_times(pod, secret, before), served(pod, secret)
    if own is None or current is None or current.current:
        return own
    return Times(due=0.0, urgent=current.not_after - (own.end - own.urgent), end=current.not_after)


def planned(pod: Pod, secret: StoredSecret, before: float) -> float | None:
    """When the certificate that the pod serves is, or was, to be replaced; it stays the same until it has been.

    Of an outdated one no more than its end is known: it is taken to have been due as long before that as the Secret's
    own certificate is.
    """
    own, current = secret_times(pod, secret, before), served(pod, secret)
    if own is None or current is None:
        return None
    return own.due if current.current else current.not_after - (own.end - own.due)


def replacement(pod: Pod, secret: StoredSecret, before: float) -> Times | None:
    """When the pod has to be replaced by a new one, for strategies that do so; None when there is nothing to go by.

    An application that mounts its Secret is replaced after a renewal in place, for it read the files at its start.
    """
    if one_shot(pod):
        return served_times(pod, secret, before)
    own = secret_times(pod, secret, before)
    if own is None:
        return None
    return Times(due=0.0 if renewals(secret) else own.urgent, urgent=own.urgent, end=own.end)


def rotatable(pod: Pod) -> bool:
    """Its owner can be rolled: a Deployment's ReplicaSet, a StatefulSet or a DaemonSet."""
    return pod.owner is not None and pod.owner.kind in ROLLABLE


def replaces_pods(rotation: Rotation) -> bool:
    """The strategy brings the new certificate in with a new pod."""
    return rotation in (Rotation.RESTART, Rotation.EVICT)


def revision(pod: Pod) -> str | None:
    """The revision of the template that the pod was made from, or None when its owner does not say."""
    for label in REVISION_LABELS:
        value = pod.labels.get(label)
        if value:
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
        now: seconds since the epoch.
    """

    workload: Workload
    strategy: Rotation
    due: Sequence[Due]
    pods: Sequence[Pod]
    window_opens_in: float
    slot: bool
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
    pending = [item for item in rollout.due if revision(item.pod) not in (None, workload.restarted_for)]
    if pending:
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
    if rollout.urgent:
        name = f"{workload.kind} {workload.name}"
        message = f"{name} was rolled, but pods with the old certificate are still there; look at its rollout status"
        return Hold("RollStuck", message, WAIT_SECONDS / 3, tell=True)
    return Hold("RollInProgress", "the pods are being replaced", POLL_SECONDS)


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
