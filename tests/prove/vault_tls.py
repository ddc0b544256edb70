"""Vault's own HTTPS certificate under load: the seed replaced by Vault's own, that one rotated, and an expired one survived.

Vault is set up by the commands of docs/vault-tls.md, up to the manager's arrival. Pods without a node enrol all the time: whether
a container runs makes no difference to Vault. A second program connects to Vault all the time, as any client does.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.cluster.paths import ClusterError
from tests.cluster.running import LocalCluster
from tests.e2e import tls_probe
from tests.e2e.record import epoch
from tests.e2e.rotating import until
from tests.e2e.scenario import ROOT, Scenario
from tests.e2e.test_tutorial import make_room, place
from tests.e2e.vault_servers import volumes
from tests.e2e.walkthrough import problem, run, steps
from tests.prove import nodeless
from tests.prove.parts import say
from tests.prove.proof import Shown

PAGE = ROOT / "docs" / "vault-tls.md"
MANAGER = "kubectl apply -k manifests/overlays/vault-tls"
"""The block of the page with which the manager comes."""
NAME = "vault.vault.svc.cluster.local"
SPACE = "prove-vault-tls"
RATE = 8.0
"""Pods a second."""
LIFETIME = "45s"
"""Of Vault's own certificate: due after 27 to 30 s."""
ASIDE = 4.0
"""Seconds of load before, between and after."""
ENROLLED_SECONDS = 30.0
SETTLED_SECONDS = 3.0


def shown(cluster: LocalCluster, folder: Path) -> dict[str, Shown]:
    """The lines `enrolments`, `handshakes`, `server`, `expired`; the cluster is left without a Vault."""
    make_room(cluster)
    with volumes(cluster, folder):
        scenario = Scenario(cluster, say)
        _vault_on_its_seed(cluster, folder)
        with _probe(cluster, folder) as probe, _load(cluster) as load:
            until("the seed is served", probe.serials, 20)
            _manager(scenario, folder)
            until("pods enrol", load.caught_up, 60)
            load.since = time.time()
            changed = _replace_twice(scenario, probe)
            load.stop()
            enrolments = _enrolments(scenario, load)
            handshakes = _handshakes(probe, changed)
            server = _server(scenario)
            return {
                "enrolments": enrolments,
                "handshakes": handshakes,
                "server": server,
                "expired": _expired(scenario, probe),
            }


def _vault_on_its_seed(cluster: LocalCluster, folder: Path) -> None:
    """The page's commands; the pod is kept from being enrolled, so that the moment can be chosen."""
    say("Vault with a seed: the commands of docs/vault-tls.md")
    found = place(folder, cluster)
    here = replace(found, environment={**found.environment, "KUBECONFIG": str(cluster.kubeconfig)})
    page = (
        PAGE.read_text().replace("127.0.0.1:8200", f"127.0.0.1:{here.port}").replace("8200:8200", f"{here.port}:8200")
    )
    blocks = steps(page)
    first = next(index for index, block in enumerate(blocks) if block.commands.startswith(MANAGER))
    wrong = problem(blocks[:first], run(blocks[:first], here, 120))
    if wrong is not None:
        raise ClusterError(wrong)
    cluster.kubectl("label", "pod", "-n", "vault", "vault-0", "podcert.io/enroll-")


def _manager(scenario: Scenario, folder: Path) -> None:
    say(MANAGER)
    scenario.kubectl("apply", "-k", str(ROOT / MANAGER.rpartition(" ")[2]))
    wait = ("rollout", "status", "-n", "podcert", "deployment/certificate-manager", "--timeout=90s")
    scenario.kubectl(*wait, timeout=100)


class _Probing:
    """The program's results, as far as they are written."""

    def __init__(self, result: Path) -> None:
        self._result = result

    def read(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._result.read_text()))
        except FileNotFoundError:
            return {"ok": 0, "failed": 0, "longest": 0.0, "errors": [], "serials": []}

    def serials(self) -> list[str]:
        return list(self.read()["serials"])


@contextlib.contextmanager
def _probe(cluster: LocalCluster, folder: Path) -> Iterator[_Probing]:
    """Handshakes with vault-0 all the time, with trust in both CAs."""
    address = cluster.kubectl("get", "pod", "-n", "vault", "vault-0", "-o", "jsonpath={.status.podIP}").stdout
    result = folder / "probe.json"
    command = [sys.executable, tls_probe.__file__, address, "8200", NAME, str(folder / "vault-ca.crt"), str(result)]
    running = threading.Thread(
        target=lambda: cluster.exec_in_sandbox(command, timeout=tls_probe.LIMIT + 30), daemon=True
    )
    running.start()
    try:
        yield _Probing(result)
    finally:
        result.with_name(result.name + ".stop").touch()
        running.join(20)


