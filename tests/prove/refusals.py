"""A PodDisruptionBudget that says no, and a paused Deployment: neither is passed by, and people are told what follows."""

from __future__ import annotations

import json
import time

from tests.bench.counters import total
from tests.cluster.running import LocalCluster
from tests.e2e.record import Record
from tests.e2e.rotating import Change, Place, manager_metrics, until
from tests.e2e.scenario import Scenario
from tests.prove.parts import say
from tests.prove.proof import Shown

EXPIRATION = "podcert_certificate_expiration_timestamp_seconds"


def run(scenario: Scenario, namespace: str = "prove-refusals") -> dict[str, Shown]:
    """The lines `budget`, `told`, `evicted`, `paused`, `resumed`."""
    cluster = scenario.cluster
    assert isinstance(cluster, LocalCluster)
    say("a budget of all replicas, and a paused Deployment")
    with Place(scenario, namespace) as place, Record(cluster, place.namespace) as record:
        place.example("deployment-restart.yaml", Change(replicas=2))
        place.example("statefulset-evict.yaml", Change())
        patch_budget(place, 3)
        place.rolled_out("deployment/web", "statefulset/db")
        place.kubectl("rollout", "pause", "deployment/web")
        first = {life.name: life for life in record.of("db") + record.of("web")}
        ends = {name: life.certificates[0].end for name, life in first.items()}
        uids = uids_of(place)
        time.sleep(max(0.0, max(ends.values()) + 3 - time.time()))
        lines = {
            "budget": budget(record, uids == uids_of(place)),
            "told": told(place, ends),
            "paused": paused(place, ends),
        }
        say("the budget allows one, the Deployment is resumed")
        patch_budget(place, 2)
        rolled = generation(place)
        place.kubectl("rollout", "resume", "deployment/web")
        lines["evicted"] = evicted(place, uids)
        lines["resumed"] = resumed(place, uids, rolled)
    return lines


def patch_budget(place: Place, least: int) -> None:
    """Sets minAvailable."""
    place.kubectl("patch", "pdb/db", "--type=merge", "-p", json.dumps({"spec": {"minAvailable": least}}))


def uids_of(place: Place) -> set[str]:
    """Of the pods that are not ending."""
    pods = place.get("pods")
    return {pod["metadata"]["uid"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}


def generation(place: Place) -> int:
    """How often the Deployment's spec was changed."""
    return int(place.kubectl("get", "deployment/web", "-o", "jsonpath={.metadata.generation}"))


def budget(record: Record, same: bool) -> Shown:
    """No pod was evicted; each Secret's second certificate came before the end of its first."""
    spare = [
        life.certificates[0].end - life.certificates[1].issued if len(life.certificates) > 1 else -1.0
        for life in record.of("db")
    ]
    figure = f"0 of {len(spare)} pods evicted; renewed {min(spare):.0f} to {max(spare):.0f} s before the end"
    return Shown(same and min(spare) > 0, figure if same else "pods were evicted")


def told(place: Place, ends: dict[str, float]) -> Shown:
    """Warnings and the metric of the budget's pods."""
    denied, outdated = place.events("DisruptionBudget"), place.events("FilesOutdated")
    mine = {event.partition(":")[0] for event in outdated}
    named = all(name in mine for name in ends if name.startswith("db-"))
    shown = served(place, "db-0")
    figure = f"{denied[0] if denied else 'no Event'} | {outdated[0] if outdated else 'no Event'} | metric {shown:.0f}"
    return Shown(bool(denied) and named and abs(shown - ends["db-0"]) < 2, figure)


def paused(place: Place, ends: dict[str, float]) -> Shown:
    """The template was not touched, the Secrets are fresh, the metric says what is served."""
    name = next(name for name in sorted(ends) if name.startswith("web-"))
    note = "jsonpath={.spec.template.metadata.annotations.podcert\\.io/restarted-for}"
    rolled = place.kubectl("get", "deployment/web", "-o", note)
    end, warned = served(place, name), place.events("WorkloadPaused")
    figure = f"rolled for {rolled!r}; metric {end - time.time():.0f} s from now; {warned[0] if warned else 'no Event'}"
    return Shown(not rolled and abs(end - ends[name]) < 2 and bool(warned), figure)


def served(place: Place, pod: str) -> float:
    """The end of what a pod serves, by the manager's metrics."""
    return total(manager_metrics(place.scenario), EXPIRATION, namespace=place.namespace, pod=pod)


def evicted(place: Place, old: set[str]) -> Shown:
    """Every pod of the StatefulSet is a new one and ready, and at no moment was more than one of three missing."""
    fewest = 3

    def replaced() -> bool:
        nonlocal fewest
        pods = place.get("pods", "-l", "app=db")
        ready = [pod for pod in pods if is_ready(pod)]
        fewest = min(fewest, len(ready))
        return len(ready) == 3 and not {pod["metadata"]["uid"] for pod in pods} & old

    took = until("all pods replaced", replaced, 90, pause=1.0)
    return Shown(fewest >= 2, f"after {took:.0f} s; {fewest} of 3 ready at the least")


def is_ready(pod: dict[str, object]) -> bool:
    """Its condition, and that it is not ending."""
    meta, status = pod["metadata"], pod["status"]
    assert isinstance(meta, dict)
    assert isinstance(status, dict)
    conditions = {each["type"]: each["status"] for each in status.get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in meta


def resumed(place: Place, old: set[str], before: int) -> Shown:
    """The resuming itself counts as one generation, the roll as one."""

    def replaced() -> bool:
        return not {pod["metadata"]["uid"] for pod in place.get("pods", "-l", "app=web")} & old

    took = until("the roll", replaced, 60, pause=1.0)
    rolls = generation(place) - before - 1
    return Shown(rolls == 1, f"{rolls} roll, done {took:.0f} s later")
