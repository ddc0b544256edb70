"""The rules that each option of `podcert bootstrap` is held to, one by one. Pure.

In the flow: *options* → plan → steps → run. Values become parts of Vault paths, of a policy and of command lines: what
passes here is safe there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from certmanager.domain.names import parse_dns_name, parse_duration, parse_role
from certmanager.domain.problems import RuleError

METHODS: Final = ("token", "kubernetes", "jwt", "approle", "cert")
"""What `--auth` takes: the manager's logins (docs/logins.md)."""
FILES: Final = (
    "token_file",
    "kubernetes_ca_file",
    "reviewer_token_file",
    "jwt_public_keys_file",
    "oidc_discovery_ca_file",
    "client_ca_file",
    "secret_id_file",
)


@dataclass(frozen=True, slots=True)
class Duration:
    """A time span of whole seconds, written as Vault writes it: the largest of h, m, s that fits exactly."""

    seconds: int

    def __str__(self) -> str:
        for unit, length in (("h", 3600), ("m", 60)):
            if self.seconds and self.seconds % length == 0:
                return f"{self.seconds // length}{unit}"
        return f"{self.seconds}s"


def _duration(value: object) -> Duration:
    return value if isinstance(value, Duration) else Duration(parse_duration(str(value)))


def _name(value: object) -> str:
    text = parse_role(str(value))
    if not re.fullmatch(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?", text):
        raise RuleError("must be letters, digits, '_' and '-', without '/' and without '-' at its ends")
    return text


def _mount(value: object) -> str:
    return parse_role(str(value).strip("/"))


def _domain(value: object) -> str:
    text = parse_dns_name(str(value))
    if text.startswith("*."):
        raise RuleError("must be a domain, not a wildcard", "leave out '*.': names below a domain are allowed")
    return text


def _domains(value: object) -> tuple[str, ...]:
    """Domains, each given alone or several with commas between them; order kept, repeats dropped."""
    parts = value if isinstance(value, list | tuple) else [value]
    texts = [text.strip() for part in parts for text in str(part).split(",")]
    return tuple(dict.fromkeys(_domain(text) for text in texts if text))


def _label(value: object) -> str:
    text = str(value)
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", text):
        raise RuleError("must be a Kubernetes name: a-z, 0-9, '-' and '.', beginning and ending with a letter or digit")
    return text


def _common_name(value: object) -> str:
    text = str(value)
    if not 1 <= len(text) <= 64 or not text.isprintable() or text != text.strip() or text[0] in "-\\":
        raise RuleError(
            "must be 1 to 64 printable characters (RFC 5280, ub-common-name), not beginning with '-' or '\\'"
        )
    return text


def _audience(value: object) -> str:
    text = str(value)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._~:/-]{0,252}", text):
        raise RuleError("must be an audience: letters, digits and '._~:/-', such as vault or https://vault.example.com")
    return text


def _host(value: object) -> str:
    text = str(value)
    parts = urlsplit(text)
    if parts.scheme != "https" or not re.fullmatch(r"[A-Za-z0-9.:\[\]-]+", parts.netloc) or parts.path not in {"", "/"}:
        raise RuleError("must be the API server's address, such as https://kubernetes.default.svc")
    return text.rstrip("/")


def _address(value: object) -> str:
    text = str(value)
    parts = urlsplit(text)
    known = parts.scheme in {"http", "https"} and re.fullmatch(r"[A-Za-z0-9.:\[\]-]+", parts.netloc)
    if not known or parts.path not in {"", "/"} or parts.query or parts.fragment:
        raise RuleError("must be Vault's address as peers reach it, such as http://vault.vault.svc:8200")
    return text.rstrip("/")


def _discovery(value: object) -> str:
    text = str(value)
    parts = urlsplit(text)
    if parts.scheme not in {"https", "http"} or not re.fullmatch(r"[A-Za-z0-9.:\[\]-]+", parts.netloc) or parts.query:
        raise RuleError(
            "must be the issuer's address, such as https://kubernetes.example.com",
            "give the part before /.well-known/openid-configuration",
        )
    if text.rstrip("/").endswith("/.well-known/openid-configuration"):
        raise RuleError("must be the issuer's address", "leave out /.well-known/openid-configuration")
    return text.rstrip("/")


def _subject(value: object) -> str:
    text = str(value)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._~:/@|-]{0,252}", text):
        raise RuleError(
            "must be a subject: letters, digits and '._~:/@|-', such as system:serviceaccount:podcert:certificate-manager"
        )
    return text


def _lifetime(value: object) -> Duration:
    """A duration, or 0 for none."""
    return Duration(0) if str(value) in {"0", "0s"} else _duration(value)


def _auth(value: object) -> str:
    if value not in METHODS:
        raise RuleError(f"must be one of {', '.join(METHODS)}")
    return str(value)


PARSERS: Final[Mapping[str, Callable[[object], object]]] = {
    "mount": _mount,
    "auth_mount": _mount,
    **dict.fromkeys(("sign_role", "issue_role", "policy", "token_role", "auth_role"), _name),
    **dict.fromkeys(("root_ttl", "ttl", "max_ttl", "token_period", "wrap_ttl"), _duration),
    **dict.fromkeys(("cluster_domain", "trust_domain"), _domain),
    **dict.fromkeys(("namespace", "service_account"), _label),
    **dict.fromkeys(("allowed_domains", "client_names"), _domains),
    "root_common_name": _common_name,
    "audience": _audience,
    "kubernetes_host": _host,
    "crl_url": _address,
    "auth": _auth,
    "oidc_discovery_url": _discovery,
    "bound_subject": _subject,
    "secret_id_ttl": _lifetime,
    **dict.fromkeys(FILES, lambda value: Path(str(value))),
}
