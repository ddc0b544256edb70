"""AppRole and JWT: what each sends, what each says when Vault refuses, and that each heals without a restart."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from certmanager.domain.errors import NotYet
from certmanager.vault import AppRoleLogin, JwtLogin, KubernetesLogin, TokenValue, Vault
from certmanager.vault.errors import Answer, Call
from certmanager.vault.session import LOGIN_PAUSE_SECONDS, REFUSED_SECONDS
from tests.contract.vault_rig import VaultRig
from tests.contract.vault_server import SERVERS, FakeVault, Reply, Seen, fake_vault, recorded

ASK = Call("POST", "pki/sign/pods", "pki", "pods")
ORIGIN = "auth/approle/role/podcert/secret-id"
AUTH = {"client_token": "made-by-login", "lease_duration": 600, "renewable": True}


class Rig(VaultRig):
    """A Vault that accepts one secret-id and any JWT; wrapping tokens are good for one use."""

    def __init__(self, server: FakeVault) -> None:
        super().__init__(server)
        self.secret_id = "good-secret-id"
        self.wrapped = {"wrap-1": "good-secret-id"}
        self.origin = ORIGIN
        server.routes |= {
            "auth/approle/login": self.approle,
            "auth/jwt/login": Reply(200, {"auth": AUTH}),
            "auth/token/revoke-self": Reply(204, b""),
            "sys/wrapping/lookup": self.lookup,
            "sys/wrapping/unwrap": self.unwrap,
            "pki/sign/pods": self.sign,
            "auth/token/lookup-self": self.token,
        }
        self.lost = False

    def sign(self, seen: Seen) -> Reply:
        known = seen.token == "made-by-login" and not self.lost
        return Reply(200, {"data": {}}) if known else Reply(403, {"errors": ["permission denied"]})

    def token(self, seen: Seen) -> Reply:
        return Reply(403, {"errors": ["permission denied"]}) if self.lost else Reply(200, {"data": {"ttl": 600}})

    def approle(self, seen: Seen) -> Reply:
        if seen.body != {"role_id": "the-role", "secret_id": self.secret_id}:
            return recorded(SERVERS[0], "approle-login-used")
        self.lost = False
        return Reply(200, {"auth": AUTH})

    def lookup(self, seen: Seen) -> Reply:
        if seen.body["token"] not in self.wrapped:
            return recorded(SERVERS[0], "unwrap-again")
        return Reply(200, {"data": {"creation_path": self.origin}})

    def unwrap(self, seen: Seen) -> Reply:
        found = self.wrapped.pop(seen.token or "", None)
        return Reply(200, {"data": {"secret_id": found}}) if found else recorded(SERVERS[0], "unwrap-again")

    def failure(self, client: Vault) -> NotYet:
        with pytest.raises(NotYet) as raised:
            client.session.call(ASK)
        return raised.value


@pytest.fixture
def rig() -> Iterator[Rig]:
    with fake_vault() as server, contextlib.closing(Rig(server)) as found:
        yield found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "secret-id"
    found.write_text("good-secret-id\n")
    return found


def jwt(**claims: object) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJFUzI1NiJ9.{payload}.c2lnbmF0dXJl"


def test_approle_logs_in_with_the_files_secret_id(rig: Rig, file: Path) -> None:
    rig.connect(AppRoleLogin("approle", "the-role", file)).session.call(ASK)
    assert rig.server.last("auth/approle/login").token is None


def test_a_refused_secret_id_is_told_without_it_and_a_new_one_is_taken_at_once(rig: Rig, file: Path) -> None:
    file.write_text("used-secret-id")
    client = rig.connect(AppRoleLogin("approle", "the-role", file))
    found = rig.failure(client)
    assert (found.reason, found.shared) == ("VaultLoginRefused", True)
    for part in ("'invalid role or secret ID'", str(file), "PODCERT_AUTH_ROLE_ID", "secret_id_num_uses"):
        assert part in found.message
    assert "used-secret-id" not in found.message
    file.write_text("good-secret-id")
    client.session.call(ASK)


def test_a_secret_id_that_was_accepted_before_is_said_to_be_spent_and_not_to_be_the_wrong_one(
    rig: Rig, file: Path
) -> None:
    client = rig.connect(AppRoleLogin("approle", "the-role", file))
    client.session.call(ASK)
    rig.lost, rig.secret_id = True, "another-secret-id"
    message = rig.failure(client).message
    assert "it was accepted before" in message
    assert "PODCERT_AUTH_ROLE_ID" not in message


def test_a_login_at_which_vault_itself_fails_is_told_and_not_repeated_by_every_caller(rig: Rig, file: Path) -> None:
    file.write_text(jwt(aud="vault"))
    rig.server.routes["auth/jwt/login"] = Reply(500, {"errors": ["the API server does not answer"]})
    client = rig.connect(JwtLogin("jwt", "podcert", file))
    for _ in range(5):
        assert "the API server does not answer" in rig.failure(client).message
    assert rig.server.count("auth/jwt/login") == 1
    assert client.session.problem is not None
    rig.server.routes["auth/jwt/login"] = Reply(200, {"auth": AUTH})
    rig.clock.now += LOGIN_PAUSE_SECONDS
    client.session.tick()
    assert client.session.problem is None


@pytest.mark.parametrize(("seconds", "words"), [(599, "it was revoked"), (601, "has expired")])
def test_a_given_token_that_vault_ceases_to_know_is_said_to_have_expired_only_when_its_time_was_over(
    rig: Rig, seconds: float, words: str
) -> None:
    client = rig.connect(TokenValue("made-by-login"))
    client.session.call(ASK)
    rig.lost = True
    rig.clock.now += seconds
    assert words in rig.failure(client).message
    rig.clock.now += 2 * REFUSED_SECONDS
    assert words in rig.failure(client).message, "also when Vault is asked about it again"


def test_a_lost_token_is_replaced_by_a_new_approle_login(rig: Rig, file: Path) -> None:
    client = rig.connect(AppRoleLogin("approle", "the-role", file))
    client.session.call(ASK)
    rig.lost = True
    client.session.call(ASK)
    assert rig.server.count("auth/approle/login") == 2


def test_a_wrapped_secret_id_is_unwrapped_once_however_often_the_login_is_repeated(rig: Rig, file: Path) -> None:
    file.write_text("wrap-1")
    client = rig.connect(AppRoleLogin("approle", "the-role", file, wrapped=True))
    client.session.call(ASK)
    rig.lost = True
    client.session.call(ASK)
    file.unlink()
    rig.lost = True
    client.session.call(ASK)
    assert rig.server.count("sys/wrapping/unwrap") == 1
    assert rig.server.count("auth/approle/login") == 3


def test_a_wrapping_token_that_was_used_says_that_someone_else_may_have_it(rig: Rig, file: Path) -> None:
    file.write_text("wrap-used")
    client = rig.connect(AppRoleLogin("approle", "the-role", file, wrapped=True))
    found = rig.failure(client)
    assert found.reason == "VaultSecretIdMisused"
    assert "someone else may have unwrapped it" in found.message
    assert "wrap-used" not in found.message
    rig.clock.now += LOGIN_PAUSE_SECONDS
    assert rig.failure(client).reason == "VaultSecretIdMisused"
    assert rig.server.count("sys/wrapping/lookup") == 1
    file.write_text("wrap-1")
    client.session.call(ASK)


def test_a_wrapping_token_of_another_origin_is_not_unwrapped(rig: Rig, file: Path) -> None:
    file.write_text("wrap-1")
    rig.origin = "cubbyhole/response"
    client = rig.connect(AppRoleLogin("approle", "the-role", file, wrapped=True))
    found = rig.failure(client)
    assert found.reason == "VaultSecretIdMisused"
    assert "cubbyhole/response" in found.message
    assert "wrap-1" in rig.wrapped


def test_a_vault_that_is_away_while_unwrapping_spends_nothing(rig: Rig, file: Path) -> None:
    file.write_text("wrap-1")
    route = rig.server.routes["sys/wrapping/lookup"]
    rig.server.routes["sys/wrapping/lookup"] = recorded(SERVERS[0], "sealed-sign")
    client = rig.connect(AppRoleLogin("approle", "the-role", file, wrapped=True))
    assert rig.failure(client).reason == "VaultSealed"
    rig.server.routes["sys/wrapping/lookup"] = route
    client.circuit.step()
    client.session.call(ASK)


def test_jwt_login_sends_role_and_token_and_reads_the_file_at_every_login(rig: Rig, file: Path) -> None:
    file.write_text(jwt(aud="vault"))
    client = rig.connect(JwtLogin("jwt", "podcert", file))
    client.session.call(ASK)
    assert rig.server.last("auth/jwt/login").body == {"role": "podcert", "jwt": jwt(aud="vault")}


@pytest.mark.parametrize(
    ("status", "words", "remedy"),
    [
        (400, "error validating token: token is expired", "has expired: whoever writes"),
        (400, "error validating claims: aud claim does not match any bound audience", "bound_audiences must hold"),
        (400, 'role "podcert" could not be found', "vault write auth/jwt/role/podcert"),
        (400, "error verifying token signature: no known key", "must know the issuer's keys"),
        (400, "error validating token: invalid not before (nbf) claim: token not yet valid", "clocks of its issuer"),
        (400, "invalid issuer (iss) claim", "bound_issuer must be"),
        (403, "permission denied", "be bound to its claims"),
    ],
)
def test_a_refused_jwt_is_told_with_what_it_states_and_never_quoted(
    rig: Rig, file: Path, status: int, words: str, remedy: str
) -> None:
    token = jwt(aud=["other"], iss="https://issuer.example", exp=1_800_000_000, sub="system:private")
    file.write_text(token)
    rig.server.routes["auth/jwt/login"] = Reply(status, {"errors": [words]})
    client = rig.connect(JwtLogin("jwt", "podcert", file))
    message = rig.failure(client).message
    for part in (remedy, "audience other", "issuer https://issuer.example", "end 2027-01-15T08:00:00Z"):
        assert part in message
    assert "system:private" not in message
    assert not any(part in message for part in token.split("."))
    rig.server.routes["auth/jwt/login"] = Reply(200, {"auth": AUTH})
    rig.clock.now += LOGIN_PAUSE_SECONDS
    client.session.call(ASK)


@pytest.mark.parametrize("text", ["no-jwt", "a.b", "a.!!!.c", "eyJ.WzFd.x"])
def test_a_file_without_a_jwt_is_said_to_hold_none(rig: Rig, file: Path, text: str) -> None:
    file.write_text(text)
    rig.server.routes["auth/kubernetes/login"] = recorded(SERVERS[0], "kubernetes-login-bad")
    message = rig.failure(rig.connect(KubernetesLogin("kubernetes", "podcert", file))).message
    assert message.endswith("the file does not hold a JWT")


def test_a_token_that_our_login_made_is_revoked_at_the_end(rig: Rig, file: Path) -> None:
    client = rig.connect(AppRoleLogin("approle", "the-role", file))
    client.session.call(ASK)
    client.session.close()
    assert rig.server.last("auth/token/revoke-self").token == "made-by-login"


def test_a_token_that_was_given_to_us_is_not_revoked(rig: Rig) -> None:
    client = rig.connect(TokenValue("made-by-login"))
    client.session.call(ASK)
    client.session.close()
    assert rig.server.count("auth/token/revoke-self") == 0


def test_a_vault_that_does_not_answer_the_revocation_holds_nobody_up(
    rig: Rig, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("certmanager.vault.session.REVOKE_SECONDS", 0.05)
    client = rig.connect(AppRoleLogin("approle", "the-role", file))
    client.session.call(ASK)
    rig.server.routes["auth/token/revoke-self"] = Reply(hang=True)
    limits: list[object] = []
    request = client.transport.request

    def spy(*values: Any, **named: Any) -> Answer:
        limits.append(named.get("timeout"))
        return request(*values, **named)

    monkeypatch.setattr(client.transport, "request", spy)
    client.session.close()
    assert rig.server.count("auth/token/revoke-self") == 1
    assert limits == [0.05]


def test_an_answer_that_drips_is_cut_off_by_the_call_s_own_limit(rig: Rig) -> None:
    rig.server.routes["pki/sign/pods"] = Reply(200, {"data": {"text": "x" * 400}}, drip=True)
    client = rig.connect(TokenValue("made-by-login"))
    with pytest.raises(NotYet, match=r"took more than 0\.1 s"):
        client.transport.request(ASK, "made-by-login", timeout=0.1)


def test_nothing_shows_role_id_secret_id_or_wrapping_token(rig: Rig, file: Path) -> None:
    file.write_text("wrap-1")
    login = AppRoleLogin("approle", "the-role", file, wrapped=True)
    rig.connect(login).session.call(ASK)
    shown = f"{login!r} {login._unwrapped!r} {rig.clients!r}"
    assert not any(word in shown for word in ("the-role", "wrap-1", "good-secret-id", "made-by-login"))
