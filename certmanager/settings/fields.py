"""The settings: each field with its variable, its default and its meaning, and what holds of them together.

In the flow of the start: `cli` → `reading` → *fields*, each held to a rule of `checks`. The table in docs/settings.md is made
from the fields here. `VAULT_*` variables mean what they mean to the Vault CLI
(https://developer.hashicorp.com/vault/docs/commands#configure-environment-variables); everything else is `PODCERT_*`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import AliasChoices, Field, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from certmanager.domain.model import KeyType, Mode, Rotation
from certmanager.domain.request import Defaults
from certmanager.settings.checks import (
    Address,
    Domain,
    IssuerName,
    Listen,
    MaybeSeconds,
    Revoked,
    Seconds,
    VaultPath,
    VaultPaths,
    WholeSeconds,
    Windows,
    Words,
)


def _vault(name: str) -> Any:
    return AliasChoices(name, name.lower())


class Settings(BaseSettings):
    """Everything that can be set. Durations are given as `90s`, `24h` or `1h30m`, or as seconds."""

    model_config = SettingsConfigDict(
        env_prefix="PODCERT_", frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True
    )

    # Vault, as its CLI reads it
    vault_addr: Address = Field(
        "https://127.0.0.1:8200", validation_alias=_vault("VAULT_ADDR"), description="Address of Vault or OpenBao."
    )
    vault_namespace: str | None = Field(
        None,
        validation_alias=_vault("VAULT_NAMESPACE"),
        description="Vault namespace (Enterprise, OpenBao 2.3 and later).",
    )
    vault_cacert: Path | None = Field(
        None,
        validation_alias=_vault("VAULT_CACERT"),
        description="PEM file of the CA that signed Vault's own certificate. Read again when it changes.",
    )
    vault_capath: Path | None = Field(
        None,
        validation_alias=_vault("VAULT_CAPATH"),
        description="Directory of such PEM files. Read again when one changes.",
    )
    vault_skip_verify: bool = Field(
        False,
        validation_alias=_vault("VAULT_SKIP_VERIFY"),
        description="Do not verify Vault's certificate. For trying out only.",
    )
    vault_tls_server_name: str | None = Field(
        None, validation_alias=_vault("VAULT_TLS_SERVER_NAME"), description="Name that Vault's certificate must carry."
    )
    vault_client_timeout: Seconds = Field(
        10.0,
        validation_alias=_vault("VAULT_CLIENT_TIMEOUT"),
        description="Time limit of one call to Vault, in seconds.",
    )
    vault_client_cert: Path | None = Field(
        None,
        validation_alias=_vault("VAULT_CLIENT_CERT"),
        description="PEM file of the certificate that is shown to Vault, the leaf first; for `auth: cert`, or where Vault's "
        "listener asks for one. Read again when it changes.",
    )
    vault_client_key: Path | None = Field(
        None, validation_alias=_vault("VAULT_CLIENT_KEY"), description="PEM file of its key, without a password."
    )
    vault_token: SecretStr | None = Field(
        None,
        validation_alias=_vault("VAULT_TOKEN"),
        description="Token, for `auth: token` without a file. The last choice.",
    )

    # Login
    auth: Literal["token", "kubernetes", "approle", "jwt", "cert"] = Field(
        "token", description="How to log in to Vault; which way suits which place is in [logins.md](logins.md)."
    )
    token_file: Path | None = Field(
        None, description="File with the Vault token, for `auth: token`; read again when it changes."
    )
    auth_mount: VaultPath | None = Field(
        None, description="Mount of the auth method; empty: named as the method (`kubernetes`, `approle`, …)."
    )
    auth_role: VaultPath = Field(
        "podcert", description="Role of the auth method, for `auth: kubernetes`, `jwt` and `cert`."
    )
    auth_jwt_file: Path = Field(
        Path("/var/run/secrets/podcert/vault/token"),
        description="ServiceAccount token or other JWT to log in with, for `auth: kubernetes` and `jwt`; read at every login.",
    )
    auth_role_id: str | None = Field(None, description="The role's role-id, for `auth: approle`.")
    auth_secret_id_file: Path | None = Field(
        None, description="File with the secret-id, for `auth: approle`; read again when it changes."
    )
    auth_secret_id_wrapped: bool = Field(
        False, description="That file holds a response-wrapping token; it is unwrapped once."
    )

    # What pods get when they do not say
    mount: VaultPath = Field("pki", description="Mount of Vault's PKI engine.")
    mode: Mode = Field(Mode.SIGN, description="`sign`: the manager makes the key; `issue`: Vault does.")
    key_type: KeyType = Field(KeyType.EC_256, description="Key type in mode `sign`.")
    issuer: IssuerName = Field(
        None,
        description="Name or id of the mount's issuer that signs; empty: the Vault role's `issuer_ref`, or the mount's default.",
    )
    sign_role: VaultPath = Field("pods", description="Vault role for mode `sign`.")
    issue_role: VaultPath = Field("pods-issue", description="Vault role for mode `issue`.")
    roles: VaultPaths = Field(
        (), description="Further Vault roles that pods may choose by annotation, separated by commas."
    )
    policy_file: Path | None = Field(
        None,
        description="The administrator's policy: which namespaces may have which names, roles and lifetimes "
        "([policy.md](policy.md)); read again when it changes. Empty: pods get their own names only.",
    )
    ttl: MaybeSeconds = Field(None, description="Lifetime of certificates; empty: the Vault role's own default.")
    rotation: Rotation = Field(Rotation.RESTART, description="How a new certificate reaches a running application.")
    renew_before: float = Field(
        1 / 3, gt=0, lt=1, description="Fraction of the lifetime that is left when a certificate is renewed."
    )
    revoke: Revoked = Field(
        (),
        description="Which certificates are revoked in Vault before their end, separated by commas: `deleted` (their pod is "
        "gone), `rotated` (another one has taken their place, and is in use). `none` or empty: those that somebody asks for "
        "by `podcert revoke` alone ([revocation.md](revocation.md)).",
    )
    max_rolling: int = Field(
        5, ge=1, description="Workloads that may roll at once for their certificates, in the cluster."
    )
    max_rolling_per_namespace: int = Field(2, ge=1, description="The same in one namespace.")
    maintenance_windows: Windows = Field(
        (),
        description="When pods may be replaced, as crontab lines separated by `;`, each with a time zone if it is not UTC: "
        "`0 2 * * sat Europe/Berlin`. A certificate near its end is not kept waiting. Empty: at any time.",
    )
    maintenance_window_length: WholeSeconds = Field(3600, description="How long each window is open.")
    cluster_domain: Domain = Field("cluster.local", description="The cluster's DNS domain.")
    trust_domain: Domain | None = Field(None, description="SPIFFE trust domain; empty: no SPIFFE identities.")
    ca_refresh: Seconds = Field(
        60.0,
        ge=1,
        description="How often Vault is asked for the CAs of its mounts: within this time a new trust anchor is on its way "
        "into every pod, and a CA that may not issue any more has its certificates replaced.",
    )

    # Kubernetes
    kubeconfig: Path | None = Field(
        None,
        description="Kubeconfig file; empty: the pod's own ServiceAccount. Never taken from KUBECONFIG by accident.",
    )
    namespaces: Words = Field((), description="Namespaces to work in, separated by commas; empty: all.")

    # The process
    workers: int = Field(
        16, ge=1, le=128, description="Pods worked on at once; also the limit of calls to Vault in flight."
    )
    refusal_retry: Seconds = Field(
        300.0,
        ge=1,
        description="How long a request that Vault has refused is not sent again; a changed pod goes at once.",
    )
    listen: Listen = Field("0.0.0.0:8080", description="Address of /livez, /readyz and /metrics.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level that is logged."
    )
    log_format: Literal["json", "console"] = Field("json", description="Shape of the log.")
    stop_timeout: Seconds = Field(10.0, description="How long work in hand may take at the end.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - no .env file: it would be read by accident
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags (init), then environment, then the YAML file that `load` named."""
        yaml = YamlConfigSettingsSource(settings_cls, yaml_file=cls.yaml_path)
        return (init_settings, env_settings, yaml)

    yaml_path: ClassVar[Path | None] = None

    @model_validator(mode="after")
    def _whole(self) -> Settings:
        if self.auth == "token" and self.token_file is None and self.vault_token is None:
            raise ValueError(
                "auth is `token`, but there is no token: set PODCERT_TOKEN_FILE to a file that holds one "
                "(or VAULT_TOKEN), or PODCERT_AUTH=kubernetes"
            )
        if (self.vault_client_cert is None) != (self.vault_client_key is None):
            raise ValueError("VAULT_CLIENT_CERT and VAULT_CLIENT_KEY go together: set both, or neither")
        if self.auth == "approle" and not (self.auth_role_id and self.auth_secret_id_file):
            raise ValueError("auth is `approle`: set PODCERT_AUTH_ROLE_ID and PODCERT_AUTH_SECRET_ID_FILE")
        if self.auth == "cert" and not (self.vault_client_cert and self.vault_addr.startswith("https://")):
            raise ValueError(
                "auth is `cert`: set VAULT_CLIENT_CERT and VAULT_CLIENT_KEY, and VAULT_ADDR to an https:// address"
            )
        return self

    @property
    def login_mount(self) -> str:
        """Where the auth method is mounted."""
        return self.auth_mount or self.auth

    def defaults(self) -> Defaults:
        """The part that the domain decides with."""
        return Defaults(
            mode=self.mode,
            key_type=self.key_type,
            mount=self.mount,
            issuer=self.issuer,
            sign_role=self.sign_role,
            issue_role=self.issue_role,
            ttl=self.ttl,
            rotation=self.rotation,
            renew_before_fraction=self.renew_before,
            cluster_domain=self.cluster_domain,
            trust_domain=self.trust_domain,
            roles=frozenset((self.sign_role, self.issue_role, *self.roles)),
            revoke=frozenset(self.revoke),
        )


def variable(field: str) -> str:
    """The environment variable of a field: `vault_addr` is VAULT_ADDR, `mount` is PODCERT_MOUNT."""
    return field.upper() if field.startswith("vault_") else f"PODCERT_{field.upper()}"
