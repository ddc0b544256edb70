"""What a pod's annotations ask for, against what it may have: the pod's own names, the settings, the policy's limits.

Part of `request`. Each problem names the annotation, the value, the rule that it breaks and the policy's rule that was
consulted. Everything that is not found here to be the pod's own or granted is refused; there is no other way in.
"""

from __future__ import annotations

from collections.abc import Sequence

from certmanager.domain.annotations import POD_IP, SPIFFE, Annotations, field_of
from certmanager.domain.facts import Facts, spiffe_id
from certmanager.domain.limits import Limits
from certmanager.domain.model import KeyType, Mode, Pod, Rotation
from certmanager.domain.names import parse_ip
from certmanager.domain.problems import Problem, RuleError, listed, shown
from certmanager.domain.reasons import Reason
from certmanager.domain.terms import Defaults

Found = tuple[Reason, Problem]


def terms_problems(asked: Annotations, pod: Pod, defaults: Defaults) -> list[Found]:
    """Role, mode, key type, lifetime, rotation and renewal against the configuration, the policy and each other."""
    return [*_role_problems(asked, defaults), *_choice_problems(asked, defaults), *_time_problems(asked, pod, defaults)]


def _role_problems(asked: Annotations, defaults: Defaults) -> list[Found]:
    if asked.role is None or asked.role in defaults.roles:
        return []
    rule = f"must be one of the configured roles ({listed(sorted(defaults.roles))}){defaults.limits.by()}"
    remedy = "choose one of them, or have the administrator add this one to Podcert's configuration"
    return [(Reason.ROLE_NOT_ALLOWED, Problem(field_of("role"), shown(asked.role), rule, remedy))]


def _choice_problems(asked: Annotations, defaults: Defaults) -> list[Found]:
    limits, issues = defaults.limits, (asked.mode or defaults.mode) is Mode.ISSUE
    found: list[Found] = []
    if asked.key_type is not None and issues:
        rule = "must not be set in mode issue, where the Vault role decides the key type"
        remedy = "remove the annotation, or use mode sign"
        found.append((Reason.KEY_TYPE_WITH_ISSUE, Problem(field_of("key-type"), str(asked.key_type), rule, remedy)))
    choices: list[tuple[str, Mode | KeyType | Rotation | None, Sequence[Mode | KeyType | Rotation]]] = [
        ("mode", asked.mode, limits.modes),
        ("key-type", None if issues else asked.key_type, limits.key_types),
        ("rotation", asked.rotation, limits.rotations),
    ]
    for field, value, allowed in choices:
        if value is not None and value not in allowed:
            rule = f"must be one of those that are allowed here: {', '.join(allowed)}{limits.by()}"
            problem = Problem(field_of(field), str(value), rule, "choose one of them, or have the policy changed")
            found.append((Reason.POLICY_FORBIDS, problem))
    return found


def _time_problems(asked: Annotations, pod: Pod, defaults: Defaults) -> list[Found]:
    limits = defaults.limits
    found: list[Found] = []
    if asked.ttl is not None:
        value, remedy = shown(pod.annotations["ttl"]), "change the annotation, or have the policy changed"
        if limits.min_ttl is not None and asked.ttl < limits.min_ttl:
            rule = f"must be at least {limits.min_ttl}s{limits.by()}"
            found.append((Reason.POLICY_FORBIDS, Problem(field_of("ttl"), value, rule, remedy)))
        if limits.max_ttl is not None and asked.ttl > limits.max_ttl:
            rule = f"must be at most {limits.max_ttl}s{limits.by()}"
            found.append((Reason.POLICY_FORBIDS, Problem(field_of("ttl"), value, rule, remedy)))
    ttl = asked.ttl or defaults.ttl
    if ttl is not None and asked.renew_before_seconds is not None and asked.renew_before_seconds >= ttl:
        rule = f"must be shorter than the TTL ({ttl}s)"
        problem = Problem(field_of("renew-before"), shown(pod.annotations["renew-before"]), rule)
        found.append((Reason.INVALID_ANNOTATION, problem))
    return found


