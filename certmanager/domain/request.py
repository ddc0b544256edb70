"""From a pod to the certificate that it gets, or to the reason why it gets none.

In the flow: gather → *request* → decide. Pure and cheap: it runs for every event of every pod. Everything that is wrong
with a pod is said at once; the rejection's reason is that of the first problem.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from certmanager.domain.allowed import (
    Found,
    canonical_ip,
    dns_problems,
    ip_problems,
    own_ips_asked,
    terms_problems,
    uri_problems,
)
from certmanager.domain.annotations import POD_IP, SPIFFE, Annotations, parse_annotations
from certmanager.domain.facts import Facts, default_names, facts, first_fitting, spiffe_id
from certmanager.domain.limits import Limits
from certmanager.domain.model import ENROLL_LABEL, Mode, Names, Pod, Request, Rotation, Service
from certmanager.domain.names import secret_name
from certmanager.domain.problems import Problem, cut, joined, shown
from certmanager.domain.reasons import Reason
from certmanager.domain.terms import Defaults

__all__ = ["Defaults", "NotEnrolled", "Rejection", "Verdict", "Waiting", "decide_request", "rotation_of"]


@dataclass(frozen=True, slots=True)
class Rejection:
    """No certificate until the pod, its Services or the configuration change."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """No certificate before something comes that comes by itself."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class NotEnrolled:
    """The pod does not take part."""


Verdict = Request | Rejection | Waiting | NotEnrolled

_NOT_ENROLLED: Final = NotEnrolled()


def decide_request(pod: Pod, services: Sequence[Service], defaults: Defaults) -> Verdict:
    """The certificate for `pod`.

    Args:
        pod: the pod.
        services: the Services of its namespace; at least those that select it and the one of its own name.
        defaults: from the configuration.

    Returns:
        A request; a rejection with everything that is wrong; or what is waited for.
    """
    outside = _not_taking_part(pod, defaults.limits)
    if outside is not None:
        return outside
    asked, invalid = parse_annotations(pod.annotations)
    found: list[Found] = [(Reason.INVALID_ANNOTATION, problem) for problem in invalid]
    known = facts(pod, services, defaults.cluster_domain)
    name = asked.secret_name or secret_name(pod.name, pod.uid)
    if asked is not _UNASKED:
        found += terms_problems(asked, pod, defaults)
        found += dns_problems(asked, known, defaults.limits)
        found += uri_problems(asked, known, defaults)
        found += ip_problems(asked, pod, name, defaults.limits)
    if found:
        return Rejection(found[0][0], joined([problem for _, problem in found]))
    if not pod.ips and own_ips_asked(asked, defaults.limits):
        return Waiting(Reason.WAITING_FOR_POD_IP, "the pod asked for its IP in the certificate and has none yet")
    names = _names(asked, known, defaults.trust_domain)
    if not names.sans():
        return _no_name(pod)
    defaults = replace(defaults, rotation=rotation_of(asked, pod.delivery.sidecar, defaults))
    return _request(asked, names, name, bool(known.services), defaults)


def _not_taking_part(pod: Pod, limits: Limits) -> NotEnrolled | Rejection | None:
    label = pod.labels.get(ENROLL_LABEL)
    if label is None or label == "false":
        return _NOT_ENROLLED
    if label != "true":
        problem = Problem(f"label {ENROLL_LABEL}", shown(label), 'must be "true" or "false"', "change the label")
        return Rejection(Reason.INVALID_LABEL, joined([problem]))
    return None if limits.enroll else _no_certificates_here(pod, limits)


def rotation_of(asked: Annotations, sidecar: bool, defaults: Defaults) -> Rotation:
    """The strategy asked for, or the default one. A sidecar follows the Secret by itself: there the default is to let it."""
    if asked.rotation is not None:
        return asked.rotation
    return Rotation.REFRESH if sidecar and Rotation.REFRESH in defaults.limits.rotations else defaults.rotation


_UNASKED: Final = parse_annotations({})[0]


def _request(asked: Annotations, names: Names, name: str, selected: bool, defaults: Defaults) -> Request:
    mode = asked.mode or defaults.mode
    signs = mode is Mode.SIGN
    fraction = asked.renew_before_fraction
    if fraction is None and asked.renew_before_seconds is None:
        fraction = defaults.renew_before_fraction
    return Request(
        mode=mode,
        key_type=(asked.key_type or defaults.key_type) if signs else None,
        mount=defaults.mount,
        role=asked.role or (defaults.sign_role if signs else defaults.issue_role),
        ttl=asked.ttl or defaults.ttl,
        names=names,
        secret_name=name,
        fixed_name=asked.secret_name is not None,
        rotation=asked.rotation or defaults.rotation,
        renew_before_fraction=fraction,
        renew_before_seconds=asked.renew_before_seconds,
        selected=selected,
        issuer=defaults.issuer,
    )


def _names(asked: Annotations, known: Facts, trust_domain: str | None) -> Names:
    """The names asked for, which have been found to be the pod's own or granted, or the default ones."""
    default = default_names(known)
    if not (asked.dns_names or asked.common_name or asked.ips or asked.uris):
        return default
    dns = asked.dns_names or default.dns
    common_name = asked.common_name or first_fitting(dns)
    if asked.common_name is not None:
        dns = (asked.common_name, *(name for name in dns if name != asked.common_name))
    ips = [address for item in asked.ips for address in (known.ips if item == POD_IP else (item,))]
    uris = [spiffe_id(known, trust_domain) if uri == SPIFFE and trust_domain else uri for uri in asked.uris]
    return Names(
        dns=dns,
        ips=tuple(dict.fromkeys(map(canonical_ip, ips))),
        uris=tuple(dict.fromkeys(uris)),
        common_name=common_name,
    )


def _no_certificates_here(pod: Pod, limits: Limits) -> Rejection:
    why = f"pod {pod.namespace}/{pod.name}: no pod of namespace {pod.namespace} gets a certificate{limits.by()}"
    remedy = "remove the label podcert.io/enroll, or have the administrator change the policy"
    return Rejection(Reason.NAMESPACE_NOT_ALLOWED, cut(f"{why}; {remedy}"))


def _no_name(pod: Pod) -> Rejection:
    why = "its name has a dot" if "." in pod.name else "its name is too long, or a Service of that name is another's"
    return Rejection(
        Reason.NO_NAME,
        cut(
            f"pod {pod.namespace}/{pod.name}: no Service selects it, and it cannot have a name of its own because {why}"
            "; have a Service select the pod, or rename the pod"
        ),
    )
