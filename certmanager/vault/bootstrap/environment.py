"""The administrator's side of `VAULT_*`, read as the Vault CLI reads it: bootstrap is run where `vault` would be.

The manager's own settings are another matter (certmanager.settings): they have a file, a login and no `~/.vault-token`.
Source: https://developer.hashicorp.com/vault/docs/commands#configure-environment-variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from certmanager.domain.names import parse_duration
from certmanager.domain.problems import RuleError, shown
from certmanager.vault.config import VaultConfig

_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"", "0", "f", "F", "FALSE", "false", "False"})


def vault_config(environment: Mapping[str, str]) -> VaultConfig:
    """How to reach Vault. Raises ValueError with the variable, its value, the rule and what to do."""
    skip = environment.get("VAULT_SKIP_VERIFY", "")
    if skip not in _TRUE | _FALSE:
        raise ValueError(f'VAULT_SKIP_VERIFY="{shown(skip)}": must be true or false; change the variable')
    return VaultConfig(
        address=(environment.get("VAULT_ADDR") or "https://127.0.0.1:8200").rstrip("/"),
        ca_file=environment.get("VAULT_CACERT") or None,
        ca_path=environment.get("VAULT_CAPATH") or None,
        skip_verify=skip in _TRUE,
        server_name=environment.get("VAULT_TLS_SERVER_NAME") or None,
        namespace=environment.get("VAULT_NAMESPACE") or None,
        read_timeout=_timeout(environment.get("VAULT_CLIENT_TIMEOUT") or "60s"),
        calls_at_once=1,
    )


def admin_token(environment: Mapping[str, str], home: Path) -> tuple[str, str]:
    """The token and where it came from: `VAULT_TOKEN`, else `~/.vault-token`. Raises ValueError without the value."""
    token = environment.get("VAULT_TOKEN", "").strip()
    source = "VAULT_TOKEN"
    if not token:
        file = home / ".vault-token"
        source = str(file)
        try:
            token = file.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            token = ""
        except (OSError, ValueError):
            raise ValueError(f"{file}: cannot be read as a token; log in again (`vault login`)") from None
    if not token:
        raise ValueError(
            f"there is no Vault token: set VAULT_TOKEN, or log in (`vault login` writes {home / '.vault-token'})"
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError(f"{source}: must hold one token and nothing else; log in again (`vault login`)")
    return token, source


def _timeout(text: str) -> float:
    try:
        return float(parse_duration(text))
    except RuleError as error:
        problem = error.rule
    raise ValueError(f'VAULT_CLIENT_TIMEOUT="{shown(text)}": {problem}; change the variable')
