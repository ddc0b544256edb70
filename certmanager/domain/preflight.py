"""What a Vault role will say to a request, before it is asked: the same rules as Vault's, with the field to change by name.

In the flow: between the decision and the call to Vault. Pure. Never stricter than Vault: whatever is not certain (templates,
e-mail names, fields that a server does not tell) is no objection, and Vault decides. Source:
https://developer.hashicorp.com/vault/api-docs/secret/pki#create-update-role; tests/integration/test_preflight_openbao.py compares
with a real server for generated roles and requests.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from certmanager.domain.advice import Advice
from certmanager.domain.model import KeyType, Mode, Request
from certmanager.domain.problems import cut, shown
from certmanager.domain.reasons import Reason

_PLAIN_URI: Final = re.compile(r"[A-Za-z0-9:/._~-]+")
_KEYS: Final = frozenset({"rsa", "ec", "ed25519"})


@dataclass(frozen=True, slots=True)
class VaultRole:
    """The fields of a PKI role that matter here, named as in Vault's API; None: the server does not tell.

    `key_bits` 0 and `max_ttl` (seconds) 0 mean that the role sets none.
    """

    allowed_domains: tuple[str, ...] | None = None
    allowed_domains_template: bool | None = None
    allow_any_name: bool | None = None
    allow_bare_domains: bool | None = None
    allow_subdomains: bool | None = None
    allow_glob_domains: bool | None = None
    allow_localhost: bool | None = None
    allow_token_displayname: bool | None = None
    allow_wildcard_certificates: bool | None = None
    allow_ip_sans: bool | None = None
    allowed_uri_sans: tuple[str, ...] | None = None
    allowed_uri_sans_template: bool | None = None
    key_type: str | None = None
    key_bits: int | None = None
    max_ttl: int | None = None
    require_cn: bool | None = None
    use_csr_common_name: bool | None = None
    use_csr_sans: bool | None = None
    server_flag: bool | None = None
    ext_key_usage: tuple[str, ...] | None = None
    ext_key_usage_oids: tuple[str, ...] | None = None


def objection(role: VaultRole, request: Request) -> str | None:
    """Why the role will not give this certificate: field, its value, what it must be. None when it may."""
    for rule in _RULES:
        found = rule(role, request)
        if found is not None:
            return cut(f"role {request.role} at mount {request.mount} forbids this certificate: {found}")
    return None


def advice(role: VaultRole, request: Request) -> list[Advice]:
    """What the role changes about a certificate that it gives."""
    found: list[Advice] = []
    where = f"role {request.role} at mount {request.mount}"
    if request.ttl is not None and role.max_ttl and request.ttl > role.max_ttl:
        message = (
            f"{where} shortens the lifetime: max_ttl is {role.max_ttl} s, and {request.ttl} s were asked for; the renewal goes "
            "by what was issued. Raise max_ttl, or ask for less"
        )
        found.append((Reason.ROLE_SHORTENS_TTL, cut(message)))
    usages = (role.ext_key_usage, role.ext_key_usage_oids)
    if role.server_flag is False and usages == ((), ()) and request.names.dns and request.selected:
        message = (
            f"{where} has server_flag=false: a Service selects the pod, and TLS clients will not take its certificate for a "
            "server's; set server_flag=true, or choose another role"
        )
        found.append((Reason.ROLE_NOT_FOR_SERVERS, cut(message)))
    return found


def _key(role: VaultRole, request: Request) -> str | None:
    if request.mode is Mode.ISSUE:
        cannot = "key_type is any, which can only sign; for mode issue it must be ec, rsa or ed25519"
        return cannot if role.key_type == "any" else None
    if request.key_type is None:
        return None
    family, bits = _key_of(request.key_type)
    other = f"or the pod's key-type another than {request.key_type}"
    if role.key_type in _KEYS and role.key_type != family:
        return f"key_type is {role.key_type}; it must be any or {family}, {other}"
    if role.key_type == family and role.key_bits and bits and bits < role.key_bits:
        return f"key_bits is {role.key_bits}; it must be at most {bits}, {other}"
    return None


def _key_of(key_type: KeyType) -> tuple[str, int | None]:
    family, _, bits = key_type.value.partition("-")
    return family, int(bits) if bits else None


def _common_name(role: VaultRole, request: Request) -> str | None:
    name = request.names.common_name
    dropped = request.mode is Mode.SIGN and role.use_csr_common_name is False
    if role.require_cn and (name is None or dropped):
        why = (
            "the name is left out, for none has at most 64 characters"
            if name is None
            else "use_csr_common_name is false"
        )
        return f"require_cn is true, and {why}; require_cn must be false"
    if dropped and name is not None:
        return "use_csr_common_name is false, so the common name of our CSR is dropped; it must be true"
    return None


def _sans(role: VaultRole, request: Request) -> str | None:
    """Without the CSR's SANs only its common name is left, which Vault makes a DNS name."""
    if request.mode is not Mode.SIGN or role.use_csr_sans is not False:
        return None
    names = request.names
    if (names.ips, names.uris) == ((), ()) and set(names.dns) == {names.common_name}:
        return None
    return "use_csr_sans is false, so the names of our CSR are dropped; it must be true"


