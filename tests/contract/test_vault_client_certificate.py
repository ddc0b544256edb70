"""The client certificate of the connection: shown, read again when it changes, and told when it cannot be used; redirects."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from certmanager.domain.errors import NotYet
from certmanager.vault import CertLogin, Login, TokenValue, Vault, connect
from certmanager.vault.errors import Call
from tests.contract.vault_server import Reply, Seen, fake_vault
from tests.contract.vault_tls import TlsVault, tls_config, tls_vault, write_client
from tests.unit.vault.builders import Clock

ASK = Call("POST", "pki/sign/pods", "pki", "pods")
AUTHORITY, CLIENTS = trustme.CA(), trustme.CA()
LOOKUP = Reply(200, {"data": {"ttl": 600, "renewable": False}})


@pytest.fixture
def server() -> Iterator[TlsVault]:
    with tls_vault(AUTHORITY, CLIENTS) as found:
        logins = iter(range(1, 100))

        def login(_seen: Seen) -> Reply:
            auth = {"client_token": f"login-{next(logins)}", "lease_duration": 600, "renewable": True}
            return Reply(200, {"auth": auth})

        found.routes |= {
            "auth/cert/login": login,
            "auth/token/lookup-self": LOOKUP,
            "pki/sign/pods": Reply(200, {"data": {}}),
        }
        yield found


@pytest.fixture
def clients() -> Iterator[list[Vault]]:
    made: list[Vault] = []
    yield made
    for client in made:
        client.transport.close()


def client_of(clients: list[Vault], url: str, folder: Path, login: Login | None = None, *, shows: bool = True) -> Vault:
    login = login or CertLogin("cert", "podcert", folder / "cert.pem", folder / "key.pem")
    clients.append(connect(tls_config(url, AUTHORITY, folder, client=shows), login, None, Clock()))
    return clients[-1]


def failure(client: Vault) -> NotYet:
    with pytest.raises(NotYet) as raised:
        client.session.call(ASK)
    return raised.value


def test_the_login_shows_the_certificate_and_names_the_role(
    server: TlsVault, clients: list[Vault], tmp_path: Path
) -> None:
    write_client(tmp_path, CLIENTS)
    client_of(clients, server.url, tmp_path).session.call(ASK)
    assert server.last("auth/cert/login").body == {"name": "podcert"}
    assert server.shown
    assert None not in server.shown


def test_a_renewed_certificate_is_shown_and_logged_in_with_without_a_restart(
    server: TlsVault, clients: list[Vault], tmp_path: Path
) -> None:
    write_client(tmp_path, CLIENTS)
    client = client_of(clients, server.url, tmp_path)
    client.session.call(ASK)
    write_client(tmp_path, CLIENTS)
    client.session.tick()
    client.session.call(ASK)
    assert server.count("auth/cert/login") == 2
    assert server.last("pki/sign/pods").token == "login-2"
    assert len(set(server.shown)) == 2


def test_a_missing_certificate_is_not_yet_and_heals_when_it_appears(
    server: TlsVault, clients: list[Vault], tmp_path: Path
) -> None:
    client = client_of(clients, server.url, tmp_path)
    found = failure(client)
    assert found.reason == "VaultClientCertificateUnusable"
    assert str(tmp_path / "cert.pem") in found.message
    write_client(tmp_path, CLIENTS)
    client.session.call(ASK)


def test_a_key_that_does_not_fit_leaves_the_old_certificate_and_the_old_token_in_use(
    server: TlsVault, clients: list[Vault], tmp_path: Path
) -> None:
    write_client(tmp_path, CLIENTS)
    client = client_of(clients, server.url, tmp_path)
    client.session.call(ASK)
    old = (tmp_path / "key.pem").read_bytes()
    write_client(tmp_path, CLIENTS)
    new = (tmp_path / "key.pem").read_bytes()
    (tmp_path / "key.pem").write_bytes(old)
    client.session.tick()
    client.session.call(ASK)
    assert server.last("pki/sign/pods").token == "login-1"
    assert "does not belong" in str(client.transport.identity_problem)
    assert None not in server.shown
    (tmp_path / "key.pem").write_bytes(new)
    client.session.tick()
    client.session.call(ASK)
    assert server.last("pki/sign/pods").token == "login-2"


def test_a_key_with_a_password_is_told_and_nobody_is_asked_for_it(
    server: TlsVault, clients: list[Vault], tmp_path: Path
) -> None:
    write_client(tmp_path, CLIENTS)
    (tmp_path / "key.pem").write_text(
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGj\n-----END ENCRYPTED PRIVATE KEY-----\n"
    )
    found = failure(client_of(clients, server.url, tmp_path))
    assert "without a password" in found.message
    assert "MIGj" not in found.message


def test_a_refused_certificate_is_told_with_its_name_and_end(
    server: TlsVault, clients: list[Vault], tmp_path: Path
) -> None:
    write_client(tmp_path, CLIENTS)
    words = "invalid certificate or no client certificate supplied"
    server.routes["auth/cert/login"] = Reply(400, {"errors": [words]})
    found = failure(client_of(clients, server.url, tmp_path))
    assert found.reason == "VaultLoginRefused"
    for part in (words, "certificate-manager.podcert.svc", "auth/cert/certs/podcert", ", end "):
        assert part in found.message


def test_a_redirect_to_the_active_node_is_followed_with_the_token(
    server: TlsVault, clients: list[Vault], tmp_path: Path
) -> None:
    with tls_vault(AUTHORITY, CLIENTS) as active:
        active.routes["pki/sign/pods"] = Reply(200, {"data": {"from": "active"}})
        server.routes["pki/sign/pods"] = Reply(307, b"", {"Location": f"{active.url}/v1/pki/sign/pods"})
        client = client_of(clients, server.url, tmp_path, TokenValue("good"), shows=False)
        assert client.session.call(ASK, {"csr": "x"}) == {"data": {"from": "active"}}
        assert (active.last("pki/sign/pods").token, active.last("pki/sign/pods").body) == ("good", {"csr": "x"})
        active.routes["pki/sign/pods"] = Reply(307, b"", {"Location": f"{server.url}/v1/pki/sign/pods"})
        assert failure(client).reason == "VaultStandby"


@pytest.mark.parametrize("change", ["downgrade", "path", "user", "stranger"])
def test_a_redirect_elsewhere_is_not_followed_and_the_token_stays_here(
    server: TlsVault, clients: list[Vault], tmp_path: Path, change: str
) -> None:
    with fake_vault() as plain, tls_vault(AUTHORITY, CLIENTS) as other, tls_vault(trustme.CA(), CLIENTS) as stranger:
        locations = {
            "downgrade": f"{plain.url}/v1/pki/sign/pods",
            "path": f"{other.url}/v1/sys/wrapping/wrap",
            "user": f"{other.url}/v1/pki/sign/pods".replace("https://", "https://user@"),
            "stranger": f"{stranger.url}/v1/pki/sign/pods",
        }
        server.routes["pki/sign/pods"] = Reply(307, b"", {"Location": locations[change]})
        client = client_of(clients, server.url, tmp_path, TokenValue("good"), shows=False)
        assert failure(client).reason == ("VaultUnreachable" if change == "stranger" else "VaultStandby")
        assert plain.seen == other.seen == stranger.seen == []


def test_files_that_do_not_change_cost_no_new_connection(
    server: TlsVault, clients: list[Vault], tmp_path: Path
) -> None:
    write_client(tmp_path, CLIENTS)
    client = client_of(clients, server.url, tmp_path)
    for _ in range(5):
        client.transport.refresh()
        client.session.call(ASK)
    assert len(server.shown) == 1
    os.utime(tmp_path / "cert.pem", ns=(1, 1))
    client.transport.refresh()
    client.session.call(ASK)
    assert len(server.shown) == 2
