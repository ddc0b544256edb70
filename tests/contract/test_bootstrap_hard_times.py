"""`podcert bootstrap` against a server that does what a real Vault does not do on demand: forget a field, answer garbage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from certmanager.domain.errors import NotYet, PodcertError, Refused
from certmanager.vault.bootstrap import BootstrapPlan, Result, run, steps
from certmanager.vault.bootstrap.api import Admin
from certmanager.vault.config import VaultConfig
from certmanager.vault.transport import Transport
from tests.contract.vault_server import FakeVault, Reply, Seen, fake_vault, recorded

PLAN = BootstrapPlan(root=False)
TOKEN = "hvs.plantedplantedplanted"


@pytest.fixture
def fake() -> Iterator[FakeVault]:
    """A server on which everything is as `PLAN` wants it, except that nothing that is written stays."""
    with fake_vault() as server:
        server.routes |= {
            "sys/mounts": data({"pki/": {"type": "pki"}}),
            "sys/mounts/pki/tune": data({"max_lease_ttl": 86400 * 3650}),
            "pki/issuers": recorded("vault-1.21.0", "issuers"),
            "sys/capabilities-self": Reply(403, {"errors": ["permission denied"]}),
        }
        for step in steps(PLAN)[3:]:
            write = step.decide(dict.fromkeys(step.reads)).write
            assert write is not None
            server.routes[write.call.path] = forgetful(dict(write.payload))
        yield server


def data(body: dict[str, Any]) -> Reply:
    return Reply(200, {"data": body})


def forgetful(body: dict[str, Any]) -> Any:
    return lambda seen: data(body) if seen.method == "GET" else Reply(204, b"")


def bootstrap(fake: FakeVault) -> list[Result]:
    transport = Transport(VaultConfig(fake.url, read_timeout=0.5))
    try:
        return list(run(PLAN, Admin(transport, TOKEN, "VAULT_TOKEN"), dry_run=False))
    finally:
        transport.close()


def refusal(fake: FakeVault, kind: type[PodcertError]) -> str:
    with pytest.raises(kind) as raised:
        bootstrap(fake)
    assert TOKEN not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None
    return f"{raised.value.reason} {raised.value.message}"


def test_nothing_is_written_where_everything_is_as_wanted(fake: FakeVault) -> None:
    assert {result.status.value for result in bootstrap(fake)} == {"ok"}
    assert {seen.method for seen in fake.seen} == {"GET"}


def test_a_field_that_the_server_forgets_is_told(fake: FakeVault) -> None:
    fake.routes["auth/token/roles/pods"] = forgetful({"allowed_policies": ["pods"], "orphan": True, "renewable": True})
    text = refusal(fake, Refused)
    assert "VaultKeptOtherwise" in text
    assert "token_period: 0s → 24h" in text


def test_a_patch_says_that_it_is_one(fake: FakeVault) -> None:
    fake.routes["pki/roles/pods"] = forgetful({"ttl": "1h"})
    refusal(fake, Refused)
    (patch,) = [seen for seen in fake.seen if seen.method == "PATCH"]
    assert patch.headers["Content-Type"] == "application/merge-patch+json"


def test_a_server_too_old_for_a_patch_is_told(fake: FakeVault) -> None:
    def old(seen: Seen) -> Reply:
        if seen.method == "PATCH":
            return Reply(405, {"errors": ["1 error occurred:\n\t* unsupported operation\n\n"]})
        return data({"ttl": "1h"})

    fake.routes["pki/roles/pods"] = old
    assert "too old" in refusal(fake, Refused)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(200, b"<html>"), "not Vault's"),
        (Reply(200, {"data": None}), "it has no data"),
        (Reply(502, b"<html>bad gateway"), "HTTP 502"),
        (Reply(429, {"errors": ["request path rate limit quota exceeded"]}), "limits the rate"),
        (Reply(hang=True), "no answer within"),
        (Reply(reset=True), "does not answer"),
        (Reply(404, {"errors": []}), "HTTP 404"),
    ],
)
def test_an_answer_that_cannot_be_used_ends_it_before_anything_is_written(
    fake: FakeVault, reply: Reply, words: str
) -> None:
    fake.routes["sys/mounts"] = reply
    assert words in refusal(fake, PodcertError)
    assert {seen.method for seen in fake.seen} <= {"GET"}


def test_a_vault_that_goes_away_halfway_is_worth_another_try(fake: FakeVault) -> None:
    fake.routes["sys/policies/acl/pods"] = lambda seen: data({}) if seen.method == "GET" else Reply(reset=True)
    refusal(fake, NotYet)


def test_an_old_vault_that_does_not_say_which_issuer_is_the_default_is_believed(fake: FakeVault) -> None:
    fake.routes["pki/issuers"] = data({"key_info": {"one": {"issuer_name": ""}}})
    assert len(bootstrap(fake)) == 7
