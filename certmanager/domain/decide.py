"""What is to be done about one pod now: an ordered list of named checks, the first that has an opinion decides.

In the flow: gather → request → *decide* → act → report. Pure: a situation in, a decision with reason and message out.
Run again after its decision was acted on, it answers `Keep`: that is what makes a reconcile idempotent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from certmanager.domain.model import Request
from certmanager.domain.problems import cut, listed, shown
from certmanager.domain.reasons import Reason
from certmanager.domain.renewal import renew_before
from certmanager.domain.request import NotEnrolled, Rejection, Waiting
from certmanager.domain.rotation import (
    issued_at,
    one_shot,
    replacement,
    replaces_pods,
    rotatable,
    secret_times,
)
from certmanager.domain.secret_notes import changed_terms, secret_name_taken
from certmanager.domain.situation import Decision, Issue, Keep, Nothing, Reject, Remove, Rotate, Situation, Wait
from certmanager.domain.times import rfc3339

__all__ = [
    "Decision",
    "Issue",
    "Keep",
    "Nothing",
    "Reject",
    "Remove",
    "Rotate",
    "Situation",
    "Wait",
    "CHECKS",
    "decide",
]

Check = Callable[[Situation], Decision | None]

POD_IP_SECONDS: Final = 60.0
"""Pause while a pod has no IP: its arrival is an event of the pod, this is only the safety net."""

MIN_SECONDS: Final = 15.0
"""Between two certificates of one Secret, when nothing but their times asks for the second."""

NAMES_SECONDS: Final = 2.0
"""Between a certificate and the next one that has more names: a hundred Services that come one by one, and select a hundred
pods, are a few certificates for each pod and not ten thousand calls to Vault."""


def decide(situation: Situation) -> Decision:
    """The first opinion in `CHECKS`; without any, the certificate is kept until its renewal is due."""
    for check in CHECKS:
        decision = check(situation)
        if decision is not None:
            return decision
    due = _due(situation)
    until = "" if due is None else f"; renewal at {rfc3339(due)}"
    return Keep(Reason.VALID, f"the certificate is valid{until}", due)


def takes_no_part(situation: Situation) -> Decision | None:
    """A pod that is finished or not enrolled has no Secret of ours; a deleted pod's goes with it, by its ownerReference."""
    pod = situation.pod
    if pod.deleting:
        return Nothing(Reason.DELETING)
    if pod.finished:
        reason, why = Reason.FINISHED, "is finished"
    elif isinstance(situation.request, NotEnrolled):
        reason, why = Reason.NOT_ENROLLED, "is not enrolled"
    else:
        return None
    return Remove(reason, f"the pod {why}: its Secret is deleted") if situation.ours else Nothing(reason)  # the reason


def services_may_still_come(situation: Situation) -> Decision | None:
    """A new pod whose names may be about to change is given a moment: pod and Service arrive on two watches."""
    if situation.settles_in <= 0:
        return None
    request = situation.request
    if isinstance(request, Request) and request.selected:
        return None
    if isinstance(request, Rejection) and request.reason not in (Reason.NO_NAME, Reason.NAME_NOT_ALLOWED):
        return None
    message = "no Service selects the pod yet; one that was applied beside it may still arrive"
    return Wait(Reason.WAITING_FOR_SERVICES, message, situation.settles_in)  # WaitingForServices


def rejected(situation: Situation) -> Decision | None:
    """What is wrong with the pod is said; its Secret, if there is one, stays as it is."""
    request = situation.request
    return Reject(request.reason, request.message) if isinstance(request, Rejection) else None  # the rejection's


def waiting(situation: Situation) -> Decision | None:
    """Something that comes by itself is awaited."""
    request = situation.request
    return Wait(request.reason, request.message, POD_IP_SECONDS) if isinstance(request, Waiting) else None  # its own


def missing(situation: Situation) -> Decision | None:
    """There is no Secret yet."""
    return Issue(Reason.CERTIFICATE_MISSING, "the pod has no Secret yet") if situation.secret is None else None


def name_taken(situation: Situation) -> Decision | None:
    """The Secret is not this pod's: a stranger's or a living pod's is left untouched, that of a pod gone is removed."""
    secret = situation.secret
    if secret is None or situation.ours:
        return None
    if not secret.managed or not secret.pod_uid or situation.other_pod_alive:
        return Reject(*secret_name_taken(secret))  # SecretNameTaken
    message = f"Secret {secret.namespace}/{secret.name} belongs to a pod that is gone ({shown(secret.pod_name)})"
    return Remove(Reason.PREDECESSOR_SECRET, message)  # PredecessorSecret


def unreadable(situation: Situation) -> Decision | None:
    """The files are missing or garbage."""
    if situation.secret is None or situation.bundle is not None:
        return None
    why = cut(situation.secret.problem or "its files cannot be read")
    return Issue(Reason.CERTIFICATE_UNREADABLE, f"the Secret has no usable certificate: {why}")  # CertificateUnreadable


def key_does_not_fit(situation: Situation) -> Decision | None:
    """Key and certificate are two different pairs' halves."""
    if situation.bundle is None or situation.bundle.key_fits:
        return None
    return Issue(Reason.KEY_MISMATCH, "the Secret's private key does not belong to its certificate")  # KeyMismatch


def chain_is_broken(situation: Situation) -> Decision | None:
    """A peer that trusts `ca.crt` could not verify the certificate."""
    if situation.bundle is None or situation.bundle.chain_ok:
        return None
    return Issue(Reason.CHAIN_BROKEN, "the certificate's chain does not reach an anchor in ca.crt")  # ChainBroken


