"""What each issuer of a mount may do, as the servers tell it, and what becomes of answers that they should not give."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from certmanager.domain.errors import NotYet, Refused
from certmanager.domain.trust import State
from certmanager.vault import TokenValue, Vault, VaultConfig, connect
from certmanager.vault.issuers import MANY, MOST
from certmanager.x509.inspect import fingerprints
from tests.contract.vault_server import SERVERS, FakeVault, Reply, fake_vault, recorded
from tests.unit.vault.builders import Clock

DENIED = Reply(403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]})
BAO = SERVERS[0]


@pytest.fixture
def server() -> Iterator[FakeVault]:
    with fake_vault() as found:
        found.routes["auth/token/lookup-self"] = Reply(200, {"data": {"ttl": 0, "renewable": False}})
        yield found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def vault(server: FakeVault, clock: Clock) -> Iterator[Vault]:
    found = connect(VaultConfig(server.url), TokenValue("test-token"), None, clock)
    yield found
    found.transport.close()


def one(data: dict[str, Any], **changes: Any) -> Reply:
    return Reply(200, {"data": data | changes})


def answered(name: str) -> dict[str, Any]:
    data: dict[str, Any] = recorded(BAO, name).body["data"]
    return data


def two_issuers(server: FakeVault) -> tuple[str, str]:
    """The recorded mount: a closing root and the next one, both of one name. Returns their fingerprints."""
    closing, following = answered("issuer-closing"), answered("issuer-next")
    server.routes["rec/issuers"] = recorded(BAO, "issuers-two")
    for data in (closing, following):
        server.routes[f"rec/issuer/{data['issuer_id']}"] = one(data)
    old, new = (next(iter(fingerprints([data["certificate"]]))) for data in (closing, following))
    return old, new


def test_every_issuer_that_is_not_retired_is_trusted_and_a_closing_one_is_told(server: FakeVault, vault: Vault) -> None:
    old, new = two_issuers(server)
    trust = vault.pki.trust("rec")
    assert (trust.fingerprints, trust.closing) == (frozenset({old, new}), frozenset({old}))
    assert fingerprints(trust.anchors) == trust.fingerprints
    assert vault.pki.trust_problem("rec") is None


def test_a_retired_issuer_is_no_anchor(server: FakeVault, vault: Vault) -> None:
    old, new = two_issuers(server)
    data = answered("issuer-closing")
    server.routes[f"rec/issuer/{data['issuer_id']}"] = one(data, usage="read-only")
    trust = vault.pki.trust("rec")
    assert (trust.fingerprints, trust.closing) == (frozenset({new}), frozenset({old}))


@pytest.mark.parametrize("recording", SERVERS)
@pytest.mark.parametrize("usage", ["read-only,issuing-certificates,crl-signing,ocsp-signing", ["issuing-certificates"]])
def test_usage_is_one_text_or_a_list(server: FakeVault, vault: Vault, recording: str, usage: object) -> None:
    known = recorded(recording, "issuer-default").body["data"]
    server.routes["rec/issuers"] = Reply(200, {"data": {"keys": [known["issuer_id"]]}})
    server.routes[f"rec/issuer/{known['issuer_id']}"] = one(known, usage=usage)
    assert vault.pki.trust("rec").closing == frozenset()
    assert vault.pki.trust("rec").fingerprints == fingerprints(known["ca_chain"])


def test_issuers_are_found_by_name_and_by_id(server: FakeVault, vault: Vault) -> None:
    two_issuers(server)
    found, certain = vault.pki.issuers.find("rec", "next")
    assert certain
    assert found is not None
    assert found.state is State.ISSUING
    assert vault.pki.issuers.find("rec", found.id) == (found, True)
    assert vault.pki.issuers.find("rec", "nonesuch") == (None, True)


@pytest.mark.parametrize("path", ["rec/issuers", "rec/issuer/{id}"])
def test_without_the_right_only_the_default_chain_is_trusted_and_the_rights_are_named(
    server: FakeVault, vault: Vault, path: str
) -> None:
    two_issuers(server)
    server.routes[path.format(id=answered("issuer-closing")["issuer_id"])] = DENIED
    server.routes["rec/issuer/default/json"] = recorded(BAO, "issuer-default")
    trust = vault.pki.trust("rec")
    assert (len(trust.anchors), trust.closing) == (1, frozenset())
    problem = vault.pki.trust_problem("rec")
    assert problem is not None
    assert problem[0] == "IssuersForbidden"
    assert '`path "rec/issuers" { capabilities = ["list"] }`' in problem[1]
    assert '`path "rec/issuer/+" { capabilities = ["read"] }`' in problem[1]
    assert vault.pki.issuers.find("rec", "next") == (None, False)


@pytest.mark.parametrize(
    "answer",
    [
        Reply(503, {"errors": ["Vault is sealed"]}),
        Reply(500, {"errors": ["1 error occurred:\n\t* unable to find PKI issuer for reference: x\n\n"]}),
        Reply(200, {"data": {"certificate": "no certificate", "usage": "read-only"}}),
        Reply(200, {"data": {"certificate": 7, "usage": "read-only"}}),
        Reply(200, {"data": {"certificate": answered("issuer-next")["certificate"]}}),
        Reply(200, {"data": {"keys": "<redacted>"}}),
        Reply(200, []),
    ],
)
def test_a_read_that_fails_changes_nothing(server: FakeVault, vault: Vault, clock: Clock, answer: Reply) -> None:
    old, new = two_issuers(server)
    before = vault.pki.trust("rec")
    clock.now += 61
    server.routes[f"rec/issuer/{answered('issuer-closing')['issuer_id']}"] = answer
    with pytest.raises(NotYet):
        vault.pki.trust("rec", 60)
    assert vault.pki.known_trust("rec") == before == vault.pki.trust("rec")
    assert before.fingerprints == {old, new}


@pytest.mark.parametrize(
    ("count", "reason"), [(MANY, None), (MANY + 1, "ManyIssuers"), (MOST, "ManyIssuers"), (MOST + 1, "TooManyIssuers")]
)
def test_the_number_of_reads_is_bounded(server: FakeVault, vault: Vault, count: int, reason: str | None) -> None:
    data = answered("issuer-next")
    server.routes["rec/issuers"] = Reply(200, {"data": {"keys": [f"id-{number}" for number in range(count)]}})
    server.routes |= {f"rec/issuer/id-{number}": one(data) for number in range(count)}
    server.routes["rec/issuer/default/json"] = recorded(BAO, "issuer-default")
    assert len(vault.pki.trust("rec").anchors) == 1
    problem = vault.pki.trust_problem("rec")
    assert (None if problem is None else problem[0]) == reason
    assert sum(server.count(f"rec/issuer/id-{number}") for number in range(count)) == (count if count <= MOST else 0)


def test_a_mount_that_is_not_there_is_refused_as_such(vault: Vault) -> None:
    with pytest.raises(Refused) as raised:
        vault.pki.trust("nowhere")
    assert raised.value.reason == "VaultMountMissing"
