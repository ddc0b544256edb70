"""What a decision is made from, and what it can be: the vocabulary between `decide` and the engine."""

from __future__ import annotations

from dataclasses import dataclass

from certmanager.domain.model import Bundle, Pod, StoredSecret
from certmanager.domain.reasons import Reason
from certmanager.domain.request import Verdict
from certmanager.domain.supersede import Superseded, superseded
from certmanager.domain.trust import Trust


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a decision needs.

    Attributes:
        request: what `decide_request` said of the pod.
        secret: the Secret that has the name it should have (without a request: the generated name), or None.
        trust: what Vault says of the mount's CAs; None while it was not read. It may have no anchors at all: then CAs cannot
            be judged either.
        settles_in: seconds for which a Service that was applied beside the pod may still arrive, by our own clock since
            the pod was first seen (its creationTimestamp has whole seconds only); 0 when none is waited for.
        other_pod_alive: the pod that `secret` names (pod-uid) lives; without meaning when that is this pod.
        now: seconds since the epoch.
    """

    pod: Pod
    request: Verdict
    secret: StoredSecret | None
    trust: Trust | None
    settles_in: float
    other_pod_alive: bool
    now: float

    @property
    def ours(self) -> bool:
        """The Secret was made by us for this very pod."""
        return self.secret is not None and self.secret.managed and self.secret.pod_uid == self.pod.uid

    @property
    def bundle(self) -> Bundle | None:
        """The facts of the Secret's files, if there is a Secret and they are readable."""
        return None if self.secret is None else self.secret.bundle

    @property
    def superseded(self) -> Superseded | None:
        """Why the certificate is due now, whatever its times say."""
        return None if self.secret is None else superseded(self.secret, self.trust)


@dataclass(frozen=True, slots=True)
class Keep:
    """The Secret is as it should be, until `next_at` (seconds since the epoch)."""

    reason: Reason
    message: str
    next_at: float | None


@dataclass(frozen=True, slots=True)
class Issue:
    """A new certificate is made: the Secret is created, or replaced when it is there."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Reject:
    """No, until something changes. A Secret that is there stays untouched."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet: look again in `seconds`, or at the next event."""

    reason: Reason
    message: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Remove:
    """The situation's Secret is deleted, by its uid; then the pod is looked at again if it is still enrolled."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Rotate:
    """A new pod has to take this one's place: its workload is looked at. Look again at `next_at` (seconds since the epoch)."""

    reason: Reason
    message: str
    next_at: float | None


@dataclass(frozen=True, slots=True)
class Nothing:
    """The pod does not take part (any more), and there is nothing of ours left of it."""

    reason: Reason


Decision = Keep | Issue | Rotate | Reject | Wait | Remove | Nothing
