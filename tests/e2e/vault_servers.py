"""A Vault of manifests/vault on a cluster from parts: volumes for it, and how docs/vault.md is run there.

The cluster from parts has no provisioner: static volumes are made in a folder of the machine. Other clusters have their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.provider import Cluster
from tests.cluster.running import LocalCluster

USER, GROUP = 100, 1000
"""Of the servers, in manifests/vault/base/statefulset.yaml."""
SERVERS = 3
NAMESPACES = ("vault", "podcert")
BINDING = "vault-token-review"


@contextlib.contextmanager
def volumes(cluster: Cluster, folder: Path) -> Iterator[None]:
    """A volume for each server, empty, for a `with` block; what is installed in it is removed at its end.

    The cluster has to be without a Vault of its own (`test_tutorial.make_room` sees to that).
    """
    if isinstance(cluster, LocalCluster):
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": [_volume(folder, n) for n in range(SERVERS)]})
        cluster.kubectl("apply", "-f", "-", stdin=listed)
    try:
        yield
    finally:
        remove(cluster)
        cluster.kubectl("delete", "pv", "-l", "for=vault-servers", "--ignore-not-found", "--wait", timeout=60)
        shutil.rmtree(folder / "volumes", ignore_errors=True)


def remove(cluster: Cluster) -> None:
    """What docs/vault.md installs."""
    cluster.kubectl("delete", "pod,service", "client", "server", "--ignore-not-found", "--wait", timeout=60)
    for namespace in NAMESPACES:
        cluster.kubectl("delete", "namespace", namespace, "--ignore-not-found", "--wait", timeout=180)
    cluster.kubectl("delete", "clusterrolebinding", BINDING, "--ignore-not-found")


def _volume(folder: Path, number: int) -> dict[str, object]:
    path = folder / "volumes" / str(number)
    path.mkdir(parents=True)
    # The kubelet changes no owner of a hostPath; only these two folders are for others than their maker.
    os.chown(path, USER, GROUP)
    path.chmod(0o700)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"vault-{number}", "labels": {"for": "vault-servers"}},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(path), "type": "Directory"},
        },
    }
