"""Workloads as the API server shows them: what is read of them, and when a roll is over. Tables of states as they occur."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain.model import Workload
from certmanager.kube.project_workload import KINDS, workload
from tests.unit.kube.shapes import ANY_JSON

DEPLOYMENT: dict[str, Any] = {
    "metadata": {
        "name": "web",
        "namespace": "shop",
        "uid": "uid-d",
        "resourceVersion": "815",
        "generation": 7,
        "annotations": {"deployment.kubernetes.io/revision": "4", "podcert.io/ttl": "not the template's"},
    },
    "spec": {
        "replicas": 3,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {
                "labels": {"app": "web", "podcert.io/enroll": "true"},
                "annotations": {
                    "podcert.io/rotation": "restart",
                    "podcert.io/restarted-for": "r4",
                    "kubectl.kubernetes.io/restartedAt": "2026-11-22T12:00:00Z",
                },
            }
        },
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
    },
    "status": {
        "observedGeneration": 7,
        "replicas": 3,
        "updatedReplicas": 3,
        "readyReplicas": 3,
        "availableReplicas": 3,
        "conditions": [
            {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
        ],
    },
}
STATEFUL_SET: dict[str, Any] = {
    "metadata": {"name": "db", "namespace": "shop", "uid": "uid-s", "resourceVersion": "9", "generation": 2},
    "spec": {
        "replicas": 3,
        "selector": {"matchLabels": {"app": "db"}},
        "template": {"metadata": {"labels": {"app": "db"}}},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
    },
    "status": {
        "observedGeneration": 2,
        "replicas": 3,
        "readyReplicas": 3,
        "availableReplicas": 3,
        "currentReplicas": 3,
        "updatedReplicas": 3,
        "currentRevision": "db-6f9",
        "updateRevision": "db-6f9",
    },
}
DAEMON_SET: dict[str, Any] = {
    "metadata": {"name": "agent", "namespace": "shop", "uid": "uid-a", "resourceVersion": "10", "generation": 3},
    "spec": {
        "selector": {"matchLabels": {"app": "agent"}},
        "template": {"metadata": {"labels": {"app": "agent"}}},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
    },
    "status": {
        "observedGeneration": 3,
        "desiredNumberScheduled": 5,
        "currentNumberScheduled": 5,
        "updatedNumberScheduled": 5,
        "numberReady": 5,
        "numberAvailable": 5,
    },
}
WHOLE = {"Deployment": DEPLOYMENT, "StatefulSet": STATEFUL_SET, "DaemonSet": DAEMON_SET}
SAME_PARTITION = {"spec/updateStrategy/rollingUpdate/partition": 2}
DEADLINE = [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]
OLD = {"status/currentRevision": "db-5a1"}


def changed(kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The settled object with some fields (by path) set to something else, or removed where the value is None."""
    item: dict[str, Any] = json.loads(json.dumps(WHOLE[kind]))
    for path, value in fields.items():
        *parents, last = path.split("/")
        place = item
        for key in parents:
            place = place.setdefault(key, {})
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return item


def test_a_whole_deployment_is_read() -> None:
    assert workload(DEPLOYMENT, "Deployment") == Workload(
        namespace="shop",
        kind="Deployment",
        name="web",
        uid="uid-d",
        resource_version=815,
        selector={"app": "web"},
        selector_is_simple=True,
        template_labels={"app": "web", "podcert.io/enroll": "true"},
        template_annotations={"rotation": "restart", "restarted-for": "r4"},
        paused=False,
        on_delete=False,
        partition=0,
        replicas=3,
        settled=True,
        restarted_for="r4",
    )


def test_a_stateful_set_and_a_daemon_set_say_how_many_they_want_and_that_nothing_was_restarted() -> None:
    db, agent = workload(STATEFUL_SET, "StatefulSet"), workload(DAEMON_SET, "DaemonSet")
    assert (db.kind, db.replicas, db.restarted_for, db.settled) == ("StatefulSet", 3, None, True)
    assert (agent.kind, agent.replicas, agent.restarted_for, agent.settled) == ("DaemonSet", 5, None, True)


def test_expressions_in_the_selector_are_told() -> None:
    expression = {"key": "tier", "operator": "Exists"}
    found = workload(changed("Deployment", {"spec/selector/matchExpressions": [expression]}), "Deployment")
    assert (found.selector, found.selector_is_simple) == ({"app": "web"}, False)


def test_a_paused_deployment_a_partition_and_on_delete_are_told() -> None:
    assert workload(changed("Deployment", {"spec/paused": True}), "Deployment").paused
    assert workload(changed("StatefulSet", SAME_PARTITION), "StatefulSet").partition == 2
    for kind in ("StatefulSet", "DaemonSet"):
        by_hand = workload(changed(kind, {"spec/updateStrategy": {"type": "OnDelete"}}), kind)
        assert (by_hand.on_delete, by_hand.partition) == (True, 0)


