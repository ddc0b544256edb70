"""The life of the token: one login for all, renewed before it ends, repeated when Vault refuses it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from certmanager.domain.errors import NotYet, PodcertError, Refused
from certmanager.vault import KubernetesLogin, TokenFile, TokenValue, Vault, VaultConfig, connect
from certmanager.vault.connection import Hooks
from certmanager.vault.errors import Call
from certmanager.vault.session import LOGIN_PAUSE_SECONDS, REFUSED_SECONDS
from tests.contract.vault_rig import VaultRig
from tests.contract.vault_server import FakeVault, Reply, Seen, fake_vault

ASK = Call("POST", "pki/sign/pods", "pki", "pods")
DENIED = Reply(403, {"errors": ["permission denied"]})


class Rig(VaultRig):
    """A Vault that knows a set of tokens, and a client with a clock of its own."""

    def __init__(self, server: FakeVault) -> None:
        super().__init__(server, Hooks(on_recovered=self.recover))
        self.valid: dict[str, float] = {"good": 3600.0}
        self.renewable = True
        self.renewed_ttl: float | None = None
        self.logins = 0
        self.recovered = 0
        server.routes |= {
            "auth/token/lookup-self": self.lookup,
            "auth/token/renew-self": self.renew,
            "auth/kubernetes/login": self.login,
            "pki/sign/pods": lambda seen: Reply(200, {"data": {}}) if seen.token in self.valid else DENIED,
        }

    def lookup(self, seen: Seen) -> Reply:
        if seen.token not in self.valid:
            return DENIED
        return Reply(200, {"data": {"ttl": self.valid[seen.token or ""], "renewable": self.renewable}})

    def renew(self, seen: Seen) -> Reply:
        if seen.token not in self.valid:
            return DENIED
        if not self.renewable:
            return Reply(400, {"errors": ["lease is not renewable"]})
        ttl = self.valid[seen.token or ""] if self.renewed_ttl is None else self.renewed_ttl
        return Reply(200, {"auth": {"client_token": seen.token, "lease_duration": ttl, "renewable": True}})

    def login(self, _seen: Seen) -> Reply:
        self.logins += 1
        self.valid = {f"login-{self.logins}": 600.0}
        auth = {"client_token": f"login-{self.logins}", "lease_duration": 600, "renewable": self.renewable}
        return Reply(200, {"auth": auth})

    def recover(self) -> None:
        self.recovered += 1

    def reason(self, client: Vault) -> str:
        with pytest.raises(PodcertError) as raised:
            client.session.call(ASK)
        return raised.value.reason


@pytest.fixture
def rig() -> Iterator[Rig]:
    with fake_vault() as server, contextlib.closing(Rig(server)) as found:
        yield found


@pytest.fixture
def jwt(tmp_path: Path) -> Path:
    path = tmp_path / "jwt"
    path.write_text("header.payload.signature")
    return path


def test_many_workers_at_once_make_one_login(rig: Rig, jwt: Path) -> None:
    client = rig.connect(KubernetesLogin("kubernetes", "podcert", jwt))
    with ThreadPoolExecutor(24) as pool:
        list(pool.map(lambda _: client.session.call(ASK), range(96)))
    assert rig.logins == 1


def test_no_more_calls_are_in_flight_than_the_setting_says(rig: Rig) -> None:
    lock, now, most = threading.Lock(), [0], [0]
    gate = threading.Barrier(4, timeout=10)

    def slow(_seen: Seen) -> Reply:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        gate.wait()
        with lock:
            now[0] -= 1
        return Reply(200, {"data": {}})

    rig.server.routes["pki/sign/pods"] = slow
    client = connect(VaultConfig(rig.server.url, calls_at_once=4), TokenValue("good"), None, rig.clock)
    rig.clients.append(client)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: client.session.call(ASK), range(32)))
    assert most == [4]


def test_a_token_is_renewed_at_two_thirds_of_its_life_and_not_before(rig: Rig) -> None:
    client = rig.connect(TokenValue("good"))
    client.session.tick()
    rig.clock.now += 2399
    client.session.tick()
    client.session.call(ASK)
    assert rig.server.count("auth/token/renew-self") == 0
    rig.clock.now += 1
    client.session.call(ASK)
    assert rig.server.count("auth/token/renew-self") == 1
    client.session.tick()
    assert rig.server.count("auth/token/renew-self") == 1


def test_a_tick_renews_without_any_call(rig: Rig) -> None:
    client = rig.connect(TokenValue("good"))
    client.session.tick()
    client.session.tick(rig.clock.now + 2400)
    assert rig.server.count("auth/token/renew-self") == 1


def test_a_token_that_lives_for_ever_is_never_renewed(rig: Rig) -> None:
    rig.valid = {"root": 0.0}
    client = rig.connect(TokenValue("root"))
    for _ in range(5):
        client.session.tick()
        rig.clock.now += 1e6
    assert rig.server.count("auth/token/renew-self") == 0


def test_a_very_short_token_is_renewed_at_most_once_a_second(rig: Rig) -> None:
    rig.valid = {"good": 0.01}
    client = rig.connect(TokenValue("good"))
    for _ in range(100):
        client.session.tick()
        rig.clock.now += 0.1
    assert rig.server.count("auth/token/renew-self") <= 10


def test_a_login_that_may_not_be_renewed_is_replaced_before_it_ends(rig: Rig, jwt: Path) -> None:
    rig.renewable = False
    client = rig.connect(KubernetesLogin("kubernetes", "podcert", jwt))
    client.session.tick()
    rig.clock.now += 400
    client.session.tick()
    assert (rig.logins, rig.server.count("auth/token/renew-self")) == (2, 0)
    client.session.call(ASK)


def test_a_login_whose_renewals_shrink_is_replaced(rig: Rig, jwt: Path) -> None:
    client = rig.connect(KubernetesLogin("kubernetes", "podcert", jwt))
    client.session.tick()
    rig.renewed_ttl = 200.0
    rig.clock.now += 400
    client.session.tick()
    assert rig.logins == 2


def test_a_fixed_token_that_may_not_be_renewed_serves_until_it_is_refused(rig: Rig) -> None:
    rig.renewable = False
    client = rig.connect(TokenValue("good"))
    for _ in range(5):
        client.session.tick()
        rig.clock.now += 1000
    client.session.call(ASK)
    assert rig.server.count("auth/token/renew-self") == 0


def test_a_revoked_login_is_repeated_once_and_the_call_goes_through(rig: Rig, jwt: Path) -> None:
    client = rig.connect(KubernetesLogin("kubernetes", "podcert", jwt))
    client.session.call(ASK)
    rig.valid = {}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: client.session.call(ASK), range(32)))
    assert rig.logins == 2


def test_a_policy_that_forbids_is_a_refusal_with_path_and_remedy_and_no_new_login(rig: Rig, jwt: Path) -> None:
    client = rig.connect(KubernetesLogin("kubernetes", "podcert", jwt))
    rig.server.routes["pki/sign/pods"] = DENIED
    for _ in range(50):
        with pytest.raises(Refused) as raised:
            client.session.call(ASK)
    assert raised.value.reason == "VaultPolicyForbids"
    assert 'path "pki/sign/pods"' in raised.value.message
    assert (rig.logins, rig.server.count("auth/token/lookup-self")) == (1, 1)


def test_a_refused_token_file_is_named_and_tried_again_when_it_changes(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "vault-token"
    path.write_text("bad\n")
    client = rig.connect(TokenFile(path))
    assert rig.reason(client) == "VaultTokenRefused"
    assert str(path) in _problem(client)
    before = len(rig.server.seen)
    for _ in range(20):
        assert rig.reason(client) == "VaultTokenRefused"
    assert len(rig.server.seen) == before
    path.write_text("good\n")
    client.session.tick()
    assert rig.recovered == 1
    assert _problem(client) == ""
    client.session.call(ASK)


def _problem(client: Vault) -> str:
    found = client.session.problem
    return "" if found is None else found.message


def test_a_missing_token_file_is_not_yet_and_heals_when_it_appears(rig: Rig, tmp_path: Path) -> None:
    client = rig.connect(TokenFile(tmp_path / "vault-token"))
    client.session.tick()
    assert rig.reason(client) == "VaultTokenMissing"
    (tmp_path / "vault-token").write_text("good")
    client.session.call(ASK)
    assert rig.recovered == 1


@pytest.mark.parametrize("text", ["", "\n", "two tokens", "line\nline", "tök", "x" * 70000])
def test_a_token_file_that_holds_something_else_is_told_without_its_content(
    rig: Rig, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "vault-token"
    path.write_text(text)
    client = rig.connect(TokenFile(path))
    with pytest.raises(NotYet) as raised:
        client.session.call(ASK)
    assert raised.value.reason == "VaultTokenMissing"
    assert raised.value.shared
    assert not text.strip() or text.strip() not in raised.value.message
    assert rig.server.seen == []


def test_a_token_file_that_is_replaced_while_the_old_token_lives_is_taken_up(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "vault-token"
    path.write_text("good")
    client = rig.connect(TokenFile(path))
    client.session.call(ASK)
    rig.valid["newer"] = 3600.0
    path.write_text("newer")
    client.session.tick()
    client.session.call(ASK)
    assert rig.server.last("pki/sign/pods").token == "newer"
    assert rig.recovered == 1  # what the old token was not allowed may be allowed now


def test_a_token_file_that_is_replaced_by_a_bad_one_leaves_the_old_token_in_use(rig: Rig, tmp_path: Path) -> None:
    path = tmp_path / "vault-token"
    path.write_text("good")
    client = rig.connect(TokenFile(path))
    client.session.call(ASK)
    path.write_text("")
    client.session.tick()
    client.session.call(ASK)
    assert _problem(client) == ""
    rig.valid = {}
    assert rig.reason(client) == "VaultTokenMissing"


def test_a_refused_token_is_shown_again_after_a_minute_for_vault_may_know_it_again(rig: Rig) -> None:
    rig.valid = {}
    client = rig.connect(TokenValue("good"))
    rig.valid = {"good": 3600.0}
    client.session.call(ASK)
    rig.valid = {}
    assert rig.reason(client) == "VaultTokenRefused"
    rig.valid = {"good": 3600.0}
    rig.clock.now += LOGIN_PAUSE_SECONDS
    assert rig.reason(client) == "VaultTokenRefused"
    rig.clock.now += REFUSED_SECONDS
    client.session.call(ASK)


def test_a_refused_login_is_tried_once_in_five_seconds_however_many_ask(rig: Rig, jwt: Path) -> None:
    rig.server.routes["auth/kubernetes/login"] = Reply(403, {"errors": ["permission denied"]})
    client = rig.connect(KubernetesLogin("kubernetes", "podcert", jwt))
    for _ in range(30):
        assert rig.reason(client) == "VaultLoginRefused"
    assert rig.server.count("auth/kubernetes/login") == 1
    rig.server.routes["auth/kubernetes/login"] = rig.login
    rig.clock.now += LOGIN_PAUSE_SECONDS
    client.session.tick()
    assert rig.recovered == 1
    client.session.call(ASK)


def test_nothing_shows_the_token(rig: Rig, jwt: Path) -> None:
    client = rig.connect(TokenValue("good"))
    client.session.call(ASK)
    shown = " ".join(map(repr, (client, client.session, client.session._token, TokenValue("good"))))
    assert "'good'" not in shown
    assert "header.payload" not in repr(KubernetesLogin("kubernetes", "podcert", jwt))
