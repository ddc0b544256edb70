"""How each enrolled pod stands: what it serves until when, when that is replaced and how, and what is wrong, if anything.

In the flow: pods, metadata of Secrets, Warnings → *status of each pod* → `podcert status`. From what everybody may see who may
read metadata: no key and no certificate is needed. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from certmanager.domain.annotations import parse_annotations
from certmanager.domain.model import ENROLL_LABEL, Pod, Rotation, StoredSecret
from certmanager.domain.names import secret_name
from certmanager.domain.reasons import Reason
from certmanager.domain.revocation_notes import RENEW_NOTE, REVOKE_NOTE, REVOKED_NOTE
from certmanager.domain.rotation import one_shot, rotatable, same_serial
from certmanager.domain.times import parse_rfc3339

SOON_SECONDS: Final = 30.0
"""A pod without a certificate for longer than this is worth a look, whether or not somebody warns."""


class State(StrEnum):
    """In one word. The order is that of urgency."""

    EXPIRED = "Expired"
    REFUSED = "Refused"
    REVOKED = "Revoked"
    OUTDATED = "Outdated"
    PENDING = "Pending"
    DUE = "Due"
    READY = "Ready"
    FINISHED = "Finished"


@dataclass(frozen=True, slots=True)
class Warned:
    """A Warning about a pod; `at` is when it was said last, seconds since the epoch."""

    reason: str
    message: str
    at: float


@dataclass(frozen=True, slots=True)
class PodStatus:
    """One pod. Times are seconds since the epoch, None where there are none; texts are empty then.

    Attributes:
        names: in the Secret's certificate.
        serial: of the certificate that the pod serves.
        served_until: its end.
        renewal_at: when it is, or was, to be replaced.
        strategy: how that is done, as the pod says or as it was when the certificate was made.
        in_place: although the strategy replaces pods, its Secret is renewed, for it has no owner that could be rolled.
        reason, message: why it is in this state.
    """

    namespace: str
    pod: str
    names: tuple[str, ...]
    secret: str
    serial: str
    served_until: float | None
    renewal_at: float | None
    strategy: str
    in_place: bool
    state: State
    reason: str
    message: str


def statuses(
    pods: Iterable[Pod], secrets: Iterable[StoredSecret], warnings: Mapping[str, Warned], now: float
) -> list[PodStatus]:
    """One line per enrolled pod, sorted by namespace and name.

    Args:
        secrets: ours; their metadata is enough.
        warnings: the last one about each pod, by the pod's uid.
        now: seconds since the epoch.
    """
    by_key = {secret.key: secret for secret in secrets}
    enrolled = [pod for pod in pods if pod.labels.get(ENROLL_LABEL) != "false"]
    return [
        status(pod, secret_of(pod, by_key), warnings.get(pod.uid), now)
        for pod in sorted(enrolled, key=lambda pod: pod.key)
    ]


def secret_of(pod: Pod, secrets: Mapping[tuple[str, str], StoredSecret]) -> StoredSecret | None:
    """The pod's own Secret among ours, under the name that it chose or the one that carries its uid."""
    name = pod.annotations.get("secret-name") or secret_name(pod.name, pod.uid)
    found = secrets.get((pod.namespace, name))
    return found if found is not None and found.managed and found.pod_uid == pod.uid else None


def serial_served(pod: Pod, secret: StoredSecret) -> str:
    """The serial of the certificate that the pod serves: its files' where a fetcher has said that, else the Secret's."""
    own = secret.annotations.get("serial", "")
    said = pod.delivery.served_serial
    return own if said is None or not one_shot(pod) or same_serial(said, own) else said


def status(pod: Pod, secret: StoredSecret | None, warned: Warned | None, now: float) -> PodStatus:
    """One pod's line."""
    notes: Mapping[str, str] = {} if secret is None else secret.annotations
    serial = "" if secret is None else serial_served(pod, secret)
    outdated = secret is not None and serial != notes.get("serial", "")
    until = pod.delivery.served_not_after if outdated else parse_rfc3339(notes.get("not-after", ""))
    state, reason, message = _state(pod, secret, until, warned, now)
    strategy = _strategy(pod, notes)
    return PodStatus(
        namespace=pod.namespace,
        pod=pod.name,
        names=tuple(name for name in notes.get("names", "").split(",") if name),
        secret="" if secret is None else secret.name,
        serial=serial,
        served_until=until,
        renewal_at=None if outdated else parse_rfc3339(notes.get("renewal-at", "")),
        strategy=strategy,
        in_place=strategy in (Rotation.RESTART, Rotation.EVICT) and not rotatable(pod),
        state=state,
        reason=reason,
        message=message,
    )


_Why = tuple[State, str, str]
"""State, reason, message."""


def _state(pod: Pod, secret: StoredSecret | None, until: float | None, warned: Warned | None, now: float) -> _Why:
    if pod.finished:
        return State.FINISHED, "", ""
    if secret is None:
        return _without_certificate(pod, warned, now)
    notes, serial = secret.annotations, serial_served(pod, secret)
    return _wrong(notes, serial, until, warned, now) or _due(notes, serial, warned, now) or (State.READY, "", "")


def _without_certificate(pod: Pod, warned: Warned | None, now: float) -> _Why:
    if warned is not None:
        return State.REFUSED, warned.reason, warned.message
    late = now - pod.created_at > SOON_SECONDS
    return State.PENDING, Reason.CERTIFICATE_MISSING, _WAITING if late else "it has just come"


def _wrong(
    notes: Mapping[str, str], serial: str, until: float | None, warned: Warned | None, now: float
) -> _Why | None:
    """What is served should not be."""
    if until is not None and until <= now:
        return State.EXPIRED, *((warned.reason, warned.message) if warned else ("", "nobody has replaced it in time"))
    if serial and same_serial(notes.get(REVOKED_NOTE, ""), serial):
        return State.REVOKED, Reason.REVOCATION_REQUESTED, "it is revoked, and its successor is awaited"
    if serial != notes.get("serial", ""):
        return State.OUTDATED, Reason.FILES_OUTDATED, "its Secret has been renewed, and its files have not"
    return None


def _due(notes: Mapping[str, str], serial: str, warned: Warned | None, now: float) -> _Why | None:
    """What is served is to be replaced now; a Warning since then may say what it waits for."""
    asked = _asked(notes, serial)
    if asked is not None:
        return State.DUE, asked, "somebody has asked for it"
    renewal = parse_rfc3339(notes.get("renewal-at", ""))
    if renewal is None or renewal > now:
        return None
    since_then = warned is not None and warned.at >= renewal
    return State.DUE, *((warned.reason, warned.message) if warned and since_then else (Reason.RENEWAL_DUE, ""))


_WAITING: Final = "it has no Secret yet: see whether a manager serves its namespace, and what its log says"


def _asked(notes: Mapping[str, str], serial: str) -> Reason | None:
    for note, reason in ((REVOKE_NOTE, Reason.REVOCATION_REQUESTED), (RENEW_NOTE, Reason.RENEWAL_REQUESTED)):
        named = notes.get(note, "").partition(",")[0]
        if named and same_serial(named, serial):
            return reason
    return None


def _strategy(pod: Pod, notes: Mapping[str, str]) -> str:
    """As the pod says, or as it was when its certificate was made: who asks does not know the manager's settings."""
    asked, _problems = parse_annotations(
        {"rotation": pod.annotations["rotation"]} if "rotation" in pod.annotations else {}
    )
    return str(asked.rotation or notes.get("rotation", ""))
