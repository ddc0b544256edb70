"""From a pod to the certificate that it gets, or to the reason why it gets none.

In the flow: gather → *request* → decide. Pure and cheap: it runs for every event of every pod. Everything that is wrong
with a pod is said at once; the rejection's reason is that of the first problem.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from certmanager.domain.annotations import POD_IP, SPIFFE, Annotations, field_of, parse_annotations
from certmanager.domain.facts import Facts, default_names, facts, first_fitting, spiffe_id
from certmanager.domain.model import ENROLL_LABEL, KeyType, Mode, Names, Pod, Request, Rotation, Service
from certmanager.domain.names import parse_ip, secret_name
from certmanager.domain.problems import Problem, RuleError, cut, joined, listed, shown
from certmanager.domain.reasons import Reason


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the configuration says for pods that do not say it themselves, and what pods may choose from.

    Attributes:
        sign_role, issue_role: Vault roles of the two modes.
        ttl: seconds, or None for the role's own default.
        renew_before_fraction: part of the lifetime that is left when the renewal is due, such as 1/3.
        cluster_domain: such as `cluster.local`.
        trust_domain: of SPIFFE IDs, or None when there is none.
        roles: every Vault role that a pod may name.
    """

    mode: Mode
    key_type: KeyType
    mount: str
    sign_role: str
    issue_role: str
    ttl: int | None
    rotation: Rotation
    renew_before_fraction: float
    cluster_domain: str
    trust_domain: str | None
    roles: frozenset[str]


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

_Found = tuple[Reason, Problem]


def decide_request(pod: Pod, services: Sequence[Service], defaults: Defaults) -> Verdict:
    """The certificate for `pod`.

    Args:
        pod: the pod.
        services: the Services of its namespace; at least those that select it and the one of its own name.
        defaults: from the configuration.

    Returns:
        A request; a rejection with everything that is wrong; or what is waited for.
    """
    label = pod.labels.get(ENROLL_LABEL)
    if label is None or label == "false":
        return _NOT_ENROLLED
    if label != "true":
        problem = Problem(f"label {ENROLL_LABEL}", shown(label), 'must be "true" or "false"', "change the label")
        return Rejection(Reason.INVALID_LABEL, joined([problem]))
    asked, invalid = parse_annotations(pod.annotations)
    found: list[_Found] = [(Reason.INVALID_ANNOTATION, problem) for problem in invalid]
    known = facts(pod, services, defaults.cluster_domain)
    name = asked.secret_name or secret_name(pod.name, pod.uid)
    if asked is not _UNASKED:
        found += _policy_problems(asked, pod, defaults)
        found += _dns_problems(asked, known)
        found += _uri_problems(asked, known, defaults.trust_domain)
        found += _ip_problems(asked, pod, name)
    if found:
        return Rejection(found[0][0], joined([problem for _, problem in found]))
    if asked.ips and not pod.ips:
        return Waiting(Reason.WAITING_FOR_POD_IP, "the pod asked for its IP in the certificate and has none yet")
    names = _names(asked, known, defaults.trust_domain)
    if not names.sans():
        return _no_name(pod)
    if pod.delivery.sidecar and asked.rotation is None:
        # A sidecar follows the Secret by itself: there the default is to let it.
        defaults = replace(defaults, rotation=Rotation.REFRESH)
    return _request(asked, names, name, bool(known.services), defaults)


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
    )


def _names(asked: Annotations, known: Facts, trust_domain: str | None) -> Names:
    """The names asked for, which have been found to be the pod's own, or the default ones."""
    default = default_names(known)
    if not (asked.dns_names or asked.common_name or asked.ips or asked.uris):
        return default
    dns = asked.dns_names or default.dns
    common_name = asked.common_name or first_fitting(dns)
    if asked.common_name is not None:
        dns = (asked.common_name, *(name for name in dns if name != asked.common_name))
    ips = known.ips if POD_IP in asked.ips else tuple(address for address in asked.ips)
    uris = (spiffe_id(known, trust_domain),) if asked.uris and trust_domain else ()
    return Names(dns=dns, ips=tuple(dict.fromkeys(map(_canonical, ips))), uris=uris, common_name=common_name)


