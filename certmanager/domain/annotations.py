"""The annotations that a pod may carry: one table, from which they are parsed, explained and documented.

In the flow: pod → *annotations* → request. Parsing is strict: what is not understood is refused with everything that is
wrong in one message, because a certificate with another name or lifetime than its user believes is worse than none yet.
Whether a value is *allowed* for a pod is decided in `request`; here it is only read.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from certmanager.domain.model import PREFIX, KeyType, Mode, Rotation
from certmanager.domain.names import (
    COMMON_NAME_LIMIT,
    parse_dns_name,
    parse_duration,
    parse_ip,
    parse_percentage,
    parse_role,
    parse_secret_name,
    parse_uri,
)
from certmanager.domain.problems import CHANGE, Problem, RuleError, shown

VALUE_LIMIT_BYTES: Final = 4096
POD_IP: Final = "pod-ip"
SPIFFE: Final = "spiffe"
EARLIEST_PERCENTAGE: Final = 70
"""The highest `renew-before`: with 70 % of the lifetime left; see `renewal`."""

IGNORED: Final = frozenset({"restarted-for", "restarted-at"})
"""Annotations that Podcert itself writes on a workload's template, from where they reach its pods."""


@dataclass(frozen=True, slots=True)
class AnnotationSpec:
    """One annotation, as the docs show it. `name` is without the prefix `podcert.io/`."""

    name: str
    meaning: str
    values: str
    default: str
    rule: str
    example: str
    remedy: str = CHANGE


@dataclass(frozen=True, slots=True)
class Annotations:
    """What a pod's annotations say; None or empty where it says nothing. Durations in seconds, IPs canonical.

    `ips` and `uris` may hold the words `pod-ip` and `spiffe`.
    """

    mode: Mode | None = None
    key_type: KeyType | None = None
    role: str | None = None
    ttl: int | None = None
    common_name: str | None = None
    dns_names: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    rotation: Rotation | None = None
    renew_before_fraction: float | None = None
    renew_before_seconds: int | None = None
    secret_name: str | None = None


ANNOTATIONS: Final[tuple[AnnotationSpec, ...]] = (
    AnnotationSpec(
        "mode",
        "who makes the private key: Podcert (`sign`, only a CSR goes to Vault) or Vault (`issue`)",
        "`sign`, `issue`",
        "`sign`, or as configured",
        "one of the values",
        "issue",
    ),
    AnnotationSpec(
        "key-type",
        "algorithm and size of the private key",
        ", ".join(f"`{kind}`" for kind in KeyType),
        "`ec-256`, or as configured",
        "one of the values; not together with mode `issue`, where the Vault role decides",
        "ec-384",
    ),
    AnnotationSpec(
        "role",
        "the Vault role that signs or issues",
        "a role's name",
        "`pods` for `sign`, `pods-issue` for `issue`, or as configured",
        "one of the roles in Podcert's configuration, or in the policy's rule for the namespace",
        "pods",
    ),
    AnnotationSpec(
        "ttl",
        "how long the certificate is valid; Vault may shorten it",
        "a duration",
        "the Vault role's, or as configured",
        "units `d`, `h`, `m`, `s` in this order, or bare seconds; longer than zero, at most ten years",
        "24h",
    ),
    AnnotationSpec(
        "common-name",
        "the subject's common name; it becomes a DNS SAN too",
        "a DNS name",
        "the first name of at most 64 characters; none if there is none",
        "one of the pod's own names or a granted one, at most 64 characters",
        "server.default.svc.cluster.local",
    ),
    AnnotationSpec(
        "dns-names",
        "the DNS SANs, instead of the default ones",
        "DNS names with commas between them",
        "`<service>.<namespace>.svc.<cluster-domain>` of every Service that selects the pod",
        "each one of the pod's own names or a granted one; no wildcard without a grant",
        "server.default.svc,server.default",
    ),
    AnnotationSpec(
        "ip-sans",
        "IP SANs; enrolment waits until the pod has its IP",
        "`pod-ip`, or IP addresses with commas between them",
        "none",
        "`pod-ip`, or addresses of the pod (not for pods that mount their Secret or use the node's network), or granted ones",
        "pod-ip",
    ),
    AnnotationSpec(
        "uri-sans",
        "URI SANs",
        "`spiffe`, or URIs with commas between them",
        "none",
        "`spiffe://<trust-domain>/ns/<namespace>/sa/<ServiceAccount>`, which needs a configured trust domain, or granted ones",
        "spiffe",
    ),
    AnnotationSpec(
        "rotation",
        "how a new certificate reaches the application",
        ", ".join(f"`{way}`" for way in Rotation),
        "`restart`, or as configured",
        "one of the values",
        "refresh",
    ),
    AnnotationSpec(
        "renew-before",
        "what is left of the lifetime when the renewal is due",
        "a whole percentage of the lifetime, or a duration",
        "a third of the lifetime, or as configured",
        f"from `1%` to `{EARLIEST_PERCENTAGE}%`, or a duration shorter than the TTL",
        "33%",
    ),
    AnnotationSpec(
        "secret-name",
        "the Secret's name, for pods that mount it themselves",
        "a Secret's name",
        "`<pod>-cert-<first 8 of the pod's uid>`",
        "a DNS subdomain that does not look generated; one pod per name",
        "server-cert",
    ),
)