def _ips(role: VaultRole, request: Request) -> str | None:
    if role.allow_ip_sans is False and request.names.ips:
        return f"allow_ip_sans is false; for the address {request.names.ips[0]} it must be true"
    return None


def _uris(role: VaultRole, request: Request) -> str | None:
    allowed = role.allowed_uri_sans
    if allowed is None or (role.allowed_uri_sans_template is not False and _templates(allowed)):
        return None
    for uri in request.names.uris:
        # Vault compares what its URL parser makes of the name: only where that is certain.
        if _PLAIN_URI.fullmatch(uri) and not any(_glob(pattern, uri) for pattern in allowed):
            return f"allowed_uri_sans is {_list(allowed)}; it must hold a pattern for {shown(uri)}"
    return None


def _dns(role: VaultRole, request: Request) -> str | None:
    for name in request.names.dns:
        if "*" in name and role.allow_wildcard_certificates is False:
            return f"allow_wildcard_certificates is false; for {shown(name)} it must be true"
        if _certainly_not_allowed(role, name):
            return _remedy(role, name)
    return None


def _certainly_not_allowed(role: VaultRole, name: str) -> bool:
    told = (role.allow_bare_domains, role.allow_subdomains, role.allow_glob_domains, role.allow_localhost)
    unknown = role.allowed_domains is None or None in told
    if unknown or role.allow_any_name is not False or role.allow_token_displayname is not False:
        return False
    if "@" in name or not name.isascii() or "*" in name.removeprefix("*."):
        return False
    domains = role.allowed_domains or ()
    if role.allowed_domains_template is not False and _templates(domains):
        return False
    return not (_local(role, name) or any(_fits(role, name, domain.lower()) for domain in domains if domain))


def _local(role: VaultRole, name: str) -> bool:
    if not role.allow_localhost:
        return False
    base = name.removeprefix("*.")
    return any(base == local or (role.allow_subdomains and base.endswith("." + local)) for local in _LOCAL)


_LOCAL: Final = ("localhost", "localdomain")


def _fits(role: VaultRole, name: str, domain: str) -> bool:
    full, base = name.lower(), name.lower().removeprefix("*.")
    if role.allow_bare_domains and full == domain:
        return True
    if role.allow_subdomains and (base.endswith("." + domain) or (full != base and base == domain)):
        return True
    return bool(role.allow_glob_domains) and "*" in domain and _glob(domain, full)


def _remedy(role: VaultRole, name: str) -> str:
    """The one flag that is missing, or else the domain."""
    domains = [domain.lower() for domain in role.allowed_domains or () if domain]
    base = name.lower().removeprefix("*.")
    said = shown(name)
    if base in _LOCAL and not role.allow_localhost:
        return f"allow_localhost is false; for {said} it must be true"
    if name.lower() in domains:
        return f"allow_bare_domains is false; for {said}, which is in allowed_domains, it must be true"
    if any(base.endswith("." + domain) for domain in domains) and not role.allow_subdomains:
        return f"allow_subdomains is false; for {said} it must be true"
    if any("*" in domain and _glob(domain, name.lower()) for domain in domains):
        return f"allow_glob_domains is false; for {said} it must be true"
    parent = base.partition(".")[2] or base
    return (
        f"allowed_domains is {_list(role.allowed_domains or ())}; for {said} it must hold a domain above it, such as "
        f"{shown(parent)}, with allow_subdomains=true"
    )


def _glob(pattern: str, text: str) -> bool:
    """Vault's globs: `*` is any text, also none, also dots; nothing else is special."""
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None


def _templates(values: Sequence[str]) -> bool:
    """Whether one holds an identity template, whose value only Vault knows."""
    return any("{{" in value for value in values)


def _list(values: Sequence[str]) -> str:
    texts = [shown(value) for value in values[:5]]
    more = f" and {len(values) - 5} more" if len(values) > 5 else ""
    return f"[{', '.join(texts)}]{more}"


_RULES: Final[tuple[Callable[[VaultRole, Request], str | None], ...]] = (_key, _common_name, _sans, _dns, _ips, _uris)
