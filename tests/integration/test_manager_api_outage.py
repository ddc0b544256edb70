"""The API server away, busy, forgetful or contradicting; and two managers at once."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.manager import Manager, running
from tests.integration.proxy import Asked, Fault, Proxy, proxying
from tests.integration.world import World, eventually

pytestmark = pytest.mark.cluster

PODS = 50
OUTAGE_SECONDS = 20
SOON_SECONDS = 30
"""The watches pause ten seconds at most."""


def _tls(world: World) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(world.cluster.ca_file))


@contextmanager
def meeting(world: World) -> Iterator[tuple[Proxy, Manager]]:
    """A manager that reaches the API server through a proxy and has served one pod."""
    with proxying(world.cluster.apiserver_url, _tls(world)) as proxy:
        kubeconfig: Path = world.write_kubeconfig(world.folder / "proxied.kubeconfig", proxy.url)
        with running(world.launch(kubeconfig=kubeconfig)) as manager:
            world.pod("before")
            world.enrolled("before")
            eventually(world.readable)
            yield proxy, manager


def names(prefix: str, count: int = PODS) -> list[str]:
    return [f"{prefix}-{number}" for number in range(count)]


def test_an_api_server_that_is_away_for_a_while_loses_nothing(world: World) -> None:
    cluster = world.cluster
    with running(world.launch()) as manager:
        world.pods(10, "early")
        world.enrolled(*names("early", 10))
        signs = world.vault_signs()
        cluster.stop_apiserver()
        try:
            eventually(lambda: manager.readiness()[0] == 503, 30, "not ready")
            print(f"while away: {manager.readiness()[1].strip()}")
            assert manager.liveness() == 200
            time.sleep(OUTAGE_SECONDS)
        finally:
            cluster.start_apiserver()
        world.pods(10, "late")
        print(f"new pods served {world.enrolled(*names('late', 10), seconds=SOON_SECONDS):.1f} s after their creation")
        manager.wait_ready(20)
        world.judge(names("early", 10) + names("late", 10))
        assert world.vault_signs() == signs + 10
        assert manager.metric("podcert_bugs_total") == 0


def test_pods_caught_halfway_by_an_outage_are_finished_after_it(world: World) -> None:
    """The API server refuses from the first Secret on: what was signed is not stored, and is made again."""
    with meeting(world) as (proxy, manager):
        proxy.hurt(lambda asked: Fault(reset=True) if asked.method == "POST" and "/secrets" in asked.path else None)
        world.pods(PODS, "caught", lanes=4)
        eventually(lambda: proxy.count("POST", "/secrets") >= PODS)
        calls = manager.signs()
        proxy.heal()
        took = world.enrolled(*names("caught"), seconds=60)
        print(f"served {took:.1f} s later; {calls:.0f} certificates were signed in vain by then")
        world.judge(["before", *names("caught")])
        assert manager.metric("podcert_bugs_total") == 0


def test_a_created_secret_whose_answer_is_lost_is_adopted(world: World) -> None:
    """HTTP 409 at the next create: our own Secret, which is taken as it is."""
    lost: list[str] = []

    def lose_first(asked: Asked) -> Fault | None:
        if asked.method == "POST" and "/secrets" in asked.path and not lost:
            lost.append(asked.path)
            return Fault(lose=True)
        return None

    with meeting(world) as (proxy, manager):
        proxy.hurt(lose_first)
        world.pod("unlucky")
        world.enrolled("unlucky")
        first = world.secret_of("unlucky")
        world.judge(["before", "unlucky"])
        eventually(lambda: manager.certificates() == 2)
        assert world.secret_of("unlucky") == first
        assert world.events("unlucky") == {}
        assert manager.metric("podcert_bugs_total") == 0


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_api_server_is_given_the_time_it_asks_for(world: World, status: int) -> None:
    body = json.dumps({"kind": "Status", "status": "Failure", "message": "too many requests", "code": status}).encode()
    busy = Fault(status, body, {"Content-Type": "application/json", "Retry-After": "5"})
    with meeting(world) as (proxy, manager):
        began = time.monotonic()
        proxy.hurt(lambda asked: busy if asked.method == "POST" and "/secrets" in asked.path else None)
        world.pods(5, "busy")
        eventually(lambda: proxy.count("POST", "/secrets", began) >= 15, 60, "tried again")
        took, calls = time.monotonic() - began, proxy.count("POST", "/secrets", began)
        proxy.heal()
        print(f"{status}: {calls} tries for 5 pods in {took:.1f} s with Retry-After: 5")
        # Once more than that: the first look at everything after the start does not wait for anybody's turn.
        assert calls <= 5 * (2 + took / 5)
        world.enrolled(*names("busy", 5), seconds=30)
        world.judge(["before", *names("busy", 5)])
        assert manager.metric("podcert_bugs_total") == 0


def test_an_expired_resource_version_is_answered_by_a_new_list(world: World) -> None:
    """HTTP 410 on each resumed watch, once as a status and once as an event, while pods come and go unseen."""
    status = {"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410, "message": "too old resource"}
    gone = Fault(410, json.dumps(status).encode(), {"Content-Type": "application/json"})
    event = Fault(
        200, json.dumps({"type": "ERROR", "object": status}).encode() + b"\n", {"Content-Type": "application/json"}
    )
    with meeting(world) as (proxy, manager):
        world.pod("leaves")
        world.enrolled("leaves")
        for fault in (gone, event):
            turns: dict[str, int] = {}

            def once(asked: Asked, fault: Fault = fault, turns: dict[str, int] = turns) -> Fault | None:
                if "watch=true" not in asked.path:
                    return None
                resource = asked.path.partition("?")[0]
                turns[resource] = turns.get(resource, 0) + 1
                return fault if turns[resource] == 1 else None

            lists = proxy.count("GET", "limit=")
            proxy.hurt(once)
            proxy.break_connections()
            name = f"comes-{fault.status}"
            world.pod(name)
            world.enrolled(name, seconds=SOON_SECONDS)
            eventually(lambda lists=lists: proxy.count("GET", "limit=") >= lists + 3, 30, "listed anew")  # type: ignore[misc]
            proxy.heal()
        world.delete_pod("leaves")
        eventually(lambda: len(world.secrets()) == 3, 30, "the garbage collector's turn")
        world.judge(["before", "comes-410", "comes-200"])
        assert manager.signs() == 4
        assert manager.metric("podcert_bugs_total") == 0


def test_two_managers_at_once_make_one_secret_for_each_pod(world: World) -> None:
    before = world.vault_signs()
    with running(world.launch(), "one") as one, running(world.launch(), "two") as two:
        world.pods(PODS, "both")
        world.enrolled(*names("both"))
        eventually(lambda: one.certificates() == two.certificates() == PODS, 30, "both know all certificates")
        world.judge(names("both"))
        versions = {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in world.secrets()}
        made = [each.metric("podcert_reconcile_total", reason="CertificateMissing") for each in (one, two)]
        adopted = [each.metric("podcert_reconcile_total", reason="Adopted") for each in (one, two)]
        print(f"made {made}, adopted after a conflict {adopted}, signed {world.vault_signs() - before:.0f}")
        assert sum(made) == PODS
        assert world.vault_signs() - before <= 2 * PODS
        time.sleep(3)
        assert versions == {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in world.secrets()}
        assert all(world.events(name) == {} for name in names("both", 5))
        assert one.metric("podcert_bugs_total") == two.metric("podcert_bugs_total") == 0


def test_a_manager_that_starts_before_the_api_server_is_ready_when_that_is(world: World) -> None:
    with proxying(world.cluster.apiserver_url, _tls(world)) as proxy:
        kubeconfig = world.write_kubeconfig(world.folder / "proxied.kubeconfig", proxy.url)
        proxy.refuse()
        with running(world.launch(kubeconfig=kubeconfig), ready=False) as manager:
            eventually(lambda: "no answer from the API server" in manager.readiness()[1])
            assert manager.liveness() == 200
            world.pod("early")
            proxy.serve()
            manager.wait_ready(SOON_SECONDS)
            world.enrolled("early")
            world.judge(["early"])
            assert manager.metric("podcert_bugs_total") == 0


def test_two_managers_that_renew_the_same_certificates_agree(world: World) -> None:
    """HTTP 409 at replace: the second one finds a fresh certificate at its next look."""
    pods = names("short", 10)
    with running(world.launch(), "one") as one, running(world.launch(), "two") as two:
        for name in pods:
            world.pod(name, {"ttl": "60s", "renew-before": "25s", "rotation": "none"})
        world.enrolled(*pods)
        first = {one["metadata"]["name"]: one["data"]["tls.crt"] for one in world.secrets()}

        def renewed() -> bool:
            return all(first[each["metadata"]["name"]] != each["data"]["tls.crt"] for each in world.secrets())

        eventually(renewed, 90, "every certificate renewed once")
        world.judge(pods)
        conflicts = sum(each.metric("podcert_reconcile_total", reason="KubernetesConflict") for each in (one, two))
        print(f"{conflicts:.0f} conflicts, {world.vault_signs():.0f} calls to sign for {len(pods)} pods")
        assert world.vault_signs() <= 4 * len(pods)
        assert "RenewalLoop" not in {reason for name in pods for reason in world.events(name)}
        assert one.metric("podcert_bugs_total") == two.metric("podcert_bugs_total") == 0
