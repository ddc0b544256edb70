"""Rolls and evictions on the real control plane, with no more rights than the manifest gives the manager.

There is no node: controllers make ReplicaSets and Pods, and what a kubelet would report is written by the test.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from kubernetes.client.configuration import Configuration

from certmanager.domain.errors import Conflict, NotFound, NotYet, Refused
from certmanager.domain.model import Owner, Pod, Workload
from certmanager.kube import project
from certmanager.kube.client import MERGE_PATCH, KubeClient, Options, namespaced
from certmanager.kube.workloads import KubeWorkloads
from tests.cluster.running import LocalCluster
from tests.contract.kube_server import Token
from tests.integration.world import eventually

pytestmark = pytest.mark.cluster

APPS = "apis/apps/v1"
POLICY = "apis/policy/v1"
KINDS = ("Deployment", "StatefulSet", "DaemonSet")
READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-22T12:00:00Z"}
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Place:
    """A namespace, all rights to arrange things in it, and the manager's hands."""

    cluster: LocalCluster
    admin: KubeClient
    workloads: KubeWorkloads
    namespace: str

    def path(self, kind: str, name: str | None = None) -> str:
        """The path of a kind's objects, or of one."""
        group = {"Pod": "api/v1", "PodDisruptionBudget": POLICY}.get(kind, APPS)
        return namespaced(group, f"{kind.lower()}s", self.namespace, name)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """An object's JSON."""
        return self.admin.request("GET", self.path(kind, name))

    def items(self, kind: str) -> list[dict[str, Any]]:
        """All objects of a kind."""
        return list(self.admin.request("GET", self.path(kind))["items"])

    def make(self, kind: str, name: str = "web", **spec: Any) -> None:
        """Creates a workload whose pods are enrolled and fit no node."""
        labels = {"app": name}
        body = {
            "replicas": 3,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {
                    "labels": {**labels, "podcert.io/enroll": "true"},
                    "annotations": {"podcert.io/ttl": "24h"},
                },
                "spec": {"nodeSelector": {"none": "none"}, "containers": [{"name": "c", "image": "i"}]},
            },
            **({"serviceName": name} if kind == "StatefulSet" else {}),
            **spec,
        }
        if kind == "DaemonSet":
            del body["replicas"]
        # By another field manager than ours, which the client's own name would make it.
        whole = {"metadata": {"name": name}, "spec": body}
        self.admin.request("POST", self.path(kind), {"fieldManager": "somebody"}, whole)

    def budget(self, name: str, minimum: int) -> None:
        """A PodDisruptionBudget for the pods of `web`, which its controller has seen."""
        body = {
            "metadata": {"name": name},
            "spec": {"minAvailable": minimum, "selector": {"matchLabels": {"app": "web"}}},
        }
        self.admin.request("POST", self.path("PodDisruptionBudget"), body=body)
        self.sees(name, minimum)

    def sees(self, name: str, minimum: int, healthy: int = 3) -> None:
        """Waits until the budget's controller has counted so many healthy pods for that minimum."""

        def seen() -> bool:
            budget = self.get("PodDisruptionBudget", name)
            status, generation = budget.get("status", {}), budget["metadata"]["generation"]
            counted = (status.get("observedGeneration"), status.get("currentHealthy"), status.get("desiredHealthy"))
            return counted == (generation, healthy, minimum)

        eventually(seen, what=f"budget {name} counts {healthy} healthy pods")

    def pods(self) -> list[Pod]:
        """The pods as the manager sees them."""
        return [project.pod(item) for item in self.items("Pod")]

    def run(self, pod: str) -> None:
        """Says of a pod what its kubelet would: it runs and is ready."""
        status = {"status": {"phase": "Running", "conditions": [READY]}}
        self.admin.request("PATCH", self.path("Pod", pod) + "/status", None, status, Options(MERGE_PATCH))

    def run_all(self, count: int) -> None:
        """Waits for so many pods; each is ready as soon as it is there."""

        def running() -> bool:
            for pod in self.pods():
                if not pod.ready:
                    self.run(pod.name)
            return sum(pod.ready for pod in self.pods()) >= count

        eventually(running, what=f"{count} ready pods")

    def view(self, kind: str, name: str = "web") -> Workload:
        """The workload as the manager sees it."""
        found = self.workloads.read(self.namespace, kind, name)
        assert found is not None
        return found

    def roll(self, kind: str, value: str) -> None:
        """Restarts the workload; its controller may write at the same time, then it is read anew."""
        for _ in range(50):
            try:
                return self.workloads.restart(self.view(kind), value)
            except Conflict:
                time.sleep(0.05)
        pytest.fail("always in conflict")

    def kubectl_says_done(self, kind: str) -> bool | None:
        """What `kubectl rollout status` decides; None when the object changed while it was asked."""
        before = self.view(kind).resource_version
        command = ["rollout", "status", "--watch=false", f"{kind}/web", f"--namespace={self.namespace}"]
        words = self.cluster.kubectl(*command, check=False).stdout
        done = "success" in words or "complete" in words.replace("to complete", "")
        return done if self.view(kind).resource_version == before else None

    def agrees_with_kubectl(self, kind: str, settled: bool) -> None:
        """Waits until the workload is (un)settled; kubectl has to say the same of the same version."""
        eventually(lambda: self.view(kind).settled is settled, what=f"settled is {settled}")
        eventually(lambda: self.kubectl_says_done(kind) is settled, what=f"kubectl says {settled}")
        assert self.view(kind).settled is settled


