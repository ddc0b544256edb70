"""Vault's API (HashiCorp Vault and OpenBao): transport, login, the shared probe and the PKI mount.

`connect` puts the parts together; nothing else here needs to be known to use them.
"""

from certmanager.vault.config import VaultConfig
from certmanager.vault.connection import Vault, connect
from certmanager.vault.login import KubernetesLogin, Login, TokenFile, TokenValue

__all__ = ["KubernetesLogin", "Login", "TokenFile", "TokenValue", "Vault", "VaultConfig", "connect"]
