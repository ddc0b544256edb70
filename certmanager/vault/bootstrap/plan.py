"""The desired state, as data: every option of `podcert bootstrap`, checked as a whole before anything is asked or written.

In the flow: options → *plan* → steps → run. What each option may be is said in `options`; here is what they come to together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, cast

from certmanager.domain.problems import RuleError, shown
from certmanager.vault.bootstrap.options import PARSERS, Duration

_DAY, _THREE_DAYS, _TEN_YEARS, _FOR_EVER = (Duration(hours * 3600) for hours in (24, 72, 87600, 0))
_ONLY_WITH: Final[Mapping[str, tuple[str, ...]]] = {
    "token": ("token_file",),
    "kubernetes": ("kubernetes_ca_file", "reviewer_token_file"),
    "jwt": ("oidc_discovery_url", "oidc_discovery_ca_file", "jwt_public_keys_file", "bound_subject"),
    "approle": ("secret_id_file", "secret_id_ttl", "wrap_ttl"),
    "cert": ("client_ca_file", "client_names"),
}
"""Options that mean nothing with another login."""


class OptionError(ValueError):
    """Options that cannot be meant; one line per option: name, value, rule, what to do."""


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
        auth: how the manager logs in: one of `options.METHODS`.
        token_file: where a token for the manager is put; only with `auth="token"`.
        auth_mount: path of the auth method; empty: the method's own name.
        kubernetes_ca_file: the cluster's CA, for a Vault that runs outside the cluster.
        reviewer_token_file: a ServiceAccount token that may review tokens, for a Vault outside the cluster.
        oidc_discovery_url, jwt_public_keys_file: whose JWTs are accepted; one of the two, with `auth="jwt"`.
        bound_subject: of these JWTs; empty: the manager's ServiceAccount.
        secret_id_file: where a secret-id is put; with `wrap_ttl` a token that wraps one.
        secret_id_ttl: of secret-ids; zero: they do not end.
        client_ca_file: the CA of the manager's client certificate; only with `auth="cert"`.
        client_names: DNS names that it must be for, one of them; empty: as a Service of the manager would be called.
    """

    mount: str = "pki"
    root: bool = True
    root_common_name: str = "Podcert root CA"
    root_ttl: Duration = _TEN_YEARS
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
    ttl: Duration = _DAY
    max_ttl: Duration = _THREE_DAYS
    auth: str = "token"
    token_role: str = "pods"  # noqa: S105 - a role's name
    token_period: Duration = _DAY
    token_file: Path | None = None
    auth_mount: str = ""
    auth_role: str = "podcert"
    namespace: str = "podcert"
    service_account: str = "certificate-manager"
    audience: str = "vault"
    kubernetes_host: str = "https://kubernetes.default.svc"
    kubernetes_ca_file: Path | None = None
    kubernetes_ca: str | None = field(default=None, repr=False)
    reviewer_token_file: Path | None = None
    reviewer_token: str | None = field(default=None, repr=False)
    oidc_discovery_url: str | None = None
    oidc_discovery_ca_file: Path | None = None
    oidc_discovery_ca: str | None = field(default=None, repr=False)
    jwt_public_keys_file: Path | None = None
    jwt_public_keys: tuple[str, ...] = field(default=(), repr=False)
    bound_subject: str = ""
    secret_id_file: Path | None = None
    secret_id_ttl: Duration = _FOR_EVER
    wrap_ttl: Duration | None = None
    client_ca_file: Path | None = None
    client_ca: str | None = field(default=None, repr=False)
    client_names: tuple[str, ...] = ()

    @property
    def domains(self) -> tuple[str, ...]:
        """The roles' allowed_domains."""
        return self.allowed_domains or (f"svc.{self.cluster_domain}",)

    @property
    def uri_sans(self) -> tuple[str, ...]:
        """The roles' allowed_uri_sans: design §3's SPIFFE identities, nothing without a trust domain."""
        return (f"spiffe://{self.trust_domain}/ns/*/sa/*",) if self.trust_domain else ()

    @property
    def auth_path(self) -> str:
        """Where the auth method is mounted, `auth/` left out; as the manager's own setting has it."""
        return self.auth_mount or self.auth

    @property
    def subject(self) -> str:
        """The `sub` of the manager's JWTs: what Kubernetes calls its ServiceAccount, unless another is named."""
        return self.bound_subject or f"system:serviceaccount:{self.namespace}:{self.service_account}"

    @property
    def certificate_names(self) -> tuple[str, ...]:
        """DNS names, one of which the manager's client certificate must have."""
        return self.client_names or (f"{self.service_account}.{self.namespace}.svc.{self.cluster_domain}",)


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
            values[name] = PARSERS[name](value) if name in PARSERS else value
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
        (
            plan.auth == "jwt" and (plan.oidc_discovery_url is None) == (plan.jwt_public_keys_file is None),
            "--auth=jwt: needs to know whose JWTs are accepted: give --oidc-discovery-url or --jwt-public-keys-file, one of them",
        ),
        (
            plan.oidc_discovery_ca_file and not plan.oidc_discovery_url,
            "--oidc-discovery-ca-file: goes with --oidc-discovery-url only; leave it out",
        ),
        (
            plan.auth == "cert" and plan.client_ca_file is None,
            "--auth=cert: needs the CA of the manager's client certificate: give --client-ca-file",
        ),
        (
            plan.wrap_ttl and not plan.secret_id_file,
            "--wrap-ttl: goes with --secret-id-file only; leave it out",
        ),
    )
    strange = (
        f"--{name.replace('_', '-')}: goes with --auth={method} only; leave it out"
        for method, names in _ONLY_WITH.items()
        for name in names
        if plan.auth != method and getattr(plan, name) not in (None, "", (), _FOR_EVER)
    )
    return [*(text for wrong, text in found if wrong), *strange]


def _with_files(plan: BootstrapPlan) -> BootstrapPlan:
    certificate, key = "-----BEGIN CERTIFICATE-----", "-----BEGIN PUBLIC KEY-----"
    keys = _text(plan.jwt_public_keys_file, "--jwt-public-keys-file", key)
    return replace(
        plan,
        kubernetes_ca=_text(plan.kubernetes_ca_file, "--kubernetes-ca-file", certificate),
        reviewer_token=_text(plan.reviewer_token_file, "--reviewer-token-file", "eyJ"),
        oidc_discovery_ca=_text(plan.oidc_discovery_ca_file, "--oidc-discovery-ca-file", certificate),
        # Vault reads the first key of each value only.
        jwt_public_keys=tuple(key + part.rstrip() for part in (keys or "").split(key)[1:]),
        client_ca=_text(plan.client_ca_file, "--client-ca-file", certificate),
    )


def _text(path: Path | None, option: str, beginning: str) -> str | None:
    """The file's text, None without a file. The message of a wrong one does not repeat what is in it."""
    if path is None:
        return None
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    except ValueError:
        problem = "is not ASCII text"
    else:
        if "PRIVATE KEY" in text:
            # It would be sent to Vault, and a dry run would print it.
            problem = "holds a private key, which must not leave its place"
        elif text.startswith(beginning):
            return text
        else:
            problem = f"must begin with {beginning}"
    raise OptionError(f'{option}="{shown(str(path))}": {problem}; name another file')
