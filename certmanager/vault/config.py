"""How to reach Vault: pure data, filled by the settings from `VAULT_*` with the meaning these have for the Vault CLI."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class VaultConfig:
    """Everything but the login. Times are seconds. Raises ValueError when a value cannot be meant.

    Attributes:
        address: `VAULT_ADDR`, `https://host:port` (or `http`, for dev servers), optionally with a path before `/v1`.
        ca_file: `VAULT_CACERT`, a PEM file of CAs to trust instead of the system's; read again when it changes.
        ca_path: `VAULT_CAPATH`, a folder of PEM files, used when `ca_file` is not set; read again when one changes.
        skip_verify: `VAULT_SKIP_VERIFY`: no verification of Vault's certificate.
        client_cert, client_key: `VAULT_CLIENT_CERT`, `VAULT_CLIENT_KEY`: PEM files, shown on every connection that Vault
            asks for a certificate on; read again when they change.
        server_name: `VAULT_TLS_SERVER_NAME`: SNI, and the name that Vault's certificate must have.
        namespace: `VAULT_NAMESPACE`.
        read_timeout: `VAULT_CLIENT_TIMEOUT`: for one answer.
        connect_timeout: for one connection.
        calls_at_once: the most calls in flight.
    """

    address: str
    ca_file: str | None = None
    ca_path: str | None = None
    skip_verify: bool = False
    server_name: str | None = None
    namespace: str | None = field(default=None)
    read_timeout: float = 10.0
    connect_timeout: float = 3.0
    calls_at_once: int = 16
    client_cert: str | None = None
    client_key: str | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.address)
        if parts.username is not None or parts.password is not None:
            # The value is not repeated: it holds a password.
            raise ValueError(
                "VAULT_ADDR must not hold a user name or password: Vault logs in by token or JWT; remove it"
            )
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"VAULT_ADDR {self.address!r} is not a URL: write it as https://vault.example.com:8200")
        if (self.client_cert is None) != (self.client_key is None):
            raise ValueError("VAULT_CLIENT_CERT and VAULT_CLIENT_KEY go together: set both, or neither")
        if self.read_timeout <= 0 or self.connect_timeout <= 0:
            raise ValueError(
                f"VAULT_CLIENT_TIMEOUT {self.read_timeout!r} and the connection's {self.connect_timeout!r} must be "
                "more than 0 seconds"
            )
        if not 1 <= self.calls_at_once <= 256:
            raise ValueError(f"calls_at_once {self.calls_at_once!r} must be from 1 to 256")
