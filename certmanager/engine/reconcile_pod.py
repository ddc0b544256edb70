"""One pod, once: gather what is known, decide (domain), act, report.

Idempotent: run twice, it does nothing the second time. Everything that it remembers between two runs is a shortcut that a
restart may lose: the truth is in the pod, the Secret and the certificate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from certmanager.domain import decide
from certmanager.domain.advice import advice
from certmanager.domain.errors import AlreadyExists, NotFound, PodcertError, Refused
from certmanager.domain.model import ENROLL_LABEL, Pod, Request, StoredSecret
from certmanager.domain.problems import cut
from certmanager.domain.reasons import Reason
from certmanager.domain.request import Defaults, decide_request
from certmanager.domain.secret_notes import issued_message, secret_name_taken
from certmanager.domain.trust import Trust
from certmanager.domain.workload import workload
from certmanager.engine.clock import Clock
from certmanager.engine.intake import Intake
from certmanager.engine.keys import PodKey, RoleKey, WorkloadKey
from certmanager.engine.making import Making
from certmanager.engine.outcome import Outcome
from certmanager.engine.pace import Pace
from certmanager.engine.ports import CertificateAuthority, KeyMaker, PodReader, Preflight, Reporter, SecretStore
from certmanager.engine.refusals import Refusals
from certmanager.engine.retiring import Retiring
from certmanager.engine.timers import Timers

REFUSAL_SECONDS = 300.0
"""After a `no`, the same request is not sent again before this, unless `Policy` says otherwise."""
ROTATING_SECONDS = 5.0
"""How often a pod that waits for its successor has its workload looked at, beside the workload's own pace."""
LEAVING_SECONDS = 2.0
"""How often a pod looks whether a Secret that is to be revoked first has left the name that it wants."""
LOOP_SECONDS = 30.0
"""Pause when a certificate that has just been made is found wanting again at once."""


@dataclass(frozen=True, slots=True)
class PodPorts:
    """The outside, as reconciling a pod needs it."""

    ca: CertificateAuthority
    keys: KeyMaker
    secrets: SecretStore
    pods: PodReader
    reporter: Reporter
    preflight: Preflight


@dataclass(frozen=True, slots=True)
class Policy:
    """What the administrator decides.

    Attributes:
        defaults: what holds for the pods of a namespace, by its name; a callable, because the policy may be reloaded. May
            raise `NotYet`, `Refused`.
        refusal_seconds: after a `no`, the same request is not sent again before this.
    """

    defaults: Callable[[str], Defaults]
    refusal_seconds: float = REFUSAL_SECONDS


