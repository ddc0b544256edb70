"""The answers that OpenBao and Vault really gave, through the whole client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from certmanager.domain.errors import NotYet, PodcertError, Refused
from certmanager.domain.model import Names
from certmanager.vault import KubernetesLogin, TokenValue, Vault, VaultConfig, connect
from certmanager.vault.login import lookup
from tests.contract.vault_server import SERVERS, FakeVault, Reply, recorded
from tests.unit.vault.builders import Clock

NAMES = Names(
    dns=("a.default.svc.cluster.local", "a.default.svc"),
    ips=("10.0.0.1",),
    uris=("spiffe://x/y",),
    common_name="a.default.svc.cluster.local",
)


@pytest.fixture
def vault(server: FakeVault) -> Iterator[Vault]:
    found = connect(VaultConfig(server.url, namespace="team"), TokenValue("test-token"))
    yield found
    found.transport.close()


@pytest.mark.parametrize("recording", SERVERS)
def test_sign_by_an_intermediate_gives_the_leaf_and_the_chain_up_to_the_root(
    server: FakeVault, vault: Vault, recording: str
) -> None:
    server.routes["rec/sign/pods"] = recorded(recording, "sign-by-intermediate")
    found = vault.pki.sign("rec", "pods", "a CSR", 86400)
    assert found.certificate.startswith("-----BEGIN CERTIFICATE-----")
    assert len(found.chain) == 2
    assert found.private_key is None
    seen = server.last("rec/sign/pods")
    assert seen.body == {"csr": "a CSR", "ttl": "86400s"}
    assert (seen.method, seen.token, seen.headers["X-Vault-Namespace"]) == ("POST", "test-token", "team")


@pytest.mark.parametrize("recording", SERVERS)
def test_issue_asks_for_every_name_once_and_for_pkcs8(server: FakeVault, vault: Vault, recording: str) -> None:
    server.routes["rec/issue/ec"] = recorded(recording, "issue")
    found = vault.pki.issue("rec", "ec", NAMES, None)
    assert found.private_key == "<redacted>"
    assert "<redacted>" not in repr(found)
    assert server.last("rec/issue/ec").body == {
        "common_name": "a.default.svc.cluster.local",
        "alt_names": "a.default.svc.cluster.local,a.default.svc",
        "ip_sans": "10.0.0.1",
        "uri_sans": "spiffe://x/y",
        "exclude_cn_from_sans": True,
        "private_key_format": "pkcs8",
    }


def test_what_is_not_set_is_not_sent(server: FakeVault, vault: Vault) -> None:
    server.routes["rec/issue/ec"] = recorded(SERVERS[0], "issue")
    vault.pki.issue("rec", "ec", Names(dns=("a.b",)), None)
    assert server.last("rec/issue/ec").body == {
        "alt_names": "a.b",
        "exclude_cn_from_sans": True,
        "private_key_format": "pkcs8",
    }


@pytest.mark.parametrize("recording", SERVERS)
def test_without_issuers_anchors_are_the_self_signed_ones_read_once_without_a_token(
    server: FakeVault, vault: Vault, recording: str
) -> None:
    server.routes["rec/issuer/default/json"] = recorded(recording, "issuer-default")
    assert vault.pki.known_trust("rec") is None
    found = vault.pki.trust("rec")
    assert len(found.anchors) == 1
    assert vault.pki.trust("rec") == found == vault.pki.known_trust("rec")
    assert server.count("rec/issuer/default/json") == 1
    assert server.last("rec/issuer/default/json").token is None


@pytest.mark.parametrize("recording", SERVERS)
def test_an_intermediate_is_no_anchor(server: FakeVault, vault: Vault, recording: str) -> None:
    answer = recorded(recording, "sign-by-intermediate")
    server.routes["rec/issuer/default/json"] = answer
    intermediate, root = answer.body["data"]["ca_chain"]
    assert [pem.strip() for pem in vault.pki.trust("rec").anchors] == [root.strip()]
    assert intermediate.strip() != root.strip()


def test_cas_are_read_again_when_they_are_older_than_asked_for_and_the_old_ones_stay_known(server: FakeVault) -> None:
    clock = Clock()
    client = connect(VaultConfig(server.url), TokenValue("test-token"), None, clock)
    server.routes["rec/issuer/default/json"] = recorded(SERVERS[0], "issuer-default")
    first = client.pki.trust("rec")
    clock.now += 60
    assert client.pki.trust("rec", 60) == first
    clock.now += 1
    server.routes["rec/issuer/default/json"] = Reply(503, {"errors": ["Vault is sealed"]})
    assert client.pki.trust("rec") == first
    with pytest.raises(NotYet):
        client.pki.trust("rec", 60)
    assert client.pki.known_trust("rec") == first
    client.transport.close()


def test_a_mount_that_hides_its_issuer_is_asked_with_the_token(server: FakeVault, vault: Vault) -> None:
    issuer = recorded(SERVERS[0], "issuer-default")
    denied = Reply(403, {"errors": ["permission denied"]})
    server.routes["rec/issuer/default/json"] = lambda seen: issuer if seen.token else denied
    assert len(vault.pki.trust("rec").anchors) == 1


@pytest.mark.parametrize("recording", SERVERS)
@pytest.mark.parametrize("words", [[], ["1 error occurred:\n\t* unsupported path\n\n"]])
def test_a_server_without_issuers_tells_its_anchors_by_the_older_path(
    server: FakeVault, vault: Vault, recording: str, words: list[str]
) -> None:
    for path in ("rec/issuers", "rec/issuer/default/json"):
        server.routes[path] = Reply(404, {"errors": words})
    server.routes["rec/cert/ca_chain"] = recorded(recording, "cert-ca-chain")
    assert len(vault.pki.trust("rec").anchors) == 1


REFUSALS = [
    ("sign-role-missing", Refused, "VaultRoleMissing"),
    ("sign-key-type-forbidden", Refused, "VaultRefused"),
    ("sign-csr-common-name-forbidden", Refused, "VaultRefused"),
    ("sign-csr-alt-name-forbidden", Refused, "VaultRefused"),
    ("sign-csr-uri-forbidden", Refused, "VaultRefused"),
    ("sign-csr-malformed", Refused, "VaultRefused"),
    ("sign-csr-long-san-no-common-name-default-role", Refused, "VaultRefused"),
    ("sign-bad-ttl", Refused, "VaultRefused"),
    ("issue-key-type-any", Refused, "VaultRefused"),
    ("issue-ip-forbidden", Refused, "VaultRefused"),
    ("issue-uri-forbidden", Refused, "VaultRefused"),
    ("mount-missing", Refused, "VaultMountMissing"),
    ("role-missing", Refused, "VaultRefused"),
    ("policy-forbids", Refused, "VaultPolicyForbids"),
    ("sealed-sign", NotYet, "VaultSealed"),
    ("rate-limited", NotYet, "VaultBusy"),
]


@pytest.mark.parametrize("recording", SERVERS)
@pytest.mark.parametrize(("name", "kind", "reason"), REFUSALS)
def test_each_refusal_is_told_by_kind_and_reason(
    server: FakeVault, vault: Vault, recording: str, name: str, kind: type[PodcertError], reason: str
) -> None:
    server.routes["rec/sign/pods"] = recorded(recording, name)
    with pytest.raises(kind) as raised:
        vault.pki.sign("rec", "pods", "a CSR", None)
    assert raised.value.reason == reason
    if kind is Refused:
        assert "pods" in raised.value.message


@pytest.mark.parametrize("recording", SERVERS)
@pytest.mark.parametrize("name", ["token-bad", "token-none", "token-expired-lookup"])
def test_a_token_that_vault_does_not_know_is_told_from_a_policy(
    server: FakeVault, vault: Vault, recording: str, name: str
) -> None:
    server.routes["rec/sign/pods"] = recorded(recording, name)
    vault.session.tick()
    server.routes["auth/token/lookup-self"] = recorded(recording, "token-expired-lookup")
    with pytest.raises(NotYet) as raised:
        vault.pki.sign("rec", "pods", "a CSR", None)
    assert raised.value.reason == "VaultTokenRefused"
    assert "VAULT_TOKEN" in raised.value.message
    assert "test-token" not in str(raised.value)


@pytest.mark.parametrize("recording", SERVERS)
def test_lookup_tells_the_lifetime(server: FakeVault, vault: Vault, recording: str) -> None:
    server.routes["auth/token/lookup-self"] = recorded(recording, "token-lookup-self")
    found = lookup(vault.transport, "test-token")
    assert found is not None
    assert found.renewable
    assert found.ttl in {1.0, 2.0}


@pytest.mark.parametrize("recording", SERVERS)
def test_kubernetes_auth_logs_in_with_the_jwt_of_the_moment(server: FakeVault, recording: str, tmp_path: Path) -> None:
    jwt = tmp_path / "token"
    jwt.write_text("first.jwt.text\n")
    reply = recorded(recording, "approle-login")
    server.routes["auth/kubernetes/login"] = reply
    login = KubernetesLogin("kubernetes", "podcert", jwt)
    found = connect(VaultConfig(server.url), login)
    assert login.login(found.transport, None).ttl == 3600
    jwt.write_text("second.jwt.text")
    login.login(found.transport, None)
    assert [seen.body for seen in server.seen] == [
        {"jwt": "first.jwt.text", "role": "podcert"},
        {"jwt": "second.jwt.text", "role": "podcert"},
    ]
    assert server.seen[0].token is None
    found.transport.close()


@pytest.mark.parametrize("recording", SERVERS)
def test_a_refused_kubernetes_login_names_role_mount_and_vaults_words(
    server: FakeVault, recording: str, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("a.jwt.text")
    server.routes["auth/kubernetes/login"] = recorded(recording, "kubernetes-login-bad")
    found = connect(VaultConfig(server.url), KubernetesLogin("kubernetes", "pods", tmp_path / "token"))
    with pytest.raises(NotYet) as raised:
        found.pki.sign("rec", "pods", "a CSR", None)
    assert raised.value.reason == "VaultLoginRefused"
    assert 'invalid role name "pods"' in raised.value.message
    assert "auth/kubernetes" in raised.value.message
    assert "a.jwt.text" not in str(raised.value)
    found.transport.close()