KNOWN: Final = frozenset(spec.name for spec in ANNOTATIONS)
_REMEDIES: Final = {spec.name: spec.remedy for spec in ANNOTATIONS}
_NONE: Final = Annotations()


def parse_annotations(raw: Mapping[str, str]) -> tuple[Annotations, tuple[Problem, ...]]:
    """Reads a pod's `podcert.io/…` annotations (names without the prefix) and collects everything that is wrong.

    Returns:
        What they say (right ones only), and the problems in the order of the annotations' names.
    """
    if not raw:
        return _NONE, ()
    problems: list[Problem] = []
    read: dict[str, Any] = {}
    for name in sorted(raw):
        value = raw[name]
        if name in IGNORED:
            continue
        if name not in KNOWN:
            problems.append(_unknown(name))
        elif len(value.encode("utf-8", "replace")) > VALUE_LIMIT_BYTES:
            rule = f"must have at most {VALUE_LIMIT_BYTES} bytes"
            problems.append(Problem(field_of(name), shown(value), rule, "shorten the annotation"))
        else:
            try:
                read.update(_PARSERS[name](value))
            except RuleError as error:
                problems.append(Problem(field_of(name), shown(value), error.rule, error.remedy or _REMEDIES[name]))
    return Annotations(**read), tuple(problems)


def field_of(name: str) -> str:
    """How messages call the annotation `name`."""
    return f"annotation {PREFIX}{name}"


def _unknown(name: str) -> Problem:
    field = field_of(shown(name))
    if name in ("enroll", "managed"):
        return Problem(field, None, "is a label, not an annotation", "remove the annotation; to enrol, set the label")
    near = difflib.get_close_matches(name.lower().replace("_", "-"), sorted(KNOWN), n=1, cutoff=0.5)
    remedy = f"did you mean {PREFIX}{near[0]}? Rename or remove it" if near else f"remove it; known are {_known()}"
    return Problem(field, None, "is not known", remedy)


def _known() -> str:
    return ", ".join(spec.name for spec in ANNOTATIONS)


def _choice(field: str, kind: type[Mode] | type[KeyType] | type[Rotation]) -> Callable[[str], dict[str, Any]]:
    allowed = {str(member): member for member in kind}

    def parse(text: str) -> dict[str, Any]:
        if text not in allowed:
            raise RuleError(f"must be one of {', '.join(allowed)}")
        return {field: allowed[text]}

    return parse


def _items(text: str, parse: Callable[[str], str]) -> tuple[str, ...]:
    """Values with commas between them; blanks around a value are allowed, empty and repeated values are not."""
    items = tuple(parse(item.strip(" ")) for item in text.split(",")) if text.strip(" ") else ()
    if not items:
        raise RuleError("must not be empty")
    if len(set(items)) != len(items):
        raise RuleError("must not name the same value twice")
    return items


def _common_name(text: str) -> dict[str, Any]:
    if len(text) > COMMON_NAME_LIMIT:
        raise RuleError(f"must have at most {COMMON_NAME_LIMIT} characters (RFC 5280)", "use podcert.io/dns-names")
    return {"common_name": parse_dns_name(text)}


def _renew_before(text: str) -> dict[str, Any]:
    if text.endswith("%"):
        return {"renew_before_fraction": parse_percentage(text, EARLIEST_PERCENTAGE)}
    try:
        return {"renew_before_seconds": parse_duration(text)}
    except RuleError as error:
        raise RuleError(f"{error.rule}, or a percentage of the lifetime such as 33%") from None


_PARSERS: Final[Mapping[str, Callable[[str], Mapping[str, Any]]]] = {
    "mode": _choice("mode", Mode),
    "key-type": _choice("key_type", KeyType),
    "role": lambda text: {"role": parse_role(text)},
    "ttl": lambda text: {"ttl": parse_duration(text)},
    "common-name": _common_name,
    "dns-names": lambda text: {"dns_names": _items(text, parse_dns_name)},
    "ip-sans": lambda text: {"ips": _items(text, lambda item: item if item == POD_IP else parse_ip(item))},
    "uri-sans": lambda text: {"uris": _items(text, lambda item: item if item == SPIFFE else parse_uri(item))},
    "rotation": _choice("rotation", Rotation),
    "renew-before": _renew_before,
    "secret-name": lambda text: {"secret_name": parse_secret_name(text)},
}
