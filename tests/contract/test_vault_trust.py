"""The CAs that Vault's own certificate is judged by: read again when they change, the old ones kept while the new cannot be."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme

from certmanager.domain.errors import NotYet
from certmanager.vault import TokenValue, Vault, VaultConfig, connect
from certmanager.vault.errors import Call
from certmanager.vault.tls import Credentials
from tests.contract.vault_server import Reply
from tests.contract.vault_tls import TlsVault, tls_config, tls_vault, write_client
from tests.unit.vault.builders import Clock

ASK = Call("POST", "pki/sign/pods", "pki", "pods")
OLD, NEW, CLIENTS = trustme.CA(), trustme.CA(), trustme.CA()
FOLDER = "cas"


@pytest.fixture
def server() -> Iterator[TlsVault]:
    with tls_vault(OLD, CLIENTS) as found:
        # Each answer ends its connection: every call sees the certificate that is served now.
        found.routes["pki/sign/pods"] = Reply(200, {"data": {}}, {"Connection": "close"})
        found.routes["auth/token/lookup-self"] = Reply(200, {"data": {"ttl": 600, "renewable": False}})
        yield found


@pytest.fixture
def connected(server: TlsVault, tmp_path: Path) -> Iterator[Callable[..., Vault]]:
    made: list[Vault] = []

    def connected(**settings: str) -> Vault:
        made.append(connect(VaultConfig(server.url, **settings), TokenValue("good"), None, Clock()))  # type: ignore[arg-type]
        return made[-1]

    write(tmp_path, OLD)
    yield connected
    for client in made:
        client.transport.close()


def write(folder: Path, *authorities: trustme.CA) -> str:
    """`ca.pem` with these, put in its place in one step, as the kubelet does; returns its path."""
    (folder / "ca.new").write_bytes(b"".join(one.cert_pem.bytes() for one in authorities))
    (folder / "ca.new").rename(folder / "ca.pem")
    return str(folder / "ca.pem")


def distrusted(client: Vault) -> str:
    with pytest.raises(NotYet) as raised:
        client.transport.request(ASK, "good")
    assert raised.value.reason == "VaultUnreachable"
    return raised.value.message


def test_trust_in_old_and_new_lets_vaults_certificate_change_under_calls_without_a_failed_one(
    server: TlsVault, connected: Callable[..., Vault], tmp_path: Path
) -> None:
    client = connected(ca_file=str(tmp_path / "ca.pem"))

    def change(to: trustme.CA) -> int:
        """Calls from eight threads, in whose midst the certificate changes; returns how many went through."""
        with ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(client.session.call, ASK) for _ in range(20)]
            server.serve(to)
            calls += [pool.submit(client.session.call, ASK) for _ in range(20)]
            return sum(call.result() == {"data": {}} for call in calls)

    write(tmp_path, OLD, NEW)
    client.transport.refresh()
    assert change(NEW) == 40
    write(tmp_path, NEW)
    client.transport.refresh()
    assert change(NEW) == 40
    server.serve(OLD)
    assert "its certificate is not trusted (" in distrusted(client)


def test_a_call_that_meets_a_ca_too_new_is_not_yet_and_goes_through_when_the_file_has_it(
    server: TlsVault, connected: Callable[..., Vault], tmp_path: Path
) -> None:
    client = connected(ca_file=str(tmp_path / "ca.pem"))
    client.session.call(ASK)
    server.serve(NEW)
    with pytest.raises(NotYet) as raised:
        client.session.call(ASK)
    assert (raised.value.reason, raised.value.shared) == ("VaultUnreachable", True)
    write(tmp_path, OLD, NEW)
    client.heartbeat.round()  # what the circuit's opening has woken: the files first, then the probe
    assert client.session.call(ASK) == {"data": {}}


def test_a_file_more_in_the_folder_is_trusted_and_one_less_is_not(
    server: TlsVault, connected: Callable[..., Vault], tmp_path: Path
) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir()
    (folder / "old.pem").write_bytes(OLD.cert_pem.bytes())
    client = connected(ca_path=str(folder))
    client.session.call(ASK)
    server.serve(NEW)
    (folder / "new.pem").write_bytes(NEW.cert_pem.bytes())
    client.transport.refresh()
    client.transport.request(ASK, "good")
    (folder / "old.pem").unlink()
    client.transport.refresh()
    client.transport.request(ASK, "good")
    server.serve(OLD)
    distrusted(client)


@pytest.mark.parametrize("broken", [b"", b"nonsense\n", None], ids=["empty", "nonsense", "gone"])
def test_a_file_that_cannot_be_used_leaves_the_old_cas_in_use_and_is_told_where_it_matters(
    server: TlsVault, connected: Callable[..., Vault], tmp_path: Path, broken: bytes | None
) -> None:
    file = tmp_path / "ca.pem"
    client = connected(ca_file=str(file))
    if broken is None:
        file.unlink()
    else:
        file.write_bytes(broken)
    client.transport.refresh()
    client.session.call(ASK)
    server.serve(NEW)
    said = distrusted(client)
    assert f"the CAs in use are the earlier ones: VAULT_CACERT '{file}' cannot be used" in said
    write(tmp_path, NEW)
    client.transport.refresh()
    client.transport.request(ASK, "good")


def test_a_client_certificate_that_does_not_fit_is_no_reason_to_distrust(server: TlsVault, tmp_path: Path) -> None:
    write_client(tmp_path, CLIENTS)
    client = connect(tls_config(server.url, OLD, tmp_path), TokenValue("good"), None, Clock())
    (tmp_path / "key.pem").write_bytes(b"nonsense")
    client.transport.refresh()
    client.session.call(ASK)
    assert client.transport.identity_problem is not None
    assert None not in server.shown
    client.transport.close()


def test_files_that_do_not_change_are_not_read_again(tmp_path: Path) -> None:
    credentials = Credentials(VaultConfig("https://127.0.0.1", ca_file=write(tmp_path, OLD)))
    first = credentials.context
    assert [credentials.refresh() for _ in range(3)] == [False] * 3
    assert credentials.context is first
    write(tmp_path, OLD, NEW)
    assert credentials.refresh()
    assert len(trusted(credentials.context)) == 2


def test_without_verification_no_file_counts(tmp_path: Path) -> None:
    config = VaultConfig("https://127.0.0.1", ca_file=write(tmp_path, OLD), skip_verify=True)
    credentials = Credentials(config)
    (tmp_path / "ca.pem").unlink()
    assert not credentials.refresh()
    assert credentials.trust_problem is None


def trusted(context: ssl.SSLContext) -> list[object]:
    return list(context.get_ca_certs())
