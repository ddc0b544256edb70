"""SIGKILL at any moment, and a restart that finds everything as it was: nothing made twice, nothing written."""

from __future__ import annotations

import random
import ssl
import threading
import time

import pytest

from tests.integration.manager import running
from tests.integration.proxy import Fault, Proxy, proxying
from tests.integration.world import RBAC, World, eventually

pytestmark = pytest.mark.cluster

PODS = 200
KILLS = 6
WORKERS = 16

ADOPTED = 500
QUIET_SECONDS = 30
WRITES = ("POST", "PUT", "PATCH", "DELETE")


@pytest.mark.timeout(400)
def test_killed_again_and_again_while_pods_enrol_every_pod_ends_with_one_whole_secret(world: World) -> None:
    names = [f"pod-{number}" for number in range(PODS)]
    choice = random.Random(4)
    thresholds = sorted(choice.sample(range(1, PODS - 10), KILLS))
    with running(world.launch()) as manager:
        creator = threading.Thread(target=world.pods, args=(PODS,))
        creator.start()
        for threshold in thresholds:
            eventually(lambda at=threshold: len(world.secrets()) >= at, 90, f"{threshold} Secrets")  # type: ignore[misc]
            time.sleep(choice.uniform(0, 0.05))
            manager.kill()
            print(f"killed at {len(world.secrets())} Secrets")
            manager.start()
        creator.join()
        world.enrolled(*names, seconds=90)
        eventually(lambda: manager.certificates() == PODS, 30, "all are in the metrics")
        signs = world.vault_signs()
        print(f"{signs:.0f} calls to sign for {PODS} pods and {KILLS} kills")
        world.judge(names)
        assert PODS <= signs <= PODS + KILLS * WORKERS
        assert manager.metric("podcert_bugs_total") == 0
        # In the end the log of all lives tells of no bug either.
        assert not [line for line in manager.lines() if "bug" in str(line.get("message"))]


def kill_between(world: World, proxy: Proxy, method: str, part: str) -> None:
    """Kills the manager when the first request of a kind is under way, and lets it start again."""
    with running(world.launch(vault_url=proxy.url)) as manager:
        began = time.monotonic()
        world.pod("halfway")
        eventually(lambda: proxy.count(method, part, began) > 0)
        manager.kill()
        manager.start()
        world.enrolled("halfway")
        world.judge(["halfway"])
        assert manager.metric("podcert_bugs_total") == 0


def test_killed_while_vault_signs_it_signs_once_more_and_that_is_all(world: World) -> None:
    with proxying(world.vault.url) as proxy:
        proxy.hurt(lambda asked: Fault(slow=0.3) if "/sign/" in asked.path else None)
        kill_between(world, proxy, "POST", "/sign/")
        assert proxy.count("POST", "/sign/") == 2


def _state(world: World) -> dict[str, str]:
    """The resourceVersion of every Secret, Role and RoleBinding of the namespace."""
    found: dict[str, str] = {}
    for kind, base in (("secrets", world.core), ("roles", None), ("rolebindings", None)):
        path = f"{base or f'{RBAC}/namespaces/{world.namespace}'}/{kind}"
        found |= {
            f"{kind}/{one['metadata']['name']}": one["metadata"]["resourceVersion"] for one in world.get(path)["items"]
        }
    return found


@pytest.mark.timeout(400)
def test_restarted_with_500_enrolled_pods_it_asks_vault_for_nothing_and_writes_nothing(world: World) -> None:
    names = [f"pod-{number}" for number in range(ADOPTED)]
    with running(world.launch(), "first") as first:
        world.pods(ADOPTED)
        world.enrolled(*names, seconds=120)
        eventually(lambda: len(world.readable()) == ADOPTED)
        assert first.certificates() == ADOPTED
    before, signs = _state(world), world.vault_signs()
    context = ssl.create_default_context(cafile=str(world.cluster.ca_file))
    with proxying(world.cluster.apiserver_url, context) as api, proxying(world.vault.url) as vault:
        kubeconfig = world.write_kubeconfig(world.folder / "proxied.kubeconfig", api.url)
        with running(world.launch(kubeconfig=kubeconfig, vault_url=vault.url), "second") as second:
            took = eventually(lambda: second.certificates() == ADOPTED)
            print(f"ready, and {took:.1f} s later {ADOPTED} certificates in the metrics")
            time.sleep(QUIET_SECONDS)
            writes = sum(api.count(method, "/") for method in WRITES)
            asked = vault.count("POST", "/sign/") + vault.count("POST", "/issue/")
            print(f"\nFIGURE {QUIET_SECONDS} s later: {asked} calls to sign or issue, {writes} writes since its start")
            assert (asked, writes) == (0, 0)
            assert second.metric("podcert_bugs_total") == 0
    assert _state(world) == before
    assert world.vault_signs() == signs
