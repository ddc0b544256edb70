"""Revocation, by the answers that both servers really gave."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from certmanager.domain.errors import NotYet, Refused
from certmanager.vault import TokenValue, Vault, VaultConfig, connect
from tests.contract.vault_server import SERVERS, FakeVault, Reply, recorded

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
FOREIGN = (
    "1 error occurred:\n\t* unable to verify signature on presented cert from any present issuer in this mount; certificates "
    "from previous CAs will need to have their issuing CA and key re-imported if revocation is necessary\n\n"
)
SAME_SERIAL = (
    "1 error occurred:\n\t* certificate with same serial but unequal value already present in this cluster's storage; refusing "
    "to revoke\n\n"
)


@pytest.fixture
def vault(server: FakeVault) -> Iterator[Vault]:
    found = connect(VaultConfig(server.url), TokenValue("test-token"))
    yield found
    found.transport.close()


@pytest.mark.parametrize("recording", SERVERS)
@pytest.mark.parametrize("answer", ["revoke", "revoke-again", "revoke-not-stored-by-certificate"])
def test_a_certificate_is_revoked_by_itself_and_never_by_its_number(
    server: FakeVault, vault: Vault, recording: str, answer: str
) -> None:
    server.routes["rec/revoke"] = recorded(recording, answer)
    vault.revoker.revoke("rec", PEM)
    assert server.last("rec/revoke").body == {"certificate": PEM}


@pytest.mark.parametrize("recording", SERVERS)
def test_a_policy_that_forbids_it_is_told_with_the_path_to_allow(
    server: FakeVault, vault: Vault, recording: str
) -> None:
    server.routes["rec/revoke"] = recorded(recording, "policy-forbids")
    with pytest.raises(Refused, match='add `path "rec/revoke"') as caught:
        vault.revoker.revoke("rec", PEM)
    assert caught.value.reason == "VaultPolicyForbids"


@pytest.mark.parametrize("words", [FOREIGN, SAME_SERIAL])
def test_a_certificate_that_is_not_the_mounts_own_is_refused_and_not_retried(
    server: FakeVault, vault: Vault, words: str
) -> None:
    server.routes["rec/revoke"] = Reply(500, {"errors": [words]})
    with pytest.raises(Refused, match="no issuer in the mount that made the certificate") as caught:
        vault.revoker.revoke("rec", PEM)
    assert caught.value.reason == "RevocationImpossible"


def test_any_other_failure_of_vault_is_retried(server: FakeVault, vault: Vault) -> None:
    server.routes["rec/revoke"] = Reply(500, {"errors": ["storage is full"]})
    with pytest.raises(NotYet):
        vault.revoker.revoke("rec", PEM)


def test_a_vault_that_knows_numbers_only_is_told_from_others(server: FakeVault, vault: Vault) -> None:
    server.routes["rec/revoke"] = Reply(400, {"errors": ["The serial number must be provided"]})
    with pytest.raises(Refused, match=r"came with Vault 1\.12"):
        vault.revoker.revoke("rec", PEM)


@pytest.mark.parametrize(
    "mount", ["sys/leases", "auth/token", "identity", "", "../pki", "pki/../sys", "pki\nx", "a" * 300]
)
def test_a_mount_that_somebody_made_up_is_never_asked(server: FakeVault, vault: Vault, mount: str) -> None:
    with pytest.raises(Refused, match="which no PKI can have"):
        vault.revoker.revoke(mount, PEM)
    assert not [seen for seen in server.seen if "revoke" in seen.path]