def anchor_is_unknown(situation: Situation) -> Decision | None:
    """Vault has other anchors now. With Vault away (or silent about its anchors) it is judged later."""
    anchors = None if situation.trust is None else situation.trust.fingerprints
    if not anchors or situation.bundle is None or situation.bundle.anchor in anchors:
        return None
    return Issue(Reason.ANCHOR_UNKNOWN, "the certificate's anchor is not one that Vault has")  # AnchorUnknown


def request_changed(situation: Situation) -> Decision | None:
    """What was asked for is not what the Secret says it holds. Annotations that it lacks are not held against it."""
    request, secret = situation.request, situation.secret
    if secret is None or not isinstance(request, Request):
        return None
    changed = changed_terms(request, secret.annotations)
    if situation.bundle is not None:
        before, after = situation.bundle.leaf.names, request.names
        # With other SANs, another common name comes from a name gained or lost, which has its own rule.
        if before.sans() == after.sans() and before.common_name and after.common_name not in (None, before.common_name):
            changed.append(f"common-name from {shown(before.common_name)} to {after.common_name}")
    if not changed:
        return None
    return Issue(Reason.REQUEST_CHANGED, cut(f"changed: {', '.join(changed)}"))  # RequestChanged


def name_gained(situation: Situation) -> Decision | None:
    """The pod has a name that the certificate lacks. A name lost waits for the rotation."""
    if situation.bundle is None or not isinstance(situation.request, Request):
        return None
    gained = situation.request.names.sans() - situation.bundle.leaf.names.sans()
    if not gained:
        return None
    message = f"the certificate lacks {listed(sorted(gained))}"
    made = None if situation.secret is None else issued_at(situation.secret)
    if made is not None and 0 <= situation.now - made < NAMES_SECONDS:
        return Wait(Reason.NAME_GAINED, message, made + NAMES_SECONDS - situation.now)
    return Issue(Reason.NAME_GAINED, message)  # NameGained


def issued_a_moment_ago(situation: Situation) -> Decision | None:
    """A net under every loop: a certificate that was made a moment ago is not replaced because it is due again already."""
    secret = situation.secret
    made = None if secret is None else issued_at(secret)
    if made is None or not 0 <= situation.now - made < MIN_SECONDS:
        return None
    left = made + MIN_SECONDS - situation.now
    if situation.superseded is not None:
        return Wait(*situation.superseded, max(1.0, left))  # superseded's
    due = _due(situation)
    if due is None or situation.now < due:
        return None
    message = f"the certificate is due {situation.now - made:.0f} s after its issue already: ask for a longer ttl"
    return Wait(Reason.RENEWAL_LOOP, message, max(1.0, left))  # RenewalLoop


def renewal_is_due(situation: Situation) -> Decision | None:
    """Its time has come, or has passed while nobody looked, or it is superseded.

    Where the new certificate comes with a new pod, the Secret itself is renewed only when that pod does not come in time,
    or when it is mounted.
    """
    request, secret = situation.request, situation.secret
    if secret is None or not isinstance(request, Request):
        return None
    own = secret_times(situation.pod, secret, renew_before(request))
    if own is None:
        return None
    waits_for_pod = replaces_pods(request.rotation) and rotatable(situation.pod) and one_shot(situation.pod)
    due = own.urgent if waits_for_pod else own.due
    if situation.now < due:
        why = situation.superseded
        return None if why is None or waits_for_pod else Issue(*why)  # superseded's
    if situation.now >= own.end:
        return Issue(Reason.RENEWAL_DUE, f"the certificate expired at {rfc3339(own.end)}")  # RenewalDue
    return Issue(
        Reason.RENEWAL_DUE, f"the renewal was due at {rfc3339(due)}; the certificate ends at {rfc3339(own.end)}"
    )


def rotation_is_due(situation: Situation) -> Decision | None:
    """A new pod has to bring the new certificate in."""
    request, secret, pod = situation.request, situation.secret, situation.pod
    if secret is None or not isinstance(request, Request):
        return None
    if not replaces_pods(request.rotation) or not rotatable(pod):
        return None
    before = renew_before(request)
    why = situation.superseded
    wanted = replacement(pod, secret, before, now_due=why is not None)
    own = secret_times(pod, secret, before)
    if wanted is None or own is None or situation.now < wanted.due:
        return None
    message = f"the certificate that the pod serves ends at {rfc3339(wanted.end)}; strategy {request.rotation}"
    reason, message = (Reason.ROTATION_DUE, message) if why is None else why
    return Rotate(reason, message, own.urgent if one_shot(pod) else own.due)  # RotationDue, superseded's


CHECKS: Final[tuple[Check, ...]] = (
    takes_no_part,
    services_may_still_come,
    rejected,
    waiting,
    missing,
    name_taken,
    unreadable,
    key_does_not_fit,
    chain_is_broken,
    anchor_is_unknown,
    request_changed,
    name_gained,
    issued_a_moment_ago,
    renewal_is_due,
    rotation_is_due,
)


def _due(situation: Situation) -> float | None:
    """When anything is due because of the certificate's times: the renewal of the Secret, or a new pod."""
    request, secret = situation.request, situation.secret
    if secret is None or not isinstance(request, Request):
        return None
    own = secret_times(situation.pod, secret, renew_before(request))
    return None if own is None else own.due
