"""The API server for real: what it stores, what it refuses, and what a ServiceAccount may do with the Roles made here."""

from __future__ import annotations

import base64
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest

from certmanager.domain.errors import AlreadyExists, Conflict, NotFound, Refused
from certmanager.domain.model import Bundle, Leaf, Material, Names, Pod, SecretWrite
from certmanager.kube import project
from certmanager.kube.client import KubeClient, namespaced
from certmanager.kube.events import EventLimits, EventRecorder
from certmanager.kube.project import SecretReader
from certmanager.kube.roles import GROUP, KubeRoleStore
from certmanager.kube.secrets import KubeSecretStore
from certmanager.kube.watch import Pace
from certmanager.kube.watches import Scope, Sinks, Watches

pytestmark = pytest.mark.cluster

BUNDLE = Bundle(Leaf("0a", 0.0, 1.0, Names(), "ec-256", "00"), True, True, frozenset(), None)


class ControlPlane(Protocol):
    @property
    def kubeconfig(self) -> Path: ...


@pytest.fixture(scope="module")
def client(control_plane: ControlPlane) -> Iterator[KubeClient]:
    made = KubeClient.from_kubeconfig(control_plane.kubeconfig, 8)
    yield made
    made.close()


@pytest.fixture
def pod(client: KubeClient) -> Pod:
    """A pod in a namespace of its own; real, because the garbage collector deletes Secrets whose owner is not."""
    name = f"kube-{uuid.uuid4().hex[:8]}"
    client.request("POST", "/api/v1/namespaces", body={"metadata": {"name": name}})
    return start(client, name, "web-0")


@pytest.fixture
def namespace(pod: Pod) -> str:
    return pod.namespace


def start(client: KubeClient, namespace: str, name: str) -> Pod:
    """Creates an enrolled pod that no node will run."""
    with suppress(AlreadyExists):
        path = namespaced("api/v1", "serviceaccounts", namespace)
        client.request("POST", path, body={"metadata": {"name": "default"}})
    body = {
        "metadata": {"name": name, "labels": {"podcert.io/enroll": "true"}},
        "spec": {
            "containers": [{"name": "c", "image": "i"}],
            "automountServiceAccountToken": False,
            "nodeSelector": {"none": "none"},
        },
    }
    return project.pod(client.request("POST", namespaced("api/v1", "pods", namespace), body=body))


def write(pod: Pod, name: str = "web-0-cert", serial: str = "0a") -> SecretWrite:
    return SecretWrite(pod, name, {"serial": serial}, Material("certificate", "key", "ca"), BUNDLE)


def eventually(fact: Callable[[], bool]) -> None:
    for _ in range(2000):
        if fact():
            return
        time.sleep(0.005)
    pytest.fail("it did not come about")


def test_a_secret_is_created_read_replaced_and_deleted_by_version(client: KubeClient, namespace: str, pod: Pod) -> None:
    store = KubeSecretStore(client, SecretReader())
    made = store.create(write(pod))
    assert store.read(namespace, made.name) == made
    with pytest.raises(AlreadyExists):
        store.create(write(pod))
    new = store.replace(write(pod, serial="0b"), made)
    assert (new.uid, new.annotations["serial"]) == (made.uid, "0b")
    with pytest.raises(Conflict):
        store.replace(write(pod, serial="0c"), made)
    with pytest.raises(Conflict):
        store.delete(made)
    store.delete(new)
    store.delete(new)
    assert store.read(namespace, made.name) is None


def test_a_secret_recreated_under_the_same_name_is_not_replaced(client: KubeClient, namespace: str, pod: Pod) -> None:
    store = KubeSecretStore(client, SecretReader())
    first = store.create(write(pod))
    store.delete(first)
    store.create(write(pod))
    with pytest.raises(Conflict):
        store.replace(write(pod), first)


