"""The desired state, as data: every option of `podcert bootstrap`, checked as a whole before anything is asked or written.

In the flow: options → *plan* → steps → run. Values become parts of Vault paths, of a policy and of command lines, so each
is held to a rule that makes that safe.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

from certmanager.domain.names import parse_dns_name, parse_duration, parse_role
from certmanager.domain.problems import RuleError, shown


class OptionError(ValueError):
    """Options that cannot be meant; one line per option: name, value, rule, what to do."""


@dataclass(frozen=True, slots=True)
class Duration:
    """A time span of whole seconds, written as Vault writes it: the largest of h, m, s that fits exactly."""

    seconds: int

    def __str__(self) -> str:
        for unit, length in (("h", 3600), ("m", 60)):
            if self.seconds and self.seconds % length == 0:
                return f"{self.seconds // length}{unit}"
        return f"{self.seconds}s"


@dataclass(frozen=True, slots=True)
class BootstrapPlan:
    """What is wanted. The defaults are design's names and the manifests'.

    Attributes:
        mount: path of the PKI secrets engine.
        root: whether a root CA is made when the mount has no issuer; False for a mount that is an intermediate's.
        allowed_domains: domains below which names are allowed; empty: `svc.<cluster_domain>`.
        ttl: of certificates whose request names none. `max_ttl`: no certificate gets a longer one.
        revoke: the manager may revoke certificates of the mount.
        crl_url: Vault's address as peers reach it, for the CRL and OCSP addresses in certificates; None leaves those as they are.
        auth: how the manager logs in: `token` or `kubernetes`.
        token_file: where a token for the manager is put; only with `auth="token"`.
        kubernetes_ca_file: the cluster's CA, for a Vault that runs outside the cluster.
        reviewer_token_file: a ServiceAccount token that may review tokens, for a Vault outside the cluster.
    """

    mount: str = "pki"
    root: bool = True
    root_common_name: str = "Podcert root CA"
    root_ttl: Duration = Duration(87600 * 3600)
    sign_role: str = "pods"
    issue_role: str = "pods-issue"
    policy: str = "pods"
    cluster_domain: str = "cluster.local"
    allowed_domains: tuple[str, ...] = ()
    trust_domain: str | None = None
    allow_ip_sans: bool = False
    allow_wildcards: bool = False
    no_store: bool = False
    revoke: bool = False
    crl_url: str | None = None
    ttl: Duration = Duration(24 * 3600)
    max_ttl: Duration = Duration(72 * 3600)
    auth: str = "token"
    token_role: str = "pods"  # noqa: S105 - a role's name
    token_period: Duration = Duration(24 * 3600)
    token_file: Path | None = None
    auth_mount: str = "kubernetes"
    auth_role: str = "podcert"
    namespace: str = "podcert"
    service_account: str = "certificate-manager"
    audience: str = "vault"
    kubernetes_host: str = "https://kubernetes.default.svc"
    kubernetes_ca_file: Path | None = None
    kubernetes_ca: str | None = field(default=None, repr=False)
    reviewer_token_file: Path | None = None
    reviewer_token: str | None = field(default=None, repr=False)

    @property
    def domains(self) -> tuple[str, ...]:
        """The roles' allowed_domains."""
        return self.allowed_domains or (f"svc.{self.cluster_domain}",)

    @property
    def uri_sans(self) -> tuple[str, ...]:
        """The roles' allowed_uri_sans: design §3's SPIFFE identities, nothing without a trust domain."""
        return (f"spiffe://{self.trust_domain}/ns/*/sa/*",) if self.trust_domain else ()


def from_options(options: Mapping[str, object]) -> BootstrapPlan:
    """A plan from the command line's values (text, flags, paths); an option that is None or absent has its default.

    Raises:
        OptionError: with every option that is wrong.
    """
    known = {item.name for item in fields(BootstrapPlan)}
    values: dict[str, object] = {}
    problems: list[str] = []
    for name, value in options.items():
        if name not in known:
            raise TypeError(f"bootstrap has no option {name}")
        if value is None:
            continue
        try:
            values[name] = _PARSERS[name](value) if name in _PARSERS else value
        except RuleError as error:
            remedy = error.remedy or "give another value"
            problems.append(f'--{name.replace("_", "-")}="{shown(str(value))}": {error.rule}; {remedy}')
    if not problems:
        plan = BootstrapPlan(**cast("dict[str, Any]", values))
        problems = _contradictions(plan)
        if not problems:
            return _with_files(plan)
    raise OptionError("\n".join(problems))


def _contradictions(plan: BootstrapPlan) -> list[str]:
    """Options that are right alone and wrong together."""
    token = plan.auth == "token"
    found = (
        (
            plan.sign_role == plan.issue_role,
            "--issue-role: must differ from --sign-role: a role of key_type=any cannot issue",
        ),
        (
            plan.ttl.seconds > plan.max_ttl.seconds,
            f"--ttl={plan.ttl}: must be at most --max-ttl ({plan.max_ttl}); lower it",
        ),
        (
            plan.root and plan.max_ttl.seconds > plan.root_ttl.seconds,
            f"--max-ttl={plan.max_ttl}: must be at most --root-ttl ({plan.root_ttl}); lower it",
        ),
        (not token and plan.token_file, "--token-file: goes with --auth=token only; leave it out"),
        (token and plan.kubernetes_ca_file, "--kubernetes-ca-file: goes with --auth=kubernetes only; leave it out"),
        (token and plan.reviewer_token_file, "--reviewer-token-file: goes with --auth=kubernetes only; leave it out"),
    )
    return [text for wrong, text in found if wrong]


def _with_files(plan: BootstrapPlan) -> BootstrapPlan:
    ca, reviewer = plan.kubernetes_ca_file, plan.reviewer_token_file
    return replace(
        plan,
        kubernetes_ca=_text(ca, "--kubernetes-ca-file", "-----BEGIN CERTIFICATE-----") if ca else None,
        reviewer_token=_text(reviewer, "--reviewer-token-file", "eyJ") if reviewer else None,
    )


def _text(path: Path, option: str, beginning: str) -> str:
    """The file's text. The message of a wrong one does not repeat what is in it."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    except ValueError:
        problem = "is not ASCII text"
    else:
        if text.startswith(beginning):
            return text
        problem = f"must begin with {beginning}"
    raise OptionError(f'{option}="{shown(str(path))}": {problem}; name another file')


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


def _auth(value: object) -> str:
    if value not in {"token", "kubernetes"}:
        raise RuleError("must be token or kubernetes")
    return str(value)


_PARSERS: Final[Mapping[str, Callable[[object], object]]] = {
    "mount": _mount,
    "auth_mount": _mount,
    **dict.fromkeys(("sign_role", "issue_role", "policy", "token_role", "auth_role"), _name),
    **dict.fromkeys(("root_ttl", "ttl", "max_ttl", "token_period"), _duration),
    **dict.fromkeys(("cluster_domain", "trust_domain"), _domain),
    **dict.fromkeys(("namespace", "service_account"), _label),
    "allowed_domains": _domains,
    "root_common_name": _common_name,
    "audience": _audience,
    "kubernetes_host": _host,
    "crl_url": _address,
    "auth": _auth,
    **dict.fromkeys(("token_file", "kubernetes_ca_file", "reviewer_token_file"), lambda value: Path(str(value))),
}