def dns_problems(asked: Annotations, known: Facts, limits: Limits) -> list[Found]:
    """DNS names and common name: each the pod's own or granted."""
    chosen = [("dns-names", name) for name in asked.dns_names]
    if asked.common_name is not None:
        chosen.insert(0, ("common-name", asked.common_name))
    wrong = [(field, name) for field, name in chosen if name not in known.dns and limits.grants.dns_entry(name) is None]
    if not wrong:
        return []
    has = f"it has {listed(known.dns)}" if known.dns else "it has none"
    granted = limits.granted("names", (*limits.grants.dns, *limits.grants.wildcards))
    rule = f"must be one of the pod's own names ({has})" + (granted or "; wildcards and other names are not granted")
    remedy = "choose one of these, or have a Service of that name select the pod"
    return [(Reason.NAME_NOT_ALLOWED, Problem(field_of(field), shown(name), rule, remedy)) for field, name in wrong]


def uri_problems(asked: Annotations, known: Facts, defaults: Defaults) -> list[Found]:
    """URIs: each the pod's own SPIFFE ID or granted."""
    limits, trust_domain = defaults.limits, defaults.trust_domain
    rest = [uri for uri in asked.uris if limits.grants.uri_entry(uri) is None]
    if not rest:
        return []
    if trust_domain is None and (SPIFFE in rest or not limits.grants.uris):
        rule = "must not be set without a trust domain in Podcert's configuration"
        remedy = "remove the annotation, or have the administrator set the trust domain"
        return [(Reason.NO_TRUST_DOMAIN, Problem(field_of("uri-sans"), shown(",".join(asked.uris)), rule, remedy))]
    own = None if trust_domain is None else spiffe_id(known, trust_domain)
    rule = f"must be the pod's own SPIFFE ID ({own or 'it has none'}){limits.granted('URIs', limits.grants.uris)}"
    remedy = f"use the word {SPIFFE}" if own else "choose a granted one, or remove the annotation"
    return [
        (Reason.NAME_NOT_ALLOWED, Problem(field_of("uri-sans"), shown(uri), rule, remedy))
        for uri in rest
        if uri not in (SPIFFE, own)
    ]


def own_ips_asked(asked: Annotations, limits: Limits) -> tuple[str, ...]:
    """What `ip-sans` asks for beside granted addresses: these have to be the pod's own, and the pod has to have them."""
    return tuple(item for item in asked.ips if item == POD_IP or limits.grants.ip_entry(item) is None)


def ip_problems(asked: Annotations, pod: Pod, name: str, limits: Limits) -> list[Found]:
    """IP addresses: each the pod's own or granted. `name` is that of the pod's Secret."""
    rest = own_ips_asked(asked, limits)
    if not rest:
        return []
    field, value = field_of("ip-sans"), shown(",".join(rest))
    if name in pod.delivery.mounts:
        rule = f"must not be set on a pod that mounts its Secret ({shown(name)}): it gets its IP only after the mount"
        remedy = "use the certificate-fetcher instead of the mount, or remove the annotation"
        return [(Reason.POD_IP_WITH_MOUNT, Problem(field, value, rule, remedy))]
    if pod.host_network:
        rule = "must not be set on a pod in the node's network, whose IPs are the node's"
        return [(Reason.POD_IP_OF_NODE, Problem(field, value, rule, "remove the annotation, or leave hostNetwork"))]
    if not pod.ips:
        return []
    own = [canonical_ip(address) for address in pod.ips]
    granted = limits.granted("addresses", limits.grants.networks)
    rule = f"must be {POD_IP} or one of the pod's own IPs ({listed(own)}){granted}"
    return [
        (Reason.NAME_NOT_ALLOWED, Problem(field, shown(_as_written(pod, address)), rule, f"use the word {POD_IP}"))
        for address in rest
        if address != POD_IP and address not in own
    ]


def _as_written(pod: Pod, address: str) -> str:
    """An address of the annotation `ip-sans` as its owner wrote it: `::ffff:10.0.0.1` is hard to find as `::ffff:a00:1`."""
    written = (item.strip() for item in pod.annotations.get("ip-sans", "").split(","))
    return next((item for item in written if canonical_ip(item) == address), address)


def canonical_ip(address: str) -> str:
    """RFC 5952; what the API server says of a pod's status is taken as it is if it is no address."""
    try:
        return parse_ip(address)
    except RuleError:
        return address