def test_a_namespace_that_is_not_there_and_a_name_that_cannot_be(client: KubeClient, namespace: str, pod: Pod) -> None:
    store = KubeSecretStore(client, SecretReader())
    with pytest.raises(NotFound):
        store.create(write(replace(pod, namespace=f"{namespace}-not")))
    with pytest.raises(Refused) as caught:
        store.create(write(pod, name="Not_A_Name"))
    assert "Not_A_Name" in caught.value.message
    assert base64.b64encode(b"key").decode() not in caught.value.message


class Recorder:
    def __init__(self) -> None:
        self.here: dict[str, object] = {}
        self.replaced = 0

    def replace(self, items: Sequence[Any], version: int) -> None:
        assert version > 0
        self.here = {item.name: item for item in items}
        self.replaced += 1

    def upsert(self, view: Any) -> None:
        self.here[view.name] = view

    def delete(self, view: Any) -> None:
        self.here.pop(view.name, None)


@pytest.mark.parametrize("scoped", [False, True])
def test_the_watches_follow_pods_services_and_our_secrets(
    client: KubeClient, namespace: str, pod: Pod, scoped: bool
) -> None:
    pods, services, secrets = Recorder(), Recorder(), Recorder()
    reader = SecretReader()
    store = KubeSecretStore(client, reader)
    store.create(write(pod, "before"))
    client.request(
        "POST",
        namespaced("api/v1", "secrets", namespace),
        body={"metadata": {"name": "foreign"}, "stringData": {"a": "b"}},
    )
    scope = Scope((namespace, "default") if scoped else None, reader, Pace(page=1))
    watches = Watches(client, Sinks(pods, services, secrets), scope)
    watches.start()
    try:
        eventually(lambda: watches.synced and not watches.problems())
        assert "before" in secrets.here
        assert "foreign" not in secrets.here
        body = {"metadata": {"name": "server"}, "spec": {"clusterIP": "None", "selector": {"app": "web"}}}
        client.request("POST", namespaced("api/v1", "services", namespace), body=body)
        eventually(lambda: "server" in services.here)
        made = store.create(write(pod, "after"))
        eventually(lambda: secrets.here.get("after") == made)
        store.delete(made)
        client.request("DELETE", namespaced("api/v1", "services", namespace, "server"))
        eventually(lambda: "after" not in secrets.here and "server" not in services.here)
        start(client, namespace, "web-1")
        eventually(lambda: {"web-0", "web-1"} <= set(pods.here))
        assert {"pods", "services", "secrets"} == set(watches.last_seen())
        assert watches.dead() == ()
    finally:
        watches.stop()
    assert len(watches.dead()) == len(watches.reflectors)
    assert secrets.replaced == 1


