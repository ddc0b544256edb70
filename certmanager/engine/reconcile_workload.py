"""One workload, once: its live object and its pods are gathered, the plan is made (domain), one step is taken.

What counts is the live object: its uid and selector have to match a pod, its own template has to carry the label, and
rotation and renewal times are taken as the template says them, so that nobody who may patch a pod can have somebody else's
workload rolled. The value that is written derives from the revision that is replaced, so that neither a retry nor a
second manager rolls twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from certmanager.domain.annotations import IGNORED, parse_annotations
from certmanager.domain.errors import Conflict, NotYet, Refused
from certmanager.domain.model import ENROLL_LABEL, Pod, Rotation, Workload
from certmanager.domain.renewal import asked_before
from certmanager.domain.request import Defaults, rotation_of
from certmanager.domain.rollout import Done, Due, Evict, Hold, Plan, Roll, Rollout, plan
from certmanager.domain.rotation import replacement, replaces_pods
from certmanager.domain.supersede import superseded
from certmanager.domain.trust import Trust
from certmanager.engine.clock import Clock
from certmanager.engine.keys import WorkloadKey
from certmanager.engine.outcome import Outcome
from certmanager.engine.ports import Reporter, Workloads
from certmanager.engine.progress import Progress
from certmanager.engine.served import secret_of
from certmanager.engine.slots import Slots
from certmanager.engine.store import Store
from certmanager.engine.windows import Window, opens_in

AFTER_STEP_SECONDS = 1.0
BLOCKED_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class RollPolicy:
    """What the administrator decides: what holds for the pods of a namespace, how many roll at once, and when; and what Vault
    is known to say of a mount's CAs."""

    defaults: Callable[[str], Defaults]
    slots: Slots
    windows: Sequence[Window] = ()
    trust: Callable[[str], Trust | None] = lambda _mount: None


@dataclass(frozen=True, slots=True)
class _Terms:
    """Strategy and `renew-before` as the template says them, and what Vault is known to say of the CAs."""

    rotation: Rotation
    renew_before: float
    trust: Trust | None


