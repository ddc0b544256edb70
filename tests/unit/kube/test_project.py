"""From JSON to views: what is there is read, what is missing or odd is absent, and nothing ever raises."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain.model import Bundle, Delivery, Leaf, Names, Owner
from certmanager.kube import fields, project
from tests.unit.kube.shapes import ANY_JSON

BUNDLE = Bundle(Leaf("0a", 0.0, 1.0, Names(), "ec-256", "00"), True, True, frozenset(), None)

POD: dict[str, Any] = {
    "metadata": {
        "name": "web-0",
        "namespace": "shop",
        "uid": "uid-1",
        "resourceVersion": "4711",
        "creationTimestamp": "2026-11-22T12:00:00Z",
        "labels": {"podcert.io/enroll": "true", "app": "web"},
        "annotations": {"podcert.io/ttl": "24h", "kubectl.kubernetes.io/restartedAt": "x"},
        "ownerReferences": [
            {"apiVersion": "v1", "kind": "Thing", "name": "other", "uid": "u0"},
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "u1", "controller": True},
        ],
    },
    "spec": {
        "serviceAccountName": "web",
        "hostname": "web-0",
        "subdomain": "web",
        "initContainers": [{"name": "certificate-fetcher"}],
        "volumes": [
            {"name": "a", "secret": {"secretName": "mounted"}},
            {"name": "b", "projected": {"sources": [{"secret": {"name": "projected"}}, {"configMap": {"name": "c"}}]}},
            {"name": "c", "emptyDir": {}},
        ],
    },
    "status": {
        "phase": "Running",
        "podIPs": [{"ip": "10.1.2.3"}, {"ip": "fd00::1"}],
        "initContainerStatuses": [
            {
                "name": "certificate-fetcher",
                "state": {
                    "terminated": {
                        "message": json.dumps(
                            {
                                "serial": "0a:0b",
                                "notAfter": "2026-11-23T12:00:00Z",
                                "secret": "web-0-cert-uid1",
                                "resourceVersion": "9",
                            }
                        )
                    }
                },
            }
        ],
    },
}


def changed(path: str, value: object) -> dict[str, Any]:
    """The pod with one field set to something else."""
    copy: dict[str, Any] = json.loads(json.dumps(POD))
    *parents, last = path.split("/")
    place: Any = copy
    for key in parents:
        place = place[int(key)] if key.isdigit() else place[key]
    place[last] = value
    return copy


def test_a_whole_pod_is_read() -> None:
    pod = project.pod(POD)
    assert (pod.key, pod.uid, pod.resource_version, pod.service_account) == (("shop", "web-0"), "uid-1", 4711, "web")
    assert pod.labels == {"podcert.io/enroll": "true", "app": "web"}
    assert pod.annotations == {"ttl": "24h"}
    assert (pod.created_at, pod.hostname, pod.subdomain) == (1795348800.0, "web-0", "web")
    assert pod.ips == ("10.1.2.3", "fd00::1")
    assert pod.owner == Owner("apps/v1", "StatefulSet", "web", "u1")
    assert pod.delivery == Delivery(
        fetcher=True,
        mounts=frozenset({"mounted", "projected"}),
        served_serial="0a:0b",
        served_not_after=1795435200.0,
    )
    assert (pod.finished, pod.deleting) == (False, False)


@pytest.mark.parametrize(("phase", "finished"), [("Succeeded", True), ("Failed", True), ("Pending", False)])
def test_a_pod_that_ended_is_finished(phase: str, finished: bool) -> None:
    assert project.pod(changed("status/phase", phase)).finished is finished


@pytest.mark.parametrize("spec", [{}, {"hostNetwork": False}, {"hostNetwork": True}])
def test_a_pod_in_the_nodes_network_is_told_apart(spec: dict[str, bool]) -> None:
    pod = project.pod({"metadata": {"name": "a", "namespace": "b", "uid": "c"}, "spec": spec})
    assert pod.host_network is spec.get("hostNetwork", False)


def test_a_pod_with_a_deletion_timestamp_is_deleting() -> None:
    assert project.pod(changed("metadata/deletionTimestamp", "2026-11-22T12:00:00Z")).deleting


@pytest.mark.parametrize(
    "message",
    [
        "",
        "not json",
        "[]",
        "null",
        '{"serial": 7, "notAfter": "2026-11-23T12:00:00Z"}',
        '{"serial": "0a"}',
        '{"serial": "0a", "notAfter": "tomorrow"}',
        '{"serial": "0a", "notAfter": "2026-11-23T12:00:00"}',
        '{"serial": "0a", "notAfter": true}',
        '{"serial": "0a", "notAfter": -1}',
        "[" * 100_000,
    ],
)
def test_a_malformed_termination_message_says_nothing(message: str) -> None:
    pod = project.pod(changed("status/initContainerStatuses/0/state/terminated/message", message))
    assert (pod.delivery.served_serial, pod.delivery.served_not_after) == (None, None)


def test_a_fetcher_that_runs_again_still_serves_what_it_wrote_before() -> None:
    terminated = POD["status"]["initContainerStatuses"][0]["state"]["terminated"]
    again = [{"name": "certificate-fetcher", "state": {"running": {}}, "lastState": {"terminated": terminated}}]
    assert project.pod(changed("status/initContainerStatuses", again)).delivery.served_serial == "0a:0b"


def test_another_container_s_message_is_not_the_fetcher_s() -> None:
    assert project.pod(changed("status/initContainerStatuses/0/name", "other")).delivery.served_serial is None


def test_an_empty_object_is_read_as_nothing() -> None:
    pod = project.pod({})
    assert (pod.name, pod.service_account, pod.owner, pod.ips) == ("", "default", None, ())
    assert project.service({}).selector == {}


@pytest.mark.parametrize(
    ("spec", "external", "headless"),
    [
        ({"type": "ExternalName"}, True, False),
        ({"clusterIP": "None"}, False, True),
        ({"clusterIP": "10.96.0.9"}, False, False),
    ],
)
def test_a_service_says_what_kind_it_is(spec: dict[str, str], external: bool, headless: bool) -> None:
    service = project.service({"metadata": {"name": "s"}, "spec": spec | {"selector": {"app": "web"}}})
    assert (service.external, service.headless, service.selector) == (external, headless, {"app": "web"})


def encoded(**files: str) -> dict[str, str]:
    return {key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in files.items()}


def secret(data: object, **annotations: str) -> dict[str, Any]:
    meta = {
        "name": "s",
        "namespace": "shop",
        "uid": "u",
        "resourceVersion": "5",
        "labels": {"podcert.io/managed": "true"},
        "annotations": {f"podcert.io/{key.replace('_', '-')}": value for key, value in annotations.items()},
        "ownerReferences": [{"kind": "Pod", "uid": "uid-1"}],
    }
    return {"metadata": meta, "data": data}


def test_a_secret_is_read_with_its_pod_and_the_facts_of_its_files() -> None:
    seen: list[bytes] = []

    def inspect(*files: bytes) -> Bundle:
        seen.extend(files)
        return BUNDLE

    item = secret(encoded(tls_crt="c", tls_key="k", ca_crt="a"), pod="web-0", pod_uid="uid-1")
    view = project.SecretReader(inspect)(item)
    assert seen == [b"c", b"k", b"a"]
    assert (view.pod_name, view.pod_uid, view.managed, view.bundle, view.problem) == (
        "web-0",
        "uid-1",
        True,
        BUNDLE,
        None,
    )
    assert view.owner_uids == frozenset({"uid-1"})


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (None, "tls.crt is missing or empty"),
        (encoded(tls_crt="c", ca_crt="a"), "tls.key is missing or empty"),
        (encoded(tls_crt="c", tls_key="k") | {"ca.crt": "!!"}, "ca.crt is not base64"),
        (encoded(tls_crt="c", tls_key="k", ca_crt="a"), "tls.crt: holds no PEM certificate"),
    ],
)
def test_unreadable_files_are_a_problem_without_their_content(data: object, problem: str) -> None:
    view = project.SecretReader()(secret(data))
    assert (view.bundle, view.problem) == (None, problem)


def test_a_parser_that_trips_over_a_strangers_files_is_a_problem_without_their_content() -> None:
    def inspect(*_files: bytes) -> Bundle:
        raise OverflowError("c of a stranger")

    view = project.SecretReader(inspect)(secret(encoded(tls_crt="c", tls_key="k", ca_crt="a")))
    assert (view.bundle, view.problem) == (None, "its files cannot be read (OverflowError)")


@pytest.mark.parametrize("pod", ["", "..", "../web-0", "a/b", "x" * 254, "\u202eweb", "Web", "web-0\n"])
def test_a_secret_of_no_possible_pod_names_none(pod: str) -> None:
    assert project.SecretReader()(secret({}, pod=pod, pod_uid="uid-1")).pod_name == ""


def test_remembered_facts_are_bounded_and_other_data_is_parsed() -> None:
    calls: list[int] = []

    def inspect(*_files: bytes) -> Bundle:
        calls.append(1)
        return BUNDLE

    reader = project.SecretReader(inspect, capacity=2)
    datas = [encoded(tls_crt=str(number), tls_key="k", ca_crt="a") for number in range(3)]
    for data in datas:
        reader.remember(data, BUNDLE)
    for data in datas:
        reader(secret(data))
    assert len(calls) == 1


paths = st.sampled_from(
    [
        "metadata",
        "metadata/labels",
        "metadata/annotations",
        "metadata/ownerReferences",
        "metadata/resourceVersion",
        "metadata/creationTimestamp",
        "spec",
        "spec/volumes",
        "spec/volumes/0/secret",
        "spec/volumes/1/projected/sources",
        "spec/initContainers",
        "status",
        "status/podIPs",
        "status/initContainerStatuses",
        "status/initContainerStatuses/0/state",
        "status/initContainerStatuses/0/state/terminated/message",
    ]
)


@given(paths, ANY_JSON)
def test_a_field_of_any_shape_never_raises(path: str, value: object) -> None:
    item = changed(path, value)
    project.pod(item)
    project.service(item)
    project.SecretReader()(item | {"data": value})


@given(st.integers(0, 4_000_000_000))
def test_times_survive_being_written_and_read(seconds: int) -> None:
    assert fields.timestamp(fields.rfc3339(seconds)) == seconds