@dataclass
class _Load:
    """Pods that want a certificate, RATE a second, until it is stopped."""

    cluster: LocalCluster
    pods: dict[str, float] = field(default_factory=dict)
    """uid to the time of creation, seconds since the epoch."""
    since: float = 0.0
    """From when on the manager was there and had nothing left to do."""
    _ended: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        began = time.monotonic()
        while not self._ended.is_set():
            made = nodeless.create(self.cluster, SPACE, len(self.pods))
            self.pods[made["metadata"]["uid"]] = epoch(made["metadata"]["creationTimestamp"])
            self._ended.wait(max(0.0, began + len(self.pods) / RATE - time.monotonic()))

    def stop(self) -> None:
        self._ended.set()

    def caught_up(self) -> bool:
        """Whoever came more than a few seconds ago has a Secret; of those that come all the time some never have one yet."""
        before = time.time() - SETTLED_SECONDS
        early = {uid for uid, created in list(self.pods.items()) if created < before}
        return bool(early) and early <= self.secrets().keys()

    def secrets(self) -> dict[str, list[dict[str, Any]]]:
        """uid of a pod to the Secrets that are for it."""
        listed = self.cluster.api.call("GET", f"/api/v1/namespaces/{SPACE}/secrets", timeout=30)[1]["items"]
        found: dict[str, list[dict[str, Any]]] = {}
        for one in listed:
            found.setdefault(one["metadata"]["annotations"]["podcert.io/pod-uid"], []).append(one)
        return found


@contextlib.contextmanager
def _load(cluster: LocalCluster) -> Iterator[_Load]:
    made = _Load(cluster)
    worker = threading.Thread(target=made.work, daemon=True)
    with nodeless.space(cluster, SPACE):
        worker.start()
        try:
            yield made
        finally:
            made.stop()
            worker.join(20)


def _replace_twice(scenario: Scenario, probe: _Probing) -> tuple[float, float]:
    """Vault's pod is enrolled, and its certificate comes due; returns the seconds until each was served."""
    time.sleep(ASIDE)
    say("Vault's pod is enrolled: its own certificate replaces the seed")
    scenario.kubectl("annotate", "pod", "-n", "vault", "vault-0", f"podcert.io/ttl={LIFETIME}")
    scenario.kubectl("label", "pod", "-n", "vault", "vault-0", "podcert.io/enroll=true")
    own = until("Vault serves its own certificate", lambda: len(probe.serials()) >= 2, 60, 0.2)
    say(f"served after {own:.1f} s; the next one is due in half a minute")
    rotated = until("Vault serves the next one", lambda: len(probe.serials()) >= 3, 90, 0.2)
    time.sleep(ASIDE)
    return own, rotated


def _enrolments(scenario: Scenario, load: _Load) -> Shown:
    """Every pod has exactly one Secret; how long the slowest waited; what the manager complained of."""
    with contextlib.suppress(ClusterError):  # the figure tells it
        until("the last pods", lambda: load.pods.keys() <= load.secrets().keys(), ENROLLED_SECONDS)
    secrets = load.secrets()
    missing = len(load.pods.keys() - secrets.keys())
    twice = sum(len(each) > 1 for each in secrets.values())
    waits = [
        epoch(each[0]["metadata"]["creationTimestamp"]) - load.pods[uid]
        for uid, each in secrets.items()
        if load.pods.get(uid, 0.0) > load.since
    ]
    events = json.loads(scenario.kubectl("get", "events", "-n", SPACE, "--field-selector=type=Warning", "-o", "json"))
    warnings = [one for one in events["items"] if "podcert" in one.get("reportingComponent", "")]
    failed = [line for line in scenario.metrics().splitlines() if line.startswith("podcert_vault_requests_total{")]
    refused = sum(float(line.rpartition(" ")[2]) for line in failed if 'status="ok"' not in line)
    figure = (
        f"{len(load.pods)} pods, {missing} without a certificate, {twice} with two; the slowest waited {max(waits):.0f} s; "
        f"{len(warnings)} Warnings, {refused:.0f} calls to Vault that failed and were repeated"
    )
    return Shown(missing == 0 and twice == 0 and len(load.pods) > RATE * 20, figure)


def _handshakes(probe: _Probing, changed: tuple[float, float]) -> Shown:
    seen = probe.read()
    figure = (
        f"{seen['ok']} verified, {seen['failed']} failed, {len(seen['serials'])} certificates seen; longest without an "
        f"answer {seen['longest']:.2f} s; own certificate served {changed[0]:.1f} s after the pod was enrolled"
    )
    figure += "".join(f"; {error}" for error in seen["errors"][:3])
    return Shown(seen["failed"] == 0 and len(seen["serials"]) >= 3, figure)


def _server(scenario: Scenario) -> Shown:
    """Nothing was restarted, and the sidecar told the server of each change."""
    pod = json.loads(scenario.kubectl("get", "pod", "-n", "vault", "vault-0", "-o", "json"))
    status = pod["status"]
    restarts = sum(each["restartCount"] for each in (*status["initContainerStatuses"], *status["containerStatuses"]))
    log = scenario.kubectl("logs", "-n", "vault", "vault-0", "-c", "certificate-fetcher")
    signals = log.count("reloaded: sent SIGHUP to bao")
    return Shown(restarts == 0 and signals >= 2, f"{restarts} restarts, {signals} times SIGHUP")


def _expired(scenario: Scenario, probe: _Probing) -> Shown:
    """The manager is away until Vault's certificate has expired; it comes back and renews it, without anybody's help."""
    seed = probe.serials()[0]
    scale = ("scale", "-n", "podcert", "deployment/certificate-manager")
    say("the manager is away until Vault's own certificate has expired")
    scenario.kubectl(*scale, "--replicas=0")
    fallen = until("the seed is served again", lambda: probe.serials()[-1] == seed, 150, 0.2)
    scenario.kubectl(*scale, "--replicas=1")
    back = until("Vault serves its own again", lambda: probe.serials()[-1] != seed, 90, 0.2)
    return Shown(True, f"the seed {fallen:.0f} s after the manager left, its own {back:.0f} s after it returned")
