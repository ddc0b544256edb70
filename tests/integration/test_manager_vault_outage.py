"""Vault away in every way: pods wait, a bounded number of calls is made, and all are served soon after its return."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.integration.manager import Manager, running
from tests.integration.proxy import Asked, Fault, Proxy, proxying
from tests.integration.world import World, eventually

pytestmark = pytest.mark.cluster

PODS = 20
OUTAGE_SECONDS = 6
SOON_SECONDS = 15
"""Far less than the longest back-off (60 s): who needs longer was not woken by Vault's return."""
PROBE_SECONDS = 3
WORKERS = 16

SIGN = "/sign/"


@contextmanager
def meeting(world: World, timeout: str = "2s") -> Iterator[tuple[Proxy, Manager]]:
    """A manager that reaches Vault through a proxy and has served one pod."""
    with proxying(world.vault.url) as proxy:
        launch = world.launch(vault_url=proxy.url, VAULT_CLIENT_TIMEOUT=timeout)
        with running(launch) as manager:
            world.pod("before")
            world.enrolled("before")
            yield proxy, manager


def outage(world: World, proxy: Proxy, manager: Manager, reason: str) -> str:
    """Pods come while Vault is away; returns the Warning. Checks readiness, liveness and the number of calls."""
    began = time.monotonic()
    world.pods(PODS, "waits")
    message = world.warned("waits-0", reason)
    ready, text = manager.readiness()
    assert ready == 503
    assert "vault" in text
    assert manager.liveness() == 200
    remaining = began + OUTAGE_SECONDS - time.monotonic()
    time.sleep(max(0.0, remaining))
    took = time.monotonic() - began
    calls = proxy.total(began)
    print(f"{reason}: {message}\n{calls} calls to Vault in {took:.0f} s of outage, {PODS} pods waiting")
    # A rate limit that sys/health does not know of is tried again ever more rarely, by all workers: twice in this time.
    assert calls <= WORKERS * (3 if reason == "VaultBusy" else 1) + 2 + took / PROBE_SECONDS
    assert len(world.secrets()) == 1
    return message


def served(world: World, manager: Manager) -> None:
    """All are served soon, and nothing is left of the outage."""
    took = world.enrolled(*(f"waits-{number}" for number in range(PODS)), seconds=SOON_SECONDS)
    print(f"{PODS} pods served {took:.1f} s after the return")
    manager.wait_ready(10)
    world.judge(["before", *(f"waits-{number}" for number in range(PODS))])
    assert manager.metric("podcert_bugs_total") == 0


def test_pods_wait_for_a_sealed_vault_and_are_served_when_it_is_unsealed(world: World) -> None:
    with meeting(world) as (proxy, manager):
        eventually(lambda: "Unseal Key: " in world.vault.log.read_text())
        key = world.vault.log.read_text().split("Unseal Key: ")[1].split()[0]
        world.ask("POST", "sys/seal")
        try:
            message = outage(world, proxy, manager, "VaultSealed")
            assert message == "Vault is sealed: unseal it (`vault operator unseal`)"
        finally:
            world.ask("POST", "sys/unseal", {"key": key})
        served(world, manager)


def test_pods_wait_for_a_vault_that_refuses_connections(world: World) -> None:
    with meeting(world) as (proxy, manager):
        proxy.refuse()
        message = outage(world, proxy, manager, "VaultUnreachable")
        assert f"Vault at {proxy.url} does not answer" in message
        assert "check VAULT_ADDR and Vault" in message
        proxy.serve()
        served(world, manager)


def test_pods_wait_for_a_vault_that_hangs(world: World) -> None:
    with meeting(world) as (proxy, manager):
        with world.vault.paused():
            message = outage(world, proxy, manager, "VaultUnreachable")
            assert "no answer within 2 s" in message
        served(world, manager)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(reset=True), "VaultUnreachable"),
        (Fault(status=502, body=b"<html>Bad Gateway</html>", headers={"Content-Type": "text/html"}), "VaultError"),
        (Fault(status=429, body=b'{"errors":["too many"]}', headers={"Retry-After": "2"}), "VaultBusy"),
    ],
    ids=["broken connections", "a gateway's error page", "too many requests"],
)
def test_pods_wait_while_every_call_fails(world: World, fault: Fault, reason: str) -> None:
    with meeting(world) as (proxy, manager):
        proxy.hurt(lambda _asked: fault)
        outage(world, proxy, manager, reason)
        proxy.heal()
        served(world, manager)


