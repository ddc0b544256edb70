"""How late a pod sees the new files of a Secret that it mounts: the kubelet looks only when it syncs the pod."""

from __future__ import annotations

import json
import time
from typing import Any

from certmanager.domain.advice import MOUNT_SECONDS
from tests.e2e.rotating import Place
from tests.e2e.scenario import Scenario
from tests.prove.parts import say
from tests.prove.proof import Shown

PODS = 10
WATCHER = """
import time
while open("/mounted/stamp").read() == "old":
    time.sleep(0.1)
print(time.time(), flush=True)
time.sleep(3600)
"""


def run(scenario: Scenario) -> dict[str, Shown]:
    """The line `late`."""
    say("how late a mounted Secret's new files are seen")
    with Place(scenario, "prove-mounted") as place:
        place.kubectl("apply", "-f", "-", stdin=json.dumps(secret("old")))
        place.kubectl("apply", "-f", "-", stdin=json.dumps(deployment()))
        place.rolled_out("deployment/reader")
        time.sleep(5)
        wrote = time.time()
        place.kubectl("apply", "-f", "-", stdin=json.dumps(secret("new")))
        late: list[float] = []
        while len(late) < PODS and time.time() - wrote < MOUNT_SECONDS + 20:
            time.sleep(5)
            logs = place.kubectl("logs", "-l", "app=reader", "--tail=1", f"--max-log-requests={PODS}")
            late = sorted(float(line) - wrote for line in logs.split())
    figure = f"{len(late)} of {PODS} pods"
    if late:
        figure += f": the first after {late[0]:.0f} s, half after {late[len(late) // 2]:.0f} s, the last after {late[-1]:.0f} s"
    return {"late": Shown(len(late) == PODS and late[-1] <= MOUNT_SECONDS, figure)}


def secret(stamp: str) -> dict[str, Any]:
    """A Secret with one file."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}, "stringData": {"stamp": stamp}}


def deployment() -> dict[str, Any]:
    """Pods that mount it and tell when its file changes."""
    labels = {"app": "reader"}
    container = {
        "name": "reader",
        "image": "podcert-example:0.1.0",
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", WATCHER],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "mine", "mountPath": "/mounted"}],
    }
    spec = {
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "mine", "secret": {"secretName": "mine"}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "reader"},
        "spec": {
            "replicas": PODS,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
