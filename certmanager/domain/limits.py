"""What the administrator lets the pods of one namespace have, and what it takes for a name to be granted.

In the flow: policy → *limits* → request. Without a policy they allow every mode, key type, lifetime and rotation strategy,
and no name but the pod's own. A grant is an entry of the policy as the administrator wrote it, so that every answer can
quote the entry that it comes from.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Final

from certmanager.domain.model import KeyType, Mode, Rotation
from certmanager.domain.names import parse_dns_name, parse_uri
from certmanager.domain.problems import RuleError, listed

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_BELOW: Final = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*(?:[/:][A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
"""What may stand for the `*` of a URI. Nothing that a reader of the certificate could take for another path: no empty
segment, none that begins with a dot (`..`), no percent-encoding, no query (RFC 3986 §5.2.4, §6.2.2)."""


@dataclass(frozen=True, slots=True)
class Grants:
    """Names beside the pods' own ones.

    Attributes:
        dns: exact names, or `*.example.com` for every name below example.com at any depth, without example.com itself.
        wildcards: names such as `*.example.com` that may stand in a certificate just as they are.
        networks: CIDR blocks whose addresses may be IP SANs.
        uris: exact URIs, or a beginning that ends with `/*` or `:*`.
    """

    dns: tuple[str, ...] = ()
    wildcards: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    uris: tuple[str, ...] = ()

    def dns_entry(self, name: str) -> str | None:
        """The entry that grants a DNS name, or None."""
        if name.startswith("*."):
            return name if name in self.wildcards else None
        for entry in self.dns:
            if name == entry or (entry.startswith("*.") and name.endswith(entry[1:])):
                return entry
        return None

    def ip_entry(self, address: str) -> str | None:
        """The block that grants an address (canonical, as `names.parse_ip` gives it), or None."""
        parsed = ipaddress.ip_address(address)
        for network in self.networks:
            if parsed in network:  # never, when one is IPv4 and the other IPv6
                return str(network)
        return None

    def uri_entry(self, uri: str) -> str | None:
        """The entry that grants a URI, or None. Compared letter by letter."""
        for entry in self.uris:
            if uri == entry and not entry.endswith("*"):
                return entry
            if entry.endswith("*") and uri.startswith(entry[:-1]) and _BELOW.fullmatch(uri[len(entry) - 1 :]):
                return entry
        return None


def parse_dns_grant(text: str) -> str:
    """An entry of `Grants.dns`. Raises `RuleError`."""
    if text == "*":
        raise RuleError("must not be every name there is", "name domains, such as *.example.com")
    return parse_dns_name(text)


def parse_wildcard_grant(text: str) -> str:
    """An entry of `Grants.wildcards`. Raises `RuleError`."""
    if not text.startswith("*."):
        raise RuleError("must begin with '*.'", "list names without a wildcard under dns_names")
    return parse_dns_name(text)


def parse_network(text: str) -> Network:
    """An entry of `Grants.networks`, or one address. Raises `RuleError`."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        wider = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise RuleError("must be a CIDR block such as 10.0.0.0/8 or fd00::/8") from None
    raise RuleError("must not have bits set behind the prefix", f"did you mean {wider}?")


def parse_uri_grant(text: str) -> str:
    """An entry of `Grants.uris`. Raises `RuleError`."""
    parse_uri(text)
    if "@" in text or "%" in text:
        raise RuleError("must not have '@' or '%'", "write the URI without user and encoded characters")
    scheme, _, rest = text.partition(":")
    if rest.startswith("//") and rest[2:].partition("/")[0] in ("", "*"):
        raise RuleError(f"must name a host after {scheme}://", f"such as {scheme}://example.org/*")
    if "*" in text[:-1]:
        raise RuleError("must have '*' as its last character only")
    if text.endswith("*") and (text[-2] not in "/:" or rest in ("*", "/*")):
        raise RuleError("must have '/' or ':' before the '*', and something before that", "such as urn:example:*")
    return text


@dataclass(frozen=True, slots=True)
class Limits:
    """What the pods of one namespace may choose.

    Attributes:
        rule: name of the policy's rule, or None where none applies.
        consulted: what decided, for messages and `podcert explain`; empty without a policy.
        enroll: False: no pod of the namespace gets a certificate.
        min_ttl, max_ttl: seconds, or None.
    """

    rule: str | None = None
    consulted: str = ""
    enroll: bool = True
    modes: tuple[Mode, ...] = tuple(Mode)
    key_types: tuple[KeyType, ...] = tuple(KeyType)
    rotations: tuple[Rotation, ...] = tuple(Rotation)
    min_ttl: int | None = None
    max_ttl: int | None = None
    grants: Grants = field(default_factory=Grants)

    def by(self) -> str:
        """`consulted` as the end of a rule's text: " (rule shop of the policy)", or nothing without a policy."""
        return f" ({self.consulted})" if self.consulted else ""

    def granted(self, kind: str, entries: tuple[object, ...]) -> str:
        """What the policy grants beside the pod's own, for a refusal; `kind` is "names", "addresses" or "URIs"."""
        if not self.consulted:
            return ""
        grants = f"grants {listed([str(entry) for entry in entries])}" if entries else f"grants no other {kind}"
        return f", or granted by the policy: {self.consulted} {grants}" if self.rule else f"; {self.consulted}"


UNLIMITED: Final = Limits()
