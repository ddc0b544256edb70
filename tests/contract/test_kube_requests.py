"""The client, Secrets and Events against an API server that refuses, stumbles or answers nonsense."""

from __future__ import annotations

import base64
import json
import traceback

import pytest

from certmanager.domain.errors import AlreadyExists, Conflict, NotFound, NotYet, PodcertError, Refused
from certmanager.domain.model import Bundle, Leaf, Material, Names, Pod, SecretWrite
from certmanager.kube.client import Options
from certmanager.kube.errors import Expired, Garbled
from certmanager.kube.project import SecretReader
from certmanager.kube.secrets import KubeSecretStore
from tests.contract.kube_server import (
    Answer,
    Connection,
    Request,
    Token,
    client,
    fails,
    says,
    serving,
    status,
)

KEY = "-----BEGIN PRIVATE KEY-----\nMC4CAQ-the-key\n-----END PRIVATE KEY-----\n"
POD = Pod("shop", "web-0", "uid-1", 41, "web", {}, {}, 0.0)
LEAF = Leaf("0a:0b", 0.0, 1.0, Names(), "ec-256", "00")
BUNDLE = Bundle(LEAF, key_fits=True, chain_ok=True, anchors=frozenset(), anchor=None)
WRITE = SecretWrite(POD, "web-0-cert-uid1", {"serial": "0a:0b"}, Material("the-certificate", KEY, "the-ca"), BUNDLE)


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (400, Refused, "KubernetesInvalid"),
        (401, NotYet, "KubernetesUnauthorized"),
        (403, Refused, "KubernetesForbidden"),
        (404, NotFound, "KubernetesNotFound"),
        (409, AlreadyExists, "KubernetesAlreadyExists"),
        (410, Expired, "KubernetesExpired"),
        (422, Refused, "KubernetesInvalid"),
        (429, NotYet, "KubernetesBusy"),
        (500, NotYet, "KubernetesBusy"),
        (503, NotYet, "KubernetesBusy"),
        (302, Refused, "KubernetesInvalid"),
    ],
)
def test_a_status_becomes_one_of_the_three_kinds_of_error(code: int, kind: type[PodcertError], reason: str) -> None:
    with serving(POST=[fails(code, "words of the API server")]) as server, pytest.raises(kind) as caught:
        KubeSecretStore(client(server), SecretReader()).create(WRITE)
    assert caught.value.reason == reason
    assert "create secrets in namespace shop" in caught.value.message


def test_409_on_anything_but_a_create_is_a_conflict() -> None:
    with serving(PUT=[fails(409)], GET=[says({})]) as server, pytest.raises(Conflict):
        client(server).request("PUT", "/api/v1/namespaces/shop/secrets/x", body={})


def test_retry_after_is_passed_on_and_nothing_is_retried_in_the_worker() -> None:
    with serving(list=[fails(429, Retry_After="7")]) as server:
        with pytest.raises(NotYet) as caught:
            client(server).request("GET", "/api/v1/pods")
        assert len(server.asked) == 1
    assert (caught.value.retry_after, caught.value.shared) == (7.0, True)


@pytest.mark.parametrize("value", ["Wed, 21 Oct 2026 07:28:00 GMT", "-1", "1e9", "9999999", ""])
def test_a_retry_after_that_is_no_small_number_is_ignored(value: str) -> None:
    with serving(list=[fails(503, Retry_After=value)]) as server, pytest.raises(NotYet) as caught:
        client(server).request("GET", "/api/v1/pods")
    assert caught.value.retry_after is None


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ('User "x" cannot create resource "secrets"', "ClusterRole"),
        ("exceeded quota: small", "ResourceQuota"),
        ("because it is being terminated", "nothing is to do"),
        ("admission webhook denied the request", "admission rule"),
        ("ValidatingAdmissionPolicy 'podcert-fence-secrets' denied request: a Secret must", "docs/rbac.md"),
    ],
)
def test_a_refusal_says_what_to_do(words: str, remedy: str) -> None:
    with serving(POST=[fails(403, words)]) as server, pytest.raises(Refused) as caught:
        KubeSecretStore(client(server), SecretReader()).create(WRITE)
    assert words in caught.value.message
    assert remedy in caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(status(422, f"data.tls.key: Invalid value: {KEY}")).encode(),
        json.dumps(status(422, "Invalid value: " + base64.b64encode(KEY.encode()).decode())).encode(),
        json.dumps({"kind": "Secret", "message": KEY, "data": {"tls.key": KEY}}).encode(),
        KEY.encode(),
    ],
)
def test_a_refused_secret_is_never_quoted(body: bytes) -> None:
    answer: Answer = lambda connection, _request: connection.answer(422, body)  # noqa: E731
    with serving(POST=[answer]) as server, pytest.raises(Refused) as caught:
        KubeSecretStore(client(server), SecretReader()).create(WRITE)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "MC4CAQ" not in told
    assert base64.b64encode(KEY.encode()).decode()[20:60] not in told


