"""Pods that go, come back, finish or leave; Secrets that are somebody else's; and what a pod's own token may read."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.integration.manager import Manager, running
from tests.integration.proxy import Fault, proxying
from tests.integration.world import World, eventually

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def manager(shared_world: World) -> Iterator[Manager]:
    with running(shared_world.launch()) as started:
        yield started


def finish(world: World, pod: str, phase: str = "Succeeded") -> None:
    """What a kubelet writes when all containers have ended."""
    patch = json.dumps({"status": {"phase": phase}})
    world.kubectl("patch", "pod", pod, "--subresource=status", "--type=merge", "-p", patch)


def own_name(pod: dict[str, Any]) -> str:
    """The generated name of its Secret."""
    return f"{pod['metadata']['name']}-cert-{pod['metadata']['uid'][:8]}"


def secrets_of(world: World, pod: str) -> list[str]:
    return [
        one["metadata"]["name"] for one in world.secrets() if one["metadata"]["annotations"]["podcert.io/pod"] == pod
    ]


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_finished_pod_loses_its_secret_and_its_name_in_the_role(
    shared_world: World, manager: Manager, phase: str
) -> None:
    world, name = shared_world, f"job-{phase.lower()}"
    secret = own_name(world.pod(name))
    eventually(lambda: secret in world.readable())
    finish(world, name, phase)
    eventually(lambda: secrets_of(world, name) == [] and secret not in world.readable())
    assert world.events(name) == {}


def test_a_pod_without_its_label_loses_its_secret_and_has_a_new_one_when_labelled_again(
    shared_world: World, manager: Manager
) -> None:
    world = shared_world
    secret = own_name(world.pod("leaver"))
    eventually(lambda: secret in world.readable())
    world.patch("pod/leaver", {"metadata": {"labels": {"podcert.io/enroll": None}}})
    eventually(lambda: secrets_of(world, "leaver") == [] and secret not in world.readable())
    world.patch("pod/leaver", {"metadata": {"labels": {"podcert.io/enroll": "true"}}})
    eventually(lambda: secret in world.readable())
    world.patch("pod/leaver", {"metadata": {"labels": {"podcert.io/enroll": "false"}}})
    eventually(lambda: secrets_of(world, "leaver") == [] and secret not in world.readable())


def test_a_pod_recreated_under_its_name_has_a_secret_of_its_own(shared_world: World, manager: Manager) -> None:
    world = shared_world
    seen = []
    for _ in range(4):
        secret = own_name(world.pod("phoenix"))
        seen.append(secret)
        eventually(lambda secret=secret: secret in world.readable())  # type: ignore[misc]
        world.delete_pod("phoenix")
    last = own_name(world.pod("phoenix"))
    eventually(lambda: last in world.readable() and secrets_of(world, "phoenix") == [last])
    assert len({*seen, last}) == 5
    assert not set(seen) & world.readable()


def test_a_pod_with_a_chosen_name_recreated_at_once_takes_the_name_over(shared_world: World, manager: Manager) -> None:
    world = shared_world
    world.pod("bare", {"secret-name": "bare-cert"})
    world.enrolled("bare")
    world.delete_pod("bare")
    uid = world.pod("bare", {"secret-name": "bare-cert"})["metadata"]["uid"]

    def taken_over() -> bool:
        secret = world.get(f"{world.core}/secrets/bare-cert")
        return bool(secret) and secret["metadata"]["annotations"]["podcert.io/pod-uid"] == uid

    eventually(taken_over, 30, "the new pod's Secret")
    assert "bare-cert" not in world.readable()


def test_a_pod_deleted_while_its_certificate_is_made_leaves_nothing(world: World) -> None:
    slow = Fault(slow=1.0)
    with proxying(world.vault.url) as proxy, running(world.launch(vault_url=proxy.url)) as manager:
        proxy.hurt(lambda asked: slow if "/sign/" in asked.path else None)
        for number in range(5):
            world.pod(f"brief-{number}")
        eventually(lambda: proxy.count("POST", "/sign/") == 5)
        for number in range(5):
            world.delete_pod(f"brief-{number}")
        eventually(lambda: manager.metric("podcert_reconcile_total", kind="pod", reason="PodGone") >= 5)
        time.sleep(2)  # answers under way have come
        assert world.secrets() == []
        assert world.readable() == set()
        proxy.heal()
        world.pod("brief-0")
        world.enrolled("brief-0")
        world.judge(["brief-0"])
        assert manager.metric("podcert_bugs_total") == 0


def foreign(world: World, name: str) -> dict[str, Any]:
    """Somebody else's Secret."""
    data = {"password": base64.b64encode(b"not ours").decode()}
    return world.create(f"{world.core}/secrets", {"metadata": {"name": name}, "data": data})


def test_a_foreign_secret_of_a_chosen_name_is_left_byte_for_byte_and_the_pod_is_told(
    shared_world: World, manager: Manager
) -> None:
    world = shared_world
    before = foreign(world, "database")
    signs = manager.signs()
    world.pod("taker", {"secret-name": "database"})
    message = world.warned("taker", "SecretNameTaken")
    print(f"SecretNameTaken: {message}")
    assert f"Secret {world.namespace}/database exists and is left untouched" in message
    assert "choose another name by the annotation podcert.io/secret-name" in message
    assert manager.signs() == signs
    world.annotate("taker", secret_name=None)
    world.enrolled("taker")
    eventually(lambda: any(name.startswith("taker-cert-") for name in world.readable()))
    assert world.get(f"{world.core}/secrets/database") == before
    assert "database" not in world.readable()


