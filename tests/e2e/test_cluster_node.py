"""The cluster with a node: pods run, find and reach each other; a killed driver leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster import addresses, images, local, paths
from tests.cluster.node import KERNEL
from tests.cluster.paths import REPOSITORY
from tests.cluster.running import LocalCluster
from tests.conftest import need

pytestmark = pytest.mark.e2e

SERVER = "import http.server as s; s.test(s.SimpleHTTPRequestHandler, s.ThreadingHTTPServer, port=8080)"
CLIENT = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).status)"
DRIVER = """
import sys, time
from tests.cluster import local
with local.cluster(sys.argv[1]):
    time.sleep(600)
"""


def pod(name: str, command: list[str]) -> dict[str, object]:
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
    container = {"name": "main", "image": "podcert-example:0.1.0", "command": command, "securityContext": security}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        },
    }


def until(what: Callable[[], object], seconds: float = 30.0) -> bool:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_restricted_pods_reach_a_service_by_its_name_and_kubectl_reaches_them(cluster: LocalCluster) -> None:
    space = "--namespace=node-test"
    cluster.kubectl("create", "namespace", "node-test")
    cluster.kubectl("label", "namespace", "node-test", "pod-security.kubernetes.io/enforce=restricted")
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "server"},
        "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    items = [pod("server", ["python3", "-c", SERVER]), pod("client", ["sleep", "600"]), service]
    cluster.kubectl("create", space, "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    cluster.kubectl("wait", space, "--for=condition=Ready", "pod", "--all", "--timeout=90s")

    def fetch(url: str) -> bool:
        command = ["exec", space, "client", "--", "python3", "-c", CLIENT, url]
        return cluster.kubectl(*command, check=False).stdout == "200\n"

    for name in ("server.node-test.svc.cluster.local", "server.node-test.svc", "server"):
        assert until(lambda name=name: fetch(f"http://{name}/etc/hostname"), 15)  # type: ignore[misc]
    assert not fetch("http://nobody.node-test.svc.cluster.local/")
    assert '"GET /etc/hostname HTTP/1.1" 200' in cluster.kubectl("logs", space, "server").stdout
    cluster.kubectl("delete", "namespace", "node-test", "--wait=false")


def test_the_node_has_this_projects_images(cluster: LocalCluster) -> None:
    listed = cluster.exec_in_sandbox(
        ["ctr", "--address=/run/podcert/containerd.sock", "-n=k8s.io", "images", "ls", "-q"]
    )
    assert {source.reference for source in images.SOURCES.values()} <= set(listed.stdout.split())
    cluster.check()


@pytest.mark.parametrize("name", images.NAMES)
def test_an_image_runs_as_a_user_without_rights_and_its_start_needs_no_shell(cluster: LocalCluster, name: str) -> None:
    (image,) = images.build([name])
    config = json.loads(images.store().blob(image.blobs[1]).read_bytes())["config"]
    assert config["User"] == "65532:65532"
    words = [*config.get("Entrypoint", []), *config.get("Cmd", [])]
    assert words
    assert not words[0].endswith("sh")


def test_the_fetchers_image_adds_the_package_fetcher_and_nothing_else(cluster: LocalCluster) -> None:
    (image,) = images.build(["certificate-fetcher"])
    with tarfile.open(images.store().blob(image.blobs[-1])) as layer:
        added = [member.name for member in layer if not member.isdir()]
    assert "opt/podcert/__main__.py" in added
    strange = [each for each in added if not re.match(r"opt/podcert/(__main__|__pycache__/__main__|fetcher/)", each)]
    # buildah leaves empty mount points of its own in a layer.
    assert [each for each in strange if not each.startswith(("etc/", "run/", "dev/", "proc/", "sys/"))] == []


def test_the_machines_kernel_settings_are_not_the_ones_that_the_kubelet_sees(cluster: LocalCluster) -> None:
    for path, value in KERNEL.items():
        assert cluster.exec_in_sandbox(["cat", f"/proc/sys/{path}"]).stdout.strip() == str(value)
    mounted = {line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()}
    assert not {f"/proc/sys/{path}" for path in KERNEL} & mounted


def ours(name: str) -> list[str]:
    """Return the command lines of the processes that name this cluster's folder."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = each.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"{paths.run_root() / name}/" in text:
            found.append(text)
    return found


def interfaces_without_owner() -> list[str]:
    """Return our interfaces whose link no living cluster has claimed."""
    left = []
    for each in Path("/sys/class/net").glob("podcert*"):
        number = int(each.name.removeprefix("podcert"))
        held = paths.try_lock(paths.run_root() / ".claims" / f"link-{number}.lock")
        if held is not None:
            os.close(held)
            left.append(each.name)
    return left


def firewall() -> str:
    program = shutil.which("iptables-save")
    lines = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout.splitlines()
    return "\n".join(line for line in lines if not line.startswith(("#", ":")))


@pytest.mark.parametrize("moment", ["starting etcd", "starting scheduler", "waiting for the node", "ready"])
def test_a_killed_driver_leaves_nothing_behind_and_the_next_run_works(moment: str) -> None:
    need(local.missing(node=True))
    name = f"kill-{os.getpid()}"
    before = (Path("/proc/self/mounts").read_text(), firewall())
    command = [sys.executable, "-c", DRIVER, name]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as driver:
        assert driver.stderr
        seen = next((line for line in driver.stderr if moment in line), None)
        driver.kill()
    assert seen is not None
    assert until(lambda: name not in local.Local().names() and not ours(name))
    # The keeper outlives the cluster for as long as it takes to remove its files.
    with paths.lock(paths.run_root() / f"{name}.lock", seconds=30):
        pass
    assert (Path("/proc/self/mounts").read_text(), firewall()) == before
    assert interfaces_without_owner() == []
    assert [each for each in paths.cgroup_folders(name) if Path(each).exists()] == []
    left = [each.name for each in (paths.run_root() / name).iterdir()]
    assert left == ["logs"]


def test_links_are_claimed_for_as_long_as_the_cluster_lives(cluster: LocalCluster) -> None:
    inside = cluster.apiserver_url.removeprefix("https://").removesuffix(":6443")
    number = next(number for number in range(64) if addresses.link(number).inside == inside)
    assert paths.try_lock(paths.run_root() / ".claims" / f"link-{number}.lock") is None