class WorkloadReconciler:
    """Thread-safe as long as no two threads reconcile the same key, which the queue guarantees."""

    def __init__(
        self, store: Store, workloads: Workloads, reporter: Reporter, clock: Clock, policy: RollPolicy
    ) -> None:
        self._store = store
        self._workloads = workloads
        self._reporter = reporter
        self._clock = clock
        self._policy = policy
        self.progress = Progress(reporter)

    def reconcile(self, key: WorkloadKey) -> Outcome:
        """Takes the next step. Raises `NotYet`, `Refused`."""
        workload = self._workloads.read(key.namespace, key.kind, key.name)
        if workload is None:
            self._policy.slots.free(key)
            self.progress.forget(key)
            return Outcome("WorkloadGone")
        rollout = self._gather(key, workload)
        try:
            return self._take(key, rollout, plan(rollout))
        except Refused as error:
            for item in rollout.due:
                self._reporter.warning(item.pod, error.reason, error.message)
            self.progress.held(key, rollout.strategy, error.reason)
            raise

    def _take(self, key: WorkloadKey, rollout: Rollout, step: Plan) -> Outcome:
        workload = rollout.workload
        match step:
            case Done():
                self._policy.slots.free(key)
                self.progress.done(key)
                return Outcome("RollDone")
            case Hold():
                return self._hold(key, rollout, step)
            case Roll():
                self._workloads.restart(workload, step.value)
                self.progress.started(key, Rotation.RESTART)
                for item in rollout.due[:1]:
                    name = f"{workload.kind} {workload.name}"
                    message = f"{name} is rolled: the certificate of pod {item.pod.name} is to be replaced"
                    self._reporter.normal(item.pod, "RollStarted", message)
                return Outcome("RollStarted", AFTER_STEP_SECONDS)
            case Evict():
                return self._evict(key, step.due)

    def _hold(self, key: WorkloadKey, rollout: Rollout, step: Hold) -> Outcome:
        if step.reason == "RollStuck" or (not rollout.due and not rollout.workload.settled):
            # It keeps no other workload waiting; one that only finishes keeps its slot until it has.
            (self._policy.slots.free if step.reason == "RollStuck" else self._policy.slots.hold)(key)
        if step.tell:
            names = [item.pod.name for item in rollout.due]
            if self.progress.tells(key, step.reason, names, self._clock.monotonic()):
                for item in rollout.due:
                    self._reporter.warning(item.pod, step.reason, step.message)
            self.progress.held(key, rollout.strategy, step.reason)
        else:
            self.progress.moves(key)
        return Outcome(step.reason, step.seconds)

    def _evict(self, key: WorkloadKey, due: Due) -> Outcome:
        try:
            self._workloads.evict(due.pod)
        except NotYet as error:
            if error.shared or isinstance(error, Conflict):
                raise
            self._reporter.warning(due.pod, error.reason, error.message)
            self.progress.held(key, Rotation.EVICT, error.reason)
            return Outcome(error.reason, max(BLOCKED_SECONDS, error.retry_after or 0.0))
        self.progress.started(key, Rotation.EVICT)
        self._reporter.normal(
            due.pod, "Evicted", f"evicted: its certificate ends in {due.times.end - self._clock.now():.0f} s"
        )
        return Outcome("Evicted", AFTER_STEP_SECONDS)

    def _gather(self, key: WorkloadKey, workload: Workload) -> Rollout:
        now = self._clock.now()
        pods = [
            pod for pod in self._store.pods_of_workload(key.namespace, f"{key.kind}/{key.name}") if not pod.finished
        ]
        terms = self._terms(workload, pods)
        members = _Members(self._workloads, workload)
        due = [] if terms is None else self._due(pods, members, terms, now)
        if due:
            # A pod that only pretends to be a member must not pass for the youngest, or for one that is not ready.
            pods = [pod for pod in pods if members.has(pod)]
        wants = bool(due) and not workload.paused
        return Rollout(
            workload=workload,
            strategy=Rotation.RESTART if terms is None else terms.rotation,
            due=due,
            pods=pods,
            window_opens_in=opens_in(self._policy.windows, now),
            slot=not wants or self._policy.slots.take(key),
            rolling_for=self.progress.rolling_for(key, workload.restarted_for, self._clock.monotonic()),
            now=now,
        )

    def _terms(self, workload: Workload, pods: Sequence[Pod]) -> _Terms | None:
        """What the template says, None when it is not enrolled or does not replace pods."""
        if workload.template_labels.get(ENROLL_LABEL) != "true":
            return None
        asked, problems = parse_annotations(_own(workload.template_annotations))
        if problems:
            return None
        defaults = self._policy.defaults(workload.namespace)
        sidecar = any(pod.delivery.sidecar for pod in pods)
        rotation = rotation_of(asked, sidecar, defaults)
        if not replaces_pods(rotation):
            return None
        before = asked_before(asked, defaults.renew_before_fraction)
        return _Terms(rotation, before, self._policy.trust(defaults.mount))

    def _due(self, pods: Sequence[Pod], members: _Members, terms: _Terms, now: float) -> list[Due]:
        found = []
        for pod in pods:
            secret = secret_of(self._store, pod)
            if secret is None or pod.deleting:
                continue
            now_due = superseded(secret, terms.trust) is not None
            times = replacement(pod, secret, terms.renew_before, now_due=now_due)
            if times is None:
                continue
            # A pod whose own annotations are not the template's was patched: only the end of what it serves counts.
            patched = _own(pod.annotations) != _own(members.workload.template_annotations)
            if now >= (times.urgent if patched else times.due) and members.has(pod):
                found.append(Due(pod, times))
        return found


class _Members:
    """Which pods the live workload made: by uid, through their live ReplicaSet, and by its selector."""

    def __init__(self, workloads: Workloads, workload: Workload) -> None:
        self.workload = workload
        self._workloads = workloads
        self._sets: dict[str, bool] = {}
        """By a ReplicaSet's uid: it is the workload's."""

    def has(self, pod: Pod) -> bool:
        """Raises `NotYet`, `Refused`: each ReplicaSet is read, once."""
        owner = pod.owner
        if owner is None or any(pod.labels.get(label) != value for label, value in self.workload.selector.items()):
            return False
        if owner.kind != "ReplicaSet":
            return owner.uid == self.workload.uid
        if owner.uid not in self._sets:
            controller = self._workloads.controller(pod.namespace, owner)
            self._sets[owner.uid] = controller is not None and controller.uid == self.workload.uid
        return self._sets[owner.uid]


def _own(annotations: Mapping[str, str]) -> dict[str, str]:
    """Without what Podcert writes itself."""
    return {name: value for name, value in annotations.items() if name not in IGNORED}
