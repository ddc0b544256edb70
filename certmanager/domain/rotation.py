"""How a running application comes by a new certificate: what is served, when it has to be replaced, and by whom.

In the flow: decide → *rotation* → workload. The figure that counts is the certificate that is *served*: a fetcher that has
ended leaves its files as they are, however fresh the Secret is. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from certmanager.domain.model import Pod, Rotation, StoredSecret
from certmanager.domain.renewal import EARLIEST, JITTER, due_at
from certmanager.domain.times import parse_rfc3339

ROLLABLE: Final = frozenset({"ReplicaSet", "StatefulSet", "DaemonSet"})
"""Kinds of a pod's direct owner that lead to something that can be rolled."""


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
    if not one_shot(pod) or delivery.served_serial is None or same_serial(delivery.served_serial, leaf.serial):
        return Served(current=True, started_at=start, not_before=leaf.not_before, not_after=leaf.not_after)
    end = delivery.served_not_after if delivery.served_not_after is not None else start
    return Served(current=False, started_at=end, not_before=end, not_after=end)


def same_serial(one: str, other: str) -> bool:
    """Whether two texts are the same serial number. Other fetchers write it as openssl does, in upper case without colons:
    taken for another certificate's, it would have the workload rolled for every new pod, without end."""
    return _digits(one) == _digits(other)


def _digits(serial: str) -> str:
    return serial.replace(":", "").lower().lstrip("0")


@dataclass(frozen=True, slots=True)
class CertificateFact:
    """One pod's certificate, as it is served. Times are seconds since the epoch; None where they are not known.

    Attributes:
        workload: the owner, `Kind/name`.
        renewal: when it is, or was, to be replaced.
        outdated: the pod's files hold it still, and its Secret a newer one.
        mount: where it comes from.
        issuer: SHA-256 fingerprint (hex) of the CA certificate that signed it; None for an outdated one.
    """

    namespace: str
    pod: str
    workload: str
    not_before: float | None
    not_after: float
    renewal: float | None
    outdated: bool = False
    mount: str = ""
    issuer: str | None = None


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
    first = _believed_from(pod, secret, own.end)
    urgent = current.not_after - (own.end - own.urgent)
    return Times(due=first, urgent=max(first, urgent), end=current.not_after)


def _believed_from(pod: Pod, secret: StoredSecret, end: float) -> float:
    """From when on a pod is believed that its files hold an older certificate than its Secret.

    At once when the Secret was renewed. Else it has had no other one, unless somebody deleted it; a fetcher that reports
    nonsense would have its workload rolled with every new pod, without end. What the pod may really hold was issued after
    its creation, and is not due before this.
    """
    start = issued_at(secret)
    if renewals(secret) or start is None:
        return 0.0
    return pod.created_at + EARLIEST * (1 - JITTER) * max(0.0, end - start)


def planned(pod: Pod, secret: StoredSecret, before: float) -> float | None:
    """When the certificate that the pod serves is, or was, to be replaced; it stays the same until it has been.

    Of an outdated one no more than its end is known: it is taken to have been due as long before that as the Secret's
    own certificate is.
    """
    own, current = secret_times(pod, secret, before), served(pod, secret)
    if own is None or current is None:
        return None
    return own.due if current.current else current.not_after - (own.end - own.due)


def replacement(pod: Pod, secret: StoredSecret, before: float, *, now_due: bool = False) -> Times | None:
    """When the pod has to be replaced by a new one, for strategies that do so; None when there is nothing to go by.

    An application that mounts its Secret is replaced after a renewal in place, for it read the files at its start. With
    `now_due` the certificate is superseded: due whatever its times say, and urgent no earlier for it.
    """
    if one_shot(pod):
        times = served_times(pod, secret, before)
        return replace(times, due=0.0) if times is not None and now_due else times
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