GARBAGE: dict[str, bytes] = {
    "html": b"<html>hello</html>",
    "empty": b"",
    "list": b"[]",
    "no-data": b'{"data": null}',
    "no-certificate": b'{"data": {"certificate": "", "ca_chain": []}}',
    "half": b'{"data": {"certificate": "-----BEGIN CERT',
    "not-pem": b'{"data": {"certificate": "hello", "ca_chain": ["world"]}}',
    "broken-pem": b'{"data": {"certificate": "-----BEGIN CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----"}}',
}


def test_garbage_is_never_stored_and_the_pods_are_served_when_it_ends(world: World) -> None:
    """Each pod's calls get another kind of garbage, with status 200."""
    kinds = list(GARBAGE.values())
    with meeting(world) as (proxy, manager):
        number = iter(range(10**6))
        proxy.hurt(lambda asked: Fault(200, kinds[next(number) % len(kinds)]) if SIGN in asked.path else None)
        names = [f"garbage-{each}" for each in range(len(kinds))]
        began = time.monotonic()
        for name in names:
            world.pod(name)
        for name in names:
            eventually(lambda name=name: world.events(name), 60, f"a Warning for {name}")  # type: ignore[misc]
        took, calls = time.monotonic() - began, proxy.count("POST", SIGN, began)
        print(f"{calls} calls for {len(names)} pods in {took:.0f} s")
        print("\n".join(sorted({f"{reason}: {text}" for name in names for reason, text in world.events(name).items()})))
        assert calls <= len(names) * (2 + took)
        assert len(world.secrets()) == 1
        proxy.heal()
        for name in names:  # whatever was refused goes at once when the pod changes
            world.annotate(name, ttl="2h")
        world.enrolled(*names, seconds=60)
        world.judge(["before", *names])
        assert manager.metric("podcert_bugs_total") == 0


def test_a_slow_vault_delays_and_fails_nobody(world: World) -> None:
    with meeting(world, "10s") as (proxy, manager):
        proxy.hurt(lambda asked: Fault(slow=1.0) if SIGN in asked.path else None)
        world.pods(PODS, "waits")
        world.enrolled(*(f"waits-{number}" for number in range(PODS)))
        assert proxy.count("POST", SIGN) == PODS + 1
        assert world.events("waits-0") == {}
        assert manager.readiness()[0] == 200


def test_an_answer_that_is_lost_costs_one_more_certificate_and_nothing_else(world: World) -> None:
    lost: list[str] = []

    def lose_first(asked: Asked) -> Fault | None:
        if SIGN in asked.path and not lost:
            lost.append(asked.path)
            return Fault(lose=True)
        return None

    rule: Callable[[Asked], Fault | None] = lose_first
    with meeting(world) as (proxy, manager):
        proxy.hurt(rule)
        world.pod("unlucky")
        world.enrolled("unlucky", seconds=SOON_SECONDS)
        assert proxy.count("POST", SIGN) == 3
        world.judge(["before", "unlucky"])
        assert manager.metric("podcert_bugs_total") == 0


def test_a_manager_that_starts_while_vault_is_away_adopts_and_serves_newcomers_later(world: World) -> None:
    names = [f"waits-{number}" for number in range(PODS)]
    with proxying(world.vault.url) as proxy:
        launch = world.launch(vault_url=proxy.url)
        with running(launch, "first"):
            world.pods(PODS, "waits")
            world.enrolled(*names)
            eventually(lambda: len(world.readable()) == PODS)
        before = {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in world.secrets()}
        proxy.refuse()
        with running(launch, "second", ready=False) as manager:
            eventually(lambda: manager.certificates() == PODS)
            world.pod("newcomer")
            world.warned("newcomer", "VaultUnreachable")
            assert manager.readiness()[0] == 503
            assert manager.liveness() == 200
            proxy.serve()
            print(f"newcomer served {world.enrolled('newcomer', seconds=SOON_SECONDS):.1f} s after Vault's return")
            manager.wait_ready(10)
            world.judge([*names, "newcomer"])
            after = {one["metadata"]["name"]: one["metadata"]["resourceVersion"] for one in world.secrets()}
            assert before.items() <= after.items(), "what was adopted was not written"
            assert manager.signs() >= 1
            assert manager.metric("podcert_bugs_total") == 0