def test_a_foreign_secret_of_the_generated_name_is_left_byte_for_byte_and_the_pod_is_told(world: World) -> None:
    """Put there while the manager looks away: nobody can know a uid before there is the pod."""
    with running(world.launch(PODCERT_REFUSAL_RETRY="2s")) as manager:
        manager.kill()
        name = own_name(world.pod("early"))
        before = foreign(world, name)
        manager.start()
        manager.wait_ready()
        message = world.warned("early", "SecretNameTaken")
        print(f"SecretNameTaken: {message}")
        assert f"Secret {world.namespace}/{name} exists and is left untouched" in message
        assert "it is not Podcert's" in message
        assert world.get(f"{world.core}/secrets/{name}") == before
        assert world.readable() == set()
        world.kubectl("delete", "secret", name)
        world.enrolled("early")
        world.judge(["early"])


def test_a_forged_secret_with_our_label_is_never_put_into_a_role(shared_world: World, manager: Manager) -> None:
    world = shared_world
    uid = world.pod("victim")["metadata"]["uid"]
    world.enrolled("victim")
    labels = {"podcert.io/managed": "true"}
    notes = {"podcert.io/pod": "victim", "podcert.io/pod-uid": uid}
    metadata = {"name": "forged", "labels": labels, "annotations": notes}
    world.create(f"{world.core}/secrets", {"metadata": metadata, "data": {"tls.crt": ""}})
    world.pod("after-forgery")
    world.enrolled("after-forgery")
    eventually(lambda: any(name.startswith("after-forgery") for name in world.readable()))
    assert "forged" not in world.readable()


def status_as(world: World, token: str, path: str) -> int:
    """The API server's answer to a GET with a pod's own token."""
    context = ssl.create_default_context(cafile=str(world.cluster.ca_file))
    connection = http.client.HTTPSConnection(urlsplit(world.cluster.apiserver_url).netloc, context=context, timeout=10)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_serviceaccount_reads_its_own_pods_secrets_and_nothing_else(shared_world: World, manager: Manager) -> None:
    world = shared_world
    web = [own_name(world.pod(f"web-{number}")) for number in range(2)]
    db = own_name(world.pod("db-0", account="db"))
    foreign(world, "payroll")
    eventually(lambda: set(web) <= world.readable("web") and db in world.readable("db"))
    core = f"{world.core}/secrets"
    for account, own, other in (("web", web, [db, "payroll"]), ("db", [db], [*web, "payroll"])):
        token = world.cluster.token(world.namespace, account)
        eventually(lambda token=token, own=own: status_as(world, token, f"{core}/{own[0]}") == 200)  # type: ignore[misc]
        assert [status_as(world, token, f"{core}/{name}") for name in own] == [200] * len(own)
        assert [status_as(world, token, f"{core}/{name}") for name in other] == [403] * len(other)
        assert status_as(world, token, core) == 403
        assert status_as(world, token, "/api/v1/secrets") == 403
        assert status_as(world, token, f"{core}?watch=true&timeoutSeconds=1") == 403
        named = f"{core}?watch=true&timeoutSeconds=1&fieldSelector=metadata.name%3D"
        assert status_as(world, token, named + own[0]) == 200
        assert status_as(world, token, named + other[0]) == 403


def test_a_role_that_somebody_widened_or_deleted_is_set_right_after_a_restart(world: World) -> None:
    with running(world.launch()) as manager:
        secret = own_name(world.pod("only"))
        eventually(lambda: world.readable() == {secret})
        manager.kill()
        rules = [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": [secret, "stolen"], "verbs": ["get"]}]
        world.patch("role/podcert-web", {"rules": rules})
        world.kubectl("delete", "rolebinding", "podcert-web")
        manager.start()
        manager.wait_ready()
        eventually(lambda: world.readable() == {secret}, 30, "the Role as it has to be")


def test_a_secret_that_somebody_damaged_or_deleted_is_made_anew(shared_world: World, manager: Manager) -> None:
    world = shared_world
    secret = own_name(world.pod("fragile"))
    world.enrolled("fragile")
    garbage = {"data": {"tls.crt": base64.b64encode(b"garbage").decode()}}
    world.patch(f"secret/{secret}", garbage)

    def sound() -> bool:
        there = world.secret_of("fragile")
        return there is not None and b"BEGIN CERT" in base64.b64decode(there["data"]["tls.crt"])

    eventually(sound, 30, "a sound Secret")
    world.kubectl("delete", "secret", secret)
    eventually(sound, 30, "a Secret again")
    world.leaf("fragile")


def test_a_manager_for_the_whole_cluster_needs_no_further_rights(world: World) -> None:
    with running(world.launch(PODCERT_NAMESPACES="")) as manager:
        world.pod("anywhere")
        world.enrolled("anywhere")
        world.judge(["anywhere"])
        world.pod("told", {"ttl": "soon"})
        world.warned("told", "InvalidAnnotation")
        assert "KubernetesForbidden" not in manager.log()
        assert manager.metric("podcert_bugs_total") == 0
