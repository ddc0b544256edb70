"""The API server paused, and killed and started again: the watches say so and are right again by themselves."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from kubernetes.client.configuration import Configuration

from certmanager.domain.errors import NotYet, Refused
from certmanager.kube.client import KubeClient, Options, namespaced
from certmanager.kube.credentials import from_kubeconfig
from certmanager.kube.roles import KubeRoleStore
from certmanager.kube.watch import Pace
from certmanager.kube.watches import Scope, Sinks, Watches
from tests.cluster.running import LocalCluster

pytestmark = pytest.mark.cluster


class Names:
    """A sink that keeps names."""

    def __init__(self) -> None:
        self.here: set[str] = set()

    def replace(self, items: Sequence[Any], version: int) -> None:
        self.here = {item.name for item in items}

    def upsert(self, view: Any) -> None:
        self.here.add(view.name)

    def delete(self, view: Any) -> None:
        self.here.discard(view.name)


def eventually(fact: Callable[[], bool]) -> None:
    for _ in range(6000):
        if fact():
            return
        time.sleep(0.01)
    pytest.fail("it did not come about")


@contextmanager
def following(client: KubeClient, pace: Pace) -> Iterator[tuple[Watches, Names]]:
    services = Names()
    watches = Watches(client, Sinks(Names(), services, Names()), Scope(None, pace=pace))
    watches.start()
    try:
        eventually(lambda: watches.synced and not watches.problems())
        yield watches, services
    finally:
        watches.stop()


def create_service(client: KubeClient) -> str:
    name = f"s-{uuid.uuid4().hex[:8]}"
    body = {"metadata": {"name": name}, "spec": {"clusterIP": "None"}}
    client.request("POST", namespaced("api/v1", "services", "default"), body=body)
    return name


def test_an_api_server_that_is_killed_and_comes_back_is_followed_again(control_plane: LocalCluster) -> None:
    client = KubeClient.from_kubeconfig(control_plane.kubeconfig, 4)
    with following(client, Pace(first=0.1, longest=1.0)) as (watches, services):
        before = create_service(client)
        eventually(lambda: before in services.here)
        control_plane.stop_apiserver()
        try:
            eventually(lambda: len(watches.problems()) == 3)
            with pytest.raises(NotYet) as caught:
                create_service(client)
            assert caught.value.reason == "KubernetesUnreachable"
            assert before in services.here
        finally:
            control_plane.start_apiserver()
        eventually(lambda: not watches.problems())
        after = create_service(client)
        eventually(lambda: {before, after} <= services.here)
        assert watches.dead() == ()
    client.close()


def test_an_api_server_that_hangs_is_noticed_by_its_silence(control_plane: LocalCluster) -> None:
    client = KubeClient.from_kubeconfig(control_plane.kubeconfig, 4)
    with following(client, Pace(first=0.1, longest=1.0, silence=1.0)) as (watches, services):
        with control_plane.paused("apiserver"), pytest.raises(NotYet):
            client.request("GET", "/api/v1/namespaces", options=Options(read_seconds=0.5))
        name = create_service(client)
        eventually(lambda: name in services.here and not watches.problems())
    client.close()


class Bearer:
    """A ServiceAccount's own token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def header(self) -> str:
        return f"Bearer {self._token}"

    def refused(self) -> None:
        raise AssertionError("the token is good")


def test_a_serviceaccount_with_its_own_token_reads_and_watches_its_secret_only(control_plane: LocalCluster) -> None:
    admin = KubeClient.from_kubeconfig(control_plane.kubeconfig, 4)
    namespace = f"own-{uuid.uuid4().hex[:8]}"
    admin.request("POST", "/api/v1/namespaces", body={"metadata": {"name": namespace}})
    accounts = namespaced("api/v1", "serviceaccounts", namespace)
    secrets = namespaced("api/v1", "secrets", namespace)
    admin.request("POST", accounts, body={"metadata": {"name": "web"}})
    for name in ("own", "other"):
        admin.request("POST", secrets, body={"metadata": {"name": name}, "stringData": {"a": name}})
    KubeRoleStore(admin).reconcile(namespace, "web", ["own"])
    whole, _ = from_kubeconfig(control_plane.kubeconfig)
    bare = Configuration(host=whole.host, ssl_ca_cert=whole.ssl_ca_cert, retries=False)
    web = KubeClient(bare, Bearer(control_plane.token(namespace, "web")), 2)

    def readable() -> bool:
        try:
            return bool(web.request("GET", f"{secrets}/own"))
        except Refused:
            return False

    eventually(readable)
    with pytest.raises(Refused) as caught:
        web.request("GET", f"{secrets}/other")
    assert caught.value.reason == "KubernetesForbidden"
    with pytest.raises(Refused):
        web.request("GET", secrets)
    query = {"watch": "true", "fieldSelector": "metadata.name=own", "timeoutSeconds": "5"}
    response = web.open(secrets, query, Options(read_seconds=5.0))
    assert b'"ADDED"' in next(response.stream(65536))
    response.close()
    with pytest.raises(Refused):
        web.open(secrets, query | {"fieldSelector": "metadata.name=other"}, Options(read_seconds=5.0))
    web.close()
    admin.close()
