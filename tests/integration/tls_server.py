"""An OpenBao that listens on https too, as a login by certificate needs it: with a CA of this test's own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme

from tests.cluster import addresses
from tests.cluster.openbao import PORTS, DevServer, dev_server

LISTENER = 'listener "tcp" {{\n address = "127.0.0.1:{port}"\n tls_cert_file = "{cert}"\n tls_key_file = "{key}"\n}}\n'


@dataclass(frozen=True)
class TlsServer:
    """A development server on http (`server.url`) and on https (`url`, with a certificate of `ca_file`'s CA)."""

    server: DevServer
    url: str
    ca_file: Path


@contextlib.contextmanager
def tls_server(folder: Path) -> Iterator[TlsServer]:
    """For the length of a `with` block; its files are in `folder`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "vault-ca.pem"))
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(str(folder / "vault-key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(folder / "vault-cert.pem"))
    claim = addresses.claim_port(PORTS)
    config = folder / "listener.hcl"
    files = {"cert": folder / "vault-cert.pem", "key": folder / "vault-key.pem"}
    config.write_text(LISTENER.format(port=claim.number, **files))
    try:
        with dev_server(f"-config={config}") as server:
            yield TlsServer(server, f"https://127.0.0.1:{claim.number}", folder / "vault-ca.pem")
    finally:
        os.close(claim.lock)
