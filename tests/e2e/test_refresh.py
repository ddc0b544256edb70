"""Certificates that change under a running nginx, in real pods: new serial served, nothing restarted; and a Job that ends."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.e2e.scenario import CERTS, MANIFESTS, Scenario

pytestmark = pytest.mark.e2e

SPACE = "refresh-test"
NAME = f"nginx.{SPACE}.svc.cluster.local"


def until(what: str, ready: Callable[[], object], seconds: float = 60.0) -> None:
    """Polls; the bound is for a machine in distress, not a measurement."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def nginx(podcert: Scenario) -> Iterator[Scenario]:
    """manifests/examples/nginx-refresh.yaml as it is, in a namespace of its own that enforces `restricted`."""
    podcert.kubectl("create", "namespace", SPACE)
    podcert.restrict(SPACE)
    podcert.kubectl("apply", "-n", SPACE, "-f", str(MANIFESTS / "examples" / "nginx-refresh.yaml"))
    done = podcert.cluster.kubectl(
        "rollout", "status", "-n", SPACE, "deploy/nginx", "--timeout=120s", check=False, timeout=130
    )
    if done.returncode != 0:
        pytest.fail(f"{done.stderr}\n{podcert.kubectl('describe', 'pods', '-n', SPACE)}\n{podcert.explain()}")
    yield podcert
    podcert.kubectl("delete", "namespace", SPACE, "--wait=false")


def pods(scenario: Scenario) -> list[dict[str, Any]]:
    listed = json.loads(scenario.kubectl("get", "pods", "-n", SPACE, "-l", "app=nginx", "-o", "json"))
    return sorted(listed["items"], key=lambda pod: str(pod["metadata"]["name"]))


def secret_of(pod: dict[str, Any]) -> str:
    return f"{pod['metadata']['name']}-cert-{pod['metadata']['uid'][:8]}"


def served(scenario: Scenario, address: str) -> str | None:
    """The serial that a pod's nginx shows to openssl in the client's pod, in Vault's spelling; None if it does not verify."""
    connect = (
        f"openssl s_client -connect {address} -CAfile {CERTS}/ca-cert.pem -servername {NAME} -verify_hostname {NAME}"
    )
    command = f"{connect} -verify_return_error </dev/null | openssl x509 -noout -serial"
    done = scenario.cluster.kubectl("exec", "client", "-c", "client", "--", "sh", "-c", command, check=False)
    found = re.search(r"serial=([0-9A-F]+)", done.stdout)
    if found is None:
        return None
    digits = found[1].lower()
    return ":".join(digits[i : i + 2] for i in range(0, len(digits), 2))


def stored(scenario: Scenario, name: str) -> str:
    done = scenario.cluster.kubectl("get", "secret", "-n", SPACE, name, "-o", "json", check=False)
    return str(json.loads(done.stdout)["metadata"]["annotations"]["podcert.io/serial"]) if done.returncode == 0 else ""


def restarts(pod: dict[str, Any]) -> list[tuple[str, int]]:
    status = pod["status"]
    return [(c["name"], c["restartCount"]) for c in (*status["initContainerStatuses"], *status["containerStatuses"])]


def test_nginx_is_reached_through_its_service_and_its_name_is_verified(nginx: Scenario) -> None:
    until("the Service's rules", lambda: served(nginx, f"{NAME}:443"))
    assert served(nginx, f"{NAME}:443") in {stored(nginx, secret_of(pod)) for pod in pods(nginx)}


def test_a_replaced_secret_is_served_by_every_nginx_and_nothing_is_restarted(nginx: Scenario) -> None:
    before = pods(nginx)
    assert len(before) == 2
    for pod in before:
        name, address = secret_of(pod), f"{pod['status']['podIP']}:8443"
        old = stored(nginx, name)
        assert served(nginx, address) == old
        nginx.kubectl("delete", "secret", "-n", SPACE, name)
        until("a new Secret", lambda name=name, old=old: stored(nginx, name) not in {"", old})  # type: ignore[misc]
        new = stored(nginx, name)
        until("nginx serves it", lambda address=address, new=new: served(nginx, address) == new)  # type: ignore[misc]
        log = nginx.kubectl("logs", "-n", SPACE, pod["metadata"]["name"], "-c", "certificate-fetcher")
        assert f"serial {new}" in log
        assert "reloaded: sent SIGHUP to nginx (process " in log
    after = pods(nginx)
    assert [pod["metadata"]["uid"] for pod in after] == [pod["metadata"]["uid"] for pod in before]
    assert [restarts(pod) for pod in after] == [[("certificate-fetcher", 0), ("nginx", 0)]] * 2


RESIDENT = """
import glob
for each in glob.glob("/proc/[0-9]*"):
    command = open(each + "/cmdline").read().split("\\0")
    if "/opt/podcert" in command and "--refresh" in command:
        print(next(line.split()[1] for line in open(each + "/status") if line.startswith("VmRSS")))
"""


def test_a_sidecar_that_has_nothing_to_do_is_small(nginx: Scenario) -> None:
    name = pods(nginx)[0]["metadata"]["name"]
    command = ["exec", "-n", SPACE, name, "-c", "certificate-fetcher", "--", "python3", "-I", "-S", "-c", RESIDENT]
    (resident,) = map(int, nginx.kubectl(*command).split())
    print(f"resident memory of an idle sidecar: {resident / 1024:.1f} MiB")
    assert resident < 32 * 1024  # what the example asks for


def test_a_jobs_sidecar_does_not_keep_it_alive_and_its_work_starts_with_the_files(nginx: Scenario) -> None:
    documents = list(yaml.safe_load_all((MANIFESTS / "examples" / "nginx-refresh.yaml").read_text()))
    template = next(d for d in documents if d["kind"] == "Deployment")["spec"]["template"]
    spec, sidecar = template["spec"], template["spec"]["initContainers"][0]
    sidecar["args"] = ["--refresh"]
    mounts: list[dict[str, Any]] = [{"name": "certs", "mountPath": CERTS, "readOnly": True}]
    work = {
        "name": "work",
        "image": "podcert-example:0.1.0",
        "command": ["openssl", "x509", "-noout", "-serial", "-in"],
    }
    work = work | {"args": [f"{CERTS}/cert.pem"], "securityContext": sidecar["securityContext"], "volumeMounts": mounts}
    spec |= {"containers": [work], "restartPolicy": "Never"}
    spec["volumes"] = [v for v in spec["volumes"] if v["name"] in {"certs", "api-access"}]
    labels = {"app": "work", "podcert.io/enroll": "true"}
    template["metadata"]["labels"] = labels
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "work"}, "spec": {"template": template}}
    nginx.kubectl("apply", "-n", SPACE, "-f", "-", stdin=json.dumps(job))
    nginx.kubectl("wait", "-n", SPACE, "--for=condition=Complete", "job/work", "--timeout=90s", timeout=100)
    assert nginx.kubectl("logs", "-n", SPACE, "job/work", "-c", "work").startswith("serial=")
    listed = json.loads(nginx.kubectl("get", "pods", "-n", SPACE, "-l", "app=work", "-o", "json"))["items"]
    ended = listed[0]["status"]["initContainerStatuses"][0]["state"]["terminated"]
    assert (len(listed), ended["exitCode"]) == (1, 0)
    assert json.loads(ended["message"])["serial"]