def test_a_deployment_wants_one_replica_when_it_names_no_number() -> None:
    assert workload(changed("Deployment", {"spec/replicas": None}), "Deployment").replicas == 1


@pytest.mark.parametrize(
    ("kind", "fields", "settled"),
    [
        # The counters still speak of the template before.
        ("Deployment", {"metadata/generation": 8}, False),
        ("StatefulSet", {"metadata/generation": 3}, False),
        ("DaemonSet", {"metadata/generation": 4}, False),
        ("Deployment", {"status/observedGeneration": 9}, True),
        # Just created: the controller has written nothing.
        ("Deployment", {"status": {}}, False),
        ("StatefulSet", {"status": {}}, False),
        ("DaemonSet", {"status": {}}, False),
        # Deployment: new replicas to come, old ones to go, new ones not available.
        ("Deployment", {"status/updatedReplicas": 2}, False),
        ("Deployment", {"status/replicas": 4}, False),
        ("Deployment", {"status/availableReplicas": 2}, False),
        ("Deployment", {"status/availableReplicas": None}, False),
        ("Deployment", {"status/conditions": DEADLINE}, False),
        ("Deployment", {"spec/replicas": 0, "status": {"observedGeneration": 7}}, True),
        ("Deployment", {"spec/replicas": 2}, True),
        ("Deployment", {"spec/paused": True}, True),
        # StatefulSet: from the highest ordinal down to the partition.
        ("StatefulSet", {"status/readyReplicas": 2}, False),
        ("StatefulSet", {"status/updatedReplicas": 2}, False),
        ("StatefulSet", OLD, False),
        ("StatefulSet", SAME_PARTITION | OLD | {"status/updatedReplicas": 1}, True),
        ("StatefulSet", SAME_PARTITION | OLD | {"status/updatedReplicas": 0}, False),
        ("StatefulSet", SAME_PARTITION | {"status/updatedReplicas": 1, "status/readyReplicas": 2}, False),
        ("StatefulSet", {"spec/updateStrategy/rollingUpdate/partition": 9} | OLD | {"status/updatedReplicas": 0}, True),
        ("StatefulSet", {"spec/replicas": 0, "status/readyReplicas": 0, "status/updatedReplicas": 0}, True),
        # DaemonSet: node by node.
        ("DaemonSet", {"status/updatedNumberScheduled": 4}, False),
        ("DaemonSet", {"status/updatedNumberScheduled": None}, False),
        ("DaemonSet", {"status/numberAvailable": 4}, False),
        ("DaemonSet", {"status": {"observedGeneration": 3}}, True),
        # OnDelete: whoever is replaced next, all have to be in service first; of whichever template they are.
        ("StatefulSet", {"spec/updateStrategy": {"type": "OnDelete"}, "status/updatedReplicas": 0} | OLD, True),
        ("StatefulSet", {"spec/updateStrategy": {"type": "OnDelete"}, "status/readyReplicas": 2}, False),
        ("DaemonSet", {"spec/updateStrategy": {"type": "OnDelete"}, "status/updatedNumberScheduled": 0}, True),
        ("DaemonSet", {"spec/updateStrategy": {"type": "OnDelete"}, "status/numberAvailable": 4}, False),
    ],
)
def test_a_roll_is_over_when_kubectl_rollout_status_says_so(kind: str, fields: dict[str, Any], settled: bool) -> None:
    assert workload(changed(kind, fields), kind).settled is settled


paths = st.sampled_from(
    [
        "metadata",
        "metadata/generation",
        "spec",
        "spec/replicas",
        "spec/selector",
        "spec/selector/matchLabels",
        "spec/selector/matchExpressions",
        "spec/template",
        "spec/template/metadata",
        "spec/updateStrategy",
        "spec/updateStrategy/rollingUpdate",
        "spec/updateStrategy/rollingUpdate/partition",
        "status",
        "status/conditions",
        "status/observedGeneration",
        "status/updatedReplicas",
        "status/currentRevision",
    ]
)


@given(st.sampled_from(sorted(KINDS)), paths, ANY_JSON)
def test_a_field_of_any_shape_never_raises(kind: str, path: str, value: object) -> None:
    found = workload(changed(kind, {path: value}), kind)
    assert found.partition >= 0


@given(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4), st.integers(0, 4))
def test_a_deployment_with_a_replica_that_is_not_new_and_available_has_not_settled(
    wanted: int, there: int, updated: int, available: int
) -> None:
    status = {
        "observedGeneration": 7,
        "replicas": there,
        "updatedReplicas": updated,
        "availableReplicas": available,
    }
    found = workload(changed("Deployment", {"spec/replicas": wanted, "status": status}), "Deployment")
    if found.settled:
        assert wanted <= updated <= available
        assert there <= updated
    else:
        assert updated < wanted or there > updated or available < updated
