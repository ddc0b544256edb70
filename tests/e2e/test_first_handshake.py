"""The main job in real pods: two labelled pods talk TLS, and nobody else can read their keys."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

import pytest

from tests.cluster.provider import Cluster
from tests.e2e.scenario import CERTS, SERVER, Scenario

pytestmark = pytest.mark.e2e

PRIVILEGED = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "privileged"},
    "spec": {"containers": [{"name": "a", "image": "podcert-example:0.1.0", "securityContext": {"privileged": True}}]},
}


def until(what: str, ready: Callable[[], bool], seconds: float = 60.0) -> None:
    """Polls; the bound is for a machine in distress, not a measurement."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.2)


def secret_of(scenario: Scenario, pod: str) -> str:
    uid = scenario.kubectl("get", "pod", pod, "-o", "jsonpath={.metadata.uid}")
    return f"{pod}-cert-{uid[:8]}"


def may(cluster: Cluster, account: str, verb: str, secret: str) -> bool:
    """Asks with the ServiceAccount's own token."""
    token = cluster.token("default", account)
    kubeconfig_free = ("--token", token, "--kubeconfig=/dev/null", "--server", cluster.apiserver_url)
    done = cluster.kubectl(
        *kubeconfig_free,
        "--certificate-authority",
        str(cluster.ca_file),
        verb,
        "secret",
        secret,
        "-o",
        "name",
        check=False,
    )
    if done.returncode == 0:
        return True
    assert "Forbidden" in done.stderr, done.stderr
    return False


def test_two_labelled_pods_talk_tls_and_the_name_is_verified(podcert: Scenario) -> None:
    shake = podcert.handshake()
    assert shake.verified, shake.output
    assert shake.peername == SERVER


def test_a_handshake_that_asks_for_another_name_fails(podcert: Scenario) -> None:
    shake = podcert.handshake(name="client.default.svc.cluster.local")
    assert not shake.verified
    assert "hostname mismatch" in shake.output


def test_the_files_have_their_modes_and_the_key_is_the_applications_alone(podcert: Scenario) -> None:
    listing = podcert.kubectl(
        "exec",
        "server",
        "-c",
        "server",
        "--",
        "stat",
        "-L",
        "-c",
        "%n %a %g",
        CERTS + "/cert.pem",
        CERTS + "/key.pem",
        CERTS + "/ca-cert.pem",
    )
    assert listing.split("\n")[:3] == [
        f"{CERTS}/cert.pem 644 10001",
        f"{CERTS}/key.pem 640 10001",
        f"{CERTS}/ca-cert.pem 644 10001",
    ]


def test_with_its_own_token_an_account_reads_its_own_secret_and_is_refused_anothers(podcert: Scenario) -> None:
    server, client = secret_of(podcert, "server"), secret_of(podcert, "client")
    assert may(podcert.cluster, "server", "get", server)
    assert may(podcert.cluster, "client", "get", client)
    assert not may(podcert.cluster, "server", "get", client)
    assert not may(podcert.cluster, "client", "get", server)
    for account in ("server", "client"):
        done = podcert.cluster.kubectl(
            "auth", "can-i", "list", "secrets", f"--as=system:serviceaccount:default:{account}", check=False
        )
        assert done.stdout.strip() == "no"


@pytest.mark.parametrize("namespace", ["default", "podcert"])
def test_a_privileged_pod_is_refused_in_both_namespaces(podcert: Scenario, namespace: str) -> None:
    done = podcert.cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(PRIVILEGED), check=False)
    assert done.returncode != 0
    assert 'violates PodSecurity "restricted' in done.stderr


def test_the_pods_status_tells_which_certificate_its_files_hold(podcert: Scenario) -> None:
    message = podcert.kubectl(
        "get", "pod", "server", "-o", "jsonpath={.status.initContainerStatuses[0].state.terminated.message}"
    )
    secret = json.loads(podcert.kubectl("get", "secret", secret_of(podcert, "server"), "-o", "json"))
    told = json.loads(message)
    assert told["serial"] == secret["metadata"]["annotations"]["podcert.io/serial"]
    assert told["notAfter"] == secret["metadata"]["annotations"]["podcert.io/not-after"]


def test_a_restarted_manager_changes_nothing(podcert: Scenario) -> None:
    def versions() -> str:
        return podcert.kubectl(
            "get",
            "secrets,roles,rolebindings",
            "-A",
            "-l",
            "podcert.io/managed=true",
            "-o",
            "jsonpath={range .items[*]}{.metadata.name}={.metadata.resourceVersion} {end}",
        )

    before = versions()
    podcert.kubectl("rollout", "restart", "-n", "podcert", "deploy/certificate-manager")
    podcert.kubectl("rollout", "status", "-n", "podcert", "deploy/certificate-manager", "--timeout=120s", timeout=130)
    until(
        "metrics of both certificates",
        lambda: len(podcert.series("podcert_certificate_expiration_timestamp_seconds")) >= 2,
    )
    assert versions() == before
    assert sum(podcert.series("podcert_vault_requests_total")) == 0


def test_a_pod_recreated_under_its_name_gets_a_certificate_of_its_own(podcert: Scenario) -> None:
    old = secret_of(podcert, "client")
    podcert.kubectl("delete", "pod", "client", "--wait")
    podcert.deploy_pods()
    new = secret_of(podcert, "client")
    assert new != old
    assert podcert.handshake().verified
    until("the old Secret is collected", lambda: old not in podcert.kubectl("get", "secrets", "-o", "name"))
    assert not may(podcert.cluster, "client", "get", old)


def test_nothing_secret_is_in_the_logs(podcert: Scenario) -> None:
    logs = podcert.kubectl("logs", "-n", "podcert", "deploy/certificate-manager")
    logs += podcert.kubectl("logs", "server", "-c", "certificate-fetcher")
    assert logs.strip()
    assert not re.search(r"PRIVATE KEY|\bs\.[A-Za-z0-9]{20,}|hvs\.|eyJ[A-Za-z0-9_-]{20,}\.", logs)
