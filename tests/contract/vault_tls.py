"""A fake Vault that speaks TLS and asks for a client certificate: what a plain socket cannot show of logins and redirects."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path

import trustme

from certmanager.vault.config import VaultConfig
from tests.contract.vault_server import FakeVault


class TlsVault(FakeVault):
    """At https://127.0.0.1, with a certificate of `authority`; client certificates of `clients` are asked for.

    `shown` holds the serial (hex) of each connection's client certificate, None for one without.
    """

    def __init__(self, authority: trustme.CA, clients: trustme.CA) -> None:
        super().__init__()
        self.shown: list[str | None] = []
        self._clients = clients
        self.serve(authority)
        self._accept = self._server.get_request
        self._server.get_request = self._get_request  # type: ignore[method-assign]

    @property
    def url(self) -> str:
        return super().url.replace("http://", "https://")

    def serve(self, authority: trustme.CA) -> None:
        """Shows a new certificate of this CA on connections from now on, as Vault does after a SIGHUP."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        self._clients.configure_trust(context)
        context.verify_mode = ssl.CERT_OPTIONAL
        self._context = context

    def _get_request(self) -> tuple[ssl.SSLSocket, object]:
        plain, address = self._accept()
        try:
            found = self._context.wrap_socket(plain, server_side=True)
        except OSError:
            plain.close()
            raise
        certificate = found.getpeercert()
        self.shown.append(str(certificate["serialNumber"]) if certificate else None)
        return found, address


@contextlib.contextmanager
def tls_vault(authority: trustme.CA, clients: trustme.CA) -> Iterator[TlsVault]:
    server = TlsVault(authority, clients)
    try:
        yield server
    finally:
        server.stop()


def write_client(folder: Path, clients: trustme.CA, name: str = "certificate-manager.podcert.svc") -> None:
    """A new client certificate as `cert.pem` and `key.pem`."""
    made = clients.issue_cert(name, common_name=name)
    (folder / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    (folder / "key.pem").write_bytes(made.private_key_pem.bytes())


def tls_config(url: str, authority: trustme.CA, folder: Path, *, client: bool = True) -> VaultConfig:
    """Trusts `authority`; shows the client certificate of `folder`."""
    ca = folder / "vault-ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    if not client:
        return VaultConfig(url, ca_file=str(ca))
    return VaultConfig(url, ca_file=str(ca), client_cert=str(folder / "cert.pem"), client_key=str(folder / "key.pem"))