@pytest.fixture(scope="module")
def admin(control_plane: LocalCluster) -> Iterator[KubeClient]:
    made = KubeClient.from_kubeconfig(control_plane.kubeconfig, 4)
    yield made
    made.close()


@pytest.fixture(scope="module")
def manager(installed: LocalCluster) -> Iterator[KubeClient]:
    """A client with the token of the manager's ServiceAccount."""
    configuration = Configuration(host=installed.apiserver_url)
    configuration.ssl_ca_cert = str(installed.ca_file)
    configuration.proxy = None
    made = KubeClient(configuration, Token(installed.token("podcert", "certificate-manager")), 4)
    yield made
    made.close()


@pytest.fixture
def place(control_plane: LocalCluster, admin: KubeClient, manager: KubeClient) -> Iterator[Place]:
    name = f"rolls-{os.getpid()}-{next(_numbers)}"
    made = Place(control_plane, admin, KubeWorkloads(manager), name)
    admin.request("POST", "/api/v1/namespaces", body={"metadata": {"name": name}})
    eventually(lambda: _is_there(admin, namespaced("api/v1", "serviceaccounts", name, "default")))
    yield made
    admin.request("DELETE", f"/api/v1/namespaces/{name}")


def _is_there(client: KubeClient, path: str) -> bool:
    try:
        client.request("GET", path)
    except NotFound:
        return False
    return True


def hashes(place: Place) -> set[str]:
    """The pod-template-hash of each ReplicaSet."""
    return {item["metadata"]["labels"]["pod-template-hash"] for item in place.items("ReplicaSet")}


def test_a_restart_makes_one_new_replica_set_and_the_same_value_again_makes_none(place: Place) -> None:
    place.make("Deployment")
    place.run_all(3)
    eventually(lambda: len(hashes(place)) == 1)
    before = place.get("Deployment", "web")["spec"]["template"]
    place.roll("Deployment", "r1")
    eventually(lambda: len(hashes(place)) == 2, what="a second ReplicaSet")
    after = place.get("Deployment", "web")
    assert place.view("Deployment").restarted_for == "r1"
    assert after["spec"]["template"]["metadata"]["annotations"].pop("podcert.io/restarted-for") == "r1"
    assert after["spec"]["template"] == before
    (ours,) = [entry for entry in after["metadata"]["managedFields"] if entry["manager"] == "podcert"]
    assert ours["fieldsV1"] == {
        "f:spec": {"f:template": {"f:metadata": {"f:annotations": {"f:podcert.io/restarted-for": {}}}}}
    }
    place.roll("Deployment", "r1")
    assert place.get("Deployment", "web")["metadata"]["generation"] == after["metadata"]["generation"]
    place.roll("Deployment", "r2")
    eventually(lambda: len(hashes(place)) == 3, what="a third ReplicaSet")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_rolled_by_a_new_generation_of_its_template(place: Place, kind: str) -> None:
    place.make(kind)
    generation = place.get(kind, "web")["metadata"]["generation"]
    place.roll(kind, "r1")
    after = place.get(kind, "web")
    assert after["metadata"]["generation"] == generation + 1
    assert place.view(kind).template_annotations == {"ttl": "24h", "restarted-for": "r1"}
    eventually(lambda: place.get(kind, "web").get("status", {}).get("observedGeneration") == generation + 1)


def test_a_workload_that_changed_was_deleted_or_made_anew_is_not_rolled(place: Place, admin: KubeClient) -> None:
    place.make("DaemonSet")
    eventually(lambda: place.view("DaemonSet").settled)
    view, path = place.view("DaemonSet"), place.path("DaemonSet", "web")
    admin.request("PATCH", path, None, {"metadata": {"labels": {"touched": "yes"}}}, Options(MERGE_PATCH))
    with pytest.raises(Conflict):
        place.workloads.restart(view, "r1")
    with pytest.raises(Refused, match="uid"):
        place.workloads.restart(replace(place.view("DaemonSet"), uid="00000000-0000-0000-0000-000000000000"), "r1")
    admin.request("DELETE", path)
    with pytest.raises(NotFound):
        place.workloads.restart(view, "r1")
    assert place.workloads.read(place.namespace, "DaemonSet", "web") is None
    place.make("DaemonSet")
    with pytest.raises(Conflict):
        place.workloads.restart(view, "r1")
    assert place.view("DaemonSet").restarted_for is None


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("Deployment", {}),
        ("StatefulSet", {"podManagementPolicy": "Parallel"}),
        ("StatefulSet", {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}),
        ("DaemonSet", {}),
    ],
)
def test_a_workload_is_settled_exactly_when_kubectl_says_so(place: Place, kind: str, spec: dict[str, Any]) -> None:
    place.make(kind, **spec)
    if kind != "DaemonSet":  # which wants no pod, since there is no node
        place.agrees_with_kubectl(kind, settled=False)
        place.run_all(3)
    place.agrees_with_kubectl(kind, settled=True)
    place.roll(kind, "r1")
    if kind != "DaemonSet":
        place.agrees_with_kubectl(kind, settled=False)

    def rolled() -> bool:
        place.run_all(0)
        return place.view(kind).settled

    eventually(rolled, 60, "the roll is over")
    place.agrees_with_kubectl(kind, settled=True)


