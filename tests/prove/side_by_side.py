"""Five minutes: nginx with `refresh` and a Deployment with `restart`, a client all the time, the manager killed every 20 s."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any

from tests.cluster.running import LocalCluster
from tests.e2e.killing import Killer
from tests.e2e.record import Record
from tests.e2e.rotating import Change, Place, Seen, until
from tests.e2e.scenario import Scenario
from tests.prove.parts import say
from tests.prove.proof import Shown

SECONDS = 300.0
RATE = 25
LEAST_RATE = 20.0
ROTATIONS = 4
AT_WORK = 8.0
"""Seconds before a kill in which the manager may have asked for a certificate that it could not store any more."""


def started(scenario: Scenario) -> Shown:
    """What runs."""
    nodes = scenario.kubectl("get", "nodes", "--no-headers").split()
    return Shown(True, f"node {nodes[0]} {nodes[1]}, Kubernetes {nodes[-1]}")


def run(scenario: Scenario) -> dict[str, Shown]:
    """The lines `refresh`, `restart`, `rotations`, `rolls`, `twice`, `kills`, `due`."""
    cluster = scenario.cluster
    assert isinstance(cluster, LocalCluster)
    say("five minutes of restart and refresh side by side, the manager killed every 20 s")
    known = set(vault_serials(scenario))
    place = Place(scenario, "prove-side-by-side")
    with Record(cluster, place.namespace) as record:
        place.example("deployment-restart.yaml", Change())
        place.example("nginx-refresh.yaml", Change())
        place.rolled_out("deployment/web", "deployment/nginx")
        place.client("web:8443", "nginx:443", rate=RATE)
        until("the client's first report", lambda: len(place.seen()) == 2, 60)
        began, first = time.time(), place.seen()
        with Killer(cluster) as killer:
            time.sleep(SECONDS)
        took, seen = time.time() - began, place.seen()
        generation = int(place.kubectl("get", "deployment/web", "-o", "jsonpath={.metadata.generation}"))
        rotations = record.rotations("web", time.time())
    renewed = [len(life.certificates) - 1 for life in record.of("nginx")]
    early = record.rolled_early("web")
    kills = f"{len(killer.kills)} times in {took:.0f} s {killer.problems or ''}".strip()
    place.remove()
    return {
        "refresh": handshakes(between(first["nginx"], seen["nginx"]), took),
        "restart": handshakes(between(first["web"], seen["web"]), took),
        "rotations": Shown(min(renewed) >= ROTATIONS, f"{renewed}"),
        "rolls": rolls(record, generation - 1, rotations),
        "twice": Shown(not early, f"{len(early)} {early or ''}".strip()),
        "kills": Shown(len(killer.kills) >= SECONDS / 20 * 0.8, kills),
        "due": due(scenario, record, Made(known, killer.kills)),
    }


def between(first: Seen, last: Seen) -> Seen:
    """What came after `first`."""
    old = set(first.errors)
    errors = tuple(error for error in last.errors if error not in old)
    return Seen(last.ok - first.ok, last.failed - first.failed, last.expired - first.expired, last.serials, errors)


def handshakes(seen: Seen, took: float) -> Shown:
    """No handshake failed, and there were enough of them."""
    rate = seen.ok / took
    figure = f"{seen.ok} verified ({rate:.0f} a second), {seen.failed} failed, {seen.expired} expired, "
    figure += f"{len(seen.serials)} certificates seen"
    figure += "".join(f"; {error}" for error in seen.errors[:3])
    return Shown(seen.failed == 0 and seen.expired == 0 and rate >= LEAST_RATE, figure)


def rolls(record: Record, rolled: int, rotations: tuple[int, int]) -> Shown:
    """As many rolls as rotations: the Deployment's generations, its ReplicaSets, and what was due agree."""
    least, most = rotations
    wanted = str(least) if least == most else f"{least} to {most}"
    good = least <= rolled <= most and rolled >= ROTATIONS and len(record.revisions_of("web")) == rolled + 1
    return Shown(good, f"{rolled} rolls, {wanted} rotations due, {len(record.revisions_of('web'))} revisions")


class Made:
    """What Vault had made before, and when the manager was killed."""

    def __init__(self, known: set[str], kills: list[float]) -> None:
        self.known = known
        self.kills = kills

    def at_work(self, issued: float) -> bool:
        """A manager that was killed soon after cannot have stored it: it was due, and was made again."""
        return any(-1.0 <= kill - issued <= AT_WORK for kill in self.kills)


def due(scenario: Scenario, record: Record, made: Made) -> Shown:
    """Every certificate that Vault has made was a pod's first one, or its last one was due."""
    stored = {serial.replace(":", "-") for serial in record.serials()}
    now = {serial: vault_certificate(scenario, serial) for serial in set(vault_serials(scenario)) - made.known - stored}
    # Vault sets notBefore 30 s back (`not_before_duration`).
    lost = [serial for serial, begin in now.items() if made.at_work(begin + 30)]
    early = record.too_early() + [serial for serial in now if serial not in lost]
    figure = f"{len(early)} of {len(stored) + len(now)} {early or ''}".strip()
    return Shown(not early, f"{figure}; {len(lost)} lost with a killed manager")


def ask_vault(scenario: Scenario, *paths: str) -> list[dict[str, Any]]:
    """Answers of the dev server to GETs with its root token."""
    answers = []
    with scenario.vault() as environment:
        for path in paths:
            address = f"{environment['VAULT_ADDR']}/v1/{path}"
            request = urllib.request.Request(address, headers={"X-Vault-Token": environment["VAULT_TOKEN"]})  # noqa: S310 - loopback
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the same
                answers.append(json.loads(answer.read())["data"])
    return answers


def vault_serials(scenario: Scenario) -> list[str]:
    """Every certificate that Vault keeps."""
    return list(ask_vault(scenario, "pki/certs?list=true")[0]["keys"])


def vault_certificate(scenario: Scenario, serial: str) -> float:
    """A certificate's notBefore, seconds since the epoch."""
    from cryptography import x509

    text = str(ask_vault(scenario, f"pki/cert/{serial}")[0]["certificate"])
    return x509.load_pem_x509_certificate(text.encode()).not_valid_before_utc.timestamp()
