"""Vault's API (HashiCorp Vault and OpenBao): transport, login, the shared probe and the PKI mount.

`connect` puts the parts together; nothing else here needs to be known to use them.
"""

from certmanager.vault.config import VaultConfig
from certmanager.vault.connection import Vault, connect
from certmanager.vault.login import Login, TokenFile, TokenValue
from certmanager.vault.login_approle import AppRoleLogin
from certmanager.vault.login_cert import CertLogin
from certmanager.vault.login_jwt import JwtLogin, KubernetesLogin

__all__ = [
    "AppRoleLogin",
    "CertLogin",
    "JwtLogin",
    "KubernetesLogin",
    "Login",
    "TokenFile",
    "TokenValue",
    "Vault",
    "VaultConfig",
    "connect",
]