def test_from_a_pod_to_its_deployment_only_through_the_replica_set_that_lives(place: Place) -> None:
    place.make("Deployment")
    eventually(lambda: len(place.pods()) == 3)
    owner = place.pods()[0].owner
    assert owner is not None
    assert owner.kind == "ReplicaSet"
    uid = place.view("Deployment").uid
    assert place.workloads.controller(place.namespace, owner) == Owner("apps/v1", "Deployment", "web", uid)
    assert place.workloads.controller(place.namespace, replace(owner, uid=uid)) is None
    assert place.workloads.controller(place.namespace, replace(owner, name="none")) is None


def test_a_budget_that_needs_every_pod_is_named_and_never_violated(place: Place, admin: KubeClient) -> None:
    place.make("Deployment")
    place.run_all(3)
    place.budget("all-of-web", 3)
    pod = place.pods()[0]
    with pytest.raises(NotYet) as caught:
        place.workloads.evict(pod)
    print(f"{caught.value.reason}: {caught.value.message}")
    assert (caught.value.reason, caught.value.shared) == ("DisruptionBudget", False)
    assert "The disruption budget all-of-web needs 3 healthy pods and has 3 currently" in caught.value.message
    assert pod.uid in {each.uid for each in place.pods()}
    fewer = {"spec": {"minAvailable": 2}}
    admin.request("PATCH", place.path("PodDisruptionBudget", "all-of-web"), None, fewer, Options(MERGE_PATCH))
    place.sees("all-of-web", 2)
    place.workloads.evict(pod)
    eventually(lambda: pod.uid not in {each.uid for each in place.pods()}, what="the pod is gone")
    place.workloads.evict(pod)


def test_two_budgets_for_one_pod_are_refused_although_the_answer_is_201(place: Place) -> None:
    place.make("Deployment")
    place.run_all(3)
    place.budget("one", 1)
    place.budget("two", 1)
    with pytest.raises(Refused) as caught:
        place.workloads.evict(place.pods()[0])
    print(f"{caught.value.reason}: {caught.value.message}")
    assert caught.value.reason == "DisruptionBudgetsOverlap"
    assert len([pod for pod in place.pods() if pod.ready]) == 3


@pytest.mark.parametrize("running", [True, False])
def test_a_successor_of_the_same_name_is_not_evicted(place: Place, admin: KubeClient, running: bool) -> None:
    def create() -> Pod:
        spec = {"nodeSelector": {"none": "none"}, "containers": [{"name": "c", "image": "i"}]}
        body = {"metadata": {"name": "web-0", "labels": {"podcert.io/enroll": "true"}}, "spec": spec}
        made = project.pod(admin.request("POST", place.path("Pod"), body=body))
        if running:
            place.run("web-0")
        return made

    old = create()
    admin.request("DELETE", place.path("Pod", "web-0"))
    new = create()
    began = time.monotonic()
    place.workloads.evict(old)
    print(f"running: {running}: {time.monotonic() - began:.1f} s")
    assert [pod.uid for pod in place.pods()] == [new.uid]
    place.workloads.evict(new)
    eventually(lambda: place.pods() == [])


def refused(action: Callable[[], object]) -> bool:
    """The API server forbids it."""
    try:
        action()
    except Refused as error:
        return error.reason == "KubernetesForbidden"
    return False


def test_the_manager_may_roll_and_evict_but_neither_create_nor_delete_nor_replace(
    place: Place, manager: KubeClient
) -> None:
    place.make("Deployment")
    eventually(lambda: len(place.pods()) == 3)
    one, pod = place.path("Deployment", "web"), place.path("Pod", place.pods()[0].name)
    body = place.get("Deployment", "web")
    for method, path in [("PUT", one), ("DELETE", one), ("POST", place.path("Deployment")), ("DELETE", pod)]:
        assert refused(lambda method=method, path=path: manager.request(method, path, body=body)), (method, path)  # type: ignore[misc]
    label = {"metadata": {"labels": {"podcert.io/enroll": "false"}}}
    assert refused(lambda: manager.request("PATCH", pod, None, label, Options(MERGE_PATCH)))
    assert refused(
        lambda: manager.request("PATCH", one + "/scale", None, {"spec": {"replicas": 0}}, Options(MERGE_PATCH))
    )
