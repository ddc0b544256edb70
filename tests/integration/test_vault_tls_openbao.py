"""Vault's own certificate on a real OpenBao: seed, then one that it issued itself, then the next; SIGHUP brings each in.

The files are put in their place by hand here: tests/e2e/test_vault_tls.py has the whole, with a sidecar that does it.
"""

from __future__ import annotations

import http.client
import os
import signal
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography import x509

from certmanager.console import Console
from certmanager.domain.model import Names
from certmanager.servers.throwaway import Options, main
from certmanager.vault import TokenValue, Vault, VaultConfig, connect
from certmanager.x509.maker import X509KeyMaker
from tests.cluster import addresses
from tests.cluster.openbao import PORTS, DevServer, dev_server
from tests.integration.world import SIGN_ROLE, eventually
from tests.unit.domain.builders import request

pytestmark = pytest.mark.cluster

NAME = "vault.vault.svc.cluster.local"
REQUEST = request(ttl=600, names=Names(dns=(NAME,), common_name=NAME))
REFUSED = "Error(s) were encountered during reload"
MAKER = X509KeyMaker()
LISTENER = """
listener "tcp" {{
  address       = "127.0.0.1:{port}"
  tls_cert_file = "{tls}/tls.crt"
  tls_key_file  = "{tls}/tls.key"
}}
"""


@dataclass
class Https:
    """OpenBao on https, its certificate and key in `folder`/tls, what clients trust in `folder`/ca.pem."""

    server: DevServer
    port: int
    folder: Path
    root: str = field(default="", repr=False)

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    def connect(self) -> http.client.HTTPSConnection:
        """A new connection, its chain verified; the name is the other tests' business, as 127.0.0.1 is in the seed only."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.check_hostname = False
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=context)
        connection.connect()
        return connection

    def serial(self) -> int:
        """Of the certificate that a new connection is shown."""
        connection = self.connect()
        shown = connection.sock.getpeercert(binary_form=True)
        connection.close()
        assert shown
        return x509.load_der_x509_certificate(shown).serial_number

    def replace(self, certificate: str, key: str) -> int:
        """New files, and the signal; returns when they are shown."""
        for name, content in (("tls.crt", certificate), ("tls.key", key)):
            (self.folder / "tls" / name).write_text(content)
        wanted = x509.load_pem_x509_certificate(certificate.encode()).serial_number
        self.server.sandbox.signal("openbao", signal.SIGHUP)
        eventually(lambda: self.serial() == wanted, 20, "the new certificate is shown")
        return wanted

    def own(self, vault: Vault) -> tuple[str, str]:
        """Certificate and key that this very server has signed."""
        key, csr = MAKER.request(REQUEST)
        signed = vault.pki.sign("pki", "pods", csr, 600)
        return "\n".join((signed.certificate, *signed.chain)), key


@pytest.fixture(scope="module")
def https(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Https]:
    folder = tmp_path_factory.mktemp("https")
    seed = Options(folder / "tls", ttl="1h")
    assert main(seed, Console(lambda _: None, lambda _: None, {}, folder)) == 0
    claim = addresses.claim_port(PORTS)
    (folder / "listener.hcl").write_text(LISTENER.format(port=claim.number, tls=folder / "tls"))
    try:
        with dev_server(f"-config={folder / 'listener.hcl'}") as server:
            made = Https(server, claim.number, folder)
            server.call("POST", "sys/mounts/pki", {"type": "pki", "config": {"max_lease_ttl": "8760h"}})
            root = server.call("POST", "pki/root/generate/internal", {"common_name": "root", "key_type": "ec"})[1]
            server.call("POST", "pki/roles/pods", {**SIGN_ROLE, "key_type": "any"})
            made.ca_file.write_text((folder / "tls" / "ca.crt").read_text() + root["data"]["certificate"] + "\n")
            yield made
    finally:
        os.close(claim.lock)


@pytest.fixture
def vault(https: Https) -> Iterator[Vault]:
    """As the manager has it: through the Service's name, with the file of both CAs."""
    config = VaultConfig(f"https://127.0.0.1:{https.port}", ca_file=str(https.ca_file), server_name=NAME)
    found = connect(config, TokenValue(https.server.root_token))
    found.start()
    yield found
    found.stop()


def test_a_signal_brings_the_new_certificate_in_and_a_connection_that_is_open_stays(https: Https, vault: Vault) -> None:
    before = https.serial()
    connection = https.connect()
    socket = connection.sock
    assert https.replace(*https.own(vault)) != before
    connection.request("GET", "/v1/sys/health")
    assert connection.getresponse().status == 200
    assert connection.sock is socket
    connection.close()


def test_a_key_that_does_not_fit_leaves_the_old_certificate_in_use(https: Https, vault: Vault) -> None:
    before = https.replace(*https.own(vault))
    (https.folder / "tls" / "tls.key").write_text(https.own(vault)[1])
    said = https.server.log.read_text().count(REFUSED)
    https.server.sandbox.signal("openbao", signal.SIGHUP)
    eventually(lambda: https.server.log.read_text().count(REFUSED) > said)
    assert https.serial() == before
    https.replace(*https.own(vault))


def test_it_is_replaced_twice_while_certificates_are_issued_and_no_call_fails(https: Https, vault: Vault) -> None:
    """Pooled connections and new ones: every call of the one kind and every handshake of the other succeeds."""
    done = threading.Event()
    shown: set[int] = set()
    served: set[int] = set()

    def sign() -> int:
        count = 0
        while not done.is_set():
            assert https.own(vault)
            count += 1
        return count

    def handshake() -> None:
        while not done.is_set():
            shown.add(https.serial())
            done.wait(0.02)

    with ThreadPoolExecutor(6) as pool:
        signers = [pool.submit(sign) for _ in range(4)]
        others = [pool.submit(handshake) for _ in range(2)]
        try:
            for _ in range(2):
                served.add(https.replace(*https.own(vault)))
                eventually(lambda: served <= shown, 20, "those who connect all the time have met it")
        finally:
            done.set()
        assert [each.result() for each in others] == [None, None]
        assert min(each.result() for each in signers) > 0


def test_who_trusts_the_thrown_away_ca_alone_meets_vaults_own_certificate_with_a_clear_message_and_then_with_none(
    https: Https,
) -> None:
    both = https.ca_file.read_text()
    narrow = https.folder / "narrow.pem"
    narrow.write_text((https.folder / "tls" / "ca.crt").read_text())
    config = VaultConfig(f"https://127.0.0.1:{https.port}", ca_file=str(narrow), server_name=NAME)
    client = connect(config, TokenValue(https.server.root_token))
    client.start()
    try:
        with ThreadPoolExecutor(1) as pool:
            waiting: Future[object] = pool.submit(client.pki.sign, "pki", "pods", MAKER.request(REQUEST)[1], 600)
            error = waiting.exception()
        assert "its certificate is not trusted" in str(error)
        narrow.write_text(both)
        eventually(lambda: client.circuit.error is None, 20, "the heartbeat reads the file again")
        assert client.pki.sign("pki", "pods", MAKER.request(REQUEST)[1], 600).certificate
    finally:
        client.stop()
