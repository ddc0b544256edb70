"""Workloads and evictions against an API server that refuses: what each refusal means, and what exactly is asked."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from certmanager.domain.errors import Conflict, NotFound, NotYet, PodcertError, Refused
from certmanager.domain.model import Owner, Pod
from certmanager.kube.project_workload import workload
from certmanager.kube.workloads import KubeWorkloads
from tests.contract.kube_server import Answer, Connection, Request, client, fails, says, serving, status

POD = Pod("shop", "web-0", "uid-1", 41, "web", {}, {}, 0.0)
WORKLOAD = replace(
    workload(
        {"metadata": {"name": "web", "namespace": "shop", "uid": "uid-d", "resourceVersion": "815"}}, "Deployment"
    ),
    template_annotations={"ttl": "24h"},
)
REPLICA_SET = Owner("apps/v1", "ReplicaSet", "web-6f9", "uid-r")
DEPLOYMENT = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "uid-d", "controller": True}
NEEDS = "The disruption budget web-pdb needs 3 healthy pods and has 3 currently"
VIOLATES = "Cannot evict pod as it would violate the pod's disruption budget."
MODIFIED = 'Operation cannot be fulfilled on poddisruptionbudgets.policy "web-pdb": the object has been modified'
UNCONFIRMED = 'poddisruptionbudgets.policy "web-pdb" is forbidden: DisruptedPods map too big'
SEVERAL = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
UID = "the UID in the precondition (uid-1) does not match the UID in record (uid-2)."
DONE = {"kind": "Status", "apiVersion": "v1", "status": "Success", "code": 201}


def refuses(code: int, message: str, http: int = 0, reason: str = "", **details: Any) -> Answer:
    """Answers with a Status, under its own code or another one."""
    body = status(code, message, reason) | {"status": "Failure", "details": details}
    headers = {"Retry-After": str(details["retryAfterSeconds"])} if "retryAfterSeconds" in details else {}
    return lambda connection, _request: connection.answer(http or code, body, headers)


def lives(uid: str) -> Answer:
    """A pod of that uid."""
    return says({"kind": "PartialObjectMetadata", "metadata": {"name": "web-0", "uid": uid}})


def cause(message: str) -> list[dict[str, str]]:
    """The causes by which a budget is named."""
    return [{"reason": "DisruptionBudget", "message": message}]


def test_a_restart_patches_one_annotation_of_the_template_with_uid_and_version_as_preconditions() -> None:
    with serving(PATCH=[says({})]) as server:
        KubeWorkloads(client(server)).restart(WORKLOAD, "r5")
        (request,) = server.of("PATCH")
    assert request.path == "/apis/apps/v1/namespaces/shop/deployments/web"
    assert request.headers["content-type"] == "application/strategic-merge-patch+json"
    assert request.query == {"fieldManager": "podcert"}
    assert json.loads(request.body) == {
        "metadata": {"uid": "uid-d", "resourceVersion": "815"},
        "spec": {"template": {"metadata": {"annotations": {"podcert.io/restarted-for": "r5"}}}},
    }


@pytest.mark.parametrize(
    ("code", "words", "kind", "says_what"),
    [
        (403, 'User "x" cannot patch resource "deployments"', Refused, "compare the manager's ClusterRole"),
        (403, "admission policy denied the request", Refused, "admission rule"),
        (404, "", NotFound, "patch deployments web in namespace shop"),
        (409, "", Conflict, "it has changed meanwhile"),
        (422, "metadata.uid: field is immutable", Refused, "field is immutable"),
        (429, "", NotYet, "busy"),
        (503, "", NotYet, "busy"),
    ],
)
def test_a_refused_restart_is_one_of_the_three_kinds_of_error(
    code: int, words: str, kind: type[PodcertError], says_what: str
) -> None:
    with serving(PATCH=[fails(code, words)]) as server, pytest.raises(kind) as caught:
        KubeWorkloads(client(server)).restart(WORKLOAD, "r5")
    assert says_what in caught.value.message


@pytest.mark.parametrize(
    ("kind", "path"),
    [("Deployment", "deployments"), ("StatefulSet", "statefulsets"), ("DaemonSet", "daemonsets")],
)
def test_each_kind_is_read_where_it_lives(kind: str, path: str) -> None:
    item = {"metadata": {"name": "web", "namespace": "shop", "uid": "uid-d", "resourceVersion": "3"}}
    with serving(list=[says(item)]) as server:
        found = KubeWorkloads(client(server)).read("shop", kind, "web")
        assert server.of("list")[0].path == f"/apis/apps/v1/namespaces/shop/{path}/web"
    assert found is not None
    assert (found.kind, found.uid, found.resource_version, found.settled) == (kind, "uid-d", 3, False)


@pytest.mark.parametrize("kind", ["Job", "ReplicaSet", "Rollout", "", "../secrets", "deployment"])
def test_another_kind_is_not_asked_for(kind: str) -> None:
    with serving(list=[says({})]) as server:
        assert KubeWorkloads(client(server)).read("shop", kind, "web") is None
        assert server.asked == []


def test_what_is_not_there_is_none_and_what_is_forbidden_is_told() -> None:
    with serving(list=[fails(404), fails(404), fails(403)]) as server:
        workloads = KubeWorkloads(client(server))
        assert workloads.read("shop", "Deployment", "web") is None
        assert workloads.controller("shop", REPLICA_SET) is None
        with pytest.raises(Refused, match="read deployments web in namespace shop"):
            workloads.read("shop", "Deployment", "web")


@pytest.mark.parametrize(
    ("uid", "references", "found"),
    [
        ("uid-r", [DEPLOYMENT], Owner("apps/v1", "Deployment", "web", "uid-d")),
        ("uid-r", [{**DEPLOYMENT, "controller": False}], None),
        ("uid-r", [], None),
        ("another", [DEPLOYMENT], None),
        ("", [DEPLOYMENT], None),
    ],
)
def test_a_replica_sets_controller_counts_only_if_its_uid_is_the_pods_owners(
    uid: str, references: list[dict[str, Any]], found: Owner | None
) -> None:
    item = {"metadata": {"name": "web-6f9", "uid": uid, "ownerReferences": references}}
    with serving(list=[says(item)]) as server:
        assert KubeWorkloads(client(server)).controller("shop", REPLICA_SET) == found
        assert server.of("list")[0].path == "/apis/apps/v1/namespaces/shop/replicasets/web-6f9"


@pytest.mark.parametrize(
    "owner",
    [
        replace(REPLICA_SET, kind="StatefulSet"),
        replace(REPLICA_SET, kind="Job", api_version="batch/v1"),
        replace(REPLICA_SET, api_version="example.com/v1"),
    ],
)
def test_an_owner_that_is_no_replica_set_is_not_asked_for(owner: Owner) -> None:
    with serving(list=[says({})]) as server:
        assert KubeWorkloads(client(server)).controller("shop", owner) is None
        assert server.asked == []


def test_an_eviction_names_the_pods_uid() -> None:
    with serving(POST=[says(DONE)], list=[lives("uid-1")]) as server:
        KubeWorkloads(client(server)).evict(POD)
        (request,) = server.of("POST")
    assert request.path == "/api/v1/namespaces/shop/pods/web-0/eviction"
    assert json.loads(request.body) == {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": "web-0", "namespace": "shop"},
        "deleteOptions": {"preconditions": {"uid": "uid-1"}},
    }


@pytest.mark.parametrize(
    ("answer", "named", "retry_after"),
    [
        (refuses(429, VIOLATES, causes=cause(NEEDS)), NEEDS, None),
        (refuses(429, VIOLATES, causes=cause(NEEDS), retryAfterSeconds=10), NEEDS, 10.0),
        (refuses(403, UNCONFIRMED, kind="poddisruptionbudget"), "DisruptedPods map too big", None),
        (refuses(409, MODIFIED, reason="Conflict", kind="poddisruptionbudgets"), "web-pdb", None),
        (refuses(504, 'couldn\'t update PodDisruptionBudget "web-pdb" due to conflicts'), "web-pdb", None),
    ],
)
def test_a_budget_that_says_no_is_not_yet_and_is_named(answer: Answer, named: str, retry_after: float | None) -> None:
    with serving(POST=[answer], list=[lives("uid-1")]) as server, pytest.raises(NotYet) as caught:
        KubeWorkloads(client(server)).evict(POD)
    assert type(caught.value) is NotYet
    assert caught.value.reason == "DisruptionBudget"
    assert caught.value.message.startswith("cannot evict pods web-0 in namespace shop: ")
    assert named in caught.value.message
    # One budget is no outage: other pods go on.
    assert (caught.value.retry_after, caught.value.shared) == (retry_after, False)


@pytest.mark.parametrize(
    "answer", [fails(429, "too many requests", Retry_After="1"), refuses(429, "busy", causes=[{}])]
)
def test_a_429_that_no_budget_caused_is_the_api_servers_own_load(answer: Answer) -> None:
    with serving(POST=[answer], list=[lives("uid-1")]) as server, pytest.raises(NotYet) as caught:
        KubeWorkloads(client(server)).evict(POD)
    assert (caught.value.reason, caught.value.shared) == ("KubernetesBusy", True)


@pytest.mark.parametrize("http", [201, 500])
def test_several_budgets_for_one_pod_are_refused_even_when_the_answer_looks_like_success(http: int) -> None:
    with serving(POST=[refuses(500, SEVERAL, http)], list=[lives("uid-1")]) as server, pytest.raises(Refused) as caught:
        KubeWorkloads(client(server)).evict(POD)
    assert caught.value.reason == "DisruptionBudgetsOverlap"
    assert "let one of them alone" in caught.value.message


def test_a_failure_that_comes_as_success_is_a_failure() -> None:
    with serving(POST=[refuses(503, "not now", 201), refuses(0, "what", 201)], list=[lives("uid-1")]) as server:
        for _ in range(2):
            with pytest.raises(NotYet, match="KubernetesBusy"):
                KubeWorkloads(client(server)).evict(POD)


@pytest.mark.parametrize("now", [fails(404), lives("uid-2")])
@pytest.mark.parametrize("reason", ["Conflict", ""])
def test_a_pod_of_that_uid_which_is_gone_is_success(now: Answer, reason: str) -> None:
    with serving(POST=[refuses(409, UID, reason=reason, kind="Pod")], list=[lives("uid-1"), now]) as server:
        KubeWorkloads(client(server)).evict(POD)
        assert [kind for kind, _ in server.asked] == ["list", "POST", "list"]
    with serving(POST=[fails(404)], list=[lives("uid-1")]) as server:
        KubeWorkloads(client(server)).evict(POD)


@pytest.mark.parametrize("reason", ["Conflict", ""])
def test_a_conflict_over_a_pod_that_still_lives_is_tried_again(reason: str) -> None:
    conflict = refuses(409, "the ResourceVersion in the precondition does not match", reason=reason, kind="Pod")
    with (
        serving(POST=[conflict], list=[lives("uid-1")]) as server,
        pytest.raises(Conflict) as caught,
    ):
        KubeWorkloads(client(server)).evict(POD)
    assert caught.value.__cause__ is None


def test_without_the_right_to_evict_the_refusal_says_where_it_comes_from() -> None:
    words = 'pods "web-0" is forbidden: User "x" cannot create resource "pods/eviction" in API group ""'
    with (
        serving(POST=[refuses(403, words, kind="pods", name="web-0")], list=[lives("uid-1")]) as server,
        pytest.raises(Refused) as caught,
    ):
        KubeWorkloads(client(server)).evict(POD)
    assert caught.value.reason == "KubernetesForbidden"
    assert "compare the manager's ClusterRole" in caught.value.message


def test_no_answer_to_an_eviction_is_not_yet() -> None:
    def reset(connection: Connection, _request: Request) -> None:
        connection.reset()

    with serving(POST=[reset], list=[lives("uid-1")]) as server, pytest.raises(NotYet, match="KubernetesUnreachable"):
        KubeWorkloads(client(server)).evict(POD)


@pytest.mark.parametrize("now", [fails(404), lives("uid-2")])
def test_a_pod_that_is_known_to_be_gone_is_not_evicted_again(now: Answer) -> None:
    with serving(list=[now]) as server:
        KubeWorkloads(client(server)).evict(POD)
        assert server.of("POST") == []
