"""What each issuer of a mount may do, as the servers tell it, and what becomes of answers that they should not give."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from certmanager.domain.errors import NotYet, Refused
from certmanager.domain.model import Names
from certmanager.vault import TokenValue, Vault, VaultConfig, connect
from certmanager.vault.connection import Hooks
from certmanager.vault.issuers import MANY, MOST
from certmanager.vault.preflight import ISSUER_SECONDS
from certmanager.x509.inspect import fingerprints
from tests.contract.vault_server import SERVERS, FakeVault, Reply, Seen, recorded
from tests.unit.domain.builders import request
from tests.unit.vault.builders import Clock

DENIED = Reply(403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]})
BAO = SERVERS[0]


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


def test_an_issuer_is_known_by_name_and_by_id_and_what_keeps_it_from_signing_is_told(
    server: FakeVault, vault: Vault
) -> None:
    two_issuers(server)
    for reference in ("next", answered("issuer-next")["issuer_id"], "default"):
        assert vault.pki.issuers.objection("rec", reference) is None
    closing = answered("issuer-closing")["issuer_id"]
    assert vault.pki.issuers.objection("rec", closing) == (
        f"issuer {closing} of mount rec may not issue: its usage must contain issuing-certificates; change that, or name "
        "another issuer (PODCERT_ISSUER, or `issuer` in the policy)"
    )
    missing = vault.pki.issuers.objection("rec", "nonesuch")
    assert missing is not None
    assert missing.startswith("issuer nonesuch of mount rec does not exist; name one of ")
    assert "next" in missing


def test_a_request_for_an_issuer_that_cannot_sign_is_refused_until_it_can(
    server: FakeVault, vault: Vault, clock: Clock
) -> None:
    two_issuers(server)
    server.routes["rec/roles/pods"] = DENIED
    following = answered("issuer-next")
    path = f"rec/issuer/{following['issuer_id']}"
    server.routes[path] = one(following, usage="read-only")
    wanted = request(mount="rec", issuer="next")
    with pytest.raises(Refused) as raised:
        vault.preflight.check(wanted)
    assert (raised.value.reason, raised.value.shared) == ("IssuerCannotSign", True)
    server.routes[path] = one(following)
    clock.now += ISSUER_SECONDS + 1
    vault.preflight.check(wanted)
    vault.preflight.check(replace(wanted, issuer=None))


def test_who_was_refused_for_an_issuer_goes_as_soon_as_it_is_known_to_sign(server: FakeVault, clock: Clock) -> None:
    freed: list[str] = []
    found = connect(VaultConfig(server.url), TokenValue("t"), Hooks(lambda: freed.append("all")), clock)
    two_issuers(server)
    listed = server.routes["rec/issuers"]
    server.routes["rec/issuers"] = Reply(200, {"data": {"keys": [answered("issuer-closing")["issuer_id"]]}})
    with pytest.raises(Refused):
        found.preflight.check(request(mount="rec", issuer="next"))
    found.preflight.step()
    assert freed == []
    server.routes["rec/issuers"] = listed
    found.pki.trust("rec", -1)
    for _ in range(2):
        found.preflight.step()
    assert freed == ["all"]
    found.transport.close()


@pytest.mark.parametrize(
    ("issuer", "path"), [(None, "rec"), ("next", "rec/issuer/next"), ("default", "rec/issuer/default")]
)
def test_an_issuer_that_is_named_is_asked_by_its_own_path(
    server: FakeVault, vault: Vault, issuer: str | None, path: str
) -> None:
    server.routes[f"{path}/sign/pods"] = recorded(BAO, "sign")
    server.routes[f"{path}/issue/ec"] = recorded(BAO, "issue")
    vault.pki.sign("rec", "pods", "a CSR", None, issuer)
    vault.pki.issue("rec", "ec", Names(dns=("a.b",)), None, issuer)
    assert (server.count(f"{path}/sign/pods"), server.count(f"{path}/issue/ec")) == (1, 1)


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
    assert vault.pki.issuers.objection("rec", "nonesuch") is None


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


def test_while_a_read_hangs_everybody_else_goes_by_what_is_known(server: FakeVault, vault: Vault, clock: Clock) -> None:
    two_issuers(server)
    known = vault.pki.trust("rec")
    clock.now += 61
    hanging = threading.Semaphore(0)

    def hang(_seen: Seen) -> Reply:
        hanging.release()
        return Reply(hang=True)

    def read() -> None:
        with contextlib.suppress(NotYet):
            vault.pki.trust("rec", 0)

    server.routes["rec/issuers"] = hang
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert hanging.acquire(timeout=10)
    assert vault.pki.trust("rec") == known
    assert reader.is_alive()
    server.ended.set()
    reader.join(15)


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
