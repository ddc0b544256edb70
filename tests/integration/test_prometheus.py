"""A real Prometheus with the rules of the manifests scrapes the manager: alerts fire for what goes wrong, and resolve after."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.integration.manager import Manager, running
from tests.integration.world import World, eventually
from tests.prometheus import Alert, Prometheus, free_port, need, promtool, serving

pytestmark = pytest.mark.cluster

TTL = "36s"
"""Due after about 24 s, PodcertRenewalOverdue about 7 s and PodcertCertificateExpiresSoon about 3 s before the end."""
OVERDUE, SOON = "PodcertRenewalOverdue", "PodcertCertificateExpiresSoon"
PATIENCE_SECONDS = 90.0


@contextmanager
def watched(world: World) -> Iterator[tuple[Manager, Prometheus]]:
    """A manager that is scraped every second."""
    need()
    listen = f"127.0.0.1:{free_port()}"
    launch = world.launch(VAULT_CLIENT_TIMEOUT="2s", PODCERT_LISTEN=listen)
    with running(launch) as manager, serving(listen, world.folder) as prometheus:
        eventually(prometheus.ready, 60, "Prometheus is ready")
        until(lambda: bool(prometheus.query("podcert_build_info")), "the manager is scraped")
        yield manager, prometheus


def until(fact: Callable[[], bool], what: str) -> None:
    """Waits, asking four times a second."""

    def slowly() -> bool:
        time.sleep(0.25)
        return fact()

    eventually(slowly, PATIENCE_SECONDS, what)


def firing(prometheus: Prometheus, name: str, workload: str) -> list[Alert]:
    return [one for one in prometheus.alerts() if one.name == name and one.labels.get("workload") == workload]


def fired(prometheus: Prometheus, name: str, workload: str) -> Alert:
    """Waits until the alert fires for the workload."""
    until(lambda: bool(firing(prometheus, name, workload)), f"{name} fires for {workload}")
    (alert,) = firing(prometheus, name, workload)
    return alert


def test_the_expiry_alert_fires_for_a_pod_whose_renewal_is_blocked_and_resolves_after(world: World) -> None:
    with watched(world) as (manager, prometheus):
        world.pod("short", {"ttl": TTL})
        world.pod("long", {"ttl": "2h"})
        world.enrolled("short", "long")
        with world.vault.paused():
            overdue = fired(prometheus, OVERDUE, "Pod/short")
            assert not firing(prometheus, SOON, "Pod/short"), "the warning comes before the critical alert"
            soon = fired(prometheus, SOON, "Pod/short")
            until(lambda: "PodcertRenewalsFailing" in prometheus.names(), "failing renewals are told")
        assert (overdue.labels["severity"], soon.labels["severity"]) == ("warning", "critical")
        assert (soon.labels["namespace"], soon.labels["pod"]) == (world.namespace, "short")
        assert f"pod {world.namespace}/short (Pod/short) serves" in soon.annotations["description"]
        until(lambda: not prometheus.names() & {OVERDUE, SOON}, "the alerts resolve")
        assert not firing(prometheus, OVERDUE, "Pod/long")
        assert manager.metric("podcert_renewals_total", result="failed") > 0
        assert manager.metric("podcert_renewals_total", result="renewed") >= 1
        done = promtool("check", "metrics", stdin=manager.metrics())
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
        assert {rule["health"] for rule in prometheus.rules()} == {"ok"}
        manager.kill()
        until(lambda: "PodcertManagerAbsent" in prometheus.names(), "the manager's absence is told")
        manager.start()
        until(lambda: "PodcertManagerAbsent" not in prometheus.names(), "its return is seen")


def test_alerts_go_by_the_files_of_a_paused_deployments_pod_although_its_secret_is_fresh(world: World) -> None:
    with watched(world) as (manager, prometheus):
        world.create(f"/apis/apps/v1/namespaces/{world.namespace}/deployments", deployment("web"))
        pod = only_pod(world)
        world.enrolled(pod)
        report_files(world, pod)
        world.kubectl("rollout", "pause", "deployment/web")
        held = fired(prometheus, "PodcertRollHeld", "Deployment/web")
        assert held.labels["reason"] == "WorkloadPaused"
        soon = fired(prometheus, SOON, "Deployment/web")
        text = soon.annotations["description"]
        assert "Its Secret holds a newer one, but the pod's files do not follow the Secret" in text
        assert "Its replacement is held up: WorkloadPaused." in text
        assert world.leaf(pod).not_valid_after_utc.timestamp() > time.time() + 5, "the Secret is fresh"
        assert manager.metric("podcert_restarts_total", strategy="restart", result="blocked") == 1
        world.kubectl("rollout", "resume", "deployment/web")
        until(lambda: only_pod(world) not in ("", pod), "the Deployment is rolled")
        world.enrolled(only_pod(world))
        until(lambda: not prometheus.names() & {OVERDUE, SOON, "PodcertRollHeld"}, "the alerts resolve")
        assert manager.metric("podcert_restarts_total", strategy="restart", result="started") == 1


def deployment(name: str) -> dict[str, Any]:
    """One enrolled pod with a one-shot fetcher; `Recreate`, because without a node no new pod would ever be ready."""
    labels = {"app": name, "podcert.io/enroll": "true"}
    mounts = [{"name": "certs", "mountPath": "/var/run/secrets/certs"}]
    template = {
        "metadata": {"labels": labels, "annotations": {"podcert.io/ttl": TTL}},
        "spec": {
            "serviceAccountName": "web",
            "automountServiceAccountToken": False,
            "initContainers": [{"name": "certificate-fetcher", "image": "none", "volumeMounts": mounts}],
            "containers": [{"name": "application", "image": "none", "volumeMounts": mounts}],
            "volumes": [{"name": "certs", "emptyDir": {"medium": "Memory"}}],
        },
    }
    spec = {"replicas": 1, "strategy": {"type": "Recreate"}, "selector": {"matchLabels": {"app": name}}}
    return {"metadata": {"name": name}, "spec": {**spec, "template": template}}


def only_pod(world: World) -> str:
    """The name of the one pod that is there and not being deleted; empty while there are none or two."""
    found: list[str] = []

    def there() -> bool:
        items = world.get(f"{world.core}/pods")["items"]
        found[:] = [one["metadata"]["name"] for one in items if "deletionTimestamp" not in one["metadata"]]
        return len(found) == 1

    eventually(there, 30, "one pod")
    return found[0]


def report_files(world: World, pod: str) -> None:
    """What a kubelet would write when the fetcher has ended: its termination message says what the files hold."""
    leaf = world.leaf(pod)
    serial = f"{leaf.serial_number:040x}"
    pairs = ":".join(serial[at : at + 2] for at in range(0, len(serial), 2))
    report = json.dumps({"serial": pairs, "notAfter": leaf.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")})
    ended = {"exitCode": 0, "reason": "Completed", "message": report, "containerID": "none://1"}
    status = {
        "name": "certificate-fetcher",
        "image": "none",
        "imageID": "",
        "ready": True,
        "restartCount": 0,
        "state": {"terminated": ended},
    }
    body = {"status": {"initContainerStatuses": [status]}}
    world.kubectl("patch", "pod", pod, "--subresource=status", "--type=merge", "-p", json.dumps(body))
