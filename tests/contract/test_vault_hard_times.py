"""Vault hangs, breaks connections, drips or answers garbage: everybody is told at once, and one probe asks for all."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
import trustme

from certmanager.domain.errors import NotYet, PodcertError
from certmanager.vault import TokenValue, Vault, VaultConfig, connect
from certmanager.vault.connection import Hooks
from certmanager.vault.errors import Call
from tests.contract.vault_server import ENDLESS, FakeVault, Reply, Seen, fake_vault
from tests.unit.vault.builders import Clock

ASK = Call("POST", "pki/sign/pods", "pki", "pods")
GOOD = Reply(200, {"data": {}})


@dataclass
class Rig:
    server: FakeVault
    client: Vault
    clock: Clock
    recovered: list[bool] = field(default_factory=list)

    def fails(self) -> NotYet:
        with pytest.raises(NotYet) as raised:
            self.client.session.call(ASK)
        return raised.value


@pytest.fixture
def rig() -> Iterator[Rig]:
    with fake_vault() as server:
        server.routes["auth/token/lookup-self"] = ENDLESS
        server.routes["pki/sign/pods"] = GOOD
        clock, recovered = Clock(), list[bool]()
        config = VaultConfig(server.url, read_timeout=0.3, connect_timeout=0.3)
        client = connect(config, TokenValue("good"), Hooks(on_recovered=lambda: recovered.append(True)), clock)
        client.session.call(ASK)
        yield Rig(server, client, clock, recovered)
        client.transport.close()


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(hang=True), "no answer within 0.3 s"),
        (Reply(reset=True), "the connection broke"),
        (Reply(200, {"data": {"x": "y" * 200}}, drip=True), "took more than 0.3 s"),
        (Reply(200, b"x" * (1 << 21)), "larger than 1 MiB"),
        (Reply(200, b"{}", {"Content-Length": "100"}), "no answer within|the connection broke"),
    ],
    ids=["hang", "reset", "drip", "huge", "short"],
)
def test_without_an_answer_vault_counts_as_away_until_the_probe_says_otherwise(
    rig: Rig, reply: Reply, words: str
) -> None:
    rig.server.routes["pki/sign/pods"] = reply
    first = rig.fails()
    assert (first.reason, first.shared) == ("VaultUnreachable", True)
    assert any(word in first.message for word in words.split("|"))
    calls = rig.server.count("pki/sign/pods")
    for _ in range(100):
        assert rig.fails().shared
    assert rig.server.count("pki/sign/pods") == calls
    rig.server.routes["pki/sign/pods"] = GOOD
    rig.client.circuit.step()
    assert rig.recovered == [True]
    rig.client.session.call(ASK)


def test_while_the_probe_fails_too_it_asks_every_three_seconds_and_nobody_else_does(rig: Rig) -> None:
    rig.server.routes |= {"pki/sign/pods": Reply(reset=True), "sys/health": Reply(reset=True)}
    rig.fails()
    before = len(rig.server.seen)
    for _ in range(10):
        rig.client.circuit.step()
        rig.fails()
        rig.client.session.tick()
        rig.clock.now += 1
    assert len(rig.server.seen) - before == rig.server.count("sys/health") == 4
    assert rig.recovered == []


def test_a_sealed_vault_says_sealed_and_serves_again_when_unsealed(rig: Rig) -> None:
    rig.server.routes["pki/sign/pods"] = Reply(503, {"errors": ["Vault is sealed"]})
    rig.server.routes["sys/health"] = Reply(503, {"initialized": True, "sealed": True, "standby": True})
    assert rig.fails().reason == "VaultSealed"
    rig.client.circuit.step()
    assert rig.fails().reason == "VaultSealed"
    rig.server.routes |= {"sys/health": Reply(200, {"sealed": False}), "pki/sign/pods": GOOD}
    rig.clock.now += 3
    rig.client.circuit.step()
    rig.client.session.call(ASK)
    assert rig.recovered == [True]


def test_calls_that_wait_for_a_slot_while_vault_goes_away_do_not_ask_it_any_more(rig: Rig) -> None:
    rig.server.routes["pki/sign/pods"] = Reply(hang=True)

    def ask(_number: int) -> str:
        with pytest.raises(NotYet) as raised:
            rig.client.session.call(ASK)
        return raised.value.reason

    with ThreadPoolExecutor(64) as pool:
        reasons = set(pool.map(ask, range(64)))
    assert reasons == {"VaultUnreachable"}
    assert rig.server.count("pki/sign/pods") <= 1 + 16


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>login</html>", b"[]", b"null", b"{", b"\xff\xfe", b"[" * 5000],
    ids=["nothing", "html", "list", "null", "cut", "binary", "deep"],
)
def test_a_200_that_is_not_json_is_one_requests_trouble(rig: Rig, body: bytes) -> None:
    rig.server.routes["pki/sign/pods"] = Reply(200, body)
    found = rig.fails()
    assert (found.reason, found.shared) == ("VaultAnswerUnreadable", False)
    rig.server.routes["pki/sign/pods"] = GOOD
    rig.client.session.call(ASK)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"data": None},
        {"data": {}},
        {"data": {"certificate": ""}},
        {"data": {"certificate": 5}},
        {"data": {"certificate": "x", "ca_chain": "text"}},
        {"data": {"certificate": "x", "ca_chain": [1]}},
    ],
)
def test_an_answer_that_lacks_a_field_names_it_and_shows_no_content(rig: Rig, body: object) -> None:
    rig.server.routes["pki/sign/pods"] = Reply(200, body)
    with pytest.raises(NotYet) as raised:
        rig.client.pki.sign("pki", "pods", "a CSR", 60)
    assert raised.value.reason == "VaultAnswerUnreadable"
    assert "data" in raised.value.message


def test_a_key_in_an_unusable_answer_does_not_reach_the_error(rig: Rig) -> None:
    rig.server.routes["pki/issue/pods"] = Reply(200, b'{"data": {"private_key": "-----BEGIN secret')
    rig.server.routes["pki/sign/pods"] = Reply(200, {"data": {"private_key": "secret"}})
    with pytest.raises(NotYet) as raised:
        rig.client.pki.sign("pki", "pods", "a CSR", 60)
    error: BaseException | None = raised.value
    while error is not None:
        assert "secret" not in repr(error)
        error = error.__cause__ or error.__context__


def test_a_rate_limit_pauses_everybody_for_as_long_as_vault_asks(rig: Rig) -> None:
    rig.server.routes["pki/sign/pods"] = Reply(429, {"errors": ["quota exceeded"]}, {"Retry-After": "2"})
    found = rig.fails()
    assert (found.reason, found.retry_after, found.shared) == ("VaultBusy", 2.0, True)
    rig.server.routes["pki/sign/pods"] = GOOD
    rig.clock.now += 1.9
    rig.client.circuit.step()
    assert rig.fails().reason == "VaultBusy"
    rig.clock.now += 0.2
    rig.client.circuit.step()
    rig.client.session.call(ASK)


def test_one_mount_without_an_issuer_does_not_stop_the_others(rig: Rig) -> None:
    rig.server.routes["other/sign/pods"] = Reply(500, {"errors": ["no default issuer currently configured"]})
    with pytest.raises(NotYet) as raised:
        rig.client.pki.sign("other", "pods", "a CSR", 60)
    assert (raised.value.reason, raised.value.shared) == ("VaultError", False)
    rig.client.session.call(ASK)


def test_a_redirect_is_not_followed_and_the_token_stays_here(rig: Rig) -> None:
    with fake_vault() as elsewhere:
        rig.server.routes["pki/sign/pods"] = Reply(307, b"", {"Location": elsewhere.url + "/v1/pki/sign/pods"})
        assert rig.fails().reason == "VaultStandby"
        assert elsewhere.seen == []


def test_a_standby_without_an_active_node_is_asked_again_until_there_is_one(rig: Rig) -> None:
    lost = Reply(500, {"errors": ["local node not active but active cluster node not found"]})
    rig.server.routes |= {
        "pki/sign/pods": lost,
        "sys/health": Reply(429, {"initialized": True, "sealed": False, "standby": True}),
        "sys/leader": Reply(200, {"is_self": False, "leader_address": ""}),
    }
    assert rig.fails().reason == "VaultStandby"
    rig.client.circuit.step()
    assert "no node is active" in rig.fails().message
    # The node that we reach stays a standby: it is another one that has become active.
    rig.server.routes |= {"pki/sign/pods": GOOD, "sys/leader": Reply(200, {"leader_address": "https://vault-1:8200"})}
    rig.clock.now += 3
    rig.client.circuit.step()
    rig.client.session.call(ASK)
    assert rig.recovered == [True]


def test_a_node_that_was_sealed_is_left_for_another_behind_the_same_address(rig: Rig) -> None:
    """Sealed by an operator, it keeps its connections; a new one is led to a node that is ready."""
    rig.client.session.call(ASK)
    rig.server.routes["pki/sign/pods"] = Reply(503, {"errors": ["Vault is sealed"]})
    assert rig.fails().reason == "VaultSealed"
    before = rig.server.connections
    rig.client.circuit.step()
    assert rig.server.connections == before + 1
    rig.server.routes["pki/sign/pods"] = GOOD
    rig.client.session.call(ASK)
    assert rig.server.connections == before + 1, "and the calls after the probe go by its connection"


def test_a_connection_that_vault_closed_while_it_was_idle_is_made_anew(rig: Rig) -> None:
    rig.server.routes["pki/sign/pods"] = Reply(200, {"data": {}}, close=True)
    for _ in range(3):
        rig.client.session.call(ASK)
        assert rig.server.closed.acquire(timeout=5)


def test_a_refused_connection_is_told_with_the_address() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        refused = _failure(VaultConfig(f"http://127.0.0.1:{port}"))
    assert refused.reason == "VaultUnreachable"
    assert "refused" in refused.message
    assert f"127.0.0.1:{port}" in refused.message


def test_tls_is_verified_and_the_remedy_names_the_setting(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("tls")
    ca, other = trustme.CA(), trustme.CA()
    ca.cert_pem.write_to_path(str(folder / "ca.pem"))
    other.cert_pem.write_to_path(str(folder / "other.pem"))
    with fake_vault() as server:
        _speak_tls(server, ca.issue_cert("vault.test"))
        server.routes["auth/token/lookup-self"] = ENDLESS
        server.routes["pki/sign/pods"] = GOOD
        url = server.url.replace("http:", "https:")
        good = VaultConfig(url, ca_file=str(folder / "ca.pem"), server_name="vault.test")
        assert _call(good) == {"data": {}}
        assert _call(VaultConfig(url, skip_verify=True)) == {"data": {}}
        wrong_ca = _failure(VaultConfig(url, ca_file=str(folder / "other.pem"), server_name="vault.test"))
        wrong_name = _failure(VaultConfig(url, ca_file=str(folder / "ca.pem")))
    assert "VAULT_CACERT" in wrong_ca.message
    assert "VAULT_TLS_SERVER_NAME" in wrong_name.message


def test_the_heartbeat_finds_a_vault_that_came_back_by_itself() -> None:
    back = threading.Event()
    with fake_vault() as server:
        server.routes["auth/token/lookup-self"] = ENDLESS
        broken = iter([True])

        def once(_seen: Seen) -> Reply:
            return Reply(reset=True) if next(broken, False) else GOOD

        server.routes["pki/sign/pods"] = once
        client = connect(VaultConfig(server.url), TokenValue("good"), Hooks(on_recovered=back.set))
        client.start()
        with pytest.raises(NotYet):
            client.session.call(ASK)
        assert back.wait(10)
        client.session.call(ASK)
        client.stop()


def _speak_tls(server: FakeVault, certificate: trustme.LeafCert) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    server._server.socket = context.wrap_socket(server._server.socket, server_side=True, do_handshake_on_connect=False)


def _call(config: VaultConfig) -> dict[str, object]:
    client = connect(config, TokenValue("good"))
    try:
        return client.session.call(ASK)
    finally:
        client.transport.close()


def _failure(config: VaultConfig) -> PodcertError:
    with pytest.raises(NotYet) as raised:
        _call(config)
    return raised.value
