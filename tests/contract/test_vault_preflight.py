"""Reading the role: at most once a minute for all, nothing held up, no opinion where it cannot be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain.errors import Refused
from certmanager.domain.model import Names
from certmanager.domain.preflight import VaultRole
from certmanager.vault import TokenValue, VaultConfig, connect
from certmanager.vault.connection import Hooks
from certmanager.vault.preflight import FORBIDDEN_SECONDS, FORGET_SECONDS, READ_SECONDS, role_of
from tests.contract.vault_server import ENDLESS, SERVERS, FakeVault, Reply, fake_vault, recorded
from tests.unit.domain.test_preflight import SIGN
from tests.unit.vault.builders import Clock

ROLE = "pki/roles/pods"
FOREIGN = replace(SIGN, names=Names(dns=("www.example.com",), common_name="www.example.com"))


class Rig:
    """A Vault with a recorded role, and a client with a clock of its own."""

    def __init__(self, server: FakeVault) -> None:
        self.server = server
        self.clock = Clock()
        self.changes = 0
        self.server.routes |= {
            ROLE: recorded(SERVERS[0], "role-read"),
            "auth/token/lookup-self": ENDLESS,
        }
        self.client = connect(VaultConfig(server.url), TokenValue("good"), Hooks(self.changed), self.clock)
        self.preflight = self.client.preflight

    def changed(self) -> None:
        self.changes += 1

    def set(self, **fields: object) -> None:
        body = json.loads(json.dumps(recorded(SERVERS[0], "role-read").body))
        body["data"] |= fields
        self.server.routes[ROLE] = Reply(200, body)

    def forbids(self) -> str:
        with pytest.raises(Refused) as raised:
            self.preflight.check(FOREIGN)
        assert (raised.value.reason, raised.value.shared) == ("RoleForbids", True)
        return raised.value.message


@pytest.fixture
def rig() -> Iterator[Rig]:
    with fake_vault() as server:
        found = Rig(server)
        yield found
        found.client.transport.close()


@pytest.mark.parametrize("server", SERVERS)
def test_a_role_as_each_server_tells_it_is_understood(rig: Rig, server: str) -> None:
    rig.server.routes[ROLE] = recorded(server, "role-read")
    rig.preflight.check(SIGN)
    assert "allowed_domains is [svc.cluster.local]" in rig.forbids()


def test_a_burst_costs_one_read_a_minute(rig: Rig) -> None:
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: rig.preflight.check(SIGN), range(200)))
    assert rig.server.count(ROLE) == 1
    rig.clock.now += READ_SECONDS
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: rig.preflight.check(SIGN), range(200)))
    assert rig.server.count(ROLE) == 2


@pytest.mark.parametrize(
    "reply",
    [
        Reply(403, {"errors": ["permission denied"]}),
        Reply(404, {"errors": []}),
        Reply(500, {"errors": ["internal error"]}),
        Reply(200, {"data": None}),
        Reply(200, {"data": {"allowed_domains": "a,b", "require_cn": "yes", "key_bits": True}}),
        Reply(200, b"<html>"),
    ],
)
def test_a_role_that_cannot_be_read_is_no_opinion_and_not_asked_for_at_every_pod(rig: Rig, reply: Reply) -> None:
    rig.server.routes[ROLE] = reply
    for _ in range(20):
        rig.preflight.check(FOREIGN)
    assert rig.server.count(ROLE) == 1
    assert rig.preflight.advice(FOREIGN) == []


def test_a_role_that_we_may_not_read_is_tried_again_after_minutes(rig: Rig) -> None:
    rig.server.routes[ROLE] = Reply(403, {"errors": ["permission denied"]})
    rig.preflight.check(FOREIGN)
    rig.set()
    rig.clock.now += READ_SECONDS
    rig.preflight.check(FOREIGN)
    rig.clock.now += FORBIDDEN_SECONDS
    rig.forbids()


def test_a_vault_that_is_away_is_left_to_the_call_that_follows(rig: Rig) -> None:
    rig.server.routes[ROLE] = recorded(SERVERS[0], "sealed-sign")
    rig.preflight.check(FOREIGN)
    rig.set()
    rig.client.circuit.step()
    rig.forbids()


def test_a_role_that_forbade_is_read_by_itself_and_its_change_lets_everybody_go(rig: Rig) -> None:
    rig.forbids()
    rig.preflight.step()
    rig.clock.now += READ_SECONDS
    rig.preflight.step()
    assert (rig.server.count(ROLE), rig.changes) == (2, 0)
    rig.set(allowed_domains=["example.com"])
    rig.clock.now += READ_SECONDS
    rig.preflight.step()
    assert rig.changes == 1
    rig.preflight.check(FOREIGN)
    rig.clock.now += READ_SECONDS
    rig.preflight.step()
    assert rig.server.count(ROLE) == 3


def test_a_role_that_forbids_nobody_any_more_is_no_longer_read(rig: Rig) -> None:
    rig.forbids()
    rig.clock.now += FORGET_SECONDS + 1
    for _ in range(3):
        rig.preflight.step()
        rig.clock.now += READ_SECONDS
    assert rig.server.count(ROLE) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(VaultRole.__slots__)), JSON))
def test_whatever_a_server_tells_is_a_role_or_nothing(data: dict[str, object]) -> None:
    found = role_of(data)
    assert isinstance(found, VaultRole)
    assert found.allowed_domains is None or all(isinstance(one, str) for one in found.allowed_domains)
    assert found.require_cn in (None, True, False)
