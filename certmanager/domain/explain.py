"""Why a pod gets the certificate that it gets, or none: the decision of `request`, with where each part of it comes from.

For people who ask (`podcert explain`), never for the manager: it decides nothing, it calls what decides. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from certmanager.domain.advice import Advice, delivery_advice
from certmanager.domain.allowed import canonical_ip
from certmanager.domain.annotations import POD_IP, SPIFFE, Annotations, parse_annotations
from certmanager.domain.facts import Facts, facts, origins, spiffe_id
from certmanager.domain.model import Names, Pod, Request, Rotation, Service, StoredSecret
from certmanager.domain.renewal import JITTER, due_at, longest_wait, renew_before
from certmanager.domain.request import NotEnrolled, Rejection, Waiting, decide_request
from certmanager.domain.rotation import replaces_pods, rotatable
from certmanager.domain.terms import Defaults
from certmanager.domain.times import parse_rfc3339

NO_POLICY: Final = "no policy: a pod's own names only"
_OWN: Final = "the pod's own, which needs no grant"


@dataclass(frozen=True, slots=True)
class NameLine:
    """One name that the pod gets or asks for.

    Attributes:
        kind: `dns`, `ip` or `uri`.
        origin: what it comes from.
        rule: the rule that allowed or refused it.
    """

    kind: str
    value: str
    allowed: bool
    origin: str
    rule: str


@dataclass(frozen=True, slots=True)
class Renewal:
    """When the certificate is renewed.

    Attributes:
        left: what is left of the lifetime then: below 1 a fraction, from 1 on seconds.
        earliest, latest: seconds after the issue, or None while the lifetime is Vault's to say.
        due: of the certificate that is there, seconds since the epoch; None when there is none.
        expires: its end.
        means: how the application comes by the new one.
    """

    left: float
    earliest: float | None
    latest: float | None
    due: float | None
    expires: float | None
    means: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything about one pod. `verdict` is `allowed`, `refused`, `waiting` or `not enrolled`."""

    pod: Pod
    verdict: str
    reason: str
    message: str
    rule: str
    names: tuple[NameLine, ...] = ()
    request: Request | None = None
    renewal: Renewal | None = None
    warnings: tuple[Advice, ...] = ()


def explain(
    pod: Pod, services: Sequence[Service], defaults: Defaults, secret: StoredSecret | None = None
) -> Explanation:
    """What `pod` gets and why.

    Args:
        pod: the pod.
        services: those of its namespace.
        defaults: what holds in its namespace (`policy.IdentityPolicy.defaults`).
        secret: the one that it has, if there is one; its annotations are enough.
    """
    verdict = decide_request(pod, services, defaults)
    rule = defaults.limits.consulted or NO_POLICY
    match verdict:
        case NotEnrolled():
            message = 'it lacks the label podcert.io/enroll: "true"'
            return Explanation(pod, "not enrolled", "NotEnrolled", message, rule)
        case Request():
            names = _lines(pod, services, defaults, verdict.names)
            renewal = _renewal(pod, verdict, secret)
            warnings = tuple(delivery_advice(pod, verdict))
            return Explanation(pod, "allowed", "", "", rule, names, verdict, renewal, warnings)
        case Rejection() | Waiting():
            word = "waiting" if isinstance(verdict, Waiting) else "refused"
            asked = parse_annotations(pod.annotations)[0]
            own = facts(pod, services, defaults.cluster_domain).default_dns
            names = _lines(pod, services, defaults, _asked_names(asked, own))
            return Explanation(pod, word, str(verdict.reason), verdict.message, rule, names)


def _asked_names(asked: Annotations, own: tuple[str, ...]) -> Names:
    """What a pod without a certificate asks for; the default names where it asks for none."""
    common_name = () if asked.common_name is None else (asked.common_name,)
    dns = dict.fromkeys((*common_name, *(asked.dns_names or own)))
    return Names(dns=tuple(dns), ips=asked.ips, uris=asked.uris)


def _lines(pod: Pod, services: Sequence[Service], defaults: Defaults, names: Names) -> tuple[NameLine, ...]:
    known = facts(pod, services, defaults.cluster_domain)
    grants, own_dns = defaults.limits.grants, origins(known, pod, defaults.cluster_domain)
    own_ips = set() if pod.host_network else {POD_IP, *map(canonical_ip, pod.ips)}
    dns = (_line(defaults, ("dns", name), own_dns.get(name), grants.dns_entry(name)) for name in names.dns)
    ips = (
        _line(
            defaults,
            ("ip", address),
            "the pod's IP" if address in own_ips else None,
            None if address == POD_IP else grants.ip_entry(address),
        )
        for address in names.ips
    )
    uris = (
        _line(defaults, ("uri", uri), _spiffe_origin(uri, known, defaults), grants.uri_entry(uri)) for uri in names.uris
    )
    return (*dns, *ips, *uris)


def _spiffe_origin(uri: str, known: Facts, defaults: Defaults) -> str | None:
    if defaults.trust_domain is None or uri not in (SPIFFE, spiffe_id(known, defaults.trust_domain)):
        return None
    return f"the pod's ServiceAccount {known.service_account} in the trust domain"


def _line(defaults: Defaults, name: tuple[str, str], origin: str | None, entry: str | None) -> NameLine:
    kind, value = name
    consulted = defaults.limits.consulted or NO_POLICY
    if origin is not None:
        return NameLine(kind, value, True, origin, _OWN)
    if entry is not None:
        return NameLine(kind, value, True, "asked for by annotation", f"{consulted}: {entry}")
    return NameLine(kind, value, False, "asked for by annotation", f"{consulted}: not the pod's own, and not granted")


def _renewal(pod: Pod, request: Request, secret: StoredSecret | None) -> Renewal:
    left = renew_before(request)
    latest = None if request.ttl is None else longest_wait(request.ttl, left)
    due = expires = None
    if secret is not None and secret.pod_uid == pod.uid:
        issued = parse_rfc3339(secret.annotations.get("issued-at", ""))
        expires = parse_rfc3339(secret.annotations.get("not-after", ""))
        if issued is not None and expires is not None:
            due = due_at(issued, issued, expires, pod.uid, left)
    return Renewal(
        left=left,
        earliest=None if latest is None else latest * (1 - JITTER),
        latest=latest,
        due=due,
        expires=expires,
        means=_means(pod, request),
    )


def _means(pod: Pod, request: Request) -> str:
    """How a new certificate reaches the application."""
    owner = "no owner" if pod.owner is None else f"the owner {pod.owner.kind} {pod.owner.name}"
    if replaces_pods(request.rotation) and not rotatable(pod):
        return f"the pod has {owner}, which cannot be rolled: the Secret is renewed in place, and a Warning says so"
    match request.rotation:
        case Rotation.RESTART:
            return "the workload is rolled, as by kubectl rollout restart"
        case Rotation.EVICT:
            return "the pod is evicted when its turn comes"
        case Rotation.REFRESH:
            return "the Secret is renewed in place, and the sidecar swaps the files"
    return "the Secret is renewed in place, and that is all"
