"""The variants of the installation at work: each has the rights that its manager uses, and no other.

The manager does all that it can do, with the rights of its own ServiceAccount; what it asked for is read from the API
server's audit log and compared with the manifest.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner

from certmanager.cli import main
from tests.cluster import local
from tests.cluster.openbao import DevServer, dev_server
from tests.cluster.running import LocalCluster
from tests.conftest import need
from tests.integration.installation import MANIFESTS, Audit, Installed, Pair, eventually, installed
from tests.integration.manager import Manager, running
from tests.integration.replaced import roll_and_evict

pytestmark = pytest.mark.cluster

SERVED, OTHER = "default", "elsewhere"
MANAGED = "podcert.io/managed=true"


@pytest.fixture(scope="module")
def place() -> Iterator[LocalCluster]:
    """A control plane of its own: on a shared one the manager's ServiceAccount might have rights of other tests."""
    need(local.missing(node=False))
    with local.cluster(f"inst-{os.getpid()}", node=False, audit=True, quiet=True) as cluster:
        cluster.kubectl("create", "namespace", OTHER)
        for namespace in (SERVED, OTHER):
            cluster.kubectl("create", "serviceaccount", "web", f"--namespace={namespace}")
        yield cluster


@pytest.fixture(scope="module")
def vault(place: LocalCluster) -> Iterator[DevServer]:
    """OpenBao, not set up."""
    with dev_server() as server:
        yield server


@pytest.fixture
def token_file(vault: DevServer, tmp_path: Path) -> Path:
    """A file with a token, as `podcert bootstrap` makes it; a file, because pytest prints the values of fixtures."""
    bootstrap(vault, f"--token-file={tmp_path}/vault-token")
    return tmp_path / "vault-token"


def bootstrap(vault: DevServer, *options: str) -> None:
    """Set OpenBao up as the documents say."""
    environment = {"VAULT_ADDR": vault.url, "VAULT_TOKEN": vault.root_token}
    result = CliRunner().invoke(main, ["bootstrap", *options], env=environment)
    assert result.exit_code == 0, result.output


def core(namespace: str) -> str:
    """Where the API server has the namespace's objects of the core group."""
    return f"/api/v1/namespaces/{namespace}"


def items(cluster: LocalCluster, path: str, labels: str = "") -> list[dict[str, Any]]:
    """List a collection with all rights."""
    status, found = cluster.api.call("GET", f"{path}?labelSelector={quote(labels)}")
    assert status == 200, found
    return list(found["items"])


