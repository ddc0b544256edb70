"""Labels of namespaces, and `podcert explain` of a pod that is there: what an API server is asked, what refusals mean."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from certmanager.cli import main
from certmanager.domain.errors import NotYet, Refused
from certmanager.kube.namespaces import NamespaceLabels
from tests.contract.kube_server import Connection, Request, Server, client, fails, says, serving

POD: dict[str, Any] = {
    "metadata": {
        "name": "web-0",
        "namespace": "shop",
        "uid": "12345678-aaaa",
        "labels": {"app": "web", "podcert.io/enroll": "true"},
        "annotations": {"podcert.io/dns-names": "web.shop,web.example.com"},
    },
    "spec": {"serviceAccountName": "web", "initContainers": [{"name": "certificate-fetcher"}]},
}
SERVICES = {"items": [{"metadata": {"name": "web", "namespace": "shop"}, "spec": {"selector": {"app": "web"}}}]}
SECRET = {
    "kind": "PartialObjectMetadata",
    "metadata": {
        "name": "web-0-cert-12345678",
        "namespace": "shop",
        "annotations": {
            "podcert.io/pod-uid": "12345678-aaaa",
            "podcert.io/issued-at": "2030-01-01T00:00:00Z",
            "podcert.io/not-after": "2030-01-02T00:00:00Z",
        },
    },
}
POLICY = "rules: [{name: team, namespace_labels: {team: a}, dns_names: ['*.example.com']}]"
NAMESPACE = {"metadata": {"name": "shop", "labels": {"team": "a"}}}


def labelled(**labels: str) -> dict[str, Any]:
    return {"metadata": {"name": "shop", "labels": labels}}


def test_a_namespace_is_read_by_its_name_and_only_once() -> None:
    with serving(list=[says(labelled(team="a"))]) as server:
        labels = NamespaceLabels(client(server))
        assert labels("shop") == labels("shop") == {"team": "a"}
        assert [request.path for request in server.of("list")] == ["/api/v1/namespaces/shop"]


def test_a_refresh_tells_whether_a_label_has_changed() -> None:
    answers = [says(labelled(team="a")), says(labelled(team="a")), says(labelled(team="b"))]
    with serving(list=answers) as server:
        labels = NamespaceLabels(client(server))
        labels("shop")
        assert not labels.refresh()
        assert labels.refresh()
        assert labels("shop") == {"team": "b"}


def test_labels_that_cannot_be_read_again_stay_as_they_were() -> None:
    with serving(list=[says(labelled(team="a")), fails(500, "away")]) as server:
        labels = NamespaceLabels(client(server))
        labels("shop")
        assert not labels.refresh()
        assert labels("shop") == {"team": "a"}


def test_a_namespace_that_is_gone_is_forgotten() -> None:
    with serving(list=[says(labelled(team="a")), fails(404, "not found")]) as server:
        labels = NamespaceLabels(client(server))
        labels("shop")
        assert labels.refresh()
        with pytest.raises(NotYet, match="namespace shop is not there"):
            labels("shop")


def test_a_missing_right_is_told_with_what_to_do() -> None:
    with serving(list=[fails(403, "forbidden")]) as server, pytest.raises(Refused, match="right to get them"):
        NamespaceLabels(client(server))("shop")


@pytest.fixture
def cluster() -> Iterator[Server]:
    def answer(connection: Connection, request: Request) -> None:
        there: dict[str, dict[str, Any]] = {
            "/api/v1/namespaces/shop/pods/web-0": POD,
            "/api/v1/namespaces/shop/services": SERVICES,
            "/api/v1/namespaces/shop/secrets/web-0-cert-12345678": SECRET,
            "/api/v1/namespaces/shop": NAMESPACE,
        }
        if request.path in there:
            connection.answer(200, there[request.path])
        else:
            connection.answer(404, {"kind": "Status", "status": "Failure", "code": 404, "message": "not found"})

    with serving(list=[answer]) as server:
        yield server


def explain(server: Server, folder: Path, *arguments: str) -> Result:
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(
        json.dumps(
            {
                "clusters": [{"name": "c", "cluster": {"server": server.url}}],
                "users": [{"name": "u", "user": {}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    (folder / "policy.yaml").write_text(POLICY)
    given = ["explain", *arguments, "--kubeconfig", str(kubeconfig), "--policy", str(folder / "policy.yaml")]
    return CliRunner().invoke(main, given)


def test_a_pod_in_the_cluster_is_explained_by_reading_alone_and_without_any_key(
    cluster: Server, tmp_path: Path
) -> None:
    result = explain(cluster, tmp_path, "web-0", "-n", "shop")
    assert result.exit_code == 0, result.output
    for part in (
        "Service web selects the pod",
        "rule team of the policy: *.example.com",
        "it ends 2030-01-02T00:00:00Z",
    ):
        assert part in result.output
    assert {kind for kind, _ in cluster.asked} == {"list"}
    (secret,) = [request for _, request in cluster.asked if "/secrets/" in request.path]
    assert "PartialObjectMetadata" in secret.headers["accept"]


def test_a_pod_that_is_not_there_is_wrong_usage(cluster: Server, tmp_path: Path) -> None:
    result = explain(cluster, tmp_path, "none", "-n", "shop")
    assert result.exit_code == 2
    assert "there is no pod none in namespace shop" in result.output


def test_a_manifest_is_explained_with_the_services_that_the_cluster_has_already(
    cluster: Server, tmp_path: Path
) -> None:
    manifest = tmp_path / "pod.yaml"
    manifest.write_text(json.dumps({"kind": "Pod", **POD}))
    result = explain(cluster, tmp_path, "-f", str(manifest))
    assert result.exit_code == 0, result.output
    assert "Service web selects the pod" in result.output


def test_a_service_of_the_manifest_stands_for_the_one_of_that_name_in_the_cluster(
    cluster: Server, tmp_path: Path
) -> None:
    manifest = tmp_path / "pod.yaml"
    changed = {"kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"selector": {"app": "db"}}}
    manifest.write_text(json.dumps({"kind": "Pod", **POD}) + "\n---\n" + json.dumps(changed))
    result = explain(cluster, tmp_path, "-f", str(manifest))
    assert result.exit_code == 1
    assert "web.shop  REFUSED" in result.output


def test_a_cluster_that_refuses_is_said_and_the_file_alone_decides(tmp_path: Path) -> None:
    manifest = tmp_path / "pod.yaml"
    plain = POD | {"metadata": {**POD["metadata"], "annotations": {}}}
    manifest.write_text("kind: Namespace\nmetadata: {name: shop}\n---\n" + json.dumps({"kind": "Pod", **plain}))
    with serving(list=[fails(403, "forbidden")]) as server:
        result = explain(server, tmp_path, "-f", str(manifest))
    assert result.exit_code == 0, result.output
    assert "the Services of the cluster were not looked at" in result.stderr
    assert "its own name, as no Service selects it" in result.output