class PodReconciler:
    """Thread-safe as long as no two threads reconcile the same key, which the queue guarantees.

    Args:
        intake: store, queue and what is still awaited.
        ports: the clients.
        timers: where renewal times go.
        clock: now.
        policy: what the administrator decides.
    """

    def __init__(self, intake: Intake, ports: PodPorts, timers: Timers, clock: Clock, policy: Policy) -> None:
        self._intake = intake
        self._store = intake.store
        self._ports = ports
        self._timers = timers
        self._clock = clock
        self._policy = policy
        self.retiring = Retiring(ports.secrets, ports.reporter, clock, policy.defaults)
        self._making = Making(ports.ca, ports.keys, ports.preflight, clock, self.retiring)
        self._refusals = Refusals(clock, policy.refusal_seconds)
        self._pace = Pace(clock.monotonic)

    @property
    def refusal_seconds(self) -> float:
        """After a `no`, the same request is not sent again before this."""
        return self._policy.refusal_seconds

    def reconcile(self, key: PodKey) -> Outcome:
        """Looks at one pod. Raises `NotYet` (retry) and `Refused` (said to the user by the worker)."""
        pod = self._store.pod(key.namespace, key.name)
        if pod is None:
            return self._without_pod(key)
        situation = self._gather(pod)
        decision = decide.decide(situation)
        if isinstance(decision, decide.Issue) and isinstance(situation.request, Request):
            self._refusals.check(key, situation.request)
            wait = self._pace.wait(pod.uid)
            if wait > 0:
                return self._too_fast(pod, decision, wait)
            outcome = self._try_to_issue(key, pod, situation.request, situation.secret)
            if outcome is not None:
                return outcome
            return self._settle(key, pod, decision)
        return self._act(key, pod, situation, decision)

    def forgive(self, key: PodKey) -> None:
        """What was refused for reasons that have gone may be asked again at once. Called from any thread."""
        self._refusals.forgive(key)

    def remaining(self, key: PodKey) -> float | None:
        """Seconds until the certificate in the pod's Secret ends, or None without one; for the back-off."""
        ends = [s.bundle.leaf.not_after for s in self._store.secrets_of(key.namespace, key.name) if s.bundle]
        return max(ends) - self._clock.now() if ends else None

    # Gather

    def _gather(self, pod: Pod) -> decide.Situation:
        request = decide_request(pod, self._store.services_for(pod), self._policy.defaults(pod.namespace))
        trust: Trust | None = None
        secret = None
        other_alive = False
        if isinstance(request, Request):
            secret = self._find_secret(pod, request)
            other = None if secret is None else self._store.pod(pod.namespace, secret.pod_name)
            other_alive = other is not None and secret is not None and other.uid == secret.pod_uid
            trust = self._ports.ca.known_trust(request.mount)
        else:
            secret = next(iter(self._leftovers(pod, None)), None)
        return decide.Situation(
            pod=pod,
            request=request,
            secret=secret,
            trust=trust,
            settles_in=self._intake.settles_in(pod),
            other_pod_alive=other_alive,
            now=self._clock.now(),
        )

    def _find_secret(self, pod: Pod, request: Request) -> StoredSecret | None:
        secret = self._store.secret(pod.namespace, request.secret_name)
        if secret is None and request.fixed_name:
            # The watch shows only Secrets with our label; under a name that a user chose there may be another's.
            secret = self._ports.secrets.read(pod.namespace, request.secret_name)
        return secret

    # Act

    def _act(self, key: PodKey, pod: Pod, situation: decide.Situation, decision: decide.Decision) -> Outcome:
        secret = situation.secret
        match decision:
            case decide.Keep():
                self._refusals.forget(key)
                self._clear_leftovers(pod, situation.request)
                if decision.next_at is not None:
                    self._timers.set(key, decision.next_at, situation.now)
                return Outcome(decision.reason)
            case decide.Rotate():
                self._rotate(key, pod, decision, situation.now)
                return Outcome(decision.reason)
            case decide.Wait():
                if decision.reason is Reason.RENEWAL_LOOP:
                    self._ports.reporter.warning(pod, decision.reason, decision.message)
                return Outcome(decision.reason, decision.seconds)
            case decide.Reject():
                self._timers.cancel(key)
                self._ports.reporter.warning(pod, decision.reason, decision.message)
                return Outcome(decision.reason, self.refusal_seconds)
            case decide.Remove():
                self._timers.cancel(key)
                if secret is not None:
                    self._remove(secret)
                    self._intake.add([RoleKey(pod.namespace, pod.service_account)])
                # Looked at again: a predecessor's Secret that stood in the way is gone now, or soon.
                return Outcome(decision.reason, LEAVING_SECONDS if secret is not None and secret.finalizers else 0.0)
            case _:
                self._timers.cancel(key)
                return Outcome(decision.reason)

    def _rotate(self, key: PodKey, pod: Pod, decision: decide.Rotate, now: float) -> None:
        """Has the workload looked at, now and, by the timer, when the Secret itself is due for want of a new pod."""
        kind, _, name = workload(pod).partition("/")
        self._intake.add([WorkloadKey(pod.namespace, kind, name)])
        if decision.next_at is not None:
            self._timers.set(key, max(decision.next_at, now + ROTATING_SECONDS), now)

    def _leftovers(self, pod: Pod, keep: str | None) -> list[StoredSecret]:
        """Our Secrets of this very pod, except the one named `keep`: others stay behind when a chosen name changes."""
        mine = self._store.secrets_of(pod.namespace, pod.name)
        return [secret for secret in mine if secret.pod_uid == pod.uid and secret.name != keep]

    def _clear_leftovers(self, pod: Pod, request: object) -> None:
        """Deletes them once the pod has the certificate that it should have."""
        if isinstance(request, Request):
            for secret in self._leftovers(pod, request.secret_name):
                self._remove(secret)

    def _remove(self, secret: StoredSecret) -> None:
        """Deletes it. One that a finalizer keeps is still there: the watch tells of it, and `reconcile_revocation` sees to it."""
        if secret.deleting_since is None:
            self._ports.secrets.delete(secret)
        if not secret.finalizers:
            self._store.drop_secret(secret.namespace, secret.name, secret.uid)

    def _without_pod(self, key: PodKey) -> Outcome:
        self._timers.cancel(key)
        self._refusals.forget(key)
        secrets = self._store.secrets_of(key.namespace, key.name)
        if not secrets:
            return Outcome("PodGone")
        pod = self._ports.pods.read(key.namespace, key.name)
        if pod is None:
            # The ownerReference makes it the garbage collector's; only a pod that lost its label leaves work for us.
            return Outcome("PodGone")
        for secret in secrets:
            if secret.pod_uid == pod.uid and secret.managed and ENROLL_LABEL not in pod.labels:
                self._remove(secret)
        return Outcome("NotEnrolled")

    # Issue

    def _try_to_issue(self, key: PodKey, pod: Pod, request: Request, old: StoredSecret | None) -> Outcome | None:
        """`_issue`, with what comes of a renewal counted."""
        if old is None:
            return self._issue(key, pod, request, old)
        reporter = self._ports.reporter
        try:
            outcome = self._issue(key, pod, request, old)
        except PodcertError as error:
            reporter.renewed("refused" if isinstance(error, Refused) else "failed")
            raise
        if outcome is None:
            reporter.renewed("renewed")
        return outcome

    def _issue(self, key: PodKey, pod: Pod, request: Request, old: StoredSecret | None) -> Outcome | None:
        """Makes and stores a certificate; None when it is done, an outcome when the pod has gone meanwhile."""
        try:
            write = self._making.make(pod, request, old)
        except Refused as refusal:
            self._refusals.note(key, request, refusal)
            raise
        self._pace.made(pod.uid)
        current = self._store.pod(pod.namespace, pod.name)
        if current is None or current.uid != pod.uid or current.deleting:
            return Outcome("PodGone")
        try:
            stored = self._ports.secrets.create(write) if old is None else self._ports.secrets.replace(write, old)
        except AlreadyExists:
            return self._adopt_or_tell(key, pod, request)
        except NotFound:
            if old is None:
                # The namespace is going away.
                raise
            self._store.drop_secret(old.namespace, old.name, old.uid)
            return Outcome("SecretGone", 0.0)
        self._store.put_secret(stored)
        self._intake.add(self._intake.revocations(stored))
        self._refusals.forget(key)
        if not request.fixed_name:
            self._intake.add([RoleKey(pod.namespace, pod.service_account)])
        return None

    def _too_fast(self, pod: Pod, wanted: decide.Issue, wait: float) -> Outcome:
        why = f"certificates of this pod follow each other too fast ({wanted.reason}: {wanted.message})"
        remedy = f"see who changes its Secret; the next one is made in {wait:.0f} s"
        self._ports.reporter.warning(pod, Reason.RENEWAL_LOOP, cut(f"{why}; {remedy}"))
        return Outcome(Reason.RENEWAL_LOOP, wait)

    def _adopt_or_tell(self, key: PodKey, pod: Pod, request: Request) -> Outcome:
        """Somebody was first: a second manager, our own write whose answer was lost, or a stranger."""
        there = self._ports.secrets.read(pod.namespace, request.secret_name)
        if there is None:
            return Outcome("SecretGone", 0.0)
        if there.managed and there.pod_uid == pod.uid:
            self._store.put_secret(there)
            self._intake.add([RoleKey(pod.namespace, pod.service_account)])
            return Outcome("Adopted", 0.0)
        refusal = Refused(*secret_name_taken(there))
        self._refusals.note(key, request, refusal)
        raise refusal

    def _settle(self, key: PodKey, pod: Pod, issued: decide.Issue) -> Outcome:
        """Decides again on what has just been stored: it must be kept, and its renewal time is set."""
        situation = self._gather(pod)
        decision = decide.decide(situation)
        if isinstance(decision, decide.Issue):
            self._ports.reporter.warning(
                pod,
                Reason.RENEWAL_LOOP,
                f"a certificate that was made because of {issued.reason} is wanting again at once ({decision.reason}: "
                f"{decision.message}); the next one is made in {LOOP_SECONDS:.0f} s at the earliest",
            )
            return Outcome("RenewalLoop", LOOP_SECONDS)
        secret = situation.secret
        if secret is not None and secret.bundle is not None:
            self._ports.reporter.normal(pod, "CertificateIssued", issued_message(issued.message, secret))
        if issued.reason is Reason.CERTIFICATE_MISSING:
            self._ports.reporter.issued(situation.now - pod.created_at)
        if isinstance(situation.request, Request) and secret is not None:
            said = [*advice(pod, situation.request, secret), *self._ports.preflight.advice(situation.request)]
            for reason, message in said:
                self._ports.reporter.warning(pod, reason, message)
        settled = self._act(key, pod, situation, decision)
        return Outcome(issued.reason, settled.again_in)
