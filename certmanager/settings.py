"""Frozen settings: flags, then the environment, then a YAML file, then defaults; read once, checked as a whole.

`VAULT_*` variables mean what they mean to the Vault CLI (https://developer.hashicorp.com/vault/docs/commands#configure-environment-variables);
everything else is `PODCERT_*`. The table in docs/settings.md is made from the fields here.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from certmanager.domain.model import KeyType, Mode, RevokeWhen, Rotation
from certmanager.domain.names import parse_duration, parse_issuer
from certmanager.domain.problems import shown
from certmanager.domain.request import Defaults

_PATH = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
_DOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


class SettingsError(Exception):
    """Settings that cannot be used; the text has one line per field: name, value, rule."""


def _vault(name: str) -> Any:
    return AliasChoices(name, name.lower())


class Settings(BaseSettings):
    """Everything that can be set. Durations are given as `90s`, `24h` or `1h30m`, or as seconds."""

    model_config = SettingsConfigDict(
        env_prefix="PODCERT_", frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True
    )

    # Vault, as its CLI reads it
    vault_addr: str = Field(
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
    vault_client_timeout: float = Field(
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
    auth_mount: str | None = Field(
        None, description="Mount of the auth method; empty: named as the method (`kubernetes`, `approle`, …)."
    )
    auth_role: str = Field("podcert", description="Role of the auth method, for `auth: kubernetes`, `jwt` and `cert`.")
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
    mount: str = Field("pki", description="Mount of Vault's PKI engine.")
    mode: Mode = Field(Mode.SIGN, description="`sign`: the manager makes the key; `issue`: Vault does.")
    key_type: KeyType = Field(KeyType.EC_256, description="Key type in mode `sign`.")
    issuer: str | None = Field(
        None,
        description="Name or id of the mount's issuer that signs; empty: the Vault role's `issuer_ref`, or the mount's default.",
    )
    sign_role: str = Field("pods", description="Vault role for mode `sign`.")
    issue_role: str = Field("pods-issue", description="Vault role for mode `issue`.")
    roles: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Further Vault roles that pods may choose by annotation, separated by commas."
    )
    policy_file: Path | None = Field(
        None,
        description="The administrator's policy: which namespaces may have which names, roles and lifetimes "
        "([policy.md](policy.md)); read again when it changes. Empty: pods get their own names only.",
    )
    ttl: int | None = Field(None, description="Lifetime of certificates; empty: the Vault role's own default.")
    rotation: Rotation = Field(Rotation.RESTART, description="How a new certificate reaches a running application.")
    renew_before: float = Field(
        1 / 3, gt=0, lt=1, description="Fraction of the lifetime that is left when a certificate is renewed."
    )
    revoke: Annotated[tuple[RevokeWhen, ...], NoDecode] = Field(
        (),
        description="Which certificates are revoked in Vault before their end, separated by commas: `deleted` (their pod is "
        "gone), `rotated` (another one has taken their place, and is in use). `none` or empty: those that somebody asks for "
        "by `podcert revoke` alone ([revocation.md](revocation.md)).",
    )
    max_rolling: int = Field(
        5, ge=1, description="Workloads that may roll at once for their certificates, in the cluster."
    )
    max_rolling_per_namespace: int = Field(2, ge=1, description="The same in one namespace.")
    maintenance_windows: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="When pods may be replaced, as crontab lines separated by `;`, each with a time zone if it is not UTC: "
        "`0 2 * * sat Europe/Berlin`. A certificate near its end is not kept waiting. Empty: at any time.",
    )
    maintenance_window_length: int = Field(3600, description="How long each window is open.")
    cluster_domain: str = Field("cluster.local", description="The cluster's DNS domain.")
    trust_domain: str | None = Field(None, description="SPIFFE trust domain; empty: no SPIFFE identities.")
    ca_refresh: float = Field(
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
    namespaces: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Namespaces to work in, separated by commas; empty: all."
    )

    # The process
    workers: int = Field(
        16, ge=1, le=128, description="Pods worked on at once; also the limit of calls to Vault in flight."
    )
    refusal_retry: float = Field(
        300.0,
        ge=1,
        description="How long a request that Vault has refused is not sent again; a changed pod goes at once.",
    )
    listen: str = Field("0.0.0.0:8080", description="Address of /livez, /readyz and /metrics.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level that is logged."
    )
    log_format: Literal["json", "console"] = Field("json", description="Shape of the log.")
    stop_timeout: float = Field(10.0, description="How long work in hand may take at the end.")

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

    @field_validator("roles", "namespaces", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("revoke", mode="before")
    @classmethod
    def _split_revoke(cls, value: object) -> object:
        return () if value == "none" else cls._split(value)

    @field_validator("maintenance_windows", mode="before")
    @classmethod
    def _split_windows(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(";") if part.strip()) if isinstance(value, str) else value

    @field_validator(
        "ttl",
        "maintenance_window_length",
        "vault_client_timeout",
        "stop_timeout",
        "refusal_retry",
        "ca_refresh",
        mode="before",
    )
    @classmethod
    def _duration(cls, value: object) -> object:
        if value in (None, ""):
            return None
        return parse_duration(value) if isinstance(value, str) else value

    @field_validator("mount", "sign_role", "issue_role", "auth_mount", "auth_role", "roles")
    @classmethod
    def _vault_path(cls, value: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        for part in (value,) if isinstance(value, str) else value or ():
            if not _PATH.fullmatch(part):
                raise ValueError("must be letters, digits, '_' and '-', in parts separated by '/'")
        return value

    @field_validator("issuer")
    @classmethod
    def _issuer(cls, value: str | None) -> str | None:
        return parse_issuer(value) if value else None

    @field_validator("cluster_domain", "trust_domain")
    @classmethod
    def _domain(cls, value: str | None) -> str | None:
        if value is not None and (not _DOMAIN.fullmatch(value) or len(value) > 200):
            raise ValueError("must be a lower-case DNS domain without a dot at its end, such as cluster.local")
        return value

    @field_validator("vault_addr")
    @classmethod
    def _address(cls, value: str) -> str:
        if not re.fullmatch(r"https?://[^\s/]+/?", value):
            raise ValueError(
                "must be http:// or https://, a host and perhaps a port, such as https://vault.vault.svc:8200"
            )
        return value.rstrip("/")

    @field_validator("listen")
    @classmethod
    def _listen(cls, value: str) -> str:
        host, colon, port = value.rpartition(":")
        if not colon or not host or not port.isdecimal() or not 0 <= int(port) <= 65535:
            raise ValueError("must be an address and a port, such as 0.0.0.0:8080 or [::]:8080")
        return value

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


def load(file: Path | None = None, **flags: object) -> Settings:
    """Reads the settings.

    Args:
        file: a YAML file, or None.
        flags: values given on the command line; None means not given.

    Raises:
        SettingsError: with one line per field that is wrong.
    """
    if file is not None and (problem := _file_problem(file)):
        raise SettingsError(f"settings file {file}: {problem}")
    given = {name: value for name, value in flags.items() if value is not None}
    source = type("Settings", (Settings,), {"yaml_path": file, "__doc__": Settings.__doc__})
    try:
        settings = source(**given)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None
    assert isinstance(settings, Settings)  # noqa: S101 - for the type checker
    return settings


def variable(field: str) -> str:
    """The environment variable of a field: `vault_addr` is VAULT_ADDR, `mount` is PODCERT_MOUNT."""
    return field.upper() if field.startswith("vault_") else f"PODCERT_{field.upper()}"


def _file_problem(file: Path) -> str | None:
    """What keeps the file from being read as settings, without any of its values: one of them may be a token."""
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except FileNotFoundError:
        return "there is no such file"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        return f"it is not YAML{f' (line {mark.line + 1})' if mark else ''}; write `key: value` lines"
    if not isinstance(content, dict):
        return None if content is None else "must be a mapping: `key: value` lines"
    known = {*Settings.model_fields, *(variable(name) for name in Settings.model_fields if name.startswith("vault_"))}
    said = []
    for key in sorted(map(str, content.keys() - known)):
        near = get_close_matches(key.lower().removeprefix("podcert_"), known, 1)
        said.append(f"`{shown(key)}` is no setting{f', did you mean {near[0]}?' if near else ''}")
    return f"{'; '.join(said)}; see docs/settings.md" if said else None


def _explain(error: ValidationError) -> str:
    # `input` is left out on purpose: it may be a token. Settings that are no secret are named by their variable.
    lines = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        field = str(item["loc"][0]) if item["loc"] else ""
        name = field if field.isupper() else variable(field) if field else "settings"
        lines.append(f"{name}: {item['msg'].removeprefix('Value error, ')}")
    return "\n".join(lines)
