"""The cluster without a node: a real API server with what tests lean on, and outages on demand."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.cluster import local
from tests.cluster.api import wait
from tests.cluster.openbao import DevServer
from tests.cluster.paths import REPOSITORY, ClusterError
from tests.cluster.running import LocalCluster

pytestmark = pytest.mark.cluster


def namespace(cluster: LocalCluster, name: str) -> None:
    cluster.kubectl("create", "namespace", name)
    wait(f"namespace {name}", lambda: cluster.api.exists(f"/api/v1/namespaces/{name}/serviceaccounts/default"), 30)


def test_an_owned_object_is_collected_with_its_owner(control_plane: LocalCluster) -> None:
    namespace(control_plane, "collected")
    path = "/api/v1/namespaces/collected/configmaps"
    owner = control_plane.api.create(path, {"metadata": {"name": "owner"}})
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    control_plane.api.create(path, {"metadata": {"name": "owned", "ownerReferences": [reference]}})
    control_plane.kubectl("delete", "configmap", "owner", "--namespace=collected")
    wait("garbage collection", lambda: not control_plane.api.exists(f"{path}/owned"), 60)


def test_a_service_accounts_token_has_that_accounts_rights_and_no_more(control_plane: LocalCluster) -> None:
    namespace(control_plane, "tokens")
    token = control_plane.token("tokens", "default")
    server = [f"--server={control_plane.apiserver_url}", f"--certificate-authority={control_plane.ca_file}"]
    command = [str(control_plane.kube), "kubectl", "--kubeconfig=/dev/null", *server, f"--token={token}"]
    whoami = subprocess.run([*command, "auth", "whoami", "-ojson"], capture_output=True, text=True, check=True)
    assert json.loads(whoami.stdout)["status"]["userInfo"]["username"] == "system:serviceaccount:tokens:default"
    refused = subprocess.run([*command, "get", "secrets", "-n", "tokens"], capture_output=True, text=True, check=False)
    assert "Forbidden" in refused.stderr
    with pytest.raises(ClusterError, match=r"404.*nobody"):
        control_plane.token("tokens", "nobody")


def test_a_privileged_pod_is_refused_where_the_namespace_is_restricted(control_plane: LocalCluster) -> None:
    namespace(control_plane, "restricted")
    control_plane.kubectl("label", "namespace", "restricted", "pod-security.kubernetes.io/enforce=restricted")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "privileged", "namespace": "restricted"},
        "spec": {"containers": [{"name": "main", "image": "x", "securityContext": {"privileged": True}}]},
    }
    with pytest.raises(ClusterError, match='violates PodSecurity "restricted'):
        control_plane.kubectl("create", "-f", "-", stdin=json.dumps(pod))


def test_the_api_servers_own_metrics_can_be_read(control_plane: LocalCluster) -> None:
    assert "apiserver_request_total{" in control_plane.kubectl("get", "--raw", "/metrics").stdout


def test_a_frozen_api_server_hangs_and_a_stopped_one_comes_back_with_its_data(control_plane: LocalCluster) -> None:
    control_plane.kubectl("create", "configmap", "survivor")
    with control_plane.paused("apiserver"):
        assert not control_plane.api.ready()
        with pytest.raises(TimeoutError):
            control_plane.api.call("GET", "/readyz", timeout=0.5)
    assert control_plane.api.ready()
    control_plane.stop_apiserver()
    with pytest.raises(ConnectionRefusedError):
        control_plane.api.call("GET", "/readyz")
    control_plane.start_apiserver()
    assert control_plane.kubectl("get", "configmap", "survivor", "-oname").stdout == "configmap/survivor\n"


def test_a_part_that_ends_by_itself_is_named_with_its_last_words(control_plane: LocalCluster) -> None:
    control_plane.stop_part("controller-manager")
    with pytest.raises(ClusterError, match="controller-manager ended"):
        control_plane.check()
    control_plane.start_part("controller-manager")
    control_plane.check()


def test_two_clusters_run_side_by_side_and_a_name_only_once(control_plane: LocalCluster) -> None:
    with pytest.raises(ClusterError, match="runs already"):
        local.Local().up(control_plane.spec)
    with local.cluster(f"{control_plane.name}-b", node=False, quiet=True) as other:
        assert other.apiserver_url != control_plane.apiserver_url
        other.kubectl("create", "namespace", "only-there")
        assert not control_plane.api.exists("/api/v1/namespaces/only-there")
        assert {control_plane.name, other.name} <= set(local.Local().names())
    assert not (other.folder / "pki").exists()
    assert other.name not in local.Local().names()


def test_images_need_a_node(control_plane: LocalCluster) -> None:
    with pytest.raises(ClusterError, match="has no node"):
        control_plane.load_images(["pause"])


def test_the_command_line_shows_and_ends_a_cluster(
    control_plane: LocalCluster, capfd: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tests.cluster", *arguments]
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120)

    name = f"{control_plane.name}-c"
    started = run("up", "--no-node", "--name", name)
    try:
        assert started.returncode == 0, started.stderr
        assert run("kubeconfig", "--name", name).stdout.strip() == started.stdout.strip().removeprefix(
            "export KUBECONFIG="
        )
        assert name in run("status").stdout
    finally:
        assert "nothing of it is left" in run("down", "--name", name).stderr
    assert f"no cluster '{name}' runs" in run("kubeconfig", "--name", name).stderr
    assert run("down", "--name", name).returncode == 0


def test_openbao_answers_with_its_own_root_token_and_hangs_when_frozen(openbao: DevServer) -> None:
    status, body = openbao.call("GET", "auth/token/lookup-self")
    assert (status, body["data"]["policies"]) == (200, ["root"])
    assert openbao.call("GET", "auth/token/lookup-self", token="wrong")[0] == 403
    check: Callable[[], bool] = openbao.healthy
    assert check()
    with openbao.paused(), pytest.raises(TimeoutError):
        openbao.call("GET", "sys/health", timeout=0.5)
    assert check()
