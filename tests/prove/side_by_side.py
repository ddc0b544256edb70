"""nginx with `refresh` and a Deployment with `restart` side by side, a client all the time, the manager killed if asked.

`make prove-rotation` runs it for five minutes, the end-to-end tests for two rotations.
"""

from __future__ import annotations

import json
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

from cryptography import x509

from tests.cluster.running import LocalCluster
from tests.e2e.killing import Killer
from tests.e2e.record import Record
from tests.e2e.rotating import Change, Place, Seen, until
from tests.e2e.scenario import Scenario
from tests.prove.parts import say
from tests.prove.proof import Shown

RATE = 25
LEAST_RATE = 20.0
STORED_SECONDS = 3.0
"""Between Vault's answer and the Secret, on a busy machine."""
AT_WORK = 8.0
"""Seconds before a kill in which the manager may have asked for a certificate that it could not store any more."""


@dataclass(frozen=True)
class Plan:
    """How long (seconds), how many rotations at the least, seconds between two kills (None: none)."""

    namespace: str = "prove-side-by-side"
    seconds: float = 300.0
    rotations: int = 4
    kill_every: float | None = 20.0


def started(scenario: Scenario) -> Shown:
    """What runs."""
    nodes = scenario.kubectl("get", "nodes", "--no-headers").split()
    return Shown(True, f"node {nodes[0]} {nodes[1]}, Kubernetes {nodes[-1]}")


def run(scenario: Scenario, plan: Plan = Plan()) -> dict[str, Shown]:
    """The lines `refresh`, `restart`, `rotations`, `rolls`, `twice`, `kills`, `due`."""
    cluster = scenario.cluster
    assert isinstance(cluster, LocalCluster)
    say(f"{plan.seconds:.0f} s of restart and refresh side by side; the manager is killed every {plan.kill_every} s")
    known = set(vault_serials(scenario))
    with Place(scenario, plan.namespace) as place, Record(cluster, place.namespace) as record:
        place.example("deployment-restart.yaml", Change())
        place.example("nginx-refresh.yaml", Change())
        place.rolled_out("deployment/web", "deployment/nginx")
        place.client("web:8443", "nginx:443", rate=RATE)
        until("the client's first report", lambda: len(place.seen()) == 2, 60)
        began, first = time.time(), place.seen()
        with Killer(cluster, plan.kill_every or 10 * plan.seconds) as killer:
            time.sleep(plan.seconds)
        took, seen = time.time() - began, place.seen()
        generation = int(place.kubectl("get", "deployment/web", "-o", "jsonpath={.metadata.generation}"))
        rotations = record.rotations("web", time.time())
        made = set(vault_serials(scenario)) - known
        # What Vault has just made is being stored.
        time.sleep(STORED_SECONDS)
    renewed = [len(life.certificates) - 1 for life in record.of("nginx")]
    early = record.rolled_early("web")
    kills = f"{len(killer.kills)} times in {took:.0f} s {killer.problems or ''}".strip()
    return {
        "refresh": handshakes(between(first["nginx"], seen["nginx"]), took),
        "restart": handshakes(between(first["web"], seen["web"]), took),
        "rotations": Shown(min(renewed) >= plan.rotations, f"{renewed}"),
        "rolls": rolls(record, generation - 1, (*rotations, plan.rotations)),
        "twice": Shown(not early, f"{len(early)} {early or ''}".strip()),
        "kills": Shown(len(killer.kills) >= plan.seconds / (plan.kill_every or 20.0) * 0.8, kills),
        "due": due(scenario, record, Made(made, killer.kills)),
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


def rolls(record: Record, rolled: int, rotations: tuple[int, int, int]) -> Shown:
    """As many rolls as rotations: the Deployment's generations, its ReplicaSets, and what was due agree.

    `rotations`: what was due at least and at most, and what is wanted.
    """
    least, most, asked = rotations
    wanted = str(least) if least == most else f"{least} to {most}"
    good = least <= rolled <= most and rolled >= asked and len(record.revisions_of("web")) == rolled + 1
    return Shown(good, f"{rolled} rolls, {wanted} rotations due, {len(record.revisions_of('web'))} revisions")


class Made:
    """The serials that Vault has made meanwhile, for whomever, and when the manager was killed."""

    def __init__(self, serials: set[str], kills: list[float]) -> None:
        self.serials = serials
        self.kills = kills

    def at_work(self, issued: float) -> bool:
        """A manager that was killed soon after cannot have stored it: it was due, and was made again."""
        return any(-1.0 <= kill - issued <= AT_WORK for kill in self.kills)


def due(scenario: Scenario, record: Record, made: Made) -> Shown:
    """Every certificate that Vault has made was a pod's first one, or its last one was due."""
    stored = record.serials()
    unknown = sorted(made.serials - stored)
    others = {one.serial_number: one for one in vault_certificates(scenario, unknown) if is_of(one, record.namespace)}
    # Vault sets notBefore 30 s back (`not_before_duration`).
    lost = [one for one in others.values() if made.at_work(one.not_valid_before_utc.timestamp() + 30)]
    early = record.too_early() + [f"{one.serial_number:x}" for one in others.values() if one not in lost]
    figure = f"{len(early)} of {len(stored) + len(others)} {early or ''}".strip()
    return Shown(not early, f"{figure}; {len(lost)} lost with a killed manager")


def is_of(certificate: x509.Certificate, namespace: str) -> bool:
    """It has a name of that namespace: others' pods get certificates meanwhile."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return any(f".{namespace}.svc" in name for name in names.get_values_for_type(x509.DNSName))


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
    """Every certificate that Vault keeps; some versions write dashes between the bytes."""
    return [str(key).replace("-", ":") for key in ask_vault(scenario, "pki/certs?list=true")[0]["keys"]]


def vault_certificates(scenario: Scenario, serials: list[str]) -> list[x509.Certificate]:
    """What Vault keeps under these serials."""
    answers = ask_vault(scenario, *(f"pki/cert/{serial}" for serial in serials)) if serials else []
    return [x509.load_pem_x509_certificate(str(answer["certificate"]).encode()) for answer in answers]
