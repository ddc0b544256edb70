"""A real Vault on the cluster: the commands of docs/vault.md, its pod gone and unsealed again; three servers, one of them killed.

Each part begins with a cluster without a Vault, and leaves it so.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography import x509

from tests.cluster.paths import ClusterError
from tests.cluster.provider import Cluster
from tests.cluster.running import LocalCluster
from tests.e2e.killing import kill_container
from tests.e2e.record import epoch
from tests.e2e.rotating import until
from tests.e2e.scenario import MANIFESTS, ROOT, Scenario
from tests.e2e.test_tutorial import make_room, place
from tests.e2e.vault_servers import volumes
from tests.e2e.walkthrough import problem, run, steps
from tests.prove import nodeless
from tests.prove.parts import say
from tests.prove.proof import Shown
from tests.prove.side_by_side import ask_vault, is_of, vault_certificates, vault_serials

PAGE = ROOT / "docs" / "vault.md"
KEYS = "vault-keys.json"
PAGE_SECONDS = 600.0
PODS = 200
RATE = 20.0
"""Pods a second."""
KILLED_AT = 60
"""Secrets that are there when the active server is killed."""
IN_FLIGHT = 16
"""Calls of the manager to Vault at once: as many answers can be lost with a server."""
SPACE = "prove-vault-ha"


class Keyed(Scenario):
    """Vault with the root token that `podcert vault init` put into a file."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        super().__init__(cluster, say)
        self._keys = folder / KEYS

    @contextlib.contextmanager
    def vault(self) -> Iterator[dict[str, str]]:
        """See `Scenario`."""
        token = str(json.loads(self._keys.read_text())["root_token"])
        with super().vault() as environment:
            yield {**environment, "VAULT_TOKEN": token}

    def podcert(self, *arguments: str, **environment: str) -> str:
        """A command of `podcert vault` with this cluster's kubeconfig; its output. Raises ClusterError when it fails."""
        command = [sys.executable, "-m", "certmanager", *arguments]
        given = {"PATH": "", "KUBECONFIG": str(self.cluster.kubeconfig), **environment}
        done = subprocess.run(command, env=given, cwd=ROOT, capture_output=True, text=True, check=False, timeout=180)
        if done.returncode != 0:
            raise ClusterError(f"podcert {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def servers(self, command: str) -> str:
        """`podcert vault COMMAND` for the pods in namespace `vault`."""
        return self.podcert("vault", command, "-n", "vault", "--keys-file", str(self._keys))

    def issued(self) -> list[tuple[float, str]]:
        """When the manager stored a certificate, and for which pod, in its own log, oldest first."""
        found = []
        for line in self.kubectl("logs", "-n", "podcert", "deploy/certificate-manager").splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if entry.get("reason") == "CertificateIssued":
                    found.append((epoch(entry["timestamp"]), f"{entry['namespace']}/{entry['pod']}/{entry['pod_uid']}"))
        return sorted(found)


def page(cluster: Cluster, folder: Path) -> dict[str, Shown]:
    """The lines `page` (all commands, and what they print) and `lost` (what the unsealed Vault still knows)."""
    make_room(cluster)
    with volumes(cluster, folder):
        found = place(folder, cluster)
        here = replace(found, environment={**found.environment, "KUBECONFIG": str(cluster.kubeconfig)})
        ports = {"127.0.0.1:8200": f"127.0.0.1:{here.port}", "8200:8200": f"{here.port}:8200"}
        text = PAGE.read_text("utf-8")
        for old, new in ports.items():
            text = text.replace(old, new)
        blocks = steps(text)
        began = time.monotonic()
        wrong = problem(blocks, run(blocks, here, PAGE_SECONDS))
        took = time.monotonic() - began
        shown = {"page": Shown(wrong is None, wrong or f"{len(blocks)} blocks of commands in {took:.0f} s")}
        return shown | {"lost": _nothing_lost(Keyed(cluster, folder)) if wrong is None else Shown(False, "not reached")}


def _nothing_lost(scenario: Keyed) -> Shown:
    """One CA before and after; every Secret's certificate is known to Vault, and no pod was given a second one."""
    secrets = _secrets(scenario, "default")
    serials = {one["metadata"]["annotations"]["podcert.io/serial"] for one in secrets}
    anchors = {one["data"]["ca.crt"] for one in secrets}
    stored = set(vault_serials(scenario))
    leaves = [one for one in vault_certificates(scenario, sorted(stored)) if _has_name(one)]
    each = Counter(pod for _, pod in scenario.issued())
    mine = ask_vault(scenario, "pki/issuers?list=true")[0]["keys"]
    # Server and client, and the client that was made while Vault was sealed.
    holds = serials <= stored and len(anchors) == len(mine) == 1 and max(each.values()) == 1 and len(leaves) == 3
    figure = (
        f"{len(mine)} CA, in the Secrets of before and after; {len(leaves)} certificates for {len(each)} pods, "
        f"at most {max(each.values())} each; {len(serials - stored)} that Vault no longer knows"
    )
    return Shown(holds, figure)


def active_killed(cluster: LocalCluster, folder: Path) -> dict[str, Shown]:
    """The lines `pods`, `twice`, `away`, `active`: the active one of three servers gets SIGKILL while 200 pods enrol."""
    make_room(cluster)
    with volumes(cluster, folder):
        scenario = Keyed(cluster, folder)
        _three_servers(scenario)
        _manager(scenario)
        with nodeless.space(cluster, SPACE):
            worker = threading.Thread(target=_load, args=(cluster,), daemon=True)
            worker.start()
            killed = _kill_active(scenario)
            worker.join(60)
            with contextlib.suppress(ClusterError):  # the figure tells it
                until("all Secrets", lambda: len(_secrets(scenario, SPACE)) >= PODS, 90, 0.2)
            shown = {"pods": _all_have_one(scenario), "twice": _none_twice(scenario), "away": _away(scenario, killed)}
            shown["active"] = _active_service(scenario)
            say("the killed server is unsealed")
            scenario.servers("unseal")
            return shown


def _three_servers(scenario: Keyed) -> None:
    say("three servers: kubectl apply -k manifests/vault/ha, podcert vault init, podcert vault unseal")
    scenario.kubectl("apply", "-k", str(MANIFESTS / "vault" / "ha"))
    scenario.servers("init")
    say(scenario.servers("unseal").splitlines()[-1])
    scenario.kubectl("wait", "-n", "vault", "--for=condition=Ready", "pod", "-l", "app.kubernetes.io/name=vault")


def _manager(scenario: Keyed) -> None:
    with scenario.vault() as environment:
        given = {name: environment[name] for name in ("VAULT_ADDR", "VAULT_TOKEN")}
        scenario.podcert("bootstrap", "--auth", "kubernetes", **given)
    scenario.kubectl("apply", "-k", str(MANIFESTS / "overlays" / "kubernetes-auth"))
    wait = ("rollout", "status", "-n", "podcert", "deployment/certificate-manager", "--timeout=90s")
    scenario.kubectl(*wait, timeout=100)


def _load(cluster: LocalCluster) -> None:
    began = time.monotonic()
    for number in range(PODS):
        nodeless.create(cluster, SPACE, number)
        time.sleep(max(0.0, began + number / RATE - time.monotonic()))


def _kill_active(scenario: Keyed) -> float:
    """Kills the server that its label calls active, by its container, in the midst of the enrolments; when, epoch."""
    until("enrolments", lambda: len(_secrets(scenario, SPACE)) >= KILLED_AT, 60, 0.05)
    listed = scenario.kubectl("get", "pods", "-n", "vault", "-l", "openbao-active=true", "-o", "json")
    (pod,) = json.loads(listed)["items"]
    (status,) = pod["status"]["containerStatuses"]
    assert isinstance(scenario.cluster, LocalCluster)
    kill_container(scenario.cluster, str(status["containerID"]))
    say(f"{pod['metadata']['name']} was active, and is killed")
    return time.time()


def _all_have_one(scenario: Keyed) -> Shown:
    owners = Counter(one["metadata"]["annotations"]["podcert.io/pod-uid"] for one in _secrets(scenario, SPACE))
    twice = sum(count > 1 for count in owners.values())
    figure = f"{PODS - len(owners)} of {PODS} pods without a certificate, {twice} with two Secrets"
    return Shown(len(owners) == PODS and twice == 0, figure)


def _none_twice(scenario: Keyed) -> Shown:
    """What Vault has signed for these pods against what is in their Secrets.

    A signature whose answer was lost with the server stays in Vault's store without anybody who has its key: an orphan and no
    duplicate. There can be as many as there were calls in flight.
    """
    serials = {one["metadata"]["annotations"]["podcert.io/serial"] for one in _secrets(scenario, SPACE)}
    stored = vault_serials(scenario)
    others = vault_certificates(scenario, sorted(set(stored) - serials))
    orphans = sum(is_of(one, SPACE) for one in others if _has_name(one))
    unknown = len(serials - set(stored))
    repeated = sum(count > 1 for count in Counter(pod for _, pod in scenario.issued()).values())
    figure = f"{repeated} pods given a second one, {unknown} that Vault does not know, {orphans} answers lost with the server"
    return Shown(repeated == 0 and unknown == 0 and orphans <= IN_FLIGHT, figure)


def _away(scenario: Keyed, killed: float) -> Shown:
    """The longest time without a stored certificate after the kill, while pods kept coming."""
    times = [at for at, pod in scenario.issued() if pod.startswith(f"{SPACE}/")]
    gaps = [(after - before, before) for before, after in itertools.pairwise(times) if after > killed]
    longest, since = max(gaps, default=(0.0, killed))
    figure = f"{longest:.1f} s without service, from {since - killed:+.1f} s of the kill; pods came {RATE:.0f} a second"
    return Shown(bool(gaps), figure)


def _active_service(scenario: Keyed) -> Shown:
    """The killed server's label may still say that it is active; that it is not ready keeps it out of the Service."""
    listed = scenario.kubectl(
        "get", "endpointslices", "-n", "vault", "-l", "kubernetes.io/service-name=vault-active", "-o", "json"
    )
    ready = [
        each["targetRef"]["name"]
        for one in json.loads(listed)["items"]
        for each in one.get("endpoints") or []
        if each["conditions"]["ready"]
    ]
    with (
        scenario.vault() as environment,
        urllib.request.urlopen(f"{environment['VAULT_ADDR']}/v1/sys/leader") as answer,  # noqa: S310 - loopback
    ):
        leader = str(json.loads(answer.read())["leader_address"])
    holds = len(ready) == 1 and f"//{ready[0]}." in leader
    return Shown(holds, f"vault-active leads to {', '.join(ready) or 'nobody'}; the active server is {leader}")


def _secrets(scenario: Keyed, namespace: str) -> list[dict[str, Any]]:
    listed = scenario.kubectl("get", "secrets", "-n", namespace, "-l", "podcert.io/managed=true", "-o", "json")
    return list(json.loads(listed)["items"])


def _has_name(certificate: x509.Certificate) -> bool:
    """It is no CA's."""
    return any(isinstance(each.value, x509.SubjectAlternativeName) for each in certificate.extensions)