def may(client: KubeClient, namespace: str, account: str, verb: str, name: str) -> bool:
    """Whether the ServiceAccount may do this to the Secret, as the API server says."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{namespace}:{account}",
            "resourceAttributes": {"namespace": namespace, "verb": verb, "resource": "secrets", "name": name},
        },
    }
    answer = client.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body=review)
    return bool(answer["status"]["allowed"])


def test_a_serviceaccount_reads_its_own_secrets_and_no_other(client: KubeClient, namespace: str) -> None:
    roles = KubeRoleStore(client)
    assert roles.reconcile(namespace, "web", ["own"]) == 2
    eventually(lambda: may(client, namespace, "web", "get", "own"))
    assert may(client, namespace, "web", "watch", "own")
    assert not may(client, namespace, "web", "get", "other")
    assert not may(client, namespace, "web", "list", "own")
    assert not may(client, namespace, "web", "update", "own")
    assert not may(client, namespace, "db", "get", "own")
    assert roles.reconcile(namespace, "web", []) == 2
    eventually(lambda: not may(client, namespace, "web", "get", "own"))


def test_an_unchanged_state_costs_nothing_and_a_change_one_write(client: KubeClient, namespace: str) -> None:
    roles = KubeRoleStore(client)
    names = [f"secret-{number:04}" for number in range(1001)]
    assert roles.reconcile(namespace, "web", names) == 6
    assert roles.reconcile(namespace, "web", names) == 0
    assert roles.reconcile(namespace, "web", names[1:]) == 1
    again = KubeRoleStore(client)
    assert (namespace, "web") in again.managed()
    assert again.reconcile(namespace, "web", names[1:]) == 0
    assert KubeRoleStore(client, (namespace,)).reconcile(namespace, "web", names[1:]) == 0


def test_what_somebody_changed_is_set_right(client: KubeClient, namespace: str) -> None:
    roles = KubeRoleStore(client)
    roles.reconcile(namespace, "web", ["own"])
    path = namespaced(GROUP, "roles", namespace, "podcert-web")
    role = client.request("GET", path)
    role["rules"][0]["resourceNames"] = ["own", "stolen"]
    client.request("PUT", path, body=role)
    client.request("DELETE", namespaced(GROUP, "rolebindings", namespace, "podcert-web"))
    roles.managed()
    assert roles.reconcile(namespace, "web", ["own"]) == 2
    assert client.request("GET", path)["rules"][0]["resourceNames"] == ["own"]


def test_a_stale_memory_is_read_anew(client: KubeClient, namespace: str) -> None:
    one, other = KubeRoleStore(client), KubeRoleStore(client)
    one.reconcile(namespace, "web", ["a"])
    other.reconcile(namespace, "web", ["a", "b"])
    assert one.reconcile(namespace, "web", ["c"]) == 1
    assert client.request("GET", namespaced(GROUP, "roles", namespace, "podcert-web"))["rules"][0]["resourceNames"] == [
        "c"
    ]


def test_a_write_while_the_roles_are_listed_is_not_forgotten(
    client: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    roles = KubeRoleStore(client, (namespace,))
    roles.reconcile(namespace, "web", ["old"])
    listing = roles._list

    def slow(resource: str, scope: str | None) -> list[dict[str, Any]]:
        found = listing(resource, scope)
        if resource == "roles":
            roles.reconcile(namespace, "web", ["new"])
        return found

    monkeypatch.setattr(roles, "_list", slow)
    roles.managed()
    assert roles.reconcile(namespace, "web", ["old"]) == 1
    assert KubeRoleStore(client).reconcile(namespace, "web", ["old"]) == 0


def test_a_foreign_role_of_that_name_is_left_alone(client: KubeClient, namespace: str) -> None:
    path = namespaced(GROUP, "roles", namespace)
    client.request("POST", path, body={"metadata": {"name": "podcert-web"}, "rules": []})
    before = client.request("GET", f"{path}/podcert-web")
    with pytest.raises(Refused, match="RoleNameTaken"):
        KubeRoleStore(client).reconcile(namespace, "web", ["own"])
    assert client.request("GET", f"{path}/podcert-web") == before


def test_a_warning_said_many_times_is_one_event_in_the_cluster(client: KubeClient, namespace: str, pod: Pod) -> None:
    other = start(client, namespace, "web-1")
    recorder = EventRecorder(client, EventLimits(repeat=0.05))
    recorder.start()
    path = namespaced("api/v1", "events", namespace)

    def found() -> list[dict[str, Any]]:
        return list(client.request("GET", path)["items"])

    try:
        for number in range(5):
            recorder.warning(pod, "Refused", "ü" * 2000)
            recorder.warning(other, "Refused", f"changes {number}")
            recorder.normal(pod, "Issued", "done")
        eventually(lambda: sorted(event["count"] for event in found() if event["type"] == "Warning") == [5, 5])
        eventually(lambda: len(found()) == 7)
        assert {event["involvedObject"]["uid"] for event in found()} == {pod.uid, other.uid}
        assert all(event["reportingComponent"] == "podcert" for event in found())
    finally:
        recorder.stop()


def test_sixteen_threads_share_one_client_without_crossed_answers(client: KubeClient, namespace: str, pod: Pod) -> None:
    store = KubeSecretStore(client, SecretReader())
    wrong: list[str] = []

    def work(worker: int) -> None:
        for number in range(10):
            name = f"s-{worker}-{number}"
            if store.create(write(pod, name)).name != name:
                wrong.append(name)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    path = namespaced("api/v1", "secrets", namespace)
    assert sum(item["metadata"]["name"].startswith("s-") for item in client.request("GET", path)["items"]) == 160