def test_long_words_of_the_api_server_are_cut_to_one_line() -> None:
    with serving(list=[fails(400, "a\nb" + "x" * 5000)]) as server, pytest.raises(Refused) as caught:
        client(server).request("GET", "/api/v1/pods")
    assert len(caught.value.message) < 500
    assert "\n" not in caught.value.message


def hang(connection: Connection, _request: Request) -> None:
    connection.hang()


def reset(connection: Connection, _request: Request) -> None:
    connection.reset()


@pytest.mark.parametrize("trouble", [hang, reset])
def test_no_answer_is_not_yet_and_chains_no_request(trouble: Answer) -> None:
    with serving(list=[trouble]) as server, pytest.raises(NotYet) as caught:
        client(server).request("GET", "/api/v1/pods", options=Options(read_seconds=0.2))
    assert (caught.value.reason, caught.value.shared) == ("KubernetesUnreachable", True)
    assert caught.value.__context__ is None


def test_a_closed_port_is_not_yet() -> None:
    with serving(list=[says({})]) as server:
        gone = client(server)
    with pytest.raises(NotYet, match="connection refused"):
        gone.request("GET", "/api/v1/pods")


@pytest.mark.parametrize("body", [b"<html>", b"", b"[1]", b'{"a":'])
def test_an_answer_that_is_no_json_object_is_not_yet(body: bytes) -> None:
    with serving(list=[says(body)]) as server, pytest.raises(Garbled):
        client(server).request("GET", "/api/v1/pods")


def test_a_rotated_token_is_read_again_when_the_old_one_is_refused() -> None:
    token = Token("old", "new")
    with serving(list=[fails(401), says({"items": []})]) as server:
        assert client(server, token).request("GET", "/api/v1/pods") == {"items": []}
        assert [request.headers["authorization"] for request in server.of("list")] == ["Bearer old", "Bearer new"]


def test_a_created_secret_is_all_that_the_contract_says_and_is_known_without_parsing() -> None:
    def no_parsing(*_files: bytes) -> Bundle:
        raise AssertionError("the bundle was known")

    reader = SecretReader(no_parsing)

    def created(connection: Connection, request: Request) -> None:
        meta = json.loads(request.body)["metadata"] | {"uid": "s-1", "resourceVersion": "77"}
        connection.answer(201, {"kind": "PartialObjectMetadata", "metadata": meta})

    with serving(POST=[created]) as server:
        secret = KubeSecretStore(client(server), reader).create(WRITE)
        request = server.of("POST")[0]
    body = json.loads(request.body)
    assert (body["type"], sorted(body["data"])) == ("kubernetes.io/tls", ["ca.crt", "tls.crt", "tls.key"])
    assert base64.b64decode(body["data"]["tls.key"]).decode() == KEY
    assert body["metadata"]["labels"] == {"podcert.io/managed": "true", "app.kubernetes.io/managed-by": "podcert"}
    assert body["metadata"]["annotations"] == {
        "podcert.io/serial": "0a:0b",
        "podcert.io/pod": "web-0",
        "podcert.io/pod-uid": "uid-1",
    }
    (owner,) = body["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == ("uid-1", False, False)
    assert request.query == {"fieldManager": "podcert"}
    assert "PartialObjectMetadata" in request.headers["accept"]
    assert (secret.uid, secret.resource_version, secret.managed, secret.bundle) == ("s-1", 77, True, BUNDLE)
    assert secret == reader(body | {"metadata": body["metadata"] | {"uid": "s-1", "resourceVersion": "77"}})
