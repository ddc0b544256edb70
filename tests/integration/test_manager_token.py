"""The manager's token is lost in every way; a new one in its file heals all, without a restart and at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.integration.manager import Manager, running
from tests.integration.proxy import Proxy, proxying
from tests.integration.world import World, eventually

pytestmark = pytest.mark.cluster

PODS = 10
SOON_SECONDS = 15
OUTAGE_SECONDS = 6
LOGIN_SECONDS = 3


@contextmanager
def meeting(world: World) -> Iterator[tuple[Proxy, Manager]]:
    """A manager that reaches Vault through a proxy and is ready."""
    with proxying(world.vault.url) as proxy, running(world.launch(vault_url=proxy.url)) as manager:
        yield proxy, manager


def waiting(world: World, proxy: Proxy, reason: str) -> str:
    """Pods come while the token is of no use; returns the Warning. Checks the number of calls."""
    began = time.monotonic()
    world.pods(PODS, "waits")
    message = world.warned("waits-0", reason, 60)
    time.sleep(max(0.0, began + OUTAGE_SECONDS - time.monotonic()))
    took, calls = time.monotonic() - began, proxy.total(began)
    print(f"{reason}: {message}\n{calls} calls to Vault in {took:.0f} s, {PODS} pods waiting")
    assert calls <= 4 * PODS + took / LOGIN_SECONDS
    assert world.secrets() == []
    return message


def served(world: World, manager: Manager) -> None:
    """All are served soon after the new token."""
    names = [f"waits-{number}" for number in range(PODS)]
    print(f"served {world.enrolled(*names, seconds=SOON_SECONDS):.1f} s after the new token")
    manager.wait_ready(10)
    world.judge(names)
    assert manager.metric("podcert_bugs_total") == 0


def _revoke(world: World) -> None:
    world.ask("POST", "auth/token/revoke", {"token": world.token()})


def _expire(world: World) -> None:
    lookup = "auth/token/lookup-self"
    eventually(lambda: world.vault.call("GET", lookup, token=world.token())[0] == 403, 60, "the token's end")


LOSSES: dict[str, tuple[dict[str, object], Callable[[World], None], str]] = {
    "revoked": ({}, _revoke, "it was revoked"),
    "expired": ({"ttl": "20s", "renewable": False}, _expire, "has expired"),
    "expired at its longest": ({"ttl": "15s", "explicit_max_ttl": "20s"}, _expire, "has expired"),
}


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_a_lost_token_is_told_and_a_new_one_in_its_file_serves_everybody(world: World, loss: str) -> None:
    fields, lose, why = LOSSES[loss]
    world.put_token(world.new_token(**fields))
    with meeting(world) as (proxy, manager):
        lose(world)
        message = waiting(world, proxy, "VaultTokenRefused")
        assert f"the token of {world.token_file}" in message
        assert "put a valid token there" in message
        assert world.token() not in manager.log()
        status, text = manager.readiness()
        assert status == 503
        assert why in text
        assert manager.liveness() == 200
        world.put_token(world.new_token())
        served(world, manager)


def test_a_token_without_the_policy_is_told_and_a_better_one_serves_everybody_at_once(world: World) -> None:
    world.put_token(world.new_token(policies=["default"]))
    with meeting(world) as (proxy, manager):
        message = waiting(world, proxy, "VaultPolicyForbids")
        assert "the token is valid, its policies do not allow it" in message
        assert f'path "{world.mount}/sign/pods" {{ capabilities = ["update"] }}' in message
        world.put_token(world.new_token())
        served(world, manager)


def test_a_token_file_that_comes_late_or_is_garbage_is_told(world: World) -> None:
    token = world.token()
    world.token_file.unlink()
    with proxying(world.vault.url) as proxy, running(world.launch(vault_url=proxy.url), ready=False) as manager:
        eventually(lambda: manager.readiness()[0] == 503)
        message = waiting(world, proxy, "VaultTokenMissing")
        assert f"the token file {world.token_file} cannot be read: No such file" in message
        world.put_token("two words")
        eventually(lambda: "holds something else than one token" in manager.readiness()[1])
        world.put_token(token)
        served(world, manager)


def test_a_token_near_its_end_is_renewed_and_nobody_notices(world: World) -> None:
    world.put_token(world.new_token(ttl="4s"))
    with meeting(world) as (proxy, manager):
        eventually(lambda: proxy.count("POST", "renew-self") + proxy.count("PUT", "renew-self") >= 3, 60)
        world.pod("late")
        world.enrolled("late")
        assert world.events("late") == {}
        assert manager.readiness()[0] == 200