def pod(cluster: LocalCluster, name: str, namespace: str = SERVED, **annotations: str) -> None:
    """Create an enrolled pod, selected by Services that want `app: web`; no node will run it."""
    meta = {"name": name, "namespace": namespace, "labels": {"app": "web", "podcert.io/enroll": "true"}}
    notes = {f"podcert.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    spec = {"serviceAccountName": "web", "containers": [{"name": "c", "image": "i"}]}
    cluster.api.create(f"{core(namespace)}/pods", {"metadata": meta | {"annotations": notes}, "spec": spec})


def service(cluster: LocalCluster, name: str) -> None:
    """Create a Service that selects the pods."""
    spec = {"selector": {"app": "web"}, "ports": [{"port": 443}]}
    cluster.api.create(f"{core(SERVED)}/services", {"metadata": {"name": name}, "spec": spec})


def enrolled(cluster: LocalCluster, namespace: str = SERVED) -> dict[str, str]:
    """Names in the certificate of each pod that has one."""
    notes = (item["metadata"]["annotations"] for item in items(cluster, f"{core(namespace)}/secrets", MANAGED))
    return {each["podcert.io/pod"]: each["podcert.io/names"] for each in notes}


def names_in_roles(cluster: LocalCluster) -> int:
    """How many Secrets the Roles that the manager made allow to read."""
    roles = items(cluster, f"/apis/rbac.authorization.k8s.io/v1/namespaces/{SERVED}/roles", MANAGED)
    return sum(len(rule["resourceNames"]) for role in roles for rule in role["rules"])


def warnings(cluster: LocalCluster, name: str) -> str:
    """What the pod's Warnings say."""
    events = items(cluster, f"{core(SERVED)}/events")
    return " ".join(
        each["message"] for each in events if each["involvedObject"]["name"] == name and each["type"] == "Warning"
    )


def do_everything(cluster: LocalCluster) -> None:
    """Bring about everything that the manager does with the API server, in the namespace that every variant serves."""
    # A RoleBinding of the name that ours will have, marked as ours, for somebody else: it is read and made anew.
    binding = ["--role=podcert-web", f"--serviceaccount={SERVED}:nobody", f"--namespace={SERVED}"]
    cluster.kubectl("create", "rolebinding", "podcert-web", *binding)
    cluster.kubectl("label", "rolebinding", "podcert-web", MANAGED, f"--namespace={SERVED}")
    service(cluster, "web")
    pod(cluster, "web-0")
    eventually("web-0 has a certificate and may read it", lambda: names_in_roles(cluster) == 1)
    pod(cluster, "web-1")
    eventually("web-1 too", lambda: names_in_roles(cluster) == 2)
    service(cluster, "more")
    eventually("the new name is in the certificate", lambda: "more." in enrolled(cluster)["web-0"])
    cluster.kubectl("create", "secret", "generic", "taken", f"--namespace={SERVED}")
    pod(cluster, "taker", secret_name="taken")
    eventually("a foreign Secret is told", lambda: "taken" in warnings(cluster, "taker"))
    pod(cluster, "odd", ttl="soon")
    eventually("a bad annotation is told", lambda: "soon" in warnings(cluster, "odd"))
    cluster.kubectl("annotate", "pod", "odd", "podcert.io/ttl=later", "--overwrite", f"--namespace={SERVED}")
    eventually("and so is the next one", lambda: "later" in warnings(cluster, "odd"))
    for name in ("web-0", "web-1"):
        cluster.kubectl("label", "pod", name, "podcert.io/enroll-", f"--namespace={SERVED}")
    eventually("unlabelled pods have no Secret", lambda: not enrolled(cluster))
    eventually("and no Role", lambda: names_in_roles(cluster) == 0)
    roll_and_evict(cluster, SERVED)


def tidy(cluster: LocalCluster) -> None:
    """Remove what `do_everything` made."""
    group = "/apis/rbac.authorization.k8s.io/v1/namespaces/"
    for namespace in (SERVED, OTHER):
        for kind in ("pods", "secrets", "events"):
            cluster.api.call("DELETE", f"{core(namespace)}/{kind}?gracePeriodSeconds=0")
        for kind in ("roles", "rolebindings"):
            cluster.api.call("DELETE", f"{group}{namespace}/{kind}")
    for name in ("web", "more"):
        cluster.api.call("DELETE", f"{core(SERVED)}/services/{name}")


@pytest.fixture
def cluster(place: LocalCluster) -> Iterator[LocalCluster]:
    """The control plane, tidy before and after."""
    tidy(place)
    yield place
    tidy(place)


def no_403(manager: Manager, audit: Audit) -> None:
    """Neither the API server nor the manager knows of a request that was forbidden."""
    assert audit.forbidden() == []
    assert re.search(r"\b403\b|orbidden", manager.log()) is None


def test_the_cluster_wide_manager_uses_every_verb_that_it_has_and_needs_no_other(
    cluster: LocalCluster, vault: DevServer, token_file: Path, tmp_path: Path
) -> None:
    with installed(cluster, "overlays/default") as variant:
        audit = Audit(cluster)
        with running(variant.launch(vault.url, token_file, tmp_path)) as manager:
            do_everything(cluster)
            pod(cluster, "web-0", OTHER)
            eventually("pods of every namespace are served", lambda: "web-0" in enrolled(cluster, OTHER))
            eventually("every right was used", lambda: audit.pairs() >= variant.allowed)
        assert audit.pairs() == variant.allowed
        no_403(manager, audit)


def test_the_namespaced_manager_serves_its_namespace_and_asks_for_nothing_else(
    cluster: LocalCluster, vault: DevServer, token_file: Path, tmp_path: Path
) -> None:
    with installed(cluster, "overlays/namespaced") as variant:
        pod(cluster, "web-0", OTHER)
        audit = Audit(cluster)
        with running(variant.launch(vault.url, token_file, tmp_path)) as manager:
            do_everything(cluster)
            eventually("every right was used", lambda: audit.pairs() >= variant.allowed)
        assert audit.pairs() == variant.allowed
        assert audit.namespaces() == {SERVED}
        assert enrolled(cluster, OTHER) == {}
        no_403(manager, audit)


def test_the_namespaced_manager_may_do_nothing_in_other_namespaces(cluster: LocalCluster) -> None:
    with installed(cluster, "overlays/namespaced") as variant:
        assert {pair for pair in variant.allowed if may(cluster, user(variant), pair, SERVED)} == variant.allowed
        for namespace in (OTHER, "podcert", ""):  # the last one: in all namespaces
            assert not {pair for pair in variant.allowed if may(cluster, user(variant), pair, namespace)}


def may(cluster: LocalCluster, who: str, pair: Pair, namespace: str) -> bool:
    """What the API server's authoriser says; an empty namespace stands for all of them."""
    group, resource, verb = pair
    name, _, sub = resource.partition("/")
    wanted = {"group": group, "resource": name, "subresource": sub, "verb": verb, "namespace": namespace}
    body = {"spec": {"user": who, "resourceAttributes": wanted}}
    answer = cluster.api.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
    return bool(answer["status"]["allowed"])


def user(variant: Installed) -> str:
    """The manager's name, as the API server knows it."""
    return f"system:serviceaccount:podcert:{variant.pod['serviceAccountName']}"


def test_a_served_namespace_without_its_role_is_told_by_readiness(
    cluster: LocalCluster, vault: DevServer, token_file: Path, tmp_path: Path
) -> None:
    with installed(cluster, "overlays/namespaced") as variant:
        launch = variant.launch(vault.url, token_file, tmp_path)
        settings = {**launch.settings, "PODCERT_NAMESPACES": f"{SERVED},{OTHER}"}
        with running(replace(launch, settings=settings), ready=False) as manager:
            eventually("readiness names the namespace", lambda: f"/namespaces/{OTHER}/" in manager.readiness()[1])
            assert manager.readiness()[0] == 503
            assert manager.liveness() == 200


def test_with_kubernetes_auth_no_vault_token_is_kept_anywhere(
    cluster: LocalCluster, vault: DevServer, tmp_path: Path
) -> None:
    # The reviewer is what manifests/vault-token-review.yaml makes of Vault's own ServiceAccount.
    cluster.kubectl("create", "namespace", "vault")
    cluster.kubectl("create", "serviceaccount", "vault", "--namespace=vault")
    cluster.kubectl("apply", "-f", str(MANIFESTS / "vault-token-review.yaml"))
    (tmp_path / "reviewer").write_text(cluster.token("vault", "vault"))
    files = [f"--kubernetes-ca-file={cluster.ca_file}", f"--reviewer-token-file={tmp_path}/reviewer"]
    bootstrap(vault, "--auth=kubernetes", f"--kubernetes-host={cluster.apiserver_url}", *files)
    with installed(cluster, "overlays/kubernetes-auth") as variant:
        assert "PODCERT_TOKEN_FILE" not in variant.environment
        assert "vault-token" not in json.dumps(variant.pod)
        with running(variant.launch(vault.url, tmp_path / "none", tmp_path)):
            pod(cluster, "web-0")
            eventually("web-0 has a certificate", lambda: "web-0" in enrolled(cluster))