def _policy_problems(asked: Annotations, pod: Pod, defaults: Defaults) -> list[_Found]:
    """Role, key type and renewal against the configuration and each other."""
    found: list[_Found] = []
    if asked.role is not None and asked.role not in defaults.roles:
        rule = f"must be one of the configured roles ({listed(sorted(defaults.roles))})"
        remedy = "choose one of them, or have the administrator add this one to Podcert's configuration"
        found.append((Reason.ROLE_NOT_ALLOWED, Problem(field_of("role"), shown(asked.role), rule, remedy)))
    if asked.key_type is not None and (asked.mode or defaults.mode) is Mode.ISSUE:
        rule = "must not be set in mode issue, where the Vault role decides the key type"
        remedy = "remove the annotation, or use mode sign"
        found.append((Reason.KEY_TYPE_WITH_ISSUE, Problem(field_of("key-type"), str(asked.key_type), rule, remedy)))
    ttl = asked.ttl or defaults.ttl
    if ttl is not None and asked.renew_before_seconds is not None and asked.renew_before_seconds >= ttl:
        rule = f"must be shorter than the TTL ({ttl}s)"
        problem = Problem(field_of("renew-before"), shown(pod.annotations["renew-before"]), rule)
        found.append((Reason.INVALID_ANNOTATION, problem))
    return found


def _dns_problems(asked: Annotations, known: Facts) -> list[_Found]:
    chosen = [("dns-names", name) for name in asked.dns_names]
    if asked.common_name is not None:
        chosen.insert(0, ("common-name", asked.common_name))
    has = f"it has {listed(known.dns)}" if known.dns else "it has none"
    rule = f"must be one of the pod's own names ({has}); wildcards and other names are not granted"
    remedy = "choose one of these, or have a Service of that name select the pod"
    return [
        (Reason.NAME_NOT_ALLOWED, Problem(field_of(field), shown(name), rule, remedy))
        for field, name in chosen
        if name not in known.dns
    ]


def _uri_problems(asked: Annotations, known: Facts, trust_domain: str | None) -> list[_Found]:
    if not asked.uris:
        return []
    if trust_domain is None:
        rule = "must not be set without a trust domain in Podcert's configuration"
        remedy = "remove the annotation, or have the administrator set the trust domain"
        problem = Problem(field_of("uri-sans"), shown(",".join(asked.uris)), rule, remedy)
        return [(Reason.NO_TRUST_DOMAIN, problem)]
    own = spiffe_id(known, trust_domain)
    rule = f"must be the pod's own SPIFFE ID ({own})"
    remedy = f"use the word {SPIFFE}"
    return [
        (Reason.NAME_NOT_ALLOWED, Problem(field_of("uri-sans"), shown(uri), rule, remedy))
        for uri in asked.uris
        if uri not in (SPIFFE, own)
    ]


def _ip_problems(asked: Annotations, pod: Pod, name: str) -> list[_Found]:
    if not asked.ips:
        return []
    field, value = field_of("ip-sans"), shown(",".join(asked.ips))
    if name in pod.delivery.mounts:
        rule = f"must not be set on a pod that mounts its Secret ({shown(name)}): it gets its IP only after the mount"
        problem = Problem(
            field, value, rule, "use the certificate-fetcher instead of the mount, or remove the annotation"
        )
        return [(Reason.POD_IP_WITH_MOUNT, problem)]
    if pod.host_network:
        rule = "must not be set on a pod in the node's network, whose IPs are the node's"
        return [(Reason.POD_IP_OF_NODE, Problem(field, value, rule, "remove the annotation, or leave hostNetwork"))]
    if not pod.ips:
        return []
    own = [_canonical(address) for address in pod.ips]
    rule = f"must be {POD_IP} or one of the pod's own IPs ({listed(own)})"
    return [
        (Reason.NAME_NOT_ALLOWED, Problem(field, shown(address), rule, f"use the word {POD_IP}"))
        for address in asked.ips
        if address != POD_IP and address not in own
    ]


def _canonical(address: str) -> str:
    try:
        return parse_ip(address)
    except RuleError:  # what the API server says of a pod's status is taken as it is
        return address


def _no_name(pod: Pod) -> Rejection:
    why = "its name has a dot" if "." in pod.name else "its name is too long, or a Service of that name is another's"
    return Rejection(
        Reason.NO_NAME,
        cut(
            f"pod {pod.namespace}/{pod.name}: no Service selects it, and it cannot have a name of its own because {why}"
            "; have a Service select the pod, or rename the pod"
        ),
    )
